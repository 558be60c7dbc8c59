"""The face as the report and a whole run show it."""

import numpy as np
from virtual_faces import acquired, true_surface_px

import fibtomo
from fibtomo.ops.face import find_face
from fibtomo.ops.face_measure import measure_faces
from fibtomo.pipeline.config import parse_pipeline
from fibtomo.report import ReportData
from fibtomo.report.document import build
from fibtomo.report.face import draw_face, face
from fibtomo.report.sections import left_out

PIPELINE = """
schema: 1
summary: face only
stages:
  - use: drift.estimate
  - use: face.find
  - use: geometry.resample
"""


def table(**changes):
    found = {
        "box_px": [10, 60, -2, 84],
        "crop": 1,
        "padding_px": [0, 0, 0, 0],
        "surface_row_px": [None, 7.5, 7.0],
        "surface_slope": 0.05,
        "notes": ["rows 0–9: protective layer, left out"],
    }
    return found | changes


def test_box_and_surface_are_drawn():
    image = np.random.default_rng(0).integers(80, 160, (60, 80), dtype=np.uint8)
    picture = draw_face(image, (10, 60, -2, 84), (7.0, 0.0))
    assert picture.shape == (60, 80, 3)
    assert picture[10, 40].tolist() == [255, 170, 40]
    assert picture[7, 5].tolist() == [90, 200, 250]
    assert picture[:6].mean() < 0.6 * picture[20:50, 10:70].mean()


def test_nothing_is_drawn_where_nothing_was_found():
    assert face(ReportData("t", "c")) == ""
    assert face(ReportData("t", "c", face=table(notes=[], crop=0, surface_row_px=[None] * 3))) == ""


def test_off_leaves_nothing_out_and_says_so():
    run = acquired("bright", 0)
    off = find_face(measure_faces(run.slices), run.slices.shape[1:], run.truth.shifts_px, leave_out=False)
    assert off["crop"] == 0
    assert off["box_px"][1] - off["box_px"][0] >= run.slices.shape[1]
    assert left_out(off) == []
    assert "kept, as was asked" in off["notes"][0]


def test_section_says_what_was_left_out():
    raw = np.random.default_rng(0).integers(80, 160, (3, 60, 80), dtype=np.uint8)
    page = build(ReportData("t", "c", face=table(), raw=raw))
    assert "Rows 0–9: protective layer, left out." in page
    assert "The surface was followed on 2 of 3 slices" in page
    assert "Slice 1 as stored." in page
    assert "data:image/jpeg" in face(ReportData("t", "c", face=table(), raw=raw))


def test_run_leaves_the_layer_out_of_the_volume(tmp_path):
    acquisition = acquired("bright", 0)
    geometry = acquisition.truth.geometry
    stack = fibtomo.open_stack(
        acquisition.slices,
        voxel_nm=geometry.voxel_nm,
        column_angle_deg=52.0,
        tilt_corrected=False,
        tracked=True,
    )
    result = fibtomo.run(stack, tmp_path / "out", pipeline=parse_pipeline(PIPELINE, "t"))
    volume = np.asarray(result.volume)
    height_px = acquisition.slices.shape[1] - true_surface_px(acquisition).max()
    rows = height_px * geometry.true_voxel_nm[1] / 5.0
    assert rows - 14 < volume.shape[1] <= rows
    brightest = np.quantile(acquisition.slices[:, 80:], 0.999)
    assert (volume > brightest + 15).mean() < 1e-3
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "protective layer, left out" in page
    assert "Field of view" in page
    assert "Left out of the slices: rows 0–" in page
