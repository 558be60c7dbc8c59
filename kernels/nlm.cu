// Non-local means in three dimensions: mean of the greys whose surroundings look alike.
//
// A warp makes 32 - 2 rx columns of the slices, a thread DEPTH x ROWS voxels of one column. For an offset the thread
// sums squared differences along z and y in registers; its neighbours in the warp add the sum along x. Each voxel
// gathers both directions of an offset, so that no sum depends on the order of threads. The levels and greys that some
// offsets lead to (`chunk_y` x CHUNK of one slice) are brought into shared memory together.
// Voxels that were not seen are NaN; NaN is also what lies outside the volume, so that one comparison leaves out both.
// Layout: level (nz + 2 rz, ny + 2 ry, nx + 2 rx) mirrored at its edges, grey, out (nz, ny, nx);
// section (sections + 1, 4): least offset along z, y, x and first entry of `offset` (n, 2), which are y and x from there.
// Dynamic shared memory, with rows = ROWS blockDim.y + chunk_y - 1: levels (rows + 2 ry, DEPTH + 2 rz, WIDTH) and
// greys (rows, DEPTH, WIDTH), floats.
#include "common.cuh"

#define DEPTH 2
#define ROWS 4
#define LANES 32
#define CHUNK 9                    // offsets along x served together: all within the usual reach of 4
#define WIDTH (LANES + CHUNK - 1)  // known to the compiler: addresses in shared memory take no registers
#define ALL_LANES 0xffffffffu
#define VOID __int_as_float(0x7fffffff)

struct Task {
    const float *level, *grey;
    const int *section, *offset;
    float *out;
    float top, drop;
    int sections, chunk_y, rz, ry, rx, reach_z, reach_y, reach_x, z_start, z_stop, nz, ny, nx;
};

// Sum along x over the surroundings; every lane of the warp takes part.
__device__ __forceinline__ float across(float column, int rx)
{
    float sum = column;
    for (int n = 1; n <= rx; ++n)
        sum += __shfl_up_sync(ALL_LANES, column, n) + __shfl_down_sync(ALL_LANES, column, n);
    return sum;
}

// Bring the levels and greys from a place on into shared memory.
__device__ __forceinline__ void fetch(
    const Task &t, int z0, int y0, int x0, int rz, int ry, int rx, float *levels, float *greys)
{
    const int deep = DEPTH + 2 * rz, rows = ROWS * blockDim.y + t.chunk_y - 1;
    const int pz = t.nz + 2 * rz, py = t.ny + 2 * ry, px = t.nx + 2 * rx;
    for (int j = threadIdx.y; j < (rows + 2 * ry) * deep; j += blockDim.y) {
        const int z = min(max(z0 + j % deep, 0), pz - 1), y = min(max(y0 + j / deep, 0), py - 1);
        const float *line = t.level + ((size_t)z * py + y) * px;
        for (int i = threadIdx.x; i < WIDTH; i += LANES)
            levels[j * WIDTH + i] = line[min(max(x0 + i, 0), px - 1)];
    }
    for (int j = threadIdx.y; j < rows * DEPTH; j += blockDim.y) {
        const int z = z0 + j % DEPTH, y = y0 + j / DEPTH;
        const bool inside = z >= 0 && z < t.nz && y >= 0 && y < t.ny;
        const float *line = t.grey + ((size_t)max(z, 0) * t.ny + max(y, 0)) * t.nx;
        for (int i = threadIdx.x; i < WIDTH; i += LANES) {
            const int x = x0 + i - rx;
            greys[j * WIDTH + i] = inside && x >= 0 && x < t.nx ? line[x] : VOID;
        }
    }
}

