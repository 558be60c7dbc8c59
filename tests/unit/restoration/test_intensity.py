import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops.flicker import combine_flicker, measure_flicker
from fibtomo.ops.intensity import correct_intensity
from fibtomo.ops.normalise import apply_greys, combine_greys, measure_greys
from fibtomo.ops.shading import apply_shading, combine_shading, measure_shading

DARK, BRIGHT = 77.0, 165.0


@pytest.fixture(scope="module")
def stack(make_phases):
    """32 slices whose bright phase goes from 30 to 70 % and back, noise 8 grey levels."""
    rng = np.random.default_rng(1)
    swing = 0.5 * np.sin(2 * np.pi * np.arange(32) / 32)[:, None, None]
    phase = make_phases((32, 192, 192), 30, rng, swing)
    return np.where(phase, BRIGHT, DARK) + 8 * rng.normal(size=phase.shape)


@pytest.fixture(scope="module")
def flicker():
    rng = np.random.default_rng(2)
    gain, offset = 1 + 0.02 * rng.normal(size=32), 2.5 * rng.normal(size=32)
    gain[[5, 20]] *= [1.1, 0.9]
    return gain, offset


def test_gain_and_offset_are_recovered_while_the_phase_fraction_changes(stack, flicker):
    gain, offset = flicker
    seen = stack * gain[:, None, None] + offset[:, None, None]
    table = combine_flicker([measure_flicker(seen)], 101)
    for grey in (DARK, BRIGHT):
        was = gain * grey + offset
        now = table["gain"] * was + table["offset"]
        assert was.std() > 3
        assert now.std() < 0.3


def test_integer_slices_of_any_depth(stack, flicker):
    gain, offset = (v[:, None, None] for v in flicker)
    for scale, dtype in ((1, "uint8"), (100, "uint16")):
        seen = np.clip(np.rint(scale * (stack * gain + offset)), 0, 255 * scale).astype(dtype)
        out = correct_intensity(seen, shading=None)
        levels = [np.median(k[t > 120]) / scale for k, t in zip(out, stack, strict=True)]
        assert out.dtype == seen.dtype
        assert np.std(levels) < 0.8


def test_even_stacks_stay_as_they_are(stack):
    np.testing.assert_array_equal(correct_intensity(stack), stack.astype(np.float32))


def test_slow_drift_beyond_the_window_stays(stack):
    ramp = np.linspace(1, 1.3, 32)[:, None, None]
    table = combine_flicker([measure_flicker(stack * ramp)], 5)
    assert np.abs(table["gain"][4:-4] - 1).max() < 0.03
    wide = combine_flicker([measure_flicker(stack * ramp)], 101)
    assert np.ptp(wide["gain"] * ramp.ravel()) < 0.02


def test_dead_slices_and_absurd_gains_are_left_alone(stack):
    seen = stack.copy()
    seen[7], seen[12] = 0.0, 3 * seen[12]
    table = combine_flicker([measure_flicker(seen)], 101)
    assert (table["gain"][[7, 12]] == 1).all()
    assert (table["offset"][[7, 12]] == 0).all()
    assert np.abs(table["gain"] - 1).max() < 0.05


def test_texture_without_phases_is_not_flattened():
    import scipy.ndimage as ndi

    rng = np.random.default_rng(0)
    field = ndi.gaussian_filter(rng.normal(size=(40, 128, 128)), 4, mode="wrap")
    seen = 128 + 25 * field / field.std() + 20 * np.sin(np.arange(40) / 12)[:, None, None]
    out = correct_intensity(seen, shading=None)
    assert np.sqrt(np.mean((out - seen) ** 2)) < 1.0
    seen[20] += 15
    assert abs(correct_intensity(seen, shading=None)[20].mean() - seen[[19, 21]].mean()) < 2


@pytest.mark.parametrize(("method", "error"), [("polynomial", 0.005), ("n4", 0.025)])
def test_shading_of_a_trench_is_recovered(stack, method, error):
    shade = np.linspace(1, 0.75, 192)[:, None] * np.linspace(1, 0.95, 192)
    out = correct_intensity(stack * shade, flicker=False, shading=method)
    factor = np.median(out / stack, axis=0)
    assert (factor / factor.mean()).std() < error
    assert out.mean() == pytest.approx((stack * shade).mean(), rel=0.03)


def test_shading_does_not_depend_on_where_the_phases_are(stack, make_phases):
    rng = np.random.default_rng(4)
    y = np.linspace(-0.8, 0.8, 192)[:, None]
    phase = make_phases((16, 192, 192), 30, rng, y)
    volume = np.where(phase, BRIGHT, DARK) + 8 * rng.normal(size=phase.shape)
    correction = combine_shading([measure_shading(volume, (0, 255))])["correction"]
    assert np.abs(correction - 1).max() < 0.02


def test_both_partials_add_up_over_any_slabs(stack, flicker):
    seen = (stack * flicker[0][:, None, None]).astype(np.float32)
    parts = [seen[:1], seen[1:8], seen[8:]]
    whole = combine_flicker([measure_flicker(seen)], 31)
    cut = combine_flicker([measure_flicker(p, b) for p, b in ((seen[:1], 0), (seen[:8], 1), (seen[6:], 2))], 31)
    np.testing.assert_array_equal(whole["gain"], cut["gain"])
    span = (0.0, 300.0)
    whole_map = combine_shading([measure_shading(seen, span)])["correction"]
    cut_map = combine_shading([measure_shading(p, span) for p in parts])["correction"]
    np.testing.assert_array_equal(whole_map, cut_map)


