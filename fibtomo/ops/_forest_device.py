"""Launch of ``kernels/forest.cu``: what `_forest_kernels` does, for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.errors import InputError

Array = Any
SHARED_BYTES = 48 * 1024


def mean_votes(features: Array, forest: Any) -> Array:
    """Class probabilities (classes, voxels) float32 of `features` (features, voxels) float32 by a `PackedForest`."""
    xp = namespace(features)
    count, voxels = features.shape
    classes = forest.votes.shape[1]
    column = 4 * (count + classes)
    threads = next((n for n in (256, 128, 64, 32) if n * column <= SHARED_BYTES), 0)
    if not threads:
        most = SHARED_BYTES // 128
        raise InputError(f"a forest of {count} features and {classes} classes exceeds the {most} that a card takes")
    out = xp.empty((classes, voxels), xp.float32)
    tables = [like(features, table) for table in (forest.nodes, forest.rows, forest.start, forest.depth, forest.votes)]
    args = (features, *tables, out, count, len(forest.start), classes, np.int64(voxels), forest.share)
    launch(load_kernel("forest"), "mean_votes", (voxels,), args, block=(threads, 1, 1), shared_bytes=threads * column)
    return out
