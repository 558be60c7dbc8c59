// Gaussian derivatives and what is made of them: convolution along one axis after the other.
//
// along_x and along_y make derivatives of orders 0 ... top from one read of a field; the kernels that end a scale go
// along the last axis with all fields and write features at once, so that derivatives never reach memory.
// A thread makes N neighbours along the axis (along_x: 32 apart) of a block's tile, which lies in shared memory with
// `radius` more to either side; beyond the ends the outermost values go on.
//
// Layout: fields (fields, outer, n, inner), filtered along n; along_x: rows of nx. kernel (2 radius + 1) taps of the
// Gaussian, its first and its second derivative. Fields before the last axis, z: orders (x, y) = 00 01 02 10 11 20,
// first derivatives only: 00 01 10; slices that stand alone: orders along x; products: xx xy yy xz yz zz.

#include "common.cuh"

#define LANES 32
#define GROUPS 8
#define N 4

struct Place {
    long long first;  // element of the block's outer index at this lane's column
    int inner, n, begin, radius;
};

// Sum over taps of sum[order][i], the thread's N values along n.
template <int TOP>
__device__ __forceinline__ void convolve(const float *__restrict__ field, const Place &at,
                                         const float4 *__restrict__ kernel, float *tile, float (&sum)[TOP + 1][N])
{
    const int lane = threadIdx.x, group = threadIdx.y;
    for (int row = group; row < GROUPS * N + 2 * at.radius; row += GROUPS) {
        const int y = min(max(at.begin - at.radius + row, 0), at.n - 1);
        tile[row * LANES + lane] = field[at.first + (long long)y * at.inner];
    }
    __syncthreads();
    float value[N];
    const float *next = tile + group * N * LANES + lane;
#pragma unroll
    for (int i = 0; i < N - 1; ++i, next += LANES) value[i] = *next;
#pragma unroll
    for (int order = 0; order <= TOP; ++order)
#pragma unroll
        for (int i = 0; i < N; ++i) sum[order][i] = 0.0f;
#pragma unroll 4
    for (int tap = 0; tap <= 2 * at.radius; ++tap, next += LANES) {
        const float4 weight = kernel[tap];
        value[N - 1] = *next;
#pragma unroll
        for (int i = 0; i < N; ++i) {
            sum[0][i] += weight.x * value[i];
            if (TOP > 0) sum[TOP > 0][i] += weight.y * value[i];
            if (TOP > 1) sum[TOP][i] += weight.z * value[i];
        }
#pragma unroll
        for (int i = 0; i < N - 1; ++i) value[i] = value[i + 1];
    }
    __syncthreads();
}

__device__ __forceinline__ Place place(int n, int inner, int radius)
{
    const int column = min(THREAD_X, inner - 1);
    return {(long long)blockIdx.z * n * inner + column, inner, n, (int)blockIdx.y * GROUPS * N, radius};
}

// Element of the thread's value i, or -1 outside.
__device__ __forceinline__ long long element(const Place &at, int i)
{
    const int y = at.begin + (int)threadIdx.y * N + i;
    return THREAD_X < at.inner && y < at.n ? at.first + (long long)y * at.inner : -1;
}

template <int TOP>
__device__ __forceinline__ void write_orders(const float *field, float *out, const float4 *kernel, long long volume,
                                             const Place &at, float *tile)
{
    float sum[TOP + 1][N];
    convolve<TOP>(field, at, kernel, tile, sum);
    for (int i = 0; i < N; ++i) {
        const long long here = element(at, i);
        if (here < 0) continue;
        for (int order = 0; order <= TOP; ++order) out[order * volume + here] = sum[order][i];
    }
}

extern "C" __global__ __launch_bounds__(256) void along_y(
    const float *__restrict__ field, float *__restrict__ out, const float4 *__restrict__ kernel,
    int radius, int top, int n, int inner, long long volume)
{
    DYNAMIC_SHARED(float, tile);
    const Place at = place(n, inner, radius);
    if (top == 2) write_orders<2>(field, out, kernel, volume, at, tile);
    else if (top == 1) write_orders<1>(field, out, kernel, volume, at, tile);
    else write_orders<0>(field, out, kernel, volume, at, tile);
}

template <int TOP>
__device__ __forceinline__ void write_rows(const float4 *__restrict__ kernel, int radius, const float *tile,
                                           float *__restrict__ out, int ny, int nx, long long volume)
{
    float sum[TOP + 1][N] = {};
    const float *next = tile + threadIdx.y * (LANES * N + 2 * radius) + threadIdx.x;
#pragma unroll 4
    for (int tap = 0; tap <= 2 * radius; ++tap, ++next) {
        const float4 weight = kernel[tap];
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const float value = next[i * LANES];
            sum[0][i] += weight.x * value;
            if (TOP > 0) sum[TOP > 0][i] += weight.y * value;
            if (TOP > 1) sum[TOP][i] += weight.z * value;
        }
    }
    const int x0 = blockIdx.x * LANES * N + threadIdx.x;
    if (THREAD_Y >= ny) return;
    const long long line = ((long long)blockIdx.z * ny + THREAD_Y) * nx;
    for (int order = 0; order <= TOP; ++order)
        for (int i = 0; i < N; ++i)
            if (x0 + i * LANES < nx) out[order * volume + line + x0 + i * LANES] = sum[order][i];
}

