"""An array in memory as a stack."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.source import SliceSource
from fibtomo.core.volume import Shape
from fibtomo.errors import InputError
from fibtomo.io.readers.base import Opened, VolumeReader, layouts


@dataclass(frozen=True, eq=False)
class MemoryReader(VolumeReader):
    """Slices of an array-like (NumPy, memory map, lazy array)."""

    values: Any = None

    @contextmanager
    def array(self) -> Iterator[Any]:
        """Give the array."""
        yield self.values

    def stamp(self) -> str:
        """Hash of the voxels."""
        digest = hashlib.sha256()
        for k in range(self.shape[0]):
            digest.update(np.ascontiguousarray(self.layout.take(self.values, slice(k, k + 1), slice(None))).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class SourceReader:
    """Slices of any other `SliceSource`."""

    source: SliceSource
    chunk_slices: int = 1
    bad: frozenset[int] = frozenset()

    @property
    def shape(self) -> Shape:
        """Slices, rows, columns."""
        return self.source.spec.shape

    @property
    def dtype(self) -> str:
        """NumPy type."""
        return self.source.spec.dtype

    def read(self, z: slice, rows: slice) -> NDArray[Any]:
        """Return slices `z` and image rows `rows`."""
        indices = range(self.shape[0])[z]
        block = self.source.read(indices.start, max(indices.stop, indices.start))
        return block[:: indices.step, rows]

    def stamp(self) -> str:
        """Fingerprint of the source."""
        return self.source.fingerprint()


def open_source(source: SliceSource) -> Opened:
    """Wrap another `SliceSource` with its calibration."""
    return Opened({"": SourceReader(source)}, calibration=source.calibration)


def open_array(array: Any) -> Opened:
    """Wrap an array of axes (z, y, x), (c, z, y, x) or (y, x)."""
    if np.dtype(array.dtype).kind not in "buif":
        raise InputError(f"an array of type {array.dtype} holds no greys; give whole numbers or floats")
    dtype = np.dtype(array.dtype).str
    channels = layouts(array.shape, what="array")
    return Opened({n: MemoryReader(Path("array"), layout, dtype, values=array) for n, layout in channels.items()})
