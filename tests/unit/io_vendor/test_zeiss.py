from collections.abc import Callable
from pathlib import Path

import pytest

from fibtomo.io.vendor import read_project, read_vendor
from fibtomo.io.vendor.atlas import z_nm_from_name

SMARTSEM = {
    "AP_IMAGE_PIXEL_SIZE": "Image Pixel Size = 11.16 nm",
    "AP_WD": "WD = 4.967 mm",
    "AP_ACTUALKV": "EHT = 10.00 kV",
    "AP_IPROBE": "I Probe =  690 pA",
    "AP_TIME": "Time :11:18:36",
    "AP_DATE": "Date :9 Dec 2019",
    "AP_FIB_SEM_ANGLE": "FIB SEM Angle =  54.0 °",
    "AP_TILT_ANGLE": "Tilt Angle =  36.0 °",
    "AP_STAGE_AT_T": "Stage at T =  54.0 °",
    "AP_SCANROTATION": "Scan Rotation = 180.0 °",
    "DP_FIB_PRESENT": "FIB Present = Yes",
    "DP_TILT_CORRECTION": "Tilt Corrn. = On",
    "DP_SCAN_ROT": "Scan Rot = On",
    "DP_DWELL_TIME": "Dwell Time = 200 ns",
    "DP_DETECTOR_TYPE": "Detector = InLens",
    "DP_IMAGE_STORE": "Store resolution = 64 * 48",
    "SV_SERIAL_NUMBER": "Serial No. = Auriga 60",
    "SV_OPERATOR": "Operator =",
}
FIBICS = """<?xml version="1.0" encoding="iso-8859-1"?>
<Fibics version="1.0"><Application><Version>AtlasEngine v5.0</Version><Date>2017-04-20T11:52:36</Date></Application>
<Image><Width>64</Width><Height>48</Height><Machine>AURIGA</Machine><Beam>SEM</Beam>
<Aperture>[1] 30 \xb5m</Aperture><Detector>InLens</Detector></Image>
<Scan><Dwell units="ns">1000</Dwell><FOV_X units="um">2.56</FOV_X><FOV_Y units="um">1.92</FOV_Y>
<ScanRot units="deg">0</ScanRot><Ux>0.04</Ux><Uy>0</Uy><Vx>0</Vx><Vy>-0.04</Vy><Focus>0.005</Focus></Scan>
<BeamInfo><item name="EHT">=  5.00 kV</item><item name="Ext I">=  248.4 ?A</item></BeamInfo>
<ScanInfo><item name="Tilt Corrn. Angle">= -36.0\xb0</item></ScanInfo>
<ATLAS3D><Slice><ZIndex>6</ZIndex><NominalZPos>0.86</NominalZPos><ZPos>1.6659</ZPos></Slice></ATLAS3D></Fibics>"""
SETUP = """<?xml version="1.0" encoding="iso-8859-1"?>
<ATLAS3D-Setup><JobName>job</JobName><Settings><Imaging><Interval>0.012</Interval><Detector>SE2</Detector>
<FibicsRasterInfo><Width>4224</Width><PixelSizeX>0.01</PixelSizeX><PixelSizeY>0.01</PixelSizeY><Dwell>0.7</Dwell>
</FibicsRasterInfo></Imaging><KeyFrame><Interval>0.3</Interval></KeyFrame>
<Options><TrackXSPosition>true</TrackXSPosition><TiltCorrectionEnabled>1</TiltCorrectionEnabled>
<MillToImgAngle>54</MillToImgAngle></Options></Settings></ATLAS3D-Setup>"""


def pairs(**changes: str | None) -> str:
    kept = {code: line for code, line in {**SMARTSEM, **changes}.items() if line is not None}
    return "0\r\n0\r\n1.1165e-8\r\n" + "".join(f"{code}\r\n{line}\r\n" for code, line in kept.items())


@pytest.fixture
def read(write_tiff: Callable[..., Path]) -> Callable[..., object]:
    return lambda **changes: read_vendor(write_tiff({34118: pairs(**changes).encode("cp1252") + b"\0"}))


def test_smartsem_values_with_inline_units(read) -> None:
    info = read()
    assert info.vendor == "Zeiss SmartSEM"
    assert info.calibration.pixel_nm.value == (11.16, 11.16)
    assert info.calibration.pixel_nm.origin == "tag 34118 AP_IMAGE_PIXEL_SIZE"
    found = {name: item.value for name, item in info.metadata.items()}
    assert found["high_voltage_kv"] == 10.0
    assert found["beam_current_na"] == 0.69
    assert found["working_distance_mm"] == 4.967
    assert found["dwell_us"] == 0.2
    assert found["stage_tilt_deg"] == 54.0
    assert found["scan_rotation_deg"] == 180.0
    assert found["date"] == "9 Dec 2019 11:18:36"
    assert info.detector == "InLens"
    assert info.raw["SV_OPERATOR"] == ""


