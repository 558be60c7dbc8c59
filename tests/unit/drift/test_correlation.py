"""Shift between two slices: unbiased, as precise as it says, and refused rather than guessed."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import shift as shifted

from fibtomo.errors import InputError
from fibtomo.ops.correlation import pair_shift
from fibtomo.ops.itk_registration import itk_pair_shift
from fibtomo.ops.spectra import make_band, slice_spectrum


def measure(a, b, **options):
    band = make_band(a.shape)
    return pair_shift(slice_spectrum(a, band), slice_spectrum(b, band), band, **options)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.23, -0.4), (3.3, 5.7), (-20.4, 12.3)])
def test_shift_of_the_same_structure_has_no_bias(lab, shift):
    errors, sigmas = [], []
    for seed in range(4):
        pair = measure(*lab.Waves(seed).stack([(0, 0), shift], dz_px=0.0, noise=0.1))
        assert pair.confidence == 1.0
        errors.append(np.subtract(pair.shift_px, shift))
        sigmas.append(pair.sigma_px)
    assert np.abs(np.mean(errors, axis=0)).max() < 0.03
    assert np.sqrt(np.mean(np.square(errors))) < 1.6 * np.mean(sigmas)


def test_noise_floor_is_near_the_cramer_rao_bound(lab):
    clean = lab.Waves(1).stack([(0, 0)], noise=0.0)[0].astype(float)
    noise = 40.0
    rng = np.random.default_rng(0)
    found = [
        measure(clean + noise * rng.normal(size=clean.shape), clean + noise * rng.normal(size=clean.shape))
        for _ in range(12)
    ]
    gradients = [((np.diff(clean, axis=axis)) ** 2).sum() for axis in (0, 1)]
    bound = np.sqrt(2 * noise**2 / np.array(gradients))
    measured = np.sqrt(np.mean([np.square(p.shift_px) for p in found], axis=0))
    # the window sees 70 % of the frame and the wedge keeps out some of what tells x
    assert (measured < 2.2 * bound).all()
    assert (measured > 0.6 * bound).all()


def test_structure_that_changes_limits_the_shift_by_the_known_rule(lab):
    waves = lab.Waves(0, wavelength_px=16.0)
    slices = waves.stack(np.zeros((16, 2)))
    features = (256 / 16) ** 2
    for gap in (1, 2, 3):
        pairs = [measure(slices[k], slices[k + gap]) for k in range(12)]
        assert np.sqrt(np.mean(np.square([p.shift_px for p in pairs]))) < 1.1 * 0.9 * gap / features**0.5
        assert min(p.confidence for p in pairs) > (0.9 if gap < 3 else 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_unrelated_slices_are_refused(lab, seed):
    a, b = lab.Waves(seed).stack([(0, 0)])[0], lab.Waves(seed + 10).stack([(0, 0)])[0]
    assert measure(a, b).confidence == 0.0


def test_slices_half_a_wavelength_apart_are_refused_or_right(lab):
    slices = lab.Waves(3, wavelength_px=16.0).stack(np.zeros((6, 2)), dz_px=8.0)
    for a, b in pairwise(slices):
        pair = measure(a, b)
        assert pair.confidence == 0.0 or np.abs(pair.shift_px).max() < 2.0


def test_curtains_fixed_to_the_frame_do_not_hold_x_back(lab):
    shift = (0.7, 1.6)
    errors = [
        np.subtract(measure(*lab.Waves(s).stack([(0, 0), shift], curtains=0.1)).shift_px, shift) for s in range(3)
    ]
    assert np.abs(np.mean(errors, axis=0)).max() < 0.05


def test_brightness_and_shading_change_nothing(lab):
    a, b = lab.Waves(0).stack([(0, 0), (1.3, -2.1)]).astype(float)
    plain = measure(a, b)
    shade = np.linspace(1.0, 0.75, 256)[:, None]
    changed = measure(a * shade, 1.3 * b * shade + 20)
    np.testing.assert_allclose(changed.shift_px, plain.shift_px, atol=0.02)


def test_constant_margins_do_not_count(lab):
    a, b = lab.Waves(2).stack([(0, 0), (2.4, -1.2)], dz_px=0.0)
    a[:30], b[:33], b[:, -20:] = 0, 0, 0
    np.testing.assert_allclose(measure(a, b).shift_px, (2.4, -1.2), atol=0.08)


def test_blank_slice_is_refused(lab):
    a = lab.Waves(0).stack([(0, 0)])[0]
    assert measure(a, np.zeros_like(a)).confidence == 0.0


def test_large_slices_are_binned_and_stay_exact(lab):
    shift = (3.37, -5.81)
    waves = lab.Waves(0, wavelength_px=60.0, shape=(1536, 1536), waves=160)
    a, b = waves.stack([(0, 0), shift], dz_px=0.0)
    assert make_band(a.shape).binning == 2
    np.testing.assert_allclose(measure(a, b).shift_px, shift, atol=0.02)


def test_too_small_or_empty_band_is_named():
    with pytest.raises(InputError, match="12 x 40"):
        make_band((12, 40))
    with pytest.raises(InputError, match="widen it"):
        make_band((128, 128), (0.2, 0.201))


def test_known_shifts_of_real_slices_are_recovered(shared_data):
    tifffile = pytest.importorskip("tifffile")
    files = sorted((shared_data / "stacks" / "c_elegans_em_21slices").glob("*.tif"))[:8]
    slices = [tifffile.imread(f).astype(float) for f in files]

    def cut(image, shift=(0, 0)):
        return shifted(image, shift, order=3, mode="reflect")[12:-12, 12:-12]

    for first, second in pairwise(slices):
        at_rest = measure(cut(first), cut(second))
        assert at_rest.confidence > 0.5
        for shift in ((0.37, -0.62), (-8.4, 2.5)):
            moved = measure(cut(first), cut(second, shift))
            np.testing.assert_allclose(np.subtract(moved.shift_px, at_rest.shift_px), shift, atol=0.08)
            np.testing.assert_allclose(measure(cut(first), cut(first, shift)).shift_px, shift, atol=0.02)


@pytest.mark.parametrize("metric", ["mutual_information", "correlation", "mean_squares"])
def test_itk_agrees(lab, metric):
    a, b = lab.Waves(0, shape=(160, 160)).stack([(0, 0), (2.3, -3.6)])
    pair = itk_pair_shift(a, b, metric=metric)
    np.testing.assert_allclose(pair.shift_px, (2.3, -3.6), atol=0.2)
    assert pair.confidence > 0.5


def test_itk_refuses_unrelated_slices(lab):
    a, b = lab.Waves(0, shape=(160, 160)).stack([(0, 0)])[0], lab.Waves(9, shape=(160, 160)).stack([(0, 0)])[0]
    assert itk_pair_shift(a, b).confidence == 0.0
