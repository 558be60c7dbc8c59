"""Padding: constant lines whose grey is the padding's own."""

import numpy as np
import pytest
from virtual_faces import acquired

import fibtomo
from fibtomo.ops.curtaining import remove_curtaining
from fibtomo.ops.face import find_face
from fibtomo.ops.face_measure import measure_faces
from fibtomo.ops.shading import apply_shading
from fibtomo.pipeline.config import PipelineConfig, load_pipeline


def padded(widths, value=0.0, seed=0, dtype=np.uint8):
    """Noise with its own border (top, bottom, left, right) on each slice."""
    rng = np.random.default_rng(seed)
    slices = rng.normal(120, 25, (len(widths), 90, 120)).clip(2, 250)
    for image, (top, bottom, left, right) in zip(slices, widths, strict=True):
        image[:top], image[90 - bottom :], image[:, :left], image[:, 120 - right :] = value, value, value, value
    return slices.astype(dtype)


@pytest.mark.parametrize(
    ("value", "dtype"), [(0, np.uint8), (255, np.uint8), (117.25, np.float32), (np.nan, np.float32)]
)
def test_padding_of_any_constant_is_found_on_each_slice(value, dtype):
    rng = np.random.default_rng(1)
    widths = [tuple(int(v) for v in rng.integers(0, 12, 4)) for _ in range(10)]
    slices = padded(widths, value, dtype=dtype)
    assert measure_faces(slices)["padding"].tolist() == [list(w) for w in widths]
    found = find_face(measure_faces(slices), slices.shape[1:])
    most = np.max(widths, axis=0)
    assert found["box_px"] == [most[0], 90 - most[1], most[2], 120 - most[3]]
    assert found["padding_px"] == most.tolist()
    assert found["crop"] == 1


def test_padding_moves_with_the_slices():
    widths = [(k, 0, 0, 0) for k in range(10)]
    shifts = np.stack([np.arange(10.0), np.zeros(10)], axis=1)
    found = find_face(measure_faces(padded(widths)), (90, 120), shifts)
    assert found["box_px"] == [0, 90, 0, 120]
    assert found["padding_px"] == [9, 0, 0, 0]


def test_void_and_truncated_slices_are_not_padding():
    slices = padded([(2, 0, 0, 0)] * 30)
    slices[4] = 0
    slices[9, 40:] = 0
    found = find_face(measure_faces(slices), (90, 120))
    assert found["padding_px"] == [2, 0, 0, 0]
    assert found["box_px"] == [2, 90, 0, 120]


def test_black_clipped_pores_at_the_edge_are_not_padding():
    slices = padded([(0, 0, 0, 0)] * 10)
    slices[:, 30:60, 40:80] = 0
    slices[:, :6] = 0
    found = find_face(measure_faces(slices), (90, 120))
    assert found["padding_px"] == [0, 0, 0, 0]
    assert found["crop"] == 0


def test_nothing_is_left_out_where_too_little_would_remain():
    slices = padded([(40, 38, 0, 0)] * 10)
    found = find_face(measure_faces(slices), (90, 120))
    assert found["crop"] == 0
    assert found["box_px"] == [0, 90, 0, 120]
    assert "too little would remain" in found["notes"][0]


def test_layer_below_padding_is_found():
    run = acquired("bright", 0)
    slices = np.pad(run.slices, ((0, 0), (9, 4), (5, 0)))
    found = find_face(measure_faces(slices), slices.shape[1:], run.truth.shifts_px)
    alone = find_face(measure_faces(run.slices), run.slices.shape[1:], run.truth.shifts_px)
    assert found["crop"] == 1
    assert found["padding_px"] == [9, 4, 5, 0]
    assert abs(found["box_px"][0] - alone["box_px"][0] - 9) <= 1
    away = found["surface_row_px"] - alone["surface_row_px"] - 9
    assert np.nanmax(np.abs(away)) < 0.5


def test_measured_columns_do_not_depend_on_the_slabs():
    slices = padded([(3, 0, 1, 0)] * 9)
    whole = measure_faces(slices)
    parts = [measure_faces(slices[a:b]) for a, b in ((0, 2), (2, 3), (3, 9))]
    for name, column in whole.items():
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), column)


def test_input_may_be_float_or_large():
    rng = np.random.default_rng(0)
    table = measure_faces(rng.normal(size=(1, 1100, 40)).astype(np.float32))
    assert table["down"].shape == (1, 366, 5)
    assert table["across"].shape == (1, 40, 24)


@pytest.mark.parametrize("pipeline", ["default", "nanoporous-metal"])
def test_padding_of_an_earlier_alignment_survives_the_corrections_and_is_left_out(tmp_path, pipeline):
    run = acquired("metal", 0, artefacts="typical")
    rng = np.random.default_rng(0)
    n, rows, cols = run.slices.shape
    slices = np.zeros((n, rows + 30, cols + 20), np.uint8)
    wander = np.array([15, 10]) + np.cumsum(rng.integers(-2, 3, (n, 2)), axis=0)
    places = np.clip(wander, 0, [30, 20])
    for image, inside, (y, x) in zip(slices, run.slices, places, strict=True):
        image[y : y + rows, x : x + cols] = inside
    stages = [
        c for c in load_pipeline(pipeline).calls if c.name.split(".")[0] in {"intensity", "curtain", "drift", "face"}
    ]
    geometry = run.truth.geometry
    stack = fibtomo.open_stack(
        slices, voxel_nm=geometry.voxel_nm, column_angle_deg=52.0, tilt_corrected=False, tracked=True
    )
    result = fibtomo.run(stack, tmp_path / "out", PipelineConfig("t", "", tuple(stages)))
    found = result.provenance["tables"]["face"]
    (top, left), (bottom, right) = places.max(axis=0), (30, 20) - places.min(axis=0)
    assert found["padding_px"] == [top, bottom, left, right]
    assert len(result.drift.bad_slices) == 0
    y0, y1, x0, x1 = found["box_px"]
    assert rows - 9 <= y1 - y0 <= rows
    assert cols - 9 <= x1 - x0 <= cols


def test_curtains_and_shading_leave_padding_as_it_is():
    run = acquired("metal", 0, artefacts="typical")
    slices = np.pad(run.slices, ((0, 0), (9, 0), (0, 12)), constant_values=255)
    alone = remove_curtaining(run.slices)
    np.testing.assert_array_equal(remove_curtaining(slices)[:, 9:, :-12], alone)
    assert (remove_curtaining(slices)[:, :9] == 255).all()
    shaded = apply_shading(slices, np.linspace(0.8, 1.2, 64**2).reshape(64, 64))
    assert (shaded[:, :9] == 255).all()
    assert (shaded[:, :, -12:] == 255).all()
    assert not np.array_equal(shaded[:, 9:, :-12], slices[:, 9:, :-12])


@pytest.mark.parametrize(("step", "left_out"), [(3, True), (4, False)])
def test_padding_that_covers_most_of_what_slices_show_is_kept(step, left_out):
    """An aligned fixed field of view: the specimen stands still, the padding wanders."""
    slices = padded([(step * k, 8 * step - step * k, 0, 0) for k in range(9)])
    found = find_face(measure_faces(slices), (90, 120))
    assert found["crop"] == left_out
    assert ("too little would remain" in found["notes"][0]) != left_out