extern "C" __global__ __launch_bounds__(256) void along_x(
    const float *__restrict__ field, float *__restrict__ out, const float4 *__restrict__ kernel,
    int radius, int top, int ny, int nx, long long volume)
{
    DYNAMIC_SHARED(float, tile);
    const int wide = LANES * N + 2 * radius, begin = blockIdx.x * LANES * N - radius;
    const float *line = field + ((long long)blockIdx.z * ny + min(THREAD_Y, ny - 1)) * nx;
    for (int x = threadIdx.x; x < wide; x += LANES)
        tile[threadIdx.y * wide + x] = line[min(max(begin + x, 0), nx - 1)];
    __syncthreads();
    if (top == 2) write_rows<2>(kernel, radius, tile, out, ny, nx, volume);
    else if (top == 1) write_rows<1>(kernel, radius, tile, out, ny, nx, volume);
    else write_rows<0>(kernel, radius, tile, out, ny, nx, volume);
}

// Eigenvalues of a symmetric matrix, largest first, as in _eigen_kernels.py.
__device__ __forceinline__ float2 eigenvalues(float xx, float xy, float yy)
{
    const float mean = 0.5f * (xx + yy), lean = 0.5f * (xx - yy), apart = sqrtf(lean * lean + xy * xy);
    return make_float2(mean + apart, mean - apart);
}

__device__ __forceinline__ float wedge(float a, float b, float c, float d)
{
    const float area = a * d - b * c;
    return area * area;
}

// The angle of the trigonometric solution comes from its sine (a sum of squares: the discriminant) as well as its
// cosine, so that nearly equal eigenvalues lose no digits.
__device__ __forceinline__ float3 eigenvalues(float xx, float xy, float yy, float xz, float yz, float zz)
{
    const float root3 = 1.7320508f;
    const float mean = (xx + yy + zz) * (1.0f / 3.0f);
    xx -= mean, yy -= mean, zz -= mean;
    const float norm = sqrtf(xx * xx + yy * yy + zz * zz + 2.0f * (xy * xy + xz * xz + yz * yz));
    const float inverse = 1.0f / (norm + 1e-30f);
    xx *= inverse, yy *= inverse, zz *= inverse, xy *= inverse, xz *= inverse, yz *= inverse;
    const float lean = 0.5f * (xx - yy), tall = 0.5f * root3 * zz;
    const float t_xy = xz * yz - xy * zz, t_xz = xy * yz - xz * yy, t_yz = xy * xz - yz * xx;
    const float t_lean = 0.5f * (xz * xz - yz * yz) - lean * zz;
    const float t_tall = 0.5f * root3 * (zz * zz + xz * xz + yz * yz - 1.0f / 3.0f);
    const float areas = wedge(xy, t_xy, xz, t_xz) + wedge(xy, t_xy, yz, t_yz) + wedge(xy, t_xy, lean, t_lean) +
                        wedge(xy, t_xy, tall, t_tall) + wedge(xz, t_xz, yz, t_yz) + wedge(xz, t_xz, lean, t_lean) +
                        wedge(xz, t_xz, tall, t_tall) + wedge(yz, t_yz, lean, t_lean) +
                        wedge(yz, t_yz, tall, t_tall) + wedge(lean, t_lean, tall, t_tall);
    float sine = 2.0f * sqrtf(areas);
    float cosine = 3.0f * (xx * (yy * zz - yz * yz) + xy * (xz * yz - xy * zz) + xz * (xy * yz - yy * xz));
    const float size = fabsf(cosine);
    const float t = fminf(sine, size) / (fmaxf(sine, size) + 1e-30f);
    float u = t * t;
    float angle = -0.015731249f + u * 0.00276628346f;
    angle = -0.0745685473f + u * (0.0421376228f + u * angle);
    angle = -0.141977981f + u * (0.106183708f + u * angle);
    angle = t * (1.0f + u * (-0.333330363f + u * (0.199918717f + u * angle)));
    if (sine > size) angle = 1.57079633f - angle;
    if (cosine < 0.0f) angle = 3.14159265f - angle;
    angle *= 1.0f / 3.0f;
    u = angle * angle;
    cosine = 1.0f + u * (-0.49999997f + u * (0.0416663885f + u * (-0.00138817658f + u * 2.40561312e-05f)));
    sine = angle * (1.0f + u * (-0.166666657f + u * (0.00833330769f + u * (-0.00019834777f + u * 2.68782242e-06f))));
    const float reach = 0.81649658f * norm, half = 0.5f * reach;
    return make_float3(mean + reach * cosine, mean + half * (root3 * sine - cosine),
                       mean - half * (root3 * sine + cosine));
}

