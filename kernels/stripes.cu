// Stripes of one plane by its grey steps, and the frame in which they stand upright: `fibtomo.ops.stripe_steps`,
// `fibtomo.ops.stripe_frame`.
//
// Planes are (ny, nx), profiles (band, nx), float32; a band is `band_rows` rows, the last one may have fewer. Steps lie
// between columns: (…, nx - 1). `spans` (ny, 2) holds the columns [first, last) of each row inside the plane.

#include "common.cuh"

#define TILE 32     // side of the tile that a block of 32 x 8 threads makes
#define CHUNKS 256  // parts of a line that are solved side by side

__device__ int mirrored(int i, int n)
{
    i %= 2 * n;
    if (i < 0) i += 2 * n;
    return min(i, 2 * n - 1 - i);
}

// Derivatives along x and y: half kernels `smooth` and `slope` from the centre outwards, mirrored at the rim. One block
// makes a tile; shared: its grey values with a halo, then its columns smoothed (`blur`) and differentiated (`rise`).
extern "C" __global__ __launch_bounds__(256, 4) void gradients(
    const float *__restrict__ u, const float *__restrict__ smooth, const float *__restrict__ slope,
    float *__restrict__ gx, float *__restrict__ gy, int radius, int ny, int nx)
{
    DYNAMIC_SHARED(float, tile);
    const int side = TILE + 2 * radius, x0 = blockIdx.x * TILE, y0 = blockIdx.y * TILE;
    float *blur = tile + side * side, *rise = blur + TILE * side;
    for (int j = threadIdx.y; j < side; j += blockDim.y) {
        const float *row = u + (size_t)mirrored(y0 + j - radius, ny) * nx;
        for (int i = threadIdx.x; i < side; i += TILE) tile[j * side + i] = row[mirrored(x0 + i - radius, nx)];
    }
    __syncthreads();
    for (int j = threadIdx.y; j < TILE; j += blockDim.y)
        for (int i = threadIdx.x; i < side; i += TILE) {
            const float *centre = tile + (j + radius) * side + i;
            float even = smooth[0] * centre[0], odd = 0.0f;
            for (int k = 1; k <= radius; ++k) {
                const float above = centre[-k * side], below = centre[k * side];
                even += smooth[k] * (below + above);
                odd += slope[k] * (below - above);
            }
            blur[j * side + i] = even;
            rise[j * side + i] = odd;
        }
    __syncthreads();
    const int x = x0 + threadIdx.x;
    for (int j = threadIdx.y; j < TILE && y0 + j < ny; j += blockDim.y) {
        if (x >= nx) continue;
        const float *even = blur + j * side + threadIdx.x + radius, *odd = rise + j * side + threadIdx.x + radius;
        float along_x = 0.0f, along_y = smooth[0] * odd[0];
        for (int k = 1; k <= radius; ++k) {
            along_x += slope[k] * (even[k] - even[-k]);
            along_y += smooth[k] * (odd[k] + odd[-k]);
        }
        gx[(size_t)(y0 + j) * nx + x] = along_x;
        gy[(size_t)(y0 + j) * nx + x] = along_y;
    }
}

// One thread makes the median of the first `use`, an odd number, of a run of `rows` rows, clipped at +-limit; by
// bisection, on values that the first round leaves in the cache.
extern "C" __global__ void run_medians(
    const float *__restrict__ a, float *__restrict__ out, int rows, int use, float limit, int halvings, int runs, int nx)
{
    const int x = THREAD_X, run = THREAD_Y;
    if (x >= nx || run >= runs) return;
    const float *first = a + (size_t)run * rows * nx + x;
    float middle = 0.0f, step = limit;
    for (int k = 0; k < halvings; ++k) {
        int below = 0;
#pragma unroll 8
        for (int y = 0; y < use; ++y) below += first[(size_t)y * nx] < middle;
        step *= 0.5f;
        middle += 2 * below > use ? -step : step;
    }
    out[(size_t)run * nx + x] = middle;
}

// Tukey's biweight of a gradient: 1 where it vanishes, 0 on structure.
__device__ float flatness(float gx, float gy, float inverse)
{
    const float near = fmaxf(1.0f - (gx * gx + gy * gy) * inverse, 0.0f);
    return near * near;
}

