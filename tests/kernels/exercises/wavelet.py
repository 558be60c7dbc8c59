"""Exercises of ``kernels/wavelet.cu``."""

import functools

import numpy as np

from exercises.stripes import face
from fibtomo.ops.curtain_filters import named_stripes
from fibtomo.ops.wavelet import dwt2, idwt2

TOLERANCE = {"rtol": 2e-5, "atol": 1e-4}


def cases():
    for name, shape in (("haar", (1, 1)), ("db4", (33, 50)), ("bior3.9", (40, 7)), ("coif17", (21, 130))):
        yield name, functools.partial(run, name, shape)
    yield "stripes", run_stripes


def run(name, shape, put):
    plane = put(np.random.default_rng(0).normal(size=shape))
    approximation, details = dwt2(plane, name)
    keys = ("along y", "along x", "along both")
    back = {} if min(approximation.shape) < 2 * (name == "db4") else {"back": idwt2(approximation, details, name)}
    return dict(zip(keys, details, strict=True)) | {"approximation": approximation} | back


def run_stripes(put):
    return {"stripes": named_stripes(put(face(0.08)), 0.08, "wavelet_fft", 20.0, 60.0)}
