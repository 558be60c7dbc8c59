"""A channel made of two others, slice by slice, while they are read."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Shape, Sourced
from fibtomo.io.readers.base import Reader
from fibtomo.io.stack import Stack, measured_range, read_type


@dataclass(frozen=True)
class CombinedReader:
    """``factors[0] * first + factors[1] * second + shift`` in the type of the first, rounded and clipped."""

    first: Reader
    second: Reader
    factors: tuple[float, float]
    shift: float

    @property
    def shape(self) -> Shape:
        """Slices, rows, columns as stored."""
        return self.first.shape

    @property
    def dtype(self) -> str:
        """Type of the first."""
        return str(read_type(self.first.dtype))

    @property
    def chunk_slices(self) -> int:
        """Slices best read together."""
        return max(self.first.chunk_slices, self.second.chunk_slices)

    @property
    def bad(self) -> frozenset[int]:
        """Slices that cannot be read from either."""
        return self.first.bad | self.second.bad

    def read(self, z: slice, rows: slice) -> NDArray[Any]:
        """Return slices `z` and image rows `rows`, (z, y, x); slices that are bad in either come as zeros."""
        a, b = (np.float32(f) for f in self.factors)
        grey = a * self.first.read(z, rows).astype(np.float32) + b * self.second.read(z, rows).astype(np.float32)
        grey += np.float32(self.shift)
        for place, k in enumerate(range(self.shape[0])[z]):
            if k in self.bad:
                grey[place] = 0
        dtype = np.dtype(self.dtype)
        if dtype.kind not in "iu":
            return grey.astype(dtype)
        info = np.iinfo(dtype)
        return np.clip(np.rint(grey), info.min, info.max).astype(dtype)

    def stamp(self) -> str:
        """Text that changes when the files or the mixture change."""
        return f"{self.first.stamp()}|{self.second.stamp()}|{self.factors}{self.shift}"


def combined(stack: Stack, second: str, factors: tuple[float, float], shift: float, how: str) -> Stack:
    """Return `stack` with a channel "first+second" that is read by default.

    Parameters
    ----------
    stack
        Its channel that is read by default is the first.
    second
        Name of the other.
    factors, shift
        Of the sum, see `CombinedReader`.
    how
        What the metadata say of it.
    """
    first, other = stack.channel_name, stack.spelled(second)
    name = f"{first}+{other}"
    reader = CombinedReader(stack.readers[first], stack.readers[other], factors, shift)
    details = {**stack.details.get(first, {}), "blend": Sourced(how, "least noise of both detectors", "measured")}
    return replace(
        stack,
        readers={**stack.readers, name: reader},
        channel_name=name,
        value_range=measured_range(reader, stack.chosen, stack.rows),
        details={**stack.details, name: details},
        images={**stack.images, name: stack.images[first]} if first in stack.images else stack.images,
    )
