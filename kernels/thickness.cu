// Local thickness: which inscribed spheres matter, and the radius of the largest one over each voxel.
//
// ridge: one thread makes one voxel: 1 unless the sphere about one of its 26 neighbours contains its own. `farthest`
// (7, bins) says how far (squared) voxels of a sphere can lie from a neighbour's centre: row |ez| * 4 + |ey| * 2 +
// |ex| - 1, column of the squared radius over `voxel_square`, rounded up.
// cover: one warp makes one tile of 4 x 4 x 32 voxels: 1 if a sphere lies over each of its True voxels.
// paint: blockDim.y warps draw one sphere, blockDim.x / 32 spheres per block. Lanes look for tiles that are not covered
// yet by larger spheres of earlier launches; the warp draws those, lanes along x. Radii are raised by atomicMax on the
// bits of the floats, which order like the floats, so neither the order of spheres nor that of threads matters.
//
// Layout: volumes (nz, ny, nx); centres are places in the flat volume. Spheres are open: `shrink` times the squared
// radius keeps voxels that touch them out, whatever the rounding.

#include "common.cuh"

#define TILE_Z 4
#define TILE_Y 4
#define TILE_X 32

extern "C" __global__ __launch_bounds__(256) void ridge(
    const float *__restrict__ distance, const float *__restrict__ farthest, unsigned char *__restrict__ out, int nz,
    int ny, int nx, int bins, float voxel_square, float shrink)
{
    const int x = THREAD_X, y = THREAD_Y, z = THREAD_Z;
    if (x >= nx || y >= ny || z >= nz) return;
    const size_t at = ((size_t)z * ny + y) * nx + x;
    const float radius = distance[at];
    bool kept = radius > 0.0f;
    if (kept) {
        const int bin = min((int)ceilf(radius * radius * shrink / voxel_square), bins - 1);
        for (int dz = -1; dz <= 1; ++dz)
            for (int dy = -1; dy <= 1; ++dy)
                for (int dx = -1; dx <= 1; ++dx) {
                    const bool inside =
                        (unsigned)(z + dz) < nz && (unsigned)(y + dy) < ny && (unsigned)(x + dx) < nx;
                    if (!kept || !inside) continue;
                    const float other = distance[(ptrdiff_t)at + ((ptrdiff_t)dz * ny + dy) * nx + dx];
                    if (other <= radius) continue;
                    const int row = (dz != 0) * 4 + (dy != 0) * 2 + (dx != 0) - 1;
                    kept = farthest[(size_t)row * bins + bin] >= other * other * shrink;
                }
    }
    out[at] = kept;
}

extern "C" __global__ __launch_bounds__(256) void cover(
    const float *__restrict__ distance, const float *__restrict__ radii, unsigned char *__restrict__ covered, int nz,
    int ny, int nx)
{
    const int tiles_y = (ny + TILE_Y - 1) / TILE_Y, tiles_x = (nx + TILE_X - 1) / TILE_X;
    const int x = THREAD_X, tile_x = x / TILE_X, tile_y = THREAD_Y, tile_z = THREAD_Z;
    if (tile_x >= tiles_x || tile_y >= tiles_y) return;  // whole warps, as below
    unsigned char *flag = covered + ((size_t)tile_z * tiles_y + tile_y) * tiles_x + tile_x;
    if (*flag) return;
    bool open = false;
    for (int row = 0; row < TILE_Z * TILE_Y; ++row) {
        const int z = tile_z * TILE_Z + row / TILE_Y, y = tile_y * TILE_Y + row % TILE_Y;
        if (z >= nz || y >= ny || x >= nx) continue;
        const size_t at = ((size_t)z * ny + y) * nx + x;
        open |= distance[at] > 0.0f && radii[at] == 0.0f;
    }
    const unsigned votes = __ballot_sync(~0u, open);
    if (x % TILE_X == 0) *flag = votes == 0;
}

extern "C" __global__ __launch_bounds__(256) void paint(
    const float *__restrict__ distance, const unsigned char *__restrict__ covered,
    const long long *__restrict__ centres, float *radii, int spheres, int nz, int ny, int nx, float dz, float dy,
    float dx, float shrink)
{
    const int sphere = THREAD_X / 32, lane = threadIdx.x % 32;
    if (sphere >= spheres) return;  // a whole warp
    const int tiles_y = (ny + TILE_Y - 1) / TILE_Y, tiles_x = (nx + TILE_X - 1) / TILE_X;
    const size_t centre = (size_t)centres[sphere];
    const int cx = (int)(centre % nx), cy = (int)(centre / nx % ny), cz = (int)(centre / nx / ny);
    const float radius = distance[centre], square = radius * radius * shrink;
    const int bits = __float_as_int(radius);
    const int reach_z = (int)(radius / dz), reach_y = (int)(radius / dy), reach_x = (int)(radius / dx);
    const int first_z = max(cz - reach_z, 0) / TILE_Z, count_z = min(cz + reach_z, nz - 1) / TILE_Z + 1 - first_z;
    const int first_y = max(cy - reach_y, 0) / TILE_Y, count_y = min(cy + reach_y, ny - 1) / TILE_Y + 1 - first_y;
    const int first_x = max(cx - reach_x, 0) / TILE_X, count_x = min(cx + reach_x, nx - 1) / TILE_X + 1 - first_x;
    const int tiles = count_z * count_y * count_x;
    for (int first = 32 * threadIdx.y; first < tiles; first += 32 * blockDim.y) {
        const int mine = first + lane;
        const int tile_x = first_x + mine % count_x, tile_y = first_y + mine / count_x % count_y;
        const int tile_z = first_z + mine / count_x / count_y;
        const bool open = mine < tiles && !covered[((size_t)tile_z * tiles_y + tile_y) * tiles_x + tile_x];
        for (unsigned left = __ballot_sync(~0u, open); left != 0; left &= left - 1) {
            const int tile = first + __ffs((int)left) - 1;
            const int x = (first_x + tile % count_x) * TILE_X + lane;
            const int y0 = (first_y + tile / count_x % count_y) * TILE_Y;
            const int z0 = (first_z + tile / count_x / count_y) * TILE_Z;
            const float from_x = dx * (float)(x - cx), square_x = from_x * from_x;
            for (int z = z0; z < min(z0 + TILE_Z, nz); ++z)
                for (int y = y0; y < min(y0 + TILE_Y, ny); ++y) {
                    const float from_z = dz * (float)(z - cz), from_y = dy * (float)(y - cy);
                    if (x >= nx || square_x + from_y * from_y + from_z * from_z >= square) continue;
                    float *voxel = radii + ((size_t)z * ny + y) * nx + x;
                    if (*voxel < radius) atomicMax((int *)voxel, bits);
                }
        }
    }
}
