"""What the headers of single slices log: focus, beam shift, stage."""

import pickle
from math import cos, radians, sin

import numpy as np
import pytest

from fibtomo.io import logs, vendor
from fibtomo.io.open import open_stack
from fibtomo.phantom import acquire, write_slices


def written(folder, vendor_name, **options):
    run = acquire("nanoporous_metal", shape=(6, 24, 32), artefacts="none", oversample=1, **options)
    write_slices(run, folder / "s", vendor=vendor_name, info_bar=False)
    return open_stack(folder / "s")


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize(("name", "angle"), [("thermo", 52.0), ("tescan", 55.0)])
def test_slopes_of_focus_and_beam_shift(tmp_path, name, angle, tracked):
    log = written(tmp_path, name, column_angle_deg=angle, tracked=tracked, slice_nm=20.0).logs
    focus, shift = log["working_distance_nm"], log["beam_shift_y_nm"]
    assert focus.index == shift.index == tuple(range(6))
    assert (focus.unit, shift.unit, log["stage_tilt_deg"].unit) == ("nm", "nm", "deg")
    per_slice = [np.polyfit(range(6), log.value, 1)[0] for log in (focus, shift)]
    assert per_slice == pytest.approx([20.0 * sin(radians(angle)), 20.0 * cos(radians(angle)) * tracked], abs=0.1)
    assert "WD" in focus.origin
    assert np.diff(log["stage_tilt_deg"].value) == pytest.approx(0.0)


def test_a_shift_in_percent_is_no_length(tmp_path):
    log = written(tmp_path, "zeiss", column_angle_deg=54.0).logs
    assert "working_distance_nm" in log
    assert "beam_shift_y_nm" not in log


def test_nothing_logged(tmp_path, volume):
    assert written(tmp_path, "plain").logs == {}
    assert open_stack(volume).logs == {}


@pytest.mark.parametrize(("n", "most"), [(5, 32), (32, 32), (33, 32), (1000, 32), (7, 3)])
def test_a_bounded_number_of_headers(tmp_path, monkeypatch, n, most):
    asked = []
    monkeypatch.setattr(vendor, "read_vendor", lambda path: asked.append(int(path.name)))
    assert logs.read_logs([tmp_path / str(k) for k in range(n)], most) == {}
    assert len(asked) == min(n, most)
    assert (asked[0], asked[-1]) == (0, n - 1)
    assert np.diff(asked).max() - np.diff(asked).min() <= 1


def test_read_once_and_only_when_asked(tmp_path, monkeypatch):
    stack = written(tmp_path, "thermo")
    asked = []
    original = vendor.read_vendor
    monkeypatch.setattr(vendor, "read_vendor", lambda path: asked.append(path) or original(path))
    assert asked == []
    assert stack.logs is stack.logs
    assert len(asked) == 6
    part = open_stack(stack, slices="2:5")
    assert part.logs["working_distance_nm"].value == stack.logs["working_distance_nm"].value[2:5]
    assert pickle.loads(pickle.dumps(part)).logs == part.logs
