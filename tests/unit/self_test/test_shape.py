"""The shape of structures in the plane tells whether the tilt was corrected, and says nothing where it cannot."""

from itertools import product

import numpy as np
import pytest

from fibtomo.ops.isotropy import Isotropy
from fibtomo.ops.self_test import tilt_evidence
from fibtomo.phantom import acquire
from fibtomo.phantom.packing import InclinedColumns
from fibtomo.phantom.samples import MILD
from fibtomo.phantom.specimens import Layered, NanoporousMetal, Tpms

FORESHORTENED = 0.788
RATIOS = [(FORESHORTENED, False), (1.0, True)]


def one_in_two(names):
    """Every name with both answers; one of them by default, the other with the slow tests."""
    return [
        pytest.param(name, corrected, marks=[] if corrected == (k % 2 == 0) else pytest.mark.slow)
        for k, name in enumerate(names)
        for corrected in (True, False)
    ]


def never_wrong(item, truth):
    """What is said is either true or nothing; nothing that is wrong is sure."""
    assert item.value in (truth, None), item.text


@pytest.mark.parametrize(("ratio", "corrected"), RATIOS)
@pytest.mark.parametrize(
    ("spectrum", "wavelength_px", "phases", "noise", "dtype"),
    [
        ("shell", 14, True, 0.0, "float32"),
        ("shell", 14, True, 0.4, "uint8"),
        ("shell", 24, False, 0.1, "float32"),
        ("gaussian", 24, True, 0.3, "uint8"),
        ("exponential", 20, False, 0.0, "uint8"),
        ("exponential", 20, True, 0.3, "uint16"),
    ],
)
def test_random_fields_tell_the_tilt(
    random_slices, seen, ratio, corrected, spectrum, wavelength_px, phases, noise, dtype
):
    slices = random_slices(ratio, wavelength_px, spectrum=spectrum, phases=phases, noise=noise, seed=3, dtype=dtype)
    found = seen(slices)["tilt_corrected"]
    assert (found.value, found.decisive) == (corrected, True), found.text
    assert found.numbers["ratio"] == pytest.approx(ratio, abs=max(0.03, 2.5 * found.numbers["ratio_sigma"]))
    assert found.numbers["ratio_sigma"] < 0.05


@pytest.mark.parametrize(("ratio", "corrected"), [(0.76, False), (0.815, False), (0.97, True), (1.03, True)])
def test_a_ratio_a_little_off_is_still_told(random_slices, seen, ratio, corrected):
    assert seen(random_slices(ratio, 14, noise=0.1, seed=4))["tilt_corrected"].value is corrected


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "corrected"), RATIOS)
@pytest.mark.parametrize("spectrum", ["shell", "gaussian", "exponential"])
@pytest.mark.parametrize("wavelength_px", [8, 30])
def test_no_random_field_is_told_wrongly(random_slices, seen, ratio, corrected, spectrum, wavelength_px):
    decided = 0
    for phases, noise, seed in product((True, False), (0.0, 0.2, 0.5), range(2)):
        slices = random_slices(ratio, wavelength_px, spectrum=spectrum, phases=phases, noise=noise, seed=seed)
        found = seen(slices)["tilt_corrected"]
        never_wrong(found, corrected)
        decided += found.decisive
    assert decided >= 4


@pytest.mark.parametrize(
    ("ratio", "noise", "spectrum", "wavelength_px"),
    [
        (1.0, 0.3, "shell", 24),
        pytest.param(FORESHORTENED, 0.3, "shell", 24, marks=pytest.mark.slow),
        pytest.param(1.0, 0.3, "exponential", 14, marks=pytest.mark.slow),
        pytest.param(FORESHORTENED, 0.5, "gaussian", 20, marks=pytest.mark.slow),
        pytest.param(1.0, 0.0, "shell", 14, marks=pytest.mark.slow),
    ],
)
def test_stated_error_is_honest(random_slices, seen, ratio, noise, spectrum, wavelength_px):
    away = []
    for seed in range(8):
        slices = random_slices(ratio, wavelength_px, spectrum=spectrum, noise=noise, seed=seed, shape=(24, 192, 192))
        numbers = seen(slices)["tilt_corrected"].numbers
        away.append((numbers["ratio"] - ratio) / numbers["ratio_sigma"])
    assert 0.3 < np.sqrt(np.mean(np.square(away))) < 1.6


def test_detail_as_fine_as_the_beam_is_told_with_a_large_error_or_not_at_all(random_slices, seen):
    """A smooth field and a round beam have spectra of the same form: only what is known of the beam parts them."""
    for seed, (ratio, corrected) in product(range(50, 52), RATIOS):
        slices = random_slices(
            ratio, 10, spectrum="gaussian", phases=False, noise=0.2, seed=seed, dtype="float32", shape=(16, 192, 192)
        )
        found = seen(slices)["tilt_corrected"]
        never_wrong(found, corrected)


