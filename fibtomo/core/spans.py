"""Which columns of a target row a slice really shows, where a warp bends the edges of its frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.warp import Warp

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_POINTS = 1 << 20
"""Places looked at together, which bounds the memory."""


def line_spans(
    warp: Warp | None,
    frame: tuple[int, int],
    k: NDArray[Any],
    row: Float,
    col_start: Float,
    col_scale: float,
    count: int,
    tolerance: float,
) -> Int:
    """Columns [x0, x1) of straight target lines whose every voxel lies inside the frame of its slice.

    Parameters
    ----------
    warp
        Displacement within the slices; ``None`` for none.
    frame
        (rows, columns) of the slices.
    k, row, col_start
        (m,) slice, row, and column of the first voxel of each line.
    col_scale, count
        Columns per voxel, and voxels per line.
    tolerance
        Pixels by which rounding may push a place over the edge.

    Returns
    -------
    spans
        (m, 2) int64; the longest such run, (0, 0) if there is none.
    """
    rows, cols = frame
    if warp is None:
        first = np.ceil(-col_start / col_scale - tolerance)
        last = np.floor((cols - 1 - col_start) / col_scale + tolerance)
        spans = np.stack([first, last + 1], axis=1)
        spans[(row < -tolerance) | (row > rows - 1 + tolerance)] = 0
    else:
        margin = _margin(warp)[k]
        spans = np.zeros((len(k), 2))
        seen = np.flatnonzero((row > -margin) & (row < rows - 1 + margin))
        step = max(1, _POINTS // (warp.control_px.shape[2] + 4))
        for at in (seen[a : a + step] for a in range(0, len(seen), step)):
            spans[at] = _between_sides(warp, k[at], row[at], col_start[at], col_scale, count, tolerance)
        near = seen[(row[seen] < margin[seen]) | (row[seen] > rows - 1 - margin[seen])]
        step = max(1, _POINTS // count)
        for at in (near[a : a + step] for a in range(0, len(near), step)):
            spans[at] = _inside_rows(warp, k[at], row[at], col_start[at], col_scale, count, tolerance, spans[at])
    whole: Int = np.clip(spans, 0, count).astype(np.int64)
    whole[whole[:, 1] <= whole[:, 0]] = 0
    return whole


def _margin(warp: Warp) -> Float:
    """(n,) distance from the edge of the frame beyond which no displacement can carry a place across it."""
    largest = np.hypot(*np.abs(warp.bounds_px).max(axis=1).T)
    return np.asarray(largest / (1 - warp.max_gradient) + 1)


def _between_sides(
    warp: Warp, k: NDArray[Any], row: Float, start: Float, scale: float, count: int, tolerance: float
) -> Float:
    """Voxels between the left and the right edge: places advance along a line, as a warp does not fold."""
    along = warp.lines(k, row)
    edges = []
    for edge in (-tolerance, warp.frame[1] - 1 + tolerance):
        low, high = np.zeros(len(k), dtype=np.int64), np.full(len(k), count)
        while np.any(low < high):
            middle = (low + high) // 2
            col = start + middle * scale
            before = col + along(col)[:, 1] < edge
            low, high = np.where(before, np.minimum(middle + 1, high), low), np.where(before, high, middle)
        edges.append(low)
    return np.stack(edges, axis=1).astype(np.float64)


def _inside_rows(
    warp: Warp,
    k: NDArray[Any],
    row: Float,
    start: Float,
    scale: float,
    count: int,
    tolerance: float,
    spans: Float,
) -> Float:
    """Cut lines near the upper or lower edge of the frame to their longest visible run."""
    col = start[:, None] + np.arange(count) * scale
    y = row[:, None] + warp(k[:, None], row[:, None], col)[..., 0]
    x = np.arange(count)
    inside = (y >= -tolerance) & (y <= warp.frame[0] - 1 + tolerance) & (x >= spans[:, :1]) & (x < spans[:, 1:])
    length = x - np.maximum.accumulate(np.where(inside, -1, x), axis=1)
    last = length.argmax(axis=1)
    longest = length[np.arange(len(k)), last]
    return np.stack([last + 1 - longest, last + 1], axis=1).astype(np.float64)
