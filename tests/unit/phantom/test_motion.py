"""Per-slice sequences: statistics, independence, gauge."""

import numpy as np
import pytest

from fibtomo.phantom import Artefacts
from fibtomo.phantom.motion import draw_sequences

N = 6000


def draw(seed=0, n=N, **on):
    return draw_sequences(n, 10.0, Artefacts.of(on), seed)


def test_everything_off_is_exactly_off():
    s = draw(n=50)
    assert np.array_equal(s.slice_z_nm, np.arange(50) * 10.0)
    for part in (s.slow_px, s.jitter_px, s.jumps_px, s.line_px, s.defocus_px, s.offset):
        assert not part.any()
    assert (s.gain == 1).all()
    assert s.bad_slices == {}
    assert np.array_equal(s.slice_numbers, np.arange(50))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_jitter_is_white(seed):
    jitter = draw(seed, jitter={"rms_px": 0.5}).jitter_px
    assert jitter.std() == pytest.approx(0.5, rel=0.03)
    assert abs(np.corrcoef(jitter[1:-1, 0], jitter[2:, 0])[0, 1]) < 0.05
    assert not jitter[0].any()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slow_drift_has_the_rate_and_memory(seed):
    velocity = np.diff(draw(seed, drift={"rate_px": 0.2, "memory_slices": 20}).slow_px, axis=0)
    assert velocity.std() == pytest.approx(0.2, rel=0.15)
    lag = np.corrcoef(velocity[50:-20, 0], velocity[70:, 0])[0, 1]
    assert lag == pytest.approx(np.exp(-1), abs=0.15)


def test_jumps_last_and_have_their_size():
    steps = np.diff(draw(jumps={"per_slice": 0.02, "least_px": 3, "largest_px": 30}).jumps_px, axis=0)
    size = np.abs(steps[:, 0])
    assert (size > 0).mean() == pytest.approx(0.02, abs=0.006)
    assert size[size > 0].min() >= 3
    assert size.max() <= 30
    assert (np.abs(steps[:, 1]) <= 0.3 * size + 1e-12).all()


def test_thickness_scatters_about_the_nominal():
    steps = np.diff(draw(thickness={"white": 0.15, "slow": 0}).slice_z_nm)
    assert steps.mean() == pytest.approx(10, rel=0.01)
    assert steps.std() == pytest.approx(1.5, rel=0.05)
    assert steps.min() > 0


def test_bad_slices_come_at_their_rates():
    s = draw(bad_slices={"dead": 0.03, "duplicate": 0.02, "missing": 0.04, "truncated": 0.01})
    reasons = list(s.bad_slices.values())
    for reason, rate in (("dead", 0.03), ("duplicate", 0.02), ("truncated", 0.01)):
        assert reasons.count(reason) / N == pytest.approx(rate, rel=0.35)
    gaps = np.diff(s.slice_numbers)
    assert (gaps == 2).mean() == pytest.approx(0.04, rel=0.3)
    assert np.array_equal(np.diff(s.slice_z_nm), gaps * 10.0)
    assert 0 not in s.bad_slices


def test_focus_ramps_and_resets():
    sigma = draw(n=10, defocus={"best_px": 0.5, "worst_px": 2.5, "refocus_slices": 4}).defocus_px
    assert sigma.tolist() == [0.5, 1.0, 1.5, 2.0, 0.5, 1.0, 1.5, 2.0, 0.5, 1.0]


def test_flicker_has_its_size_and_steps_last():
    s = draw(flicker={"gain": 0.02, "offset": 0.01})
    assert s.gain.std() == pytest.approx(0.02, rel=0.05)
    assert s.offset.std() == pytest.approx(0.01, rel=0.05)
    stepped = draw(n=300, flicker={"gain": 0, "offset": 0, "steps_per_slice": 0.02, "step": 0.1}).gain
    assert 1 <= np.count_nonzero(np.diff(stepped)) <= 15


@pytest.mark.parametrize("off", ["drift", "jitter", "jumps", "thickness", "flicker", "line_drift", "defocus"])
def test_switching_one_off_leaves_the_others(off):
    every = Artefacts.of("all").change(bad_slices=None)
    full, less = (draw_sequences(200, 10.0, a, 3) for a in (every, every.change(**{off: None})))
    own = {
        "drift": ["slow_px"],
        "jitter": ["jitter_px"],
        "jumps": ["jumps_px"],
        "thickness": ["slice_z_nm"],
        "flicker": ["gain", "offset"],
        "line_drift": ["line_px"],
        "defocus": ["defocus_px"],
    }[off]
    names = ["slice_z_nm", "slow_px", "jitter_px", "jumps_px", "line_px", "defocus_px", "gain", "offset"]
    for name in names:
        same = np.array_equal(getattr(full, name), getattr(less, name))
        assert same == (name not in own) or (name == "jumps_px" and not getattr(full, name).any())


def test_a_longer_run_begins_like_a_shorter_one():
    long, short = (draw_sequences(n, 10.0, Artefacts.of({"drift": True, "jitter": True}), 5) for n in (40, 25))
    assert np.array_equal(long.slow_px[:25], short.slow_px)
    assert np.array_equal(long.jitter_px[:25], short.jitter_px)
