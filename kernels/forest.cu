// Votes of a random forest: one thread takes one voxel through all trees, four at a time to hide the latency of
// nodes, and adds up the votes of the leaves it falls into. Votes are whole numbers, so their sum is exact.
//
// Layout: features (count, voxels); out (classes, voxels). nodes (nodes): float threshold; the number of the left child
// within its tree above the lowest 10 bits, which hold the feature. The right child follows the left one; a leaf is
// its own left child with an infinite threshold. start, depth (trees); rows (nodes), row of votes (leaves, classes) of a
// leaf. Shared: the features of each thread's voxel, then its sums; a bank for every lane, whatever feature it asks for.

#include "common.cuh"

struct alignas(8) Node {
    float threshold;
    unsigned link;
};

extern "C" __global__ __launch_bounds__(256) void mean_votes(
    const float *__restrict__ features, const Node *__restrict__ nodes, const int *__restrict__ rows,
    const int *__restrict__ start, const int *__restrict__ depth, const unsigned *__restrict__ votes,
    float *__restrict__ out, int count, int trees, int classes, long long voxels, float share)
{
    DYNAMIC_SHARED(float, shared);
    const int threads = blockDim.x;
    const long long voxel = (long long)blockIdx.x * threads + threadIdx.x;
    if (voxel >= voxels) return;

    float *own = shared + threadIdx.x;
    unsigned *total = (unsigned *)(shared + count * threads) + threadIdx.x;
    for (int f = 0; f < count; ++f) own[f * threads] = features[f * voxels + voxel];
    for (int c = 0; c < classes; ++c) total[c * threads] = 0u;

    for (int tree = 0; tree < trees; tree += 4) {
        int root[4], steps = 0;
        unsigned at[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const int t = min(tree + k, trees - 1);
            root[k] = start[t];
            at[k] = 0u;
            steps = max(steps, depth[t]);
        }
        for (int step = 0; step < steps; ++step) {
            unsigned moved = 0u;
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const Node node = nodes[root[k] + at[k]];
                const unsigned child = (node.link >> 10) + (own[(node.link & 1023u) * threads] > node.threshold);
                moved |= child ^ at[k];
                at[k] = child;
            }
            if (moved == 0u) break;
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (tree + k >= trees) break;
            const unsigned *vote = votes + (size_t)rows[root[k] + at[k]] * classes;
            for (int c = 0; c < classes; ++c) total[c * threads] += vote[c];
        }
    }
    for (int c = 0; c < classes; ++c) out[c * voxels + voxel] = (float)total[c * threads] * share;
}
