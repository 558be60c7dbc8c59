"""Loops behind noise estimation and the bilateral filter on the CPU.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")


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


@compiled
def average_near(
    level: Array, grey: Array, seen: Any, offsets: Array, near: Array, tolerance: float, z0: int, z1: int, out: Array
) -> None:
    """Bilateral mean of `grey` on the slices [z0, z1) of `out`.

    Parameters
    ----------
    level
        (z, y, x) greys whose noise has standard deviation 1.
    grey
        What is averaged.
    seen
        (z, y, x) 1 or 0 as float32; ``None`` if all was seen.
    offsets, near
        (n, 3) and their weights; what lies outside the volume has none.
    tolerance
        Standard deviation of the weight over the difference of levels.
    """
    nz, ny, nx = grey.shape
    total, share = np.empty(nx, np.float32), np.empty(nx, np.float32)
    slope, one, none = np.float32(-0.5 / tolerance**2 / 1024), np.float32(1), np.float32(0)
    for z in range(z0, z1):
        for y in range(ny):
            own, line = level[z, y], out[z, y]
            total[:] = 0
            share[:] = 0
            for k in range(len(offsets)):
                oz, oy, ox = offsets[k]
                if not (0 <= z + oz < nz and 0 <= y + oy < ny):
                    continue
                a, b = max(0, -ox), min(nx, nx - ox)
                other, values = level[z + oz, y + oy, a + ox :], grey[z + oz, y + oy, a + ox :]
                mine, sums, shares = own[a:], total[a:], share[a:]
                here = near[k]
                if seen is None:
                    for x in range(b - a):
                        w = _bell(slope * (other[x] - mine[x]) * (other[x] - mine[x]) + one, none) * here
                        sums[x] += w * values[x]
                        shares[x] += w
                else:
                    shown = seen[z + oz, y + oy, a + ox :]
                    for x in range(b - a):
                        w = _bell(slope * (other[x] - mine[x]) * (other[x] - mine[x]) + one, none) * here * shown[x]
                        sums[x] += w * values[x]
                        shares[x] += w
            for x in range(nx):
                line[x] = total[x] / share[x] if share[x] > 0 else grey[z, y, x]


@compiled
def _bell(base: float, none: float) -> float:
    """(1 - t / 1024) to the 1024th power, which is nearly exp(-t) and runs on vector units."""
    w = max(base, none)
    w *= w
    w *= w
    w *= w
    w *= w
    w *= w
    w *= w
    w *= w
    w *= w
    w *= w
    w *= w
    return w
