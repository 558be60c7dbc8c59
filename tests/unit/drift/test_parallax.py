"""Light from behind the face is told by the dark parts, which move otherwise than the bright ones."""

import numpy as np
import pytest

from fibtomo.core.volume import Calibration, Sourced
from fibtomo.ops.drift import motions_allowed
from fibtomo.ops.drift_combine import combine_slabs
from fibtomo.ops.drift_measure import DriftOptions, measure_slab
from fibtomo.ops.parallax import find_parallax
from fibtomo.phantom import acquire
from fibtomo.phantom.packing import InclinedColumns
from fibtomo.phantom.samples import MILD, SILVER

SHAPE = (32, 192, 224)
FLOW_PX = 1.2313
EMPTY = {**MILD, "shine_through": {"decay_nm": 80.0}, "edge_rim": {"gain": 0.15}}


def measured(specimen, tracked, artefacts):
    truth = acquire(specimen, shape=SHAPE, tracked=tracked, artefacts=artefacts, seed=1, oversample=1)
    return measure_slab(truth.slices, 0, (0, len(truth.slices)), DriftOptions()), truth.truth


def unknown_tracking():
    facts = {"pixel_nm": (5.0, 5.0), "slice_nm": 10.0, "column_angle_deg": 52.0, "tilt_corrected": False}
    return Calibration(**{k: Sourced(v, "test", "given") for k, v in facts.items()})


@pytest.mark.parametrize("tracked", [True, False])
def test_empty_pores_do_not_bend_the_geometry(tracked):
    table, truth = measured(SILVER, tracked, EMPTY)
    parallax = find_parallax(table["dark_px"], FLOW_PX)
    assert 0.2 < parallax.bias_px < 0.8
    drift = combine_slabs([table], DriftOptions(), motions_allowed(unknown_tracking(), SHAPE[0]))
    error = drift.shifts_px - truth.shifts_px
    assert np.abs(error - error.mean(axis=0)).max() < 1.5
    assert any("light from behind the face taken off" in note for note in drift.notes)
    kept = combine_slabs([table], DriftOptions(slow="keep"), motions_allowed(unknown_tracking(), SHAPE[0]))
    assert kept.shifts_px[-1, 0] - truth.shifts_px[-1, 0] > 6


@pytest.mark.parametrize("specimen", [SILVER, InclinedColumns(radius_nm=60, lean_y_deg=10.0, lean_x_deg=0.0)])
def test_filled_pores_and_leaning_columns_raise_no_alarm(specimen):
    table, _ = measured(specimen, True, MILD)
    assert find_parallax(table["dark_px"], FLOW_PX) is None


def test_too_few_or_scattered_measurements_tell_nothing():
    moves = np.full((40, 2), np.nan)
    assert find_parallax(moves, 1.0) is None
    moves[:2] = 0.5, 0.0
    assert find_parallax(moves, 1.0) is None
    moves[::4] = np.random.default_rng(0).normal((0.5, 0.0), 1.0, (10, 2))
    assert find_parallax(moves, 1.0) is None