@pytest.mark.parametrize(
    ("stretch", "ratio"),
    [((1, 1.3, 1), 1.0), ((1, 1, 1.3), 1.0), ((1, 1, 1.27), 1.0), ((1, 1, 1.3), FORESHORTENED)],
    ids=["along y", "along x", "along x as by the tilt", "along x, uncorrected"],
)
@pytest.mark.parametrize("seed", [1])
def test_stretched_specimens_are_undecidable(random_slices, seen, stretch, ratio, seed):
    found = seen(random_slices(ratio, 14, scale=stretch, noise=0.2, seed=seed))["tilt_corrected"]
    assert (found.value, found.decisive) == (None, False), found.text


def test_stretch_along_z_takes_the_certainty(random_slices, seen):
    found = seen(random_slices(1.0, 14, scale=(1.4, 1, 1), noise=0.2))["tilt_corrected"]
    assert not found.decisive
    assert "anisotropic" in found.text


ODD = {
    "lamellae": Layered(waviness_nm=15.0),
    "level lamellae": Layered(inclination_deg=0.0, azimuth_deg=0.0),
    "gyroid": Tpms(surface="gyroid", period_nm=240.0),
    "P surface": Tpms(surface="P", period_nm=130.0),
    "leaning columns": InclinedColumns(radius_nm=60.0, lean_x_deg=30.0),
    "columns leaning down": InclinedColumns(radius_nm=40.0, lean_y_deg=30.0, lean_x_deg=0.0),
}


@pytest.mark.parametrize(("name", "corrected"), one_in_two(ODD))
def test_structures_with_directions_of_their_own_are_never_told_wrongly(seen, name, corrected):
    run = acquire(ODD[name], shape=(24, 160, 192), tilt_corrected=corrected, tracked=True, artefacts=MILD, oversample=1)
    never_wrong(seen(run.slices)["tilt_corrected"], corrected)


@pytest.mark.parametrize(("ratio", "corrected"), RATIOS)
def test_structures_that_lean_in_the_plane_get_no_verdict(random_slices, seen, ratio, corrected):
    """Grains drawn out along a diagonal: neither axis tells of the tilt."""
    from scipy.ndimage import affine_transform

    slices = random_slices(ratio, 14, scale=(1, 1, 1.4), shape=(16, 256, 256))
    turned = np.stack(
        [affine_transform(s, [[0.9, 0.44], [-0.44, 0.9]], (-40, 70), order=1, mode="mirror") for s in slices]
    )
    found = seen(turned)["tilt_corrected"]
    assert found.value is None, found.text


ARTEFACTS = {
    "curtains": {"curtains": {"rms": 0.05}},
    "curtains of +4 degrees": {"curtains": {"rms": 0.05, "angle_deg": 4.0}},
    "curtains of -4 degrees": {"curtains": {"rms": 0.05, "angle_deg": -4.0}},
    "rocking curtains": {"curtains": {"rms": 0.05, "rocking_deg": 6.0}},
    "shading": {"shading": {"bottom": 0.3, "side": 0.3}},
    "defocus": {"defocus": {"best_px": 0.8, "worst_px": 2.0, "refocus_slices": 12}},
    "charging": {"charging": {"blobs": 4}},
    "line drift": {"line_drift": True},
    "flicker and bad slices": {"flicker": {"gain": 0.1, "offset": 0.05}, "bad_slices": True},
    "all": "all",
}
FINE = NanoporousMetal(greys=(0.28, 0.72), wavelength_nm=100.0)


@pytest.fixture(scope="module")
def fine_runs():
    """Slices of a fine porous metal with one artefact on, by (artefact, corrected)."""

    def make(name, corrected):
        choice = ARTEFACTS[name]
        artefacts = choice if isinstance(choice, str) else {"noise": True, **choice}
        return acquire(
            FINE, shape=(24, 176, 192), tilt_corrected=corrected, tracked=True, artefacts=artefacts, oversample=1
        ).slices

    return make


@pytest.mark.parametrize(("name", "corrected"), one_in_two(ARTEFACTS))
def test_artefacts_do_not_mislead(seen, fine_runs, name, corrected):
    found = seen(fine_runs(name, corrected))["tilt_corrected"]
    never_wrong(found, corrected)
    if name != "all":  # light from behind the face among them may leave it open
        assert found.value is corrected, found.text


def test_scan_lines_do_not_mislead(random_slices, seen):
    rng = np.random.default_rng(5)
    for ratio, corrected in RATIOS:
        slices = random_slices(ratio, 14, noise=0.1, seed=1).astype(np.int16)
        lines = rng.normal(0, 12, (*slices.shape[:2], 1)).astype(np.int16)
        found = seen(np.clip(slices + lines, 0, 255).astype(np.uint8))["tilt_corrected"]
        assert found.value is corrected, found.text


@pytest.mark.parametrize(
    ("borders", "ratio", "corrected"),
    [
        ((20, 20, 20, 20), *RATIOS[0]),
        ((90, 0, 0, 0), *RATIOS[1]),
        ((5, 60, 40, 0), *RATIOS[0]),
        ((5, 60, 40, 0), *RATIOS[1]),
        ((0, 0, 110, 110), *RATIOS[1]),
    ],
)
def test_black_borders_do_not_mislead(random_slices, seen, borders, ratio, corrected):
    top, bottom, left, right = borders
    slices = random_slices(ratio, 14, noise=0.1, seed=2)
    slices[:, :top] = slices[:, slices.shape[1] - bottom :] = 0
    slices[:, :, :left] = slices[:, :, slices.shape[2] - right :] = 0
    found = seen(slices)["tilt_corrected"]
    never_wrong(found, corrected)


