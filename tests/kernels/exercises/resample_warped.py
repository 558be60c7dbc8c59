"""Exercises of ``kernels/resample_warped.cu``."""

import functools

import numpy as np

from fibtomo.backend.kernels import C_TYPES
from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.core.warp import Warp
from fibtomo.ops.resample import resample_stack

TOLERANCE = {"rtol": 1e-4, "atol": 2e-3, "outliers": 1e-3}  # nearest: places half way between two samples
GEOMETRY = Geometry(voxel_nm=(9.0, 5.0, 5.0), column_angle_deg=52.0, tracked=True, sample_tilt_deg=30.0)
FRAME = (21, 45)


def cases():
    for dtype in C_TYPES:
        yield dtype, functools.partial(run, dtype, "cubic", True, "surface", 5.0)
    for method, voxel_nm in (("nearest", 5.0), ("linear", 13.0), ("cubic", 13.0), ("lanczos3", 5.0)):
        for warped, axes in ((True, "specimen"), (False, "surface")):
            label = f"{method}-{voxel_nm:g}-{'warped' if warped else 'straight'}-{axes}"
            yield label, functools.partial(run, "uint16", method, warped, axes, voxel_nm)


def run(dtype: str, method: str, warped: bool, axes: str, voxel_nm: float, put):
    rng = np.random.default_rng(4)
    stack = rng.integers(0, 120, (8, *FRAME)).astype(dtype)
    shifts = np.cumsum(rng.normal(scale=0.8, size=(8, 2)), axis=0)
    warp = Warp(rng.uniform(-1, 1, (8, 3, 5, 2)), FRAME) if warped else None
    grid = make_grid(GEOMETRY, stack.shape, shifts, voxel_nm, "all", (3,), warp=warp, axes=axes)
    return {"whole": resample_stack(put(stack), grid, method=method, fill=-1.0)}
