// Connected components of equal non-zero class, numbered in raster order, and integer statistics of them.
//
// Union-find in which a root is the smallest index of its tree: tiles of 32 x 8 x 8 voxels in shared memory, then by
// atomicMin across the seams between tiles in global memory, which needs no second pass (Playne & Hawick 2018, IEEE
// Trans. Parallel Distrib. Syst. 29, 1217; Allegretti, Bolelli & Grana 2020, ibid. 31, 423). Runs along x start as one
// tree and are counted as one (Hennequin et al. 2018, DASIP, 76). The result does not depend on the order of threads.
//
// A forest (nz, ny, nx) holds for each voxel the index of its parent + 1, 0 for background. Volumes have fewer than
// 2^31 voxels. `reach` is 1, 2 or 3 for 6-, 18- or 26-connectivity.

#include "common.cuh"

#define TILE_X 32
#define TILE_Y 8
#define TILE_Z 8
#define NUMBERED 0x80000000u  // marks a number where there was a parent
#define WHOLE_WARP 0xffffffffu

// A box of classes; nothing beyond it.
struct Sight {
    const unsigned char *classes;
    int nz, ny, nx;

    __device__ unsigned index(int z, int y, int x) const { return ((unsigned)z * ny + y) * nx + x; }
    __device__ int at(int z, int y, int x) const
    {
        const bool beyond = z < 0 || y < 0 || x < 0 || z >= nz || y >= ny || x >= nx;
        return beyond ? 0 : classes[index(z, y, x)];
    }
};

// Parents change while they are read; an old one still leads to the same root in the end.
__device__ unsigned root(const volatile unsigned *forest, unsigned i)
{
    for (unsigned parent; (parent = forest[i] - 1) != i;) i = parent;
    return i;
}

__device__ void unite(unsigned *forest, unsigned a, unsigned b)
{
    for (;;) {
        a = root(forest, a);
        b = root(forest, b);
        if (a == b) return;
        const unsigned upper = max(a, b), lower = min(a, b), old = atomicMin(forest + upper, lower + 1) - 1;
        if (old == upper) return;
        a = old;  // `upper` had got another parent, which now has to be united with `lower`
        b = lower;
    }
}

// Unite a voxel with its neighbours in the rows before it, either within its tile or across seams. Left out is what
// follows from neighbours within rows.
__device__ void join(Sight sight, unsigned *forest, int z, int y, int x, int reach, bool across)
{
    const int mine = sight.at(z, y, x);
    if (mine == 0) return;
    const bool left = sight.at(z, y, x - 1) == mine, right = sight.at(z, y, x + 1) == mine;
    const unsigned here = sight.index(z, y, x);
    if (across && left && x % TILE_X == 0) unite(forest, here, here - 1);
    for (int row = 0; row < 4; ++row) {
        const int v = z - (row > 0), u = row > 0 ? y + row - 2 : y - 1, steps = (v != z) + (u != y);
        if (steps > reach) continue;
        const bool seam = v / TILE_Z != z / TILE_Z || u / TILE_Y != y / TILE_Y || u < 0 || v < 0;
        if (sight.at(v, u, x) == mine) {
            if (seam == across && !(left && sight.at(v, u, x - 1) == mine)) unite(forest, here, sight.index(v, u, x));
        } else if (steps < reach) {
            if ((seam || x % TILE_X == 0) == across && !left && sight.at(v, u, x - 1) == mine)
                unite(forest, here, sight.index(v, u, x - 1));
            if ((seam || x % TILE_X == TILE_X - 1) == across && !right && sight.at(v, u, x + 1) == mine)
                unite(forest, here, sight.index(v, u, x + 1));
        }
    }
}

// Trees within tiles. A block makes a tile, a warp its rows, a thread a column along z.
extern "C" __global__ __launch_bounds__(256) void label_tiles(
    const unsigned char *__restrict__ classes, unsigned *__restrict__ forest, int reach, int nz, int ny, int nx)
{
    __shared__ unsigned char tile[TILE_Z * TILE_Y * TILE_X];
    __shared__ unsigned tree[TILE_Z * TILE_Y * TILE_X];
    const int lane = threadIdx.x, row = threadIdx.y, x = THREAD_X, y = THREAD_Y, z0 = blockIdx.z * TILE_Z;
    const Sight whole = {classes, nz, ny, nx}, sight = {tile, TILE_Z, TILE_Y, TILE_X};
    for (int k = 0; k < TILE_Z; ++k) {
        const int mine = whole.at(z0 + k, y, x), before = __shfl_up_sync(WHOLE_WARP, mine, 1);
        const unsigned starts = __ballot_sync(WHOLE_WARP, lane == 0 || before != mine);
        const unsigned place = sight.index(k, row, lane), start = 31 - __clz(starts & (WHOLE_WARP >> (31 - lane)));
        tile[place] = mine;
        tree[place] = mine == 0 ? 0 : place - lane + start + 1;
    }
    __syncthreads();
    for (int k = 0; k < TILE_Z; ++k) join(sight, tree, k, row, lane, reach, false);
    __syncthreads();
    if (x >= nx || y >= ny) return;
    for (int k = 0; k < min(TILE_Z, nz - z0); ++k) {
        const unsigned place = sight.index(k, row, lane);
        unsigned parent = 0;
        if (tree[place] != 0) {
            const int top = root(tree, place), line = top / TILE_X;
            parent = whole.index(z0 + line / TILE_Y, y - row + line % TILE_Y, x - lane + top % TILE_X) + 1;
        }
        forest[whole.index(z0 + k, y, x)] = parent;
    }
}

