"""Exercises of ``kernels/thickness.cu``."""

import functools

import numpy as np
from scipy import ndimage

from fibtomo.ops.local_thickness import local_thickness

TOLERANCE = {"rtol": 2e-6, "atol": 0.0}


def cases():
    yield "isotropic", functools.partial(run, (20, 31, 45), None)
    yield "anisotropic", functools.partial(run, (15, 33, 40), (12.5, 4.0, 5.0))
    yield "one slice", functools.partial(run, (1, 40, 65), 5.0)


def run(shape: tuple[int, int, int], voxel_nm, put):
    field = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal(shape), 2)
    wide = np.ones(shape, bool)
    wide[0, 3, 5] = False
    return {
        "blobs": local_thickness(put(field > 0), voxel_nm),
        "closed": local_thickness(put(field > 0), voxel_nm, black_border=True),
        "wide": local_thickness(put(wide), voxel_nm),
        "all True": local_thickness(put(np.ones((3, 4, 5), bool)), voxel_nm),
        "all False": local_thickness(put(np.zeros((3, 4, 5), bool)), voxel_nm),
    }
