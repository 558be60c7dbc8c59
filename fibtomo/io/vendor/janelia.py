"""Janelia FIB-SEM `.dat`: a header of 1024 bytes, then the channels interleaved pixel by pixel.

Everything is big-endian; 8-bit files are unsigned, 16-bit files signed. Layout of the header as collected in
clbarnes/jeiss-specs for versions 1 to 9.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.errors import StackError
from fibtomo.io.vendor.info import VendorInfo
from fibtomo.io.vendor.keys import Field, Keys, pixel_pair
from fibtomo.io.vendor.units import decode

VENDOR = "Janelia"
HEADER_BYTES = 1024
_MAGIC = b"\xd3\xed\xf5\xf2"
_VERSIONS = range(1, 10)

# name: (offset, struct format); a number before "s" is the length of a text.
_COMMON = {
    "FileVersion": (4, "H"),
    "FileType": (6, "H"),
    "SWdate": (8, "10s"),
    "TimeStep": (24, "d"),
    "ChanNum": (32, "B"),
    "EightBit": (33, "B"),
    "XResolution": (100, "I"),
    "YResolution": (104, "I"),
    "AI1": (151, "B"),
    "AI2": (152, "B"),
    "AI3": (153, "B"),
    "AI4": (154, "B"),
    "Notes": (180, "200s"),
    "DetA": (380, "10s"),
    "DetB": (390, "18s"),
    "Mode": (600, "B"),
    "FileLength": (1000, "q"),
}
_BEFORE_3 = {
    "DetC": (700, "20s"),
    "DetD": (720, "20s"),
    "Mag": (408, "d"),
    "PixelSize": (416, "d"),
    "WD": (424, "d"),
    "EHT": (432, "d"),
    "SEMCurr": (448, "d"),
    "SEMRot": (456, "d"),
    "StageX": (512, "d"),
    "StageY": (520, "d"),
    "StageZ": (528, "d"),
    "StageT": (536, "d"),
    "StageR": (544, "d"),
    "StageM": (552, "d"),
}
_SINCE_3 = {
    "DetC": (410, "20s"),
    "DetD": (430, "20s"),
    "Mag": (460, "f"),
    "PixelSize": (464, "f"),
    "WD": (468, "f"),
    "EHT": (472, "f"),
    "SEMCurr": (490, "f"),
    "SEMRot": (494, "f"),
    "StageX": (534, "f"),
    "StageY": (538, "f"),
    "StageZ": (542, "f"),
    "StageT": (546, "f"),
    "StageR": (550, "f"),
    "StageM": (554, "f"),
}
_SINCE_5 = {
    "MillingYResolution": (656, "I"),
    "MillingYSize": (664, "f"),
    "MillingLinesPerImage": (684, "H"),
    "MachineID": (800, "30s"),
}
_SINCE_6 = {"Temperature": (850, "f"), "FIBSliceNum": (878, "I")}
_SINCE_9 = {"SampleID": (155, "25s"), "FirstX": (70, "i"), "FirstY": (74, "i")}

_FIELDS = (
    Field("high_voltage_kv", ("EHT",), "kV"),
    Field("beam_current_na", ("SEMCurr",), "A"),
    Field("working_distance_mm", ("WD",), "mm"),
    Field("dwell_us", ("TimeStep",), "s"),
    Field("scan_rotation_deg", ("SEMRot",), "deg"),
    Field("stage_x_mm", ("StageX",), "mm"),
    Field("stage_y_mm", ("StageY",), "mm"),
    Field("stage_z_mm", ("StageZ",), "mm"),
    Field("stage_tilt_deg", ("StageT",), "deg"),
    Field("stage_rotation_deg", ("StageR",), "deg"),
    Field("magnification", ("Mag",), ""),
    Field("slice_number", ("FIBSliceNum",), ""),
    Field("instrument", ("MachineID",)),
    Field("sample", ("SampleID",)),
    Field("notes", ("Notes",)),
    Field("date", ("SWdate",)),
)


@dataclass(frozen=True)
class DatHeader:
    """Shape and type of a `.dat` file with every header value read.

    Attributes
    ----------
    channels, rows, cols
        Shape of what `read_dat` returns.
    dtype
        "uint8" or "int16".
    detectors
        Names of the channels.
    version
        Version of the format.
    raw
        Header name to text.
    """

    channels: int
    rows: int
    cols: int
    dtype: str
    detectors: tuple[str, ...]
    version: int
    raw: dict[str, str]

    @property
    def data_bytes(self) -> int:
        """Bytes of all channels."""
        return self.channels * self.rows * self.cols * np.dtype(self.dtype).itemsize


def is_dat(path: Path) -> bool:
    """Whether the file starts like a Janelia `.dat`."""
    try:
        with path.open("rb") as file:
            return file.read(4) == _MAGIC
    except OSError:
        return False


def read_dat_header(path: Path) -> DatHeader:
    """Read the header alone.

    Raises
    ------
    StackError
        The file is no `.dat`, is of an unknown version, or its header is cut off or tells of no pixels.
    """
    with path.open("rb") as file:
        data = file.read(HEADER_BYTES)
    if data[:4] != _MAGIC:
        raise StackError(f"{path.name} is no Janelia FIB-SEM file: its first bytes are not d3edf5f2")
    if len(data) < HEADER_BYTES:
        raise StackError(f"{path.name} ends after {len(data)} of {HEADER_BYTES} header bytes; copy it again")
    (version,) = struct.unpack_from(">H", data, 4)
    if version not in _VERSIONS:
        raise StackError(f"{path.name} has version {version} of the .dat format; versions 1 to 9 are known")
    layout = _layout(version)
    values = {name: struct.unpack_from(f">{code}", data, at)[0] for name, (at, code) in layout.items()}
    channels, rows, cols = values["ChanNum"], values["YResolution"], values["XResolution"]
    if not (channels and rows and cols):
        raise StackError(f"{path.name} tells of {channels} channels of {rows} x {cols} pixels; its header is damaged")
    raw = {name: _text(value, layout[name][1]) for name, value in values.items()}
    return DatHeader(
        channels, rows, cols, "uint8" if values["EightBit"] else "int16", _detectors(raw, channels), version, raw
    )


def _layout(version: int) -> dict[str, tuple[int, str]]:
    layout = _COMMON | (_BEFORE_3 if version < 3 else _SINCE_3)
    for since, more in ((5, _SINCE_5), (6, _SINCE_6), (9, _SINCE_9)):
        if version >= since:
            layout |= more
    return layout


def _text(value: Any, code: str) -> str:
    if isinstance(value, bytes):
        return decode(value.split(b"\0")[0]).strip()
    return f"{value:.7g}" if code == "f" else str(value)


def _detectors(raw: dict[str, str], channels: int) -> tuple[str, ...]:
    """Detectors whose input is switched on, in channel order."""
    active = [raw[f"Det{letter}"] for i, letter in enumerate("ABCD", 1) if raw[f"AI{i}"] != "0"]
    names = [name or f"channel {k}" for k, name in enumerate(active)]
    return tuple(names) if len(names) == channels else tuple(f"channel {k}" for k in range(channels))


def read_dat_info(path: Path) -> VendorInfo:
    """Facts of the header; one that cannot be read gives only a warning."""
    try:
        header = read_dat_header(path)
    except (StackError, OSError) as error:
        return VendorInfo(VENDOR, warnings=[str(error)])
    return _info(header)


def _info(header: DatHeader) -> VendorInfo:
    keys = Keys(header.raw, f".dat header (version {header.version})")
    length = keys.length_nm("PixelSize", unit="nm")
    metadata = keys.collect(_FIELDS)
    metadata["detectors"] = Sourced(header.detectors, f"{keys.where} DetA to DetD", "given")
    doubt = (
        "Janelia headers do not tell the column angle (54° or 90° are in use): "
        "give --column-angle-deg (column_angle_deg)"
    )
    return VendorInfo(
        VENDOR,
        Calibration(pixel_nm=pixel_pair(length, length), slice_nm=_slice_nm(keys)),
        metadata,
        header.rows,
        header.detectors[0],
        warnings=[doubt],
        raw=header.raw,
    )


def _slice_nm(keys: Keys) -> Sourced:
    """Advance per image: the pitch of the milling lines times the lines milled before each image."""
    size, lines = keys.length_nm("MillingYSize", unit="µm"), keys.count("MillingYResolution")
    per_image = keys.count("MillingLinesPerImage")
    if not (size and lines and lines > 1 and per_image):
        return UNKNOWN
    origin = f"{keys.where} MillingYSize, MillingYResolution and MillingLinesPerImage"
    return Sourced(float(f"{size.value / (lines - 1) * per_image:.6g}"), origin, "guess")


def read_dat(path: Path) -> tuple[NDArray[Any], VendorInfo]:
    """Read all channels.

    Returns
    -------
    tuple
        Array (channels, rows, columns) of uint8 or int16 in native byte order, and the facts of the header.

    Raises
    ------
    StackError
        The header cannot be read or pixels are missing.
    """
    header = read_dat_header(path)
    stored = np.dtype(header.dtype).newbyteorder(">")
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        data = file.read(header.data_bytes)
    if len(data) < header.data_bytes:
        raise StackError(
            f"{path.name} ends after {len(data)} of {header.data_bytes} bytes of pixels; copy it again or leave it out"
        )
    pixels = np.frombuffer(data, dtype=stored).reshape(header.rows, header.cols, header.channels)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0), dtype=header.dtype), _info(header)
