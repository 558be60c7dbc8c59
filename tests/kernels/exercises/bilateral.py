"""Exercises of ``kernels/bilateral.cu``."""

import functools

import numpy as np

from fibtomo.ops.bilateral import bilateral
from fibtomo.ops.noise import NoiseModel

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
NOISE = NoiseModel(0.5, 4.0, (0.0, 255.0))


def cases():
    for dtype in ("uint8", "uint16", "float32", "float64"):
        yield dtype, functools.partial(run, dtype, (5, 35, 41), 3.0, 1.0, None)
    yield "wide", functools.partial(run, "uint8", (2, 37, 33), 1.5, 4.0, 0.0)
    yield "one slice", functools.partial(run, "uint8", (1, 7, 70), 3.0, 1.5, None)
    yield "one voxel", functools.partial(run, "uint8", (1, 1, 1), 3.0, 1.5, None)
    yield "none", functools.partial(run, "uint8", (0, 5, 5), 3.0, 1.5, None)


def run(dtype, shape, strength, sigma_px, sigma_slices, put):
    rng = np.random.default_rng(0)
    planes = rng.poisson(60 + 40 * (np.arange(shape[2]) > 12), shape).astype(dtype)
    mask = rng.random(shape) > 0.1
    mask[:, :3] = False
    options = {"strength": strength, "sigma_px": sigma_px, "sigma_slices": sigma_slices, "aspect": 1.4, "noise": NOISE}
    return {
        "all": bilateral(put(planes), **options),
        "seen": bilateral(put(planes), mask=put(mask), **options),
    }
