"""Loops behind `fibtomo.ops.distance` on a CUDA device: ``kernels/edt.cu``, the contract of `_distance_kernels`."""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.core.volume import VoxelNm

Array = Any
SHARED_BYTES = 48 * 1024


def distances(mask: Array, spacing: VoxelNm, black_border: bool, limit: float) -> Array:
    """Distance of each True voxel to the nearest False one; see `_distance_kernels.distances`."""
    xp = namespace(mask)
    nz, ny, nx = mask.shape
    dz, dy, dx = spacing
    kernels = load_kernel("edt")
    first, second = xp.empty(mask.shape, np.float32), xp.empty(mask.shape, np.float32)
    row_bytes = 8 * -(-nx // 32)
    warps = max(1, min(8, SHARED_BYTES // row_bytes))
    launch(
        kernels,
        "edt_rows",
        (nz, ny, 32),
        (mask.view(np.uint8), first, ny, nx, dx, limit, int(black_border)),
        block=(32, warps, 1),
        shared_bytes=warps * row_bytes,
    )
    for source, out, along_z, step in ((first, second, 0, dy), (second, first, 1, dz)):
        launch(kernels, "edt_axis", mask.shape, (source, out, nz, ny, nx, along_z, step, limit, int(black_border)))
    return first
