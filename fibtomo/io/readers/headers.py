"""Headers that describe raw voxels: NRRD, MetaImage, ENVI, JSON."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fibtomo.errors import StackError

_LONGEST_HEADER = 1 << 16
_NRRD_TYPES = {
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t", "unsigned short int"), "u2"),
    **dict.fromkeys(("short", "int16", "int16_t", "signed short", "short int"), "i2"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    "float": "f4",
    "double": "f8",
}
_META_TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_UINT": "u4",
    "MET_INT": "i4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_ENVI_TYPES = {"1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8", "12": "u2", "13": "u4"}


@dataclass(frozen=True)
class RawFile:
    """Where raw voxels lie and what they are; `offset` -1 means at the end of the file."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    offset: int
    spacing: tuple[float, ...] | None
    unit: str | None
    header: str


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST_HEADER)


def read_nrrd(path: Path) -> RawFile | None:
    """Header of an uncompressed NRRD; None where the voxels are compressed."""
    head = _start(path)
    if not head.startswith(b"NRRD"):
        raise StackError(f"{path} is no NRRD file")
    end = re.search(rb"\r?\n\r?\n|$", head)
    text = head[: end.start()] if end else head
    lines = [line for line in text.decode("utf-8", "replace").splitlines()[1:] if not line.startswith("#")]
    pairs = dict(re.split(r":=|:\s*", line, maxsplit=1) for line in lines if ":" in line)
    fields = {key.strip().casefold(): value.strip() for key, value in pairs.items()}
    if fields.get("encoding", "").casefold() != "raw" or fields.get("type", "").casefold() not in _NRRD_TYPES:
        return None
    detached = fields.get("data file") or fields.get("datafile")
    if detached and (" " in detached or detached == "LIST"):
        return None
    order = ">" if fields.get("endian") == "big" else "<"
    skip = int(fields.get("byte skip", "0"))
    offset = skip if detached or end is None else end.end() + skip
    return RawFile(
        path=path.parent / detached if detached else path,
        shape=tuple(int(n) for n in reversed(fields["sizes"].split())),
        dtype=order + _NRRD_TYPES[fields["type"].casefold()],
        offset=offset if skip >= 0 else -1,
        spacing=_nrrd_spacing(fields),
        unit=_nrrd_unit(fields),
        header=path.name,
    )


def _nrrd_spacing(fields: dict[str, str]) -> tuple[float, ...] | None:
    if "space directions" in fields:
        vectors = re.findall(r"\(([^)]*)\)", fields["space directions"])
        return tuple(float(np.linalg.norm([float(v) for v in vector.split(",")])) for vector in reversed(vectors))
    return tuple(float(v) for v in reversed(fields["spacings"].split())) if "spacings" in fields else None


def _nrrd_unit(fields: dict[str, str]) -> str | None:
    if "voxel_unit" in fields:
        return fields["voxel_unit"]
    quoted = re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))
    return quoted[0] or None if quoted else None


def read_metaimage(path: Path) -> RawFile | None:
    """Header of an uncompressed MetaImage; None where the voxels are compressed or split into several files."""
    head = _start(path)
    match = re.search(rb"ElementDataFile\s*=\s*([^\r\n]+)\r?\n?", head)
    if match is None:
        raise StackError(f"{path} is no MetaImage file (no ElementDataFile line)")
    lines = head[: match.start()].decode("utf-8", "replace").splitlines()
    fields = {k.strip(): v.strip() for k, _, v in (line.partition("=") for line in lines)}
    target = match.group(1).decode().strip()
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    compressed = fields.get("CompressedData", "False").casefold() == "true"
    if compressed or channels != 1 or target == "LIST" or "%" in target or fields["ElementType"] not in _META_TYPES:
        return None
    msb = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).casefold() == "true"
    local = target.upper() == "LOCAL"
    spacing = fields.get("ElementSpacing") or fields.get("ElementSize")
    skip = int(fields.get("HeaderSize", "0"))
    return RawFile(
        path=path if local else path.parent / target,
        shape=tuple(int(n) for n in reversed(fields["DimSize"].split())),
        dtype=(">" if msb else "<") + _META_TYPES[fields["ElementType"]],
        offset=match.end() if local else skip,
        spacing=tuple(float(v) for v in reversed(spacing.split())) if spacing else None,
        unit=fields.get("voxel_unit"),
        header=path.name,
    )


def noted_unit(path: Path) -> str | None:
    """Unit that this package notes in the headers it writes through ITK."""
    match = re.search(rb"voxel_unit\s*(?::=|=)\s*(\w+)", _start(path))
    return match.group(1).decode() if match else None


def read_envi(path: Path) -> RawFile | None:
    """ENVI header; None for other .hdr files (TESCAN writes such beside its images)."""
    text = path.read_text("utf-8", "replace")
    if not text.startswith("ENVI"):
        return None
    fields = {k.strip().casefold(): v.strip() for k, _, v in (line.partition("=") for line in text.splitlines())}
    if fields.get("interleave", "bsq").casefold() != "bsq" or fields["data type"] not in _ENVI_TYPES:
        raise StackError(f"{path}: only band-sequential ENVI files of plain number types are read")
    return RawFile(
        path=path,
        shape=tuple(int(fields[k]) for k in ("bands", "lines", "samples")),
        dtype=(">" if fields.get("byte order") == "1" else "<") + _ENVI_TYPES[fields["data type"]],
        offset=int(fields.get("header offset", "0")),
        spacing=None,
        unit=None,
        header=path.name,
    )


def read_json(path: Path) -> RawFile | None:
    """JSON header: "shape" (z, y, x), "dtype", optional "offset" and "voxel_nm"."""
    try:
        header = json.loads(path.read_text("utf-8"))
        voxel = header.get("voxel_nm")
        return RawFile(
            path=path,
            shape=tuple(int(n) for n in header["shape"]),
            dtype=np.dtype(header["dtype"]).str,
            offset=int(header.get("offset", 0)),
            spacing=tuple(float(v) for v in voxel) if voxel else None,
            unit="nm",
            header=path.name,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StackError(f'{path} does not describe raw voxels ({error}): "shape" and "dtype" are needed') from None