// Whether a voxel that was not seen lies within reach of the block.
__device__ __forceinline__ bool holes_near(const Task &t, int *found)
{
    const int z0 = t.z_start + blockIdx.z * DEPTH, y0 = blockIdx.y * blockDim.y * ROWS;
    const int x0 = blockIdx.x * (LANES - 2 * t.rx);
    const int py = t.ny + 2 * t.ry, px = t.nx + 2 * t.rx;
    const int z1 = min(z0 + DEPTH + 2 * t.rz + t.reach_z, t.nz + 2 * t.rz);
    const int y1 = min(y0 + ROWS * (int)blockDim.y + 2 * t.ry + t.reach_y, py);
    const int x1 = min(x0 + LANES + t.reach_x, px);
    bool hole = false;
    for (int z = max(z0 - t.reach_z, 0); z < z1; ++z)
        for (int y = max(y0 - t.reach_y, 0) + threadIdx.y; y < y1; y += blockDim.y)
            for (int x = max(x0 - t.reach_x, 0) + threadIdx.x; x < x1; x += LANES) {
                const float level = t.level[((size_t)z * py + y) * px + x];
                hole = hole || level != level;
            }
    if (threadIdx.x == 0 && threadIdx.y == 0) *found = 0;
    __syncthreads();
    if (hole) atomicMax(found, 1);
    __syncthreads();
    return *found != 0;
}

// RZ, RY, RX: half sides of the surroundings, or -1 to take those of the task. HOLES: some voxels were not seen.
template <int RZ, int RY, int RX, bool HOLES>
__device__ __forceinline__ void average(const Task t)
{
    DYNAMIC_SHARED(float, tile);
    __shared__ int found;
    if (holes_near(t, &found) != HOLES) return;

    constexpr bool KEPT = RZ >= 0;  // the own surroundings stay in registers
    const int rz = KEPT ? RZ : t.rz, ry = KEPT ? RY : t.ry, rx = KEPT ? RX : t.rx;
    const int lane = threadIdx.x, z0 = t.z_start + blockIdx.z * DEPTH, y0 = blockIdx.y * blockDim.y * ROWS;
    const int x0 = blockIdx.x * (LANES - 2 * rx), first_row = threadIdx.y * ROWS;
    const int pz = t.nz + 2 * rz, py = t.ny + 2 * ry, px = t.nx + 2 * rx;
    const int deep = DEPTH + 2 * rz;
    float *levels = tile, *greys = tile + (ROWS * blockDim.y + t.chunk_y - 1 + 2 * ry) * deep * WIDTH;
    const float *column = t.level + min(x0 + lane, px - 1);
    auto level_at = [&](int j, int s) {
        return column[((size_t)min(z0 + s, pz - 1) * py + min(y0 + first_row + j, py - 1)) * px];
    };

    float own[KEPT ? ROWS + 2 * RY : 1][KEPT ? DEPTH + 2 * RZ : 1];
    if (KEPT) {
#pragma unroll
        for (int j = 0; j < ROWS + 2 * RY; ++j)
#pragma unroll
            for (int s = 0; s < DEPTH + 2 * RZ; ++s) own[j][s] = level_at(j, s);
    }
    const float drop = HOLES ? t.drop : t.drop / (float)((2 * rz + 1) * (2 * ry + 1) * (2 * rx + 1));
    float total[DEPTH][ROWS] = {}, share[DEPTH][ROWS] = {};

    for (int n = 0; n < t.sections; ++n) {
        const int *from = t.section + 4 * n;
        if (z0 + from[0] + DEPTH <= 0 || z0 + from[0] >= t.nz) continue;
        __syncthreads();
        fetch(t, z0 + from[0], y0 + from[1], x0 + from[2], rz, ry, rx, levels, greys);
        __syncthreads();
        for (int m = from[3]; m < from[7]; ++m) {
            const int row = first_row + t.offset[2 * m], there = lane + t.offset[2 * m + 1];
            const float *other = levels + row * deep * WIDTH + there;
            const float *its_grey = greys + row * DEPTH * WIDTH + there;
            float box[DEPTH][ROWS] = {}, pairs[DEPTH][ROWS] = {};
#pragma unroll(KEPT ? ROWS + 2 * RY : 1)
            for (int j = 0; j < ROWS + 2 * ry; ++j) {
                float sum[DEPTH] = {}, both[DEPTH] = {};
#pragma unroll(KEPT ? DEPTH + 2 * RZ : 1)
                for (int s = 0; s < DEPTH + 2 * rz; ++s) {
                    const float mine = KEPT ? own[KEPT ? j : 0][KEPT ? s : 0] : level_at(j, s);
                    const float away = mine - other[(j * deep + s) * WIDTH];
                    const bool pair = !HOLES || away == away;
                    const float square = pair ? away * away : 0.0f;
#pragma unroll
                    for (int k = 0; k < DEPTH; ++k) {
                        if (s < k || s > k + 2 * rz) continue;
                        sum[k] += square;
                        both[k] += pair;
                    }
                }
#pragma unroll
                for (int i = 0; i < ROWS; ++i) {
                    if (j < i || j > i + 2 * ry) continue;
#pragma unroll
                    for (int k = 0; k < DEPTH; ++k) {
                        box[k][i] += sum[k];
                        pairs[k][i] += both[k];
                    }
                }
            }
#pragma unroll
            for (int k = 0; k < DEPTH; ++k) {
#pragma unroll
                for (int i = 0; i < ROWS; ++i) {
                    const float square = drop * across(box[k][i], rx);
                    const float count = HOLES ? fmaxf(across(pairs[k][i], rx), 1.0f) : 1.0f;
                    float weight = __saturatef(t.top + (HOLES ? square / count : square));
                    weight *= weight;
                    weight *= weight;
                    weight *= weight;
                    const float grey = its_grey[(i * DEPTH + k) * WIDTH];
                    if (grey == grey) {
                        total[k][i] += weight * grey;
                        share[k][i] += weight;
                    }
                }
            }
        }
    }
    const int x = x0 + lane - rx;
    if (lane < rx || lane >= LANES - rx || x >= t.nx) return;
#pragma unroll
    for (int k = 0; k < DEPTH; ++k) {
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
            const int z = z0 + k, y = y0 + first_row + i;
            if (z >= t.z_stop || y >= t.ny) continue;
            const size_t voxel = ((size_t)z * t.ny + y) * t.nx + x;
            const float grey = t.grey[voxel];
            t.out[voxel] = (total[k][i] + (grey == grey ? grey : 0.0f)) / (share[k][i] + 1.0f);
        }
    }
}

