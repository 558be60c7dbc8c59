"""Curtains told by the phases: what makes them easier to take off, and what must not be taken for them."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from fibtomo.ops.curtaining import find_curtains, remove_and_judge, remove_curtaining
from fibtomo.ops.grey_valleys import valleys
from fibtomo.ops.stripes import stripe_field

NOISE = 0.03


def psnr(image, truth):
    return 10 * np.log10(1 / np.mean((image - truth) ** 2))


def gain_db(striped, clean, **options):
    return psnr(remove_curtaining(striped, **options), clean) - psnr(striped, clean)


@pytest.fixture(scope="module")
def two_phases(make_phases):
    def make(seed, wavelength_px=40.0, size=256, greys=(0.30, 0.65)):
        rng = np.random.default_rng(seed)
        phase = make_phases((size, size), wavelength_px, rng)
        return ndi.gaussian_filter(np.where(phase, greys[1], greys[0]), 1), phase, rng

    return make


def streaks(rng, shape, rms, angle_deg=0.0, first_row=None):
    """Streaks 1 to 6 px wide; from the top, or all from `first_row` on."""
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])
    total = np.zeros(shape)
    for _ in range(shape[1] // 3):
        middle = rng.uniform(-50, shape[1] + 50) + np.tan(np.radians(angle_deg)) * y
        total += rng.normal() * np.exp(-0.5 * ((x - middle) / rng.uniform(0.5, 3)) ** 2)
    if first_row is not None:
        total[:first_row] = 0
    return total * (rms / total.std())


@pytest.mark.parametrize("wavelength_px", [15, 25, 60])
def test_fine_structure_does_not_hide_curtains(two_phases, wavelength_px):
    for seed in range(2):
        face, _, rng = two_phases(seed, wavelength_px)
        clean = face + NOISE * rng.normal(size=face.shape)
        assert gain_db(clean + streaks(rng, face.shape, 0.05), clean) > 8


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_curtains_follow_the_brightness_of_the_phases(two_phases, share):
    for seed in range(2):
        face, phase, rng = two_phases(seed)
        clean = face + NOISE * rng.normal(size=face.shape)
        curtain = streaks(rng, face.shape, 0.06) * (1 - share + share * face / face.mean())
        out, removed = remove_curtaining(clean + curtain, return_curtain=True)
        assert psnr(out, clean) - psnr(clean + curtain, clean) > 8
        if share == 1.0:
            ratio = removed[phase].std() / removed[~phase].std()
            assert ratio == pytest.approx(0.65 / 0.30, rel=0.25)


def test_stripes_never_begin_above_their_onset(two_phases):
    for seed in range(2):
        face, _, rng = two_phases(seed)
        clean = face + NOISE * rng.normal(size=face.shape)
        curtain = streaks(rng, face.shape, 0.06, first_row=120)
        out, removed = remove_curtaining(clean + curtain, return_curtain=True)
        assert psnr(out, clean) - psnr(clean + curtain, clean) > 9
        assert removed[:104].std() < 0.1 * removed[140:].std()


@pytest.mark.parametrize("apart_deg", [2.0, 8.0])
def test_a_rocking_stage_leaves_two_directions(two_phases, apart_deg):
    face, _, rng = two_phases(1, size=384)
    clean = face + NOISE * rng.normal(size=face.shape)
    directions = (1 - apart_deg / 2, 1 + apart_deg / 2)
    striped = clean + sum(streaks(rng, face.shape, 0.04, a) for a in directions)
    found = find_curtains(striped, "auto", "auto", 20.0, 60.0)
    assert sorted(found.angles_deg) == pytest.approx(directions, abs=0.3)
    alone = gain_db(striped, clean, angle_deg=directions[0])
    assert gain_db(striped, clean) > max(alone + 3, 8)
    assert gain_db(striped, clean, angle_deg=directions) > max(alone + 3, 8)


def test_three_phases_and_noise(two_phases, make_phases):
    face, _, rng = two_phases(3)
    face = np.where(make_phases(face.shape, 70, rng, 0.8), 0.9, face)
    for noise in (0.005, 0.06):
        clean = face + noise * rng.normal(size=face.shape)
        assert gain_db(clean + streaks(rng, face.shape, 0.05), clean) > 7


def test_layers_along_the_beam_are_no_curtains():
    x = np.arange(256)
    for seed, period in enumerate((23.0, 40.0, 61.0)):
        rng = np.random.default_rng(seed)
        layers = np.where(np.sin(2 * np.pi * x / period + 0.3 * np.sin(x / 90)) > 0, 0.6, 0.35) * np.ones((256, 1))
        clean = layers + NOISE * rng.normal(size=layers.shape)
        assert np.std(remove_curtaining(clean) - clean) < 0.25 * NOISE


def test_grains_inside_a_phase_stay(make_phases):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        grains = sum(0.03 * make_phases((320, 320), w, rng) for w in (60, 90, 120))
        face = 0.5 + grains
        face[:, :24] = 0.1  # the trench beside the sample: another phase, and upright
        clean = face + 0.02 * rng.normal(size=face.shape)
        assert np.std(remove_curtaining(clean) - clean) < 0.05 * 0.02
        striped = clean + streaks(rng, face.shape, 0.03)
        out, removed = remove_curtaining(striped, return_curtain=True)
        assert psnr(out, clean) > psnr(striped, clean) + 5
        inner = (slice(20, -20), slice(60, -20))
        assert abs(np.corrcoef(removed[inner].ravel(), grains[inner].ravel())[0, 1]) < 0.4


def test_shading_is_left_to_others(two_phases):
    for seed in range(2):
        face, _, rng = two_phases(seed, size=320)
        x, y = np.arange(320), np.linspace(0, 1, 320)[:, None]
        wall = 1 - 0.25 * (np.exp(-x / 40) + np.exp(-(319 - x) / 40))
        clean = face * (1 - 0.4 * y) * wall + NOISE * rng.normal(size=face.shape)
        assert np.std(remove_curtaining(clean) - clean) < 0.2 * NOISE
        assert gain_db(clean + streaks(rng, face.shape, 0.05), clean) > 5


def test_clipped_and_blank_parts_do_not_disturb(two_phases):
    face, _, rng = two_phases(2, size=320)
    clean = np.clip(np.rint(300 * (face + NOISE * rng.normal(size=face.shape) - 0.26)), 0, 255)
    striped = np.clip(np.rint(clean + 300 * streaks(rng, face.shape, 0.05)), 0, 255).astype(np.uint8)
    out = remove_curtaining(striped).astype(float)
    assert np.sqrt(np.mean((out - clean) ** 2)) < 0.6 * np.sqrt(np.mean((striped - clean) ** 2))
    clean = face + NOISE * rng.normal(size=face.shape)
    striped = clean + streaks(rng, face.shape, 0.05)
    clean[190:] = striped[190:] = 0
    blank = remove_curtaining(striped)
    assert not blank[190:].any()
    assert psnr(blank, clean) > psnr(striped, clean) + 8


def test_threads_change_nothing(two_phases):
    face, _, rng = two_phases(4)
    stack = np.stack([face + streaks(rng, face.shape, a) + NOISE * rng.normal(size=face.shape) for a in (0, 0.05, 0.1)])
    one = remove_curtaining(stack, workers=1, return_curtain=True)
    for a, b in zip(one, remove_curtaining(stack, workers=3, return_curtain=True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_was_done_to_each_slice(two_phases):
    face, _, rng = two_phases(5)
    clean = face + NOISE * rng.normal(size=face.shape)
    curtain = streaks(rng, face.shape, 0.05, 3.0)
    out, table = remove_and_judge(np.stack([clean, clean + curtain]), "auto", "auto", 1.0, 20.0, 60.0)
    np.testing.assert_array_equal(out[0], clean)
    np.testing.assert_array_equal(out[1], remove_curtaining(clean + curtain))
    assert table["index"][0] <= 1 < table["index"][1]
    assert np.isnan(table["angle_deg"][0])
    assert np.isnan(table["second_angle_deg"]).all()
    assert table["angle_deg"][1] == pytest.approx(3, abs=0.2)
    assert table["removed_rms"][1] == pytest.approx(curtain.std(), rel=0.15)
    assert table["structure_loss"][1] < 0.01
    assert abs(table["structure_r"][1]) < 0.1
    assert table["damage_rms"][1] < 0.2 * table["removed_rms"][1]
    assert not any(table[name][0] for name in ("removed_rms", "damage_rms", "structure_loss", "structure_r"))


def test_the_number_of_modes_is_found():
    rng = np.random.default_rng(0)
    for centres in ((0.2,), (0.2, 0.7), (0.1, 0.45, 0.8), (0.1, 0.3, 0.5, 0.9)):
        values = np.concatenate([rng.normal(c, 0.03, 4000 + 3000 * i) for i, c in enumerate(centres)])
        found = valleys(values)
        assert len(found) == len(centres) - 1
        assert all(a < v < b for a, v, b in zip(centres, found, centres[1:], strict=False))
    assert len(valleys(rng.random(20000))) == 0
    assert len(valleys(np.full(100, 3.0))) == 0


def test_fields_of_tiny_planes_are_zero():
    for shape in ((31, 100), (100, 31), (1, 1)):
        found = stripe_field(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        assert found.field.shape == shape
        assert not found.field.any()


@pytest.mark.parametrize("period_px", [20, 45])
def test_curtains_on_layers_along_the_beam_are_left_rather_than_the_layers_taken(period_px):
    rng = np.random.default_rng(0)
    layers = np.where(np.sin(2 * np.pi * np.arange(320) / period_px) > 0, 0.65, 0.3) * np.ones((320, 1))
    clean = layers + NOISE * rng.normal(size=layers.shape)
    assert gain_db(clean + streaks(rng, clean.shape, 0.05), clean) > -0.1


def test_low_and_wide_frames_are_hardly_touched(two_phases):
    for seed in range(4):
        face, _, rng = two_phases(seed, size=512)
        clean = (face + NOISE * rng.normal(size=face.shape))[:64]
        assert np.std(remove_curtaining(clean) - clean) < 0.15 * NOISE


def test_what_is_not_finite_stays_and_spreads_nowhere(two_phases):
    face, _, rng = two_phases(0)
    clean = face + NOISE * rng.normal(size=face.shape)
    striped = clean + streaks(rng, face.shape, 0.05)
    holes = striped.copy()
    holes[3, 4], holes[50:60, 20:30] = np.nan, np.inf
    out, removed = remove_curtaining(holes, return_curtain=True)
    np.testing.assert_array_equal(np.isfinite(out), np.isfinite(holes))
    assert not removed[~np.isfinite(holes)].any()
    seen = np.isfinite(holes)
    assert psnr(out[seen], clean[seen]) > psnr(striped[seen], clean[seen]) + 8
    assert np.isnan(remove_curtaining(np.full((64, 64), np.nan))).all()
