"""Exercises of ``kernels/rays.cu``."""

import functools

import numpy as np

from fibtomo.ops.wall_rays import Light, wall_posterior

TOLERANCE = {"rtol": 0, "atol": 2e-4}  # sums of logarithms along rays, then an exponential


def cases():
    yield "empty pores", functools.partial(run, (23, 17, 35), Light(0.1, 0.7, 12.0, 0.05), 0.78, False)
    yield "unseen corner, steep rays", functools.partial(run, (12, 21, 40), Light(0.1, 0.7, 30.0, 0.08), 2.3, True)
    yield "filled pores", functools.partial(run, (7, 5, 33), Light(0.1, 0.7, 0.0, 0.02), 0.4, False)
    yield "one slice", functools.partial(run, (1, 4, 9), Light(0.1, 0.7, 5.0, 0.05), 0.78, False)


def run(shape, light, rows_per_slice, corner, put):
    rng = np.random.default_rng(shape[0])
    grey = rng.uniform(0.0, 0.8, shape).astype(np.float32)
    seen = None
    if corner:
        seen = np.ones(shape, bool)
        seen[:, :6, :11] = False
        seen = put(seen)
    return {"probability": wall_posterior(light.relative(put(grey)), light, rows_per_slice, seen=seen)}