// Each kernel does the blocks that are its own: the first three those without holes, the last one the others.
extern "C" __global__ __launch_bounds__(256, 4) void average_cubes(
    const float *level, const float *grey, const int *section, const int *offset, float *out, float top, float drop,
    int sections, int chunk_y, int rz, int ry, int rx, int reach_z, int reach_y, int reach_x,
    int z_start, int z_stop, int nz, int ny, int nx)
{
    average<1, 1, 1, false>({level, grey, section, offset, out, top, drop, sections, chunk_y, rz, ry, rx,
             reach_z, reach_y, reach_x, z_start, z_stop, nz, ny, nx});
}

extern "C" __global__ __launch_bounds__(256, 4) void average_squares(
    const float *level, const float *grey, const int *section, const int *offset, float *out, float top, float drop,
    int sections, int chunk_y, int rz, int ry, int rx, int reach_z, int reach_y, int reach_x,
    int z_start, int z_stop, int nz, int ny, int nx)
{
    average<0, 1, 1, false>({level, grey, section, offset, out, top, drop, sections, chunk_y, rz, ry, rx,
             reach_z, reach_y, reach_x, z_start, z_stop, nz, ny, nx});
}

extern "C" __global__ __launch_bounds__(256, 4) void average_boxes(
    const float *level, const float *grey, const int *section, const int *offset, float *out, float top, float drop,
    int sections, int chunk_y, int rz, int ry, int rx, int reach_z, int reach_y, int reach_x,
    int z_start, int z_stop, int nz, int ny, int nx)
{
    average<-1, -1, -1, false>({level, grey, section, offset, out, top, drop, sections, chunk_y, rz, ry, rx,
             reach_z, reach_y, reach_x, z_start, z_stop, nz, ny, nx});
}

extern "C" __global__ __launch_bounds__(256, 4) void average_seen_boxes(
    const float *level, const float *grey, const int *section, const int *offset, float *out, float top, float drop,
    int sections, int chunk_y, int rz, int ry, int rx, int reach_z, int reach_y, int reach_x,
    int z_start, int z_stop, int nz, int ny, int nx)
{
    average<-1, -1, -1, true>({level, grey, section, offset, out, top, drop, sections, chunk_y, rz, ry, rx,
             reach_z, reach_y, reach_x, z_start, z_stop, nz, ny, nx});
}
