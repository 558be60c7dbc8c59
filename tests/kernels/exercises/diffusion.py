"""Exercises of ``kernels/diffusion.cu``."""

import functools

import numpy as np
from scipy import ndimage

from fibtomo.ops.diffusion import diffusion_field

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def cases():
    yield "z", functools.partial(run, "z", None)
    yield "y", functools.partial(run, "y", (12.5, 4.0, 5.0))
    yield "x", functools.partial(run, "x", (10.0, 5.0, 5.0))


def run(axis: str, voxel_nm, put):
    field = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal((14, 21, 27)), 1.5)
    found = diffusion_field(put(field > -0.05), axis, voxel_nm, tolerance=1e-2, max_iterations=30)
    closed = diffusion_field(put(np.arange(5)[:, None, None] != np.full((5, 4, 3), 2)), 0, voxel_nm)
    numbers = [found.tortuosity_factor, found.flux_mismatch, closed.tortuosity_factor]
    return {"field": found.field, "closed": closed.field, "numbers": put(np.array(numbers))}
