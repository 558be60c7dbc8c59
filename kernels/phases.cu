// Stripes of one plane by how far its pixels lie off the greys of their phases: `fibtomo.ops.stripe_phases`.
//
// Planes are (ny, nx), profiles (band, nx), float32; a band is `band_rows` rows, the last one may have fewer. `labels`
// (ny, nx) number the phases, higher ones mean no phase. gain, grey and cut (phases,): how strongly a phase shows the
// stripes, its grey, and how far off it a pixel may lie.

#include "common.cuh"

#define TILE 32  // side of the tile that a block of 32 x 8 threads smooths

// (ny, nx) less its bands, smoothed by a half kernel from the centre outwards, edges held. One block makes a tile;
// shared: its grey values with a halo, then its columns smoothed.
extern "C" __global__ __launch_bounds__(256, 4) void smoothed(
    const float *__restrict__ u, const float *__restrict__ stripe, const float *__restrict__ taps,
    float *__restrict__ out, int band_rows, int radius, int ny, int nx)
{
    DYNAMIC_SHARED(float, tile);
    const int side = TILE + 2 * radius, x0 = blockIdx.x * TILE, y0 = blockIdx.y * TILE;
    float *middle = tile + side * side;
    for (int j = threadIdx.y; j < side; j += blockDim.y) {
        const int y = min(max(y0 + j - radius, 0), ny - 1);
        const float *row = u + (size_t)y * nx, *bands = stripe + (size_t)(y / band_rows) * nx;
        for (int i = threadIdx.x; i < side; i += TILE) {
            const int x = min(max(x0 + i - radius, 0), nx - 1);
            tile[j * side + i] = row[x] - bands[x];
        }
    }
    __syncthreads();
    for (int j = threadIdx.y; j < TILE; j += blockDim.y)
        for (int i = threadIdx.x; i < side; i += TILE) {
            const float *centre = tile + (j + radius) * side + i;
            float sum = taps[0] * centre[0];
            for (int k = 1; k <= radius; ++k) sum += taps[k] * (centre[-k * side] + centre[k * side]);
            middle[j * side + i] = sum;
        }
    __syncthreads();
    const int x = x0 + threadIdx.x;
    for (int j = threadIdx.y; j < TILE && y0 + j < ny; j += blockDim.y) {
        if (x >= nx) continue;
        const float *centre = middle + j * side + threadIdx.x + radius;
        float sum = taps[0] * centre[0];
        for (int k = 1; k <= radius; ++k) sum += taps[k] * (centre[-k] + centre[k]);
        out[(size_t)(y0 + j) * nx + x] = sum;
    }
}

// One thread labels a pixel by the number of thresholds below its grey, `outside` where that differs within +-reach rows
// and columns or the pixel lies outside its span. Shared: labels of the block (32, 8) with a halo.
extern "C" __global__ __launch_bounds__(256) void pure_labels(
    const float *__restrict__ smooth, const float *__restrict__ thresholds, const long long *__restrict__ spans,
    unsigned char *__restrict__ out, int count, int reach, int outside, int ny, int nx)
{
    DYNAMIC_SHARED(unsigned char, tile);
    const int wide = blockDim.x + 2 * reach, high = blockDim.y + 2 * reach;
    for (int j = threadIdx.y; j < high; j += blockDim.y) {
        const int y = min(max((int)(blockIdx.y * blockDim.y) + j - reach, 0), ny - 1);
        for (int i = threadIdx.x; i < wide; i += blockDim.x) {
            const int x = min(max((int)(blockIdx.x * blockDim.x) + i - reach, 0), nx - 1);
            const float grey = smooth[(size_t)y * nx + x];
            int label = 0;
            for (int t = 0; t < count; ++t) label += grey > thresholds[t];
            const bool inside = x >= spans[2 * y] && x < spans[2 * y + 1];
            tile[j * wide + i] = (unsigned char)(inside ? label : outside);
        }
    }
    __syncthreads();
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= nx || y >= ny) return;
    const unsigned char *corner = tile + threadIdx.y * wide + threadIdx.x;
    const unsigned char label = corner[reach * wide + reach];
    bool same = true;
    for (int j = 0; j <= 2 * reach; ++j)
        for (int i = 0; i <= 2 * reach; ++i) same = same && corner[j * wide + i] == label;
    out[(size_t)y * nx + x] = same ? label : (unsigned char)outside;
}

