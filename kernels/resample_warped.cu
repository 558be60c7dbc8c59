// The general resample: targets turned against the slices, or slices warped in themselves, in one gather.
//
// One thread makes one voxel:
//
//   out(z, y, x) = sum over slices k of (z, y)  w_z(k)  sum over rows a, columns b  w_y(a) w_x(b)  source(k, a, b)
//
// around the place that the voxel's straight line reads on slice k, moved by the displacement of that slice: a bicubic
// B-spline of `control`, straight beyond the frame. Weights are interpolated in a table over the position between two
// samples; those beyond an edge are taken off, the others corrected so that straight lines stay straight.
// Voxels outside `spans` of their row get `fill`.
//
// Layout: z_slice, z_weight (nz, ny, z_taps); spans (nz, ny, 2) as x0, x1; start (slices, 2) row and column of voxel
// (0, 0, 0); steps: rows per z, rows per y, columns per x, control cells per row, per column; tables (2, phases + 1,
// taps), used inside and at edges; control (slices, gy, gx, 2) as dy, dx, gy = 0 without warp.

struct Axis {
    const float *table;
    int first, count, taps;
    float part, middle, reach, mean, gain, lift;
    bool cut;

    __device__ float trust(int a) const { return fmaxf(reach - fabsf(a - middle), 0.0f); }
    __device__ bool inside(int a) const { return first + a >= 0 && first + a < count; }
    __device__ float raw(int a) const { return table[a] + part * (table[taps + a] - table[a]); }
    __device__ float weight(int a) const
    {
        if (!cut) return raw(a);
        return inside(a) ? gain * raw(a) - lift * trust(a) * (a - middle - mean) : 0.0f;
    }
    __device__ int index(int a) const { return min(max(first + a, 0), count - 1); }
};

__device__ Axis axis_at(double at, int count, const float *table, int taps, int phases, int lead, float reach)
{
    Axis axis = {table, 0, count, taps, 0.0f, 0.0f, reach, 0.0f, 1.0f, 0.0f, false};
    at = fmin(fmax(at, 0.0), count - 1.0);
    if (taps == 1) {
        axis.first = (int)floor(at + 0.5);
        return axis;
    }
    const double base = floor(at), fine = (at - base) * phases;
    const int phase = (int)fine;
    axis.part = (float)(fine - phase);
    axis.first = (int)base - lead;
    axis.middle = (float)(at - axis.first);
    axis.cut = axis.first < 0 || axis.first + taps > count;
    axis.table += ((size_t)axis.cut * (phases + 1) + phase) * taps;
    if (!axis.cut) return axis;

    float total = 0.0f, trust = 0.0f, moment = 0.0f, norm = 0.0f, deviation = 0.0f;
    for (int a = 0; a < taps; ++a) {
        if (!axis.inside(a)) continue;
        total += axis.raw(a);
        trust += axis.trust(a);
        moment += axis.trust(a) * (a - axis.middle);
    }
    axis.gain = 1.0f / total;
    axis.mean = moment / trust;
    for (int a = 0; a < taps; ++a) {
        if (!axis.inside(a)) continue;
        const float off = a - axis.middle - axis.mean;
        norm += axis.trust(a) * off * off;
        deviation += axis.gain * axis.raw(a) * off;
    }
    axis.lift = norm > 1e-12f ? (axis.mean + deviation) / norm : 0.0f;
    return axis;
}

// First of four coefficients out of `count` around `at`, and their weights.
__device__ int spline_weights(double at, int count, float *weight)
{
    const int cell = min(max((int)floor(at), 0), count - 4);
    float beyond = (float)(at - cell);
    const float t = fminf(fmaxf(beyond, 0.0f), 1.0f), u = 1.0f - t;
    beyond -= t;
    weight[0] = u * u * u / 6.0f - beyond * u * u / 2.0f;
    weight[1] = ((3.0f * t - 6.0f) * t * t + 4.0f) / 6.0f + beyond * (3.0f * t - 4.0f) * t / 2.0f;
    weight[2] = (((3.0f - 3.0f * t) * t + 3.0f) * t + 1.0f) / 6.0f + beyond * ((2.0f - 3.0f * t) * t + 1.0f) / 2.0f;
    weight[3] = t * t * t / 6.0f + beyond * t * t / 2.0f;
    return cell;
}

extern "C" __global__ __launch_bounds__(256, 4) void resample_warped(
    const SOURCE_T *__restrict__ source, float *__restrict__ out,
    const int *__restrict__ z_slice, const float *__restrict__ z_weight, const int *__restrict__ spans,
    const double *__restrict__ start, const double *__restrict__ steps,
    const float *__restrict__ y_table, const float *__restrict__ x_table, const float *__restrict__ control,
    int z_taps, int y_taps, int x_taps, int phases, int gy, int gx, int rows, int cols, int nz, int ny, int nx, int z0,
    int y_lead, int x_lead, float y_reach, float x_reach, float fill)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    const int z = blockIdx.z;
    if (x >= nx || y >= ny || z >= nz) return;

    const size_t line = (size_t)z * ny + y;
    float voxel = fill;
    if (x >= spans[2 * line] && x < spans[2 * line + 1]) {
        voxel = 0.0f;
        for (int t = 0; t < z_taps; ++t) {
            const float slice_weight = z_weight[line * z_taps + t];
            if (slice_weight == 0.0f) continue;
            const int k = z_slice[line * z_taps + t];
            double row = start[2 * k] + (z0 + z) * steps[0] + y * steps[1];
            double col = start[2 * k + 1] + x * steps[2];
            if (gy > 0) {
                float weight_y[4], weight_x[4], shift_y = 0.0f, shift_x = 0.0f;
                const int i = spline_weights(row * steps[3], gy, weight_y);
                const int j = spline_weights(col * steps[4], gx, weight_x);
                for (int a = 0; a < 4; ++a)
                    for (int b = 0; b < 4; ++b) {
                        const float *node = control + 2 * (((size_t)k * gy + i + a) * gx + j + b);
                        shift_y += weight_y[a] * weight_x[b] * node[0];
                        shift_x += weight_y[a] * weight_x[b] * node[1];
                    }
                row += shift_y;
                col += shift_x;
            }
            const Axis v = axis_at(row, rows, y_table, y_taps, phases, y_lead, y_reach);
            const Axis h = axis_at(col, cols, x_table, x_taps, phases, x_lead, x_reach);
            float plane = 0.0f;
            for (int a = 0; a < y_taps; ++a) {
                const SOURCE_T *image_row = source + ((size_t)k * rows + v.index(a)) * cols;
                float sum = 0.0f;
                for (int b = 0; b < x_taps; ++b) sum += h.weight(b) * (float)image_row[h.index(b)];
                plane += v.weight(a) * sum;
            }
            voxel += slice_weight * plane;
        }
    }
    out[line * nx + x] = voxel;
}