// One thread sums the weights of a horizontal step over the rows of a band, and the weighted steps.
extern "C" __global__ void band_steps(
    const float *__restrict__ u, const float *__restrict__ gx, const float *__restrict__ gy,
    const float *__restrict__ stripe, const long long *__restrict__ spans, float *__restrict__ weights,
    float *__restrict__ steps, float inverse, int band_rows, int bands, int ny, int nx)
{
    const int x = THREAD_X, band = THREAD_Y;
    if (x >= nx - 1 || band >= bands) return;
    const float left = stripe[(size_t)band * nx + x], right = stripe[(size_t)band * nx + x + 1];
    float weight = 0.0f, step = 0.0f;
    for (int y = band * band_rows; y < min((band + 1) * band_rows, ny); ++y) {
        if (x < spans[2 * y] || x + 1 >= spans[2 * y + 1]) continue;
        const size_t at = (size_t)y * nx + x;
        const float w = fminf(flatness(gx[at] - left, gy[at], inverse), flatness(gx[at + 1] - right, gy[at + 1], inverse));
        weight += w;
        step += w * (u[at + 1] - u[at]);
    }
    weights[(size_t)band * (nx - 1) + x] = weight;
    steps[(size_t)band * (nx - 1) + x] = step;
}

// One thread makes a horizontal step times its weight.
extern "C" __global__ void flat_steps(
    const float *__restrict__ u, const float *__restrict__ gx, const float *__restrict__ gy, float *__restrict__ out,
    float inverse, int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= nx - 1 || y >= ny) return;
    const size_t at = (size_t)y * nx + x;
    const float w = fminf(flatness(gx[at], gy[at], inverse), flatness(gx[at + 1], gy[at + 1], inverse));
    out[(size_t)y * (nx - 1) + x] = w * (u[at + 1] - u[at]);
}

// (x, y) of (y, x) less what its bands hold; one block turns a tile.
extern "C" __global__ __launch_bounds__(256) void transposed(
    const float *__restrict__ a, const float *__restrict__ stripe, float *__restrict__ out, int band_rows, int ny, int nx)
{
    __shared__ float tile[TILE][TILE + 1];
    const int x0 = blockIdx.x * TILE, y0 = blockIdx.y * TILE;
    for (int j = threadIdx.y; j < TILE; j += blockDim.y) {
        const int y = y0 + j, x = x0 + threadIdx.x;
        if (y < ny && x < nx)
            tile[j][threadIdx.x] = a[(size_t)y * nx + x] - stripe[(size_t)(y / band_rows) * nx + x];
    }
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += blockDim.y) {
        const int x = x0 + i, y = y0 + threadIdx.x;
        if (y < ny && x < nx) out[(size_t)x * ny + y] = tile[threadIdx.x][i];
    }
}

// One thread interpolates a pixel of a row that starts at first[y], through the taps of the row; edges held.
extern "C" __global__ void shifted_rows(
    const float *__restrict__ a, const long long *__restrict__ first, const float *__restrict__ taps,
    float *__restrict__ out, int count, int ny, int nx, int width)
{
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= width || y >= ny) return;
    const float *row = a + (size_t)y * nx, *weight = taps + (size_t)y * count;
    const int start = x + (int)first[y];
    float sum = 0.0f;
    for (int t = 0; t < count; ++t) sum += weight[t] * row[min(max(start + t, 0), nx - 1)];
    out[(size_t)y * width + x] = sum;
}

// One thread mixes band low[y] and the next by part[y].
extern "C" __global__ void rows_of_bands(
    const float *__restrict__ bands, const long long *__restrict__ low, const float *__restrict__ part,
    float *__restrict__ out, int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= nx || y >= ny) return;
    const float *near = bands + (size_t)low[y] * nx + x;
    out[(size_t)y * nx + x] = near[0] + part[y] * (near[nx] - near[0]);
}

