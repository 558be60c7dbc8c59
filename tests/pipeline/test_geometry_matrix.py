"""Raw slices of the four usual ways to acquire come out true to scale with no parameter given.

The ways: tilt correction of the scan on or off, field of view that tracks the face or stays fixed to the sample.
Jitter, curtains, flicker, defocus and noise are on; slow drift is not, because no image tells it from structure.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import fibtomo
from fibtomo.core.volume import OUTSIDE
from fibtomo.phantom import acquire, load_truth, write_slices
from fibtomo.phantom.packing import InclinedColumns, Particles
from fibtomo.phantom.samples import BINDER, MILD, SILVER
from fibtomo.phantom.specimens import NanoporousMetal, Tpms

STEADY = {**MILD, "drift": None}
UNFILLED = {**STEADY, "shine_through": {"decay_nm": 80.0}, "edge_rim": {"gain": 0.15}}
STYLES = [(corrected, tracked) for corrected in (False, True) for tracked in (False, True)]
NAMES = [f"{'corrected' if c else 'raw'}-{'tracked' if t else 'fixed'}" for c, t in STYLES]
ELECTRODE = Particles(greys=(0.2, 0.48, 0.8), radius_nm=130.0, spread=0.25, fraction=0.32, matrix=BINDER)


def dice(a, b):
    return 2 * float(np.count_nonzero(a & b)) / float(np.count_nonzero(a) + np.count_nonzero(b))


def reconstruct(folder, specimen, style, seed, shape, artefacts=STEADY, vendor="thermo", column_angle_deg=52.0):
    """Brightest phase of the reconstruction and of the specimen there, and what was seen at all."""
    corrected, tracked = style
    write_slices(
        acquire(
            specimen,
            shape=shape,
            column_angle_deg=column_angle_deg,
            tilt_corrected=corrected,
            tracked=tracked,
            artefacts=artefacts,
            seed=seed,
            oversample=1,
        ),
        folder / "slices",
        vendor=vendor,
        z_in_names=vendor == "zeiss",
    )
    phases = len(specimen.greys)
    pipeline = "default" if phases == 2 else "battery_electrode"
    off = [f"{stage}=off" for stage in ("mesh.surface", "label.components")]
    result = fibtomo.run(folder / "slices", folder / "out", pipeline=pipeline, settings=off)
    truth = load_truth(folder / "slices")
    labels = result.labels.compute()
    true = at_voxels(result, truth)
    seen = labels != OUTSIDE
    return SimpleNamespace(
        result=result, truth=truth, found=(labels == phases - 1) & seen, true=(true == phases - 1) & seen, seen=seen
    )


def at_voxels(result, truth):
    """The specimen at the voxels of the reconstruction, whose absolute place is free: the mean drift error is zero."""
    grid = result.provenance["tables"]["grid"]
    row, col = (result.drift.shifts_px - truth.shifts_px).mean(axis=0)
    place = SimpleNamespace(
        shape=result.labels.shape,
        voxel_nm=result.voxel_nm,
        row_start=np.asarray(grid["row_start"]) + row,
        col_start=np.asarray(grid["col_start"]) + col,
    )
    return truth.phase_at(place)


@pytest.mark.parametrize("style", STYLES, ids=NAMES)
def test_every_style_is_true_to_scale(tmp_path, style):
    got = reconstruct(tmp_path, SILVER, style, 0, (32, 224, 256))
    assert dice(got.found, got.true) >= 0.97
    assert got.result.voxel_nm == pytest.approx((5.0, 5.0, 5.0))


SPECIMENS = {
    "silver": (SILVER, STEADY, "thermo", 52.0),
    "silver, empty pores": (SILVER, UNFILLED, "thermo", 52.0),
    "coarse silver": (NanoporousMetal(greys=(0.28, 0.72), wavelength_nm=260.0, seed=5), STEADY, "tescan", 55.0),
    "gyroid": (Tpms(surface="gyroid", period_nm=240.0), STEADY, "thermo", 52.0),
    "fibres": (InclinedColumns(radius_nm=60.0, lean_y_deg=0.0, lean_x_deg=0.0), STEADY, "zeiss", 54.0),
    "electrode": (ELECTRODE, STEADY, "zeiss", 54.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES, ids=NAMES)
@pytest.mark.parametrize("name", SPECIMENS)
def test_every_specimen_in_every_style(tmp_path, name, style):
    specimen, artefacts, vendor, angle = SPECIMENS[name]
    got = reconstruct(tmp_path, specimen, style, 1, (64, 256, 320), artefacts, vendor, angle)
    if "empty" in name:
        # what is seen through the pores is another stage's matter; here the geometry counts
        error = got.result.drift.shifts_px - got.truth.shifts_px
        assert np.abs(error - error.mean(axis=0)).max() < 1.5
    else:
        assert dice(got.found, got.true) >= 0.97
