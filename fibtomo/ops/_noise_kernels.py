"""Loops behind `fibtomo.ops.noise` on the CPU.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fibtomo.ops.noise import BINS_PER_OCTAVE, BLOCK_PX, GREY_BINS, OCTAVES, STEEPEST

Array = Any
compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")


def count_blocks(
    planes: Array, seen: Array | None, greys: tuple[float, float], stride: int
) -> tuple[NDArray[np.int64], int]:
    """Count the blocks of all slices by mean grey and log variance.

    Parameters
    ----------
    planes, seen
        (z, y, x) greys, and bool; ``None`` if all was seen.
    greys
        Range of the bins of grey.
    stride
        Pixels from one block to the next.

    Returns
    -------
    tuple
        (grey, variance) counts, and the number of blocks whose grey lies outside `greys`.
    """
    counts, missed = np.zeros((GREY_BINS, OCTAVES * BINS_PER_OCTAVE), dtype=np.int64), 0
    scale = 1 / (greys[1] - greys[0])
    for k, plane in enumerate(planes):
        level = (plane.astype(np.float32) - np.float32(greys[0])) * np.float32(scale)
        whole = np.isfinite(level) if seen is None else np.isfinite(level) & seen[k]
        mean, variance = block_moments(level, np.ascontiguousarray(whole), BLOCK_PX, stride, STEEPEST)
        column = np.floor((np.log2(np.maximum(variance, 1e-30)) + OCTAVES) * BINS_PER_OCTAVE).astype(np.int64)
        row = np.floor(mean * GREY_BINS).astype(np.int64)
        shown = (mean >= 0) & (mean <= 1)
        missed += int(np.count_nonzero(~shown))
        inside = shown & (column >= 0) & (column < counts.shape[1])
        np.add.at(counts, (np.minimum(row[inside], GREY_BINS - 1), column[inside]), 1)
    return counts, missed


@compiled
def block_moments(plane: Array, seen: Array, side: int, stride: int, steepest: float) -> tuple[Array, Array]:
    """Mean and variance about the best plane of square blocks that were seen throughout, float64.

    Blocks that slope by more than `steepest` times their variance lie on an edge and are left out.
    """
    ny, nx = plane.shape
    rows, columns = (ny - side) // stride + 1, (nx - side) // stride + 1
    mean, variance = np.empty(rows * columns), np.empty(rows * columns)
    middle = 0.5 * (side - 1)
    spread = side * side * (side * side - 1) / 12.0
    count = 0
    for j in range(rows):
        for i in range(columns):
            y0, x0 = j * stride, i * stride
            total = square = along_y = along_x = 0.0
            whole = True
            origin = np.float64(plane[y0, x0])
            for y in range(side):
                for x in range(side):
                    whole &= seen[y0 + y, x0 + x]
                    value = plane[y0 + y, x0 + x] - origin
                    total += value
                    square += value * value
                    along_y += (y - middle) * value
                    along_x += (x - middle) * value
            if whole:
                mean[count] = origin + total / (side * side)
                sloping = (along_y * along_y + along_x * along_x) / spread
                rest = square - total * total / (side * side) - sloping
                variance[count] = max(rest, 0.0) / (side * side - 3)
                count += sloping < steepest * variance[count]
    return mean[:count], variance[:count]
