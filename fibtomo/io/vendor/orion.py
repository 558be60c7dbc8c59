"""Zeiss Orion helium-ion microscope: XML of named values with units in TIFF tag 65000."""

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.vendor.info import VendorInfo, sized
from fibtomo.io.vendor.keys import Field, Keys, pixel_pair
from fibtomo.io.vendor.markup import local_name, parse_xml
from fibtomo.io.vendor.tifftags import TiffTags
from fibtomo.io.vendor.tilt import no_ion_column

VENDOR = "Zeiss Orion"

_FIELDS = (
    Field("high_voltage_kv", ("AccelerationVoltage", "GFIS.AccelerationVoltage"), "V"),
    Field("beam_current_na", ("BeamCurrent", "GFIS.BeamCurrent", "BlankerCurrent"), "pA"),
    Field("working_distance_mm", ("WorkingDistance", "GFIS.WorkingDistance"), "mm"),
    Field("stage_tilt_deg", ("StageTilt",), "deg"),
    Field("stage_rotation_deg", ("StageRotate",), "deg"),
    Field("scan_rotation_deg", ("ScanRotate", "GFIS.ScanRotation"), "deg"),
    Field("dwell_us", ("DwellTime",), "µs"),
    Field("line_average", ("NumAverages",), ""),
    Field("detector", ("DetectorName", "Detector")),
    Field("ion", ("GFIS.IonGas",)),
    Field("instrument", ("System.Model", "System.Name")),
    Field("date", ("TimeStamp",)),
)


def read_orion(tags: TiffTags) -> VendorInfo | None:
    """Facts of one image; ``None`` when the TIFF holds no Orion block."""
    data = tags.private.get(65000)
    if data is None:
        return None
    root = parse_xml(data)
    if root is None:
        return VendorInfo(VENDOR, warnings=["tag 65000: the XML is damaged and was left out"])
    if local_name(root) != "ImageTags":
        return None
    keys = Keys(_named_values(root), "tag 65000")
    metadata = keys.collect(_FIELDS)
    cols = keys.count("ImageWidth")
    info = VendorInfo(
        VENDOR,
        Calibration(pixel_nm=_pixel_nm(keys, cols or tags.cols)),
        metadata,
        None,
        metadata.get("detector", UNKNOWN).value,
        warnings=[no_ion_column("this helium-ion microscope")],
        raw=dict(keys.raw),
    )
    return sized(info, tags.rows, tags.cols, cols)


def _named_values(root: object) -> dict[str, str]:
    """``{"Fov": "10.0 um"}`` of elements that hold ``<Value>`` and ``<Units>``; groups join their names by a dot."""
    found: dict[str, str] = {}
    pending = [("", root)]
    while pending:
        prefix, element = pending.pop(0)
        for child in element:  # type: ignore[attr-defined]
            parts = {local_name(part): (part.text or "").strip() for part in child}
            name = prefix + local_name(child)
            if "Value" in parts:
                found.setdefault(name, f"{parts['Value']} {parts.get('Units', '')}".strip())
            else:
                pending.append((name + ".", child))
    return found


def _pixel_nm(keys: Keys, cols: int) -> Sourced:
    scale = pixel_pair(keys.length_nm("ScalingY", unit="m"), keys.length_nm("ScalingX", unit="m"))
    width = keys.length_nm("Fov", "GFIS.FieldOfView", unit="µm")
    if scale or not width:
        return scale
    return Sourced((width.value / cols,) * 2, f"{width.origin} / {cols} columns", "given")
