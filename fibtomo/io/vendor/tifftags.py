"""Size, private tags and plain tags of a TIFF, read without its pixels and without trusting any of it."""

import struct
from dataclasses import dataclass, field
from pathlib import Path

PRIVATE_TAGS = (34118, 34119, 34680, 34682, 34683, 50431, 51023, 65000)
_TAIL_BYTES = 1 << 18


@dataclass(frozen=True)
class TiffTags:
    """What the first page of a TIFF says.

    Attributes
    ----------
    path
        The file.
    rows, cols
        Size of the page.
    private
        Tag number to raw bytes, for the vendors' tags.
    description
        Text of tag 270.
    resolution
        Pixels per `resolution_unit` along (y, x); 0 where absent.
    resolution_unit
        1 none, 2 inch, 3 centimetre.
    is_bigendian
        Byte order of binary tags.
    software
        Text of tag 305.
    """

    path: Path
    rows: int
    cols: int
    private: dict[int, bytes] = field(default_factory=dict)
    description: str = ""
    resolution: tuple[float, float] = (0.0, 0.0)
    resolution_unit: int = 2
    is_bigendian: bool = False
    software: str = ""


def read_tiff_tags(path: Path) -> TiffTags | None:
    """Tags of the first page; ``None`` for files that are no readable TIFF."""
    import tifffile

    try:
        with path.open("rb") as file:
            if file.read(4)[:2] not in (b"II", b"MM"):
                return None
        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            rows, cols = int(page.imagelength), int(page.imagewidth)
            if rows < 1 or cols < 1:
                return None
            private = {}
            for code in PRIVATE_TAGS:
                tag = page.tags.get(code)
                if tag is not None:
                    tif.filehandle.seek(tag.valueoffset)
                    private[code] = tif.filehandle.read(tag.valuebytecount)
            return TiffTags(
                path=path,
                rows=rows,
                cols=cols,
                private=private,
                description=str(page.description or ""),
                resolution=(_ratio(page.tags.get(283)), _ratio(page.tags.get(282))),
                resolution_unit=int(page.tags.valueof(296, 2)),
                is_bigendian=tif.byteorder == ">",
                software=str(page.tags.valueof(305, "")),
            )
    except (tifffile.TiffFileError, OSError, ValueError, TypeError, KeyError, IndexError, struct.error):
        return None


def _ratio(tag: object) -> float:
    value = getattr(tag, "value", None)
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return 0.0
    return float(value[0]) / float(value[1])


def file_tail(path: Path, size: int = _TAIL_BYTES) -> bytes:
    """Last bytes of a file, where some microscopes append their text."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - size))
            return file.read()
    except OSError:
        return b""


def image_size(path: Path) -> tuple[int, int] | None:
    """(rows, columns) of a PNG or BMP; ``None`` for anything else."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError:
        return None
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        cols, rows = struct.unpack(">II", head[16:24])
    elif head[:2] == b"BM" and len(head) == 26:
        cols, rows = struct.unpack("<ii", head[18:26])
    else:
        return None
    return (abs(rows), cols) if rows and cols > 0 else None
