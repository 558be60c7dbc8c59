"""Pairs over several slices that contradict the steps count less; where loops close, nothing changes."""

from dataclasses import replace

import numpy as np
import pytest

from fibtomo.ops.loop_scatter import widened_by_loops
from fibtomo.ops.trajectory import Pairs, solve_trajectory


def chain(n=40, gaps=(1, 2, 3), noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(size=(n, 2)), axis=0)
    first, second = (np.concatenate(c) for c in zip(*[(np.arange(n - g), np.arange(g, n)) for g in gaps], strict=True))
    shift = truth[second] - truth[first] + noise * rng.normal(size=(len(first), 2))
    return Pairs(first, second, shift, np.full(shift.shape, noise), np.ones(len(first))), truth - truth[0]


@pytest.mark.parametrize("understated", [1, 4])
def test_loops_that_miss_at_random_change_nothing(understated):
    pairs, _ = chain()
    pairs = replace(pairs, sigma_px=pairs.sigma_px / understated)
    np.testing.assert_array_equal(widened_by_loops(pairs).sigma_px, pairs.sigma_px)


def test_pairs_that_always_go_farther_lose_their_say():
    pairs, truth = chain(gaps=(1, 2), noise=0.02)
    farther = np.where(pairs.second - pairs.first == 2, 0.3, 0.0)
    pairs = replace(pairs, shift_px=pairs.shift_px + np.column_stack([0 * farther, farther]))
    rms = {}
    for name, used in (("stated", pairs), ("widened", widened_by_loops(pairs))):
        steps = np.diff(solve_trajectory(len(truth), used).shifts_px - truth, axis=0)
        rms[name] = np.sqrt((steps**2).mean(axis=0))
    assert rms["widened"][1] < 0.5 * rms["stated"][1]
    assert rms["widened"][0] == pytest.approx(rms["stated"][0], rel=0.3)


def test_wild_and_silent_pairs_do_not_count():
    pairs, _ = chain(gaps=(1, 2))
    shift, weight = pairs.shift_px.copy(), pairs.weight.copy()
    long = np.flatnonzero(pairs.second - pairs.first == 2)
    shift[long[::6]] += 30
    assert (widened_by_loops(replace(pairs, shift_px=shift)).sigma_px == pairs.sigma_px).all()
    weight[long] = 0
    assert (widened_by_loops(replace(pairs, shift_px=shift, weight=weight)).sigma_px == pairs.sigma_px).all()


def test_few_loops_and_no_pairs_tell_nothing():
    pairs, _ = chain(n=8, gaps=(1, 2))
    assert (widened_by_loops(pairs).sigma_px == pairs.sigma_px).all()
    none = Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    assert widened_by_loops(none).sigma_px.shape == (0, 2)
