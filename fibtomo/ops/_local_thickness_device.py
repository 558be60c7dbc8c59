"""Loops behind `fibtomo.ops.local_thickness` on a CUDA device: ``kernels/thickness.cu``."""

from math import ceil, log
from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace, to_host
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.core.volume import VoxelNm

Array = Any
TILE = (4, 4, 32)
"""As in the kernel."""
SMALL = 16
"""Spheres of a smaller radius, in voxels along x, take a warp each, larger ones a block."""
MOST = 2**25
"""Spheres per launch, whose threads an int has to count."""
SHELL = 0.8
"""Spheres are painted in this ratio of radii at a time, so that smaller ones can skip what larger ones cover."""


def ridge_centres(distance: Array, farthest: Array, voxel_square: float, shrink: float) -> Array:
    """Centres of spheres that no sphere next to them contains; see `_local_thickness_kernels.ridge_centres`."""
    xp = namespace(distance)
    kept = xp.empty(distance.shape, np.uint8)
    args = (distance, farthest, kept, *distance.shape, farthest.shape[1], voxel_square, shrink)
    launch(load_kernel("thickness"), "ridge", distance.shape, args)
    return xp.flatnonzero(kept)


def paint(distance: Array, centres: Array, spacing: VoxelNm, shrink: float) -> Array:
    """Radius of the largest sphere over each voxel; see `_local_thickness_kernels.paint`."""
    xp = namespace(distance)
    kernels = load_kernel("thickness")
    radii = distance.ravel()[centres]
    order = xp.argsort(-radii)
    centres, radii = centres[order].astype(np.int64, copy=False), radii[order]
    smallest, largest = (float(r) for r in to_host(radii[[-1, 0]]))
    levels = largest * SHELL ** np.arange(1, ceil(log(smallest / largest, SHELL)) + 1)
    stops = [*map(int, to_host(xp.searchsorted(-radii, like(radii, -levels.astype(np.float32))))), len(centres)]
    tiles = tuple(-(-n // side) for n, side in zip(distance.shape, TILE, strict=True))
    covered, out = xp.zeros(tiles, np.uint8), xp.zeros(distance.shape, np.float32)
    for start, stop, radius in zip([0, *stops], stops, [*levels, 0.0], strict=False):
        launch(kernels, "cover", (*tiles[:2], 32 * tiles[2]), (distance, out, covered, *distance.shape))
        block = (256, 1, 1) if radius < SMALL * spacing[2] else (32, 8, 1)
        for first in range(start, stop, MOST):
            some = centres[first : min(first + MOST, stop)]
            args = (distance, covered, some, out, len(some), *distance.shape, *spacing, shrink)
            launch(kernels, "paint", (block[1], 32 * len(some)), args, block=block)
    return out
