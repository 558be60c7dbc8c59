"""JEOL: `.txt` beside the image with ``$CM_...`` and ``$$SM_...`` lines, calibrated by the micron bar."""

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.vendor.info import VendorInfo
from fibtomo.io.vendor.keys import Field, Keys, whole_numbers
from fibtomo.io.vendor.tilt import default_column_angle, no_ion_column

VENDOR = "JEOL"
COLUMN_ANGLE_DEG = 53.0
_COARSE_BAR_PX = 50

_FIELDS = (
    Field("high_voltage_kv", ("$CM_ACCEL_VOLT",), "kV"),
    Field("beam_current_na", ("$$SM_PROBE_CURRENT",), "A"),
    Field("working_distance_mm", ("$$SM_WD",), "mm"),
    Field("scan_rotation_deg", ("$$SM_SCAN_ROTATION",), "deg"),
    Field("frame_time_s", ("$$CM_PROCESS_TIME",), "s"),
    Field("magnification", ("$CM_MAG",), ""),
    Field("detector", ("$CM_DETECTOR", "$CM_DETECTOR_NAME", "$CM_SIGNAL", "$CM_SIGNAL_NAME")),
    Field("instrument", ("$CM_INSTRUMENT",)),
)


def read_jeol_txt(text: str, where: str, size: tuple[int, int] | None) -> VendorInfo | None:
    """Facts of the sidecar `text`; ``None`` when it is none of JEOL's. `size` is (rows, columns) of the image."""
    raw: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key.startswith("$"):
            raw.setdefault(key, value.strip())
    if not any(key.startswith("$CM_") for key in raw):
        return None
    keys = Keys(raw, where)
    metadata = keys.collect(_FIELDS) | keys.date("$CM_DATE", "$CM_TIME")
    instrument = metadata.get("instrument", UNKNOWN).value or "this instrument"
    is_dual_beam = instrument.upper().startswith("JIB")
    pixel, image_rows, warnings = _pixel_nm(keys, size)
    if not is_dual_beam:
        warnings.append(no_ion_column(f"JEOL {instrument}"))
    return VendorInfo(
        VENDOR,
        Calibration(
            pixel_nm=pixel,
            column_angle_deg=default_column_angle(COLUMN_ANGLE_DEG, VENDOR) if is_dual_beam else UNKNOWN,
        ),
        metadata,
        image_rows,
        metadata.get("detector", UNKNOWN).value,
        warnings=warnings,
        raw=raw,
    )


def _pixel_nm(keys: Keys, size: tuple[int, int] | None) -> tuple[Sourced, int | None, list[str]]:
    """Pixel size and image rows of the file.

    The bar is counted in pixels of the full-size frame, also when the image was exported at a reduced size: a bar of
    45 px beside a full size of 1280 columns is drawn 23 px long in the 640 columns of the exported bitmap.
    """
    bar_px = keys.number("$$SM_MICRON_BAR")
    marker = keys.length_nm("$$SM_MICRON_MARKER", unit="µm")
    if not (bar_px and bar_px.value > 0 and marker):
        return UNKNOWN, None, [f"{keys.where}: no micron bar, so the pixel size is unknown; give --voxel-nm (voxel_nm)"]
    reduction, image_rows, warnings = _reduction(keys, size)
    if bar_px.value < _COARSE_BAR_PX:
        warnings.insert(
            0,
            f"{bar_px.origin} = {bar_px.value:.0f} px is rounded, so the pixel size is known to "
            f"{100 / bar_px.value:.0f} % only",
        )
    length = marker.value / bar_px.value * (reduction or 1.0)
    return Sourced((length, length), bar_px.origin, "given" if reduction else "guess"), image_rows, warnings


def _reduction(keys: Keys, size: tuple[int, int] | None) -> tuple[float | None, int | None, list[str]]:
    """Full-size columns per column of the file (``None`` when the sizes do not fit), and its image rows."""
    text = keys.raw.get("$CM_FULL_SIZE", "")
    full = whole_numbers(text)
    if size is None:
        return 1.0, full[1] if len(full) == 2 else None, []
    rows, cols = size
    reduction = full[0] / cols if full else 0.0
    image_rows = round(full[1] / reduction) if len(full) == 2 and reduction else 0
    if not 0 < image_rows <= rows:
        warning = (
            f"{keys.where} $CM_FULL_SIZE = {text[:40]!r} does not fit an image of {cols} x {rows} pixels, "
            "so its pixel size may be another; check it or give --voxel-nm (voxel_nm)"
        )
        return None, None, [warning]
    if reduction == 1.0:
        return reduction, image_rows, []
    warning = (
        f"the image has {cols} columns, {keys.where} $CM_FULL_SIZE tells of {full[0]}: exported at another size, "
        f"the pixel size was multiplied by {reduction:g}"
    )
    return reduction, image_rows, [warning]
