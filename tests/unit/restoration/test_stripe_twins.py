"""The loops over pixels and their array expressions (for CuPy) do the same."""

import numpy as np
import pytest

from fibtomo.ops import _phase_arrays, _phase_kernels, _stripe_arrays, _stripe_kernels
from fibtomo.ops.stripe_steps import half_gaussian

NY, NX, ROWS = 53, 67, 8
BANDS = -(-NY // ROWS)


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    start = rng.integers(0, 5, NY)
    labels = rng.integers(0, 3, (NY, NX)).astype(np.uint8)
    labels[rng.random((NY, NX)) < 0.2] = 255
    return {
        "u": rng.normal(size=(NY, NX)).astype(np.float32),
        "v": rng.normal(size=(NY, NX)).astype(np.float32),
        "w": rng.normal(size=(NY, NX)).astype(np.float32),
        "stripe": 0.3 * rng.normal(size=(BANDS, NX)).astype(np.float32),
        "positive": rng.random((BANDS, NX)).astype(np.float32),
        "spans": np.stack([start, NX - start], axis=1),
        "labels": labels,
        "slow": 0.1 * rng.normal(size=(3, BANDS, NX)).astype(np.float32),
        "grey": np.array([-1.0, 0.1, 0.9], np.float32),
        "gain": np.array([0.5, 1.0, 1.5], np.float32),
        "cut": np.array([0.7, 1.0, 2.0], np.float32),
        "smooth": half_gaussian(1.5)[0],
        "slope": half_gaussian(1.5)[1],
        "rows": np.minimum(np.arange(NY) // ROWS, BANDS - 2),
        "part": rng.random(NY).astype(np.float32),
        "taps": rng.normal(size=(NY, 4)).astype(np.float32),
    }


PHASES = {
    "smoothed": ("u", "stripe", ROWS, "smooth"),
    "pure_labels": ("u", "grey", "spans", 1, 255),
    "turned_labels": ("labels",),
    "cell_sums": ("u", "labels", "stripe", "gain", "grey", "cut", ROWS, 10),
    "class_sums": ("u", "labels", "stripe", "gain", "grey", "cut", "slow", ROWS),
    "broken_smooth": ("positive", "stripe", 6.0, 0.1),
    "scaled_by_grey": ("u", "v", "grey", "gain"),
}
STEPS = {
    "gradients": ("u", "smooth", "slope"),
    "run_medians": ("u", 16, 15, 5.0),
    "band_steps": ("u", "v", "w", "stripe", "spans", 3.0, ROWS),
    "flat_steps": ("u", "v", "w", 3.0),
    "transposed": ("u", "stripe", ROWS),
    "smoothed_bands": ("stripe", "smooth"),
    "shifted_rows": ("u", "rows", "taps", NX + 6),
    "rows_of_bands": ("stripe", "rows", "part"),
    "integrate_steps": ("positive", "stripe", 0.1),
}


@pytest.mark.parametrize(
    ("loops", "arrays", "name", "arguments"),
    [(_phase_kernels, _phase_arrays, name, a) for name, a in PHASES.items()]
    + [(_stripe_kernels, _stripe_arrays, name, a) for name, a in STEPS.items()],
)
def test_loops_and_arrays_agree(world, loops, arrays, name, arguments):
    given = [world[a] if isinstance(a, str) else a for a in arguments]
    one, two = getattr(loops, name)(*given), getattr(arrays, name)(*given)
    for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (one, two)), strict=True):
        assert a.dtype == b.dtype
        assert np.ptp(a) > 0
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_every_loop_has_its_twin():
    for loops, arrays, tested in ((_phase_kernels, _phase_arrays, PHASES), (_stripe_kernels, _stripe_arrays, STEPS)):
        public = {n for n, f in vars(loops).items() if hasattr(f, "py_func") and not n.startswith("_")}
        assert public == set(tested)
        assert all(callable(getattr(arrays, n, None)) for n in public)


def test_stripes_begin_and_end_where_they_do():
    step = np.where(np.arange(40)[:, None] < 15, 0.0, 1.0) * np.ones(9)
    noisy = (step + 0.02 * np.random.default_rng(1).normal(size=step.shape)).astype(np.float32)
    weight = np.ones_like(noisy)
    smooth = _phase_kernels.broken_smooth(weight, noisy, 6.0, 0.02)
    assert np.abs(smooth - step).max() < 0.06
    ramp = np.linspace(0, 1, 40, dtype=np.float32)[:, None] * np.ones(9, np.float32)
    assert np.abs(_phase_kernels.broken_smooth(weight, ramp, 6.0, 0.5) - ramp)[3:-3].max() < 0.02
