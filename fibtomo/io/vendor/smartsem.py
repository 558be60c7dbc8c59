"""Zeiss SmartSEM: pairs of lines in TIFF tag 34118 (or UTF-16 in 34119), units inline, angles in degrees."""

import re
from itertools import pairwise

from fibtomo.core.volume import UNKNOWN, Calibration
from fibtomo.io.vendor.info import VendorInfo, sized
from fibtomo.io.vendor.keys import Field, Keys, pixel_pair
from fibtomo.io.vendor.tifftags import TiffTags
from fibtomo.io.vendor.tilt import (
    default_column_angle,
    judge_tilt_correction,
    no_ion_column,
    read_column_angle,
    sample_tilt,
)
from fibtomo.io.vendor.units import decode

VENDOR = "Zeiss SmartSEM"
COLUMN_ANGLE_DEG = 54.0

_FIELDS = (
    Field("high_voltage_kv", ("AP_ACTUALKV", "AP_MANUALKV"), "kV"),
    Field("beam_current_na", ("AP_IPROBE",), "nA"),
    Field("working_distance_mm", ("AP_WD",), "mm"),
    Field("tilt_correction_angle_deg", ("AP_TILT_ANGLE",), "deg"),
    Field("stage_tilt_deg", ("AP_STAGE_AT_T",), "deg"),
    Field("stage_rotation_deg", ("AP_STAGE_AT_R",), "deg"),
    Field("stage_x_mm", ("AP_STAGE_AT_X",), "mm"),
    Field("stage_y_mm", ("AP_STAGE_AT_Y",), "mm"),
    Field("stage_z_mm", ("AP_STAGE_AT_Z",), "mm"),
    Field("dwell_us", ("DP_DWELL_TIME",), "ns"),
    Field("line_time_s", ("AP_LINE_TIME",), "ms"),
    Field("frame_time_s", ("AP_FRAME_TIME",), "s"),
    Field("line_average", ("AP_LINE_AVERAGE_COUNT",), ""),
    Field("chamber_pressure_pa", ("AP_CHAMBER_PRESSURE",), "Pa"),
    Field("detector", ("DP_DETECTOR_TYPE", "DP_DETECTOR_CHANNEL")),
    Field("instrument", ("SV_SERIAL_NUMBER", "DP_COLUMN_TYPE")),
    Field("software", ("SV_VERSION",)),
    Field("noise_reduction", ("DP_NOISE_REDUCTION",)),
    Field("dynamic_focus", ("DP_DYNFOCUS",)),
)


def read_smartsem(tags: TiffTags) -> VendorInfo | None:
    """Facts of one image; ``None`` when the TIFF holds no SmartSEM block."""
    for code in (34118, 34119):
        raw = parse_pairs(decode(tags.private.get(code, b"")))
        if raw:
            return _from_keys(Keys(raw, f"tag {code}"), tags)
    return None


def parse_pairs(text: str) -> dict[str, str]:
    """``{"AP_WD": "4.967 mm"}`` of alternating code and "Label = value" lines; the first of equals wins."""
    found: dict[str, str] = {}
    lines = [line.strip() for line in text.splitlines()]
    for code, line in pairwise(lines):
        if re.fullmatch(r"(AP|DP|SV)_\w+", code):
            _, mark, value = line.partition("=" if "=" in line else ":")
            if mark:
                found.setdefault(code, value.strip())
    return found


def _from_keys(keys: Keys, tags: TiffTags) -> VendorInfo:
    metadata = keys.collect(_FIELDS) | keys.date("AP_DATE", "AP_TIME")
    if keys.flag("DP_SCAN_ROT").value is not False:
        metadata |= keys.collect((Field("scan_rotation_deg", ("AP_SCANROTATION",), "deg"),))
    warnings = []
    column_angle = UNKNOWN
    if keys.flag("DP_FIB_PRESENT").value is False:
        instrument = metadata.get("instrument", UNKNOWN).value or "this instrument"
        warnings.append(no_ion_column(f"{instrument} (FIB Present = No)"))
    else:
        column_angle = read_column_angle(
            keys.number("AP_FIB_SEM_ANGLE", unit="deg", to="deg"), default_column_angle(COLUMN_ANGLE_DEG, "Zeiss")
        )
    tilt_corrected, doubts = judge_tilt_correction(
        keys.flag("DP_TILT_CORRECTION"),
        metadata.get("tilt_correction_angle_deg", UNKNOWN),
        column_angle,
        metadata.get("stage_tilt_deg", UNKNOWN),
    )
    if keys.raw.get("DP_FIB_IMAGING", "SEM").upper().startswith("FIB"):
        doubts.append(f"{keys.where} DP_FIB_IMAGING: this is an ion-beam image, not a view of the milled face")
    length = keys.length_nm("AP_IMAGE_PIXEL_SIZE", "AP_PIXEL_SIZE", unit="nm")
    info = VendorInfo(
        VENDOR,
        Calibration(
            pixel_nm=pixel_pair(length, length),
            column_angle_deg=column_angle,
            tilt_corrected=tilt_corrected,
            sample_tilt_deg=sample_tilt(metadata.get("stage_tilt_deg", UNKNOWN), column_angle),
        ),
        metadata,
        None,
        metadata.get("detector", UNKNOWN).value,
        warnings=warnings + doubts,
        raw=dict(keys.raw),
    )
    return sized(info, tags.rows, tags.cols, keys.count("DP_IMAGE_STORE"))
