// Iterations of the removers that split stripes s off a plane u0 by total variation: `fibtomo.ops.curtain_tv`,
// `fibtomo.ops.curtain_general`.
//
// Planes are (ny, nx) float32. Each iteration takes a dual step at a pixel and then needs the new duals of the pixels to
// the left and above. A block of 32 x 8 threads makes both for its pixels; the duals of the column to the left and of
// the row above are made once more, so that an iteration reads and writes each plane once. What neighbours still read
// must not be overwritten: new duals go to other arrays.

#include "common.cuh"

#define WIDE 32
#define HIGH 8

// Shrinks (vx, vy) to at most `limit`.
__device__ float2 clipped(float vx, float vy, float limit)
{
    const float scale = fminf(1.0f, limit * rsqrtf(vx * vx + vy * vy + 1e-30f));
    return make_float2(vx * scale, vy * scale);
}

struct Variation {
    const float *u0, *s, *dual, *limit;
    int ny, nx;
    size_t plane;

    // New dual w = clip(gradient of (u0 - s) + w) at a pixel, 0 where there is no pixel to the right.
    __device__ float2 at(int y, int x) const
    {
        if (y < 0 || y >= ny || x < 0 || x >= nx - 1) return make_float2(0.0f, 0.0f);
        const size_t i = (size_t)y * nx + x, below = y < ny - 1 ? i + nx : i;
        const float here = u0[i] - s[i];
        const float2 w = clipped(
            u0[i + 1] - s[i + 1] - here + dual[i], u0[below] - s[below] - here + dual[plane + i], limit[i]);
        return y < ny - 1 ? w : make_float2(w.x, 0.0f);
    }
    // Twice the new dual less the one before; 0 outside.
    __device__ float2 ahead(int y, int x, float2 w) const
    {
        if (y < 0 || y >= ny || x < 0 || x >= nx - 1) return make_float2(0.0f, 0.0f);
        const size_t i = (size_t)y * nx + x;
        return make_float2(2.0f * w.x - dual[i], y < ny - 1 ? 2.0f * w.y - dual[plane + i] : 0.0f);
    }
};

// One dual step of total variation: next = clip(gradient of (u0 - s) + dual), out = transposed gradient of
// (2 next - dual). dual, next (2, ny, nx) along x and y.
extern "C" __global__ __launch_bounds__(256) void clip_gradients(
    const float *__restrict__ u0, const float *__restrict__ s, const float *__restrict__ dual,
    const float *__restrict__ limit, float *__restrict__ next, float *__restrict__ out, int ny, int nx)
{
    __shared__ float along_x[HIGH][WIDE + 1], along_y[HIGH + 1][WIDE];
    const int tx = threadIdx.x, ty = threadIdx.y, x = THREAD_X, y = THREAD_Y;
    const Variation variation = {u0, s, dual, limit, ny, nx, (size_t)ny * nx};

    const float2 w = variation.at(y, x), z = variation.ahead(y, x, w);
    along_x[ty][tx + 1] = z.x;
    along_y[ty + 1][tx] = z.y;
    if (ty == 0) along_y[0][tx] = variation.ahead(y - 1, x, variation.at(y - 1, x)).y;
    if (ty == 1 && tx < HIGH) {
        const int row = y - 1 + tx, column = x - tx - 1;
        along_x[tx][0] = variation.ahead(row, column, variation.at(row, column)).x;
    }
    __syncthreads();
    if (x >= nx || y >= ny) return;
    const size_t i = (size_t)y * nx + x;
    next[i] = w.x;
    next[variation.plane + i] = w.y;
    out[i] = along_x[ty][tx] - z.x + along_y[ty][tx] - z.y;
}

struct Split {
    const float *u0, *ahead, *px, *py, *q, *tv;
    float sigma;
    int ny, nx;

    // New duals: x and y of the variation of the structure, z of that of the stripes along themselves; 0 outside.
    __device__ float3 at(int y, int x) const
    {
        if (y < 0 || y >= ny || x < 0 || x >= nx) return make_float3(0.0f, 0.0f, 0.0f);
        const size_t i = (size_t)y * nx + x, below = y < ny - 1 ? i + nx : i;
        const float rise = ahead[below] - ahead[i];
        const float along = fminf(fmaxf(q[i] + sigma * rise, -1.0f), 1.0f);
        if (x == nx - 1) return make_float3(0.0f, 0.0f, along);
        const float2 p = clipped(
            px[i] + sigma * (u0[i + 1] - u0[i] - ahead[i + 1] + ahead[i]), py[i] + sigma * (u0[below] - u0[i] - rise),
            tv[i]);
        return make_float3(p.x, p.y, along);
    }
};

// One primal-dual step of sum of tv |gradient of (u0 - s)| + |ds/dy| + lone |s|. fields, next (5, ny, nx): s, twice the
// new s less the one before, duals px, py and q.
extern "C" __global__ __launch_bounds__(256) void split_step(
    const float *__restrict__ u0, const float *__restrict__ fields, const float *__restrict__ tv,
    float *__restrict__ next, float tau, float sigma, float soft, int ny, int nx)
{
    __shared__ float along_x[HIGH][WIDE + 1], along_y[HIGH + 1][WIDE];
    const int tx = threadIdx.x, ty = threadIdx.y, x = THREAD_X, y = THREAD_Y;
    const size_t plane = (size_t)ny * nx;
    const Split split = {
        u0, fields + plane, fields + 2 * plane, fields + 3 * plane, fields + 4 * plane, tv, sigma, ny, nx};

    const float3 dual = split.at(y, x);
    along_x[ty][tx + 1] = dual.x;
    along_y[ty + 1][tx] = dual.y - dual.z;
    if (ty == 0) {
        const float3 above = split.at(y - 1, x);
        along_y[0][tx] = above.y - above.z;
    }
    if (ty == 1 && tx < HIGH) along_x[tx][0] = split.at(y - 1 + tx, x - tx - 1).x;
    __syncthreads();
    if (x >= nx || y >= ny) return;
    const size_t i = (size_t)y * nx + x;
    const float pull = along_x[ty][tx] - dual.x + along_y[ty][tx] - (dual.y - dual.z);
    float v = fields[i] + tau * pull;
    v = fmaxf(v - soft, 0.0f) + fminf(v + soft, 0.0f);
    next[i] = v;
    next[plane + i] = 2.0f * v - fields[i];
    next[2 * plane + i] = dual.x;
    next[3 * plane + i] = dual.y;
    next[4 * plane + i] = dual.z;
}
