"""Maps of coarser pixels than the slices, such as those of X-rays, on the grid of the slices."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Shape
from fibtomo.errors import InputError
from fibtomo.io.readers.base import Reader


@dataclass(frozen=True)
class StretchedReader:
    """Every pixel of a map as `factor` × `factor` pixels of the slices that it covers; nothing is made up between."""

    reader: Reader
    factor: int
    shape: Shape

    @property
    def dtype(self) -> str:
        """NumPy type as stored."""
        return self.reader.dtype

    @property
    def chunk_slices(self) -> int:
        """Slices best read together."""
        return self.reader.chunk_slices

    @property
    def bad(self) -> frozenset[int]:
        """Slices that cannot be read."""
        return self.reader.bad

    def read(self, z: slice, rows: slice) -> NDArray[Any]:
        """Return slices `z` and rows `rows` of the grid of the slices, (z, y, x)."""
        y0, y1, _ = rows.indices(self.shape[1])
        first = y0 // self.factor
        part = self.reader.read(z, slice(first, -(-y1 // self.factor)))
        fine = part.repeat(self.factor, axis=1).repeat(self.factor, axis=2)
        return np.ascontiguousarray(fine[:, y0 - first * self.factor :][:, : y1 - y0])

    def stamp(self) -> str:
        """Text that changes when the files change."""
        return f"{self.reader.stamp()}|{self.factor}"


def stretched(reader: Reader, like: Reader, rows: int, name: str) -> Reader:
    """Return `reader` on the pixels of `like`, of which the first `rows` rows are image.

    Raises
    ------
    InputError
        Its pixels are not a whole multiple of theirs, or its slices are others.
    """
    if reader.shape == like.shape:
        return reader
    n, height, width = reader.shape
    factor = like.shape[2] // width
    rows_fit = height * factor in (rows, like.shape[1])
    if n != like.shape[0] or width * factor != like.shape[2] or not rows_fit:
        raise InputError(
            f"channel '{name}' has {n} × {height} × {width} pixels, the slices have {like.shape[0]} × {rows} × "
            f"{like.shape[2]}: bring it to as many slices, and to pixels that cover 1, 2, 3, ... of theirs each way"
        )
    return StretchedReader(reader, factor, like.shape)
