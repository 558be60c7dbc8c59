"""Files of pixel forests: the same forest comes back, and nothing else is taken for one."""

import contextlib
import json

import numpy as np
import pytest

from fibtomo.errors import InputError, OutputError
from fibtomo.ops.pixel_forest import PixelForest


@pytest.fixture(scope="module")
def forest():
    rng = np.random.default_rng(0)
    truth = np.arange(24)[:, None] // 8 % 2 * np.ones((6, 24, 24), int)
    grey = (100 + 40 * truth + rng.normal(0, 9, truth.shape)).astype(np.float32)
    labels = np.where(rng.random(truth.shape) < 0.1, truth + 1, 0)
    return PixelForest.train(grey, labels, voxel_nm=8, sigmas_nm=(8, 16), trees=6, classes=("Pore", "Ag·Au"))


def volume():
    return np.random.default_rng(1).normal(110, 30, (5, 20, 20)).astype(np.float32)


def test_what_was_saved_comes_back(forest, tmp_path):
    path = tmp_path / "model.npz"
    forest.save(path)
    again = PixelForest.load(path)
    np.testing.assert_array_equal(again.probabilities(volume()), forest.probabilities(volume()))
    assert again.recipe == forest.recipe
    assert repr(again.accuracies) == repr(forest.accuracies)
    assert again.importance == forest.importance
    assert (again.classes, again.values, again.drawn, again.used) == (
        ("Pore", "Ag·Au"),
        (1, 2),
        forest.drawn,
        forest.used,
    )
    again.save(tmp_path / "second.npz")
    assert (tmp_path / "second.npz").read_bytes() == path.read_bytes()
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(file["header"].tobytes())
        assert all(file[name].dtype.kind in "iuf" for name in file.files)
    assert (header["format"], header["version"], header["voxel_nm"]) == ("fibtomo pixel forest", 1, [8, 8, 8])


def changed(path, **arrays):
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files}
    header = arrays.pop("header", {})
    text = json.dumps({**json.loads(kept["header"].tobytes()), **header})
    kept = {**kept, "header": np.frombuffer(text.encode(), np.uint8), **arrays}
    np.savez(path, **{name: array for name, array in kept.items() if array is not None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": {"version": 2}}, "of format 2, and this fibtomo reads up to 1: update"),
        ({"header": {"format": "other"}}, "no pixel forest of fibtomo"),
        ({"header": {"sigmas_nm": [8, 4]}}, "is damaged.*ascend"),
        ({"header": {"sigmas_nm": [8]}}, "do not belong"),
        ({"header": {"kinds": ["colour"]}}, "no features"),
        ({"header": {"classes": ["one"]}}, "do not belong"),
        ({"header": {"unit": "inch"}}, "does not say"),
        ({"header": {"voxel_nm": [1, 0, 1]}}, "must be positive"),
        ({"header": {"drawn": [1]}}, "does not say"),
        ({"child": None}, "lacks child"),
        ({"low": np.zeros(2, np.float32)}, "its low do not belong"),
        ({"threshold": np.zeros(3, np.float32)}, "is damaged"),
    ],
)
def test_damaged_and_later_files_are_refused(forest, tmp_path, change, message):
    path = tmp_path / "model.npz"
    forest.save(path)
    changed(path, **change)
    with pytest.raises(InputError, match=message):
        PixelForest.load(path)


def test_other_files_are_refused(forest, tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(InputError, match=r"there is no pixel forest .*model.npz"):
        PixelForest.load(path)
    for content in (b"", b"PK\x03\x04", b"slices", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is no pixel forest"):
            PixelForest.load(path)
    np.savez(path, header=np.array([{"format": "fibtomo pixel forest"}], dtype=object))
    with pytest.raises(InputError, match="is no pixel forest"):
        PixelForest.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(InputError, match="is no pixel forest"):
        PixelForest.load(path)
    forest.save(path)
    whole = path.read_bytes()
    for cut in (100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError):
            PixelForest.load(path)


def test_a_flipped_byte_is_found_or_harmless(forest, tmp_path):
    path = tmp_path / "model.npz"
    forest.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 20):
        spoilt = bytearray(whole)
        spoilt[place] ^= 0xFF
        path.write_bytes(spoilt)
        with contextlib.suppress(InputError):
            refused -= 1
            assert PixelForest.load(path).classes == forest.classes
            refused += 1
    assert refused <= -10


def test_a_place_that_cannot_be_written_is_told(forest, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        forest.save(tmp_path / "nowhere" / "model.npz")
