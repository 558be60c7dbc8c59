"""Loops over pixels exist for the CPU and for CUDA devices; what they compute is compared in ``tests/kernels``."""

import importlib
import inspect

import numpy as np
import pytest

from fibtomo.ops import _phase_kernels


@pytest.mark.parametrize("name", ["stripe", "phase", "curtain", "wavelet"])
def test_every_loop_has_its_twin(name):
    loops, device = (importlib.import_module(f"fibtomo.ops._{name}_{place}") for place in ("kernels", "device"))

    def calls(module):
        own = {n: getattr(f, "py_func", f) for n, f in vars(module).items() if callable(f) and not n.startswith("_")}
        return {n: [*inspect.signature(f).parameters] for n, f in own.items() if f.__module__ == module.__name__}

    assert calls(loops) == calls(device)
    assert calls(loops)


def test_stripes_begin_and_end_where_they_do():
    step = np.where(np.arange(40)[:, None] < 15, 0.0, 1.0) * np.ones(9)
    noisy = (step + 0.02 * np.random.default_rng(1).normal(size=step.shape)).astype(np.float32)
    weight = np.ones_like(noisy)
    smooth = _phase_kernels.broken_smooth(weight, noisy, 6.0, 0.02)
    assert np.abs(smooth - step).max() < 0.06
    ramp = np.linspace(0, 1, 40, dtype=np.float32)[:, None] * np.ones(9, np.float32)
    assert np.abs(_phase_kernels.broken_smooth(weight, ramp, 6.0, 0.5) - ramp)[3:-3].max() < 0.02
