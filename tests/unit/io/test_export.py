"""What is exported can be opened again, here and by other programs, with its voxel size."""

import json

import numpy as np
import pytest
import SimpleITK
import tifffile

from fibtomo.errors import InputError, OutputError
from fibtomo.io import export as exporting
from fibtomo.io.export import export
from fibtomo.io.open import open_stack

VOXEL = (10.0, 6.25, 5.5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("name", ["v.tif", "v.nrrd", "v.mha", "v.raw", "v.nii", "v.nii.gz", "folder"])
def test_round_trip(tmp_path, volume, name, dtype):
    data = volume.astype(dtype)
    written = export(open_stack(data, voxel_nm=VOXEL), tmp_path / "new" / name)
    stack = open_stack(written)
    np.testing.assert_array_equal(stack.read(0, 6), data)
    assert stack.dtype == dtype
    assert stack.pixel_nm == pytest.approx(VOXEL[1:], rel=1e-5)
    if not (name == "folder" and dtype == "int16"):
        assert stack.voxel_nm == pytest.approx(VOXEL, rel=1e-5)
    assert not list((tmp_path / "new").glob(".part*"))


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
def test_simpleitk_reads_it(tmp_path, volume, name):
    image = SimpleITK.ReadImage(str(export(volume, tmp_path / name, voxel_nm=VOXEL)))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), volume)
    assert image.GetSpacing() == pytest.approx(VOXEL[::-1])


def test_fiji_reads_the_spacing(tmp_path, volume):
    export(volume, tmp_path / "v.tif", voxel_nm=VOXEL)
    with tifffile.TiffFile(tmp_path / "v.tif") as tif:
        assert tif.imagej_metadata["spacing"] == VOXEL[0]
        assert tif.imagej_metadata["unit"] == "nm"
        assert tif.series[0].shape == volume.shape


def test_large_volumes_become_bigtiff(tmp_path, volume, monkeypatch):
    monkeypatch.setattr(exporting, "_CLASSIC_TIFF_BYTES", 1000)
    export(volume, tmp_path / "v.tif", voxel_nm=VOXEL)
    with tifffile.TiffFile(tmp_path / "v.tif") as tif:
        assert tif.is_bigtiff
        assert tif.is_ome
    assert open_stack(tmp_path / "v.tif").voxel_nm == pytest.approx(VOXEL)


def test_unknown_voxel_size_is_not_invented(tmp_path, volume):
    for name in ("v.tif", "v.nrrd", "v.mha", "v.raw", "folder"):
        assert open_stack(export(volume, tmp_path / name)).voxel_nm is None
    assert json.loads((tmp_path / "v.json").read_text())["voxel_nm"] is None


def test_blocks_are_bounded_and_progress_is_told(tmp_path, volume, monkeypatch):
    monkeypatch.setattr(exporting, "_BLOCK_BYTES", 2 * volume[0].nbytes)
    asked, told = [], []
    stack = open_stack(volume)
    real = type(stack).read
    monkeypatch.setattr(type(stack), "read", lambda self, a, b: asked.append(b - a) or real(self, a, b))
    export(stack, tmp_path / "v.nrrd", progress=lambda done, of: told.append((done, of)))
    assert max(asked) == 2
    assert told == [(2, 6), (4, 6), (6, 6)]


def test_nothing_is_overwritten_or_left_half(tmp_path, volume, monkeypatch):
    target = export(volume, tmp_path / "v.nrrd")
    with pytest.raises(OutputError, match="exists already"):
        export(volume, target)
    export(volume // 2, target, overwrite=True)
    np.testing.assert_array_equal(open_stack(target).read(0, 6), volume // 2)
    stack = open_stack(volume)

    def fail(self, z0, z1):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(stack), "read", fail)
    with pytest.raises(OutputError, match="No space left"):
        export(stack, target, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["v.nrrd"]


def test_unknown_format(tmp_path, volume):
    with pytest.raises(InputError, match=r"format '\.docx' is not written"):
        export(volume, tmp_path / "v.docx")
    with pytest.raises(InputError, match="axes"):
        export(volume[0], tmp_path / "v.tif")
