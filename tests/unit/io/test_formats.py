"""Every format is written and read back, voxels and voxel size."""

import json

import h5py
import mrcfile
import numpy as np
import pytest
import SimpleITK
import tifffile
import zarr

from fibtomo.core.source import ArraySource, SliceSource
from fibtomo.core.volume import VolumeSpec
from fibtomo.errors import InputError, StackError
from fibtomo.io.open import open_stack

VOXEL = (10.0, 6.0, 5.0)


def check(stack, volume, voxel=VOXEL):
    assert isinstance(stack, SliceSource)
    assert stack.shape == volume.shape
    np.testing.assert_array_equal(stack.read(0, len(stack)), volume)
    np.testing.assert_array_equal(stack.read(2, 4), volume[2:4])
    np.testing.assert_array_equal(np.asarray(stack.data[1:5, 3:9, ::2]), volume[1:5, 3:9, ::2])
    assert stack.voxel_nm == (pytest.approx(voxel, rel=1e-6) if voxel else None)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", ">u2", ">f4"])
def test_tiff_folder(write_folder, volume, dtype):
    data = volume.astype(dtype)
    stack = open_stack(write_folder(data), voxel_nm=VOXEL)
    check(stack, data)
    assert stack.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "packbits"])
def test_compressed_tiff_folder(write_folder, volume, compression):
    check(open_stack(write_folder(volume, compression=compression)), volume, None)


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_png_and_bmp_folder(tmp_path, volume, suffix):
    from PIL import Image

    for k, image in enumerate(volume):
        Image.fromarray(image).save(tmp_path / f"a{k}.{suffix}")
    check(open_stack(tmp_path), volume, None)


def test_png_of_16_bit(tmp_path, volume):
    from PIL import Image

    deep = volume.astype(np.uint16) * 257
    for k, image in enumerate(deep):
        Image.fromarray(image).save(tmp_path / f"a{k}.png")
    check(open_stack(tmp_path), deep, None)


def test_jpeg_folder_is_read_and_warned_about(tmp_path, volume):
    from PIL import Image

    for k, image in enumerate(volume):
        Image.fromarray(image).save(tmp_path / f"a{k}.jpg", quality=95)
    stack = open_stack(tmp_path)
    assert np.abs(stack.read(0, 6).astype(int) - volume).mean() < 5
    assert any("JPEG" in text for text in stack.warnings)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "zlib"}, {"rowsperstrip": 7}])
def test_multipage_tiff(tmp_path, volume, options):
    tifffile.imwrite(tmp_path / "s.tif", volume, photometric="minisblack", **options)
    check(open_stack(tmp_path / "s.tif", voxel_nm=VOXEL), volume)


def test_separately_written_pages(tmp_path, volume):
    with tifffile.TiffWriter(tmp_path / "s.tif") as tif:
        for image in volume:
            tif.write(image, photometric="minisblack", compression="zlib", metadata=None)
    check(open_stack(tmp_path / "s.tif"), volume, None)


def test_contiguous_pages_behind_one_header(tmp_path, volume):
    tifffile.imwrite(tmp_path / "s.tif", volume, photometric="minisblack", truncate=True)
    check(open_stack(tmp_path / "s.tif"), volume, None)


def test_imagej_tiff_beyond_4_gb(tmp_path):
    n, text = 5000, "ImageJ=1.53t\nimages=5000\nslices=5000\nloop=false\nspacing=10.0\nunit=nm\n"
    page = np.zeros((1024, 1024), np.uint8)
    with tifffile.TiffWriter(tmp_path / "s.tif") as tif:
        tif.write(page, photometric="minisblack", metadata=None, description=text, resolution=(0.2, 0.2))
    with (tmp_path / "s.tif").open("r+b") as file:
        file.truncate((n + 1) * page.nbytes)
        file.seek(4999 * page.nbytes + 5000)
        file.write(b"\x07")
    stack = open_stack(tmp_path / "s.tif")
    assert stack.shape == (n, 1024, 1024)
    assert stack.read(4998, 5000).max() == 7
    assert stack.voxel_nm == (10, 5, 5)


