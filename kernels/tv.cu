// Iterations of the primal-dual method of Chambolle and Pock for the total variation of a volume.
//
// Two launches make one iteration, so that no thread reads what another one writes: `raise_duals` steps the dual
// variables along the differences of `ahead` and puts them back into their ball, `lower_greys` follows their divergence
// and extrapolates. One thread does one voxel. Both are bound by memory: 7 floats of a voxel are read or written in
// each, neighbours come from the caches.
// Layout: data, u, ahead, seen (nz, ny, nx); dual (3, nz, ny, nx) for the differences along z, y and x. The dual
// variable of a difference that leaves the volume stays 0.
#include "common.cuh"

template <bool MASKED>
__device__ __forceinline__ void raise(
    const float *__restrict__ ahead, const float *__restrict__ seen, float *__restrict__ dual,
    float sigma, float factor, float radius, int nz, int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y, z = THREAD_Z;
    if (x >= nx || y >= ny || z >= nz) return;
    const size_t line = nx, plane = line * ny, volume = plane * nz, here = plane * z + line * y + x;
    const size_t below = z + 1 < nz ? here + plane : here;
    const size_t under = y + 1 < ny ? here + line : here;
    const size_t right = x + 1 < nx ? here + 1 : here;

    float along_z = sigma * factor, along_y = sigma, along_x = sigma;
    if (MASKED) {  // both sides of a difference have to be seen
        along_z *= seen[here] * seen[below];
        along_y *= seen[here] * seen[under];
        along_x *= seen[here] * seen[right];
    }
    const float grey = ahead[here];
    const float a = dual[here] + along_z * (ahead[below] - grey);
    const float b = dual[volume + here] + along_y * (ahead[under] - grey);
    const float c = dual[2 * volume + here] + along_x * (ahead[right] - grey);
    const float scale = 1.0f / fmaxf(1.0f, radius * sqrtf(a * a + b * b + c * c));
    dual[here] = a * scale;
    dual[volume + here] = b * scale;
    dual[2 * volume + here] = c * scale;
}

extern "C" __global__ void raise_duals(
    const float *ahead, float *dual, float sigma, float factor, float radius, int nz, int ny, int nx)
{
    raise<false>(ahead, nullptr, dual, sigma, factor, radius, nz, ny, nx);
}

extern "C" __global__ void raise_seen_duals(
    const float *ahead, const float *seen, float *dual, float sigma, float factor, float radius,
    int nz, int ny, int nx)
{
    raise<true>(ahead, seen, dual, sigma, factor, radius, nz, ny, nx);
}

extern "C" __global__ void lower_greys(
    const float *__restrict__ data, const float *__restrict__ dual, float *__restrict__ u, float *__restrict__ ahead,
    float tau, float theta, float factor, int nz, int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y, z = THREAD_Z;
    if (x >= nx || y >= ny || z >= nz) return;
    const size_t line = nx, plane = line * ny, volume = plane * nz, here = plane * z + line * y + x;
    const float *along_z = dual + here, *along_y = along_z + volume, *along_x = along_y + volume;

    float flow = factor * (*along_z - (z > 0 ? *(along_z - plane) : 0.0f));
    flow += *along_y - (y > 0 ? *(along_y - line) : 0.0f);
    flow += *along_x - (x > 0 ? *(along_x - 1) : 0.0f);
    const float before = u[here];
    const float after = (before + tau * (flow + data[here])) / (1.0f + tau);
    u[here] = after;
    ahead[here] = after + theta * (after - before);
}
