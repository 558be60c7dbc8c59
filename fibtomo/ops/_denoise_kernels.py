"""Loops behind noise estimation and the bilateral filter on the CPU.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")


@compiled
def block_moments(plane: Array, seen: Array, side: int, stride: int) -> tuple[Array, Array]:
    """Mean and variance about the best plane of square blocks that were seen throughout, float64."""
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
                rest = square - total * total / (side * side) - (along_y * along_y + along_x * along_x) / spread
                variance[count] = max(rest, 0.0) / (side * side - 3)
                count += 1
    return mean[:count], variance[:count]
