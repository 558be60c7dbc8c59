"""Smoother borders that keep the phases' volumes."""

import numpy as np
import pytest
from scipy import ndimage

from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError
from fibtomo.ops.smooth_phases import smooth_phases


def rough(seed, levels=(0.4,), shape=(32, 36, 40), flips=0.03):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 3, mode="wrap")
    clean = np.digitize(field / field.std(), levels).astype(np.uint8)
    noisy = np.where(rng.random(shape) < flips, rng.integers(0, len(levels) + 1, shape), clean).astype(np.uint8)
    return clean, noisy


def fractions(phases):
    return np.bincount(phases[phases != OUTSIDE], minlength=4)[:4] / np.count_nonzero(phases != OUTSIDE)


@pytest.mark.parametrize("seed", range(3))
def test_noise_goes_and_two_phases_keep_their_volume(seed):
    clean, noisy = rough(seed, flips=0.2)
    found = smooth_phases(noisy, 2.0, 2.4)
    assert np.mean(found != clean) < 0.6 * np.mean(noisy != clean)
    assert fractions(found) == pytest.approx(fractions(noisy), abs=2e-4)
    drifted = smooth_phases(noisy, 2.0, 2.4, keep_volume=False)
    assert abs(fractions(drifted) - fractions(noisy)).max() > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_three_phases_keep_their_volume(seed):
    _, noisy = rough(seed, (-0.5, 0.8))
    found = smooth_phases(noisy, None, 1.5)
    free = smooth_phases(noisy, None, 1.5, keep_volume=False)
    drift, free_drift = (abs(fractions(f) - fractions(noisy)).max() for f in (found, free))
    assert drift < 5e-4
    assert free_drift > 0.01


def test_a_ball_shrinks_by_sigma_squared_over_radius_unless_kept():
    z, y, x = np.ogrid[:41, :41, :41]
    radius, sigma = 14.0, 3.0
    ball = ((z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= radius**2).astype(np.uint8)
    free = smooth_phases(ball, 1.0, sigma, keep_volume=False)
    shrunk = np.cbrt(free.sum() / ball.sum()) * radius
    assert radius - shrunk == pytest.approx(sigma**2 / radius, rel=0.25)
    assert smooth_phases(ball, 1.0, sigma).sum() == pytest.approx(ball.sum(), rel=1e-3)


def test_plane_stays_in_place_and_anisotropy_counts():
    half = np.zeros((12, 20, 20), np.uint8)
    half[:, 10:] = 1
    np.testing.assert_array_equal(smooth_phases(half, (4.0, 1.0, 1.0), 2.0), half)
    sheet = np.zeros((11, 20, 20), np.uint8)
    sheet[5] = 1
    assert smooth_phases(sheet, (8.0, 1.0, 1.0), 2.0, keep_volume=False).any()
    assert not smooth_phases(sheet, (1.0, 1.0, 1.0), 2.0, keep_volume=False).any()


def test_outside_is_neither_changed_nor_counted(run_stage):
    _, noisy = rough(1)
    noisy[:, :9] = OUTSIDE
    mirrored = noisy[:, 9:]
    found, _ = run_stage("phases.smooth", noisy, 32, voxel_nm=(1.0, 1.0, 1.0))
    np.testing.assert_array_equal(found == OUTSIDE, noisy == OUTSIDE)
    assert fractions(found) == pytest.approx(fractions(mirrored), abs=2e-4)


@pytest.mark.parametrize("keep_volume", [True, False])
@pytest.mark.parametrize("levels", [(0.4,), (-0.5, 0.3, 0.9)])
def test_every_cut_gives_the_same(run_stage, levels, keep_volume):
    _, noisy = rough(4, levels)
    noisy[3:9, :, :5] = OUTSIDE
    given = {"sigma_nm": 2.3, "keep_volume": keep_volume}
    whole, table = run_stage("phases.smooth", noisy, 32, **given)
    assert np.mean(whole != noisy) > 0.01
    for thickness in (13, 5, 2, 1):
        part, part_table = run_stage("phases.smooth", noisy, thickness, **given)
        np.testing.assert_array_equal(part, whole)
        np.testing.assert_array_equal(part_table["handicaps"], table["handicaps"])


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="sigma_nm = 0"):
        smooth_phases(np.zeros((3, 3, 3), np.uint8), None, 0.0)
    with pytest.raises(InputError, match="three axes"):
        smooth_phases(np.zeros((3, 3), np.uint8), None)
    unseen = np.full((3, 3, 3), OUTSIDE, np.uint8)
    np.testing.assert_array_equal(smooth_phases(unseen, None), unseen)
