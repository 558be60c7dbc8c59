"""Exercises of ``kernels/features.cu``."""

import functools

import numpy as np

from fibtomo.ops.features import KINDS, feature_bank

TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}  # eigenvalues near 0 are as exact as the largest one, here up to about 100
VOXEL_NM = (9.0, 5.0, 4.0)


def cases():
    yield "3-D", functools.partial(run, "uint16", (19, 21, 37), (6.0,), KINDS, 3, False)
    yield "2-D", functools.partial(run, "int16", (3, 35, 47), (4.0, 8.0), KINDS, 2, False)
    yield "masked", functools.partial(run, "float32", (7, 18, 33), (5.0,), KINDS, 3, True)
    yield "wide line", functools.partial(run, "float32", (2, 3, 301), (15.0,), ("gaussian", "structure"), 3, False)
    yield "deep", functools.partial(run, "float32", (70, 2, 5), (5.0, 30.0), ("hessian", "variance"), 3, False)
    part, inner = (slice(3, 7), slice(0, 9), slice(11, 12)), ("laplacian", "hessian", "variance", "structure")
    yield "window", functools.partial(run, "uint8", (9, 14, 21), (5.0,), KINDS, 3, True, core=part)
    yield "flat window", functools.partial(run, "uint8", (9, 14, 21), (5.0, 9.0), inner, 2, False, core=part)
    yield "one voxel", functools.partial(run, "uint8", (1, 1, 1), (5.0,), KINDS, 3, False)
    yield "nothing", functools.partial(run, "uint8", (0, 4, 5), (5.0,), KINDS, 3, False)


def run(dtype, shape, sigmas, kinds, dimensions, masked, put, core=None):
    rng = np.random.default_rng(3)
    volume = rng.integers(0, 20, shape).astype(dtype)
    mask = put(rng.random(shape) > 0.3) if masked else None
    wanted = {"kinds": kinds, "dimensions": dimensions, "mask": mask, "core": core}
    return {"features": feature_bank(put(volume), sigmas, VOXEL_NM, **wanted)}
