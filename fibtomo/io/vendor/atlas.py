"""Zeiss/Fibics Atlas: XML in TIFF tag 51023, `*.a3d-setup` of a run, measured z in the names of the slices."""

import math
import re
from pathlib import Path

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.vendor.info import ProjectInfo, VendorInfo, sized
from fibtomo.io.vendor.keys import Field, Keys, pixel_pair
from fibtomo.io.vendor.markup import flatten, parse_xml
from fibtomo.io.vendor.tifftags import TiffTags
from fibtomo.io.vendor.tilt import (
    default_column_angle,
    judge_tilt_correction,
    no_ion_column,
    read_column_angle,
    sample_tilt,
)
from fibtomo.io.vendor.units import convert

VENDOR = "Zeiss Atlas"
COLUMN_ANGLE_DEG = 54.0
_Z_IN_NAME = re.compile(r"[_ ]z=\s*([-+]?\d+(?:[.,]\d+)?)\s*(um|µm|nm|mm)?(?![a-z\d])", re.IGNORECASE)

_IMAGE_FIELDS = (
    Field("high_voltage_kv", ("BeamInfo/EHT", "BeamInfo/AccV"), "V"),
    Field("beam_current_na", ("BeamInfo/I Probe", "BeamInfo/BeamI"), "pA"),
    Field("working_distance_mm", ("Scan/Focus",), "m"),
    Field("tilt_correction_angle_deg", ("ScanInfo/Tilt Corrn. Angle",), "deg"),
    Field("stage_tilt_deg", ("Stage/Tilt",), "deg"),
    Field("stage_rotation_deg", ("Stage/Rot",), "deg"),
    Field("stage_x_mm", ("Stage/X",), "µm"),
    Field("stage_y_mm", ("Stage/Y",), "µm"),
    Field("stage_z_mm", ("Stage/Z",), "µm"),
    Field("scan_rotation_deg", ("Scan/ScanRot",), "deg"),
    Field("dwell_us", ("Scan/Dwell",), "ns"),
    Field("line_average", ("Scan/LineAvg",), ""),
    Field("slice_index", ("ATLAS3D/Slice/ZIndex",), ""),
    Field("nominal_z_um", ("ATLAS3D/Slice/NominalZPos",), "µm"),
    Field("sem_correction_x_um", ("ATLAS3D/Slice/SEMCorrectionX",), "µm"),
    Field("sem_correction_y_um", ("ATLAS3D/Slice/SEMCorrectionY",), "µm"),
    Field("detector", ("Image/Detector",)),
    Field("beam", ("Image/Beam",)),
    Field("aperture", ("Image/Aperture",)),
    Field("instrument", ("Image/Machine",)),
    Field("software", ("Application/Version",)),
    Field("date", ("Application/Date",)),
)
_SETUP_FIELDS = (
    Field("dwell_us", ("Settings/Imaging/FibicsRasterInfo/Dwell",), "µs"),
    Field("line_average", ("Settings/Imaging/FibicsRasterInfo/LineAveraging",), ""),
    Field("detector", ("Settings/Imaging/Detector",)),
    Field("detector_b", ("Settings/Imaging/DetectorB",)),
    Field("dynamic_focus", ("Settings/Options/DynamicFocusEnabled",)),
    Field("eds_interval_um", ("Settings/Analytics/EDS/Interval",), "µm"),
    Field("ebsd_interval_um", ("Settings/Analytics/EBSD/Interval",), "µm"),
    Field("autofocus_interval_s", ("Settings/AutoTune/AF_Interval",), "ms"),
    Field("tracking_interval_s", ("Settings/NotchTracking/CheckInterval",), "ms"),
    Field("job", ("JobName",)),
)


def z_nm_from_name(name: str) -> float | None:
    """Measured position in nm that Atlas writes into the names of slices ("..._z=1.6659um.tif", µm unless said)."""
    match = _Z_IN_NAME.search(name)
    if match is None:
        return None
    return convert(float(match.group(1).replace(",", ".")), (match.group(2) or "um").lower(), "nm")


def read_atlas(tags: TiffTags) -> VendorInfo | None:
    """Facts of one image; ``None`` when the TIFF holds no Fibics block."""
    data = tags.private.get(51023)
    if data is None:
        return None
    root = parse_xml(data)
    if root is None:
        return VendorInfo(
            VENDOR,
            slice_z_nm=z_nm_from_name(tags.path.name),
            warnings=["tag 51023: the XML is damaged and was left out"],
        )
    keys = Keys(flatten(root), "tag 51023")
    metadata = keys.collect(_IMAGE_FIELDS)
    z_nm = keys.number("ATLAS3D/Slice/ZPos", unit="µm", to="nm")
    column_angle, warnings = _column_angle(metadata.get("beam", UNKNOWN))
    tilt_corrected, doubts = _tilt_corrected(keys, metadata, column_angle)
    info = VendorInfo(
        VENDOR,
        Calibration(
            pixel_nm=_pixel_nm(keys),
            column_angle_deg=column_angle,
            tilt_corrected=tilt_corrected,
            sample_tilt_deg=sample_tilt(metadata.get("stage_tilt_deg", UNKNOWN), column_angle),
        ),
        metadata,
        None,
        metadata.get("detector", UNKNOWN).value,
        z_nm.value if z_nm else z_nm_from_name(tags.path.name),
        warnings + doubts,
        dict(keys.raw),
    )
    return sized(info, tags.rows, tags.cols, keys.count("Image/Width"))


