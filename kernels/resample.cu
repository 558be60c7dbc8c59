// Fused resample of a slice stack: drift, shear, foreshortening and slice positions in one gather.
//
// Along each axis the host gives taps: the first source sample and the weights of the following ones.
// One thread makes one voxel:
//
//   out(z, y, x) = sum over slices k of z  w_z(k)  sum over columns b  w_x(k, x, b)
//                                                  sum over rows a     w_y(k, y, a)  source(k, a, b)
//
// Taps never leave the image, so there are no bounds checks; voxels outside `box` of their z get `fill`.
// Layout: z_slice, z_weight (nz, z_taps); box (nz, 4) as y0, y1, x0, x1; y_first (slices, ny),
// y_weight (slices, y_taps, ny), likewise for x.

extern "C" __global__ void resample(
    const SOURCE_T *__restrict__ source, float *__restrict__ out,
    const int *__restrict__ z_slice, const float *__restrict__ z_weight, const int *__restrict__ box,
    const int *__restrict__ y_first, const float *__restrict__ y_weight,
    const int *__restrict__ x_first, const float *__restrict__ x_weight,
    int z_taps, int y_taps, int x_taps, int rows, int cols, int nz, int ny, int nx, float fill)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    const int z = blockIdx.z;
    if (x >= nx || y >= ny || z >= nz) return;

    float voxel = fill;
    const int *inside = box + 4 * z;
    if (y >= inside[0] && y < inside[1] && x >= inside[2] && x < inside[3]) {
        voxel = 0.0f;
        for (int t = 0; t < z_taps; ++t) {
            const float slice_weight = z_weight[z * z_taps + t];
            if (slice_weight == 0.0f) continue;
            const int k = z_slice[z * z_taps + t];
            const float *row_weight = y_weight + (size_t)k * y_taps * ny + y;
            const float *column_weight = x_weight + (size_t)k * x_taps * nx + x;
            const SOURCE_T *corner =
                source + ((size_t)k * rows + y_first[(size_t)k * ny + y]) * cols + x_first[(size_t)k * nx + x];
            float plane = 0.0f;
            for (int b = 0; b < x_taps; ++b) {
                float column = 0.0f;
                for (int a = 0; a < y_taps; ++a)
                    column += row_weight[(size_t)a * ny] * (float)corner[(size_t)a * cols + b];
                plane += column_weight[(size_t)b * nx] * column;
            }
            voxel += slice_weight * plane;
        }
    }
    out[((size_t)z * ny + y) * nx + x] = voxel;
}