@pytest.mark.parametrize(("ratio", "corrected"), RATIOS)
def test_borders_that_wander_with_the_slices_do_not_mislead(random_slices, seen, ratio, corrected):
    slices = random_slices(ratio, 14, noise=0.1, seed=2)
    for k, image in enumerate(slices):
        image[: 10 + 2 * k] = 0
        image[:, : 30 - k] = 0
    never_wrong(seen(slices)["tilt_corrected"], corrected)


@pytest.mark.parametrize(("ratio", "corrected"), RATIOS)
def test_a_bar_with_letters_does_not_mislead(random_slices, seen, ratio, corrected):
    slices = random_slices(ratio, 14, noise=0.1, seed=2)
    slices[:, -40:] = 0
    slices[:, -30:-10, 20:200:7] = 255
    never_wrong(seen(slices)["tilt_corrected"], corrected)


@pytest.mark.parametrize(
    "shape", [(1, 256, 256), (2, 256, 256), (3, 128, 300), (24, 64, 64), (5, 96, 400), (4, 300, 97)]
)
@pytest.mark.parametrize(("ratio", "corrected"), RATIOS)
def test_small_stacks_say_little_and_nothing_wrong(random_slices, seen, shape, ratio, corrected):
    whole = random_slices(ratio, 14, noise=0.1, shape=(max(8, shape[0]), *shape[1:]))
    found = seen(whole[: shape[0]])
    if "tilt_corrected" in found:
        never_wrong(found["tilt_corrected"], corrected)
    if shape[0] < 3 or min(shape[1:]) < 96:
        assert found.get("tracked") is None or found["tracked"].value is None
        assert found.get("slice_nm") is None or found["slice_nm"].value is None


@pytest.mark.parametrize("value", [0, 128, 255])
def test_empty_slices_say_nothing(seen, value):
    found = seen(np.full((8, 128, 128), value, np.uint8))
    assert {found[fact].value for fact in ("tilt_corrected", "slice_nm")} == {None}
    assert not found["warnings"]


def test_wide_empty_slices_do_not_end_it(seen):
    assert seen(np.zeros((2, 1100, 1100), np.uint8))["tilt_corrected"].value is None


def test_an_empty_first_slice_does_not_matter(random_slices, seen):
    slices = random_slices(1.0, 14, noise=0.1)
    slices[0] = 7
    assert seen(slices)["tilt_corrected"].value is True


def test_noise_and_missing_numbers_say_nothing(seen):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(8, 128, 128)).astype(np.float32)
    assert seen(noise)["tilt_corrected"].value is None
    noise[:, 20:40, 30:50] = np.nan
    assert seen(noise)["tilt_corrected"].value is None


def shape_of(ratio, sigma=0.02, **more):
    return Isotropy(ratio, sigma, 0.0, 900.0, 0.0, **more)


@pytest.mark.parametrize(
    ("ratio", "sigma", "value", "decisive"),
    [
        (0.788, 0.02, False, True),
        (1.0, 0.02, True, True),
        (0.89, 0.02, None, False),
        (0.6, 0.02, None, False),
        (1.3, 0.02, None, False),
        (0.80, 0.06, False, False),
        (0.9, 0.2, None, False),
    ],
)
def test_a_verdict_needs_one_answer_to_fit_and_the_other_not_to(ratio, sigma, value, decisive):
    found = tilt_evidence(shape_of(ratio, sigma), face_angle_deg=38.0)
    assert (found.value, found.decisive) == (value, decisive)
    assert f"{ratio:.3f} ± {sigma:.3f}" in found.text


def test_tall_pixels_and_upright_columns_are_reckoned_with():
    assert tilt_evidence(shape_of(0.788), pixel_ratio=1.269, face_angle_deg=38.0).value is True
    assert tilt_evidence(shape_of(1.0), face_angle_deg=0.0).value is None
    assert tilt_evidence(shape_of(0.81)).decisive
    assert tilt_evidence(None).value is None


def test_light_from_behind_lengthens_and_so_never_hints_at_a_correction():
    behind = Isotropy(0.93, 0.045, 0.0, 900.0, behind=0.06)
    assert tilt_evidence(behind, face_angle_deg=38.0).value is None
    assert tilt_evidence(shape_of(0.93, 0.045), face_angle_deg=38.0).value is True
    assert tilt_evidence(shape_of(0.93, 0.045), face_angle_deg=38.0, advance=0.68).value is None
    assert tilt_evidence(Isotropy(0.85, 0.045, 0.0, 900.0, behind=0.06), face_angle_deg=38.0).value is False
    assert tilt_evidence(Isotropy(1.0, 0.04, 0.0, 900.0, behind=0.06), face_angle_deg=38.0).decisive
