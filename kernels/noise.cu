// Counts of small square blocks by mean grey and by log variance about their best plane.
//
// One thread takes one block of one slice; blocks lie `stride` pixels apart. Sums are in double precision: they decide
// between neighbouring bins, and blocks are few.
// Layout: planes, seen (nz, ny, nx); counts (grey_bins, octaves * per_octave), and after them the number of blocks
// whose grey lies outside the range. Greys are (grey - low) * scale.
#include "common.cuh"

template <bool MASKED>
__device__ __forceinline__ void count(
    const SOURCE_T *__restrict__ planes, const bool *__restrict__ seen, float low, float scale,
    float steepest, int side, int stride, int grey_bins, int octaves, int per_octave, int nz, int ny, int nx,
    int *__restrict__ counts)
{
    const int x0 = THREAD_X * stride, y0 = THREAD_Y * stride, z = THREAD_Z;
    if (x0 + side > nx || y0 + side > ny || z >= nz) return;
    const size_t corner = ((size_t)z * ny + y0) * nx + x0;

    const double origin = ((float)planes[corner] - low) * scale, middle = 0.5 * (side - 1);
    double total = 0.0, square = 0.0, along_y = 0.0, along_x = 0.0;
    bool whole = true;
    for (int y = 0; y < side; ++y) {
        for (int x = 0; x < side; ++x) {
            const size_t pixel = corner + (size_t)y * nx + x;
            const float grey = ((float)planes[pixel] - low) * scale;
            whole = whole && fabsf(grey) <= 3.4028235e38f;  // neither void nor infinite
            if (MASKED) whole = whole && seen[pixel];
            const double value = grey - origin;
            total += value;
            square += value * value;
            along_y += (y - middle) * value;
            along_x += (x - middle) * value;
        }
    }
    if (!whole) return;
    const double pixels = side * side, spread = pixels * (pixels - 1.0) / 12.0;
    const double sloping = (along_y * along_y + along_x * along_x) / spread;
    const double variance = fmax(square - total * total / pixels - sloping, 0.0) / (pixels - 3.0);
    if (sloping >= steepest * variance) return;  // on an edge, or without noise

    const double mean = origin + total / pixels;
    const int bins = octaves * per_octave;
    const int column = (int)floor((log2(fmax(variance, 1e-30)) + octaves) * per_octave);
    if (mean < 0.0 || mean > 1.0)
        atomicAdd(counts + grey_bins * bins, 1);
    else if (column >= 0 && column < bins)
        atomicAdd(counts + min((int)floor(mean * grey_bins), grey_bins - 1) * bins + column, 1);
}

extern "C" __global__ void count_blocks(
    const SOURCE_T *planes, float low, float scale, float steepest, int side, int stride, int grey_bins, int octaves,
    int per_octave, int nz, int ny, int nx, int *counts)
{
    count<false>(planes, nullptr, low, scale, steepest, side, stride, grey_bins, octaves, per_octave, nz, ny, nx,
                 counts);
}

extern "C" __global__ void count_seen_blocks(
    const SOURCE_T *planes, const bool *seen, float low, float scale, float steepest, int side, int stride,
    int grey_bins, int octaves, int per_octave, int nz, int ny, int nx, int *counts)
{
    count<true>(planes, seen, low, scale, steepest, side, stride, grey_bins, octaves, per_octave, nz, ny, nx, counts);
}
