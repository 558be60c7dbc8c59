"""Whatever happened to a file, reading its metadata never raises."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fibtomo.core.volume import Sourced
from fibtomo.io.vendor import VendorInfo, read_project, read_vendor
from fibtomo.io.vendor.info import merge

BLOCKS = {
    34682: b"[Beam]\r\nBeam=EBeam\r\n[EBeam]\r\nTiltCorrectionIsOn=yes\r\nHFW=1e-6\r\n[Scan]\r\nPixelWidth=1e-8\r\n",
    34683: b"<Metadata><BinaryResult><PixelSize><X unit='m'>1e-8</X></PixelSize></BinaryResult></Metadata>",
    34118: b"AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5 nm\r\nAP_WD\r\nWD = 5 mm\r\n",
    51023: b"<Fibics><Image><Width>64</Width></Image><Scan><FOV_X units='um'>5</FOV_X></Scan></Fibics>",
    65000: b"<ImageTags><Fov><Value>5</Value><Units>um</Units></Fov></ImageTags>",
    50431: b"\x1d\0\0\0\2\0PixelSizeX=5e-8\nPixelSizeY\2\0\0\0\0\0",
}


@pytest.mark.parametrize("code", BLOCKS)
def test_random_damage(write_tiff: Callable[..., Path], code: int) -> None:
    path = write_tiff({code: BLOCKS[code]}, shape=(4, 8))
    intact = path.read_bytes()
    rng = np.random.default_rng(code)
    for trial in range(60):
        data = bytearray(intact)
        if trial % 2:
            data = data[: rng.integers(0, len(data))]
        for at in rng.integers(0, max(1, len(data)), 6 if len(data) else 0):
            data[at] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        info = read_vendor(path)
        assert info is None or isinstance(info, VendorInfo)


@pytest.mark.parametrize("code", BLOCKS)
def test_blocks_of_noise(write_tiff: Callable[..., Path], code: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 2000, dtype=np.uint8).tobytes()
    info = read_vendor(write_tiff({code: noise}))
    assert info is None or not info.calibration.pixel_nm


def test_files_that_are_not_there_or_not_images(tmp_path: Path) -> None:
    assert read_vendor(tmp_path / "absent.tif") is None
    assert read_vendor(tmp_path) is None
    for name, data in {"empty.tif": b"", "short.tif": b"II*\0", "text.tif": b"hello", "image.png": b"\x89PNG"}.items():
        (tmp_path / name).write_bytes(data)
        assert read_vendor(tmp_path / name) is None
    assert read_project(tmp_path / "empty.tif") is None


def test_merge_only_fills_gaps() -> None:
    first = VendorInfo("A", metadata={"x": Sourced(1)}, image_rows=5, warnings=["a"])
    second = VendorInfo("B", metadata={"x": Sourced(2), "y": Sourced(3)}, image_rows=6, slice_z_nm=0.0, warnings=["b"])
    merged = merge(first, second)
    assert merged.vendor == "A"
    assert {name: item.value for name, item in merged.metadata.items()} == {"x": 1, "y": 3}
    assert merged.image_rows == 5
    assert merged.slice_z_nm == 0.0
    assert merged.warnings == ["a", "b"]
