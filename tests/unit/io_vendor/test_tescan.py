import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from fibtomo.io.vendor import read_vendor

MAIN = """Device=TESCAN SOLARIS X
Date=2024-02-07
Time=10:00:00
ImageStripSize=8
PixelSizeX=0.00000005
PixelSizeY=0.00000004
PixelSizeZ=0.00000003
"""
SEM = """HV=5000.0
WD=0.0059
Detector=E-T
DwellTime=0.00001
StageTilt=55.0
ScanRotation=180.0
PredictedBeamCurrent=3.0e-10
TiltCorrection=0.0
"""
FIB = "HV=30000.0\nWD=0.012\n"


def blocks(order: str = "<", **texts: str) -> bytes:
    data = struct.pack(order + "IH", 5 + 2, 1) + b"\xff\xd8JPG"
    for kind, text in {2: texts.get("main", MAIN), 3: texts.get("sem", SEM), 5: FIB}.items():
        data += struct.pack(order + "IH", len(text) + 2, kind) + text.encode()
    return data + struct.pack(order + "IH", 2, 0)


@pytest.fixture
def read(write_tiff: Callable[..., Path]) -> Callable[..., object]:
    return lambda **texts: read_vendor(write_tiff({50431: blocks(**texts)}))


def test_blocks_of_the_tag(read) -> None:
    info = read()
    assert info.vendor == "TESCAN"
    assert info.calibration.pixel_nm.value == (40.0, 50.0)
    assert info.calibration.pixel_nm.origin == "tag 50431 [MAIN] PixelSizeX"
    assert info.calibration.slice_nm.value == 30.0
    assert info.calibration.column_angle_deg.value == 55.0
    assert info.calibration.tilt_corrected.value is False
    assert info.image_rows == 40
    assert info.detector == "E-T"
    found = {name: item.value for name, item in info.metadata.items()}
    assert found["high_voltage_kv"] == 5.0
    assert found["working_distance_mm"] == 5.9
    assert found["dwell_us"] == 10.0
    assert found["stage_tilt_deg"] == 55.0
    assert found["scan_rotation_deg"] == 180.0
    assert found["beam_current_na"] == 0.3
    assert found["date"] == "2024-02-07 10:00:00"
    assert info.raw["[FIB] HV"] == "30000.0"


def test_big_endian_tag(write_tiff) -> None:
    info = read_vendor(write_tiff({50431: blocks(">")}, byteorder=">"))
    assert info.calibration.pixel_nm.value == (40.0, 50.0)


def test_text_without_blocks_and_overrunning_block(write_tiff) -> None:
    plain = read_vendor(write_tiff({50431: b"\1\2\3[MAIN]\n" + MAIN.encode() + b"[SEM]\n" + SEM.encode()}))
    assert plain.calibration.pixel_nm.value == (40.0, 50.0)
    assert plain.metadata["high_voltage_kv"].value == 5.0
    cut = blocks()[: 11 + 6 + len(MAIN) + 20]
    info = read_vendor(write_tiff({50431: cut}))
    assert info.calibration.pixel_nm.value == (40.0, 50.0)
    assert info.metadata["high_voltage_kv"].value == 5.0


@pytest.mark.parametrize(
    ("angle", "expected", "n_warnings"), [("0.0", False, 0), ("35.0", True, 0), ("-35.0", True, 0), ("1.0", None, 1)]
)
def test_tilt_correction_is_an_angle_in_degrees(read, angle: str, expected: bool | None, n_warnings: int) -> None:
    info = read(sem=SEM.replace("TiltCorrection=0.0", f"TiltCorrection={angle}"))
    assert info.calibration.tilt_corrected.value is expected
    assert len(info.warnings) == n_warnings


def test_plain_sem_has_no_column_angle(read) -> None:
    info = read(main=MAIN.replace("SOLARIS X", "MIRA3 LMH"))
    assert not info.calibration.column_angle_deg
    assert "MIRA3" in info.warnings[0]


@pytest.mark.parametrize("name", ["slice-tif.hdr", "slice.hdr", "slice.tif.hdr", "slice-tif.HDR"])
def test_sidecar_names(write_tiff, tmp_path: Path, name: str) -> None:
    path = write_tiff({})
    (tmp_path / name).write_text(f"[MAIN]\n{MAIN}\n[SEM]\n{SEM}\n[3DTomo]\nCrossSectionAngle=90.0")
    info = read_vendor(path)
    assert info.calibration.pixel_nm.value == (40.0, 50.0)
    assert info.calibration.pixel_nm.origin == f"sidecar {name} [MAIN] PixelSizeX"
    assert info.image_rows == 40
    assert info.metadata["cross_section_angle_deg"].value == 90.0
    assert "90.0°" in info.warnings[0]


def test_sidecar_of_a_png(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 64, 48))
    (tmp_path / "scan-png.hdr").write_text(f"[MAIN]\n{MAIN}")
    assert read_vendor(path).image_rows == 40


def test_tag_comes_before_the_sidecar_which_fills_gaps(write_tiff, tmp_path: Path) -> None:
    path = write_tiff({50431: blocks(main=MAIN.replace("PixelSizeZ=0.00000003\n", ""))})
    (tmp_path / "slice.hdr").write_text("[MAIN]\nPixelSizeX=1e-9\nPixelSizeZ=7e-9\n")
    calibration = read_vendor(path).calibration
    assert calibration.pixel_nm.value == (40.0, 50.0)
    assert calibration.slice_nm.value == 7.0


def test_foreign_hdr_is_ignored(write_tiff, tmp_path: Path) -> None:
    path = write_tiff({})
    (tmp_path / "slice.hdr").write_text("ENVI\nsamples = 64\n")
    assert read_vendor(path) is None
