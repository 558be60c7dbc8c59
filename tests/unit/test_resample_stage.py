"""geometry.resample: which tables of earlier stages, and which parameters, lead to which grid."""

import numpy as np
import pytest

from fibtomo.builtin_stages.geometry import ResampleParams, grid_of
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import OUTSIDE, Calibration, Sourced, VolumeSpec
from fibtomo.core.warp import Warp
from fibtomo.errors import DeviceMemoryError, InputError
from fibtomo.ops.segmentation import segment
from fibtomo.pipeline.budget import Machine
from fibtomo.pipeline.config import parse_pipeline
from fibtomo.pipeline.outputs import write_volume_slices
from fibtomo.pipeline.plan import make_plan

SPEC = VolumeSpec((8, 30, 40), "uint8", (10.0, 5.0, 5.0))
KNOWN = Calibration(
    pixel_nm=Sourced((5.0, 5.0)),
    slice_nm=Sourced(10.0),
    column_angle_deg=Sourced(52.0),
    tilt_corrected=Sourced(True),
    tracked=Sourced(True),
    sample_tilt_deg=Sourced(10.0),
)


def grid(tables=None, spec=SPEC, **params):
    return grid_of(ResampleParams(**params), StageContext(spec=spec, tables=tables or {}, calibration=KNOWN))


def test_measured_positions_replace_nominal_ones_and_doubled_slices_are_left_out():
    z = np.array([0, 10, 10, 25, 35, 45, 60, 70.0])
    made = grid({"thickness": {"slice_z_nm": z, "doubled": [2]}, "drift": {"shifts_px": np.zeros((8, 2))}})
    np.testing.assert_allclose(made.z_index, z / 5, atol=1e-4)
    assert made.good.tolist() == [0, 1, 3, 4, 5, 6, 7]
    in_voxels = Calibration(others={"in_voxels": Sourced(True)})
    ctx = StageContext(
        spec=SPEC.with_(voxel_nm=None), tables={"thickness": {"slice_z_nm": z, "doubled": [2]}}, calibration=in_voxels
    )
    np.testing.assert_allclose(grid_of(ResampleParams(), ctx).z_index[[0, 3, -1]], [0, 2.5, 7], atol=1e-4)


def test_what_rests_on_interpolation_across_bad_slices_is_told_or_left_out(tmp_path):
    tables = {"drift": {"shifts_px": np.zeros((8, 2)), "bad_slices": [3, 4, 7]}}
    stage = get_stage("geometry.resample")
    ctx = StageContext(spec=SPEC, tables=tables, calibration=KNOWN)
    told = stage.side_tables(ResampleParams(), ctx)
    across = np.flatnonzero(told["valid"]["bridged"])
    assert (across * 5).tolist() == [25, 30, 35, 40, 45]  # nm, between slices 2 and 5
    assert len(told["valid"]["bridged"]) == 13  # up to slice 6
    assert told["grid"]["bridged_share"] == pytest.approx(5 / 13)
    write_volume_slices(tmp_path / "slices.csv", told["valid"], 5.0)
    lines = (tmp_path / "slices.csv").read_text().splitlines()
    assert lines[0] == "slice,z_nm,y0,y1,x0,x1,interpolated"
    assert lines[6].split(",")[:3] == ["5", "25", "0"]
    assert [line.split(",")[-1] for line in lines[1:]] == ["1" if k in across else "0" for k in range(13)]
    left_out = stage.side_tables(ResampleParams(across_bad="leave out"), ctx)
    assert not left_out["valid"]["boxes"][across].any()
    assert left_out["grid"]["bridged_share"] == 0


def test_the_face_crops_only_where_it_is_sure_and_wanted():
    face = {"face": {"box_px": [4, 20, 5, 33], "crop": 1}}
    assert grid(face).shape[1:] == (16, 28)
    assert grid(face, roi="off").shape[1:] == (30, 40)
    assert grid(face, roi=(0, 10, 0, 11)).shape[1:] == (10, 11)
    face["face"]["crop"] = 0
    assert grid(face).shape[1:] == (30, 40)


def test_the_word_off_survives_yaml():
    config = parse_pipeline("stages:\n  - use: geometry.resample\n    with: {roi: off}\n", "mine")
    assert config.calls[0].params.roi == "off"


def test_warps_come_from_a_file_or_a_table(tmp_path):
    warp = Warp(np.random.default_rng(0).uniform(-1, 1, (8, 3, 3, 2)), (30, 40))
    warp.save(tmp_path / "w.npz")
    from_file, from_table = grid(warp=str(tmp_path / "w.npz")), grid({"warp": warp.to_table()})
    np.testing.assert_allclose(from_file.warp.nodes_px, from_table.warp.nodes_px, atol=1e-6)
    assert grid().separable
    with pytest.raises(InputError, match=r"no file .*gone\.npz"):
        grid(warp=str(tmp_path / "gone.npz"))


def test_segmentation_keeps_to_spans_exactly():
    stage, params = get_stage("geometry.resample"), ResampleParams(axes="surface")
    ctx = StageContext(spec=SPEC, calibration=KNOWN)
    made = grid_of(params, ctx)
    valid = stage.side_tables(params, ctx)["valid"]
    seen = made.valid_mask(0, made.shape[0])
    assert 0.1 < seen.mean() < 0.9
    volume = np.where(seen, np.random.default_rng(0).integers(50, 200, made.shape), 0).astype(np.uint8)
    labels = segment(volume, method="otsu", valid_boxes=valid["spans"])
    np.testing.assert_array_equal(labels == OUTSIDE, ~seen)
    box = made.valid_boxes(0, made.shape[0])
    for z, (y0, y1, x0, x1) in enumerate(box):
        rows, cols = np.flatnonzero(seen[z].any(axis=1)), np.flatnonzero(seen[z].any(axis=0))
        expected = (rows[0], rows[-1] + 1, cols[0], cols[-1] + 1) if len(rows) else (0, 0, 0, 0)
        assert (y0, y1, x0, x1) == expected


def test_the_planner_knows_how_many_slices_surface_axes_read():
    raw = VolumeSpec((400, 400, 400), "uint8", (10.0, 5.0, 5.0))
    text = "stages:\n  - use: geometry.resample\n    with: {{axes: {}}}\n"
    config = {axes: parse_pipeline(text.format(axes), "mine") for axes in ("specimen", "surface")}
    budget = 20 * 2**20
    assert make_plan(config["specimen"], raw, KNOWN, Machine(budget, 1)).sections[0].slab >= 1
    with pytest.raises(DeviceMemoryError, match=r"across \d+ of the stack: --set geometry\.resample\.axes=specimen"):
        make_plan(config["surface"], raw, KNOWN, Machine(budget, 1))
