"""Ruler marks: their distance is tracked to its noise, and joins with the images."""

import numpy as np
import pytest

from fibtomo.core.drift import Drift
from fibtomo.errors import InputError
from fibtomo.ops.marks import check_marks_roi, mark_profile, track_marks
from fibtomo.ops.thickness import estimate_thickness


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def notches(left, right, width=240, mark_px=5.0, sign=-1.0, noise=0.0, seed=0):
    """(n, width) profiles with two smooth notches at the given columns."""
    x = np.arange(width)
    shape = sum(np.exp(-(((x - c[:, None]) / mark_px) ** 2)) for c in (np.asarray(left), np.asarray(right)))
    return 180 + sign * 60 * shape + noise * np.random.default_rng(seed).standard_normal(shape.shape)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_distance_is_tracked_within_its_noise(sign):
    rng = np.random.default_rng(1)
    gap = 150 - np.cumsum(rng.uniform(0.5, 1.5, 90))
    middle = 120 + rng.normal(0, 0.4, 90)
    profiles = notches(middle - gap / 2, middle + gap / 2, sign=sign, noise=4.0) * rng.uniform(0.8, 1.2, (90, 1))
    distance, sigma = track_marks(profiles, np.ones(90, dtype=bool))
    assert np.isfinite(sigma).all()
    error = distance - gap
    error -= error.mean()  # a constant offset of the two shapes is no advance
    assert rms(error) < 0.3
    assert 0.6 < rms(error / sigma) < 1.3


def test_marks_that_are_covered_or_in_bad_slices_are_left_out():
    gap = 140 - 0.8 * np.arange(60)
    profiles = notches(120 - gap / 2, 120 + gap / 2, noise=2.0)
    profiles[20] = 180.0
    profiles[30, 40:120] = 180.0
    profiles[45, :30] = np.nan
    usable = np.ones(60, dtype=bool)
    usable[50] = False
    distance, sigma = track_marks(profiles, usable)
    assert np.isinf(sigma[[20, 30, 45, 50]]).all()
    good = np.isfinite(sigma)
    assert good.sum() >= 54
    assert rms((distance - gap)[good] - np.mean((distance - gap)[good])) < 0.2


def test_region_without_two_marks_is_refused():
    x = np.arange(100.0)
    one = np.tile(np.exp(-(((x - 50) / 5) ** 2)), (5, 1))
    with pytest.raises(InputError, match="shows 1 mark in"):
        track_marks(one, np.ones(5, dtype=bool))
    with pytest.raises(InputError, match="every usable slice"):
        track_marks(np.full((5, 100), np.nan), np.ones(5, dtype=bool))
    with pytest.raises(InputError, match="24 columns"):
        check_marks_roi((0, 10, 0, 20), (100, 100))


def test_profile_follows_the_drift():
    image = np.arange(40.0)[None] + np.zeros((20, 1))
    np.testing.assert_allclose(mark_profile(image, (5, 9, 4, 30), np.array([3.0, 2.2])), np.arange(6.0, 32.0))
    beyond = mark_profile(image, (5, 9, 10, 40), np.array([0.0, 5.0]))
    assert np.isnan(beyond[-5:]).all()
    assert np.isfinite(beyond[:-5]).all()
    assert np.isnan(mark_profile(image, (5, 9, 4, 30), np.array([-20.0, 0.0]))).all()


def ruled(cut, irregular_steps, seed):
    """A stack whose upper rows are a layer with a chevron: 0.5 + 0.5 px of distance per pixel of advance, 1.5 px."""
    made = cut(irregular_steps(100, seed), seed)
    wide = np.pad(made.slices, ((0, 0), (40, 0), (0, 160)), mode="wrap").astype(float)
    left, right = 40 + 0.75 * made.z, 270 - 0.75 * made.z
    wide[:, :40] = notches(left, right, width=wide.shape[2])[:, None]
    wide[:, :40] += 10 * np.random.default_rng(seed).standard_normal(wide[:, :40].shape)
    return made, np.clip(wide, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", [0, 1])
def test_ruler_gives_every_slice_and_the_mean(cut, irregular_steps, seed):
    made, slices = ruled(cut, irregular_steps, seed)
    found = estimate_thickness(
        slices, made.drift, nominal_nm=12.0, marks_roi=(2, 38, 4, 300), marks_slope=1.0, pixel_nm=20.0 / 3.0
    )
    assert found.method == "marks and images"
    assert rms(found.step_nm / 10.0 - made.steps) < 0.1
    away = found.slice_z_nm / 10.0 - made.z
    assert rms(away) < 0.15
    assert found.slice_z_nm[-1] == pytest.approx(10.0 * made.z[-1], rel=0.002)
    assert 0.5 < rms((found.step_nm / 10.0 - made.steps) / (found.sigma_nm[1:] / 10.0)) < 1.6
    unscaled = estimate_thickness(slices, made.drift, nominal_nm=12.0, marks_roi=(2, 38, 4, 300))
    assert unscaled.step_nm.mean() == pytest.approx(12.0, rel=0.02)
    assert "scale of the ruler was not given" in unscaled.notes[1]


def test_ruler_alone_where_images_say_nothing(cut, irregular_steps):
    made, slices = ruled(cut, irregular_steps, 2)
    slices[:, 40:] = 120
    found = estimate_thickness(
        slices, made.drift, nominal_nm=10.0, marks_roi=(2, 38, 4, 300), marks_slope=1.0, pixel_nm=20.0 / 3.0
    )
    assert found.method == "marks"
    assert rms(found.slice_z_nm / 10.0 - made.z) < 0.15
    assert rms((found.step_nm / 10.0 - made.steps) / made.steps) < 0.2


def test_too_few_marks_leave_the_images(cut, irregular_steps):
    _, slices = ruled(cut, irregular_steps, 0)
    drift = Drift(np.outer(np.maximum(np.arange(100) - 2, 0), [-60.0, 0.0]), confidence=np.zeros(100))
    found = estimate_thickness(slices, drift, nominal_nm=10.0, marks_roi=(2, 38, 4, 300))
    assert found.method == "constant"
    assert "left out" in found.notes[0]
