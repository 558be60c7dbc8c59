"""Odd but legitimate input: few slices, gaps in float data, extreme shapes, containers that say too much."""

import numpy as np
import pytest
import tifffile

import fibtomo
from fibtomo.cli.app import run_cli
from fibtomo.errors import InputError, StackError
from fibtomo.ops.intensity import correct_intensity


@pytest.fixture
def grey():
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(0)
    solid = gaussian_filter(noise.normal(size=(12, 64, 80)), 3) > 0
    return np.clip(np.where(solid, 170, 70) + noise.normal(0, 8, solid.shape), 0, 255).astype(np.uint8)


def test_two_slices_have_a_drift(grey):
    pair = np.stack([grey[0, 4:60, 6:70], grey[0, 2:58, 3:67]])
    assert fibtomo.estimate_drift(pair).shifts_px[1] == pytest.approx([2, 3], abs=0.2)


def test_two_slices_run(grey, tmp_path):
    run = fibtomo.run(grey[:2], tmp_path / "out", voxel_nm=(10, 5, 5))
    assert np.isfinite(np.asarray(run.volume)).all()


def test_gaps_in_float_data_stay_where_they_are(grey, tmp_path):
    floats = grey.astype(np.float32) / 255
    floats[3, 10:20, 10:20] = np.nan
    floats[6] = np.nan
    floats[9, 0, 0] = np.inf
    stack = fibtomo.open_stack(floats, voxel_nm=(10, 5, 5))
    assert any("NaN" in text for text in stack.warnings)
    run = fibtomo.run(stack, tmp_path / "out", "quick-look")
    assert 6 in run.drift.bad_slices
    assert len(run.drift.bad_slices) == 1
    assert np.isfinite(np.asarray(run.volume)).all()
    assert (np.asarray(run.labels) != 255).mean() > 0.95


def test_correct_intensity_asks_for_finite_greys(grey):
    with pytest.raises(InputError, match="nan_to_num"):
        correct_intensity(np.where(grey > 100, np.nan, grey))


def test_complex_arrays_are_refused(grey):
    with pytest.raises(InputError, match="complex128"):
        fibtomo.open_stack(grey.astype(complex))


def test_channels_of_a_tiff_are_not_called_colour(grey, tmp_path):
    both = np.stack([grey, 255 - grey], axis=1)
    tifffile.imwrite(tmp_path / "two.tif", both, imagej=True, metadata={"axes": "ZCYX"})
    stack = fibtomo.open_stack(tmp_path / "two.tif", voxel_nm=(10, 5, 5))
    assert len(stack.channels) == 2
    assert not any("colour" in text for text in stack.warnings)


def test_nifti_without_scale_is_not_a_millimetre(grey, tmp_path):
    SimpleITK = pytest.importorskip("SimpleITK")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(grey), str(tmp_path / "a.nii"))
    assert fibtomo.open_stack(tmp_path / "a.nii").voxel_nm is None


def test_any_array_like_will_do(grey):
    stack = fibtomo.open_stack(grey, voxel_nm=(10, 5, 5))
    assert np.array_equal(np.asarray(stack), grey)
    expected = fibtomo.segment(grey)
    for other in (stack, stack.data, grey.tolist()):
        assert np.array_equal(fibtomo.segment(other), expected)
    assert np.array_equal(fibtomo.correct_intensity(stack), fibtomo.correct_intensity(grey))
    assert np.array_equal(fibtomo.denoise(stack), fibtomo.denoise(grey))
    assert np.array_equal(fibtomo.estimate_drift(grey.tolist()).shifts_px, fibtomo.estimate_drift(stack).shifts_px)


def test_run_and_settings_as_plain_texts(grey, tmp_path):
    fibtomo.run(grey, tmp_path / "out", "drift-only", voxel_nm=(10, 5, 5), settings="geometry.resample.method=linear")
    run = fibtomo.Run(str(tmp_path / "out"))
    assert "method: linear" in run.provenance["pipeline_yaml"]
    assert run.report_path.is_file()


def test_geometry_refuses_a_single_length():
    with pytest.raises(InputError, match="three positive lengths"):
        fibtomo.Geometry(voxel_nm=5.0)


@pytest.mark.parametrize("dtype", ["bool", "int16", "float32"])
def test_only_greys_are_inverted(dtype, grey, tmp_path):
    values = (grey > 100).astype(dtype)
    tifffile.imwrite(tmp_path / "pages.tif", values, photometric="miniswhite")
    (tmp_path / "slices").mkdir()
    for k, page in enumerate(values):
        tifffile.imwrite(tmp_path / "slices" / f"s_{k:02d}.tif", page, photometric="miniswhite")
    for place in ("pages.tif", "slices"):
        assert np.array_equal(np.asarray(fibtomo.open_stack(tmp_path / place)) > 0, values > 0)


def test_labels_of_untouched_slices_are_kept(grey, tmp_path, capsys):
    (tmp_path / "p.yaml").write_text("stages: [segment.otsu, measure.phases]")
    run = fibtomo.run(grey, tmp_path / "out", tmp_path / "p.yaml", voxel_nm=(10, 5, 5))
    assert np.array_equal(np.asarray(run.labels), fibtomo.segment(grey, method="otsu"))
    assert run.voxel_nm == (10, 5, 5)
    assert run_cli(["measure", str(tmp_path / "out")]) == 0


def test_a_run_may_leave_tables_only(grey, tmp_path):
    (tmp_path / "p.yaml").write_text("stages: [drift.estimate]")
    run = fibtomo.run(grey, tmp_path / "out", tmp_path / "p.yaml", voxel_nm=(10, 5, 5))
    assert len(run.drift) == len(grey)
    assert run.voxel_nm is None
    with pytest.raises(InputError, match="its pipeline did not make it"):
        _ = run.volume


def test_a_tall_volume_has_a_report(tmp_path):
    tall = np.random.default_rng(0).integers(0, 255, (4, 1000, 16), dtype=np.uint8)
    (tmp_path / "p.yaml").write_text("stages: [segment.otsu]")
    run = fibtomo.run(tall, tmp_path / "out", tmp_path / "p.yaml", voxel_nm=(5, 5, 5))
    assert run.report_path.stat().st_size < 5e6


def test_a_broken_link_is_named(grey, tmp_path, capsys):
    for k in range(3):
        tifffile.imwrite(tmp_path / f"s_{k}.tif", grey[k])
    (tmp_path / "s_3.tif").symlink_to(tmp_path / "gone.tif")
    with pytest.raises(StackError, match=r"s_3\.tif"):
        fibtomo.open_stack(tmp_path)


def test_unmeasured_drift_is_said_aloud(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (6, 64, 64), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "noise.tif", noise)
    words = ["run", tmp_path / "noise.tif", "-o", tmp_path / "out", "--voxel-nm", "5", "5", "5", "-p", "drift-only"]
    assert run_cli([str(w) for w in words]) == 0
    assert "6 of 6 slices" in capsys.readouterr().err