// Trees joined across the seams between tiles. One thread looks after one voxel.
extern "C" __global__ __launch_bounds__(256) void label_seams(
    const unsigned char *__restrict__ classes, unsigned *forest, int reach, int nz, int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y, z = THREAD_Z;
    if (x >= nx || y >= ny || z >= nz) return;
    const bool first = z % TILE_Z == 0 || y % TILE_Y == 0 || x % TILE_X == 0;
    const bool last = y % TILE_Y == TILE_Y - 1 || x % TILE_X == TILE_X - 1;
    if (first || (last && reach > 1)) join({classes, nz, ny, nx}, forest, z, y, x, reach, true);
}

// Number of roots in each row, `count` (nz, ny). A warp makes a row.
extern "C" __global__ __launch_bounds__(256) void count_roots(
    const unsigned *__restrict__ forest, unsigned *__restrict__ count, int nz, int ny, int nx)
{
    const int lane = threadIdx.x, y = THREAD_Y, z = THREAD_Z;
    if (y >= ny || z >= nz) return;
    const unsigned row = (unsigned)z * ny + y;
    unsigned found = 0;
    for (int x0 = 0; x0 < nx; x0 += 32) {
        const unsigned i = row * nx + x0 + lane;
        found += __popc(__ballot_sync(WHOLE_WARP, x0 + lane < nx && forest[i] == i + 1));
    }
    if (lane == 0) count[row] = found;
}

// Give each root its number instead of a parent: 1, 2, ... in raster order. `end` is the running sum of `count`. A warp
// makes a row.
extern "C" __global__ __launch_bounds__(256) void number_roots(
    unsigned *__restrict__ forest, const unsigned *__restrict__ count, const unsigned *__restrict__ end,
    int nz, int ny, int nx)
{
    const int lane = threadIdx.x, y = THREAD_Y, z = THREAD_Z;
    if (y >= ny || z >= nz) return;
    const unsigned row = (unsigned)z * ny + y;
    unsigned met = end[row] - count[row];
    for (int x0 = 0; x0 < nx && met < end[row]; x0 += 32) {
        const unsigned i = row * nx + x0 + lane;
        const bool top = x0 + lane < nx && forest[i] == i + 1;
        const unsigned tops = __ballot_sync(WHOLE_WARP, top), number = met + __popc(tops & ((1u << lane) - 1)) + 1;
        if (top) forest[i] = NUMBERED | number;
        met += __popc(tops);
    }
}

// Number of each voxel's root. One thread makes one voxel.
extern "C" __global__ __launch_bounds__(256) void number_voxels(
    const unsigned *__restrict__ forest, unsigned *__restrict__ labels, int nz, int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y, z = THREAD_Z;
    if (x >= nx || y >= ny || z >= nz) return;
    const size_t i = ((size_t)z * ny + y) * nx + x;
    unsigned up = forest[i];
    while (up != 0 && !(up & NUMBERED)) up = forest[up - 1];
    labels[i] = up & ~NUMBERED;
}

#define VOXELS 0
#define FIRST 1
#define SUMS 2   // z, y, x
#define BOX 5    // z0, z1, y0, y1, x0, x1
#define FACES 11 // z, y, x
#define TOUCHES 14
#define COLUMNS 15
#define SLOTS 256
#define PART_X 128
#define PART_Z 16

__device__ constexpr bool smallest(int column) { return column == FIRST || column == 5 || column == 7 || column == 9; }
__device__ constexpr bool largest(int column) { return column == 6 || column == 8 || column == 10; }

template <class T>
__device__ void merge(T *at, int column, T value)
{
    if (smallest(column)) atomicMin(at, value);
    else if (largest(column)) atomicMax(at, value);
    else if (column == TOUCHES) atomicOr(at, value);
    else if (value != 0) atomicAdd(at, value);
}

// Where a block's part of the volume starts: its sums are taken from there, so that 32 bits hold them.
struct Origin {
    unsigned long long at[3], first;

    __device__ unsigned long long value(int column, unsigned part, unsigned voxels) const
    {
        if (column == FIRST) return first + part;
        return column >= SUMS && column < SUMS + 3 ? part + at[column - SUMS] * voxels : part;
    }
};

struct Seen {
    const unsigned *labels;
    const int *boxes;
    int nz, ny, nx;