def test_smartsem_micrometre_in_windows_encoding(read) -> None:
    assert read(AP_IMAGE_PIXEL_SIZE="Image Pixel Size = 2.615 µm").calibration.pixel_nm.value == (2615.0, 2615.0)


def test_smartsem_old_pixel_key(read) -> None:
    info = read(AP_IMAGE_PIXEL_SIZE=None, AP_PIXEL_SIZE="Pixel Size = 5.0 nm")
    assert info.calibration.pixel_nm.value == (5.0, 5.0)


def test_smartsem_utf16_twin_tag(write_tiff) -> None:
    info = read_vendor(write_tiff({34119: pairs().encode("utf-16-le") + b"\0\0"}))
    assert info.calibration.pixel_nm.value == (11.16, 11.16)
    assert info.calibration.column_angle_deg.value == 54.0
    assert info.calibration.column_angle_deg.origin == "tag 34119 AP_FIB_SEM_ANGLE"


@pytest.mark.parametrize(
    ("switch", "angle", "expected", "n_warnings"),
    [
        ("On", "36.0", True, 0),
        ("On", "-36.0", True, 0),
        ("Off", "70.0", False, 0),
        ("On", "0.0", None, 1),
        ("On", "54.0", None, 1),
    ],
)
def test_smartsem_tilt_correction(read, switch: str, angle: str, expected: bool | None, n_warnings: int) -> None:
    info = read(DP_TILT_CORRECTION=f"Tilt Corrn. = {switch}", AP_TILT_ANGLE=f"Tilt Angle = {angle} °")
    assert info.calibration.tilt_corrected.value is expected
    assert len(info.warnings) == n_warnings


def test_smartsem_scan_rotation_only_when_on(read) -> None:
    assert "scan_rotation_deg" not in read(DP_SCAN_ROT="Scan Rot = Off").metadata


def test_smartsem_without_ion_column(read) -> None:
    info = read(DP_FIB_PRESENT="FIB Present = No", DP_TILT_CORRECTION="Tilt Corrn. = Off")
    assert not info.calibration.column_angle_deg
    assert "Auriga 60" in info.warnings[0]


def test_smartsem_default_column_angle(read) -> None:
    angle = read(AP_FIB_SEM_ANGLE=None).calibration.column_angle_deg
    assert (angle.value, angle.confidence) == (54.0, "default")


def test_smartsem_resized(read) -> None:
    info = read(DP_IMAGE_STORE="Store resolution = 1024 * 768")
    assert info.calibration.pixel_nm.confidence == "guess"


def test_atlas_image(write_tiff) -> None:
    info = read_vendor(write_tiff({51023: FIBICS.encode("latin-1") + b"\r\n\0"}))
    assert info.vendor == "Zeiss Atlas"
    assert info.calibration.pixel_nm.value == pytest.approx((40.0, 40.0))
    assert info.calibration.column_angle_deg.value == 54.0
    assert info.slice_z_nm == pytest.approx(1665.9)
    assert info.metadata["high_voltage_kv"].value == 5.0
    assert info.metadata["working_distance_mm"].value == 5.0
    assert info.metadata["dwell_us"].value == 1.0
    assert info.metadata["tilt_correction_angle_deg"].value == -36.0
    assert info.metadata["aperture"].value == "[1] 30 µm"


def test_atlas_angle_without_a_switch_is_a_question(write_tiff) -> None:
    info = read_vendor(write_tiff({51023: FIBICS.encode("latin-1")}))
    assert info.calibration.tilt_corrected.value is None
    assert "-36.00°" in info.warnings[0]
    switch = FIBICS.replace("<ScanInfo>", '<ScanInfo><item name="Tilt Corrn.">= On</item>')
    assert read_vendor(write_tiff({51023: switch.encode("latin-1")})).calibration.tilt_corrected.value is True


def test_atlas_pixel_from_the_field_of_view_and_rotated_scan(write_tiff) -> None:
    no_vectors = FIBICS.replace("<Ux>0.04</Ux>", "")
    info = read_vendor(write_tiff({51023: no_vectors.encode("latin-1")}))
    assert info.calibration.pixel_nm.value == pytest.approx((40.0, 40.0))
    rotated = FIBICS.replace("<Ux>0.04</Ux><Uy>0</Uy>", "<Ux>0.024</Ux><Uy>0.032</Uy>")
    assert read_vendor(write_tiff({51023: rotated.encode("latin-1")})).calibration.pixel_nm.value[1] == pytest.approx(
        40
    )


