"""Loops behind `fibtomo.ops.local_thickness` on a CUDA device: ``kernels/thickness.cu``."""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.core.volume import VoxelNm

Array = Any
SMALL = 8
"""Spheres of at most so many voxels across x take a warp each, larger ones a block."""


def ridge_centres(distance: Array, farthest: Array, bins_per_square: float, shrink: float) -> Array:
    """Centres of spheres that no sphere next to them contains; see `_local_thickness_kernels.ridge_centres`."""
    xp = namespace(distance)
    kept = xp.empty(distance.shape, np.uint8)
    args = (distance, farthest, kept, *distance.shape, farthest.shape[1], bins_per_square, shrink)
    launch(load_kernel("thickness"), "ridge", distance.shape, args)
    return xp.flatnonzero(kept)


def paint(distance: Array, centres: Array, spacing: VoxelNm, shrink: float) -> Array:
    """Radius of the largest sphere over each voxel; see `_local_thickness_kernels.paint`."""
    xp = namespace(distance)
    kernels = load_kernel("thickness")
    out = xp.zeros(distance.shape, np.float32)
    radii = distance.ravel()[centres]
    centres = centres[xp.argsort(-radii)].astype(np.int64, copy=False)
    large = int(xp.count_nonzero(radii > SMALL * spacing[2]))
    # largest first: later spheres find most of their voxels done, and no long one is left for the end
    for some, block in ((centres[:large], (32, 8, 1)), (centres[large:], (256, 1, 1))):
        args = (distance, some, out, len(some), *distance.shape, *spacing, shrink)
        launch(kernels, "paint", (block[1], 32 * len(some)), args, block=block)
    return out
