"""Raw voxels with a header: NRRD, MetaImage, ENVI, JSON, or shape and type given by the user."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from fibtomo.core.volume import Calibration, Sourced
from fibtomo.errors import StackError
from fibtomo.io.findings import Finding
from fibtomo.io.itk import is_nifti, read_header, read_image
from fibtomo.io.readers.base import Opened, VolumeReader, file_stamp, layouts
from fibtomo.io.readers.headers import RawFile, noted_unit, read_envi, read_json, read_metaimage, read_nrrd
from fibtomo.io.units import length_nm

HEADERS = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz", ".img")
_SIDECARS = (".json", ".nhdr", ".mhd", ".hdr")
_LARGEST_NIFTI_HEADER = 1 << 24
_LARGEST_MM = 0.1


@dataclass(frozen=True)
class RawReader(VolumeReader):
    """Slices of memory-mapped raw voxels."""

    offset: int = 0

    @contextmanager
    def array(self) -> Iterator[Any]:
        """Map the voxels."""
        yield np.memmap(self.path, np.dtype(self.dtype), "r", self.offset, self.layout.shape)


class ItkReader(VolumeReader):
    """Slices of a compressed image, decoded whole on first use (once per process for the file read last)."""

    @contextmanager
    def array(self) -> Iterator[Any]:
        """Decode the image."""
        yield _decoded(self.path, file_stamp(self.path))


_decoded_last: dict[tuple[Path, str], Any] = {}
_decoding = Lock()


def _decoded(path: Path, stamp: str) -> Any:
    with _decoding:
        if (path, stamp) not in _decoded_last:
            _decoded_last.clear()
            _decoded_last[path, stamp] = read_image(path)
        return _decoded_last[path, stamp]


def open_header(path: Path) -> Opened:
    """Open a .nrrd, .nhdr, .mha, .mhd or NIfTI file.

    Raises
    ------
    StackError
        The header cannot be understood or the voxels are cut short.
    """
    raw = None
    if path.suffix.casefold() in (".nrrd", ".nhdr"):
        raw = read_nrrd(path)
    elif path.suffix.casefold() in (".mha", ".mhd"):
        raw = read_metaimage(path)
    if raw is not None:
        return _opened(raw)
    shape, dtype, spacing = read_header(path)
    if is_nifti(path):
        _check_nifti(path, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    readers = {n: ItkReader(path, layout, dtype) for n, layout in layouts(shape, what=str(path)).items()}
    unit = "mm" if is_nifti(path) else noted_unit(path)
    if is_nifti(path) and set(spacing) == {1.0}:  # what every writer puts there that knows no scale
        unit = None
    calibration, findings = _scale(spacing, unit, path.name)
    return Opened(readers, calibration=calibration, findings=findings)


def _check_nifti(path: Path, voxel_bytes: int) -> None:
    """ITK fills what is missing of a NIfTI file with zeros, so its length is looked at here."""
    size = path.stat().st_size
    if path.suffix.casefold() == ".gz":
        with path.open("rb") as file:
            file.seek(-4, 2)
            size = int.from_bytes(file.read(4), "little")
        voxel_bytes %= 1 << 32
    if not voxel_bytes <= size <= voxel_bytes + _LARGEST_NIFTI_HEADER:
        raise StackError(f"{path} is cut short; copy it again")


def open_raw(path: Path, shape: tuple[int, ...] | None, dtype: str | None, offset: int = 0) -> Opened:
    """Open headerless voxels described by a file beside them, or by `shape` (z, y, x) and `dtype`.

    Raises
    ------
    StackError
        Nothing describes the voxels, or the size of the file does not fit.
    """
    if shape is not None and dtype is not None:
        return _opened(RawFile(path, tuple(shape), np.dtype(dtype).str, offset, None, None, "user"))
    parsers: dict[str, Callable[[Path], RawFile | None]] = {
        ".json": read_json,
        ".nhdr": read_nrrd,
        ".mhd": read_metaimage,
        ".hdr": read_envi,
    }
    for suffix in _SIDECARS:
        for header in (path.with_suffix(suffix), path.with_name(path.name + suffix)):
            raw = parsers[suffix](header) if header.is_file() else None
            if raw is not None:
                return _opened(RawFile(path, raw.shape, raw.dtype, raw.offset, raw.spacing, raw.unit, header.name))
    raise StackError(
        f"{path} has no header beside it (.json, .nhdr, .mhd or .hdr of the same name); give its shape (slices, rows, "
        f"columns) and type: --shape 100 512 512 --dtype uint16 (shape=(100, 512, 512), dtype='uint16')"
    )


def _opened(raw: RawFile) -> Opened:
    if not raw.path.is_file():
        raise StackError(f"{raw.header} names the voxel file {raw.path}, which is not there")
    dtype, size = np.dtype(raw.dtype), raw.path.stat().st_size
    needed = int(np.prod(raw.shape)) * dtype.itemsize
    offset = size - needed if raw.offset < 0 else raw.offset
    if offset < 0 or offset + needed > size:
        raise StackError(
            f"{raw.path} has {size} bytes where {raw.header} describes {needed + max(offset, 0)} "
            f"({' × '.join(map(str, raw.shape))} {dtype.name}); the file is cut short or the description is wrong"
        )
    channels = layouts(raw.shape, what=str(raw.path))
    readers = {n: RawReader(raw.path, layout, dtype.str, offset=offset) for n, layout in channels.items()}
    calibration, findings = _scale(raw.spacing, raw.unit, raw.header)
    return Opened(readers, calibration=calibration, findings=findings)


def _scale(spacing: tuple[float, ...] | None, unit: str | None, name: str) -> tuple[Calibration, list[Finding]]:
    """Voxel size from a header's spacing (z, y, x); without a unit only a plausible millimetre value is believed."""
    if spacing is None or len(spacing) < 3 or (all(s == 1 for s in spacing) and unit is None):
        return Calibration(), []
    origin, confidence = f"spacing in {name}", "given"
    if unit is None and max(spacing[-3:]) <= _LARGEST_MM:
        unit, origin, confidence = "mm", f"spacing in {name}, taken as mm (ITK convention)", "default"
    steps = [length_nm(s, unit) for s in spacing[-3:]]
    if None in steps:
        shown = " ".join(f"{s:g}" for s in spacing[-3:])
        text = f"{name}: spacing {shown} (z y x) has no unit; give it in nm with --voxel-nm DZ DY DX (voxel_nm)"
        return Calibration(), [Finding("no-scale", text, files=(name,), asks="pixel_nm")]
    dz, dy, dx = steps
    return Calibration(Sourced((dy, dx), origin, confidence), Sourced(dz, origin, confidence)), []
