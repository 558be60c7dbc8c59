"""Exercises of ``kernels/tv.cu``."""

import functools

import numpy as np

from fibtomo.ops.noise import NoiseModel
from fibtomo.ops.total_variation import minimise, total_variation

TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}
NOISE = NoiseModel(0.5, 4.0, (0.0, 255.0))


def cases():
    for shape in ((5, 19, 37), (1, 9, 40), (3, 1, 1), (0, 4, 4)):
        for masked in (False, True):
            label = f"{'x'.join(map(str, shape))}{'-masked' if masked else ''}"
            yield label, functools.partial(solve, shape, masked)
    for dtype in ("uint8", "float32"):
        yield dtype, functools.partial(run, dtype)


def solve(shape, masked, put):
    rng = np.random.default_rng(0)
    data = rng.normal(0, 1, shape) + 6 * (np.arange(shape[2]) > 11)
    seen = put(rng.random(shape) > 0.2) if masked else None
    return {
        "u": minimise(put(data), 0.7, 0.6, 25, seen),
        "planes": minimise(put(data), 2.0, 0.0, 10, seen),
    }


def run(dtype, put):
    planes = np.random.default_rng(0).poisson(60 + 40 * (np.arange(31) > 12), (4, 21, 31)).astype(dtype)
    mask = np.ones(planes.shape, dtype=bool)
    mask[:, :4, :7], mask[2] = False, False
    return {
        "filtered": total_variation(put(planes), noise=NOISE, mask=put(mask), iterations=15),
        "chosen": total_variation(put(planes), noise=NOISE, residual=0.8, aspect=1.5, iterations=12),
    }