// One warp counts the pixels of each phase in a cell of `cell` columns of a band that lie near the grey of their phase,
// stripes allowed for, and sums how far off they are: count, total (phase, band, cell).
extern "C" __global__ void cell_sums(
    const float *__restrict__ u, const unsigned char *__restrict__ labels, const float *__restrict__ stripe,
    const float *__restrict__ gain, const float *__restrict__ grey, const float *__restrict__ cut,
    float *__restrict__ count, float *__restrict__ total, int phases, int band_rows, int cell, int cells, int bands,
    int ny, int nx)
{
    const int at = blockIdx.x, band = THREAD_Y;
    if (band >= bands) return;
    const float *bands_row = stripe + (size_t)band * nx;
    const int end = min((at + 1) * cell, nx), below = min((band + 1) * band_rows, ny);
    for (int k = 0; k < phases; ++k) {
        const float centre = grey[k], share = gain[k], most = cut[k];
        float pixels = 0.0f, sum = 0.0f;
        for (int y = band * band_rows; y < below; ++y)
            for (int x = at * cell + threadIdx.x; x < end; x += warpSize) {
                if (labels[(size_t)y * nx + x] != k) continue;
                const float off = u[(size_t)y * nx + x] - centre - share * bands_row[x];
                if (!(fabsf(off) < most)) continue;
                pixels += 1.0f;
                sum += off;
            }
        for (int far = 16; far > 0; far /= 2) {
            pixels += __shfl_down_sync(0xffffffffu, pixels, far);
            sum += __shfl_down_sync(0xffffffffu, sum, far);
        }
        if (threadIdx.x == 0) {
            count[((size_t)k * bands + band) * cells + at] = pixels;
            total[((size_t)k * bands + band) * cells + at] = sum;
        }
    }
}

// One thread counts the pixels of each phase in a column of a band that lie near the local grey of their phase, and sums
// how far off it they are, stripes kept: count, total, slow (phase, band, nx).
extern "C" __global__ void class_sums(
    const float *__restrict__ u, const unsigned char *__restrict__ labels, const float *__restrict__ stripe,
    const float *__restrict__ gain, const float *__restrict__ grey, const float *__restrict__ cut,
    const float *__restrict__ slow, float *__restrict__ count, float *__restrict__ total, int phases, int band_rows,
    int bands, int ny, int nx)
{
    const int x = THREAD_X, band = THREAD_Y;
    if (x >= nx || band >= bands) return;
    const float here = stripe[(size_t)band * nx + x];
    const int below = min((band + 1) * band_rows, ny);
    for (int k = 0; k < phases; ++k) {
        const size_t at = ((size_t)k * bands + band) * nx + x;
        const float centre = grey[k], shade = slow[at], expected = gain[k] * here, most = cut[k];
        float pixels = 0.0f, sum = 0.0f;
        for (int y = band * band_rows; y < below; ++y) {
            if (labels[(size_t)y * nx + x] != k) continue;
            const float off = u[(size_t)y * nx + x] - centre - shade;
            if (!(fabsf(off - expected) < most)) continue;
            pixels += 1.0f;
            sum += off;
        }
        count[at] = pixels;
        total[at] = sum;
    }
}

// One thread solves the tridiagonal system of a column along the bands, neighbouring threads neighbouring columns:
// least sum of weight (s - total / weight)^2 + tie (s[band + 1] - s[band])^2. ratio: scratch (band, nx).
extern "C" __global__ void tied_columns(
    const float *__restrict__ weight, const float *__restrict__ total, const float *__restrict__ tie,
    float *__restrict__ ratio, float *__restrict__ out, int bands, int nx)
{
    const int x = THREAD_X;
    if (x >= nx) return;
    float before = 0.0f, share = 0.0f, value = 0.0f;
#pragma unroll 4
    for (int b = 0; b < bands; ++b) {
        const size_t at = (size_t)b * nx + x;
        const float here = tie[at], inverse = 1.0f / (weight[at] + here + before * (1.0f - share));
        value = (total[at] + before * value) * inverse;
        share = here * inverse;
        before = here;
        ratio[at] = share;
        out[at] = value;
    }
#pragma unroll 4
    for (int b = bands - 2; b >= 0; --b) {
        const size_t at = (size_t)b * nx + x;
        value = out[at] + ratio[at] * value;
        out[at] = value;
    }
}

// One thread sets the tie between two bands in a column by how far they differ over three columns.
extern "C" __global__ void loosened(
    const float *__restrict__ profile, float *__restrict__ tie, float stiffness, float inverse, int bands, int nx)
{
    const int x = THREAD_X, band = THREAD_Y;
    if (x >= nx || band >= bands - 1) return;
    const float *upper = profile + (size_t)band * nx, *lower = upper + nx;
    const int left = max(x - 1, 0), right = min(x + 1, nx - 1);
    const float beside = fabsf(lower[left] - upper[left]) + fabsf(lower[right] - upper[right]);
    const float size = 0.25f * beside + 0.5f * fabsf(lower[x] - upper[x]);
    tie[(size_t)band * nx + x] = stiffness / (1.0f + size * size * inverse);
}

// One thread multiplies a pixel by a gain that depends on another's grey: linear between the given greys, held beyond.
extern "C" __global__ void scaled_by_grey(
    const float *__restrict__ field, const float *__restrict__ smooth, const float *__restrict__ grey,
    const float *__restrict__ gain, float *__restrict__ out, int phases, int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= nx || y >= ny) return;
    const size_t at = (size_t)y * nx + x;
    const float v = smooth[at];
    int k = 0;
    while (k < phases - 1 && v > grey[k + 1]) ++k;
    float g = gain[k];
    if (k < phases - 1 && v > grey[k]) g += (gain[k + 1] - gain[k]) * (v - grey[k]) / (grey[k + 1] - grey[k]);
    out[at] = field[at] * g;
}
