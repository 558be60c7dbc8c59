import struct
from pathlib import Path

import pytest

from fibtomo.io.vendor import read_vendor

JEOL = """$SEM_DATA_VERSION 1
$CM_SIGNAL SEI
$CM_ACCEL_VOLT 7.00
$$SM_WD 10.52
$CM_MAG 95
$$SM_PROBE_CURRENT 1.64e-008
$CM_DATE 2020/08/31
$CM_TIME 15:32:31
$CM_INSTRUMENT JIB-4700F
$$SM_MICRON_BAR 101
$$SM_MICRON_MARKER 100um
$CM_FULL_SIZE 1280 960
"""
HITACHI = """[SemImageFile]
InstructName=SU8230
Date=03/12/2019
Time=10:22:13
DataSize=64x44
PixelSize=9.921875
SignalName=SE(U)
AcceleratingVoltage=15000 Volt
WorkingDistance=8100 um
EmissionCurrent=10100 nA
"""


def bmp(folder: Path, rows: int, cols: int, text: str, encoding: str = "latin-1") -> Path:
    path = folder / "image000.bmp"
    path.write_bytes(b"BM" + bytes(16) + struct.pack("<ii", cols, -rows) + bytes(20))
    (folder / "image000.txt").write_bytes(text.encode(encoding))
    return path


def test_jeol_micron_bar(tmp_path: Path) -> None:
    info = read_vendor(bmp(tmp_path, 1024, 1280, JEOL))
    assert info.vendor == "JEOL"
    assert info.calibration.pixel_nm.value == pytest.approx((100_000 / 101,) * 2)
    assert info.calibration.pixel_nm.origin == "sidecar image000.txt $$SM_MICRON_BAR"
    assert info.image_rows == 960
    assert info.calibration.column_angle_deg.value == 53.0
    assert info.metadata["high_voltage_kv"].value == 7.0
    assert info.metadata["beam_current_na"].value == 16.4
    assert info.metadata["working_distance_mm"].value == 10.52
    assert info.metadata["date"].value == "2020/08/31 15:32:31"
    assert info.detector == "SEI"
    assert info.warnings == []


def test_jeol_bar_counts_full_size_pixels_when_exported_smaller(tmp_path: Path) -> None:
    info = read_vendor(bmp(tmp_path, 512, 640, JEOL.replace("BAR 101", "BAR 45")))
    assert info.calibration.pixel_nm.value == pytest.approx((2 * 100_000 / 45,) * 2)
    assert info.image_rows == 480
    assert "known to 2 % only" in info.warnings[0]
    assert "multiplied by 2" in info.warnings[1]


def test_jeol_microprobe_has_no_ion_column(tmp_path: Path) -> None:
    info = read_vendor(bmp(tmp_path, 1024, 1280, JEOL.replace("JIB-4700F", "8530F")))
    assert not info.calibration.column_angle_deg
    assert "8530F" in info.warnings[0]


@pytest.mark.parametrize("full", ["¹60 960", "", "1280", "9" * 5000, "0 0"])
def test_jeol_full_size_that_does_not_fit(tmp_path: Path, full: str) -> None:
    info = read_vendor(bmp(tmp_path, 1024, 1280, JEOL.replace("1280 960", full)))
    assert info.calibration.pixel_nm.value == pytest.approx((100_000 / 101,) * 2)
    assert info.calibration.pixel_nm.confidence == "guess"
    assert info.image_rows is None
    assert "does not fit" in info.warnings[0]


def test_jeol_without_bar(tmp_path: Path) -> None:
    info = read_vendor(bmp(tmp_path, 1024, 1280, JEOL.replace("BAR 101", "BAR 0")))
    assert not info.calibration.pixel_nm
    assert "--voxel-nm" in info.warnings[0]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_hitachi(tmp_path: Path, encoding: str) -> None:
    info = read_vendor(bmp(tmp_path, 48, 64, HITACHI, encoding))
    assert info.vendor == "Hitachi"
    assert info.calibration.pixel_nm.value == (9.921875, 9.921875)
    assert info.calibration.pixel_nm.origin == "sidecar image000.txt [SemImageFile] PixelSize"
    assert info.image_rows == 44
    assert info.metadata["high_voltage_kv"].value == 15.0
    assert info.metadata["working_distance_mm"].value == 8.1
    assert info.metadata["emission_current_na"].value == 10100
    assert info.detector == "SE(U)"
    assert not info.calibration.column_angle_deg


def test_hitachi_orthogonal_columns(tmp_path: Path) -> None:
    info = read_vendor(bmp(tmp_path, 48, 64, HITACHI.replace("SU8230", "NX9000")))
    assert info.calibration.column_angle_deg.value == 90.0
    assert info.warnings == []


def test_hitachi_angle_that_is_only_remembered_is_a_guess(tmp_path: Path) -> None:
    info = read_vendor(bmp(tmp_path, 48, 64, HITACHI.replace("SU8230", "NX5000")))
    assert info.calibration.column_angle_deg.value == 58.0
    assert info.calibration.column_angle_deg.confidence == "guess"


def test_hitachi_resized(tmp_path: Path) -> None:
    assert read_vendor(bmp(tmp_path, 24, 32, HITACHI)).calibration.pixel_nm.confidence == "guess"


@pytest.mark.parametrize("text", ["", "just a note about the sample\n", "$5 for lunch\n", "\0\1\2\xff"])
def test_other_text_is_ignored(tmp_path: Path, text: str) -> None:
    assert read_vendor(bmp(tmp_path, 48, 64, text)) is None


def test_sidecar_on_its_own(tmp_path: Path) -> None:
    bmp(tmp_path, 512, 640, JEOL)
    assert read_vendor(tmp_path / "image000.txt").calibration.pixel_nm.value == pytest.approx((100_000 / 101,) * 2)
