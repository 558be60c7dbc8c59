"""Exercises of ``kernels/rings.cu``."""

import functools

import numpy as np
from scipy.ndimage import gaussian_filter

from fibtomo.backend.array import namespace
from fibtomo.ops.correlation import pair_shift, ring_moments
from fibtomo.ops.spectra import make_band, ring_power, slice_spectrum

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def cases():
    yield "small", functools.partial(run, (40, 61))
    yield "wide", functools.partial(run, (128, 300))


def run(shape, put):
    scene = gaussian_filter(np.random.default_rng(0).normal(size=(shape[0] + 6, shape[1])), 2).astype(np.float32)
    a, b = (put(np.ascontiguousarray(scene[k : k + shape[0]])) for k in (0, 3))
    xp = namespace(a)
    band = make_band(shape, xp=xp)
    first, second = slice_spectrum(a, band), slice_spectrum(b, band)
    shift = np.array([-2.5, 0.4])
    moments = ring_moments(first.values.conj() * second.values, shift, band)
    pair = pair_shift(first, second, band)
    numbers = (*pair.shift_px, *pair.sigma_px, pair.coherence, pair.significance, pair.rival, pair.disagreement)
    return {
        "spectrum": first.values,
        "power": xp.asarray(ring_power(first.values, band) / first.power.sum()),
        "moments": xp.asarray(moments / np.abs(moments).max(axis=1, keepdims=True)),
        "pair": xp.asarray(np.array(numbers)),
    }
