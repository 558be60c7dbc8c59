"""Thresholds from histograms: exact multi-level Otsu, and the shares of the classes."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError
from fibtomo.ops.histogram import Counts, Edges

Float = NDArray[np.float64]


def multi_otsu(counts: Counts, edges: Edges, classes: int = 2) -> Float:
    """Thresholds that split a histogram into classes of least within-class variance (exact, for any class count).

    Dynamic programming over the occupied bins; the best split moves monotonically with the end of the range, so
    each class costs O(n log n) (divide and conquer), also for 65536 bins.

    Parameters
    ----------
    counts, edges
        (n,) counts and (n + 1,) bin edges.
    classes
        Number of classes, 2 or more.

    Returns
    -------
    thresholds
        (classes − 1,) ascending; each lies midway across the empty gap between the classes it separates. With
        fewer grey levels than classes the surplus thresholds lie above all values.

    Raises
    ------
    InputError
        The histogram is empty or fewer than two classes are asked for.

    References
    ----------
    Otsu 1979, IEEE Trans. SMC 9, 62; Liao, Chen & Chung 2001, J. Inf. Sci. Eng. 17, 713.

    Examples
    --------
    >>> multi_otsu(np.array([5, 4, 0, 0, 3, 6]), np.arange(7.0), classes=2).tolist()
    [3.0]
    """
    if classes < 2:
        raise InputError(f"classes = {classes} must be 2 or more")
    occupied = np.flatnonzero(counts)
    if len(occupied) == 0:
        raise InputError("the histogram is empty: no voxel lies inside the field of view, so there is no threshold")
    parts = min(classes, len(occupied))
    starts = _best_partition(counts[occupied].astype(np.float64), _centres(edges)[occupied], parts)
    below, above = occupied[starts - 1], occupied[starts]
    found = (edges[below + 1] + edges[above]) / 2
    return np.append(found, np.full(classes - parts, edges[occupied[-1] + 1]))


def _centres(edges: Edges) -> Float:
    return (edges[:-1] + edges[1:]) / 2


def _best_partition(weight: Float, value: Float, parts: int) -> NDArray[np.int64]:
    """First bins of parts 2, 3, … of the partition that maximises Σ (class sum)² / (class weight)."""
    value = value - np.average(value, weights=weight)
    W = np.concatenate([[0.0], np.cumsum(weight)])
    M = np.concatenate([[0.0], np.cumsum(weight * value)])
    n = len(weight)
    best = np.full(n + 1, -np.inf)
    best[1:] = M[1:] ** 2 / W[1:]
    splits = []
    for _ in range(1, parts):
        best, split = _extend(best, W, M)
        splits.append(split)
    starts, end = [], n
    for split in reversed(splits):
        end = int(split[end])
        starts.append(end)
    return np.array(starts[::-1], dtype=np.int64)


def _extend(best: Float, W: Float, M: Float) -> tuple[Float, NDArray[np.int64]]:
    """Add one class: new[j] = max over i < j of best[i] + gain(i, j), level by level over ever finer j."""
    n = len(best) - 1
    new, split = np.full(n + 1, -np.inf), np.zeros(n + 1, dtype=np.int64)
    step = 1 << n.bit_length()
    while step > 1:
        half = step // 2
        j = np.arange(half, n + 1, step)
        low = split[j - half]
        beyond = np.minimum(j + half, n)
        high = np.where(j + half <= n, np.maximum(split[beyond], low), j - 1)
        high = np.minimum(high, j - 1)
        length = np.maximum(high - low, 0) + 1
        start = np.cumsum(length) - length
        i = np.arange(length.sum()) - np.repeat(start - low, length)
        end = np.repeat(j, length)
        score = best[i] + (M[end] - M[i]) ** 2 / (W[end] - W[i])
        new[j] = np.maximum.reduceat(score, start)
        hits = np.flatnonzero(score == np.repeat(new[j], length))
        split[j] = i[hits[np.searchsorted(hits, start)]]
        step = half
    return new, split


def class_fractions(counts: Counts, edges: Edges, thresholds: Float) -> Float:
    """Fraction of the counted voxels in each class, bins cut linearly at the thresholds.

    Examples
    --------
    >>> class_fractions(np.array([1, 1, 2]), np.arange(4.0), np.array([1.5])).tolist()
    [0.375, 0.625]
    """
    cumulative = np.concatenate([[0], np.cumsum(counts)]) / max(1, counts.sum())
    return np.diff(np.concatenate([[0.0], np.interp(thresholds, edges, cumulative), [1.0]]))
