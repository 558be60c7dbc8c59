// Cells of 2 x 2 x 2 voxels, counted by their configuration, slice by slice and tile by tile.
//
// All counts are whole numbers, so that nothing depends on the order of threads; areas and Euler numbers follow from
// tables over the 256 configurations. Voxel (dz, dy, dx) of a cell is corner 4 dz + 2 dy + dx and bit of that number.
// A block makes a strip of a tile of one slice. Its warps take 31 columns each, a lane more closes the last cells, and
// march down them: a cell costs two loads, and runs of one phase are counted as one.
//
// Layouts, of `phases` phases and `pairs` = phases (phases - 1) / 2 pairs a < b of them in order, at least one:
//   voxels (nz, tiles, tiles, phases), cells (nz, tiles, tiles): voxels seen, cells seen whole
//   two (nz, tiles, tiles, pairs, 256): cells of exactly two phases by the corners of a
//   many (nz, tiles, tiles, phases, 256): cells of more phases, once for each of them, by its corners
//   unlike (nz, pairs, 28): unlike pairs of corners in cells of more phases
// With `split` = 0 cells of two phases count as of many, without table `two`.

#include "common.cuh"

#define CONFIGURATIONS 256
#define OUTSIDE 255  // phase of what was not seen; its voxel count holds the cells
#define STRIP 64
#define MARCH 16
#define COLUMNS 31

struct Slices {
    const unsigned char *lower, *upper;  // slice z and the next, or nothing
    int ny, nx;

    // The two voxels at (y, x).
    __device__ unsigned at(int y, int x) const
    {
        if (y >= ny || x >= nx) return OUTSIDE | OUTSIDE << 8;
        const size_t i = (size_t)y * nx + x;
        return lower[i] | (upper ? upper[i] : OUTSIDE) << 8;
    }
};

// Cell of eight phases: byte j of `left` is corner 2 j, of `right` corner 2 j + 1.
struct Cell {
    unsigned left, right;

    __device__ static bool any_outside(unsigned four) { return ((~four - 0x01010101u) & four & 0x80808080u) != 0; }
    __device__ bool seen() const { return !any_outside(left) && !any_outside(right); }
    __device__ int phase(int corner) const { return (corner & 1 ? right : left) >> corner / 2 * 8 & 255; }
    __device__ int corners_of(int which) const
    {
        int configuration = 0;
        for (int corner = 0; corner < 8; ++corner) configuration |= (phase(corner) == which) << corner;
        return configuration;
    }
};

__device__ int pair_of(int a, int b, int phases) { return a * (2 * phases - a - 1) / 2 + b - a - 1; }

__device__ void count_many(Cell cell, unsigned *many, unsigned *unlike, int phases)
{
    for (int first = 0, pair = 0; first < 8; ++first) {
        const int a = cell.phase(first), corners = cell.corners_of(a);
        if ((corners & ((1 << first) - 1)) == 0) atomicAdd(many + a * CONFIGURATIONS + corners, 1u);
        for (int second = first + 1; second < 8; ++second, ++pair) {
            const int b = cell.phase(second);
            if (a != b) atomicAdd(unlike + pair_of(min(a, b), max(a, b), phases) * 28 + pair, 1u);
        }
    }
}

extern "C" __global__ __launch_bounds__(256, 4) void count_cells(
    const unsigned char *__restrict__ volume, unsigned *__restrict__ voxels, unsigned *__restrict__ cells,
    unsigned *__restrict__ two, unsigned *__restrict__ many, unsigned *__restrict__ unlike,
    int split, int shared_pairs, int phases, int pairs, int tile_px, int strips, int tiles_y, int tiles_x,
    int z0, int slices, int ny, int nx)
{
    DYNAMIC_SHARED(unsigned, near);  // (shared_pairs, CONFIGURATIONS), the block's part of `two`
    __shared__ unsigned count[OUTSIDE + 1];
    const int lane = threadIdx.x, thread = threadIdx.y * 32 + lane, z = blockIdx.z;
    count[thread] = 0;
    for (int i = thread; i < shared_pairs * CONFIGURATIONS; i += 256) near[i] = 0;
    __syncthreads();

    const int ty = blockIdx.y / strips, tx = blockIdx.x;
    const int y_start = ty * tile_px + blockIdx.y % strips * STRIP, x_start = tx * tile_px;
    const int y_stop = min(min(y_start + STRIP, (ty + 1) * tile_px), ny), x_stop = min(x_start + tile_px, nx);
    const size_t tile = ((size_t)z * tiles_y + ty) * tiles_x + tx;
    const unsigned char *own = volume + (size_t)(z0 + z) * ny * nx;
    const Slices slice = {own, z0 + z + 1 < slices ? own + (size_t)ny * nx : nullptr, ny, nx};
    unsigned *whole = two + tile * pairs * CONFIGURATIONS, *table = shared_pairs ? near : whole;
    many += tile * phases * CONFIGURATIONS;
    unlike += (size_t)z * pairs * 28;

    const int bands = (x_stop - x_start + COLUMNS - 1) / COLUMNS, marches = STRIP / MARCH;
    unsigned seen = 0;
    for (int part = threadIdx.y; part < bands * marches; part += 8) {
        const int y0 = y_start + part / bands * MARCH, y1 = min(y0 + MARCH, y_stop);
        const int x = x_start + part % bands * COLUMNS + lane;
        const bool mine = lane < COLUMNS && x < x_stop;
        unsigned above = slice.at(y0, x), run = 0;
        int last = OUTSIDE;
        for (int y = y0; y < y1; ++y) {
            const unsigned below = slice.at(y + 1, x);
            Cell cell;
            cell.left = (above & 255) | (below & 255) << 8 | (above >> 8) << 16 | (below >> 8) << 24;
            cell.right = __shfl_down_sync(0xffffffffu, cell.left, 1);
            above = below;
            if (!mine) continue;
            const int a = cell.phase(0);
            if (a != last) {
                if (last != OUTSIDE) atomicAdd(count + last, run);
                last = a;
                run = 0;
            }
            ++run;
            if (!cell.seen()) continue;
            ++seen;
            if (cell.left == a * 0x01010101u && cell.right == cell.left) continue;  // one phase, no surface
            const int corners = cell.corners_of(a);
            const int b = cell.phase(__ffs(~corners) - 1);
            if (!split || (corners | cell.corners_of(b)) != 255) count_many(cell, many, unlike, phases);
            else
                atomicAdd(table + pair_of(min(a, b), max(a, b), phases) * CONFIGURATIONS
                              + (a < b ? corners : 255 - corners),
                          1u);
        }
        if (last != OUTSIDE) atomicAdd(count + last, run);
    }
    if (seen != 0) atomicAdd(count + OUTSIDE, seen);
    __syncthreads();
    if (count[thread] != 0) {
        if (thread == OUTSIDE) atomicAdd(cells + tile, count[thread]);
        else atomicAdd(voxels + tile * phases + thread, count[thread]);
    }
    for (int i = thread; i < shared_pairs * CONFIGURATIONS; i += 256)
        if (near[i] != 0) atomicAdd(whole + i, near[i]);
}
