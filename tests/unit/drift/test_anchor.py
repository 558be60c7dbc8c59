"""The slow part of the motion from edges of the face: when it is taken, how well, and when not."""

from dataclasses import replace

import numpy as np
import pytest

import fibtomo
from fibtomo.core.drift import Drift
from fibtomo.errors import PipelineError
from fibtomo.ops.drift_anchor import anchor_to_face
from fibtomo.phantom import acquire
from fibtomo.phantom.packing import InclinedColumns

ARTEFACTS = {"drift": True, "jitter": True, "curtains": True, "flicker": True, "noise": True, "shading": True}
WALLED = {"kind": "trench", "surface_nm": 350.0, "left_nm": 150.0, "right_nm": 1250.0, "waviness_nm": 8.0}


def made(seed=0, n=60):
    """Jitter, what images feign on top of it, and what an edge of the face shows."""
    rng = np.random.default_rng(seed)
    truth = 0.5 * rng.normal(size=(n, 2))
    feigned = np.cumsum(0.08 * rng.normal(size=(n, 2)), axis=0)
    drift = Drift(truth + feigned, np.linspace(0.1, 1.5, n), notes=("measured",))
    sigma = np.full(n, 0.05)
    face = {"surface_row_px": 60 + truth[:, 0] + 0.1 * rng.normal(size=n), "surface_sigma_px": sigma}
    face |= {"wall_column_px": 30 + truth[:, 1] + 0.1 * rng.normal(size=n), "wall_sigma_px": sigma}
    return truth, drift, face


def away(shifts, truth):
    error = shifts - truth
    return np.sqrt(((error - error.mean(axis=0)) ** 2).mean(axis=0))


@pytest.mark.parametrize("seed", range(4))
def test_both_edges_make_the_motion_identifiable(seed):
    truth, drift, face = made(seed)
    found = anchor_to_face(drift, face)
    assert found.identifiable
    assert away(found.shifts_px, truth).max() < 0.1
    assert found.sigma_px.max() < 0.2
    np.testing.assert_array_equal(found.shifts_px[0], 0)
    assert found.notes[0] == "measured"
    assert len(found.notes) == 3


def test_one_edge_decides_its_axis_only():
    truth, drift, face = made()
    del face["wall_column_px"]
    found = anchor_to_face(drift, face)
    assert not found.identifiable
    assert away(found.shifts_px, truth)[0] < 0.1
    np.testing.assert_allclose(np.diff(found.shifts_px[:, 1]), np.diff(drift.shifts_px[:, 1]))


def test_an_edge_that_belongs_to_the_frame_is_left_alone():
    """Text bars, dirt and padding do not jitter with the specimen."""
    _, drift, face = made()
    still = {name: np.full(60, 60.0) if name.endswith(("row_px", "column_px")) else v for name, v in face.items()}
    assert anchor_to_face(drift, still) is drift


def test_an_edge_that_scatters_less_than_a_calm_specimen_jitters_is_left_alone_too():
    rng = np.random.default_rng(1)
    jitter = 0.25 * rng.normal(size=(60, 2))
    drift = Drift(jitter + np.outer(np.arange(60) / 60, (1.0, 1.0)), np.linspace(0.1, 1.5, 60))
    edge = {"surface_row_px": 60 + 0.03 * rng.normal(size=60), "surface_sigma_px": np.full(60, 0.05)}
    assert anchor_to_face(drift, edge) is drift
    edge["surface_row_px"] += jitter[:, 0]
    assert anchor_to_face(drift, edge) is not drift


@pytest.mark.parametrize("slow", ["kept", "geometry", "removed", "reference", "unchanging"])
def test_a_slow_part_that_was_asked_for_stays(slow):
    _, drift, face = made()
    asked = replace(drift, slow_part=slow)
    assert anchor_to_face(asked, face) is asked


def test_a_surface_that_dips_gives_its_bends_but_not_its_slope():
    _truth, drift, face = made()
    face["surface_row_px"] = face["surface_row_px"] + 0.4 * np.arange(60)
    found = anchor_to_face(drift, face)
    slope = np.polyfit(np.arange(60), (found.shifts_px - drift.shifts_px)[:, 0], 1)[0]
    assert abs(slope) < 0.01
    assert any("may dip or lean" in note for note in found.notes)
    assert not found.identifiable


def test_too_few_sightings_and_nothing_to_see_change_nothing():
    _, drift, face = made()
    face["surface_row_px"][10:] = np.nan
    face["wall_column_px"][:] = np.nan
    assert anchor_to_face(drift, face) is drift
    assert anchor_to_face(drift, {}) is drift


def test_what_was_placed_by_hand_stays():
    _, drift, face = made()
    pinned = Drift(drift.shifts_px, np.where(np.arange(60) == 20, 0.0, drift.sigma_px))
    assert anchor_to_face(pinned, face) is pinned


@pytest.mark.parametrize("seed", [0, 1])
def test_walls_and_surface_are_found_by_themselves(seed):
    run = acquire(WALLED, shape=(48, 256, 320), tracked=True, seed=seed, artefacts=ARTEFACTS, oversample=3)
    found = fibtomo.estimate_drift(run.slices)
    assert found.identifiable
    assert away(found.shifts_px, run.truth.shifts_px).max() < 0.3


def test_gaps_between_columns_are_no_surface():
    run = acquire(InclinedColumns(greys=(0.28, 0.72)), shape=(40, 256, 320), artefacts=ARTEFACTS, oversample=2)
    error = fibtomo.estimate_drift(run.slices).shifts_px - run.truth.shifts_px
    assert np.std(error[:, 0]) < 0.12
    assert np.std(np.diff(error[:, 1])) < 0.05


def test_a_run_anchors_by_itself(tmp_path):
    run = acquire(WALLED, shape=(40, 256, 320), tracked=True, seed=3, artefacts=ARTEFACTS, oversample=2)
    facts = {"voxel_nm": (10, 5, 5), "column_angle_deg": 52, "tilt_corrected": False}
    anchored = fibtomo.run(run.slices, tmp_path / "a", "drift-only", **facts)
    free = fibtomo.run(run.slices, tmp_path / "b", "drift-only", settings=["drift.anchor.edges=off"], **facts)
    assert anchored.drift.identifiable
    assert not free.drift.identifiable
    assert away(anchored.drift.shifts_px, run.truth.shifts_px).max() < 0.3
    asked = ["drift.estimate.slow=keep"]
    kept = fibtomo.run(run.slices, tmp_path / "d", "drift-only", settings=asked, **facts)
    assert not kept.drift.identifiable
    assert kept.drift.slow_part == "kept"
    again = fibtomo.run(
        run.slices, tmp_path / "c", "drift-only", settings=["drift.estimate=off"], tracked=True, **facts
    )
    assert again.drift is None


def test_a_run_stops_where_an_anchor_is_required_and_missing(tmp_path, lab):
    slices = lab.Waves(1).stack(lab.random_walk(24, 0.3, 1))
    with pytest.raises(PipelineError, match="nothing static was found"):
        fibtomo.run(slices, tmp_path / "a", "drift-only", settings=["drift.anchor.required=true"], voxel_nm="unknown")
