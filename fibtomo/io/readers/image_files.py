"""A stack of one image file per slice, read by several threads."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Shape
from fibtomo.errors import StackError
from fibtomo.io.findings import Finding
from fibtomo.io.readers.base import Reader, file_stamp
from fibtomo.io.readers.decode import decode

_THREADS = 4


@dataclass(frozen=True)
class FileSlices:
    """Slices in single image files.

    Parameters
    ----------
    files
        In slice order.
    rows, columns, dtype
        Of every readable file.
    offsets
        Byte at which uncompressed pixels start, None for a file that must be decoded.
    sample
        Which value of a pixel to take (colour or several detectors in one file).
    inverted
        True when 0 means white in the files.
    bad
        Indices that come as zeros.
    """

    files: tuple[Path, ...]
    rows: int
    columns: int
    dtype: str
    offsets: tuple[int | None, ...]
    sample: int = 0
    inverted: bool = False
    bad: frozenset[int] = frozenset()
    chunk_slices: int = 1

    @property
    def shape(self) -> Shape:
        """Slices, rows, columns as stored."""
        return len(self.files), self.rows, self.columns

    def read(self, z: slice, rows: slice) -> NDArray[Any]:
        """Return slices `z` and image rows `rows`; touches only the files of these slices."""
        indices = range(len(self.files))[z]
        first, last, _ = rows.indices(self.rows)
        out = np.empty((len(indices), last - first, self.columns), np.dtype(self.dtype).newbyteorder("="))

        def fill(k: int) -> None:
            out[k] = self._slice(indices[k], first, last)

        if len(indices) < 2:
            for k in range(len(indices)):
                fill(k)
        else:
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(fill, range(len(indices))))
        return np.bitwise_not(out) if self.inverted else out

    def stamp(self) -> str:
        """Names, sizes and times of the files."""
        return "\n".join(file_stamp(path) for path in self.files)

    def _slice(self, index: int, first: int, last: int) -> NDArray[Any]:
        if index in self.bad:
            return np.zeros((last - first, self.columns), self.dtype)
        path, offset = self.files[index], self.offsets[index]
        if offset is not None:
            dtype = np.dtype(self.dtype)
            start = offset + first * self.columns * dtype.itemsize
            pixels = np.fromfile(path, dtype, (last - first) * self.columns, offset=start)
            if pixels.size < (last - first) * self.columns:
                raise StackError(f"{path} has become shorter since it was opened; copy it again or pass --skip-bad")
            return pixels.reshape(last - first, self.columns)
        pixels = decode(path)
        if pixels.shape[:2] != (self.rows, self.columns):
            raise StackError(
                f"{path} is {pixels.shape[1]} × {pixels.shape[0]} pixels where the others are "
                f"{self.columns} × {self.rows}; remove it or pass --skip-bad"
            )
        return (pixels if pixels.ndim == 2 else pixels[..., self.sample])[first:last]


def colour_samples(readers: dict[str, Reader], name: str) -> tuple[dict[str, Reader], Finding]:
    """Fold the samples of colour images into one detector when they are in fact grey.

    Parameters
    ----------
    readers
        One per sample, in order; an opacity channel is dropped.
    name
        What the finding calls the images.
    """
    colours = {label: reader for label, reader in readers.items() if label != "alpha"}
    first, *others = colours.values()
    middle = first.shape[0] // 2
    part = slice(middle, middle + 1)
    grey = first.read(part, slice(None))
    if all(np.array_equal(grey, other.read(part, slice(None))) for other in others):
        text = f"{name}: stored as colour, but all samples are equal; read as grey"
        return {"": first}, Finding("colour", text, "note", (name,))
    text = f"{name}: true colour; read as the channels {', '.join(colours)}, {next(iter(colours))} by default"
    return dict(colours), Finding("colour", text, "warning", (name,))