def test_thumbnails_in_slice_files_are_ignored(tmp_path, volume):
    for k, image in enumerate(volume):
        with tifffile.TiffWriter(tmp_path / f"s{k}.tif") as tif:
            tif.write(image, photometric="minisblack", metadata=None)
            tif.write(image[::4, ::4], photometric="minisblack", metadata=None)
    check(open_stack(tmp_path), volume, None)


def test_imagej_tiff_with_spacing(tmp_path, volume):
    metadata = {"spacing": 0.01, "unit": "um", "axes": "ZYX"}
    resolution = (1 / 0.005, 1 / 0.006)
    tifffile.imwrite(tmp_path / "s.tif", volume, imagej=True, resolution=resolution, metadata=metadata)
    check(open_stack(tmp_path / "s.tif"), volume)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_ome_tiff_with_channels(tmp_path, volume, options):
    both = np.stack([volume, 255 - volume])
    metadata = {"axes": "CZYX", "Channel": {"Name": ["SE", "BSE"]}}
    for axis, step in zip("ZYX", VOXEL, strict=True):
        metadata |= {f"PhysicalSize{axis}": step / 1000, f"PhysicalSize{axis}Unit": "µm"}
    tifffile.imwrite(tmp_path / "s.ome.tif", both, ome=True, photometric="minisblack", metadata=metadata, **options)
    stack = open_stack(tmp_path / "s.ome.tif")
    assert stack.channels == ("SE", "BSE")
    check(stack, volume)
    check(stack.channel("BSE"), 255 - volume)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_array(tmp_path, volume, zarr_format):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=volume.shape, chunks=(2, 20, 20), dtype="u1", zarr_format=zarr_format
    )
    array[:] = volume
    stack = open_stack(tmp_path / "a.zarr", voxel_nm=VOXEL)
    check(stack, volume)
    assert stack.data.chunks[0][0] % 2 == 0


def ome_group(path, volume, version, scale, unit="micrometer", axes="zyx", extra=None):
    zarr_format = 3 if version == "0.5" else 2
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    array = group.create_array("0", shape=volume.shape, chunks=volume.shape, dtype=volume.dtype)
    array[:] = volume
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": a, "type": kinds.get(a, "space")} | ({"unit": unit} if a in "zyx" else {}) for a in axes]
    transforms = [{"type": "scale", "scale": scale}]
    ome = {"multiscales": [{"axes": named, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}]}
    ome |= extra or {}
    group.attrs.update({"ome": ome | {"version": "0.5"}} if version == "0.5" else ome)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, volume, version):
    ome_group(tmp_path / "a.ome.zarr", volume, version, [0.01, 0.006, 0.005])
    stack = open_stack(tmp_path / "a.ome.zarr")
    check(stack, volume)
    assert stack.tilt_corrected is True
    assert any("taken as the true one" in text for text in stack.warnings)


def test_ome_zarr_with_time_and_channels(tmp_path, volume):
    data = np.stack([volume, 255 - volume])[None]
    labels = {"omero": {"channels": [{"label": "InLens"}, {"label": "ESB"}]}}
    ome_group(tmp_path / "a.zarr", data, "0.5", [1, 1, 10, 6, 5], "nanometer", "tczyx", labels)
    stack = open_stack(tmp_path / "a.zarr", channel="esb")
    assert stack.channels == ("InLens", "ESB")
    check(stack, 255 - volume)


def test_ome_zarr_in_other_axis_order(tmp_path, volume):
    ome_group(tmp_path / "a.zarr", volume.transpose(2, 1, 0), "0.5", [5, 6, 10], "nanometer", "xyz")
    check(open_stack(tmp_path / "a.zarr"), volume)


