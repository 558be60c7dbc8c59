// Histograms of equal bins over rectangles of slices, all slices together or each for itself.
//
//   bin = floor((value - start) / width), below the first -1, above the last `bins`
//
// of whole numbers by whole arithmetic. A block counts a strip of a rectangle of one slice. Few bins lie in shared
// memory, in as many copies as there is room for, so that warps do not wait for each other; then or else lanes that agree
// with the first lane left count as one, twice: a warp inside one phase, padding or saturation costs one atomic.
//
// Layouts: start, width (rows); spans (nz, ny, 2) as x0, x1 if `bounded`; patches (patches, 4) as y0, y1, x0, x1;
// counts (rows, patches, bins + 2); rows is 1 or nz.

#include "common.cuh"

#define STRIP 64
#define ROUNDS 2
#define WHOLE_WARP 0xffffffffu

template <class T>
__device__ void add(T *counts, int place, bool counted)
{
    const int lane = threadIdx.x;
    unsigned left = __ballot_sync(WHOLE_WARP, counted);
    for (int round = 0; round < ROUNDS && left != 0; ++round) {
        const int leader = __ffs(left) - 1, common = __shfl_sync(WHOLE_WARP, place, leader);
        const unsigned peers = __ballot_sync(WHOLE_WARP, counted && place == common);
        if (lane == leader) atomicAdd(counts + common, (T)__popc(peers));
        counted = counted && place != common;
        left &= ~peers;
    }
    if (counted) atomicAdd(counts + place, (T)1);
}

__device__ int bin_of(SOURCE_T value, float start, float width, int bins)
{
    if ((SOURCE_T)0.5f == (SOURCE_T)0) {
        const int above = (int)value - (int)start, bin = width == 1.0f ? above : above / (int)width;
        return above < 0 ? -1 : min(bin, bins);
    }
    const float bin = floorf(((float)value - start) / width);
    return bin < 0.0f ? -1 : bin >= bins ? bins : (int)bin;
}

extern "C" __global__ __launch_bounds__(256) void count_bins(
    const SOURCE_T *__restrict__ volume, unsigned long long *__restrict__ counts,
    const float *__restrict__ start, const float *__restrict__ width,
    const int *__restrict__ spans, const int *__restrict__ patches,
    int bounded, int copies, int bins, int rows, int ny, int nx)
{
    DYNAMIC_SHARED(unsigned, near);  // (copies, bins + 2)
    const int lane = threadIdx.x, warp = threadIdx.y, thread = warp * 32 + lane, z = blockIdx.z, patch = blockIdx.y;
    const int places = bins + 2, row = rows > 1 ? z : 0;
    for (int i = thread; i < copies * places; i += 256) near[i] = 0;
    __syncthreads();

    const int *box = patches + 4 * patch;
    const int y_start = box[0] + blockIdx.x * STRIP, y_stop = min(y_start + STRIP, box[1]);
    const float from = start[row], step = width[row];
    unsigned *own = near + (copies ? warp % copies : 0) * places;
    unsigned long long *whole = counts + ((size_t)row * gridDim.y + patch) * places;
    for (int y = y_start + warp; y < y_stop; y += 8) {
        const size_t line = (size_t)z * ny + y;
        const int x_start = bounded ? max(box[2], spans[2 * line]) : box[2];
        const int x_stop = bounded ? min(box[3], spans[2 * line + 1]) : box[3];
        for (int x0 = x_start; x0 < x_stop; x0 += 32) {
            const int x = x0 + lane;
            const SOURCE_T value = x < x_stop ? volume[line * nx + x] : (SOURCE_T)0;
            const bool counted = x < x_stop && value == value;  // not NaN
            const int place = counted ? bin_of(value, from, step, bins) + 1 : 0;
            if (copies) add(own, place, counted);
            else add(whole, place, counted);
        }
    }
    __syncthreads();
    for (int i = thread; i < places; i += 256) {
        unsigned total = 0;
        for (int copy = 0; copy < copies; ++copy) total += near[copy * places + i];
        if (total != 0) atomicAdd(whole + i, (unsigned long long)total);
    }
}
