// Sums over the rings of a spectrum, in an order that does not depend on the card.
//
// `pixel` lists the samples in use, ring after ring; block k sums those from first[k] to first[k + 1], all of one ring,
// and writes one row of `partial`. The few rows of each ring are added on the host.

#include "common.cuh"

#define THREADS 128

// Add up the N values of all threads of a block, in scratch[k][0]; every thread must come here.
template <int N> __device__ void block_sums(const float (&value)[N], float (*scratch)[THREADS])
{
    for (int k = 0; k < N; ++k) scratch[k][threadIdx.x] = value[k];
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            for (int k = 0; k < N; ++k) scratch[k][threadIdx.x] += scratch[k][threadIdx.x + half];
    }
    __syncthreads();
}

// partial (blocks): |value|^2.
extern "C" __global__ __launch_bounds__(THREADS) void ring_power(
    const float2 *__restrict__ values, const int *__restrict__ pixel, const int *__restrict__ first,
    float *__restrict__ partial)
{
    __shared__ float scratch[1][THREADS];
    const int block = blockIdx.x;
    float sum[1] = {0.0f};
    for (int i = first[block] + threadIdx.x; i < first[block + 1]; i += THREADS) {
        const float2 v = values[pixel[i]];
        sum[0] += v.x * v.x + v.y * v.y;
    }
    block_sums(sum, scratch);
    if (threadIdx.x == 0) partial[block] = scratch[0][0];
}

// partial (blocks, 6): R, -I wy, -I wx, R wy^2, R wy wx, R wx^2 of the turned spectrum R + iI = cross turn_y turn_x.
extern "C" __global__ __launch_bounds__(THREADS) void ring_moments(
    const float2 *__restrict__ cross, const float2 *__restrict__ turn_y, const float2 *__restrict__ turn_x,
    const float *__restrict__ wy, const float *__restrict__ wx, const int *__restrict__ pixel,
    const int *__restrict__ first, float *__restrict__ partial, int cols)
{
    __shared__ float scratch[6][THREADS];
    const int block = blockIdx.x;
    float sum[6] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int i = first[block] + threadIdx.x; i < first[block + 1]; i += THREADS) {
        const int at = pixel[i], row = at / cols, col = at - row * cols;
        const float2 v = cross[at], y = turn_y[row], x = turn_x[col];
        const float2 turn = make_float2(y.x * x.x - y.y * x.y, y.x * x.y + y.y * x.x);
        const float real = v.x * turn.x - v.y * turn.y, imag = v.x * turn.y + v.y * turn.x;
        const float fy = wy[row], fx = wx[col];
        sum[0] += real;
        sum[1] -= imag * fy;
        sum[2] -= imag * fx;
        sum[3] += real * fy * fy;
        sum[4] += real * fy * fx;
        sum[5] += real * fx * fx;
    }
    block_sums(sum, scratch);
    if (threadIdx.x < 6) partial[block * 6 + threadIdx.x] = scratch[threadIdx.x][0];
}