    __device__ bool shows(int z, int y, int x) const
    {
        if (z < 0 || z >= nz) return false;
        const int *box = boxes + 4 * z;
        return y >= box[0] && y < box[1] && x >= box[2] && x < box[3];
    }
    __device__ unsigned label(int z, int y, int x) const
    {
        return shows(z, y, x) ? labels[((size_t)z * ny + y) * nx + x] : 0;
    }
    // Whether a neighbour was seen and is another one.
    __device__ bool face(unsigned mine, int z, int y, int x) const
    {
        return shows(z, y, x) && labels[((size_t)z * ny + y) * nx + x] != mine;
    }
};

// Statistics (components, COLUMNS) of numbered voxels within boxes (nz, 4) as y0, y1, x0, x1; slice 0 is slice z0 of
// all_z. A block makes PART_Z x 8 x PART_X voxels, a warp its rows; the first lane of each run adds the run to the
// block's table of SLOTS components, or to the whole one if another component has its slot.
extern "C" __global__ __launch_bounds__(256, 4) void component_statistics(
    const unsigned *__restrict__ labels, const int *__restrict__ boxes, unsigned long long *statistics,
    int nz, int ny, int nx, int z0, int all_z)
{
    __shared__ unsigned owner[SLOTS], table[COLUMNS][SLOTS];
    const int lane = threadIdx.x, thread = threadIdx.y * 32 + lane, y0 = blockIdx.y * blockDim.y, y = y0 + threadIdx.y;
    const int x_start = blockIdx.x * PART_X, z_start = blockIdx.z * PART_Z;
    owner[thread] = 0;
    for (int column = 0; column < COLUMNS; ++column) table[column][thread] = smallest(column) ? ~0u : 0;
    __syncthreads();

    const Seen seen = {labels, boxes, nz, ny, nx};
    const Origin origin = {{(unsigned long long)(z0 + z_start), (unsigned long long)y0, (unsigned long long)x_start},
                           (unsigned long long)z0 * ny * nx};
    const int x_stop = y < ny ? min(x_start + PART_X, nx) : 0, z_stop = min(z_start + PART_Z, nz);
    for (int x0 = x_start; x0 < x_stop; x0 += 32)
        for (int z = z_start; z < z_stop; ++z) {
            const int x = x0 + lane;
            const unsigned mine = seen.label(z, y, x), before = __shfl_up_sync(WHOLE_WARP, mine, 1);
            if (__ballot_sync(WHOLE_WARP, mine != 0) == 0) continue;
            const unsigned starts = __ballot_sync(WHOLE_WARP, lane == 0 || before != mine);
            const unsigned faces[6] = {__ballot_sync(WHOLE_WARP, mine && seen.face(mine, z - 1, y, x)),
                                       __ballot_sync(WHOLE_WARP, mine && seen.face(mine, z + 1, y, x)),
                                       __ballot_sync(WHOLE_WARP, mine && seen.face(mine, z, y - 1, x)),
                                       __ballot_sync(WHOLE_WARP, mine && seen.face(mine, z, y + 1, x)),
                                       __ballot_sync(WHOLE_WARP, mine && seen.face(mine, z, y, x - 1)),
                                       __ballot_sync(WHOLE_WARP, mine && seen.face(mine, z, y, x + 1))};
            if (mine == 0 || !(starts >> lane & 1)) continue;
            const unsigned later = starts & ~(WHOLE_WARP >> (31 - lane));
            const unsigned stop = later ? __ffs(later) - 1 : 32, n = stop - lane;
            const unsigned run = (WHOLE_WARP >> (32 - n)) << lane;
            const int *box = boxes + 4 * z;
            unsigned part[COLUMNS] = {n, ((unsigned)z * ny + y) * nx + x, n * (z - z_start), n * (y - y0),
                                      n * (x - x_start) + n * (n - 1) / 2};
            part[BOX] = z0 + z;
            part[BOX + 1] = z0 + z + 1;
            part[BOX + 2] = y;
            part[BOX + 3] = y + 1;
            part[BOX + 4] = x;
            part[BOX + 5] = x + n;
            for (int axis = 0; axis < 3; ++axis)
                part[FACES + axis] = __popc(faces[2 * axis] & run) + __popc(faces[2 * axis + 1] & run);
            part[TOUCHES] = (z0 + z == 0) | (z0 + z == all_z - 1) << 1 | (y == box[0]) << 2 | (y == box[1] - 1) << 3
                          | (x == box[2]) << 4 | (x + (int)n == box[3]) << 5;
            const unsigned slot = mine % SLOTS, held = atomicCAS(owner + slot, 0u, mine);
            unsigned long long *row = statistics + (size_t)(mine - 1) * COLUMNS;
            if (held == 0 || held == mine) {
                for (int column = 0; column < COLUMNS; ++column) merge(&table[column][slot], column, part[column]);
            } else {
                for (int column = 0; column < COLUMNS; ++column)
                    merge(row + column, column, origin.value(column, part[column], n));
            }
        }
    __syncthreads();
    if (owner[thread] == 0) return;
    unsigned long long *row = statistics + (size_t)(owner[thread] - 1) * COLUMNS;
    for (int column = 0; column < COLUMNS; ++column)
        merge(row + column, column, origin.value(column, table[column][thread], table[VOXELS][thread]));
}
