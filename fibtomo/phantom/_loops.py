"""Compiled loops of the specimens (imported only when one is sampled).

No fast-math and no matrix library: the same bits on every machine and with any number of threads.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@njit(nogil=True, cache=True)
def sum_of_products(a: Float, b: Float, c: Float, d: Float) -> Float:
    """``a @ b - c @ d`` for (m, waves) and (waves, n) matrices."""
    out = np.zeros((a.shape[0], b.shape[1]))
    for row in range(a.shape[0]):
        line = out[row]
        for wave in range(a.shape[1]):
            p, q = a[row, wave], c[row, wave]
            for col in range(b.shape[1]):
                line[col] += p * b[wave, col] - q * d[wave, col]
    return out


@njit(nogil=True, cache=True)
def _cell(point: Float, box: Float, cells: Int) -> int:
    index = 0
    for axis in range(3):
        i = int(point[axis] / box[axis] * cells[axis])
        index = index * cells[axis] + min(i, cells[axis] - 1)
    return index


@njit(nogil=True, cache=True)
def _distance2(point: Float, centre: Float, box: Float) -> float:
    total = 0.0
    for axis in range(3):
        d = abs(point[axis] - centre[axis])
        d = min(d, box[axis] - d)
        total += d * d
    return total


@njit(nogil=True, cache=True)
def place(radii: Float, draws: Float, box: Float) -> Float:
    """Random sequential addition of non-overlapping balls; rows of NaN where the draws ran out.

    `draws` (m, 3) are candidate centres, taken in order.
    """
    centres = np.full((len(radii), 3), np.nan)
    used = 0
    for i in range(len(radii)):
        while used < len(draws):
            candidate = draws[used]
            used += 1
            free = True
            for j in range(i):
                reach = radii[i] + radii[j]
                if _distance2(candidate, centres[j], box) < reach * reach:
                    free = False
                    break
            if free:
                centres[i] = candidate
                break
    return centres


@njit(nogil=True, cache=True)
def depth_in_balls(
    points: Float, box: Float, cells: Int, start: Int, index: Int, centres: Float, radii: Float, outside: float
) -> Float:
    """Distance of each (n, 3) point inside the nearest ball's surface; negative outside, at least `outside`."""
    out = np.empty(len(points))
    for i in range(len(points)):
        cell = _cell(points[i], box, cells)
        best = outside
        for k in range(start[cell], start[cell + 1]):
            j = index[k]
            best = max(best, radii[j] - np.sqrt(_distance2(points[i], centres[j], box)))
        out[i] = best
    return out


@njit(nogil=True, cache=True)
def nearest_seed(points: Float, box: Float, cells: Int, start: Int, index: Int, centres: Float) -> Int:
    """Index of the seed nearest to each (n, 3) point."""
    out = np.empty(len(points), np.int64)
    for i in range(len(points)):
        cell = _cell(points[i], box, cells)
        best, least = -1, np.inf
        for k in range(start[cell], start[cell + 1]):
            d = _distance2(points[i], centres[index[k]], box)
            if d < least:
                best, least = index[k], d
        out[i] = best
    return out
