"""Posterior of walls along rays, against sums over all that could lie along one."""

import itertools

import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops import wall_rays
from fibtomo.ops.wall_rays import PORE_SLICES, WALL_SLICES, Light, expected_levels, wall_posterior

LIGHT = Light(black=20.0, white=120.0, decay_slices=2.0, noise=0.08)


def by_enumeration(levels, table):
    """Probability of a wall at every voxel of one ray: sum over every chain of distances."""
    far, n = table.shape[1] - 1, len(levels)
    leave, arrive = 1 / WALL_SLICES, 1 / PORE_SLICES
    steps = np.zeros((far + 1, far + 1))  # from the slice behind (row) to the one before it (column)
    steps[0, 0], steps[0, 1] = 1 - leave, leave
    for d in range(1, far + 1):
        steps[d, 0], steps[d, min(d + 1, far)] = arrive, 1 - arrive
    last = np.zeros(far + 1)
    last[0] = arrive / (leave + arrive)
    last[1:] = leave / (leave + arrive) * arrive * (1 - arrive) ** np.arange(far)
    last[far] /= arrive
    total, walls = 0.0, np.zeros(n)
    for first in range(far + 1):
        for turns in itertools.product((False, True), repeat=n - 1):
            chain, weight = [first], last[first] * table[levels[-1], first]
            for k, turn in enumerate(turns):  # from the back; a turn leaves the wall, or the pore
                d = chain[-1]
                after = (1 if turn else 0) if d == 0 else (0 if turn else min(d + 1, far))
                weight *= steps[d, after] * table[levels[-2 - k], after]
                chain.append(after)
            total += weight
            walls += weight * (np.array(chain[::-1]) == 0)
    return walls / total


@pytest.mark.parametrize("seed", range(3))
def test_two_passes_give_the_sum_over_all_chains(seed):
    rng = np.random.default_rng(seed)
    bright = rng.uniform(-0.1, 1.1, 8).astype(np.float32)
    found = wall_posterior(bright.reshape(8, 1, 1), LIGHT, 0.0, rounds=1).ravel()
    levels = ((bright + 0.5) * 255 / 2).astype(int)
    np.testing.assert_allclose(found, by_enumeration(levels, expected_levels(LIGHT)), atol=2e-5)


def test_rays_run_down_one_row_a_slice():
    rng = np.random.default_rng(3)
    straight = rng.uniform(0, 1, (6, 20, 5)).astype(np.float32)
    steep = np.stack([np.roll(plane, k, axis=0) for k, plane in enumerate(straight)])
    a = wall_posterior(straight, LIGHT, 0.0, rounds=1)
    b = wall_posterior(steep, LIGHT, 1.0, rounds=1)
    for k in range(6):
        np.testing.assert_allclose(b[k, k : k + 15], a[k, :15], atol=1e-6)


def test_a_back_wall_is_no_wall_however_bright():
    """Only the last of bright slices before darkness are walls; those that grew bright are pore."""
    light = Light(0.0, 1.0, decay_slices=10.0, noise=0.02)
    depth = np.arange(12, 0, -1) - 0.5
    ray = np.concatenate([np.exp(-depth / 10), np.ones(4), np.exp(-depth / 10)]).astype(np.float32)
    found = wall_posterior(ray.reshape(-1, 1, 1), light, 0.0)[:, 0, 0]
    assert (found[:11] < 0.5).all()
    assert (found[13:16] > 0.5).all()
    assert (found[16:26] < 0.5).all()
    assert (ray[:12] > 0.5).sum() >= 7  # a threshold would take these for wall


def test_neighbours_decide_where_a_ray_cannot():
    rng = np.random.default_rng(0)
    truth = np.zeros((20, 24, 24), bool)
    truth[8:12] = True
    noisy = (truth + rng.normal(0, 0.3, truth.shape)).astype(np.float32)
    light = Light(0.0, 1.0, decay_slices=0.0, noise=0.3)
    alone, joined = (wall_posterior(noisy, light, 0.5, rounds=r) > 0.5 for r in (1, 2))
    assert (joined != truth).sum() < 0.5 * (alone != truth).sum()


def test_what_is_not_seen_says_nothing():
    bright = np.random.default_rng(1).uniform(0, 1, (9, 4, 4)).astype(np.float32)
    seen = np.ones(bright.shape, bool)
    seen[:, 2:] = False
    other = bright.copy()
    other[:, 2:] = 0.3
    a, b = (wall_posterior(v, LIGHT, 0.0, seen=seen, rounds=1) for v in (bright, other))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(a[:, 2:], WALL_SLICES / (WALL_SLICES + PORE_SLICES), atol=0.02)


def test_the_table_covers_what_is_told_apart():
    for decay in (0.0, 0.4, 5.0, 200.0):
        table = expected_levels(Light(0.0, 1.0, decay, 0.05))
        assert wall_rays.LEAST_FAR <= table.shape[1] - 1 <= wall_rays.MOST_FAR
        assert np.isfinite(table).all()
        assert (table > 0).all()
        assert (table <= 1).all()


@pytest.mark.parametrize("wrong", [{"white": 10.0}, {"decay_slices": -1.0}, {"noise": -0.1}])
def test_light_must_make_sense(wrong):
    with pytest.raises(InputError, match="must be brighter"):
        Light(**{"black": 20.0, "white": 120.0, "decay_slices": 2.0, "noise": 0.1} | wrong)


def test_rays_need_three_axes_and_a_way_down():
    with pytest.raises(InputError, match="rows_per_slice"):
        wall_posterior(np.zeros((3, 3), np.float32), LIGHT, 0.5)
    with pytest.raises(InputError, match="rows_per_slice = -0"):
        wall_posterior(np.zeros((3, 3, 3), np.float32), LIGHT, -0.5)