// Features of a scale at slots of `out`, -1 for none; the last axis is z (three), else y.
extern "C" __global__ __launch_bounds__(256) void derivative_features(
    const float *__restrict__ fields, float *__restrict__ out, const float4 *__restrict__ kernel, int radius,
    int three, int n, int inner, long long volume, int gaussian, int gradient, int laplacian, int hessian)
{
    DYNAMIC_SHARED(float, tile);
    const Place at = place(n, inner, radius);
    float along[3][N], y[2][N] = {}, yy[1][N] = {}, x[2][N], xx[1][N], xy[1][N] = {};
    convolve<2>(fields, at, kernel, tile, along);
    if (three) {
        convolve<1>(fields + volume, at, kernel, tile, y);
        convolve<0>(fields + 2 * volume, at, kernel, tile, yy);
        convolve<1>(fields + 3 * volume, at, kernel, tile, x);
        convolve<0>(fields + 4 * volume, at, kernel, tile, xy);
        convolve<0>(fields + 5 * volume, at, kernel, tile, xx);
    } else {
        convolve<1>(fields + volume, at, kernel, tile, x);
        convolve<0>(fields + 2 * volume, at, kernel, tile, xx);
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const long long here = element(at, i);
        if (here < 0) continue;
        if (gaussian >= 0) out[gaussian * volume + here] = along[0][i];
        if (gradient >= 0)
            out[gradient * volume + here] = sqrtf(x[0][i] * x[0][i] + y[0][i] * y[0][i] + along[1][i] * along[1][i]);
        if (laplacian >= 0) out[laplacian * volume + here] = xx[0][i] + yy[0][i] + along[2][i];
        if (hessian < 0) continue;
        float *values = out + hessian * volume + here;
        if (three) {
            const float3 found = eigenvalues(xx[0][i], xy[0][i], yy[0][i], x[1][i], y[1][i], along[2][i]);
            values[0] = found.x, values[volume] = found.y, values[2 * volume] = found.z;
        } else {
            const float2 found = eigenvalues(xx[0][i], x[1][i], along[2][i]);
            values[0] = found.x, values[volume] = found.y;
        }
    }
}

extern "C" __global__ __launch_bounds__(256) void gradient_products(
    const float *__restrict__ fields, float *__restrict__ out, const float4 *__restrict__ kernel, int radius,
    int three, int n, int inner, long long volume)
{
    DYNAMIC_SHARED(float, tile);
    const Place at = place(n, inner, radius);
    float along[2][N], y[1][N], x[1][N];
    convolve<1>(fields, at, kernel, tile, along);
    convolve<0>(fields + volume, at, kernel, tile, three ? y : x);
    if (three) convolve<0>(fields + 2 * volume, at, kernel, tile, x);
    for (int i = 0; i < N; ++i) {
        const long long here = element(at, i);
        if (here < 0) continue;
        const float gx = x[0][i], gy = three ? y[0][i] : along[1][i], gz = along[1][i];
        float *product = out + here;
        product[0] = gx * gx, product[volume] = gx * gy, product[2 * volume] = gy * gy;
        if (three) product[3 * volume] = gx * gz, product[4 * volume] = gy * gz, product[5 * volume] = gz * gz;
    }
}

extern "C" __global__ __launch_bounds__(256) void tensor_features(
    const float *__restrict__ fields, float *__restrict__ out, const float4 *__restrict__ kernel, int radius,
    int three, int n, int inner, long long volume)
{
    DYNAMIC_SHARED(float, tile);
    const Place at = place(n, inner, radius);
    float xx[1][N], xy[1][N], yy[1][N], xz[1][N] = {}, yz[1][N] = {}, zz[1][N] = {};
    convolve<0>(fields, at, kernel, tile, xx);
    convolve<0>(fields + volume, at, kernel, tile, xy);
    convolve<0>(fields + 2 * volume, at, kernel, tile, yy);
    if (three) {
        convolve<0>(fields + 3 * volume, at, kernel, tile, xz);
        convolve<0>(fields + 4 * volume, at, kernel, tile, yz);
        convolve<0>(fields + 5 * volume, at, kernel, tile, zz);
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const long long here = element(at, i);
        if (here < 0) continue;
        if (three) {
            const float3 found = eigenvalues(xx[0][i], xy[0][i], yy[0][i], xz[0][i], yz[0][i], zz[0][i]);
            out[here] = found.x, out[volume + here] = found.y, out[2 * volume + here] = found.z;
        } else {
            const float2 found = eigenvalues(xx[0][i], xy[0][i], yy[0][i]);
            out[here] = found.x, out[volume + here] = found.y;
        }
    }
}
