// Steady diffusion through a phase between two opposite faces of a volume: sweeps of red-black SOR, and fluxes.
//
// The field u has one voxel of padding on all sides: (nz + 2, ny + 2, nx + 2). Voxels that take no part hold 0, the
// padding at the far face holds 2 beside voxels that take part: the wall (u = 1) lies half a voxel away, so its
// conductance is twice that between voxels. Sums over neighbours then need neither bounds nor tests.
// `links` (nz, ny, nx): 0 for a voxel that takes no part, else which of its faces conduct; `inverse` (256) holds for
// each value one over the sum of their conductances. Conductances are relative to that along z.
//
// half_sweep: one thread makes one voxel of one colour (those with z + y + x even or odd); neighbours have the other.
// plane_flux: one block sums a share of the differences across the plane below slice z, in a fixed order; z = 0 and
// z = nz are the walls.
//
// In double: a float voxel stops moving once its update is below half a unit in the last place, which adds up to a
// wrong flux in volumes of more than a hundred voxels. Sweeps wait for memory, not for arithmetic.

#include "common.cuh"

extern "C" __global__ __launch_bounds__(256) void half_sweep(
    double *u, const unsigned char *__restrict__ links, const double *__restrict__ inverse, int nz, int ny, int nx,
    double along_y, double along_x, double omega, int colour)
{
    const int z = THREAD_Z, y = THREAD_Y, x = 2 * THREAD_X + ((z + y + colour) & 1);
    if (x >= nx || y >= ny || z >= nz) return;
    const unsigned char link = links[((size_t)z * ny + y) * nx + x];
    if (link == 0) return;
    const size_t row = nx + 2, plane = row * (ny + 2);
    double *at = u + (z + 1) * plane + (y + 1) * row + x + 1;
    const double old = *at;
    const double sum = (at[plane] + *(at - plane)) + along_y * (at[row] + *(at - row)) + along_x * (at[1] + at[-1]);
    *at = old + omega * (sum * inverse[link] - old);
}

extern "C" __global__ __launch_bounds__(256) void plane_flux(
    const double *__restrict__ u, const unsigned char *__restrict__ links, double *__restrict__ partial, int nz, int ny,
    int nx, int parts)
{
    __shared__ double sums[256];
    const int part = blockIdx.x, z = blockIdx.z;
    const size_t row = nx + 2, plane = row * (ny + 2);
    const int voxels = ny * nx;
    const bool first = z == 0, last = z == nz;
    const unsigned char *above = links + (size_t)z * voxels, *below = above - voxels;
    const double *low = u + z * plane + row + 1, *high = low + plane;
    double sum = 0.0;
    for (int i = part * 256 + threadIdx.x; i < voxels; i += parts * 256) {
        if ((!last && above[i] == 0) || (!first && below[i] == 0)) continue;
        const int at = i + 2 * (i / nx);  // in the padded plane
        sum += (last ? 1.0 : high[at]) - (first ? 0.0 : low[at]);
    }
    sums[threadIdx.x] = first || last ? 2.0 * sum : sum;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) partial[(size_t)z * parts + part] = sums[0];
}
