"""Thickness from the likeness of slices: better than constant where it can be, constant where it cannot."""

import numpy as np
import pytest

from fibtomo.core.drift import Drift
from fibtomo.errors import InputError
from fibtomo.ops._thickness_belief import weigh_steps
from fibtomo.ops._thickness_fit import Decay, fit_decay
from fibtomo.ops.thickness import Thickness, estimate_thickness


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def errors(found: Thickness, made, nominal: float):
    """Errors of steps and positions in nominal steps; the mean advance, which images cannot know, is taken out."""
    steps = found.step_nm / nominal
    error = steps * made.steps.mean() / steps.mean() - made.steps
    return error, np.cumsum(error)


def test_irregular_slices_are_found(cut, irregular_steps):
    errors_all, constants, aways, constant_aways, pulls, place_pulls = [], [], [], [], [], []
    for seed in range(4):
        made = cut(irregular_steps(100, seed), seed, shift_px=3, flicker=0.03)
        found = estimate_thickness(made.slices, made.drift, nominal_nm=10.0)
        error, away = errors(found, made, 10.0)
        constant = made.steps.mean() - made.steps
        assert found.method == "images"
        assert found.slice_z_nm[-1] == pytest.approx(10.0 * 99, rel=1e-9)
        assert rms(away) < 1.0
        errors_all.append(error)
        constants.append(constant)
        aways.append(away)
        constant_aways.append(np.cumsum(constant))
        pulls.append(error / (found.sigma_nm[1:] / 10.0))
        place_pulls.append(away[:-1] / (found.position_sigma_nm[1:-1] / 10.0))
    assert rms(errors_all) < 0.62 * rms(constants)
    assert rms(aways) < 0.8 * rms(constant_aways)
    assert 0.8 < rms(pulls) < 1.3
    assert 0.5 < rms(place_pulls) < 1.6


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("radius_px", [3.0, 9.0])
def test_even_slices_stay_even(cut, seed, radius_px):
    made = cut(np.ones(79), seed, radius_px=radius_px, shift_px=3, flicker=0.03)
    found = estimate_thickness(made.slices, made.drift, nominal_nm=10.0)
    assert rms(found.step_nm / 10.0 - 1) < 0.03
    assert not found.doubled
    assert not found.missing_before


def test_a_change_of_structure_is_no_change_of_thickness(cut):
    """Coarser structure decays more slowly; without irregularity from slice to slice that is not believed."""
    made = cut(np.ones(99), 5, radius_px=3.0, coarse_px=6.0)
    found = estimate_thickness(made.slices, made.drift, nominal_nm=10.0)
    assert rms(found.step_nm / 10.0 - 1) < 0.03


def test_missing_and_doubled_slices(cut, irregular_steps):
    found_missing = found_doubled = wrong = 0
    for seed in (0, 1, 2):
        steps = irregular_steps(80, seed, white=0.1, slow=0.0)
        missing, doubled = (20 + seed, 50), (35, 65 - seed)
        for k in missing:
            steps[k - 1] = 2.0
        for k in doubled:
            steps[k - 1] = 0.0
        made = cut(steps, seed + 10, radius_px=4.0)
        found = estimate_thickness(made.slices, made.drift, nominal_nm=10.0)
        found_missing += len({*found.missing_before} & {*missing})
        found_doubled += len({*found.doubled} & {*doubled})
        wrong += len({*found.missing_before} - {*missing}) + len({*found.doubled} - {*doubled})
        assert np.all(np.diff(found.slice_z_nm) > 0)
        # a gap adds to the stack: its mean regular step stays nominal
        assert found.slice_z_nm[-1] == pytest.approx(790.0, rel=0.03)
    assert found_missing >= 5
    assert found_doubled >= 5
    assert wrong == 0


def test_the_motion_of_a_fixed_field_of_view_speaks_too():
    """The same likeness is called a gap where the rows jump with it, and not where they do not."""
    from fibtomo.ops._thickness_odd import find_odd_steps

    rng = np.random.default_rng(0)
    steps = 0.12 * rng.standard_normal(100)
    steps[40] = 0.5
    error, tiles, share = np.full(99, 0.02**2), 0.02 * rng.standard_normal((100, 4)), np.full(4, 0.25)
    rows = -1.2 + 0.1 * rng.standard_normal(100)
    assert 40 not in find_odd_steps(steps, tiles, share, error, error, np.concatenate([[0.0], np.cumsum(rows)]))
    rows[40] = -2.4
    assert find_odd_steps(steps, tiles, share, error, error, np.concatenate([[0.0], np.cumsum(rows)])) == {40: 2}


def test_noise_focus_and_contrast_are_not_thickness(cut):
    from scipy.ndimage import gaussian_filter

    made = cut(np.ones(79), 7, noise=0.0)
    rng = np.random.default_rng(3)
    slices = np.stack([gaussian_filter(s.astype(float), 0.3 + 0.8 * rng.random()) for s in made.slices])
    slices = slices * rng.uniform(0.7, 1.3, 80)[:, None, None] + rng.uniform(5, 25, 80)[:, None, None] * (
        rng.standard_normal(slices.shape)
    )
    found = estimate_thickness(slices, made.drift, nominal_nm=10.0)
    assert rms(found.step_nm / 10.0 - 1) < 0.03


def test_a_lattice_is_refused():
    y, x = np.mgrid[:160, :160] * (2 * np.pi / 20)
    z = np.arange(60)[:, None, None] * (2 * np.pi / 16)
    gyroid = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    stack = 100 + 40 * (gyroid > 0) + np.random.default_rng(0).normal(0, 5, gyroid.shape)
    found = estimate_thickness(stack, Drift(np.zeros((60, 2))), nominal_nm=10.0)
    assert found.method == "constant"
    assert "lattice" in found.notes[0]


