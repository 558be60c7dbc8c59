"""Exercises of ``kernels/primal_dual.cu``."""

import functools

import numpy as np

from exercises.stripes import face
from fibtomo.backend.kernels import twin
from fibtomo.ops.curtain_filters import named_stripes

TOLERANCE = {"rtol": 2e-5, "atol": 2e-4}


def cases():
    for ny, nx in ((1, 1), (7, 33), (41, 70)):
        yield f"steps-{ny}x{nx}", functools.partial(run_steps, ny, nx)
    for name in ("vsnr", "general", "wedge"):
        yield name, functools.partial(run_filter, name)


def run_steps(ny, nx, put):
    rng = np.random.default_rng(nx)
    u0, s = (put(rng.normal(size=(ny, nx)).astype(np.float32)) for _ in range(2))
    limit = put(rng.random((ny, nx)).astype(np.float32))
    dual, fields, pull = (put(np.zeros((*n, ny, nx), np.float32)) for n in ((2,), (5,), ()))
    over = twin("fibtomo.ops", "curtain", like=u0)
    for _ in range(3):
        dual = over.clip_gradients(u0, s, dual, limit, pull)
        fields = over.split_step(u0, fields, limit, 0.3, 0.25, 0.1)
    return {"dual": dual, "pull": pull, "fields": fields}


def run_filter(name, put):
    return {"stripes": named_stripes(put(face(0.08, (53, 80))), 0.08, name, 20.0, 60.0)}
