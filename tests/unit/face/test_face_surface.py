"""The surface line: its slope, and what it says about tracking."""

from dataclasses import replace
from math import atan, degrees

import numpy as np
import pytest
from virtual_faces import acquired, face_of

from fibtomo import resample
from fibtomo.core.geometry import Geometry
from fibtomo.ops.face import find_face
from fibtomo.ops.face_measure import measure_faces
from fibtomo.ops.face_surface import evidence_from_surface, motion_candidates, surface_slope

FIXED = motion_candidates(Geometry((10.0, 5.0, 5.0), column_angle_deg=52.0))


def rows(slope_px_per_nm, n=200, seed=0, jitter_px=0.5, walk_px=0.05):
    rng = np.random.default_rng(seed)
    z = np.arange(n) * 10.0
    return 300 + slope_px_per_nm * z + rng.normal(0, jitter_px, n) + np.cumsum(rng.normal(0, walk_px, n)), z


@pytest.mark.parametrize("seed", range(4))
def test_slope_is_found_despite_gaps_and_outliers(seed):
    line, z = rows(-0.1, seed=seed, walk_px=0.0)
    rng = np.random.default_rng(seed)
    line[rng.integers(0, 200, 20)] = np.nan
    line[rng.integers(0, 200, 10)] += 60
    found = surface_slope(line, z)
    assert found.px_per_nm == pytest.approx(-0.1, abs=0.001)
    assert found.rough_px == pytest.approx(0.5, rel=0.3)


def test_error_covers_the_slow_drift():
    away = []
    for seed in range(40):
        line, z = rows(0.0, n=150, seed=seed, walk_px=0.3)
        found = surface_slope(line, z)
        away.append(found.px_per_nm / found.sigma_px_per_nm)
    assert np.std(away) < 1.3


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_tracking_is_told(tracked, seed):
    line, z = rows(FIXED[tracked], seed=seed)
    found = evidence_from_surface(line, z, FIXED)
    assert (found.fact, found.value, found.decisive) == ("tracked", tracked, True)
    assert "rows per µm" in found.text


def test_motion_that_fits_neither_candidate_decides_nothing():
    line, z = rows(-0.06)
    found = evidence_from_surface(line, z, FIXED)
    assert found.value is None
    assert not found.decisive
    line, z = rows(+0.2)
    assert evidence_from_surface(line, z, FIXED).value is None


def test_nothing_to_tell_at_right_angles_or_without_surface():
    line, z = rows(0.0)
    same = motion_candidates(Geometry((10.0, 5.0, 5.0), column_angle_deg=90.0))
    assert evidence_from_surface(line, z, same).value is None
    assert evidence_from_surface(np.full(200, np.nan), z, FIXED).value is None


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_flat_surface_of_an_unsheared_stack_is_inclined_by_38_degrees(corrected, seed):
    still = {"jitter": {"rms_px": 0.3}, "noise": True, "curtains": True, "flicker": True}
    run = acquired("half", seed, (40, 176, 160), False, 10.0, corrected, artefacts=_frozen(still))
    line = face_of(run, np.zeros((40, 2)))["surface_row_px"]
    slope = surface_slope(line, run.truth.slice_z_nm)
    true_row_nm = run.truth.geometry.true_voxel_nm[1]
    assert degrees(atan(-slope.px_per_nm * true_row_nm)) == pytest.approx(38.0, abs=0.2)
    if not corrected:
        assert degrees(atan(-slope.px_per_nm * 5.0)) == pytest.approx(31.6, abs=0.2)
    found = evidence_from_surface(line, run.truth.slice_z_nm, motion_candidates(run.truth.geometry))
    assert (found.value, found.decisive) == (False, True)


def slope_deg(rows_px, z_nm, row_nm):
    return degrees(atan(-surface_slope(rows_px, z_nm).px_per_nm * row_nm))


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 6))])
def test_wavy_surface_climbs_at_38_degrees_on_slices_and_in_the_unsheared_volume(corrected, seed):
    """31.6 degrees in rows that were not stretched either; the waves' own slope is taken off."""
    still = {"jitter": {"rms_px": 0.2}, "noise": True, "curtains": True, "flicker": True, "defocus": True}
    run = acquired("deep and wavy", seed, (48, 208, 176), False, 10.0, corrected, artefacts=_frozen(still))
    geometry, truth = run.truth.geometry, run.truth
    x = np.arange(176) * 5.0
    waves = surface_slope(truth.specimen.surface_at(truth.slice_z_nm[:, None], x).mean(axis=1), truth.slice_z_nm)
    own_deg = degrees(atan(waves.px_per_nm))
    motionless = np.zeros((48, 2))
    line = face_of(run, motionless)["surface_row_px"]
    told = [(replace(geometry, tracked=True), 38.0)]
    if not corrected:
        told += [(replace(geometry, tracked=True, tilt_corrected=True), 31.6)]
    for stated, expected in told:
        row_nm = stated.true_voxel_nm[1]
        assert slope_deg(line, truth.slice_z_nm, row_nm) + own_deg == pytest.approx(expected, abs=0.25)
        volume = resample(run.slices, stated, voxel_nm=5.0, crop="valid")
        found = find_face(measure_faces(volume), volume.shape[1:])["surface_row_px"]
        assert slope_deg(found, np.arange(len(volume)) * 5.0, 5.0) + own_deg == pytest.approx(expected, abs=0.25)
    found = evidence_from_surface(line, truth.slice_z_nm, motion_candidates(geometry))
    assert (found.value, found.decisive) == (False, True)


@pytest.mark.parametrize(
    ("tracked", "seed", "artefacts"),
    [
        (False, 1, "typical"),
        *(pytest.param(t, s, "all", marks=pytest.mark.slow) for t in (True, False) for s in range(5)),
    ],
)
def test_surface_never_tells_the_wrong_tracking_however_the_stage_drifts(tracked, seed, artefacts):
    run = acquired("wavy" if tracked else "deep and wavy", seed, (48, 208, 176), tracked, 10.0, artefacts=artefacts)
    line = face_of(run, np.zeros((48, 2)))["surface_row_px"]
    told = evidence_from_surface(line, np.arange(48) * 10.0, motion_candidates(run.truth.geometry)).value
    assert told in {tracked, None}


def test_tracked_stack_is_told_without_knowing_its_motion():
    run = acquired("inclined", 1)
    line = face_of(run, np.zeros((len(run.slices), 2)))["surface_row_px"]
    found = evidence_from_surface(line, run.truth.slice_z_nm, motion_candidates(run.truth.geometry))
    assert (found.value, found.decisive) == (True, True)


def _frozen(artefacts):
    from fibtomo.phantom import Artefacts

    class Hashable(Artefacts):
        __hash__ = object.__hash__

    return Hashable.of(artefacts)
