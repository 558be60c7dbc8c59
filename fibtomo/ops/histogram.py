"""Histograms that add up: integer counts over bins fixed before any voxel is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.backend.kernels import twin
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
        spans = None if boxes is None else row_spans(boxes, volume.shape)
        return to_host(count_bins(volume, [self.start], [self.width], self.n, spans))[0, 0]


def count_bins(
    volume: Any,
    start: Sequence[float] | Edges,
    width: Sequence[float] | Edges,
    n: int,
    spans: NDArray[np.integer[Any]] | None = None,
    patches: NDArray[np.integer[Any]] | None = None,
) -> Any:
    """Count the pixels of each slice, or of all together, in equal bins; rectangles of the plane apart if wanted.

    Parameters
    ----------
    volume
        (z, y, x) numpy or cupy array of any real dtype; NaN is not counted.
    start, width
        Where the first bin starts and how wide each is: one number for all slices together, or one for each slice
        apart. For integer types bins start half way between two grey values and hold whole numbers of them.
    n
        Number of bins.
    spans
        (z, y, 2) columns [x0, x1) of each row to look at, all when ``None``; see `row_spans`.
    patches
        (p, 4) rows [y0, y1) and columns [x0, x1) of rectangles that are counted apart; the whole plane when ``None``.

    Returns
    -------
    counts
        (1 or z, p, n + 2) int64, the same kind of array; the first and the last bin hold what lies below and above.
        Floats below 64 bits are binned in float32 arithmetic, all else in float64.

    Examples
    --------
    >>> slices = np.array([[[0, 1, 9]], [[1, 1, 2]]], dtype=np.uint8)
    >>> count_bins(slices, [-0.5], [1.0], 3)[:, 0].tolist()
    [[0, 1, 3, 1, 1]]
    >>> count_bins(slices, [-0.5, 0.5], [1.0, 2.0], 1)[:, 0].tolist()
    [[0, 1, 2], [0, 3, 0]]
    """
    if volume.dtype.kind == "b" or volume.dtype == np.float16:
        volume = volume.astype(np.uint8 if volume.dtype.kind == "b" else np.float32)
    arithmetic = np.float32 if volume.dtype == np.float32 else np.float64
    _, ny, nx = volume.shape
    return twin(__package__, "histogram", like=volume).count_bins(
        volume,
        np.asarray(start, dtype=arithmetic),
        np.asarray(width, dtype=arithmetic),
        n,
        np.empty((0, 0, 2), dtype=np.int64) if spans is None else np.asarray(spans, dtype=np.int64),
        np.asarray([[0, ny, 0, nx]] if patches is None else patches, dtype=np.int64),
    )


def row_spans(boxes: NDArray[np.integer[Any]], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Columns [x0, x1) of each row (z, y, 2) that boxes (z, 4) of rows [y0, y1) and columns [x0, x1) show.

    Boxes that are such columns already come back as they are.

    Examples
    --------
    >>> row_spans(np.array([[1, 3, 0, 2]]), (1, 4, 5)).tolist()
    [[[0, 0], [0, 2], [0, 2], [0, 0]]]
    """
    boxes = np.asarray(boxes, dtype=np.int64)
    if boxes.ndim == 3:
        return boxes
    y = np.arange(shape[1])
    shown_rows = (y >= boxes[:, :1]) & (y < boxes[:, 1:2])
    return np.where(shown_rows[:, :, None], boxes[:, None, 2:], 0)


def shown(like: Any, spans: NDArray[np.integer[Any]]) -> Any:
    """Mask, of the same kind of array as `like`, of columns [x0, x1) in `spans` (y, 2) or (z, y, 2) for each row.

    Examples
    --------
    >>> shown(np.zeros((2, 3)), np.array([[0, 2], [1, 3]])).astype(int).tolist()
    [[1, 1, 0], [0, 1, 1]]
    """
    xp = namespace(like)
    x, ends = xp.arange(like.shape[-1]), xp.asarray(spans)
    return (x >= ends[..., :1]) & (x < ends[..., 1:])


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