def _column_angle(beam: Sourced) -> tuple[Sourced, list[str]]:
    if beam and beam.value.lower() == "orion":
        return UNKNOWN, [no_ion_column("this Orion helium-ion microscope")]
    angle = default_column_angle(COLUMN_ANGLE_DEG, "Zeiss")
    if beam and beam.value.upper() != "SEM":
        return angle, [f"{beam.origin} = {beam.value}: this is an ion-beam image, not a view of the milled face"]
    return angle, []


def _tilt_corrected(keys: Keys, metadata: dict[str, Sourced], column_angle: Sourced) -> tuple[Sourced, list[str]]:
    angle = metadata.get("tilt_correction_angle_deg", UNKNOWN)
    is_on = keys.flag("ScanInfo/Tilt Corrn.")
    if is_on or not angle or not column_angle:
        return judge_tilt_correction(is_on, angle, column_angle, metadata.get("stage_tilt_deg", UNKNOWN))
    doubt = (
        f"{angle.origin} = {angle.value:.2f}° names an angle but not whether the correction was on "
        f"(the face lies at {90 - column_angle.value:.1f}°): give --tilt-corrected yes or no (tilt_corrected), or "
        "keep the a3d-setup file beside the slices"
    )
    return Sourced(None, angle.origin, "unknown"), [doubt]


def _pixel_nm(keys: Keys) -> Sourced:
    steps = {name: keys.number(f"Scan/{name}", unit="µm", to="nm") for name in ("Ux", "Uy", "Vx", "Vy")}
    if all(steps.values()):
        dx, dy = math.hypot(steps["Ux"].value, steps["Uy"].value), math.hypot(steps["Vx"].value, steps["Vy"].value)
        if dx > 0 and dy > 0:
            return Sourced((dy, dx), steps["Ux"].origin, "given")
    width, cols = keys.length_nm("Scan/FOV_X", unit="µm"), keys.count("Image/Width")
    height, rows = keys.length_nm("Scan/FOV_Y", unit="µm"), keys.count("Image/Height")
    if not (width and height and cols and rows):
        return UNKNOWN
    return Sourced((height.value / rows, width.value / cols), f"{width.origin} / {cols} columns", "given")


def read_atlas_project(folder: Path) -> ProjectInfo | None:
    """Facts of an Atlas 3D run from its `*.a3d-setup` in or above `folder`, and z from the names of the slices."""
    z_by_name = {path.name: z for path in sorted(folder.iterdir()) if (z := z_nm_from_name(path.name)) is not None}
    setups = sorted(folder.glob("*.a3d-setup")) or sorted(folder.parent.glob("*.a3d-setup"))
    if not setups:
        return ProjectInfo(VENDOR, folder, slice_z_nm_by_name=z_by_name) if len(z_by_name) > 1 else None
    path = setups[0]
    warnings = [] if len(setups) == 1 else [f"{len(setups)} a3d-setup files lie here; {path.name} was read"]
    root = parse_xml(path.read_bytes())
    if root is None:
        warnings.append(f"{path.name}: the XML is damaged and was left out")
        return ProjectInfo(VENDOR, path, slice_z_nm_by_name=z_by_name, warnings=warnings)
    keys = Keys(flatten(root), path.name)
    raster = "Settings/Imaging/FibicsRasterInfo"
    calibration = Calibration(
        pixel_nm=pixel_pair(
            keys.length_nm(f"{raster}/PixelSizeY", unit="µm"), keys.length_nm(f"{raster}/PixelSizeX", unit="µm")
        ),
        slice_nm=keys.length_nm("Settings/Imaging/Interval", unit="µm"),
        column_angle_deg=read_column_angle(
            keys.number("Settings/Options/MillToImgAngle", unit="deg", to="deg"),
            default_column_angle(COLUMN_ANGLE_DEG, "Zeiss"),
        ),
        tilt_corrected=keys.flag("Settings/Options/TiltCorrectionEnabled"),
        tracked=keys.flag("Settings/Options/TrackXSPosition"),
    )
    return ProjectInfo(VENDOR, path, calibration, z_by_name, {}, keys.collect(_SETUP_FIELDS), warnings)