// Profiles s of least sum of w (s[x + 1] - s[x] - step / w)^2 + screening s^2. One block solves the tridiagonal system
// of a band, in double precision (its condition number is that of a Poisson equation). Each thread eliminates the
// inside of a chunk: s[i] = value + ahead s[i + 1] + back s[before the chunk]; what is left ties the last s of each
// chunk to those of its neighbours and is solved by parallel cyclic reduction (Hockney 1965, doi:10.1145/321250.321259;
// partition as in Wang 1981, doi:10.1145/355945.355947). scratch: (band, 3, chunk length, CHUNKS).
extern "C" __global__ __launch_bounds__(CHUNKS) void integrate_steps(
    const float *__restrict__ weights, const float *__restrict__ steps, double *__restrict__ scratch,
    float *__restrict__ out, double screening, int n)
{
    __shared__ double shared_value[CHUNKS], shared_back[CHUNKS], shared_ahead[CHUNKS];
    const int t = threadIdx.x, length = (n + CHUNKS - 1) / CHUNKS;
    const int first = min(t * length, n), last = min(first + length, n);
    const float *weight = weights + (size_t)blockIdx.y * (n - 1), *step = steps + (size_t)blockIdx.y * (n - 1);
    double *values = scratch + (size_t)blockIdx.y * 3 * length * CHUNKS + t;
    double *backs = values + (size_t)length * CHUNKS, *aheads = backs + (size_t)length * CHUNKS;

    double value = 0.0, back = first < last ? 1.0 : 0.0, ahead = 0.0;
    double left = first > 0 && first < last ? weight[first - 1] : 0.0;
    double carried = first > 0 && first < last ? step[first - 1] : 0.0;
    for (int i = first; i < last; ++i) {
        const double right = i < n - 1 ? weight[i] : 0.0, rise = i < n - 1 ? step[i] : 0.0;
        const double inverse = 1.0 / (screening + right + left - left * ahead);
        value = (carried - rise + left * value) * inverse;
        back *= left * inverse;
        ahead = right * inverse;
        left = right;
        carried = rise;
        const size_t at = (size_t)(i - first) * CHUNKS;
        values[at] = value;
        backs[at] = back;
        aheads[at] = ahead;
    }
    // the first s of the chunk, in terms of the last one and of the one before the chunk
    double first_value = 0.0, first_back = 0.0, first_last = first < last ? 1.0 : 0.0;
    for (int i = last - 2; i >= first; --i) {
        const size_t at = (size_t)(i - first) * CHUNKS;
        first_value = values[at] + aheads[at] * first_value;
        first_back = backs[at] + aheads[at] * first_back;
        first_last *= aheads[at];
    }
    shared_value[t] = first_value;
    shared_back[t] = first_back;
    shared_ahead[t] = first_last;
    __syncthreads();
    const int next = min(t + 1, CHUNKS - 1);  // ahead is 0 in the last chunk
    const double scale = 1.0 / (1.0 - ahead * shared_back[next]);
    value = (value + ahead * shared_value[next]) * scale;
    ahead *= shared_ahead[next] * scale;
    back *= scale;

    for (int far = 1; far < CHUNKS; far *= 2) {
        __syncthreads();
        shared_value[t] = value;
        shared_back[t] = back;
        shared_ahead[t] = ahead;
        __syncthreads();
        const int low = max(t - far, 0), high = min(t + far, CHUNKS - 1);
        const double to_low = t >= far ? back : 0.0, to_high = t + far < CHUNKS ? ahead : 0.0;
        const double factor = 1.0 / (1.0 - to_low * shared_ahead[low] - to_high * shared_back[high]);
        value = (value + to_low * shared_value[low] + to_high * shared_value[high]) * factor;
        back = to_low * shared_back[low] * factor;
        ahead = to_high * shared_ahead[high] * factor;
    }
    __syncthreads();
    shared_value[t] = value;
    __syncthreads();
    const double before = t > 0 ? shared_value[t - 1] : 0.0;
    float *profile = out + (size_t)blockIdx.y * n;
    for (int i = last - 1; i >= first; --i) {
        const size_t at = (size_t)(i - first) * CHUNKS;
        if (i < last - 1) value = values[at] + backs[at] * before + aheads[at] * value;
        profile[i] = (float)value;
    }
}
