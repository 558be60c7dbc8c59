"""The straight line of the motion is taken from geometry only where exactly one allowed motion fits the images."""

import numpy as np
import pytest

import fibtomo
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.ops.drift import motions_allowed
from fibtomo.ops.slow_motion import ExpectedMotion, end_to_end, judge_line, replace_slow, take_lines

N = 41
USABLE = np.ones(N, dtype=bool)


def motion(dy: float, dx: float = 0.0) -> np.ndarray:
    return np.outer(np.arange(N), [dy, dx])


FIXED = ExpectedMotion("fixed", motion(-1.2))
TRACKED = ExpectedMotion("tracked", motion(0.0))


def settled(shifts, sigma, usable=USABLE, allowed=(FIXED, TRACKED)):
    lines = judge_line(shifts, [sigma], usable, allowed)
    return take_lines(shifts, lines, usable), lines


def test_the_motion_that_fits_is_taken():
    seen = motion(-1.25, 0.03) + np.random.default_rng(0).normal(0, 0.3, (N, 2))
    shifts, (along_y, along_x) = settled(seen - seen[0], 2.0)
    assert end_to_end(shifts, USABLE, 0) == pytest.approx(-48, abs=0.5)
    assert end_to_end(shifts, USABLE, 1) == pytest.approx(0, abs=0.3)
    assert along_y.expected.name == "fixed"
    assert "agrees with fixed (-48.0 px)" in along_y.text(N)
    assert "agrees with what geometry expects (0.0 px)" in along_x.text(N)


def share(along_y, along_x=0.0, real_px=(0.0, 0.0), sigmas=(2.0,)):
    lines = judge_line(motion(along_y, along_x), sigmas, USABLE, [TRACKED], real_px=real_px)
    return [line.share for line in lines]


def test_what_drifts_along_one_axis_drifts_along_the_other():
    assert share(0.05)[0] < 0.2
    assert share(0.05, 0.4)[0] > 0.8


def test_real_bends_speak_for_a_real_slope():
    assert share(0.08, real_px=(6.0, 6.0))[0] > 2 * share(0.08)[0]


def test_several_estimates_of_what_structure_feigns_all_have_a_say():
    assert share(0.1, sigmas=(0.3, 6.0))[0] > share(0.1, sigmas=(6.0,))[0]


def test_a_real_drift_is_kept_and_said():
    seen = motion(-1.4, 0.25)
    shifts, lines = settled(seen, 2.0)
    np.testing.assert_allclose(shifts, seen, atol=0.5)
    assert lines[0].expected.name == "fixed"
    assert "8.0 px away from fixed" in lines[0].text(N)
    assert "real drift or inclined structure" in lines[1].text(N)
    assert not any(line.agrees for line in lines)


@pytest.mark.parametrize(("slope", "sigma"), [(-0.6, 20.0), (-0.6, 2.0), (-0.45, 1.0)])
def test_two_that_fit_about_as_well_decide_nothing(slope, sigma):
    shifts, lines = settled(motion(slope), sigma)
    assert shifts[-1, 0] == pytest.approx(40 * slope)
    assert lines[0].expected is None
    assert "fixed: -48.0 px" in lines[0].text(N)
    assert "tracked: 0.0 px" in lines[0].text(N)


def test_a_motion_far_from_the_only_one_allowed_is_a_warning():
    (along_y, _) = settled(motion(0.0), 2.0, allowed=[FIXED])[1]
    assert not along_y.agrees
    for word in ("expects -48.0 px", "slice thickness", "column angle", "tracked", "orientation"):
        assert word in along_y.text(N)


def test_fast_motion_and_bad_slices_do_not_matter():
    seen = motion(-1.2)
    seen[10] += 30
    usable = USABLE.copy()
    usable[10] = False
    shifts, _ = settled(seen, 1.0, usable, [FIXED])
    np.testing.assert_allclose(shifts[usable], seen[usable], atol=1e-9)


def test_nothing_allowed_decides_nothing():
    assert judge_line(motion(-1.2), [1.0], USABLE, []) == []


def test_slow_part_is_replaced_and_jitter_and_jumps_stay():
    rng = np.random.default_rng(0)
    n = 120
    jitter = rng.normal(0, 0.3, (n, 2))
    bend = np.stack([5 * np.sin(np.arange(n) / 20), np.arange(n) * 0.1], axis=1)
    jump = np.where(np.arange(n) >= 50, 12.0, 0.0)[:, None] * [1.0, -0.5]
    usable = np.ones(n, dtype=bool)
    usable[30] = False
    path = jitter + bend + jump
    path[30] += 40
    expected = np.outer(np.arange(n), [-1.2, 0.0])
    found = replace_slow(path, expected, usable)
    error = (found - jitter - jump - expected)[usable]
    assert np.std(error, axis=0).max() < 0.2
    assert found[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_slow_part_of_a_handful_of_slices(n):
    path = np.outer(np.arange(n), [0.5, 0.2])
    np.testing.assert_allclose(replace_slow(path, np.zeros((n, 2)), np.ones(n, dtype=bool)), 0, atol=1e-9)


def known(**facts) -> Calibration:
    values = {"pixel_nm": (5.0, 5.0), "slice_nm": 10.0, "column_angle_deg": 52.0, "tilt_corrected": False, **facts}
    return Calibration(**{k: Sourced(v, "test", "given") for k, v in values.items() if v is not None})


def test_what_geometry_allows():
    free = motions_allowed(known(), N)
    assert sorted(round(m.shifts_px[1, 0], 4) for m in free) == [-1.2313, 0]
    assert [round(m.shifts_px[1, 0], 4) for m in motions_allowed(known(tracked=False), N)] == [-1.2313]
    assert motions_allowed(known(column_angle_deg=None), N) == []
    assert motions_allowed(known(tilt_corrected=None), N) == []
    assert motions_allowed(None, N) == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shear_is_found_without_a_parameter(tmp_path, seed):
    truth = fibtomo.phantom.write_sample("nanoporous-silver", tmp_path / "s", size=(24, 160, 192), seed=seed).truth
    drift = fibtomo.estimate_drift(fibtomo.open_stack(tmp_path / "s"))
    line = end_to_end(drift.shifts_px - truth.shifts_px, np.ones(24, dtype=bool), 0)
    assert abs(line) < 3.2  # of 28; the images alone are off by up to 5
    assert not drift.identifiable