def test_slices_that_could_not_be_aligned_are_not_compared(cut, irregular_steps):
    made = cut(irregular_steps(60, 0), 0)
    lost = Drift(np.zeros((60, 2)), confidence=np.zeros(60))
    found = estimate_thickness(made.slices, lost, nominal_nm=10.0)
    assert found.method == "constant"
    assert np.isnan(found.sigma_nm[1:]).all()
    np.testing.assert_allclose(found.step_nm, 10.0)


def test_bad_slices_do_not_disturb_the_others(cut, irregular_steps):
    made = cut(irregular_steps(90, 4), 4)
    slices = made.slices.copy()
    slices[30] = 0
    slices[60] = np.random.default_rng(0).integers(0, 255, slices[60].shape)
    drift = Drift(made.drift.shifts_px, bad_slices=[30, 60])
    error, _ = errors(estimate_thickness(slices, drift, nominal_nm=1.0), made, 1.0)
    near = np.isin(np.arange(89), [29, 30, 59, 60])
    assert rms(error[~near]) < 0.12
    assert not estimate_thickness(slices, drift, nominal_nm=1.0).missing_before


def test_repeated_slices_are_doubled(cut, irregular_steps):
    made = cut(irregular_steps(60, 2), 2)
    drift = Drift(
        made.drift.shifts_px, bad_slices=[17], flags=["bad: repeats the slice before" * (k == 17) for k in range(60)]
    )
    assert 17 in estimate_thickness(made.slices, drift, nominal_nm=1.0).doubled


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_short_stacks_are_constant(cut, n):
    made = cut(np.ones(8), 0)
    found = estimate_thickness(made.slices[:n], Drift(np.zeros((n, 2))), nominal_nm=7.0)
    np.testing.assert_allclose(found.slice_z_nm, 7.0 * np.arange(n), rtol=0.05, atol=1e-9)


def test_off_and_wrong_input(cut):
    made = cut(np.ones(9), 0)
    assert estimate_thickness(made.slices, made.drift, nominal_nm=5.0, method="off").method == "constant"
    with pytest.raises(InputError, match="does not belong"):
        estimate_thickness(made.slices, Drift(np.zeros((3, 2))))
    with pytest.raises(InputError, match="too small"):
        estimate_thickness(made.slices[:, :20, :20], made.drift)
    with pytest.raises(InputError, match="marks_roi"):
        estimate_thickness(made.slices, made.drift, method="marks")


def test_table_round_trip(cut, irregular_steps):
    made = cut(irregular_steps(40, 0), 0)
    found = estimate_thickness(made.slices, made.drift, nominal_nm=10.0)
    again = Thickness.from_table(found.to_table())
    np.testing.assert_array_equal(again.slice_z_nm, found.slice_z_nm)
    assert (again.method, again.notes, again.doubled) == (found.method, found.notes, found.doubled)


@pytest.mark.parametrize("true", [Decay(0.02, 0.1, 0.03), Decay(0.1, 1.5, 0.5), Decay(0.0, 10.0, 20.0)])
def test_decay_is_fitted(true):
    found = fit_decay(true(np.arange(1.0, 4.0)))
    assert found.slope(1.0) == pytest.approx(true.slope(1.0), rel=0.15)
    assert np.all(np.diff(found(np.linspace(0, 5, 50))) >= 0)


def drawn(seed, spread, texture, n=200):
    """True steps; the same seen through texture that begins abruptly and persists over some slices, and noise."""
    rng = np.random.default_rng(seed)
    true, noise = spread * rng.standard_normal(n), 0.05 * rng.standard_normal(n)
    fine = 4  # a slice averages over the structure within it
    fading = np.exp(-np.arange(24 * fine) / (5.0 * fine))
    feigned = np.convolve(rng.standard_normal(n * fine + len(fading) - 1), fading, mode="valid")
    feigned = feigned.reshape(n, fine).mean(axis=1) / np.sqrt((fading**2).sum())
    return true - true.mean(), true + texture * feigned + noise, np.full(n - 1, 0.05**2)


@pytest.mark.parametrize("texture", [0.0, 0.3])
def test_shrinking_is_calibrated(texture):
    """The spread is found, the error is as large as said and less than without, whether or not structure feigns."""
    pulls, gains, places, spreads = [], [], [], []
    for seed in range(20):
        true, seen, scatter = drawn(seed, 0.15, texture)
        belief = weigh_steps(seen, scatter)
        left = belief.keep(seen)
        away = np.concatenate([[0.0], np.cumsum(left - true)])
        spreads.append(belief.spread)
        pulls.append(rms(left - true) / belief.sigma)
        gains.append(rms(left - true) / rms(true))
        places.append(rms(away[1:-1] / belief.position_sigma()[1:-1]))
    assert 0.12 < np.median(spreads) < 0.18
    assert 0.8 < np.mean(pulls) < 1.2
    assert np.mean(gains) < (0.85 if texture else 0.4)
    assert 0.5 < np.mean(places) < 1.4


@pytest.mark.parametrize("texture", [0.0, 0.1, 0.3])
def test_what_persists_over_slices_is_not_irregularity(texture):
    """Change that structure feigns in all tiles alike, far beyond their scatter, is left out altogether."""
    believed = [weigh_steps(*drawn(seed, 0.0, texture)[1:]).spread for seed in range(20)]
    assert np.count_nonzero(believed) <= 1
    assert max(believed) < 0.1
