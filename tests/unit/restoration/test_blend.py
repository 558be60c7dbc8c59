import numpy as np
import pytest
import scipy.ndimage as ndi

from fibtomo.errors import InputError
from fibtomo.ops.blend import blend_channels, measure_blend


@pytest.fixture(scope="module")
def signal(make_phases):
    phase = make_phases((3, 160, 160), 30, np.random.default_rng(0))
    return ndi.gaussian_filter(np.where(phase, 165.0, 77.0), (0, 1, 1))


@pytest.mark.parametrize(("gain", "noise_a", "noise_b"), [(0.5, 8, 8), (-0.4, 15, 3), (1.5, 4, 25)])
def test_weights_give_the_least_noise(signal, gain, noise_a, noise_b):
    rng = np.random.default_rng(abs(int(100 * gain)))
    a = signal + noise_a * rng.normal(size=signal.shape)
    b = 120 + gain * (signal - 121) + noise_b * rng.normal(size=signal.shape)
    blended, how = blend_channels(a, b)
    assert how.gain == pytest.approx(1 / gain, rel=0.05)
    matched = noise_b / abs(gain)
    assert how.weights[0] == pytest.approx(matched**2 / (matched**2 + noise_a**2), abs=0.05)
    best = 1 / np.hypot(1 / noise_a, 1 / matched)
    error = blended - signal
    assert np.sqrt(np.mean(error**2)) < 1.06 * best
    assert best < 0.98 * min(noise_a, matched)
    assert how.noise[2] == pytest.approx(best, rel=0.1)


def test_stored_integers_and_slabs(signal):
    rng = np.random.default_rng(1)
    a = np.clip(signal + 8 * rng.normal(size=signal.shape), 0, 255).astype(np.uint8)
    b = np.clip(100 * (signal + 8 * rng.normal(size=signal.shape)), 0, 65535).astype(np.uint16)
    whole, how = blend_channels(a, b)
    np.testing.assert_array_equal(blend_channels(a[1:], b[1:], how)[0], whole[1:])
    assert np.sqrt(np.mean((whole - signal) ** 2)) < 6.3


def test_a_channel_that_shows_something_else_is_left_out(signal):
    rng = np.random.default_rng(2)
    a = signal + 8 * rng.normal(size=signal.shape)
    other = np.roll(signal, 80, axis=2)[:, ::-1] + 8 * rng.normal(size=signal.shape)
    blended, how = blend_channels(a, other)
    assert how.weights == (1.0, 0.0)
    np.testing.assert_array_equal(blended, a.astype(np.float32))


def test_unlike_shapes_are_refused(signal):
    with pytest.raises(InputError, match="shape"):
        measure_blend(signal, signal[:, :10])


def test_a_blended_channel_is_read_like_any_other(signal, tmp_path):
    import json

    import fibtomo
    from fibtomo import api
    from fibtomo.pipeline.config import InputConfig

    rng = np.random.default_rng(3)
    both = np.stack([signal, 240 - 0.6 * signal]) + np.array([12, 6])[:, None, None, None] * rng.normal(
        size=(2, *signal.shape)
    )
    both = np.clip(np.rint(both), 0, 255).astype(np.uint8)
    stack = api.open_input(both, InputConfig(), {"channel": "c0+C1", "voxel_nm": "unknown"})
    assert stack.channels == ("c0", "c1", "c0+c1")
    assert stack.dtype == np.uint8
    noise = [np.std(s.read(0, 3) - signal) for s in (stack, stack.channel("c0"))]
    assert noise[0] < 0.75 * noise[1]
    np.testing.assert_array_equal(stack.read(1, 2), stack.read(0, 3)[1:2])
    assert stack.fingerprint() != stack.channel("c0").fingerprint()
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text("schema: 1\nstages:\n  - use: intensity.normalise\n")
    fibtomo.run(both, tmp_path / "out", pipeline, voxel_nm="unknown", channel="c0+c1")
    values = json.loads((tmp_path / "out" / "run.json").read_text())["input"]["values"]
    assert any(name == "blend" and "× c0 +" in text for name, text, *_ in values)


def test_channels_that_cannot_be_blended_are_named(signal):
    from fibtomo import api
    from fibtomo.pipeline.config import InputConfig

    rng = np.random.default_rng(4)
    other = np.roll(signal, 80, axis=2)[:, ::-1]
    both = np.clip(np.stack([signal, other]) + 8 * rng.normal(size=(2, *signal.shape)), 0, 255).astype(np.uint8)
    for channel, message in (("c0+c1", "same contrast"), ("c0+BSE", "no channel 'BSE'")):
        with pytest.raises(InputError, match=message):
            api.open_input(both, InputConfig(), {"channel": channel, "voxel_nm": "unknown"})
