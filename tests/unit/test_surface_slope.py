"""A flat surface must come out at its true angle: acquired with every style, reconstructed, its line fitted."""

from dataclasses import dataclass, replace
from math import atan, atan2, cos, degrees, radians, sin
from typing import ClassVar

import numpy as np
import pytest

from fibtomo import resample
from fibtomo.phantom import Specimen, acquire

STYLES = [(corrected, tracked) for corrected in (False, True) for tracked in (False, True)]
SHAPE = (48, 224, 24)
NOISE = {"noise": True, "defocus": True}


@dataclass(frozen=True)
class Ground(Specimen):
    """Solid below a flat surface whose inward normal leans by `lean_deg` from the face (y) towards its normal (z)."""

    kind: ClassVar[str] = "ground"
    greys: tuple[float, ...] = (0.2, 0.8)
    lean_deg: float = 0.0
    through_nm: tuple[float, float] = (245.0, 700.0)  # between two slices

    def phase(self, z_nm, y_nm, x_nm):
        lean = radians(self.lean_deg)
        z, y = np.asarray(z_nm) - self.through_nm[0], np.asarray(y_nm) - self.through_nm[1]
        return np.where(z * sin(lean) + y * cos(lean) + 0 * np.asarray(x_nm) > 0, 1, 0).astype(np.uint8)


def surface_points(volume, voxel_nm):
    """Places (z, y, 0), nm, where the mean over x passes half level: one per row or per slice, whichever is steeper."""
    plane = volume.astype(np.float64).mean(axis=2)
    half = (np.nanpercentile(plane, 2) + np.nanpercentile(plane, 98)) / 2
    per_axis = []
    for along, lines in ((0, plane.T), (1, plane)):
        points = []
        for i, line in enumerate(lines):
            at = np.flatnonzero((line[:-1] < half) & (line[1:] >= half))
            if len(at) == 1:
                crossing = at[0] + (half - line[at[0]]) / (line[at[0] + 1] - line[at[0]])
                points.append((crossing, i, 0) if along == 0 else (i, crossing, 0))
        per_axis.append(np.asarray(points, dtype=np.float64).reshape(-1, 3) * voxel_nm)
    return max(per_axis, key=len)


def angle_to_z_deg(points):
    """Angle of the line through points (z, y, x) against the z axis, positive where it goes down (+y) with z."""
    centred = points[:, :2] - points[:, :2].mean(axis=0)
    z, y = np.linalg.svd(centred, full_matrices=False)[2][0]
    return degrees(atan(y / z))


def lean_deg(column_angle_deg, sample_tilt_deg):
    """Angle from the face to the surface's inward normal, from their directions in the chamber (across, up)."""
    gamma, phi = radians(90 - column_angle_deg), radians(sample_tilt_deg)
    along_face, into_material = np.array([cos(gamma), -sin(gamma)]), np.array([-sin(gamma), -cos(gamma)])
    inward = np.array([sin(phi), -cos(phi)])
    return degrees(atan2(inward @ into_material, inward @ along_face))


def reconstruct(column_angle_deg, sample_tilt_deg, corrected, tracked, seed, artefacts):
    """Angle of the surface against z after reconstruction, and its points turned to the surface axes."""
    run = acquire(
        Ground(lean_deg=lean_deg(column_angle_deg, sample_tilt_deg)),
        shape=SHAPE,
        column_angle_deg=column_angle_deg,
        tilt_corrected=corrected,
        tracked=tracked,
        seed=seed,
        artefacts=artefacts,
    )
    drift = None if artefacts is NOISE else run.truth.shifts_px
    points = surface_points(resample(run.slices, run.geometry, drift, crop="valid"), 5.0)
    return angle_to_z_deg(points), replace(run.geometry, sample_tilt_deg=sample_tilt_deg).surface_axes()(points)


@pytest.mark.parametrize(("corrected", "tracked"), STYLES)
@pytest.mark.parametrize(("theta", "seed"), [(52.0, 0), (54.0, 1), (55.0, 2)])
def test_surface_flat_under_the_electron_beam_lies_at_38_degrees_to_the_face(theta, seed, corrected, tracked):
    """The angle between image plane and milled face, 90 − θ, is the one between a horizontal surface and the face."""
    to_z, turned = reconstruct(theta, 0.0, corrected, tracked, seed, NOISE)
    assert 90 + to_z == pytest.approx(90 - theta, abs=0.2)
    assert np.ptp(turned[:, 0]) > 500
    assert angle_to_z_deg(turned) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize(("corrected", "tracked"), STYLES)
@pytest.mark.parametrize("sample_tilt", [17.0, 52.0, 60.0])
def test_tilted_surface_lies_where_the_stage_put_it(sample_tilt, corrected, tracked):
    to_z, turned = reconstruct(52.0, sample_tilt, corrected, tracked, 3, NOISE)
    assert to_z == pytest.approx(sample_tilt - 52, abs=0.2)
    assert angle_to_z_deg(turned) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize(("corrected", "tracked"), STYLES)
@pytest.mark.parametrize("sample_tilt", [0.0, 17.0])
def test_surface_axes_level_the_surface_in_the_same_resample(sample_tilt, corrected, tracked):
    lean = lean_deg(52.0, sample_tilt)
    run = acquire(
        Ground(lean_deg=lean), shape=SHAPE, tilt_corrected=corrected, tracked=tracked, seed=6, artefacts=NOISE
    )
    geometry = replace(run.geometry, sample_tilt_deg=sample_tilt)
    volume = resample(run.slices.astype(np.float32), geometry, axes="surface", crop="all", fill=np.nan)
    points = surface_points(volume, 5.0)
    assert np.ptp(points[:, 0]) > 300
    assert angle_to_z_deg(points) == pytest.approx(0, abs=0.2)
    below = volume[:, int(points[:, 1].mean() / 5) + 4]
    assert np.nanmean(below) > np.nanmean(volume)


@pytest.mark.parametrize("seed", range(3))
def test_drift_curtains_and_flicker_do_not_bend_the_surface(seed):
    to_z, _ = reconstruct(52.0, 0.0, False, False, seed, "typical")
    assert 90 + to_z == pytest.approx(38.0, abs=0.2)


@pytest.mark.parametrize(("theta", "true_rows", "stored_rows"), [(52.0, 38.0, 31.6), (54.0, 36.0, 30.4)])
def test_surface_normal_to_the_ion_beam_climbs_when_the_shear_is_left_in(theta, true_rows, stored_rows):
    """What wrong statements about a fixed field of view look like: 38.0 degrees, and 31.6 in uncorrected rows."""
    run = acquire(Ground(), shape=(48, 256, 24), column_angle_deg=theta, seed=4, artefacts=NOISE)
    told_tracked = replace(run.geometry, tracked=True)
    told_both = replace(told_tracked, tilt_corrected=True)
    angles = [
        angle_to_z_deg(surface_points(resample(run.slices, geometry, crop="valid"), 5.0))
        for geometry in (run.geometry, told_tracked, told_both)
    ]
    np.testing.assert_allclose(angles, [0, -true_rows, -stored_rows], atol=0.2)


@pytest.mark.parametrize(("corrected", "tracked"), STYLES)
def test_wall_along_the_face_stays_one_slice(corrected, tracked):
    run = acquire(
        Ground(lean_deg=90.0), shape=SHAPE, tilt_corrected=corrected, tracked=tracked, seed=5, artefacts=NOISE
    )
    points = surface_points(resample(run.slices, run.geometry, crop="valid"), 5.0)
    assert abs(angle_to_z_deg(points)) == pytest.approx(90, abs=0.2)
