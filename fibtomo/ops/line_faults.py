"""Lines that are wrong: dead or saturated rows and columns, and rows that jump in brightness.

A thin horizontal layer of the specimen is a bright or dark row as well. It shows on the slices before and after too,
within a few rows; a fault of the scan does not. Only lines that stand alone along z are faults.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.grey_modes import Float
from fibtomo.ops.padding import inside_padding

LONGEST = 3
"""Most rows in one jump."""
LONGEST_DEAD = 5
"""Most dead or saturated lines in one run."""
_REACH = 6  # rows within which a layer is found again on the next slice
_LIMIT = 8.0  # robust standard deviations
_LEAST = 0.08  # of the standard deviation of the slice
_ALIKE = 0.35
_COLUMNS = 256
_NOISELESS = 0.6  # of neighbouring pixels equal: constant lines say nothing then


def dead_lines(plane: NDArray[Any], axis: int) -> list[tuple[int, int]]:
    """Runs [first, stop) of constant rows (axis 0) or columns (axis 1) inside the padding.

    Examples
    --------
    >>> plane = np.random.default_rng(0).normal(size=(32, 48))
    >>> plane[5:7] = 3
    >>> dead_lines(plane, 0), dead_lines(plane, 1)
    ([(5, 7)], [])
    """
    rows, cols = inside_padding(plane)
    inside = plane[rows, cols]
    inside = inside if axis == 0 else inside.T
    if min(inside.shape, default=0) < 8 or np.mean(inside[:, 1:] == inside[:, :-1]) > _NOISELESS:
        return []
    some = inside[:, _sampled(inside.shape[1])]
    dead = np.mean(some == np.median(some, axis=1, keepdims=True), axis=1) > 0.98
    offset = (rows if axis == 0 else cols).start
    return [(a + offset, b + offset) for a, b in _runs(dead) if b - a <= LONGEST_DEAD and a > 0 and b < len(dead)]


def _sampled(columns: int) -> slice:
    """Columns that are looked at: enough for medians."""
    return slice(None, None, max(1, columns // _COLUMNS))


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def row_jumps(planes: Sequence[NDArray[Any]], k: int) -> list[tuple[int, int, float]]:
    """Rows [first, stop) of slice `k` that are brighter or darker than those above and below, and by how much.

    Parameters
    ----------
    planes
        (y, x) slices, in z order, `k` and its neighbours among them.
    k
        The slice that is judged.

    Examples
    --------
    >>> planes = np.random.default_rng(0).normal(100, 5, (3, 64, 128))
    >>> planes[1, 20:22] += 12
    >>> [(a, b, round(by, -1)) for a, b, by in row_jumps(planes, 1)]
    [(20, 22, 10.0)]
    """
    if min(planes[k].shape) < 16:
        return []
    thin = _sampled(planes[k].shape[1])
    plane = np.asarray(planes[k][:, thin], dtype=np.float32)
    beside = [np.asarray(planes[j][:, thin], dtype=np.float32) for j in (k - 1, k + 1) if 0 <= j < len(planes)]
    if not beside:
        return []
    found: list[tuple[int, int, float]] = []
    taken = np.zeros(len(plane), dtype=bool)
    least = _LEAST * float(plane.std())
    for n in range(1, LONGEST + 1):
        height, alone = _heights(plane, n)
        if len(height) < 8:
            continue
        limit = max(_LIMIT * 1.4826 * float(np.median(np.abs(height - np.median(height)))), least)
        candidates = np.flatnonzero((np.abs(height) > limit) & alone)
        others = [_heights(other, n)[0] for other in beside] if len(candidates) else []
        for i in sorted(candidates, key=lambda i: -abs(height[i])):
            first, stop = int(i) + 1, int(i) + 1 + n
            near = slice(max(0, i - _REACH), i + _REACH + 1)
            if taken[first - 1 : stop + 1].any():
                continue
            if all(np.abs(other[near]).max() < _ALIKE * abs(height[i]) for other in others):
                found.append((first, stop, float(height[i])))
                taken[first:stop] = True
    return sorted(found)


def _heights(plane: Float, n: int) -> tuple[Float, NDArray[np.bool_]]:
    """How far n rows from each row on lie above those on both sides, and whether they do so all along the row."""
    rows = len(plane)
    above, below = plane[: rows - n - 1], plane[n + 1 :]
    middle = np.mean([plane[1 + j : rows - n + j] for j in range(n)], axis=0)
    up, down = middle - above, middle - below
    height = np.asarray(np.median(0.5 * (up + down), axis=1), dtype=np.float64)
    sides = np.stack([np.median(up, axis=1), np.median(down, axis=1)])
    alone = (np.abs(sides[0] - sides[1]) < _ALIKE * np.abs(height)) & (sides[0] * sides[1] > 0)
    quarters = np.array_split(0.5 * (up + down), 4, axis=1)
    everywhere = [np.median(q, axis=1) / np.where(height == 0, 1, height) > 0.4 for q in quarters]
    return height, alone & (np.sum(everywhere, axis=0) == 4)


def bridged(plane: Float, runs: Sequence[tuple[int, int]], axis: int) -> Float:
    """Copy of a slice with lines [first, stop) drawn straight from the line before to the line after."""
    out = plane.copy()
    view = out if axis == 0 else out.T
    for first, stop in runs:
        share = ((np.arange(first, stop) - first + 1) / (stop - first + 1))[:, None]
        view[first:stop] = (1 - share) * view[first - 1] + share * view[stop]
    return out
