"""The forward model against closed forms."""

import numpy as np
import pytest

from fibtomo.core.grid import make_grid
from fibtomo.phantom import acquire
from fibtomo.phantom.capped import Capped
from fibtomo.phantom.specimens import Layered

SURFACE_NM = 400.0
FLAT = Capped(below=Layered(greys=(0.2,), thickness_nm=(50.0,)), surface_nm=SURFACE_NM, cap_grey=0.9)


def surface_rows(run):
    """Sub-pixel row of the flat surface on every slice: all above is bright, all below dark."""
    bright = (run.truth.ideal.mean(axis=2) - 0.2) / 0.7
    return bright.sum(axis=1) - 0.5


@pytest.mark.parametrize(
    ("angle", "corrected", "tracked", "shear", "dip"),
    [
        (52.0, False, False, 1.2313, 31.6),
        (52.0, True, False, 1.5626, 38.0),
        (54.0, False, False, 1.1756, 30.4),
        (52.0, False, True, 0.0, 0.0),
        (90.0, False, False, 0.0, 0.0),
    ],
)
def test_flat_surface_rises_by_the_shear(angle, corrected, tracked, shear, dip):
    run = acquire(
        FLAT,
        shape=(40, 120, 4),
        column_angle_deg=angle,
        tilt_corrected=corrected,
        tracked=tracked,
        artefacts="none",
        oversample=8,
        dtype="float32",
    )
    rows = surface_rows(run)
    slope = np.polyfit(np.arange(40), rows, 1)[0]
    assert slope == pytest.approx(-shear, abs=2e-3)
    assert np.degrees(np.arctan(-slope * 5 / 10)) == pytest.approx(dip, abs=0.1)
    assert rows[0] == pytest.approx(SURFACE_NM / run.truth.geometry.true_voxel_nm[1], abs=0.07)


def test_surface_is_inclined_by_38_degrees_in_true_scale():
    run = acquire(FLAT, shape=(40, 120, 4), artefacts="none", oversample=8)
    dz, dy, _ = run.geometry.true_voxel_nm
    slope = np.polyfit(np.arange(40) * dz, surface_rows(run) * dy, 1)[0]
    assert dy / 5 == pytest.approx(1.26902, abs=1e-5)
    assert np.degrees(np.arctan(-slope)) == pytest.approx(38.0, abs=0.1)


def test_shifts_hold_drift_and_shear():
    run = acquire(shape=(12, 16, 16), artefacts={"jitter": True, "drift": True})
    geometric = run.geometry.expected_shifts_px(12)
    assert np.allclose(run.truth.shifts_px, run.truth.drift_px + geometric)
    assert run.truth.drift_px[0].tolist() == [0, 0]
    assert np.abs(run.truth.drift_px[1:]).min() > 0


def test_irregular_thickness_moves_the_surface_by_the_true_advance():
    run = acquire(FLAT, shape=(30, 120, 4), artefacts={"thickness": {"white": 0.3}}, oversample=8)
    expected = surface_rows(run)[0] - run.truth.slice_z_nm * run.geometry.shear_px_per_nm
    assert surface_rows(run) == pytest.approx(expected, abs=0.13)
    assert run.geometry.slice_z_nm == tuple(run.truth.slice_z_nm)


def test_true_volume_is_flat_where_the_specimen_is():
    run = acquire(FLAT, shape=(30, 120, 20), artefacts={"drift": {"rate_px": 0.5}, "jitter": True})
    volume = make_grid(run.geometry, run.truth.shape, run.truth.shifts_px, voxel_nm=4.0, crop="all")
    phase = run.truth.phase_at(volume)
    dy = run.geometry.true_voxel_nm[1]
    surface = (SURFACE_NM - volume.row_start[0] * dy) / 4.0
    rows = np.arange(volume.shape[1])[None, :, None]
    assert np.array_equal(phase == 1, np.broadcast_to(rows < surface, volume.shape))


def test_true_volume_agrees_with_the_slices_put_back():
    run = acquire(
        {"kind": "nanoporous_metal", "wavelength_nm": 170},
        shape=(24, 80, 72),
        artefacts={"drift": {"rate_px": 0.6}, "jitter": {"rms_px": 1.5}, "thickness": True},
    )
    volume = make_grid(run.geometry, run.truth.shape, run.truth.shifts_px)
    truth = run.truth.phase_at(volume)
    nearest = np.abs(volume.z_index[:, None] - np.arange(volume.shape[0])).argmin(axis=0)
    back = np.empty_like(truth)
    for i, k in enumerate(nearest):
        row = np.rint(volume.row_start[k] + np.arange(volume.shape[1]) * volume.row_scale).astype(int)
        col = np.rint(volume.col_start[k] + np.arange(volume.shape[2]) * volume.col_scale).astype(int)
        back[i] = run.truth.phase[k][np.clip(row, 0, 79)[:, None], np.clip(col, 0, 71)]
    dice = 2 * (back & truth).sum() / (back.sum() + truth.sum())
    assert dice > 0.96
    part = run.truth.phase_at(volume, 5, 9)
    assert np.array_equal(part, truth[5:9])
