"""Damaged, odd, missing and doubled slices are named; what can be lived with is lived with."""

import numpy as np
import pytest
import tifffile

from fibtomo.errors import InputError, StackError
from fibtomo.io.export import export
from fibtomo.io.itk import write_image
from fibtomo.io.open import open_stack


def kinds(stack):
    return {finding.kind for finding in stack.problems}


def test_missing_number_keeps_the_gap(write_folder, volume):
    folder = write_folder(volume, numbers=[3, 4, 5, 8, 9, 10])
    stack = open_stack(folder, voxel_nm=(10, 5, 5))
    assert stack.missing == (6, 7)
    assert stack.numbers == (3, 4, 5, 8, 9, 10)
    np.testing.assert_allclose(stack.slice_z_nm, [0, 10, 20, 50, 60, 70])
    assert "slice numbers" in stack.calibration.slice_z_nm.origin
    assert any("6, 7" in text for text in stack.warnings)


def test_regular_steps_and_times_are_no_gaps(write_folder, volume):
    stack = open_stack(write_folder(volume, "a", numbers=range(0, 60, 10)), voxel_nm=(10, 5, 5))
    assert stack.missing == ()
    assert stack.slice_z_nm is None
    times = [151317, 151402, 151455, 151588, 151711, 151799]
    stack = open_stack(write_folder(volume, "b", "img_24-12-16_{}.tif", numbers=times), voxel_nm=(10, 5, 5))
    assert stack.missing == ()
    assert stack.numbers is None


def test_duplicate_number(write_folder, volume):
    folder = write_folder(volume)
    tifffile.imwrite(folder / "slice_3.tif", volume[0])
    with pytest.raises(StackError, match=r"slice_3\.tif and slice_0003\.tif|slice_0003\.tif and slice_3\.tif"):
        open_stack(folder)
    stack = open_stack(folder, skip_bad=True)
    assert len(stack) == 6
    assert "duplicate-number" in kinds(stack)


def test_mixed_shape(write_folder, volume):
    folder = write_folder(volume)
    tifffile.imwrite(folder / "slice_0002.tif", volume[2, :30])
    with pytest.raises(
        StackError, match=r"slice_0002\.tif is 50 × 30 pixels where the other 5 are 50 × 40.*--skip-bad"
    ):
        open_stack(folder)
    stack = open_stack(folder, skip_bad=True)
    assert stack.bad_slices == [2]
    assert not stack.read(2, 3).any()
    np.testing.assert_array_equal(stack.read(3, 6), volume[3:])
    assert open_stack(folder, skip_bad=True, slices=(1, 4)).bad_slices == [1]


def test_mixed_dtype(write_folder, volume):
    folder = write_folder(volume)
    tifffile.imwrite(folder / "slice_0005.tif", volume[5].astype("u2"))
    with pytest.raises(StackError, match=r"slice_0005\.tif is .u2.* where the others are .u1"):
        open_stack(folder)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("left", [0, 5, 60, 900])
def test_truncated_tiff_is_seen_at_opening(write_folder, volume, compression, left):
    folder = write_folder(volume, compression=compression)
    path = folder / "slice_0004.tif"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(StackError, match=r"slice_0004\.tif .*--skip-bad"):
        open_stack(folder)
    assert open_stack(folder, skip_bad=True).bad_slices == [4]


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg"])
def test_truncated_other_images(tmp_path, volume, suffix):
    from PIL import Image

    for k, image in enumerate(volume):
        Image.fromarray(image).save(tmp_path / f"a{k}.{suffix}")
    path = tmp_path / f"a2.{suffix}"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StackError, match=rf"a2\.{suffix} is cut short"):
        open_stack(tmp_path)
    assert open_stack(tmp_path, skip_bad=True).bad_slices == [2]


def test_text_named_as_image(write_folder, volume):
    folder = write_folder(volume)
    (folder / "slice_0001.tif").write_text("this is no image")
    with pytest.raises(StackError, match=r"slice_0001\.tif is no readable TIF image"):
        open_stack(folder)


def test_foreign_files_are_named_and_left_out(write_folder, volume):
    folder = write_folder(volume)
    (folder / "notes.docx").write_text("x")
    (folder / "slice_0001.txt").write_text("sidecar")
    (folder / "Thumbs.db").write_text("x")
    (folder / ".hidden").write_text("x")
    tifffile.imwrite(folder / "overview.tif", volume[0, :10, :10])
    write_folder(volume, "slices/ground_truth")
    stack = open_stack(folder)
    np.testing.assert_array_equal(stack.read(0, 6), volume)
    named = {name for finding in stack.problems for name in finding.files}
    assert named == {"notes.docx", "ground_truth/", "overview.tif"}
    assert any("overview.tif" in text for text in stack.warnings)


def test_copies_in_another_format_are_left_out(write_folder, volume):
    from PIL import Image

    folder = write_folder(volume)
    for k in range(3):
        Image.fromarray(volume[k]).save(folder / f"slice_{k:04}.png")
    stack = open_stack(folder)
    assert len(stack) == 6
    assert any("3 images of another type" in text for text in stack.warnings)


