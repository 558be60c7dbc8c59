from collections.abc import Callable
from math import radians
from pathlib import Path

import pytest

from fibtomo.io.vendor import read_vendor

HELIOS = {
    "User": {"Date": "08/18/2020", "Time": "01:40:03 PM"},
    "System": {"Type": "DualBeam", "SystemType": "Helios G4"},
    "Beam": {"HV": "5000", "Beam": "EBeam", "Scan": "EScan", "ScanRotation": "0"},
    "EBeam": {
        "HV": "2000",
        "HFW": "6.4e-7",
        "WD": "0.0041",
        "BeamCurrent": "1.6e-9",
        "TiltCorrectionIsOn": "yes",
        "TiltCorrectionAngle": "-0.663242",
        "StageTa": "0.907553",
        "DynamicFocusIsOn": "no",
    },
    "Scan": {"PixelWidth": "1e-008", "PixelHeight": "1e-008", "Dwelltime": "3e-006"},
    "Image": {"ResolutionX": "64", "ResolutionY": "44"},
    "Detectors": {"Number": "1", "Name": "TLD"},
}
XML = """<?xml version="1.0"?>
<Metadata xmlns:nil="http://schemas.fei.com/Metadata/v1/2013/07">
  <Instrument><InstrumentClass>Scios 2</InstrumentClass></Instrument>
  <Optics><AccelerationVoltage>5000</AccelerationVoltage><SampleTiltCorrectionOn>true</SampleTiltCorrectionOn>
    <SamplePreTiltAngle>-0.663225</SamplePreTiltAngle></Optics>
  <BinaryResult><ImageSize><X>64</X><Y>48</Y></ImageSize>
    <PixelSize><X unit="m">2.5E-08</X><Y unit="m">2.5E-08</Y></PixelSize></BinaryResult>
</Metadata>"""


def ini(**changes: dict[str, str | None]) -> bytes:
    """The Helios header with keys changed; ``None`` leaves a key out."""
    lines = []
    for section, keys in HELIOS.items():
        lines.append(f"[{section}]")
        merged = {**keys, **changes.get(section, {})}
        lines += [f"{key}={value}" for key, value in merged.items() if value is not None] + [""]
    return "\r\n".join(lines).encode() + b"\0"


@pytest.fixture
def read(write_tiff: Callable[..., Path]) -> Callable[..., object]:
    return lambda **changes: read_vendor(write_tiff({34682: ini(**changes)}))


def test_values_units_and_origins(read) -> None:
    info = read()
    assert info.vendor == "Thermo/FEI"
    assert info.calibration.pixel_nm.value == (10.0, 10.0)
    assert info.calibration.pixel_nm.origin == "tag 34682 [Scan] PixelWidth"
    assert info.calibration.column_angle_deg.value == 52.0
    assert info.calibration.column_angle_deg.confidence == "default"
    assert info.detector == "TLD"
    found = {name: item.value for name, item in info.metadata.items()}
    assert found["high_voltage_kv"] == 2.0
    assert found["beam_current_na"] == 1.6
    assert found["working_distance_mm"] == 4.1
    assert found["dwell_us"] == 3.0
    assert found["stage_tilt_deg"] == pytest.approx(52.0, abs=0.01)
    assert found["date"] == "08/18/2020 01:40:03 PM"
    assert info.metadata["stage_tilt_deg"].origin == "tag 34682 [EBeam] StageTa"
    assert info.raw["[Detectors] Name"] == "TLD"


def test_info_bar_rows(read) -> None:
    assert read().image_rows == 44


def test_trap_1_negative_angle_of_the_face_is_a_correction(read) -> None:
    info = read()
    assert info.calibration.tilt_corrected.value is True
    assert info.calibration.tilt_corrected.confidence == "given"
    assert info.metadata["tilt_correction_angle_deg"].value == pytest.approx(-38.0, abs=0.01)
    assert info.warnings == []


def test_trap_2_correction_with_angle_zero_is_undecided(read) -> None:
    info = read(EBeam={"TiltCorrectionAngle": "0"})
    assert info.calibration.tilt_corrected.value is None
    assert "TiltCorrectionIsOn" in info.calibration.tilt_corrected.origin
    (warning,) = info.warnings
    assert "angle 0.00°" in warning
    assert "stage tilt 52.00°" in warning
    assert "--tilt-corrected" in warning


@pytest.mark.parametrize("focus", ["yes", "no", None])
@pytest.mark.parametrize("is_on", ["yes", "no"])
def test_trap_3_dynamic_focus_changes_nothing(read, focus: str | None, is_on: str) -> None:
    info = read(EBeam={"DynamicFocusIsOn": focus, "TiltCorrectionIsOn": is_on})
    assert info.calibration.tilt_corrected.value is (is_on == "yes")
    assert info.calibration.pixel_nm.value == (10.0, 10.0)


@pytest.mark.parametrize("angle_deg", [38.0, -38.0, 36.0, -40.0])
def test_trap_4_either_sign_and_small_overtilt(read, angle_deg: float) -> None:
    info = read(EBeam={"TiltCorrectionAngle": str(radians(angle_deg))})
    assert info.calibration.tilt_corrected.value is True
    assert len(info.warnings) == (abs(angle_deg) != 38)


