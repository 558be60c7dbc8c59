"""`estimate_drift` on virtual stacks with known motion."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as shifted

import fibtomo
from fibtomo.errors import CalibrationError, InputError
from fibtomo.ops.drift import estimate_drift
from fibtomo.phantom import acquire, write_sample
from fibtomo.phantom.packing import Particles
from fibtomo.phantom.specimens import NanoporousMetal, Tpms


def test_fast_motion_is_found_to_a_tenth_of_a_pixel(moderate, lab):
    for slices, truth in moderate:
        drift = estimate_drift(slices)
        assert not any("may be the lean" in note for note in drift.notes)
        error = drift.shifts_px - truth
        assert lab.rms(lab.high_frequency(error)) <= 0.08
        assert lab.rms(np.diff(error, axis=0)) <= 0.10
        assert drift.bad_slices == ()
        assert np.min(drift.confidence) > 0.8
        assert not drift.identifiable
        assert drift.shifts_px[0].tolist() == [0, 0]


def test_slow_error_stays_within_what_structure_allows(moderate):
    bound = 0.45 * np.sqrt(40 * 20 / (256 / 20) ** 2)
    ends = [estimate_drift(slices) for slices, _ in moderate]
    errors = np.array([d.shifts_px[-1] - truth[-1] for d, (_, truth) in zip(ends, moderate, strict=True)])
    assert np.sqrt(np.mean(errors**2)) < 1.5 * bound
    for drift in ends:
        assert 0.5 * bound < drift.sigma_px[-1] < 2.5 * bound


@pytest.mark.parametrize("seed", range(3))
def test_real_jumps_are_kept(lab, seed):
    truth = lab.random_walk(24, 0.6, seed)
    truth[9:] += (30, -12)
    truth[17:] += (-3, 8)
    drift = estimate_drift(lab.Waves(seed).stack(truth))
    assert np.abs(np.diff(drift.shifts_px - truth, axis=0)).max() < 0.25
    assert {k for k, flag in enumerate(drift.flags) if "jump" in flag} == {9, 17}
    assert drift.bad_slices == ()


@pytest.mark.parametrize("seed", range(3))
def test_bad_slices_are_named_and_bridged(lab, seed):
    truth = lab.random_walk(34, 0.4, seed)
    slices = lab.Waves(seed).stack(truth)
    slices[5] = 0
    slices[11] = slices[10]
    slices[16, 150:] = 0
    slices[21] = gaussian_filter(slices[21], 2.5)
    slices[26] = np.clip(1.5 * slices[26] + 40.0, 0, 255).astype(np.uint8)
    slices[30] = np.random.default_rng(seed).integers(0, 255, slices[30].shape)
    drift = estimate_drift(slices)
    assert drift.bad_slices == (5, 11, 16, 21, 26, 30)
    for k, word in ((5, "blank"), (11, "repeats"), (16, "truncated"), (21, "blurred"), (26, "odd"), (30, "unlike")):
        assert word in drift.flags[k]
    usable = np.setdiff1d(np.arange(34), drift.bad_slices)
    error = (drift.shifts_px - truth)[usable]
    assert lab.rms(np.diff(error, axis=0)) < 0.15


@pytest.mark.parametrize("noise", [0.0, 0.06])
def test_flicker_shading_and_clean_slices_raise_no_alarm(lab, noise):
    truth = lab.random_walk(24, 0.5, 4)
    slices = lab.Waves(4).stack(truth, noise=noise).astype(np.float32)
    gain = 1 + 0.1 * np.random.default_rng(0).choice([-1, 1], size=24)
    flickering = slices * gain[:, None, None] * np.linspace(1, 0.75, 256)[:, None]
    for stack in (slices, flickering):
        drift = estimate_drift(stack)
        assert drift.bad_slices == ()
        assert lab.rms(np.diff(drift.shifts_px - truth, axis=0)) < 0.1


def test_inclined_columns_are_not_passed_off_as_known_drift(lab):
    drift = estimate_drift(lab.Waves(0).stack(np.zeros((16, 2)), columns=0.6))
    assert drift.shifts_px[-1, 0] == pytest.approx(9.0, abs=0.3)
    assert not drift.identifiable
    assert any("inclined" in note for note in drift.notes)
    assert any("may be the lean" in note for note in drift.notes)
    assert drift.undecided_px == pytest.approx(9, rel=0.2)


@pytest.mark.parametrize("in_a_row", [2, 3])
def test_bad_slices_in_a_row_are_bridged_by_measurement(moderate, in_a_row):
    slices, _ = moderate[0]
    sound = estimate_drift(slices, slow="keep")
    spoilt = slices.copy()
    spoilt[15 : 15 + in_a_row] = 0
    drift = estimate_drift(spoilt, slow="keep")
    assert drift.bad_slices == tuple(range(15, 15 + in_a_row))
    assert not any("break" in flag for flag in drift.flags)
    assert np.abs(drift.shifts_px - sound.shifts_px)[-1].max() < 0.4
    assert not any("break" in f or "bridged" in f for k, f in enumerate(drift.flags) if k not in drift.bad_slices)


@pytest.mark.parametrize(
    ("slow", "slope", "left"), [("geometry", -0.5, -7.5), ("geometry", 0.0, 0.0), ("remove", -0.5, 0.0)]
)
def test_slow_part_is_what_was_asked_for(lab, slow, slope, left):
    jitter = np.random.default_rng(3).normal(0, 0.5, (16, 2))
    slices = lab.Waves(0).stack(jitter, columns=0.6)
    drift = estimate_drift(slices, slow=slow, slope_px_per_slice=(slope, 0.0))
    error = drift.shifts_px - jitter - np.outer(np.arange(16) / 15, (left, 0.0))
    assert np.std(error, axis=0).max() < 0.35
    assert not drift.identifiable
    assert "as asked for" in drift.notes[-1]


def test_geometry_of_a_stack_takes_the_place_of_the_slow_part(tmp_path):
    write_sample("nanoporous-silver", tmp_path / "s", size=(16, 128, 160), seed=1)
    stack = fibtomo.open_stack(tmp_path / "s", tracked=False)
    drift = estimate_drift(stack, slow="geometry")
    assert drift.shifts_px[-1, 0] == pytest.approx(-15 * np.cos(np.deg2rad(52)) * 2, abs=1.5)
    with pytest.raises(CalibrationError, match="--tracked"):
        estimate_drift(fibtomo.open_stack(tmp_path / "s"), slow="geometry")


def test_a_reference_is_insisted_on(lab):
    slices = lab.Waves(0).stack(np.zeros((16, 2)))
    with pytest.raises(InputError, match="nothing static was found"):
        estimate_drift(slices, slow="reference")
    flat = slices.copy()
    flat[:, 100:130, 100:130] = 128
    with pytest.raises(InputError, match="slow = reference, but reference_roi"):
        estimate_drift(flat, slow="reference", reference_roi=(100, 130, 100, 130), reference_margin_px=0)


def test_unknown_slow_is_refused(lab):
    with pytest.raises(InputError, match="keep, reference, geometry, remove"):
        estimate_drift(lab.Waves(0).stack(np.zeros((4, 2))), slow="expected")


@pytest.mark.parametrize("columns", [None, 0.6])
def test_static_reference_decides_the_slow_part(lab, columns):
    n, height = 50, 64
    truth = lab.random_walk(n, 0.3, 5)
    slices = lab.Waves(5).stack(truth, columns=columns)
    rng = np.random.default_rng(5)
    texture = gaussian_filter(rng.normal(size=(height + 80, 256 + 80)), 2.5)
    texture *= 38 / texture.std()
    for k in range(n):
        coating = shifted(texture, truth[k], order=3, mode="nearest")[40 : 40 + height, 40:-40]
        slices[k, :height] = np.clip(128 + coating + 15 * rng.normal(size=coating.shape), 0, 255)
    drift = estimate_drift(slices, reference_roi=(10, 54, 40, 216))
    assert drift.identifiable
    assert lab.rms(drift.shifts_px - truth) < 0.15
    assert drift.sigma_px[-1] < 0.3


@pytest.mark.parametrize("seed", range(2))
def test_reference_without_edges_along_y_leaves_y_to_the_images(lab, seed):
    n, height = 30, 60
    truth = lab.random_walk(n, 0.3, seed)
    slices = lab.Waves(seed).stack(truth)
    rng = np.random.default_rng(seed)
    marks = gaussian_filter(rng.normal(size=600), 3)
    marks *= 40 / marks.std()
    for k in range(n):
        row = np.interp(np.arange(256) + 150 - truth[k, 1], np.arange(600), marks)
        slices[k, :height] = np.clip(128 + row + 10 * rng.normal(size=(height, 256)), 0, 255)
    drift = estimate_drift(slices, reference_roi=(10, 50, 40, 216))
    assert not drift.identifiable
    assert any("along y" in note for note in drift.notes)
    error = drift.shifts_px - truth
    assert lab.rms(error[:, 1:]) < 0.15
    assert np.abs(np.diff(error[:, 0])).max() < 0.3


def test_strange_slices_in_a_lattice_are_named_and_do_not_tear_it():
    run = acquire(
        Tpms(greys=(0.28, 0.72), period_nm=240),
        shape=(24, 240, 240),
        tracked=True,
        artefacts={"drift": True, "jitter": True, "noise": True},
        oversample=1,
    )
    slices = run.slices.copy()
    slices[8] = np.random.default_rng(0).integers(0, 255, slices[8].shape)
    slices[17] = np.rot90(slices[17])
    drift = estimate_drift(slices)
    assert drift.bad_slices == (8, 17)
    usable = np.setdiff1d(np.arange(24), drift.bad_slices)
    error = (drift.shifts_px - run.truth.shifts_px)[usable]
    assert np.linalg.norm(error - error.mean(axis=0), axis=1).max() < 2.0


def test_light_from_behind_the_face_widens_the_stated_deviation(lab):
    truth = np.zeros((32, 2))
    face = lab.Waves(1).stack(truth, noise=0.0).astype(float)
    behind = lab.Waves(2, wavelength_px=16.0).stack(np.outer(np.arange(32), (0.6, 0.0)), noise=0.0)
    slices = np.where(face > 128, face, 0.2 * face + 0.7 * behind) + np.random.default_rng(0).normal(0, 4, face.shape)
    drift = estimate_drift(np.clip(slices, 0, 255).astype(np.uint8))
    assert any("behind the face" in note for note in drift.notes)
    assert drift.sigma_px[-1] > 0.2 * 31
    plain = estimate_drift(face.astype(np.uint8))
    assert not any("behind the face" in note for note in plain.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "specimen",
    [
        NanoporousMetal(greys=(0.28, 0.72), wavelength_nm=170, waves=600),
        Particles(greys=(0.28, 0.72), radius_nm=110),
    ],
    ids=lambda specimen: specimen.kind,
)
def test_phantoms_under_curtains_and_flicker_keep_their_bounds(specimen, lab):
    """Jitter within 0.08 px, and a stated deviation within a factor of 2.5 of the error."""
    stated, actual = [], []
    for seed in range(3):
        run = acquire(
            replace(specimen, seed=seed),
            shape=(48, 448, 448),
            tracked=True,
            artefacts={"drift": True, "jitter": True, "noise": True, "curtains": True, "flicker": {"gain": 0.1}},
            seed=seed,
            oversample=1,
        )
        drift = estimate_drift(run.slices)
        error = drift.shifts_px - run.truth.shifts_px
        assert lab.rms(lab.high_frequency(error)) <= 0.08
        assert drift.bad_slices == ()
        stated.append(np.mean(drift.sigma_px**2))
        actual.append(np.mean((error - error[0]) ** 2))
    assert 0.4 < np.sqrt(np.mean(stated) / np.mean(actual)) < 2.5


def test_lost_reference_is_not_claimed(lab):
    slices = lab.Waves(6).stack(np.zeros((12, 2)), dz_px=6.0)
    drift = estimate_drift(slices, reference_roi=(100, 150, 100, 150))
    assert not drift.identifiable


def test_reader_gives_the_same_as_the_array_and_each_slab_once(moderate):
    slices, _ = moderate[0]
    reads = []

    def read(z0, z1):
        reads.append((z0, z1))
        return slices[z0:z1]

    source = SimpleNamespace(read=read, spec=SimpleNamespace(shape=slices.shape))
    one = estimate_drift(source, workers=1)
    np.testing.assert_array_equal(one.shifts_px, estimate_drift(slices, workers=3).shifts_px)
    assert sum(b - a for a, b in reads) < 1.3 * len(slices)


def test_given_bad_slices_are_used_and_nothing_else(moderate):
    slices, _ = moderate[0]
    drift = estimate_drift(slices[:12], bad_slices=[4])
    assert drift.bad_slices == (4,)
    assert drift.confidence[4] == 0


def test_itk_method_uses_the_same_solve(lab):
    truth = lab.random_walk(6, 1.0, 0)
    drift = estimate_drift(lab.Waves(0, shape=(128, 128)).stack(truth), method="itk")
    assert np.abs(drift.shifts_px - truth).max() < 0.6
    assert drift.method.startswith("itk")


def test_simpleitk_begins_where_correlation_ends(lab):
    truth = np.array([[0.0, 0.0], [1.0, -0.5], [31.0, 12.0], [30.5, 12.5]])
    slices = lab.Waves(2, shape=(160, 160)).stack(truth, dz_px=0.5)
    drift = estimate_drift(slices, method="itk", itk_metric="mean_squares", slow="keep")
    np.testing.assert_allclose(drift.shifts_px, truth, atol=0.6)
    with pytest.raises(InputError, match="mutual_information, correlation, mean_squares"):
        estimate_drift(slices, method="itk", itk_metric="entropy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offsets": (2, 3)}, "contain 1"),
        ({"method": "magic"}, "magic"),
        ({"bad_slices": [99]}, "99"),
        ({"reference_roi": (0, 10, 0, 10)}, "24 rows"),
        ({"reference_roi": (200, 300, 0, 100)}, "inside slices"),
    ],
)
def test_wrong_options_are_named(lab, options, message):
    with pytest.raises(InputError, match=message):
        estimate_drift(lab.Waves(0, shape=(64, 64)).stack(np.zeros((4, 2))), **options)


def test_one_slice_has_no_drift():
    with pytest.raises(InputError, match="no drift"):
        estimate_drift(np.zeros((1, 64, 64)))


def phase_correlation_chain(slices):
    """The peers' best: Hann window, full whitening, centroid of the 5 x 5 pixels about the peak, summed up."""
    window = np.outer(*(np.hanning(n) for n in slices.shape[1:]))
    spectra = [np.fft.rfft2(window * image) for image in slices]
    steps = [(0.0, 0.0)]
    for a, b in pairwise(spectra):
        cross = a.conj() * b
        surface = np.fft.fftshift(np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), s=slices.shape[1:]))
        y, x = np.unravel_index(surface.argmax(), surface.shape)
        patch = np.maximum(surface[y - 2 : y + 3, x - 2 : x + 3], 0)
        offsets = np.arange(-2, 3)
        dy, dx = (patch.sum(axis=1) @ offsets) / patch.sum(), (patch.sum(axis=0) @ offsets) / patch.sum()
        steps.append((y + dy - slices.shape[1] // 2, x + dx - slices.shape[2] // 2))
    return np.cumsum(steps, axis=0)


def detrended(error):
    at = np.arange(len(error))
    line = np.polynomial.polynomial.polyfit(at, error, 1)
    return error - np.polynomial.polynomial.polyval(at, line).T


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_walk_with_curtains_halves_the_fast_error_of_a_phase_chain(lab, seed):
    """The fast part is halved; what is left about the line is structure's random walk, whose spread is its end/√15."""
    truth = lab.random_walk(64, 0.6, seed)
    slices = lab.Waves(seed, wavelength_px=35.0, shape=(512, 512), waves=1200).stack(truth, noise=0.08, curtains=0.06)
    ours, chain = estimate_drift(slices).shifts_px - truth, phase_correlation_chain(slices) - truth
    assert lab.rms(lab.high_frequency(ours)) <= min(0.05, 0.5 * lab.rms(lab.high_frequency(chain)))
    assert lab.rms(np.diff(ours, axis=0)) <= 0.5 * lab.rms(np.diff(chain, axis=0))
    end_px = 0.45 * np.sqrt(64 * 35 / (512 / 35) ** 2)
    assert lab.rms(detrended(ours)) <= 1.3 * np.sqrt(2 / 15) * end_px


def test_a_slice_that_jumped_out_of_line_is_sound(lab):
    """What leaves and enters the frame makes it unlike its neighbours, which resemble each other."""
    truth = np.zeros((16, 2))
    truth[7] = (9.0, -12.0)
    drift = estimate_drift(lab.Waves(2, shape=(160, 160)).stack(truth, dz_px=0.5), slow="keep")
    assert drift.bad_slices == ()
    assert np.abs(drift.shifts_px[7] - truth[7]).max() < 0.5