def test_atlas_other_beams(write_tiff) -> None:
    orion = read_vendor(write_tiff({51023: FIBICS.replace("<Beam>SEM", "<Beam>Orion").encode("latin-1")}))
    assert not orion.calibration.column_angle_deg
    fib = read_vendor(write_tiff({51023: FIBICS.replace("<Beam>SEM", "<Beam>FIB").encode("latin-1")}))
    assert any("ion-beam image" in warning for warning in fib.warnings)


def test_atlas_damaged_keeps_z_of_the_name(write_tiff) -> None:
    info = read_vendor(write_tiff({51023: FIBICS[:300].encode("latin-1")}, name="slice_00006_z=0.5um.tif"))
    assert info.slice_z_nm == 500.0
    assert "damaged" in info.warnings[0]


@pytest.mark.parametrize(
    ("name", "z_nm"),
    [
        ("slice_00006_z=1.6659um.tif", 1665.9),
        ("InLens_keyframe_00001_slice_00006_z=1.6659um.tif", 1665.9),
        ("slice_1_z=-0.25µm.tif", -250.0),
        ("slice_1_z=12.tif", 12000.0),
        ("slice_1_z=12.5nm.tif", 12.5),
        ("slice_0001.tif", None),
        ("horizon=3.tif", None),
    ],
)
def test_z_of_names(name: str, z_nm: float | None) -> None:
    assert z_nm_from_name(name) == z_nm


def test_atlas_project(tmp_path: Path) -> None:
    (tmp_path / "Atlas3D.a3d-setup").write_text(SETUP, encoding="latin-1")
    images = tmp_path / "SE2"
    images.mkdir()
    for k in range(3):
        (images / f"slice_{k:05}_z={0.011 * k:.4f}um.tif").touch()
    info = read_project(images)
    assert info.path.name == "Atlas3D.a3d-setup"
    assert info.calibration.slice_nm.value == 12.0
    assert info.calibration.pixel_nm.value == (10.0, 10.0)
    assert info.calibration.column_angle_deg.value == 54.0
    assert info.calibration.column_angle_deg.confidence == "given"
    assert info.calibration.tilt_corrected.value is True
    assert info.calibration.tracked.value is True
    assert sorted(info.slice_z_nm_by_name.values()) == pytest.approx([0.0, 11.0, 22.0])
    assert info.metadata["dwell_us"].value == 0.7


@pytest.mark.parametrize("angle", ["0", "5", "154", "none"])
def test_atlas_angle_that_cannot_be_is_the_default(tmp_path: Path, angle: str) -> None:
    setup = SETUP.replace("<MillToImgAngle>54<", f"<MillToImgAngle>{angle}<")
    (tmp_path / "Atlas3D.a3d-setup").write_text(setup, encoding="latin-1")
    found = read_project(tmp_path).calibration.column_angle_deg
    assert (found.value, found.confidence) == (54.0, "default")


def test_atlas_project_of_names_alone_and_damaged(tmp_path: Path) -> None:
    (tmp_path / "slice_1_z=0.01um.tif").touch()
    assert read_project(tmp_path) is None
    (tmp_path / "slice_2_z=0.02um.tif").touch()
    assert read_project(tmp_path).slice_z_nm_by_name == {"slice_1_z=0.01um.tif": 10.0, "slice_2_z=0.02um.tif": 20.0}
    (tmp_path / "Atlas3D.a3d-setup").write_text(SETUP[:150])
    info = read_project(tmp_path)
    assert "damaged" in info.warnings[0]
    assert len(info.slice_z_nm_by_name) == 2


def test_orion(write_tiff) -> None:
    xml = """<ImageTags><Fov><Value>2.56</Value><Units>um</Units></Fov>
    <AccelerationVoltage><Value>30000</Value><Units>V</Units></AccelerationVoltage>
    <BeamCurrent><Value>0.9</Value><Units>pA</Units></BeamCurrent><ImageWidth><Value>64</Value></ImageWidth>
    <DwellTime><Value>2</Value></DwellTime><System><Model><Value>ORION NanoFab</Value></Model></System></ImageTags>"""
    info = read_vendor(write_tiff({65000: xml.encode()}))
    assert info.vendor == "Zeiss Orion"
    assert info.calibration.pixel_nm.value == pytest.approx((40.0, 40.0))
    assert not info.calibration.column_angle_deg
    assert info.metadata["high_voltage_kv"].value == 30.0
    assert info.metadata["beam_current_na"].value == pytest.approx(0.0009)
    assert info.metadata["dwell_us"].value == 2.0
    assert info.metadata["instrument"].value == "ORION NanoFab"
    assert "damaged" in read_vendor(write_tiff({65000: xml.encode()[:50]})).warnings[0]
    assert read_vendor(write_tiff({65000: b"<Other/>"})) is None
