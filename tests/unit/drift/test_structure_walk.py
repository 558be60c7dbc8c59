"""The walk that changing structure feigns is measured on parts of the frame, and taken out where it is all there is."""

import numpy as np
import pytest

from fibtomo.ops.drift_combine import combine_slabs
from fibtomo.ops.drift_measure import DriftOptions, measure_slab
from fibtomo.ops.local_motion import local_steps
from fibtomo.ops.structure_walk import Walk, measure_walk, without_walk
from fibtomo.ops.trajectory import Pairs


def walks(velocity, memory, n, seeds):
    """(seeds, n, 2) realisations of a walk."""
    rng = np.random.default_rng(7)
    keep = np.exp(-1 / memory)
    steps = velocity * rng.normal(size=(seeds, n, 2))
    for k in range(1, n):
        steps[:, k] = keep * steps[:, k - 1] + np.sqrt(1 - keep**2) * steps[:, k]
    steps[:, 0] = 0
    return np.cumsum(steps, axis=1)


def bent(path):
    at = np.arange(len(path))
    line = np.polynomial.polynomial.polyval(at, np.polynomial.polynomial.polyfit(at, path, 1)).T
    return float(np.sqrt(np.mean((path - line) ** 2)))


def test_spread_of_a_walk_is_that_of_its_realisations():
    walk = Walk(0.1, 5.0)
    assert np.std(walks(0.1, 5.0, 200, 400)[:, -1]) == pytest.approx(walk.sigma_px(200)[-1], rel=0.08)


@pytest.mark.parametrize("slope", [(0.0, 0.0), (-1.2, 0.4)])
def test_a_still_sample_loses_its_bends(slope):
    line = np.outer(np.arange(120), slope)
    kept, rest = [], []
    for path in walks(0.1, 4.0, 120, 12):
        clean, sigma = without_walk(path + line, Walk(0.1, 4.0))
        kept.append(bent(clean) / bent(path))
        rest.append(sigma.max())
        np.testing.assert_allclose(clean[-1], (path + line)[-1], atol=1e-6)
    assert np.median(kept) < 0.45
    assert max(rest) < Walk(0.1, 4.0).sigma_px(120).max()


def test_real_motion_is_kept():
    rng = np.random.default_rng(3)
    for path in walks(0.03, 2.0, 120, 6):
        slow = 6 * np.sin(np.arange(120) / 18)[:, None] * [1.0, -0.5]
        jitter = 0.4 * rng.normal(size=(120, 2))
        jump = np.zeros((120, 2))
        jump[50:] = 25, -8
        truth = slow + jitter + jump
        clean, _ = without_walk(truth + path, Walk(0.03, 2.0))
        assert np.std(np.diff(clean - truth, axis=0)) < 0.06
        assert bent(clean - truth) < bent(path) + 0.1


def test_parts_show_their_own_motion(lab):
    waves = lab.Waves(0)
    stack = waves.stack([(0, 0), (0.6, -1.4)], dz_px=0.0)
    np.testing.assert_allclose(local_steps(*stack, (0.6, -1.4)), np.tile((0.6, -1.4), (4, 1)), atol=0.15)
    moved = stack[1].copy()
    moved[:128, :128] = waves.stack([(2.0, 0.0)], dz_px=0.0)[0][:128, :128]
    steps = local_steps(stack[0], moved, (0.6, -1.4))
    np.testing.assert_allclose(steps[0], (2.0, 0.0), atol=0.5)
    np.testing.assert_allclose(steps[1:], np.tile((0.6, -1.4), (3, 1)), atol=0.15)


def test_no_overlap_or_no_structure_is_unknown():
    image = np.random.default_rng(0).normal(size=(64, 64))
    assert np.isnan(local_steps(image, image, (60.0, 0.0))).all()
    assert np.isnan(local_steps(np.zeros((64, 64)), np.zeros((64, 64)), (0.0, 0.0))).all()


def test_measured_walk_tells_the_error_of_the_slow_part(lab):
    ratios = []
    for seed in range(6):
        slices = lab.Waves(seed).stack(np.zeros((40, 2)))
        partials = [measure_slab(slices, 0, (0, 40), DriftOptions())]
        column = {name: np.asarray(values) for name, values in partials[0].items()}
        pairs = Pairs(*(column[c] for c in ("first", "second", "shift_px", "sigma_px", "pair_confidence")))
        drift = combine_slabs(partials, DriftOptions(slow="keep"))
        ratios.append(drift.shifts_px[-1] / measure_walk(column, pairs).sigma_px(40)[-1])
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 1.5
