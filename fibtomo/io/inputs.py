"""Which family of formats a path belongs to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fibtomo.core.source import SliceSource
from fibtomo.errors import InputError, StackError
from fibtomo.io.discover import open_files, open_folder
from fibtomo.io.readers import hdf5, mrc, raw
from fibtomo.io.readers.base import Opened, readable
from fibtomo.io.readers.heads import IMAGES, TIFF
from fibtomo.io.readers.memory import open_array, open_source
from fibtomo.io.readers.tiff_pages import open_tiff
from fibtomo.io.readers.zarr_array import is_zarr, open_zarr

_VOLUMES = (*hdf5.SUFFIXES, *mrc.SUFFIXES, *raw.HEADERS)
_KNOWN = (*IMAGES, *_VOLUMES, ".raw", ".zarr")


@dataclass(frozen=True)
class RawFacts:
    """What the user says of raw voxels without a header."""

    shape: tuple[int, int, int] | None = None
    dtype: str | None = None
    offset: int = 0


def open_input(
    path: Any, dataset: str | None, pattern: str | None, skip_bad: bool, raw_facts: RawFacts
) -> tuple[Path, Opened]:
    """Find the family of formats that `path` belongs to and open it; see `open_stack`.

    Raises
    ------
    StackError
        There is nothing that can be read as a stack; the message names the file and the way out.
    InputError
        `path` is no path, array or source of slices.
    """
    if not isinstance(path, (str, Path)):
        if isinstance(path, SliceSource):
            return Path("source"), open_source(path)
        if hasattr(path, "shape") and hasattr(path, "dtype"):
            return Path("array"), open_array(path)
        raise InputError(f"{type(path).__name__} is no stack: give a folder, a file or an array (z, y, x)")
    place = Path(path).expanduser()
    if not place.exists():
        raise StackError(f"{place} does not exist; check the path")
    try:
        if place.is_dir() and not is_zarr(place):
            inside = _only_volume(place)
            if inside is None:
                return place, open_folder(place, pattern=pattern, skip_bad=skip_bad)
            place = inside
        with readable(place):
            return place, _open_file(place, dataset, raw_facts)
    except PermissionError as error:
        raise StackError(f"{error.filename or place} may not be read; check its permissions") from None


def _open_file(path: Path, dataset: str | None, facts: RawFacts) -> Opened:
    suffix, name = path.suffix.casefold(), path.name.casefold()
    if is_zarr(path):
        return open_zarr(path, dataset)
    if path.stat().st_size == 0:
        raise StackError(f"{path} is empty; copy it again")
    if facts.shape is not None or suffix == ".raw":
        return raw.open_raw(path, facts.shape, facts.dtype, facts.offset)
    if suffix in (".json", ".hdr") and path.with_suffix(".raw").is_file():
        return raw.open_raw(path.with_suffix(".raw"), None, None)
    if suffix in TIFF:
        return open_tiff(path)
    if suffix in IMAGES:
        return open_files([path])
    if suffix in hdf5.SUFFIXES:
        return hdf5.open_hdf5(path, dataset)
    if suffix in mrc.SUFFIXES:
        return mrc.open_mrc(path)
    if name.endswith(raw.HEADERS):
        return raw.open_header(path)
    raise StackError(f"{path} is not an image file that can be read; known are {', '.join(_KNOWN)}")


def _only_volume(folder: Path) -> Path | None:
    """The single volume file or Zarr store in a folder without slice images."""
    found = []
    for entry in folder.iterdir():
        if entry.suffix.casefold() in IMAGES:
            return None
        if is_zarr(entry) or entry.name.casefold().endswith(_VOLUMES):
            found.append(entry)
    return found[0] if len(found) == 1 else None