def test_zarr_group_of_several_arrays_asks(tmp_path, volume):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name in ("raw", "other"):
        group.create_array(name, data=volume)
    with pytest.raises(StackError, match=r"--dataset NAME: other, raw"):
        open_stack(tmp_path / "a.zarr")
    check(open_stack(tmp_path / "a.zarr", dataset="raw"), volume, None)
    with pytest.raises(StackError, match="no array or group 'nothing'"):
        open_stack(tmp_path / "a.zarr", dataset="nothing")


@pytest.mark.parametrize("options", [{}, {"chunks": (3, 20, 25), "compression": "gzip"}])
def test_hdf5(tmp_path, volume, options):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("group/stack", data=volume, **options)
        data.attrs["element_size_um"] = [v / 1000 for v in VOXEL]
        file.create_dataset("spectrum", data=np.arange(5))
    check(open_stack(tmp_path / "a.h5"), volume)


def test_hdf5_of_several_volumes_asks(tmp_path, volume):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["labels"] = volume, volume.astype("i4")
        file["text"] = np.arange(3)
    with pytest.raises(StackError, match=r"several volumes; choose one with --dataset NAME: .*raw \(6, 40, 50\) uint8"):
        open_stack(tmp_path / "a.h5")
    check(open_stack(tmp_path / "a.h5", dataset="/raw"), volume, None)
    with pytest.raises(StackError, match="'text' is no image volume"):
        open_stack(tmp_path / "a.h5", dataset="text")


def test_mrc(tmp_path, volume):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(volume.astype(np.int16))
        file.voxel_size = (50.0, 60.0, 100.0)
    check(open_stack(tmp_path / "a.mrc"), volume.astype(np.int16))


def test_mrc_without_voxel_size_says_so(tmp_path, volume):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(volume.astype(np.float32))
    stack = open_stack(tmp_path / "a.mrc")
    check(stack, volume.astype(np.float32), None)
    assert any("--voxel-nm" in text for text in stack.warnings)


@pytest.mark.parametrize(
    ("name", "compressed", "unit"),
    [("a.nrrd", False, "nm"), ("a.nrrd", True, "nm"), ("a.nhdr", False, "nm"), ("a.mha", False, "nm"),
     ("a.mha", True, "nm"), ("a.mhd", False, "nm"), ("a.nii", False, "mm"), ("a.nii.gz", True, "mm")],
)  # fmt: skip
def test_itk_formats(tmp_path, volume, name, compressed, unit):
    image = SimpleITK.GetImageFromArray(volume)
    image.SetSpacing([v * (1e-6 if unit == "mm" else 1) for v in reversed(VOXEL)])
    if unit == "nm":
        image.SetMetaData("voxel_unit", "nm")
    SimpleITK.WriteImage(image, str(tmp_path / name), useCompression=compressed)
    check(open_stack(tmp_path / name), volume)


def test_spacing_without_unit(tmp_path, volume):
    image = SimpleITK.GetImageFromArray(volume)
    image.SetSpacing([5, 6, 10])
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"))
    stack = open_stack(tmp_path / "a.mha")
    check(stack, volume, None)
    assert any("10 6 5 (z y x) has no unit" in text for text in stack.warnings)
    image.SetSpacing([5e-6, 6e-6, 1e-5])
    SimpleITK.WriteImage(image, str(tmp_path / "b.mha"))
    stack = open_stack(tmp_path / "b.mha")
    check(stack, volume)
    assert stack.calibration.pixel_nm.confidence == "default"
    assert "ITK convention" in stack.calibration.pixel_nm.origin


