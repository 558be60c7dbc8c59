"""The straight line of the motion is taken from geometry only where exactly one allowed motion fits the images."""

import numpy as np
import pytest

import fibtomo
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.ops.drift import motions_allowed
from fibtomo.ops.slow_motion import ExpectedMotion, end_to_end, settle_line

N = 41
USABLE = np.ones(N, dtype=bool)


def motion(dy: float, dx: float = 0.0) -> np.ndarray:
    return np.outer(np.arange(N), [dy, dx])


FIXED = ExpectedMotion("fixed", motion(-1.2))
TRACKED = ExpectedMotion("tracked", motion(0.0))


def test_the_motion_that_fits_is_taken():
    seen = motion(-1.25, 0.03) + np.random.default_rng(0).normal(0, 0.3, (N, 2))
    settled, notes = settle_line(seen - seen[0], 2.0, USABLE, [FIXED, TRACKED])
    assert end_to_end(settled, USABLE, 0) == pytest.approx(-48)
    assert end_to_end(settled, USABLE, 1) == pytest.approx(0, abs=1e-9)
    assert len(notes) == 2
    assert "fixed" in notes[0]


def test_a_real_drift_is_kept():
    seen = motion(-1.5, 0.5)
    settled, notes = settle_line(seen, 2.0, USABLE, [FIXED, TRACKED])
    np.testing.assert_array_equal(settled, seen)
    assert not notes


def test_two_that_fit_decide_nothing():
    settled, notes = settle_line(motion(-0.6), 20.0, USABLE, [FIXED, TRACKED])
    assert settled[-1, 0] == pytest.approx(-24)
    assert not [n for n in notes if "Along y" in n]


def test_fast_motion_and_bad_slices_do_not_matter():
    seen = motion(-1.2)
    seen[10] += 30
    usable = USABLE.copy()
    usable[10] = False
    settled, _ = settle_line(seen, 1.0, usable, [FIXED])
    np.testing.assert_allclose(settled[usable], seen[usable], atol=1e-9)


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
    assert abs(line) < 0.8
    assert not drift.identifiable
