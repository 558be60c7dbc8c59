import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops.flicker import combine_flicker, measure_flicker
from fibtomo.ops.intensity import correct_intensity
from fibtomo.ops.shading import combine_shading, measure_shading

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