def test_nrrd_with_stated_unit_and_windows_line_ends(tmp_path, volume):
    header = (
        "NRRD0004\r\ntype: uint8\r\ndimension: 3\r\nsizes: 50 40 6\r\nspacings: 0.005 0.006 0.01\r\n"
        'units: "um" "um" "um"\r\nencoding: raw\r\n\r\n'
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + volume.tobytes())
    check(open_stack(tmp_path / "a.nrrd"), volume)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_raw_with_json_header(tmp_path, volume, byte_order):
    data = volume.astype(f"{byte_order}u2")
    (tmp_path / "a.raw").write_bytes(b"skip" + data.tobytes())
    header = {"shape": data.shape, "dtype": data.dtype.str, "offset": 4, "voxel_nm": VOXEL}
    (tmp_path / "a.json").write_text(json.dumps(header))
    check(open_stack(tmp_path / "a.raw"), data)
    check(open_stack(tmp_path / "a.json"), data)


def test_raw_with_envi_header(tmp_path, volume):
    (tmp_path / "a.raw").write_bytes(volume.tobytes())
    text = "ENVI\nsamples = 50\nlines = 40\nbands = 6\ndata type = 1\ninterleave = bsq\nbyte order = 0\n"
    (tmp_path / "a.hdr").write_text(text)
    check(open_stack(tmp_path / "a.raw"), volume, None)


def test_raw_described_by_the_user(tmp_path, volume):
    (tmp_path / "a.raw").write_bytes(volume.tobytes())
    check(open_stack(tmp_path / "a.raw", shape=volume.shape, dtype="uint8", voxel_nm=VOXEL), volume)
    with pytest.raises(StackError, match=r"no header beside it .* give its shape"):
        open_stack(tmp_path / "a.raw")
    with pytest.raises(StackError, match="12000 bytes where user describes 24000"):
        open_stack(tmp_path / "a.raw", shape=volume.shape, dtype="uint16")


def test_array_and_other_sources(volume):
    check(open_stack(volume, voxel_nm=VOXEL), volume)
    check(open_stack(volume[:, 5:, 5:], voxel_nm=VOXEL), volume[:, 5:, 5:])
    source = ArraySource(volume, VolumeSpec(volume.shape, "uint8"))
    check(open_stack(source, voxel_nm=VOXEL), volume)
    assert open_stack(np.stack([volume, volume])).channels == ("c0", "c1")
    with pytest.raises(InputError, match="list is no stack"):
        open_stack([1, 2])


def test_facts_of_an_open_stack_are_overridden(volume):
    first = open_stack(volume, voxel_nm=VOXEL)
    again = open_stack(first, voxel_nm=(20, 6, 5), column_angle_deg=52, tilt_corrected=False, slices="1:3")
    check_shape = (2, *volume.shape[1:])
    assert again.shape == check_shape
    assert again.voxel_nm == (20.0, 6.0, 5.0)
    assert (again.column_angle_deg, again.tilt_corrected) == (52.0, False)
    assert first.voxel_nm == VOXEL


@pytest.mark.parametrize(
    ("stored", "read", "value"),
    [("bool", "uint8", 255), ("int32", "float32", 1), ("float64", "float32", 1), ("int8", "int16", 1)],
)
def test_other_number_types(tmp_path, stored, read, value):
    data = np.zeros((4, 20, 20), stored)
    data[1, 2, 3] = 1
    np_path = tmp_path / "a.h5"
    with h5py.File(np_path, "w") as file:
        file["x"] = data
    stack = open_stack(np_path)
    assert stack.dtype == np.dtype(read)
    assert stack.read(1, 2)[0, 2, 3] == value


def test_value_range_of_floats_is_measured():
    data = np.linspace(-300, 700, 4 * 20 * 20, dtype=np.float32).reshape(4, 20, 20)
    assert open_stack(data).spec.value_range == pytest.approx((-400, 800))
    assert open_stack((data + 300) / 1000).spec.value_range == (0.0, 1.0)
    assert open_stack(data.astype(np.int16)).spec.value_range == (-32768.0, 32767.0)


def test_folder_with_one_volume_file_opens_it(tmp_path, volume):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = volume
    (tmp_path / "notes.txt").write_text("x")
    check(open_stack(tmp_path), volume, None)
