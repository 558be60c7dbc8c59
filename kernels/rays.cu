// Where a ray of light meets a wall: forward and backward pass of a hidden Markov chain along every ray, one thread each.
//
// The state of a voxel is its distance to the next wall in slices: 0 in the wall itself, one more for every step before
// it, `far` where the wall is so far that distance no longer tells. Layout: levels, field and out are (depth, height,
// width); table is (256, far + 1); a ray that starts at row r meets slice z at row r + rows[z]. Between the passes, out
// holds the logarithm of what lies behind each voxel. rows ascend from 0.

#define MOST_FAR 64

__device__ __forceinline__ float scaled(const float *moved, float *here, int far)
{
    float total = 0.0f;
    for (int d = 0; d <= far; ++d) total += moved[d];
    for (int d = 0; d <= far; ++d) here[d] = moved[d] / total;
    return logf(total);
}

extern "C" __global__ __launch_bounds__(128) void wall_probability(
    const unsigned char *__restrict__ levels, const float *__restrict__ field, const float *__restrict__ table,
    const int *__restrict__ rows, float *__restrict__ out, int depth, int height, int width, int far, float leave,
    float arrive)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int r = (int)(blockIdx.y * blockDim.y + threadIdx.y) - rows[depth - 1];
    if (x >= width || r >= height) return;

    int front = 0, back = depth;
    while (front < depth && r + rows[front] < 0) ++front;
    while (back > front && r + rows[back - 1] >= height) --back;

    float here[MOST_FAR + 1], moved[MOST_FAR + 1], scale = 0.0f;
    for (int z = back - 1; z >= front; --z) {
        const size_t at = ((size_t)z * height + r + rows[z]) * width + x;
        const float *likely = table + (int)levels[at] * (far + 1);
        const float odds = expf(field[at]);
        if (z == back - 1) {
            float share = leave / (leave + arrive) * arrive;
            moved[0] = likely[0] * odds * arrive / (leave + arrive);
            for (int d = 1; d < far; ++d) {
                moved[d] = likely[d] * share;
                share *= 1.0f - arrive;
            }
            moved[far] = likely[far] * share / arrive;
        } else {
            float pore = 0.0f;
            for (int d = 1; d <= far; ++d) pore += here[d];
            moved[0] = likely[0] * odds * ((1.0f - leave) * here[0] + arrive * pore);
            moved[1] = likely[1] * leave * here[0];
            for (int d = 2; d <= far; ++d) moved[d] = likely[d] * (1.0f - arrive) * here[d - 1];
            moved[far] += likely[far] * (1.0f - arrive) * here[far];
        }
        scale += scaled(moved, here, far);
        out[at] = scale + logf(here[0]);
    }
    const float whole = scale;
    scale = 0.0f;
    for (int d = 0; d <= far; ++d) here[d] = 1.0f;
    for (int z = front; z < back; ++z) {
        const size_t at = ((size_t)z * height + r + rows[z]) * width + x;
        out[at] = fminf(1.0f, expf(out[at] + scale + logf(here[0]) - whole));
        const float *likely = table + (int)levels[at] * (far + 1);
        const float wall = likely[0] * expf(field[at]) * here[0];
        moved[0] = (1.0f - leave) * wall + leave * likely[1] * here[1];
        for (int d = 1; d < far; ++d) moved[d] = arrive * wall + (1.0f - arrive) * likely[d + 1] * here[d + 1];
        moved[far] = arrive * wall + (1.0f - arrive) * likely[far] * here[far];
        scale += scaled(moved, here, far);
    }
}
