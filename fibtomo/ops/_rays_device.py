"""Launch of ``kernels/rays.cu``: what `_rays_kernels` does, for CuPy arrays."""

from typing import Any

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import launch, load_kernel

Array = Any


def wall_probability(levels: Array, field: Array, table: Array, rows: Array, leave: float, arrive: float) -> Array:
    """Probability (z, y, x) float32 of a wall at each voxel; see `_rays_kernels.wall_probability`."""
    xp, (depth, height, width) = namespace(levels), levels.shape
    out = xp.empty(levels.shape, xp.float32)
    rays = (height + int(rows[-1]), width)
    tables = (like(levels, table), like(levels, rows))
    args = (levels, field, *tables, out, depth, height, width, table.shape[1] - 1, float(leave), float(arrive))
    launch(load_kernel("rays"), "wall_probability", rays, args, block=(64, 2, 1))
    return out
