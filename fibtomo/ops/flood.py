"""How touching objects are split: connectivity, depth of necks, and distances as whole squares."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.labels import Connectivity

SQUARE_LIMIT = 2**18
"""Largest squared distance in whole steps: float32 distances still round to the right one."""
TILE_ROWS = 128
"""Rows whose distances are found together, besides those within reach."""
LOOK_AHEAD = 8
"""Slices beyond a slab in which it settles what belongs together; changes the size of its remains, not the result."""
WIDEST_NECKS = 24
"""Radius, in smallest voxel edges, up to which distances are told apart by default."""
H_DIAGONALS = 0.5
"""Default h in voxel diagonals."""


@dataclass(frozen=True)
class Flood:
    """How objects are split.

    Attributes
    ----------
    connectivity
        6, 18 or 26.
    scale
        Voxel size (dz, dy, dx).
    h
        Least rise of a peak above its pass, in the unit of `scale`; ``None``: `H_DIAGONALS`.
    largest
        Distances above this count as equal; ``None``: `WIDEST_NECKS`.

    Raises
    ------
    InputError
        A number is not positive, or `largest` spans more voxels than distances are kept for.
    """

    connectivity: Connectivity
    scale: VoxelNm = (1.0, 1.0, 1.0)
    h: float | None = None
    largest: float | None = None

    def __post_init__(self) -> None:
        if self.connectivity not in {6, 18, 26}:
            raise InputError(f"connectivity = {self.connectivity} must be 6, 18 or 26")
        for name, value in (("h", self.h), ("largest", self.largest)):
            if value is not None and not value > 0:
                raise InputError(f"{name}_nm = {value} must be positive; leave it out for the default")
        if self.reach**2 > SQUARE_LIMIT * min(self.scale) ** 2:
            most = SQUARE_LIMIT**0.5 * min(self.scale)
            raise InputError(f"largest_nm = {self.largest:g} must be at most {most:g} for voxels of {self.scale}")

    @property
    def reach(self) -> float:
        """Largest distance that is told apart."""
        return WIDEST_NECKS * min(self.scale) if self.largest is None else max(self.largest, *self.scale)

    @cached_property
    def grid(self) -> tuple[float, tuple[int, int, int]]:
        """A unit of length, and squared voxel edges as whole multiples of its square, as exact as distances allow."""
        edges = np.array(self.scale)
        finest = max(1, int(SQUARE_LIMIT**0.5 * edges[2] / self.reach))
        units = edges[2] / np.arange(1, finest + 1)
        whole = np.maximum(np.rint((edges / units[:, None]) ** 2), 1)
        error = np.abs(np.sqrt(whole) * units[:, None] / edges - 1).max(axis=1)
        best = int(np.argmax(error <= error.min() + 1e-9))
        z, y, x = (int(v) for v in whole[best])
        return float(units[best]), (z, y, x)

    @property
    def square_limit(self) -> int:
        """Squared distance, in units, at which distances end."""
        return int((self.reach / self.grid[0]) ** 2 + 1e-6)

    @property
    def rise(self) -> float:
        """`h` in units."""
        h = H_DIAGONALS * float(np.linalg.norm(self.scale)) if self.h is None else self.h
        return h / self.grid[0]

    def lengths(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Length, in units, of steps (n, 3) between voxels."""
        length: NDArray[np.float64] = np.sqrt((steps**2 * np.array(self.grid[1])).sum(axis=1))
        return length

    def tile_share(self, rows: int) -> float:
        """Share of slices of so many rows on which distances are found at a time."""
        reach = ceil((self.square_limit / self.grid[1][1]) ** 0.5)
        return min(1.0, (TILE_ROWS + 2 * reach) / rows)

    @property
    def halo(self) -> int:
        """Neighbouring slices that a slab needs on either side."""
        return ceil((self.square_limit / self.grid[1][0]) ** 0.5) + LOOK_AHEAD
