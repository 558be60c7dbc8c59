"""Histograms that add up: integer counts over bins fixed before any voxel is read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.errors import InputError

MAX_BINS = 65536
"""One bin per grey value up to 16 bits; wider types and floats share this many."""

Counts = NDArray[np.int64]
Edges = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """Equal bins: `n` of `width`, the first starting at `start`.

    Examples
    --------
    >>> bins = Bins.covering("uint8", (0.0, 255.0))
    >>> bins.n, bins.edges[:2].tolist()
    (256, [-0.5, 0.5])
    """

    start: float
    width: float
    n: int

    @classmethod
    def covering(cls, dtype: Any, value_range: tuple[float, float]) -> "Bins":
        """Bins for values of `dtype` within `value_range`; integers get whole numbers of grey values per bin.

        Raises
        ------
        InputError
            The range is empty or not finite.
        """
        low, high = (float(v) for v in value_range)
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise InputError(f"value range {value_range} must be two finite, ascending numbers")
        if np.dtype(dtype).kind in "iub":
            levels = int(high - low) + 1
            width = float(-(-levels // MAX_BINS))
            return cls(low - 0.5, width, int(-(-levels // width)))
        span = high - low or max(abs(low), 1.0) * 1e-6
        return cls(low, span / MAX_BINS, MAX_BINS)

    @property
    def edges(self) -> Edges:
        """All n + 1 edges, ascending."""
        return self.start + self.width * np.arange(self.n + 1)

    def count(self, volume: Any, boxes: NDArray[np.integer[Any]] | None = None) -> Counts:
        """Count the voxels of `volume` in each bin.

        Parameters
        ----------
        volume
            (z, y, x) numpy or cupy array of any real dtype; NaN is not counted.
        boxes
            (z, 4) rows [y0, y1) and columns [x0, x1) to look at in each slice, or (z, y, 2) columns [x0, x1) of each of
            its rows; all when ``None``.

        Returns
        -------
        counts
            (n + 2,) int64 on the host; the first and the last entry hold what lies below and above the bins.
        """
        xp = namespace(volume)
        total = np.zeros(self.n + 2, dtype=np.int64)
        for k in range(len(volume)):
            plane = volume[k] if boxes is None else _seen(volume[k], boxes[k])
            if plane.dtype.kind == "f":
                plane = plane[~xp.isnan(plane)]
                index = xp.floor((plane - self.start) / self.width)
                index = xp.clip(index, -1, self.n).astype(xp.int64) + 1
            elif self.width == 1.0:
                index = xp.clip(plane.astype(xp.int64) - round(self.start + 0.5), -1, self.n) + 1
            else:
                index = xp.clip((plane.astype(xp.int64) - round(self.start + 0.5)) // int(self.width), -1, self.n) + 1
            total += to_host(xp.bincount(index.ravel(), minlength=self.n + 2))
        return total


def shown(like: Any, spans: NDArray[np.integer[Any]]) -> Any:
    """Mask (y, x), of the same kind of array as `like`, of columns [x0, x1) in `spans` (y, 2) for each row.

    Examples
    --------
    >>> shown(np.zeros((2, 3)), np.array([[0, 2], [1, 3]])).astype(int).tolist()
    [[1, 1, 0], [0, 1, 1]]
    """
    xp = namespace(like)
    x, ends = xp.arange(like.shape[-1]), xp.asarray(spans)
    return (x >= ends[:, :1]) & (x < ends[:, 1:])


def _seen(plane: Any, box: NDArray[np.integer[Any]]) -> Any:
    if box.ndim == 2:
        return plane[shown(plane, box)]
    return plane[box[0] : box[1], box[2] : box[3]]


def condense(counts: Counts, edges: Edges, max_bins: int = 1024) -> tuple[Counts, Edges]:
    """Cut a histogram to its occupied part and join neighbouring bins until at most `max_bins` are left.

    Examples
    --------
    >>> counts, edges = condense(np.array([0, 3, 4, 5, 0]), np.arange(6.0), max_bins=2)
    >>> counts.tolist(), edges.tolist()
    ([7, 5], [1.0, 3.0, 5.0])
    """
    occupied = np.flatnonzero(counts)
    if len(occupied) == 0:
        return counts[:1], edges[:2]
    first, last = int(occupied[0]), int(occupied[-1]) + 1
    step = -(-(last - first) // max_bins)
    n = -(-(last - first) // step)
    width = edges[1] - edges[0]
    padded = np.zeros(n * step, dtype=np.int64)
    padded[: last - first] = counts[first:last]
    return padded.reshape(n, step).sum(axis=1), edges[first] + width * step * np.arange(n + 1)
