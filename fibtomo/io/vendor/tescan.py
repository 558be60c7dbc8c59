"""TESCAN: blocks of text in TIFF tag 50431, or a `name-png.hdr` / `name.hdr` beside the image."""

import struct
from dataclasses import replace

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.vendor.info import VendorInfo
from fibtomo.io.vendor.keys import Field, Keys, parse_ini, pixel_pair
from fibtomo.io.vendor.tifftags import TiffTags
from fibtomo.io.vendor.tilt import default_column_angle, judge_tilt_correction, no_ion_column, sample_tilt
from fibtomo.io.vendor.units import decode

VENDOR = "TESCAN"
COLUMN_ANGLE_DEG = 55.0
_PLAIN_SEM = ("VEGA", "MIRA", "MAGNA", "CLARA", "TIMA", "TENSOR")
_BLOCKS = {2: "MAIN", 3: "SEM", 4: "GAMA", 5: "FIB"}


def _sem(key: str) -> tuple[str, str]:
    return f"[SEM] {key}", f"[MAIN] {key}"


_FIELDS = (
    Field("high_voltage_kv", (*_sem("HV"), *_sem("AcceleratorVoltage")), "V"),
    Field("beam_current_na", (*_sem("BeamCurrent"), *_sem("PredictedBeamCurrent")), "A"),
    Field("working_distance_mm", _sem("WD"), "m"),
    Field("tilt_correction_angle_deg", _sem("TiltCorrection"), "deg"),
    Field("cross_section_angle_deg", ("[3DTomo] CrossSectionAngle", *_sem("CrossSectionAngle")), "deg"),
    Field("stage_tilt_deg", _sem("StageTilt"), "deg"),
    Field("stage_rotation_deg", _sem("StageRotation"), "deg"),
    Field("stage_x_mm", _sem("StageX"), "m"),
    Field("stage_y_mm", _sem("StageY"), "m"),
    Field("stage_z_mm", _sem("StageZ"), "m"),
    Field("beam_shift_x_um", _sem("ImageShiftX"), "m"),
    Field("beam_shift_y_um", _sem("ImageShiftY"), "m"),
    Field("scan_rotation_deg", _sem("ScanRotation"), "deg"),
    Field("dwell_us", _sem("DwellTime"), "s"),
    Field("chamber_pressure_pa", _sem("ChamberPressure"), "Pa"),
    Field("frames_accumulated", ("[MAIN] AccFrames",), ""),
    Field("detector", (*_sem("Detector"), *_sem("Detector0"))),
    Field("instrument", ("[MAIN] Device", "[MAIN] DeviceModel")),
    Field("software", ("[MAIN] SoftwareVersion",)),
)


def read_tescan(tags: TiffTags) -> VendorInfo | None:
    """Facts of one image; ``None`` when the TIFF holds no TESCAN block."""
    data = tags.private.get(50431)
    if data is None:
        return None
    raw = parse_blocks(data, is_bigendian=tags.is_bigendian)
    return from_keys(Keys(raw, "tag 50431"), (tags.rows, tags.cols))


def parse_blocks(data: bytes, *, is_bigendian: bool = False) -> dict[str, str]:
    """Keys of all text blocks; a block that overruns the tag is read as far as it goes.

    Each block is a 4-byte size, a 2-byte type and size − 2 bytes of text (type 1 is a thumbnail, 0 the end). Older
    files hold the text alone.
    """
    found: dict[str, str] = {}
    order = ">IH" if is_bigendian else "<IH"
    start = 0
    while start + 6 <= len(data):
        size, kind = struct.unpack_from(order, data, start)
        if size < 2 or kind > max(_BLOCKS):
            break
        body = data[start + 6 : start + 4 + size]
        if kind in _BLOCKS:
            found |= {f"[{_BLOCKS[kind]}] {key}": value for key, value in parse_ini(decode(body)).items()}
        start += 4 + size
    if found:
        return found
    begin = max(0, data.find(b"[MAIN]"))
    return {
        key if key.startswith("[") else f"[MAIN] {key}": value for key, value in parse_ini(decode(data[begin:])).items()
    }


def read_tescan_hdr(text: str, where: str, size: tuple[int, int] | None) -> VendorInfo | None:
    """Facts of the sidecar `text`; ``None`` when it is no TESCAN header. `size` is (rows, columns) of the image."""
    raw = {key if key.startswith("[") else f"[MAIN] {key}": value for key, value in parse_ini(text).items()}
    return from_keys(Keys(raw, where), size) if "[MAIN] PixelSizeX" in raw else None


def from_keys(keys: Keys, size: tuple[int, int] | None) -> VendorInfo:
    """Facts of TESCAN keys."""
    metadata = keys.collect(_FIELDS) | keys.date("[MAIN] Date", "[MAIN] Time")
    instrument = metadata.get("instrument", UNKNOWN).value or ""
    warnings = []
    column_angle = UNKNOWN
    if any(name in instrument.upper() for name in _PLAIN_SEM):
        warnings.append(no_ion_column(instrument))
    else:
        column_angle = default_column_angle(COLUMN_ANGLE_DEG, VENDOR)
        warnings += _cross_section_note(metadata)
    angle = metadata.get("tilt_correction_angle_deg", UNKNOWN)
    is_on = replace(angle, value=angle.value != 0) if angle else UNKNOWN
    tilt_corrected, doubts = judge_tilt_correction(is_on, angle, column_angle, metadata.get("stage_tilt_deg", UNKNOWN))
    return VendorInfo(
        VENDOR,
        Calibration(
            pixel_nm=pixel_pair(
                keys.length_nm("[MAIN] PixelSizeY", unit="m"), keys.length_nm("[MAIN] PixelSizeX", unit="m")
            ),
            slice_nm=keys.length_nm("[MAIN] PixelSizeZ", unit="m"),
            column_angle_deg=column_angle,
            tilt_corrected=tilt_corrected,
            sample_tilt_deg=sample_tilt(metadata.get("stage_tilt_deg", UNKNOWN), column_angle),
        ),
        metadata,
        _image_rows(keys, size),
        metadata.get("detector", UNKNOWN).value,
        warnings=warnings + doubts,
        raw=dict(keys.raw),
    )


def _cross_section_note(metadata: dict[str, Sourced]) -> list[str]:
    angle = metadata.get("cross_section_angle_deg", UNKNOWN)
    if not angle or abs(angle.value - COLUMN_ANGLE_DEG) < 1:
        return []
    note = (
        f"{angle.origin} = {angle.value:.1f}° is the angle of the cut, not between the columns, which is taken as "
        f"{COLUMN_ANGLE_DEG:.0f}°: give --column-angle-deg (column_angle_deg) if that is wrong"
    )
    return [note]


def _image_rows(keys: Keys, size: tuple[int, int] | None) -> int | None:
    strip = keys.count("[MAIN] ImageStripSize") or 0
    return size[0] - strip if size and strip < size[0] else None
