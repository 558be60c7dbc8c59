// Local thickness: which inscribed spheres matter, and the radius of the largest one over each voxel.
//
// ridge: one thread makes one voxel: 1 unless the sphere about one of its 26 neighbours contains its own. `farthest`
// (7, bins) says how far (squared) voxels of a sphere can lie from a neighbour's centre: row |ez| * 4 + |ey| * 2 +
// |ex| - 1, column of the squared radius times `bins_per_square`, rounded up.
// paint: a column of blockDim.y warps draws one sphere, blockDim.x / 32 spheres per block; warps share its rows (z, y)
// and lanes run along x. Radii are raised by atomicMax on the bits of the floats, which order like the floats, so
// neither the order of the spheres nor that of threads matters.
//
// Layout: volumes (nz, ny, nx); centres are places in the flat volume. Spheres are open: `shrink` times the squared
// radius keeps voxels that touch them out, whatever the rounding.

#include "common.cuh"

extern "C" __global__ __launch_bounds__(256) void ridge(
    const float *__restrict__ distance, const float *__restrict__ farthest, unsigned char *__restrict__ out, int nz,
    int ny, int nx, int bins, float bins_per_square, float shrink)
{
    const int x = THREAD_X, y = THREAD_Y, z = THREAD_Z;
    if (x >= nx || y >= ny || z >= nz) return;
    const size_t at = ((size_t)z * ny + y) * nx + x;
    const float radius = distance[at];
    bool kept = radius > 0.0f;
    if (kept) {
        const int bin = min((int)ceilf(radius * radius * shrink * bins_per_square), bins - 1);
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

extern "C" __global__ __launch_bounds__(256) void paint(
    const float *__restrict__ distance, const long long *__restrict__ centres, float *out, int spheres, int nz, int ny,
    int nx, float dz, float dy, float dx, float shrink)
{
    const int sphere = THREAD_X / 32, lane = threadIdx.x % 32;
    if (sphere >= spheres) return;
    const size_t centre = (size_t)centres[sphere];
    const int cx = (int)(centre % nx), cy = (int)(centre / nx % ny), cz = (int)(centre / nx / ny);
    const float radius = distance[centre], square = radius * radius * shrink;
    const int bits = __float_as_int(radius);
    const int reach_z = (int)(radius / dz), reach_y = (int)(radius / dy);
    const int z0 = max(cz - reach_z, 0), y0 = max(cy - reach_y, 0);
    const int nz_here = min(cz + reach_z, nz - 1) - z0 + 1, ny_here = min(cy + reach_y, ny - 1) - y0 + 1;
    for (int row = threadIdx.y; row < nz_here * ny_here; row += blockDim.y) {
        const int z = z0 + row / ny_here, y = y0 + row % ny_here;
        const float from_z = dz * (float)(z - cz), from_y = dy * (float)(y - cy);
        const float rest = square - from_z * from_z - from_y * from_y;
        if (rest <= 0.0f) continue;
        int reach = (int)(sqrtf(rest) / dx);
        if (dx * dx * (float)reach * (float)reach >= rest) --reach;
        float *line = out + ((size_t)z * ny + y) * nx;
        const int stop = min(cx + reach, nx - 1);
        for (int x = max(cx - reach, 0) + lane; x <= stop; x += 32)
            if (line[x] < radius) atomicMax((int *)(line + x), bits);
    }
}
