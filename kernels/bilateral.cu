// Bilateral mean: a Gaussian over voxels whose level is near that of the middle one.
//
// A block of 32 x 8 threads makes 32 x 32 voxels of one slice, each thread four of a column. Slice by slice of the
// neighbourhood it brings levels and greys with a halo of `reach` into shared memory, then walks through the offsets
// of that slice; a table entry serves four voxels. What lies outside the volume or was not seen gets an infinite
// level, whose weight is 0.
// Layout: level, grey, seen, out (nz, ny, nx). The offsets of slice z + k - reach_z are entries first[k] to
// first[k + 1]: `shift` from the corner of the neighbourhood inside a tile of 32 + 2 reach columns, `near` the Gaussian.
// Dynamic shared memory: two tiles of (32 + 2 reach)^2 floats.
#include "common.cuh"

#define COLUMNS 32
#define THREAD_ROWS 8
#define VOXELS 4
#define INFINITE 1e30f  // its square overflows
#define ROWS (THREAD_ROWS * VOXELS)

// (1 - t / 1024) to the 1024th power, nearly exp(-t), as the twin has it; 0 where t is infinite.
__device__ __forceinline__ float bell(float base)
{
    float weight = fmaxf(base, 0.0f);
#pragma unroll
    for (int k = 0; k < 10; ++k) weight *= weight;
    return weight;
}

template <bool MASKED>
__device__ __forceinline__ void average(
    const float *__restrict__ level, const float *__restrict__ grey, const float *__restrict__ seen,
    const int *__restrict__ first, const int *__restrict__ shift, const float *__restrict__ near, float slope,
    int reach_z, int reach, int nz, int ny, int nx, float *__restrict__ out)
{
    DYNAMIC_SHARED(float, tile);
    const int tx = threadIdx.x, ty = threadIdx.y, z = blockIdx.z;
    const int x0 = blockIdx.x * COLUMNS, y0 = blockIdx.y * ROWS;
    const int width = COLUMNS + 2 * reach, height = ROWS + 2 * reach;
    float *levels = tile, *greys = tile + width * height;
    const size_t plane = (size_t)ny * nx;

    float mine[VOXELS], total[VOXELS], share[VOXELS];
#pragma unroll
    for (int k = 0; k < VOXELS; ++k) {
        const int x = min(x0 + tx, nx - 1), y = min(y0 + ty + k * THREAD_ROWS, ny - 1);
        mine[k] = level[z * plane + (size_t)y * nx + x];
        total[k] = share[k] = 0.0f;
    }
    for (int slice = max(0, z - reach_z); slice <= min(nz - 1, z + reach_z); ++slice) {
        __syncthreads();
        for (int j = ty; j < height; j += THREAD_ROWS) {
            const int y = y0 + j - reach;
            const size_t line = slice * plane + (size_t)max(y, 0) * nx;
            for (int i = tx; i < width; i += COLUMNS) {
                const int x = x0 + i - reach;
                bool counts = x >= 0 && x < nx && y >= 0 && y < ny;
                if (MASKED) counts = counts && seen[line + x] != 0.0f;
                levels[j * width + i] = counts ? level[line + x] : INFINITE;
                greys[j * width + i] = counts ? grey[line + x] : 0.0f;
            }
        }
        __syncthreads();
        const int section = slice - z + reach_z, corner = ty * width + tx;
        for (int n = first[section]; n < first[section + 1]; ++n) {
            const int there = corner + shift[n];
            const float here = near[n];
#pragma unroll
            for (int k = 0; k < VOXELS; ++k) {
                const float away = levels[there + k * THREAD_ROWS * width] - mine[k];
                const float weight = bell(slope * away * away + 1.0f) * here;
                total[k] += weight * greys[there + k * THREAD_ROWS * width];
                share[k] += weight;
            }
        }
    }
#pragma unroll
    for (int k = 0; k < VOXELS; ++k) {
        const int x = x0 + tx, y = y0 + ty + k * THREAD_ROWS;
        if (x >= nx || y >= ny) continue;
        const size_t voxel = z * plane + (size_t)y * nx + x;
        out[voxel] = share[k] > 0.0f ? total[k] / share[k] : grey[voxel];
    }
}

extern "C" __global__ __launch_bounds__(256) void average_near(
    const float *level, const float *grey, const int *first, const int *shift, const float *near, float slope,
    int reach_z, int reach, int nz, int ny, int nx, float *out)
{
    average<false>(level, grey, nullptr, first, shift, near, slope, reach_z, reach, nz, ny, nx, out);
}

extern "C" __global__ __launch_bounds__(256) void average_seen_near(
    const float *level, const float *grey, const float *seen, const int *first, const int *shift, const float *near,
    float slope, int reach_z, int reach, int nz, int ny, int nx, float *out)
{
    average<true>(level, grey, seen, first, shift, near, slope, reach_z, reach, nz, ny, nx, out);
}
