"""Hitachi: `.txt` beside the image, ``[SemImageFile]`` with units inline and the pixel size in nm."""

from dataclasses import replace

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.vendor.info import VendorInfo, sized
from fibtomo.io.vendor.keys import Field, Keys, parse_ini, pixel_pair, whole_numbers

VENDOR = "Hitachi"
_COLUMN_ANGLES_DEG = {
    "NX9000": Sourced(90.0, "Hitachi NX9000, columns at right angles", "default"),
    "SMF-1000": Sourced(90.0, "SII SMF-1000, columns at right angles", "default"),
    "NX5000": Sourced(58.0, "Hitachi NX5000, about 58°, not documented", "guess"),
    "NX2000": Sourced(58.0, "Hitachi NX2000, about 58°, not documented", "guess"),
}

_SECTION = "[SemImageFile] "
_FIELDS = (
    Field("high_voltage_kv", (_SECTION + "AcceleratingVoltage",), "V"),
    Field("working_distance_mm", (_SECTION + "WorkingDistance",), "µm"),
    Field("emission_current_na", (_SECTION + "EmissionCurrent",), "nA"),
    Field("magnification", (_SECTION + "Magnification",), ""),
    Field("detector", (_SECTION + "SignalName",)),
    Field("scan_speed", (_SECTION + "ScanSpeed",)),
    Field("instrument", (_SECTION + "InstructName", _SECTION + "Instrument name")),
)


def read_hitachi_txt(text: str, where: str, size: tuple[int, int] | None) -> VendorInfo | None:
    """Facts of the sidecar `text`; ``None`` when it is none of Hitachi's. `size` is (rows, columns) of the image."""
    if _SECTION.strip() not in text:
        return None
    keys = Keys({key: value for key, value in parse_ini(text).items() if key.startswith(_SECTION)}, where)
    metadata = keys.collect(_FIELDS) | keys.date(_SECTION + "Date", _SECTION + "Time")
    instrument = metadata.get("instrument", UNKNOWN).value or "this instrument"
    angle = next((a for name, a in _COLUMN_ANGLES_DEG.items() if name in instrument.upper()), UNKNOWN)
    length = keys.length_nm(_SECTION + "PixelSize", unit="nm")
    cols_said, rows_said = (*whole_numbers(keys.raw.get(_SECTION + "DataSize", "")), 0, 0)[:2]
    info = VendorInfo(
        VENDOR,
        Calibration(
            pixel_nm=pixel_pair(length, length),
            column_angle_deg=angle,
        ),
        metadata,
        rows_said or None,
        metadata.get("detector", UNKNOWN).value,
        warnings=[]
        if angle
        else [f"the column angle of Hitachi {instrument} is not known: give --column-angle-deg (column_angle_deg)"],
        raw=dict(keys.raw),
    )
    return sized(info, *size, cols_said or None) if size else replace(info, image_rows=None)
