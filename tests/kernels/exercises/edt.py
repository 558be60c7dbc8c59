"""Exercises of ``kernels/edt.cu``."""

import functools

import numpy as np

from fibtomo.ops.distance import distance_transform

TOLERANCE = {"rtol": 2e-6, "atol": 0.0}


def cases():
    yield "isotropic", functools.partial(run, (20, 41, 75), 0.02, None)
    yield "anisotropic", functools.partial(run, (19, 33, 40), 0.01, (12.5, 4.0, 5.0))
    yield "dense", functools.partial(run, (7, 9, 64), 0.5, (10.0, 5.0, 5.0))
    yield "one line", functools.partial(run, (1, 1, 33), 0.05, None)
    yield "one False voxel", functools.partial(run, (9, 17, 31), 1e-9, (3.0, 2.0, 1.0))


def run(shape: tuple[int, int, int], solid: float, voxel_nm, put):
    mask = np.random.default_rng(1).random(shape) >= solid
    mask[0, shape[1] // 2, shape[2] // 3] = False
    volume = put(mask)
    return {
        "open": distance_transform(volume, voxel_nm),
        "closed": distance_transform(volume, voxel_nm, black_border=True),
        "limited": distance_transform(volume, voxel_nm, limit=7.0),
        "all True": distance_transform(put(np.ones(shape, bool)), voxel_nm),
        "all True, closed": distance_transform(put(np.ones(shape, np.uint8)), voxel_nm, black_border=True),
        "all False": distance_transform(put(np.zeros(shape, bool)), voxel_nm),
    }
