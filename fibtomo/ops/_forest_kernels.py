"""Loops behind `fibtomo.ops.forest_inference` on the CPU. Imported lazily: numba takes a while to load."""

from typing import Any

import numpy as np
from numba import njit

from fibtomo.backend.threads import map_ranges
from fibtomo.ops.forest_inference import FEATURE_BITS, MAX_FEATURES

Array = Any
compiled = njit(nogil=True, cache=True, error_model="numpy")
VOXELS = 256
"""Voxels that go through all trees together: their features stay in the first cache, the tree at work in the second."""
BLOCK = 16384
"""Voxels of one call."""
FEATURE_SHIFT, FEATURE_MASK = np.uint32(FEATURE_BITS), np.uint32(MAX_FEATURES - 1)


def mean_votes(features: Array, forest: Any) -> Array:
    """Class probabilities (classes, voxels) float32 of `features` (features, voxels) float32 by a `PackedForest`."""
    out = np.empty((forest.votes.shape[1], features.shape[1]), np.float32)
    thresholds = np.ascontiguousarray(forest.nodes[:, 0]).view(np.float32)
    links = np.ascontiguousarray(forest.nodes[:, 1]).view(np.uint32)
    tables = (thresholds, links, forest.rows, forest.start, forest.depth, forest.votes, np.float32(forest.share))

    def run(first: int, last: int) -> None:
        _block(features, *tables, first, last, out)

    map_ranges(run, features.shape[1], BLOCK)
    return out


@compiled
def _block(
    features: Array, thresholds: Array, links: Array, rows: Array, start: Array, depth: Array, votes: Array,
    share: float, first: int, last: int, out: Array,
) -> None:  # fmt: skip
    count, classes = features.shape[0], votes.shape[1]
    near = np.empty(count * VOXELS, np.float32)
    at = np.empty(VOXELS, np.uint32)
    total = np.empty((VOXELS, classes), np.uint32)
    for p0 in range(first, last, VOXELS):
        n = min(VOXELS, last - p0)
        for f in range(count):
            near[f * VOXELS : f * VOXELS + n] = features[f, p0 : p0 + n]
        total[:] = 0
        for tree in range(len(start)):
            here_t, here_l, here_r = thresholds[start[tree] :], links[start[tree] :], rows[start[tree] :]
            at[:] = 0
            for _ in range(depth[tree]):
                moved = np.uint32(0)
                for p in range(n):
                    node = at[p]
                    link = here_l[node]
                    value = near[(link & FEATURE_MASK) * VOXELS + p]
                    child = (link >> FEATURE_SHIFT) + np.uint32(value > here_t[node])
                    moved |= child ^ node
                    at[p] = child
                if moved == 0:
                    break
            for p in range(n):
                row = here_r[at[p]]
                for c in range(classes):
                    total[p, c] += votes[row, c]
        for c in range(classes):
            for p in range(n):
                out[c, p0 + p] = np.float32(total[p, c]) * share
