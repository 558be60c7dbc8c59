// One level of a discrete wavelet transform along one axis, and back: `fibtomo.ops.wavelet`.
//
// Planes are float32, rows one after another. Beyond its ends a line goes on mirrored, end samples repeated:
//
//   approximation[i] = sum over k of low[k] line[2 i + 1 - k],  detail alike with `high`,  i < (n + taps - 1) / 2
//   line[j] = sum over i of low[j + taps - 2 - 2 i] approximation[i] + high[…] detail[i],  j < 2 i_end - taps + 2
//
// `step` is the distance of samples along the axis and `next_line` that of lines in the source, likewise in the result.
// (Mallat 1989, doi:10.1109/34.192463.) The taps are even in number.

#include "common.cuh"

__device__ int mirrored(int i, int n)
{
    i %= 2 * n;
    if (i < 0) i += 2 * n;
    return min(i, 2 * n - 1 - i);
}

// Coefficient i of a line; `line` is its first sample.
__device__ void coefficient(
    const float *line, size_t step, int n, int i, const float *low, const float *high, int taps, float *smooth,
    float *detail)
{
    float sum = 0.0f, difference = 0.0f;
    const bool whole = 2 * i + 1 < n && 2 * i + 2 - taps >= 0;
    for (int k = 0; k < taps; ++k) {
        const int at = 2 * i + 1 - k;
        const float value = line[(size_t)(whole ? at : mirrored(at, n)) * step];
        sum += low[k] * value;
        difference += high[k] * value;
    }
    *smooth = sum;
    *detail = difference;
}

// One thread makes both coefficients (ny, count) at a place of a row (ny, n).
extern "C" __global__ void split_rows(
    const float *__restrict__ a, const float *__restrict__ low, const float *__restrict__ high,
    float *__restrict__ smooth, float *__restrict__ detail, int taps, int n, int count, int ny)
{
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= count || y >= ny) return;
    const size_t at = (size_t)y * count + x;
    coefficient(a + (size_t)y * n, 1, n, x, low, high, taps, smooth + at, detail + at);
}

// One thread makes both coefficients (count, nx) at a place of a column of (n, nx).
extern "C" __global__ void split_columns(
    const float *__restrict__ a, const float *__restrict__ low, const float *__restrict__ high,
    float *__restrict__ smooth, float *__restrict__ detail, int taps, int n, int count, int nx)
{
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= nx || y >= count) return;
    const size_t at = (size_t)y * nx + x;
    coefficient(a + x, nx, n, y, low, high, taps, smooth + at, detail + at);
}

// Sample j of a line; `first` is where its first coefficients lie. A detail that is 0 is not read.
__device__ float sample(
    const float *smooth, const float *detail, size_t first, size_t step, int j, const float *low, const float *high,
    int taps, bool with_detail)
{
    const float *even = low + taps - 2 + (j & 1), *odd = high + taps - 2 + (j & 1);
    float sum = 0.0f;
    for (int k = 0; k < taps / 2; ++k) sum += even[-2 * k] * smooth[first + (size_t)(j / 2 + k) * step];
    if (with_detail)
        for (int k = 0; k < taps / 2; ++k) sum += odd[-2 * k] * detail[first + (size_t)(j / 2 + k) * step];
    return sum;
}

// One thread makes a sample of a row (ny, nx) from coefficients (ny, count).
extern "C" __global__ void join_rows(
    const float *__restrict__ smooth, const float *__restrict__ detail, const float *__restrict__ low,
    const float *__restrict__ high, float *__restrict__ out, int taps, int with_detail, int count,
    int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= nx || y >= ny) return;
    out[(size_t)y * nx + x] = sample(smooth, detail, (size_t)y * count, 1, x, low, high, taps, with_detail);
}

// One thread makes a sample of a column of (ny, nx) from coefficients (count, nx).
extern "C" __global__ void join_columns(
    const float *__restrict__ smooth, const float *__restrict__ detail, const float *__restrict__ low,
    const float *__restrict__ high, float *__restrict__ out, int taps, int with_detail, int ny, int nx)
{
    const int x = THREAD_X, y = THREAD_Y;
    if (x >= nx || y >= ny) return;
    out[(size_t)y * nx + x] = sample(smooth, detail, x, nx, y, low, high, taps, with_detail);
}
