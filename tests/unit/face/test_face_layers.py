"""Layers at the edges are left out; specimen never is."""

import numpy as np
import pytest
from virtual_faces import FACES, IMAGED, SPECIMENS, acquired, face_of, layer, metal, true_surface_px

from fibtomo.ops.face import find_face
from fibtomo.ops.face_measure import measure_faces
from fibtomo.phantom import acquire
from fibtomo.phantom.trench import Trench


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_protective_layer_is_left_out_and_its_end_is_known(name, seed):
    run = acquired(name, seed)
    found, truth = face_of(run), true_surface_px(run)
    away = found["surface_row_px"] - truth
    assert np.isfinite(away).mean() >= 0.95
    assert np.sqrt(np.nanmean(away**2)) < (1.2 if name == "wavy" else 0.35)
    assert found["crop"] == 1
    assert np.median(found["surface_confidence"]) > 0.7
    _, dy, dx = run.truth.geometry.true_voxel_nm
    aligned = truth - run.truth.shifts_px[:, 0]
    incline = abs(np.tan(np.radians(getattr(run.truth.specimen, "incline_deg", 0.0)))) * dx / dy
    lowest = aligned.max() + incline * run.slices.shape[2] / 2 + getattr(run.truth.specimen, "waviness_nm", 0.0) / dy
    assert lowest <= found["box_px"][0] <= lowest + 7
    assert found["box_px"][2] <= 0
    assert "protective layer, left out" in found["notes"][0]


@pytest.mark.parametrize("name", SPECIMENS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_specimen_is_never_left_out(name, seed):
    found = face_of(acquired(name, seed))
    assert found["crop"] == 0
    assert found["padding_px"] == [0, 0, 0, 0]
    box, (_, rows, cols) = found["box_px"], acquired(name, seed).slices.shape
    assert box[0] <= 0
    assert box[1] >= rows
    assert box[2] <= 0
    assert box[3] >= cols


@pytest.mark.parametrize("name", ["metal", "flat layers", "layers", "columns", "one phase", "large mineral on top"])
def test_specimen_without_noise_is_not_taken_for_padding(name):
    assert face_of(acquired(name, 2, artefacts="none"))["crop"] == 0


@pytest.mark.parametrize("name", ["metal", "layers", "grains", "columns"])
def test_specimen_with_shear_is_never_left_out(name):
    assert face_of(acquired(name, 3, tracked=False))["crop"] == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_walls_and_redeposition_are_left_out(seed):
    specimen = Trench(
        below=metal(seed),
        cap=layer(0.93),
        left_nm=120.0,
        right_nm=840.0,
        lean_deg=2.0,
        floor_nm=800.0,
        surface_nm=200.0,
    )
    run = acquire(
        specimen, shape=(20, 160, 192), slice_nm=20.0, tracked=True, seed=seed, artefacts=IMAGED, oversample=1
    )
    found = find_face(measure_faces(run.slices), run.slices.shape[1:], run.truth.shifts_px)
    _, dy, dx = run.truth.geometry.true_voxel_nm
    inwards = np.tan(np.radians(2.0)) * (800 - 200) / dx
    y0, y1, x0, x1 = found["box_px"]
    assert 200 / dy < y0 < 200 / dy + 7
    assert 800 / dy - 7 < y1 < 800 / dy + 1
    assert 120 / dx + inwards - 1 < x0 < 120 / dx + inwards + 8
    assert 840 / dx - inwards - 8 < x1 < 840 / dx - inwards + 2
    assert sum("left out" in note for note in found["notes"]) == 4


def test_skin_of_the_specimens_own_substance_is_kept_with_a_reason():
    found = face_of(acquired("skin of its own", 0))
    assert found["crop"] == 0
    assert any("of the specimen have its grey" in note for note in found["notes"])
    assert np.isfinite(found["surface_row_px"]).mean() > 0.9
    assert found["surface_confidence"].max() <= 0.5


def test_layer_that_leaves_the_field_of_view_is_still_left_out():
    run = acquired("half", 0, shape=(40, 144, 192), tracked=False)
    found, truth = face_of(run), true_surface_px(run)
    in_view = truth > 12
    assert 20 < in_view.sum() < 40
    away = (found["surface_row_px"] - truth)[in_view]
    assert np.isfinite(away).mean() > 0.9
    assert np.nanmax(np.abs(away)) < 1
    assert found["crop"] == 1
    assert truth[0] < found["box_px"][0] < truth[0] + 8


def test_layer_that_wanders_in_the_aligned_stack_is_kept():
    run = acquired("bright", 0)
    false_motion = run.truth.shifts_px + np.outer(np.arange(len(run.slices)), [2.0, 0.0])
    found = face_of(run, false_motion)
    assert found["crop"] == 0
    assert any("wanders" in note for note in found["notes"])


def test_too_few_slices_say_nothing():
    run = acquired("bright", 0)
    found = find_face(measure_faces(run.slices[:6]), run.slices.shape[1:])
    assert found["crop"] == 0
    assert not np.isfinite(found["surface_row_px"]).any()
    assert "fewer than 8 slices" in found["notes"][0]


def test_bad_slices_do_not_count():
    run = acquired("bright", 1)
    slices = run.slices.copy()
    rng = np.random.default_rng(0)
    bad = [3, 4, 11]
    slices[bad] = rng.integers(0, 30, slices[bad].shape)
    found = find_face(measure_faces(slices), slices.shape[1:], run.truth.shifts_px, bad_slices=bad)
    assert found["crop"] == 1
    assert np.flatnonzero(~np.isfinite(found["surface_row_px"])).tolist() == bad
