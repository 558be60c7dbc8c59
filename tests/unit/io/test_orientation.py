"""Turned and flipped images read upright; rotated scans are named."""

import pickle

import numpy as np
import pytest

from fibtomo.core.volume import ORIENTATIONS, Calibration, Sourced
from fibtomo.errors import InputError
from fibtomo.io import vendor
from fibtomo.io.open import open_stack
from fibtomo.io.vendor.info import VendorInfo

UNDO = {
    "upright": lambda v: v,
    "rotated-180": lambda v: v[:, ::-1, ::-1],
    "flipped-rows": lambda v: v[:, ::-1],
    "flipped-columns": lambda v: v[:, :, ::-1],
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_undone_on_reading(write_folder, volume, orientation):
    stack = open_stack(write_folder(UNDO[orientation](volume)), orientation=orientation, crop_info_bar=False)
    block = stack.read(1, 4)
    np.testing.assert_array_equal(block, volume[1:4])
    assert block.flags.c_contiguous
    assert block.flags.writeable
    np.testing.assert_array_equal(np.asarray(stack.data[2:5, 3:9]), volume[2:5, 3:9])
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(stack))), volume)
    assert [p.stem for p in stack.files] == [f"slice_{k:04d}" for k in range(6)]


def test_the_info_bar_lies_at_the_bottom_of_the_stored_rows(write_folder, volume):
    stored = volume[:, ::-1, ::-1].copy()
    stack = open_stack(write_folder(stored), orientation="rotated-180", crop_info_bar=7)
    np.testing.assert_array_equal(stack.read(0, 6), volume[:, 7:])


def test_fingerprints_differ(volume):
    stacks = {name: open_stack(volume, orientation=name).fingerprint() for name in ORIENTATIONS}
    assert len(set(stacks.values())) == len(ORIENTATIONS)
    assert stacks["upright"] == open_stack(volume).fingerprint()


def test_restated(volume):
    stack = open_stack(open_stack(volume, orientation="flipped-rows"), orientation="flipped-columns")
    np.testing.assert_array_equal(stack.read(0, 2), volume[:2, :, ::-1])


def test_unknown_word(volume):
    with pytest.raises(InputError, match="orientation = 'sideways' must be one of upright, rotated-180"):
        open_stack(volume, orientation="sideways")


@pytest.mark.parametrize(
    ("angle", "words"),
    [
        (180.0, "--orientation rotated-180"),
        (-178.0, "stand on their heads"),
        (90.0, "tilt axis"),
        (0.0, None),
        (360.0, None),
    ],
)
def test_a_rotated_scan_is_said_and_never_guessed(write_folder, volume, monkeypatch, angle, words):
    info = VendorInfo("X", Calibration(), {"scan_rotation_deg": Sourced(angle, "tag ScanRotation", "given")})
    monkeypatch.setattr(vendor, "read_vendor", lambda _path: info)
    folder = write_folder(volume)
    stack = open_stack(folder)
    np.testing.assert_array_equal(stack.read(0, 6), volume)
    assert not stack.calibration.orientation
    said = [text for text in stack.warnings if "scan was rotated" in text]
    assert bool(said) is (words is not None)
    assert all(words in text and "tag ScanRotation" in text for text in said)
    assert not [text for text in open_stack(folder, orientation="upright").warnings if "scan was rotated" in text]
    assert not [text for text in open_stack(stack, orientation="rotated-180").warnings if "scan was rotated" in text]
