from pathlib import Path

import numpy as np
import pytest
import tifffile

from fibtomo.io.vendor import read_vendor


def write(path: Path, **options) -> Path:
    tifffile.imwrite(path, np.zeros((8, 10), np.uint8), **options)
    return path


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600, 1200, 2400])
@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
def test_dots_per_inch_are_no_calibration(tmp_path: Path, dpi: int, unit: str) -> None:
    per_unit = dpi if unit == "INCH" else dpi / 2.54
    path = write(tmp_path / "a.tif", resolution=(per_unit, per_unit), resolutionunit=unit, metadata=None)
    assert read_vendor(path) is None


def test_no_unit_and_no_tags_are_no_calibration(tmp_path: Path) -> None:
    assert read_vendor(write(tmp_path / "a.tif", resolution=(5, 5), resolutionunit="NONE", metadata=None)) is None
    assert read_vendor(write(tmp_path / "b.tif", metadata=None)) is None


def test_fine_resolution_is_a_guess_with_a_warning(tmp_path: Path) -> None:
    info = read_vendor(write(tmp_path / "a.tif", resolution=(1e6, 5e5), resolutionunit="CENTIMETER", metadata=None))
    assert info.vendor == "TIFF"
    assert info.calibration.pixel_nm.value == pytest.approx((20.0, 10.0))
    assert info.calibration.pixel_nm.confidence == "guess"
    assert "often wrong" in info.warnings[0]


@pytest.mark.parametrize(("unit", "per_unit"), [("nm", 0.2), ("micron", 200.0), ("um", 200.0)])
def test_imagej(tmp_path: Path, unit: str, per_unit: float) -> None:
    path = write(
        tmp_path / "a.tif",
        imagej=True,
        resolution=(per_unit, per_unit),
        metadata={"unit": unit, "spacing": 2.0 / per_unit},
    )
    info = read_vendor(path)
    assert info.calibration.pixel_nm.value == pytest.approx((5.0, 5.0))
    assert info.calibration.slice_nm.value == pytest.approx(10.0)
    assert info.calibration.pixel_nm.confidence == "guess"
    assert "ImageJ" in info.calibration.pixel_nm.origin


@pytest.mark.parametrize("unit", ["", "pixel", "\\u00B5s"])
def test_imagej_without_a_length_unit(tmp_path: Path, unit: str) -> None:
    path = write(tmp_path / "a.tif", imagej=True, resolution=(1.0, 1.0), metadata={"unit": unit, "spacing": 3.0})
    assert read_vendor(path) is None


def test_ome_xml(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path,
        np.zeros((2, 8, 10), np.uint8),
        metadata={
            "axes": "ZYX",
            "PhysicalSizeX": 5.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.006,
            "PhysicalSizeZ": 0.01,
        },
    )
    calibration = read_vendor(path).calibration
    assert calibration.pixel_nm.value == pytest.approx((6.0, 5.0))
    assert calibration.slice_nm.value == pytest.approx(10.0)
    assert calibration.pixel_nm.origin == "OME-XML PhysicalSizeX"


def test_vendor_tags_win_over_resolution(tmp_path: Path) -> None:
    text = b"AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5 nm\r\n\0"
    path = write(
        tmp_path / "a.tif",
        resolution=(1e6, 1e6),
        resolutionunit="CENTIMETER",
        extratags=[(34118, 2, len(text), text, True)],
        metadata=None,
    )
    info = read_vendor(path)
    assert info.vendor == "Zeiss SmartSEM"
    assert info.calibration.pixel_nm.value == (5.0, 5.0)


def test_vendor_without_pixel_takes_the_guess(tmp_path: Path) -> None:
    text = b"AP_WD\r\nWD = 5 mm\r\n\0"
    path = write(
        tmp_path / "a.tif",
        resolution=(1e6, 1e6),
        resolutionunit="CENTIMETER",
        extratags=[(34118, 2, len(text), text, True)],
        metadata=None,
    )
    info = read_vendor(path)
    assert info.vendor == "Zeiss SmartSEM"
    assert info.calibration.pixel_nm.confidence == "guess"
