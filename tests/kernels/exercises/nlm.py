"""Exercises of ``kernels/nlm.cu``."""

import functools

import numpy as np

from fibtomo.ops.nlm import average_alike, non_local_means
from fibtomo.ops.noise import NoiseModel

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
NOISE = NoiseModel(0.5, 4.0, (0.0, 255.0))


def cases():
    for radius, reach, shape in (
        ((1, 1, 1), (1, 2, 2), (5, 9, 43)),
        ((0, 1, 1), (0, 2, 2), (2, 34, 31)),
        ((1, 3, 2), (1, 1, 5), (3, 9, 21)),
        ((7, 7, 7), (1, 1, 1), (2, 3, 19)),
        ((1, 1, 1), (4, 1, 1), (1, 1, 1)),
    ):
        label = "-".join("x".join(map(str, sizes)) for sizes in (radius, reach))
        yield label, functools.partial(one_pass, radius, reach, shape)
    for dtype in ("uint8", "float32"):
        yield dtype, functools.partial(run, dtype)


def specimen(shape):
    rng = np.random.default_rng(0)
    seen = rng.random(shape) > 0.02
    seen[:, :2, :7], seen[:, :, 30:] = False, True
    return rng.poisson(60 + 40 * (np.arange(shape[2]) > 12), shape), seen


def one_pass(radius, reach, shape, put):
    grey, seen = specimen(shape)
    grey = grey.astype(np.float32)
    level, shown = put(grey / 8), put(np.where(seen, grey, np.float32(0)))
    core = (shape[0] // 3, shape[0] - shape[0] // 3)
    return {
        "all": average_alike(level, put(grey), radius, reach, 0.8),
        "seen": average_alike(level, shown, radius, reach, 0.8, put(seen)),
        "core": average_alike(level, put(grey), radius, (0, 1, 1), 0.8, core=core),
    }


def run(dtype, put):
    planes, seen = specimen((3, 9, 66))
    planes = planes.astype(dtype)
    options = {"noise": NOISE, "reach_px": 2, "aspect": 1.5}
    return {"filtered": non_local_means(put(planes), mask=put(seen), **options)}
