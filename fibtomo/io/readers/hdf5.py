"""Volumes in HDF5 files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.errors import StackError
from fibtomo.io.findings import listed
from fibtomo.io.readers.base import Opened, VolumeReader, layouts

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".ilp", ".h5oina", ".dream3d")


@dataclass(frozen=True)
class Hdf5Reader(VolumeReader):
    """Slices of one dataset."""

    dataset: str = ""

    @contextmanager
    def array(self) -> Iterator[Any]:
        """Open the dataset."""
        with _open(self.path) as file:
            yield file[self.dataset]


def open_hdf5(path: Path, dataset: str | None = None) -> Opened:
    """Open the only image volume of an HDF5 file, or the one named `dataset`.

    Raises
    ------
    StackError
        The file holds no volume, or holds several and none was named.
    """
    import h5py
    import numpy as np

    with _open(path) as file:
        found: dict[str, Any] = {}

        def collect(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" and 3 <= item.ndim <= 5:
                found[name] = item

        file.visititems(collect)
        name = _choose(path, found, file, dataset)
        data = file[name]
        channels = layouts(data.shape, _axes(data), what=f"{path}, dataset '{name}'")
        chunks = data.chunks or (1,) * data.ndim
        readers = {}
        for label, layout in channels.items():
            z = layout.order[0]
            thick = 1 if z is None else chunks[z]
            readers[label] = Hdf5Reader(path, layout, np.dtype(data.dtype).str, thick, dataset=name)
        calibration = _calibration(data)
    return Opened(readers, calibration=calibration, metadata={"dataset": Sourced(name, f"{path.name}", "given")})


def _choose(path: Path, found: dict[str, Any], file: Any, dataset: str | None) -> str:
    candidates = listed([f"{name} {item.shape} {item.dtype}" for name, item in found.items()], 8)
    if dataset is not None:
        name = dataset.strip("/")
        if name in found:
            return name
        what = "is no image volume" if name in file else "does not exist"
        raise StackError(f"{path}: dataset '{dataset}' {what}; there are: {candidates or 'none'}")
    if not found:
        raise StackError(f"{path} holds no dataset with three to five axes of numbers, so there is no stack in it")
    if len(found) > 1:
        raise StackError(f"{path} holds several volumes; choose one with --dataset NAME: {candidates}")
    return next(iter(found))


def _axes(data: Any) -> str | None:
    """Axis letters from ilastik's "axistags" attribute."""
    import json

    tags = data.attrs.get("axistags")
    if tags is None:
        return None
    axes = json.loads(tags)["axes"]
    return "".join(axis["key"] for axis in axes)


def _calibration(data: Any) -> Calibration:
    """Voxel size from the attributes "element_size_um" (Fiji, ilastik, PlantSeg) or "voxel_nm"."""
    for key, factor in (("voxel_nm", 1.0), ("element_size_um", 1000.0)):
        if key in data.attrs and len(data.attrs[key]) == 3:
            dz, dy, dx = (float(v) * factor for v in data.attrs[key])
            origin = f"HDF5 attribute {key}"
            return Calibration(Sourced((dy, dx), origin, "given"), Sourced(dz, origin, "given"))
    return Calibration(UNKNOWN)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    import h5py
    import hdf5plugin  # noqa: F401  registers Blosc, Zstd, LZ4 and other filters

    with h5py.File(path, "r") as file:
        yield file
