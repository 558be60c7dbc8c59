"""Grey of the phases from place to place: a gain and an offset that follow slow changes of brightness.

The volume is counted in cells; neighbouring cells make overlapping windows. Each window shows the phases at an affine
copy of their common grey, in its own proportion, so the positions of the phase peaks are matched and not mean and
contrast: a window that holds one phase only is not stretched into two. The search goes from the whole volume to ever
smaller windows, each beginning where the larger one ended (Chow and Kaneko 1972, doi:10.1016/0010-4809(72)90070-5,
took thresholds from windows; here they stay tied to the phases of the whole).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace, to_host
from fibtomo.core.volume import Shape, Table
from fibtomo.errors import InputError
from fibtomo.ops.histogram import Bins, Counts, count_bins, row_spans

Float = NDArray[np.float64]
MOST_BINS = 1024
"""Bins over the range of greys that can occur, in each cell."""
LEAST_WINDOW = 9
"""Voxels along the edge of a window, at least."""


@dataclass(frozen=True)
class Cells:
    """Cells of nearly equal size that fill a volume, and how many make a window.

    Attributes
    ----------
    shape
        (z, y, x) of the volume.
    size
        (z, y, x) edges of a cell, voxels; the last ones are made to fit.
    window
        (z, y, x) cells that a window spans; odd.
    """

    shape: Shape
    size: tuple[int, int, int]
    window: tuple[int, int, int]

    @classmethod
    def slices(cls, shape: Shape, window: int) -> "Cells":
        """One cell for each slice; `window` slices see together."""
        return cls(shape, (1, shape[1], shape[2]), (window + 1 - window % 2, 1, 1))

    @classmethod
    def windows(cls, shape: Shape, window_px: tuple[float, float, float]) -> "Cells":
        """Cells a third as wide as windows of `window_px`; an axis shorter than that is one cell."""
        size = [n if w >= n else max(1, round(w / 3)) for n, w in zip(shape, window_px, strict=True)]
        spans = [1 if s == n else 3 for s, n in zip(size, shape, strict=True)]
        return cls(shape, (size[0], size[1], size[2]), (spans[0], spans[1], spans[2]))

    @property
    def grid(self) -> Shape:
        """Number of cells along z, y and x."""
        z, y, x = (max(1, round(n / s)) for n, s in zip(self.shape, self.size, strict=True))
        return z, y, x

    def edges(self, axis: int) -> NDArray[np.int64]:
        """First voxels of the cells along an axis, and its length."""
        return np.rint(np.linspace(0, self.shape[axis], self.grid[axis] + 1)).astype(np.int64)

    def patches(self) -> NDArray[np.int64]:
        """Rows [y0, y1) and columns [x0, x1) of the cells of a plane (cells, 4)."""
        y, x = self.edges(1), self.edges(2)
        return np.array([[a, b, c, d] for a, b in pairwise(y) for c, d in pairwise(x)])

    def count(self, block: Any, z0: int, bins: Bins, boxes: NDArray[np.integer[Any]] | None) -> Table:
        """``counts`` (layers, cells, n + 2) of a block of slices from `z0`, and the ``first`` layer of cells."""
        edges, patches = self.edges(0), self.patches()
        spans = None if boxes is None else row_spans(boxes, block.shape)
        first = int(np.searchsorted(edges, z0, side="right")) - 1
        layers = []
        for a, b in zip(edges[first:-1], edges[first + 1 :], strict=True):
            part = slice(max(a - z0, 0), b - z0)
            if part.start >= len(block):
                break
            seen = None if spans is None else spans[part]
            layers.append(to_host(count_bins(block[part], [bins.start], [bins.width], bins.n, seen, patches))[0])
        return {"first": first, "counts": np.stack(layers).astype(np.uint32)}

    def add(self, partials: Sequence[Table]) -> Counts:
        """Sum what all blocks counted: (z, y, x, n + 2)."""
        n = partials[0]["counts"].shape[-1]
        total = np.zeros((self.grid[0], self.grid[1] * self.grid[2], n), dtype=np.int64)
        for part in partials:
            total[part["first"] : part["first"] + len(part["counts"])] += part["counts"]
        return total.reshape(*self.grid, n)

    def bytes(self, bins: Bins) -> float:
        """Most bytes that counting one layer of cells takes."""
        return 24.0 * self.grid[1] * self.grid[2] * (bins.n + 2)


def coarse_bins(bins: Bins) -> Bins:
    """At most `MOST_BINS` bins in place of `bins`.

    Examples
    --------
    >>> coarse_bins(Bins(-0.5, 1.0, 65536))
    Bins(start=-0.5, width=64.0, n=1024)
    """
    join = -(-bins.n // MOST_BINS)
    return Bins(bins.start, bins.width * join, -(-bins.n // join))


def cells_for(
    method: str, shape: Shape, voxel: tuple[float, ...], window: float | None, follow_slices: int
) -> Cells | None:
    """Cells in which a method looks for changes of brightness; ``None`` if it takes the volume as one.

    Parameters
    ----------
    method
        "local" looks in windows, any other along z if `follow_slices` is not 0.
    shape, voxel
        (z, y, x) voxels and size of one.
    window
        Edge of the windows, in the unit of `voxel`; ``None`` for a third of the plane.
    follow_slices
        Slices that are looked at together.

    Raises
    ------
    InputError
        The windows are narrower than nine voxels.
    """
    if method != "local":
        return Cells.slices(shape, follow_slices) if follow_slices else None
    edge = max(shape[1] * voxel[1], shape[2] * voxel[2]) / 3 if window is None else window
    sizes = [edge / v for v in voxel]
    if min(sizes) < LEAST_WINDOW:
        if window is not None:
            raise InputError(
                f"window_nm = {window:g} spans {min(sizes):.3g} voxels; local thresholds need {LEAST_WINDOW}"
            )
        sizes = [max(s, LEAST_WINDOW) for s in sizes]
    return Cells.windows(shape, (sizes[0], sizes[1], sizes[2]))


@dataclass(frozen=True)
class GreyField:
    """Gain and offset at the centres of cells; between them both go on linearly.

    Attributes
    ----------
    gain, offset
        (z, y, x) of the cells: a phase of common grey m shows ``gain * m + offset``.
    """

    cells: Cells
    gain: Float
    offset: Float

    @classmethod
    def from_table(cls, cells: Cells, table: Table) -> "GreyField":
        """Build from what `to_table` made for the same cells."""
        return cls(
            cells, np.asarray(table["gain"]).reshape(cells.grid), np.asarray(table["offset"]).reshape(cells.grid)
        )

    def to_table(self) -> Table:
        """Flat arrays ``gain`` and ``offset``."""
        return {"gain": self.gain.ravel(), "offset": self.offset.ravel()}

    @property
    def plain(self) -> bool:
        """Whether all is as it was."""
        return bool(np.all(self.gain == 1) and np.all(self.offset == 0))

    def evened(self, block: Any, z0: int) -> Any:
        """Return the block, whose first slice is `z0`, in common greys, float32; itself if nothing changes."""
        if self.plain:
            return block
        xp = namespace(block)
        flat = xp.empty(block.shape, dtype=xp.float32)
        gain, offset = (self._layers(part, z0, len(block)) for part in (self.gain, self.offset))
        rows, cols = (self._between(axis, np.arange(self.cells.shape[axis])) for axis in (1, 2))
        for k, plane in enumerate(block):
            shift, scale = (_spread(like(block, part[k]), rows, cols) for part in (offset, gain))
            xp.subtract(plane, shift, out=flat[k], dtype=xp.float32)
            flat[k] /= scale
        return flat

    def _layers(self, part: Float, z0: int, depth: int) -> NDArray[np.float32]:
        low, high, way = self._between(0, np.arange(z0, z0 + depth))
        t = way[:, None, None]
        return (part[low] * (1 - t) + part[high] * t).astype(np.float32)

    def _between(self, axis: int, at: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
        """Cells before and after each voxel of an axis, and the way from the one to the other."""
        edges = self.cells.edges(axis)
        centre = (edges[:-1] + edges[1:] - 1) / 2
        place = np.interp(at, centre, np.arange(len(centre)))
        low = np.minimum(place.astype(np.int64), max(len(centre) - 2, 0))
        high = np.minimum(low + 1, len(centre) - 1)
        return low, high, (place - low).astype(np.float32)


def _spread(part: Any, rows: Any, cols: Any) -> Any:
    """Linear between cells (y, x), over the whole plane; one value if there is one cell."""
    if part.size == 1:
        return part
    (y0, y1, ty), (x0, x1, tx) = (tuple(like(part, a) for a in axis) for axis in (rows, cols))
    tall = part[y0] * (1 - ty)[:, None] + part[y1] * ty[:, None]
    return tall[:, x0] * (1 - tx) + tall[:, x1] * tx
