"""From pairs to a trajectory: the closed forms of chains, jumps kept, false pairs voted out, gaps bridged."""

import time

import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops.reference_blend import blend_reference
from fibtomo.ops.trajectory import Pairs, banded_inverse_diagonal, solve_trajectory


def simulate(n, gaps, sigma, seed=0, jump=None, wrong=0.0, missing=()):
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(size=(n, 2)), axis=0)
    if jump is not None:
        truth[jump:] += (25, -12)
    truth -= truth[0]
    first = np.concatenate([np.arange(n - g) for g in gaps])
    second = np.concatenate([np.arange(g, n) for g in gaps])
    shift = truth[second] - truth[first] + sigma * rng.normal(size=(len(first), 2))
    false = rng.random(len(first)) < wrong
    shift[false] += 20 * rng.normal(size=(int(false.sum()), 2))
    weight = np.where(np.isin(first, missing) | np.isin(second, missing), 0.0, 1.0)
    return truth, Pairs(first, second, shift, np.full((len(first), 2), sigma), weight), false


@pytest.mark.parametrize(("n", "k", "expected"), [(200, 1, 14.1), (200, 2, 6.34), (200, 4, 2.64), (200, 8, 1.08)])
def test_end_to_end_error_of_independent_pairs(n, k, expected):
    """The table of least squares over offsets 1..K; 40 realisations of two axes tell it to about 8 %."""
    errors, sigmas = [], []
    for seed in range(40):
        truth, pairs, _ = simulate(n, range(1, k + 1), 0.1, seed)
        track = solve_trajectory(n, pairs)
        errors.append((track.shifts_px[-1] - truth[-1]) / 0.1)
        sigmas.append(track.sigma_px[-1] / 0.1)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(expected, rel=0.25)
    assert np.mean(sigmas) == pytest.approx(expected, rel=0.12)


def test_real_jump_is_kept():
    truth, pairs, _ = simulate(120, (1, 2), 0.03, jump=60)
    track = solve_trajectory(120, pairs)
    assert np.abs(track.shifts_px - truth).max() < 0.5
    assert (track.pair_weight > 0).all()
    assert track.breaks == ()


def test_false_pairs_are_voted_out():
    truth, pairs, false = simulate(200, (1, 2, 3), 0.03, jump=100, wrong=0.08)
    track = solve_trajectory(200, pairs)
    assert false.sum() > 20
    assert np.abs(track.shifts_px - truth).max() < 0.5
    assert (track.pair_weight[false] == 0).all()
    assert (track.pair_weight[~false] == 0).mean() < 0.02


def test_slice_without_pairs_is_bridged_and_says_so():
    truth, pairs, _ = simulate(40, (1, 2), 0.03, missing=(20,))
    track = solve_trajectory(40, pairs)
    assert track.support[20] == 0
    assert track.breaks == ()
    np.testing.assert_allclose(track.shifts_px[20], (track.shifts_px[19] + track.shifts_px[21]) / 2, atol=0.3)
    assert np.abs(np.delete(track.shifts_px - truth, 20, axis=0)).max() < 0.5
    assert track.sigma_px[20].min() > 10 * track.sigma_px[19].max()


def test_gap_that_no_pair_crosses_is_a_break():
    _, pairs, _ = simulate(40, (1, 2), 0.03, missing=(20, 21))
    track = solve_trajectory(40, pairs)
    assert track.breaks == (22,)
    assert track.sigma_px[39].min() > 1.0


def test_no_pairs_at_all_means_no_motion():
    none = Pairs(*(np.zeros((0,), np.int64),) * 2, np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    track = solve_trajectory(5, none)
    assert np.abs(track.shifts_px).max() == 0
    assert (track.support == 0).all()
    assert solve_trajectory(1, none).shifts_px.shape == (1, 2)


def test_pairs_outside_the_stack_are_refused():
    _, pairs, _ = simulate(10, (1,), 0.1)
    with pytest.raises(InputError, match="5 slices"):
        solve_trajectory(5, pairs)


def test_variances_from_the_banded_factor_are_exact():
    rng = np.random.default_rng(0)
    dense, band = np.eye(30) * 0.1, np.zeros((4, 30))
    for gap in (1, 2, 3):
        for i in range(30 - gap):
            w = rng.random()
            dense[i, i + gap] = dense[i + gap, i] = band[gap, i] = -w
            dense[i, i] += w
            dense[i + gap, i + gap] += w
    band[0] = dense.diagonal()
    np.testing.assert_allclose(banded_inverse_diagonal(band), np.linalg.inv(dense).diagonal(), rtol=1e-10)


def test_ten_thousand_slices_are_quick():
    truth, pairs, _ = simulate(10_000, (1, 2, 3), 0.03, wrong=0.01)
    start = time.process_time()
    track = solve_trajectory(10_000, pairs)
    assert time.process_time() - start < 20
    assert np.abs(track.shifts_px - truth).max() < 8


def test_reference_removes_lean_and_leaves_jitter():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 2))
    images = truth + np.outer(np.arange(200), (0.3, -0.1))
    sigma = np.repeat(np.where(rng.random(200) < 0.3, np.inf, 0.02)[:, None], 2, axis=1)
    found = blend_reference(images, truth + 0.2 * rng.normal(size=truth.shape), sigma)
    assert np.sqrt(np.mean((found.shifts_px - truth) ** 2)) < 0.08
    assert np.sqrt(np.mean(np.diff(found.shifts_px - truth, axis=0) ** 2)) < 0.02
    assert found.noise_px == pytest.approx((0.2, 0.2), abs=0.05)
    assert found.lean_px == pytest.approx((0.3 * 199, -0.1 * 199), abs=0.3)


@pytest.mark.parametrize("seed", range(5))
def test_reference_follows_a_walk_and_states_its_error(seed):
    rng = np.random.default_rng(seed)
    walk = np.cumsum(0.1 * rng.normal(size=(300, 2)), axis=0)
    found = blend_reference(walk, 0.15 * rng.normal(size=walk.shape), np.full(walk.shape, 0.02))
    error = found.shifts_px - found.shifts_px.mean(axis=0)
    assert np.sqrt(np.mean(error**2)) < 0.13
    assert 0.6 < np.sqrt(np.mean(error**2)) / found.sigma_px.mean() < 1.5


def test_slices_that_show_something_else_do_not_pull_the_reference_away():
    rng = np.random.default_rng(1)
    places = 0.05 * rng.normal(size=(120, 2))
    wrong = rng.choice(120, 24, replace=False)
    places[wrong] += rng.uniform(5, 20, size=(24, 1))
    found = blend_reference(np.zeros((120, 2)), places, np.full((120, 2), 0.05))
    assert np.sqrt(np.mean(found.shifts_px**2)) < 0.1
    assert not found.used[wrong].any()


def test_an_edge_decides_one_axis_only():
    images = np.outer(np.arange(60), (0.2, 0.1))
    sigma = np.stack([np.full(60, 0.1), np.full(60, np.inf)], axis=1)
    found = blend_reference(images, np.zeros((60, 2)), sigma)
    assert np.ptp(found.shifts_px[:, 0]) < 0.01
    np.testing.assert_array_equal(found.shifts_px[:, 1], images[:, 1])
    assert found.used.sum(axis=0).tolist() == [60, 0]