@pytest.mark.parametrize("angle_rad", ["38", "-38", str(radians(52)), str(radians(20))])
def test_trap_4_degrees_where_radians_belong_and_other_angles_are_undecided(read, angle_rad: str) -> None:
    info = read(EBeam={"TiltCorrectionAngle": angle_rad})
    assert info.calibration.tilt_corrected.value is None
    assert "38.0°" in info.warnings[0]


def test_trap_5_width_is_x_and_height_is_y_whatever_the_correction_says(read) -> None:
    info = read(Scan={"PixelWidth": "1e-8", "PixelHeight": "2e-8"})
    assert info.calibration.pixel_nm.value == (20.0, 10.0)


def test_trap_6_repeated_sections_and_null_bytes(write_tiff) -> None:
    text = ini().rstrip(b"\0") + b"[MultiGIS]\r\nGas=Pt\r\n[MultiGIS]\r\nGas=C\r\n[Scan]\r\nPixelWidth=9\r\n"
    info = read_vendor(write_tiff({34682: text.replace(b"[EBeam]", b"\0[EB\0eam]") + b"\0\0\0"}))
    assert info.raw["[MultiGIS] Gas"] == "Pt"
    assert info.calibration.pixel_nm.value == (10.0, 10.0)
    assert info.metadata["working_distance_mm"].value == 4.1


def test_plain_sem_has_no_column_angle(read) -> None:
    info = read(System={"Type": "SEM", "SystemType": "Quanta FEG"}, EBeam={"TiltCorrectionIsOn": "no"})
    assert not info.calibration.column_angle_deg
    assert info.calibration.tilt_corrected.value is False
    assert "Quanta FEG" in info.warnings[0]


def test_ion_image_takes_the_ion_column_and_says_so(read) -> None:
    info = read(Beam={"Beam": "IBeam", "Scan": "IScan", "HV": "30000"})
    assert info.metadata["high_voltage_kv"].value == 30.0
    assert any("ion-beam image" in warning for warning in info.warnings)


def test_pixel_from_the_field_of_view(read) -> None:
    info = read(Scan={"PixelWidth": None, "PixelHeight": None})
    assert info.calibration.pixel_nm.value == pytest.approx((10.0, 10.0))
    assert "HFW" in info.calibration.pixel_nm.origin


def test_zero_or_missing_pixel_is_unknown(read) -> None:
    info = read(Scan={"PixelWidth": "0", "PixelHeight": ""}, EBeam={"HFW": None})
    assert not info.calibration.pixel_nm


def test_resized_file_makes_the_pixel_a_guess(write_tiff) -> None:
    info = read_vendor(write_tiff({34682: ini()}, shape=(24, 32)))
    assert info.calibration.pixel_nm.confidence == "guess"
    assert info.image_rows is None
    assert "cropped or resized" in info.warnings[-1]


def test_text_at_the_end_of_the_file(write_tiff) -> None:
    path = write_tiff({})
    path.write_bytes(path.read_bytes() + ini())
    info = read_vendor(path)
    assert info.calibration.pixel_nm.value == (10.0, 10.0)
    assert info.calibration.pixel_nm.origin == "end of file [Scan] PixelWidth"


def test_xml_alone_and_beside_the_text(write_tiff) -> None:
    alone = read_vendor(write_tiff({34683: XML.encode()}))
    assert alone.calibration.pixel_nm.value == (25.0, 25.0)
    assert alone.calibration.tilt_corrected.value is True
    assert alone.metadata["instrument"].value == "Scios 2"
    both = read_vendor(write_tiff({34682: ini(), 34683: XML.encode()}))
    assert both.calibration.pixel_nm.value == (10.0, 10.0)
    assert both.metadata["instrument"].origin.startswith("tag 34682")


@pytest.mark.parametrize("xml", [XML[:200], "", '<!DOCTYPE x [<!ENTITY a "b">]><Metadata>&a;</Metadata>'])
def test_damaged_or_unsafe_xml_is_a_warning(write_tiff, xml: str) -> None:
    info = read_vendor(write_tiff({34682: ini(), 34683: xml.encode() + b"\0"}))
    assert info.calibration.pixel_nm.value == (10.0, 10.0)
    assert info.warnings == ["tag 34683: the XML is damaged and was left out"]


@pytest.mark.parametrize(
    ("stage_deg", "pre_tilt_deg", "sample_deg"),
    [(52, None, 52), (52, 0, 52), (16, None, None), (16, 36, 52), (16, -36, 52), (38, None, None), (0, 36, None)],
)
def test_sample_tilt_only_where_stage_and_holder_add_up(read, stage_deg, pre_tilt_deg, sample_deg) -> None:
    pre_tilt = None if pre_tilt_deg is None else str(radians(pre_tilt_deg))
    info = read(EBeam={"StageTa": str(radians(stage_deg)), "PreTilt": pre_tilt})
    found = info.calibration.sample_tilt_deg
    assert found.value == (sample_deg if sample_deg is None else pytest.approx(sample_deg))
    assert not found or "StageTa" in found.origin
    assert info.calibration.column_angle_deg.value == 52.0
