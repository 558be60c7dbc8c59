"""The slow part of the motion from edges of the face: when it is taken, how well, and when not."""

import numpy as np
import pytest

import fibtomo
from fibtomo.core.drift import Drift
from fibtomo.ops.drift_anchor import anchor_to_face
from fibtomo.phantom import acquire

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


def test_a_surface_that_dips_gives_its_bends_but_not_its_slope():
    _truth, drift, face = made()
    face["surface_row_px"] = face["surface_row_px"] + 0.4 * np.arange(60)
    found = anchor_to_face(drift, face)
    slope = np.polyfit(np.arange(60), (found.shifts_px - drift.shifts_px)[:, 0], 1)[0]
    assert abs(slope) < 0.01
    assert any("may dip or lean" in note for note in found.notes)


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


def test_a_run_anchors_by_itself(tmp_path):
    run = acquire(WALLED, shape=(40, 256, 320), tracked=True, seed=3, artefacts=ARTEFACTS, oversample=2)
    facts = {"voxel_nm": (10, 5, 5), "column_angle_deg": 52, "tilt_corrected": False}
    anchored = fibtomo.run(run.slices, tmp_path / "a", "drift-only", **facts)
    free = fibtomo.run(run.slices, tmp_path / "b", "drift-only", settings=["drift.anchor.edges=off"], **facts)
    assert anchored.drift.identifiable
    assert not free.drift.identifiable
    assert away(anchored.drift.shifts_px, run.truth.shifts_px).max() < 0.3
    again = fibtomo.run(
        run.slices, tmp_path / "c", "drift-only", settings=["drift.estimate=off"], tracked=True, **facts
    )
    assert again.drift is None
