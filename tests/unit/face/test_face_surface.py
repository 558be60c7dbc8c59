"""The surface line: its slope, and what it says about tracking."""

from math import atan, degrees

import numpy as np
import pytest
from virtual_faces import acquired, face_of

from fibtomo.core.geometry import Geometry
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
