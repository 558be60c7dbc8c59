"""Exercises of ``kernels/resample.cu``."""

import functools

import numpy as np

from fibtomo.backend.kernels import C_TYPES
from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.ops.resample import resample_slab, resample_stack

TOLERANCE = {"rtol": 1e-5, "atol": 1e-3}
GEOMETRY = Geometry(voxel_nm=(9.0, 5.0, 5.0), column_angle_deg=52.0, tracked=True)


def cases():
    for dtype in C_TYPES:
        yield dtype, functools.partial(run, dtype, "cubic", 5.0)
    for method in ("nearest", "linear", "lanczos3"):
        for voxel_nm in (5.0, 13.0):
            yield f"{method}-{voxel_nm:g}", functools.partial(run, "uint16", method, voxel_nm)


def case(dtype: str, voxel_nm: float = 5.0, crop: str = "all", n: int = 8):
    """Slices and a grid with shear, drift, a slice left out and voxels outside."""
    rng = np.random.default_rng(4)
    stack = rng.integers(0, 120, (n, 21, 45)).astype(dtype)
    shifts = np.cumsum(rng.normal(scale=0.8, size=(n, 2)), axis=0)
    return stack, make_grid(GEOMETRY, stack.shape, shifts, voxel_nm, crop=crop, bad_slices=(3,))


def run(dtype: str, method: str, voxel_nm: float, put):
    stack, grid = case(dtype, voxel_nm)
    volume = put(stack)
    return {
        "whole": resample_stack(volume, grid, method=method, fill=-1.0),
        "slab": resample_slab(volume, grid, 0, 1, grid.shape[0] - 1, method=method, fill=-1.0),
    }
