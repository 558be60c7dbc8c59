"""Exercises of ``kernels/noise.cu``."""

import functools

import numpy as np

from fibtomo.backend.array import like
from fibtomo.backend.kernels import C_TYPES
from fibtomo.ops.noise import count_blocks, estimate_noise, estimate_noise_model

TOLERANCE = {"rtol": 1e-6, "atol": 0}
RANGE = (3.0, 230.0)


def cases():
    for dtype in (*C_TYPES, "float64", "int32"):
        for masked in (False, True):
            yield f"{dtype}{'-masked' if masked else ''}", functools.partial(run, dtype, masked, (3, 40, 57))
    yield "one row", functools.partial(run, "uint8", True, (1, 6, 34))


def run(dtype, masked, shape, put):
    rng = np.random.default_rng(0)
    planes = (rng.poisson(60 + 40 * (np.arange(shape[2]) > 30), shape) * 1.5).astype(dtype)
    planes[:, :2, :3] = 250
    if planes.dtype.kind == "f":
        planes[0, 30:, 40:], planes[-1, 5, 5] = np.nan, np.inf
    mask = np.ones(shape, dtype=bool)
    mask[0, :9], mask[1:, 20:23, 30] = False, False
    volume, seen = put(planes), put(mask) if masked else None
    counts, missed = count_blocks(volume, RANGE, seen)
    model = estimate_noise_model(volume, seen)
    numbers = [missed, model.gain, model.variance_at_zero, *model.greys]
    return {
        "counts": like(volume, counts),
        "numbers": like(volume, np.array(numbers)),
        "sigma": like(volume, estimate_noise(volume[:, 1:6, 10:20])),
    }
