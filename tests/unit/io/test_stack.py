"""What a `Stack` promises: detectors, laziness, pickling, fingerprint, tables for people."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from fibtomo.core.volume import Sourced
from fibtomo.errors import InputError
from fibtomo.io.describe import describe
from fibtomo.io.open import open_stack
from fibtomo.io.readers import image_files


def test_detectors_in_folders(write_folder, volume):
    write_folder(255 - volume, "run/BSE")
    root = write_folder(volume, "run/SE").parent
    write_folder(volume, "run/ground_truth")
    stack = open_stack(root)
    assert stack.channels == ("SE", "BSE")
    np.testing.assert_array_equal(stack.read(0, 6), volume)
    np.testing.assert_array_equal(stack.channel("BSE").read(1, 3), 255 - volume[1:3])
    assert stack.channel("BSE").files[0].parent.name == "BSE"
    assert open_stack(root, channel="bse").channel_name == "BSE"
    with pytest.raises(InputError, match="no channel 'EDS'; there are: SE, BSE"):
        open_stack(root, channel="EDS")


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("slice_{:04d}_SE.tif", "slice_{:04d}_BSE.tif", ("SE", "BSE")),
        ("slice_{:04d}_ch0.tif", "slice_{:04d}_ch1.tif", ("ch0", "ch1")),
        ("SliceImage - {:03d} - InLens.tif", "SliceImage - {:03d} - EsB.tif", ("InLens", "EsB")),
        ("img{}-SE2.tif", "img{}-SE1.tif", ("SE1", "SE2")),
        ("SE_{:03d}.tif", "CBS_{:03d}.tif", ("SE", "CBS")),
    ],
)
def test_detectors_in_file_names(write_folder, volume, one, other, names):
    write_folder(volume, pattern=one, start=8)
    folder = write_folder(255 - volume, pattern=other, start=8)
    stack = open_stack(folder)
    assert stack.channels == names
    first_is_plain = names[0] in one
    np.testing.assert_array_equal(stack.read(0, 6), volume if first_is_plain else 255 - volume)
    np.testing.assert_array_equal(stack.channel(names[1]).read(0, 6), 255 - volume if first_is_plain else volume)


def test_detectors_keep_the_slices_they_share(write_folder, volume):
    write_folder(volume, "run/SE")
    folder = write_folder(volume, "run/BSE")
    (folder / "slice_0002.tif").unlink()
    stack = open_stack(folder.parent)
    assert stack.numbers == (0, 1, 3, 4, 5)
    np.testing.assert_array_equal(stack.read(0, 5), np.delete(volume, 2, axis=0))
    assert any("2 are not there for every detector" in text for text in stack.warnings)


def test_grey_stored_as_colour(write_folder, volume):
    folder = write_folder(volume)
    for k, path in enumerate(sorted(folder.iterdir())):
        tifffile.imwrite(path, np.repeat(volume[k][..., None], 3, axis=2), photometric="rgb")
    stack = open_stack(folder)
    assert len(stack.channels) == 1
    np.testing.assert_array_equal(stack.read(0, 6), volume)
    assert "colour" in {f.kind for f in stack.problems}


def test_true_colour_becomes_channels(tmp_path, volume):
    from PIL import Image

    rgb = np.stack([volume, 255 - volume, volume // 2], axis=-1)
    for k, image in enumerate(rgb):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
    stack = open_stack(tmp_path)
    assert stack.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(stack.channel("green").read(0, 6), 255 - volume)


def test_zero_as_white_is_turned(write_folder, volume):
    folder = write_folder(volume)
    for k, path in enumerate(sorted(folder.iterdir())):
        tifffile.imwrite(path, 255 - volume[k], photometric="miniswhite")
    np.testing.assert_array_equal(open_stack(folder).read(0, 6), volume)


def test_natural_order(write_folder, volume):
    folder = write_folder(volume, pattern="s{}.tif", start=8)
    assert [p.name for p in open_stack(folder).files] == [
        "s8.tif",
        "s9.tif",
        "s10.tif",
        "s11.tif",
        "s12.tif",
        "s13.tif",
    ]


def test_positions_in_file_names(write_folder, volume):
    names = ["9.75", "9.760", "9.7722", "9.78", "10.01", "10.02"]
    folder = write_folder(volume, pattern="slice_z={}um.tif", numbers=names)
    stack = open_stack(folder, voxel_nm=(10, 5, 5))
    assert [p.stem for p in stack.files] == [f"slice_z={n}um" for n in names]
    np.testing.assert_allclose(stack.slice_z_nm, [0, 10, 22.2, 30, 260, 270])
    assert stack.calibration.slice_z_nm.confidence == "measured"


def test_reading_touches_only_the_files_asked_for(write_folder, volume, monkeypatch):
    stack = open_stack(write_folder(volume, compression="zlib"), crop_info_bar=False)
    decoded = []
    real = image_files.decode
    monkeypatch.setattr(image_files, "decode", lambda path: decoded.append(path.name) or real(path))
    data = stack.data
    assert not decoded
    stack.read(2, 4)
    assert sorted(decoded) == ["slice_0002.tif", "slice_0003.tif"]
    decoded.clear()
    np.asarray(data[5])
    assert set(decoded) <= {p.name for p in stack.files}


def test_opening_decodes_at_most_three_slices(write_folder, monkeypatch):
    many = np.random.default_rng(0).integers(0, 255, (40, 30, 30)).astype(np.uint8)
    folder = write_folder(many, compression="zlib")
    decoded = []
    real = image_files.decode
    monkeypatch.setattr(image_files, "decode", lambda path: decoded.append(path.name) or real(path))
    open_stack(folder)
    assert len(decoded) <= 3


def test_pickle(write_folder, volume, tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", volume, photometric="minisblack", compression="zlib")
    for path in (write_folder(volume), tmp_path / "s.tif"):
        stack = open_stack(path, voxel_nm=(10, 5, 5))
        again = pickle.loads(pickle.dumps(stack))
        np.testing.assert_array_equal(again.read(1, 5), volume[1:5])
        assert again.fingerprint() == stack.fingerprint()
        assert again.spec == stack.spec
        assert again.calibration == stack.calibration


def test_a_pickled_folder_is_small(write_folder, volume):
    assert len(pickle.dumps(open_stack(write_folder(volume)))) < 8000


def test_fingerprint_follows_the_input(write_folder, volume):
    folder = write_folder(volume)
    first = open_stack(folder).fingerprint()
    assert open_stack(folder, voxel_nm=(10, 5, 5)).fingerprint() == first
    assert open_stack(folder, slices="0:5").fingerprint() != first
    assert open_stack(folder, crop_info_bar=3).fingerprint() != first
    tifffile.imwrite(folder / "slice_0003.tif", volume[3], compression="zlib")
    assert open_stack(folder).fingerprint() != first
    assert open_stack(volume).fingerprint() != open_stack(volume + 1).fingerprint()


def test_read_gives_a_new_array(volume):
    stack = open_stack(volume)
    block = stack.read(0, 2)
    block[:] = 0
    assert stack.read(0, 2).any()


def test_tables_for_people(write_folder, volume):
    stack = open_stack(write_folder(volume, numbers=[0, 1, 2, 3, 5, 6]), voxel_nm=(10, 6, 5))
    rows = {row.name: row for row in describe(stack)}
    assert rows["pixel (dy × dx)"] == ("pixel (dy × dx)", "6 × 5 nm", "user", "given")
    assert rows["missing slices"].value == "4"
    assert rows["slice positions"].value == "0 … 60 nm (6 values)"
    assert rows["column angle"].value == "unknown"
    assert rows["tilt corrected"].value == "yes"
    assert len(stack) == 6
    assert repr(stack) == "<Stack slices: 6 × 40 × 50 uint8, voxel 10 × 6 × 5 nm>"
    html = stack._repr_html_()
    assert html.count("<tr>") == len(rows) + 1
    assert "&lt;" not in html


def test_instrument_values_carry_their_unit(volume):
    facts = {"high_voltage_kv": Sourced(2.0, "tag", "given"), "detectors": Sourced(("SE", "BSE"), "tag", "given")}
    rows = {row.name: row.value for row in describe(replace(open_stack(volume), details={"image": facts}))}
    assert rows["high voltage"] == "2 kV"
    assert rows["detectors"] == "SE, BSE"
