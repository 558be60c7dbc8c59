"""Files real microscopes wrote, against the values their sources give."""

from collections.abc import Callable
from math import degrees
from pathlib import Path

import numpy as np
import pytest

from fibtomo.io.vendor import ProjectInfo, VendorInfo, read_project, read_vendor
from fibtomo.io.vendor.asv import read_asv_project
from fibtomo.io.vendor.janelia import read_dat, read_dat_header

ATLAS_SLICE = "zeiss/InLens_keyframe_00001_slice_00006_z=1.6659um.tif"
JANELIA = "janelia/Gemini500-7029_24-12-16_151317_0-0-0.dat"


@pytest.fixture(scope="module")
def vendor_files(shared_data: Path) -> Path:
    return shared_data / "vendor"


@pytest.fixture(scope="module")
def read(vendor_files: Path) -> Callable[[str], VendorInfo]:
    def read_one(name: str) -> VendorInfo:
        info = read_vendor(vendor_files / name)
        assert info is not None
        return info

    return read_one


# name: vendor, (dy, dx) nm, kV, detector, image rows, column angle, tilt corrected
EXPECTED = {
    "thermofisher/asv_SEM_Image-SliceImage-001.tif": ("Thermo/FEI", 385.417, 15.0, "ETD", 1024, 52.0, False),
    "thermofisher/FEI-Helios-Ebeam-8bits.tif": ("Thermo/FEI", 3372.4, 5.0, "ETD", 442, 52.0, False),
    "thermofisher/quanta_image.tif": ("Thermo/FEI", 441.942, 30.0, "LFD", 884, None, False),
    "thermofisher/scios_xml_metadata.tif": ("Thermo/FEI", 26.9792, 5.0, "CBS", 1024, 52.0, False),
    "zeiss/test_tiff_Zeiss_SEM_1k.tif": ("Zeiss SmartSEM", 2615.0, 25.0, "HE-SE2", None, None, False),
    "zeiss/1-as-cast_16_Sch_10k_InLens.tif": ("Zeiss SmartSEM", 11.16, 10.0, "InLens", None, 54.0, False),
    "zeiss/zeiss_tiff_meta_test.tif": ("Zeiss SmartSEM", 55.82, 8.0, "SE2", None, None, False),
    ATLAS_SLICE: ("Zeiss Atlas", 44.7154077316689, None, "InLens", None, 54.0, None),
    "tescan/tescan-minimal.hdr": ("TESCAN", 50.0, 5.0, "SE", None, 55.0, None),
    "tescan/tescan_pfib_example_hdr_meta.txt": ("TESCAN", 1.5625, 15.0, "E-T", None, 55.0, False),
    "tescan/tescan_pfib_example_tiff_meta.txt": ("TESCAN", 1.5625, 15.0, "E-T", None, 55.0, False),
    "jeol/image000.tif": ("JEOL", 100_000 / 101, 7.0, "SEI", 960, None, None),
    "jeol/Standard_BSE_640-800.bmp": ("JEOL", 2 * 100_000 / 45, 10.0, "COMPO", 480, None, None),
    JANELIA: ("Janelia", 1.999964, 0.9, "InLens", 1000, None, None),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_calibration(read: Callable[[str], VendorInfo], name: str) -> None:
    vendor, pixel_nm, high_voltage_kv, detector, image_rows, column_angle_deg, tilt_corrected = EXPECTED[name]
    info = read(name)
    assert info.vendor == vendor
    assert info.calibration.pixel_nm.value == pytest.approx((pixel_nm, pixel_nm), rel=1e-9)
    assert info.calibration.pixel_nm.confidence == "given"
    kilovolts = info.metadata.get("high_voltage_kv")
    assert (kilovolts and kilovolts.value) == high_voltage_kv
    assert info.detector == detector
    assert info.image_rows == image_rows
    assert info.calibration.column_angle_deg.value == column_angle_deg
    assert info.calibration.tilt_corrected.value is tilt_corrected
    assert all(item.origin != "unknown" and item.confidence == "given" for item in info.metadata.values())


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_not_known_is_said(read: Callable[[str], VendorInfo], name: str) -> None:
    info = read(name)
    if not info.calibration.column_angle_deg:
        assert any("--column-angle-deg" in warning for warning in info.warnings)


def values(info: VendorInfo | ProjectInfo) -> dict[str, object]:
    return {name: item.value for name, item in info.metadata.items()}


def test_thermo_slice(read: Callable[[str], VendorInfo]) -> None:
    found = values(read("thermofisher/asv_SEM_Image-SliceImage-001.tif"))
    assert found["beam_current_na"] == 1.6
    assert found["stage_tilt_deg"] == pytest.approx(degrees(0.336851))
    assert found["tilt_correction_angle_deg"] == pytest.approx(degrees(0.977384))
    assert found["working_distance_mm"] == 4.02349
    assert found["dwell_us"] == 0.3
    assert found["instrument"] == "Helios G4 PFIB CXe"


def test_thermo_scios(read: Callable[[str], VendorInfo]) -> None:
    info = read("thermofisher/scios_xml_metadata.tif")
    assert info.metadata["beam_current_na"].value == 1.6
    assert info.raw["[EBeam] DynamicFocusIsOn"] == "yes"
    assert info.calibration.tilt_corrected.origin == "tag 34682 [EBeam] TiltCorrectionIsOn"
    assert info.raw["Optics/SampleTiltCorrectionOn"] == "false"


def test_thermo_quanta_low_vacuum(read: Callable[[str], VendorInfo]) -> None:
    info = read("thermofisher/quanta_image.tif")
    assert info.raw["[Vacuum] UserMode"] == "Low vacuum"
    assert info.metadata["chamber_pressure_pa"].value == 79.8238


def test_thermo_project(vendor_files: Path) -> None:
    info = read_asv_project(vendor_files / "thermofisher")
    assert info is not None
    assert info.calibration.slice_nm.value == 100.0
    assert info.calibration.slice_nm.origin == "project asv4_EMProject.emxml ZCutSpacing"
    found = values(info)
    assert (found["slices"], found["box_x_um"], found["box_y_um"], found["box_z_um"]) == (185, 75.0, 40.0, 18.5)
    assert found["datasets"][:2] == ("SEM Image", "SEM Multi-Detector Image-Q1")
    assert len(found["datasets"]) == 7


def test_zeiss_merlin(read: Callable[[str], VendorInfo]) -> None:
    info = read("zeiss/test_tiff_Zeiss_SEM_1k.tif")
    assert info.metadata["working_distance_mm"].value == 14.808
    assert info.metadata["tilt_correction_angle_deg"].value == 70.0
    assert "scan_rotation_deg" not in info.metadata


def test_zeiss_auriga_column_angle_is_in_the_tag(read: Callable[[str], VendorInfo]) -> None:
    angle = read("zeiss/1-as-cast_16_Sch_10k_InLens.tif").calibration.column_angle_deg
    assert (angle.origin, angle.confidence) == ("tag 34118 AP_FIB_SEM_ANGLE", "given")


def test_atlas_slice(read: Callable[[str], VendorInfo]) -> None:
    info = read(ATLAS_SLICE)
    assert info.slice_z_nm == pytest.approx(1665.9, abs=0.05)
    assert info.metadata["nominal_z_um"].value == pytest.approx(0.859810923667355)
    assert info.metadata["sem_correction_y_um"].value == pytest.approx(-1.19796427824908)
    assert info.metadata["tilt_correction_angle_deg"].value == -36.0
    assert "--tilt-corrected" in info.warnings[0]
    assert info.metadata["working_distance_mm"].value == pytest.approx(5.04427822306752)


def test_atlas_project(vendor_files: Path) -> None:
    info = read_project(vendor_files / "zeiss")
    assert info is not None
    assert info.path.name == "Atlas3D.a3d-setup"
    assert info.calibration.slice_nm.value == 10.0
    assert info.calibration.pixel_nm.value == pytest.approx((10.0, 10.0), rel=1e-6)
    assert info.calibration.tilt_corrected.value is True
    assert info.calibration.column_angle_deg.value == 54.0
    assert info.calibration.column_angle_deg.confidence == "given"
    assert info.slice_z_nm_by_name == {Path(ATLAS_SLICE).name: 1665.9}
    found = values(info)
    assert (found["detector"], found["detector_b"], found["dwell_us"]) == ("SE2", "ESB", 0.7)
    assert (found["eds_interval_um"], found["autofocus_interval_s"], found["tracking_interval_s"]) == (0.5, 7200, 89)


def test_tescan(read: Callable[[str], VendorInfo]) -> None:
    info = read("tescan/tescan-minimal.hdr")
    assert info.calibration.slice_nm.value == 50.0
    assert info.metadata["cross_section_angle_deg"].value == 90.0
    assert "90.0°" in info.warnings[0]
    header, dump = (values(read(f"tescan/tescan_pfib_example_{kind}_meta.txt")) for kind in ("hdr", "tiff"))
    assert header == dump
    assert (header["stage_rotation_deg"], header["beam_current_na"]) == (30.0, 0.3003)


def test_jeol_bar_is_drawn_as_long_as_read(vendor_files: Path, read: Callable[[str], VendorInfo]) -> None:
    """The white bar of 100 µm in the info bar of both images measures what the pixel size says."""
    from PIL import Image

    for name in ("jeol/image000.tif", "jeol/Standard_BSE_640-800.bmp"):
        info = read(name)
        with Image.open(vendor_files / name) as image:
            bar = np.asarray(image.convert("L"))[info.image_rows :]
        runs = ["".join("#" if grey > 200 else " " for grey in row).split() for row in bar]
        longest = max(len(run) for row in runs for run in row)
        assert longest * info.calibration.pixel_nm.value[1] == pytest.approx(100_000, rel=0.025)


def test_janelia_pixels(vendor_files: Path) -> None:
    path = vendor_files / JANELIA
    header = read_dat_header(path)
    assert (header.version, header.channels, header.rows, header.cols) == (9, 2, 1000, 1000)
    assert header.dtype == "int16"
    pixels, info = read_dat(path)
    assert pixels.shape == (2, 1000, 1000)
    assert pixels.dtype == np.int16
    assert header.detectors == ("InLens", "ESB @ 400 V")
    assert info.metadata["sample"].value == "Sn-on-C"
    assert info.calibration.slice_nm.value == 4.0
    for channel in pixels.astype(float):
        neighbours = np.corrcoef(channel[:, :-1].ravel(), channel[:, 1:].ravel())[0, 1]
        assert neighbours > 0.5


def test_stack_with_wrong_calibration_gives_none(shared_data: Path) -> None:
    for path in sorted((shared_data / "stacks" / "c_elegans_em_21slices").glob("*.tif")):
        assert read_vendor(path) is None
    assert read_vendor(shared_data / "curtaining" / "pyvsnr_fib_sem_sample.tif") is None