def test_wrong_options_are_named():
    volume = np.zeros((3, 16, 16))
    for options, message in (
        ({"shading": "plane"}, "'plane'"),
        ({"window_slices": 1}, "window_slices = 1"),
        ({"order": 9}, "order = 9"),
    ):
        with pytest.raises(InputError, match=message):
            correct_intensity(volume, **options)
    with pytest.raises(InputError, match="shape"):
        correct_intensity(volume[0])


def two_phases(make_phases, seed, shape=(24, 128, 160), cut=0.0):
    rng = np.random.default_rng(seed)
    return np.where(make_phases(shape, 30, rng, cut), BRIGHT, DARK), rng


def walls(cols, depth, length_px):
    x = np.arange(cols)
    return 1 - depth * np.minimum(np.exp(-x / length_px) + np.exp(-(cols - 1 - x) / length_px), 1)


@pytest.mark.parametrize(
    ("seed", "down", "depth", "length_px", "cut"), [(10, 0.4, 0.2, 20, -0.5), (11, 0.2, 0.15, 40, 0.5)]
)
def test_shadows_of_walls_and_strong_losses(make_phases, seed, down, depth, length_px, cut):
    ideal, rng = two_phases(make_phases, seed, cut=cut)
    shade = np.linspace(1, 1 - down, 128)[:, None] * walls(160, depth, length_px)
    seen = np.clip(np.rint(ideal * shade + 8 * rng.normal(size=ideal.shape)), 0, 255).astype(np.uint8)
    found = combine_shading([measure_shading(seen, (0, 255))])
    even = apply_shading((BRIGHT * shade + rng.random(shade.shape) * 0.01)[None], **found)[0]
    assert shade.std() / shade.mean() > 0.06
    assert even.std() / even.mean() < 0.008


def test_shading_that_is_added_is_taken_off(make_phases):
    ideal, rng = two_phases(make_phases, 12)
    ramp = np.linspace(-15, 15, 128)[:, None] * np.ones(160)
    seen = (ideal + ramp + 6 * rng.normal(size=ideal.shape)).astype(np.float32)
    found = combine_shading([measure_shading(seen, (0.0, 255.0))])
    assert found["black"] < -5 * BRIGHT
    for grey in (DARK, BRIGHT):
        even = apply_shading((grey + ramp + rng.random(ramp.shape) * 0.01)[None].astype(np.float32), **found)[0]
        assert even.std() < 0.8


@pytest.mark.parametrize("seed", [13, 14])
def test_cap_and_walls_have_no_say(make_phases, seed):
    ideal, rng = two_phases(make_phases, seed)
    shade = np.linspace(1, 0.75, 128)[:, None] * np.ones(160)
    seen = ideal * shade
    seen[:, :24] = 230
    seen[:, :8] = 10
    seen[:, :, :14] = seen[:, :, -20:] = 34
    seen = np.clip(np.rint(seen + 6 * rng.normal(size=seen.shape)), 0, 255).astype(np.uint8)
    found = combine_shading([measure_shading(seen, (0, 255))])
    even = apply_shading((BRIGHT * shade + rng.random(shade.shape) * 0.01)[None], **found)[0][28:, 16:-22]
    assert even.std() / even.mean() < 0.01


@pytest.mark.parametrize("method", ["polynomial", "n4"])
def test_even_stacks_whose_porosity_changes_are_not_touched(make_phases, method):
    y = np.linspace(-0.8, 0.8, 128)[:, None]
    ideal, rng = two_phases(make_phases, 15, cut=y)
    seen = (ideal + 8 * rng.normal(size=ideal.shape)).astype(np.float32)
    found = combine_shading([measure_shading(seen, (0.0, 255.0))], method)
    change = apply_shading(seen, **found) / found["correction"].mean() - seen
    assert np.mean(change**2) < 0.02 * 8**2


def test_flicker_below_shading_is_found_on_the_same_pixels(make_phases):
    ideal, rng = two_phases(make_phases, 16, (40, 128, 160))
    shade = np.linspace(1, 0.65, 128)[:, None] * walls(160, 0.2, 30)
    gain = 1 + 0.05 * rng.normal(size=40)
    gain[20:] *= 1.08
    seen = (ideal * shade * gain[:, None, None] + 8 * rng.normal(size=ideal.shape)).astype(np.float32)
    seen[9] = 0
    table = combine_flicker([measure_flicker(seen)], 101)
    sound = np.arange(40) != 9
    levels = [table["gain"] * gain * grey + table["offset"] for grey in (DARK, BRIGHT)]
    assert (table["gain"][9], table["offset"][9]) == (1, 0)
    assert np.std(gain) * BRIGHT / (BRIGHT - DARK) > 0.09
    assert max(np.std(v[sound]) for v in levels) / (BRIGHT - DARK) < 0.035


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 1), ("uint16", 20), ("float32", 1)])
def test_outer_phases_come_where_they_are_wanted(make_phases, dtype, scale):
    ideal, rng = two_phases(make_phases, 17, (4, 96, 96), cut=0.6)
    seen = (scale * (ideal + 5 * rng.normal(size=ideal.shape))).astype(dtype)
    span = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}.get(dtype, (0.0, 300.0))
    found = combine_greys([measure_greys(part, span) for part in (seen[:1], seen[1:])], span, 0.1, 0.9)
    out = apply_greys(seen, found["gain"], found["offset"])
    for grey, place in ((DARK, 0.1), (BRIGHT, 0.9)):
        assert abs(np.median(out[ideal == grey]) - place * span[1]) < 0.02 * span[1]
    assert combine_greys([measure_greys(np.full_like(seen, 7), span)], span)["gain"] == 1
    with pytest.raises(InputError, match="dark"):
        combine_greys([measure_greys(seen, span)], span, 0.9, 0.1)