def test_nothing_there(tmp_path):
    with pytest.raises(StackError, match="does not exist"):
        open_stack(tmp_path / "none")
    with pytest.raises(StackError, match="holds no slice images"):
        open_stack(tmp_path)
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(StackError, match=r"a\.docx is not an image file .* known are \.tif"):
        open_stack(tmp_path / "a.docx")
    (tmp_path / "b.tif").touch()
    with pytest.raises(StackError, match=r"b\.tif is empty"):
        open_stack(tmp_path / "b.tif")


@pytest.mark.parametrize(
    "name", ["a.tif", "a.h5", "a.mrc", "a.nrrd", "a.mha", "a.nii", "a.png", "a.dat", "a.jpg", "a.bmp"]
)
def test_not_what_the_name_says(tmp_path, name):
    (tmp_path / name).write_bytes(b"certainly no image of any kind" * 100)
    with pytest.raises(StackError, match=name.replace(".", r"\.")):
        open_stack(tmp_path / name)


@pytest.mark.parametrize("left", [0.2, 0.9])
@pytest.mark.parametrize(
    "name", ["a.tif", "z.tif", "a.h5", "a.mrc", "a.nrrd", "z.nrrd", "a.mha", "z.mha", "a.nii", "a.nii.gz", "a.raw"]
)
def test_truncated_volumes(tmp_path, volume, name, left):
    path = tmp_path / name
    if name == "a.h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["x"] = volume
    elif name == "a.mrc":
        import mrcfile

        with mrcfile.new(path) as file:
            file.set_data(volume.astype("i2"))
    elif name == "z.tif":
        tifffile.imwrite(path, volume, compression="zlib", photometric="minisblack")
    elif name.startswith("z"):
        write_image(path, volume, None, compress=True)
    else:
        export(volume, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(left * len(data))])
    with pytest.raises(StackError, match=name.replace(".", r"\.")):
        open_stack(path).read(0, 6)


def test_folders_that_do_not_belong_together(write_folder, volume):
    write_folder(volume, "all/monday")
    folder = write_folder(volume[:3], "all/tuesday", start=100).parent
    with pytest.raises(StackError, match="several different image folders; choose one: monday, tuesday"):
        open_stack(folder)


def test_two_series_in_one_folder(write_folder, volume):
    write_folder(volume, pattern="runA_{:03d}.tif")
    folder = write_folder(volume[:4], pattern="runB_{:03d}.tif", start=50)
    with pytest.raises(StackError, match=r"two series, 'runA_#' \(6 images\) and 'runB_#' \(4\).*'runB_\*\.tif'"):
        open_stack(folder)
    assert len(open_stack(folder, pattern="runB_*.tif")) == 4


def test_multipage_files_in_a_folder(tmp_path, volume):
    for k in range(2):
        tifffile.imwrite(tmp_path / f"part_{k}.tif", volume, photometric="minisblack")
    with pytest.raises(StackError, match="files of 6 images each"):
        open_stack(tmp_path)


def test_pattern(write_folder, volume):
    folder = write_folder(volume)
    tifffile.imwrite(folder / "slice_0002.tif", volume[2, :30])
    assert len(open_stack(folder, pattern="slice_000[345].tif")) == 3
    with pytest.raises(StackError, match="none of 6 images matches the pattern"):
        open_stack(folder, pattern="*.png")


@pytest.mark.parametrize(
    ("slices", "expected"),
    [("1:4", [1, 2, 3]), ((2, 5), [2, 3, 4]), (slice(None, None, 2), [0, 2, 4]), ("-2:", [4, 5])],
)
def test_slices(write_folder, volume, slices, expected):
    stack = open_stack(write_folder(volume), slices=slices, voxel_nm=(10, 5, 5))
    np.testing.assert_array_equal(stack.read(0, 99), volume[expected])
    assert [p.name for p in stack.files] == [f"slice_{k:04}.tif" for k in expected]
    assert stack.voxel_nm[0] == 10 * (expected[1] - expected[0])


@pytest.mark.parametrize("slices", ["9:12", "a:b", (5, 2), 3])
def test_slices_that_make_no_sense(volume, slices):
    with pytest.raises(InputError, match="slices = "):
        open_stack(volume, slices=slices)


def test_a_file_that_disappears_after_opening(write_folder, volume):
    folder = write_folder(volume, compression="zlib")
    stack = open_stack(folder)
    (folder / "slice_0003.tif").write_bytes(b"II*\0")
    np.testing.assert_array_equal(stack.read(0, 3), volume[:3])
    with pytest.raises(StackError, match=r"slice_0003\.tif cannot be read .*--skip-bad"):
        stack.read(3, 4)


def test_pixels_that_do_not_decode(write_folder, volume):
    folder = write_folder(volume, compression="zlib")
    path = folder / "slice_0003.tif"
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        start = tif.pages[0].dataoffsets[0]
    data[start + 40 : start + 80] = bytes(40)
    path.write_bytes(data)
    stack = open_stack(folder, crop_info_bar=False)
    with pytest.raises(StackError, match=r"slice_0003\.tif cannot be read .*--skip-bad"):
        stack.read(0, 6)
    stack = open_stack(folder, skip_bad=True)
    assert stack.bad_slices == [3]
    np.testing.assert_array_equal(stack.read(4, 6), volume[4:])
