"""`thickness.estimate` as a stage, and what becomes of its table."""

from dataclasses import replace

import numpy as np
import pytest

from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import Calibration, Sourced, VolumeSpec
from fibtomo.errors import PipelineError
from fibtomo.ops.thickness import Thickness
from fibtomo.report import ReportData, write_report

STAGE = get_stage("thickness.estimate")


def table_of(made, calibration=None, slabs=(200,), **params):
    """Run the stage as the executor does, in slabs."""
    spec = VolumeSpec(made.slices.shape, str(made.slices.dtype), (10.0, 5.0, 5.0))
    ctx = StageContext(
        spec,
        tables={"drift": made.drift.to_table()},
        calibration=calibration or Calibration(slice_nm=Sourced(10.0, "test", "given")),
    )
    chosen = STAGE.params(**params)
    before = STAGE.needs(chosen, spec).measure_halo[0]
    partials, start = [], 0
    while start < len(made.slices):
        stop = min(len(made.slices), start + slabs[len(partials) % len(slabs)])
        low = max(0, start - before)
        partials.append(
            STAGE.measure(made.slices[low:stop], chosen, replace(ctx, z0=low, core=(start - low, stop - low)))
        )
        start = stop
    return STAGE.combine(partials, chosen, ctx)


@pytest.fixture(scope="module")
def made(cut, irregular_steps):
    return cut(irregular_steps(70, 0), 0, radius_px=3.5, shift_px=2)


@pytest.mark.parametrize("params", [{}, {"largest_gap": 5}, {"marks_roi": (0, 10, 0, 100)}])
def test_any_slabs_give_the_same(made, params):
    if "marks_roi" in params:
        slices = made.slices.copy()
        slices[:, :10] = np.where(np.isin(np.arange(slices.shape[2]) // 6, [2, 9]), 30, 200)
        made = replace(made, slices=slices)
    whole = table_of(made, **params)
    for slabs in ((1,), (3, 20), (33,)):
        part = table_of(made, slabs=slabs, **params)
        np.testing.assert_allclose(part["slice_z_nm"], whole["slice_z_nm"], rtol=1e-9)
        np.testing.assert_allclose(part["sigma_nm"], whole["sigma_nm"], rtol=1e-6)
        assert part["notes"] == whole["notes"]


def test_logged_positions_are_kept_and_compared(made):
    logged = (10.0 * made.z).tolist()
    calibration = Calibration(slice_nm=Sourced(10.0), slice_z_nm=Sourced(logged, "project", "measured"))
    table = table_of(made, calibration)
    assert table["method"] == "stated"
    np.testing.assert_allclose(table["slice_z_nm"], logged)
    words = next(note for note in table["notes"] if "correlate" in note)
    assert float(words.split("by ")[1].rstrip(".")) > 0.8
    assert table_of(made, calibration, method="images")["method"] == "images"


def test_even_log_of_irregular_slices_is_doubted(made):
    logged = (10.0 * np.arange(len(made.z))).tolist()
    calibration = Calibration(slice_nm=Sourced(10.0), slice_z_nm=Sourced(logged, "file names", "measured"))
    assert "advance evenly" in table_of(made, calibration)["notes"][1]


def test_marks_without_a_region_are_refused():
    with pytest.raises(PipelineError, match="marks_roi"):
        STAGE.params.parse({"method": "marks"}, "thickness.estimate")


def test_positions_reach_the_target_grid(made):
    found = Thickness.from_table(table_of(made))
    geometry = Geometry(voxel_nm=(10.0, 5.0, 5.0), slice_z_nm=found.slice_z_nm)
    grid = make_grid(geometry, made.slices.shape)
    np.testing.assert_allclose(grid.z_index * grid.voxel_nm[0], found.slice_z_nm)


def test_report_draws_the_thickness(made, tmp_path):
    table = table_of(made) | {"doubled": [12], "missing_before": [30]}
    text = write_report(
        tmp_path / "r.html", ReportData(title="t", command="c", thickness=table, slice_nm=10.0)
    ).read_text(encoding="utf-8")
    section = text[text.index('id="thickness"') :]
    for words in ("thickness ± σ", "nominal, 10 nm", "missing or doubled", "before 30", "the one before shows: 12"):
        assert words in section
    even = {"method": "constant", "doubled": [], "missing_before": [], "notes": []}
    even |= {name: [0.0, 1.0, 2.0] for name in ("slice_z_nm", "sigma_nm", "position_sigma_nm")}
    text = write_report(tmp_path / "e.html", ReportData(title="t", command="c", thickness=even)).read_text("utf-8")
    assert "equally thick" in text
    assert "<figure" not in text
