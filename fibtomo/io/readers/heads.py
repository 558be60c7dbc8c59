"""Size, type and completeness of image files from their headers alone: cheap enough for thousands of slices."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fibtomo.errors import StackError
from fibtomo.io.readers.base import MOST_PIXELS, PARSE_ERRORS

TIFF = (".tif", ".tiff")
IMAGES = (*TIFF, ".png", ".bmp", ".jpg", ".jpeg", ".dat")
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


class HeadError(ValueError):
    """Why a file cannot be one slice; `kind` is "truncated" or "undecodable"."""

    def __init__(self, reason: str, kind: str = "undecodable") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Head:
    """Header of one image file.

    Parameters
    ----------
    rows, columns
        Size as stored.
    dtype
        NumPy type with byte order.
    samples
        Values per pixel (3 for colour).
    pages
        Images of this size in the file; smaller ones are thumbnails.
    offset
        Byte at which uncompressed pixels start, None when they must be decoded.
    inverted
        True when 0 means white.
    detectors
        Names of the samples where they are detectors, not colours.
    """

    rows: int
    columns: int
    dtype: str
    samples: int = 1
    pages: int = 1
    offset: int | None = None
    inverted: bool = False
    detectors: tuple[str, ...] = ()


def read_head(path: Path) -> Head:
    """Read the header of an image file.

    Raises
    ------
    HeadError
        The file is empty, cut short, or not the kind of image its name says.
    """
    try:
        return _checked(_head(path))
    except HeadError:
        raise
    except PARSE_ERRORS as error:
        raise HeadError(f"is no readable {path.suffix[1:].upper()} image ({str(error).rstrip('.')})") from error


def _checked(head: Head) -> Head:
    if not 0 < head.rows * head.columns <= MOST_PIXELS:
        raise HeadError(f"claims to be {head.columns} × {head.rows} pixels")
    return head


def _head(path: Path) -> Head:
    size = path.stat().st_size
    if size == 0:
        raise HeadError("is empty", "truncated")
    suffix = path.suffix.casefold()
    if suffix in TIFF:
        return _tiff(path, size)
    if suffix == ".dat":
        return _janelia(path, size)
    with path.open("rb") as file:
        start = file.read(64)
        file.seek(max(0, size - 64))
        end = file.read()
        if suffix in (".jpg", ".jpeg"):
            return _jpeg(file, end)
    return _png(start, end) if suffix == ".png" else _bmp(start, size)


def _tiff(path: Path, size: int) -> Head:
    from tifffile import TiffFile

    with TiffFile(path) as tif:
        page = tif.pages.first
        pages = sum(p.shape == page.shape for p in tif.pages) if tif.pages.is_multipage else 1
        if page.dtype is None or not page.dataoffsets:
            raise HeadError("holds no image")
        end = max(o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))
        if end > size:
            raise HeadError(f"is cut short ({size} of {end} bytes)", "truncated")
        if page.samplesperpixel > 1 and page.planarconfig == 2:
            raise HeadError("stores its colours as separate planes; save it as grey values")
        raw = page.is_contiguous and page.bitspersample in (8, 16, 32, 64) and page.samplesperpixel == 1
        return Head(
            rows=page.imagelength,
            columns=page.imagewidth,
            dtype=np.dtype(page.dtype).newbyteorder(tif.byteorder).str,
            samples=page.samplesperpixel,
            pages=pages,
            offset=page.dataoffsets[0] if raw and page.imagedepth == 1 else None,
            inverted=is_inverted(page),
        )


def is_inverted(page: Any) -> bool:
    """Whether 0 is white in a TIFF page of greys; what a mask or a signed number says stays as it is."""
    return bool(page.photometric == 0 and np.dtype(page.dtype).kind == "u")


def _png(start: bytes, end: bytes) -> Head:
    if not start.startswith(b"\x89PNG\r\n\x1a\n"):
        raise HeadError("is no PNG image")
    if b"IEND" not in end:
        raise HeadError("is cut short", "truncated")
    columns, rows, depth, colour = struct.unpack(">IIBB", start[16:26])
    samples = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[colour]
    return Head(rows, columns, "uint16" if depth == 16 else "uint8", samples)


def _bmp(start: bytes, size: int) -> Head:
    if not start.startswith(b"BM"):
        raise HeadError("is no BMP image")
    data, header, columns, rows, _planes, bits = struct.unpack("<IIiiHH", start[10:30])
    if header < 40 or not 1 <= bits <= 32:
        raise HeadError("is a BMP of a kind that is not read; save it as TIFF")
    needed = data + abs(rows) * ((columns * bits + 31) // 32 * 4)
    (compression,) = struct.unpack("<I", start[30:34])
    if compression == 0 and needed > size:
        raise HeadError(f"is cut short ({size} of {needed} bytes)", "truncated")
    return Head(abs(rows), columns, "uint8", 1 if bits <= 8 else 3)


def _jpeg(file: BinaryIO, end: bytes) -> Head:
    file.seek(0)
    if file.read(2) != b"\xff\xd8":
        raise HeadError("is no JPEG image")
    if b"\xff\xd9" not in end:
        raise HeadError("is cut short", "truncated")
    while True:
        mark = file.read(4)
        if len(mark) < 4 or mark[0] != 0xFF:
            raise HeadError("is a damaged JPEG image")
        length = int.from_bytes(mark[2:], "big")
        if mark[1] in _JPEG_FRAMES:
            _depth, rows, columns, samples = struct.unpack(">BHHB", file.read(6))
            return Head(rows, columns, "uint8", samples)
        file.seek(length - 2, 1)


def _janelia(path: Path, size: int) -> Head:
    from fibtomo.io.vendor.janelia import HEADER_BYTES, read_dat_header

    try:
        header = read_dat_header(path)
    except StackError as error:
        raise HeadError(f"cannot be read ({error})") from None
    needed = HEADER_BYTES + header.data_bytes
    if size < needed:
        raise HeadError(f"is cut short ({size} of {needed} bytes)", "truncated")
    return Head(header.rows, header.cols, header.dtype, header.channels, detectors=header.detectors)
