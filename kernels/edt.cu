// Exact Euclidean distance of each True voxel to the nearest False one, axis after axis (squares until the last).
//
// edt_rows: one warp makes one row (z, y). It packs the row into words of 32 voxels; the nearest False voxel to the
// left lies in the own word or is carried along, the nearest to the right lies in the own word or starts a later one,
// which a first walk from right to left notes in shared memory: (words, next) of each row of the block, 2 * chunks ints.
// edt_axis: one thread makes one voxel of the pass along y or z: the least of in(q) + (spacing (q - p))^2. It looks
// outwards and stops where the step alone exceeds the best, so it is exact and costs about the distance itself; the
// threads of a warp read neighbouring columns, and the lines they share stay in the cache.
//
// Layout: volumes (nz, ny, nx). `limit` caps distances, INFINITY for none. `border`: voxels outside are False.

#include "common.cuh"

extern "C" __global__ __launch_bounds__(256) void edt_rows(
    const unsigned char *__restrict__ mask, float *__restrict__ squares, int ny, int nx, float spacing, float limit,
    int border)
{
    DYNAMIC_SHARED(int, shared);
    const int lane = threadIdx.x, chunks = (nx + 31) / 32;
    const size_t row = (size_t)THREAD_Z * ny + THREAD_Y;
    int *words = shared + 2 * chunks * threadIdx.y, *next = words + chunks;
    if (THREAD_Y >= ny) return;  // a whole warp

    const unsigned char *line = mask + row * nx;
    const int far = 1 << 30;
    int right = border ? nx : far;  // nearest False voxel beyond the word at hand
    for (int chunk = chunks - 1; chunk >= 0; --chunk) {
        const int x = 32 * chunk + lane;
        const unsigned word = __ballot_sync(~0u, x < nx && line[x] == 0);
        if (lane == 0) {
            words[chunk] = (int)word;
            next[chunk] = right;
        }
        if (word != 0) right = 32 * chunk + __ffs((int)word) - 1;
    }
    __syncwarp();
    int left = border ? -1 : -far;
    for (int chunk = 0; chunk < chunks; ++chunk) {
        const int x = 32 * chunk + lane;
        const unsigned word = (unsigned)words[chunk];
        const unsigned below = word & (~0u >> (31 - lane)), above = word & (~0u << lane);
        const int before = below ? 32 * chunk + 31 - __clz((int)below) : left;
        const int after = above ? 32 * chunk + __ffs((int)above) - 1 : next[chunk];
        if (x < nx) {
            const int steps = min(x - before, after - x);
            const float distance = steps > nx ? limit : fminf(spacing * (float)steps, limit);
            squares[row * nx + x] = distance * distance;
        }
        if (word != 0) left = 32 * chunk + 31 - __clz((int)word);
    }
}

extern "C" __global__ __launch_bounds__(256) void edt_axis(
    const float *__restrict__ squares, float *__restrict__ out, int nz, int ny, int nx, int along_z, float spacing,
    float limit, int border)
{
    const int x = THREAD_X, y = THREAD_Y, z = THREAD_Z;
    if (x >= nx || y >= ny || z >= nz) return;
    const size_t at = ((size_t)z * ny + y) * nx + x, stride = along_z ? (size_t)ny * nx : (size_t)nx;
    const int position = along_z ? z : y, after = (along_z ? nz : ny) - 1 - position;
    const float square = spacing * spacing;

    float best = squares[at];
    if (border) {
        const float outside = (float)(min(position, after) + 1);
        best = fminf(best, square * outside * outside);
    }
    const float *lower = squares + at, *upper = lower;
    const int reach = max(position, after);
    for (int steps = 1; steps <= reach; ++steps) {
        const float step = square * (float)steps * (float)steps;
        if (step >= best) break;
        if (steps <= position) {
            lower -= stride;
            best = fminf(best, step + *lower);
        }
        if (steps <= after) {
            upper += stride;
            best = fminf(best, step + *upper);
        }
    }
    out[at] = along_z ? fminf(sqrtf(best), limit) : best;
}
