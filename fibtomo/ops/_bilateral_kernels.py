"""Loops behind `fibtomo.ops.bilateral` on the CPU.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

from fibtomo.backend.threads import map_ranges

Array = Any
compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")


def average_near(
    level: Array, grey: Array, seen: Any, offsets: Array, near: Array, tolerance: float, workers: int | None
) -> Array:
    """Bilateral mean of `grey`, float32.

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
    workers
        Threads.
    """
    out = np.empty(grey.shape, np.float32)

    def run(start: int, stop: int) -> None:
        _average_slices(level, grey, seen, offsets, near, tolerance, start, stop, out)

    map_ranges(run, len(grey), 4, workers)
    return out


@compiled
def _average_slices(
    level: Array, grey: Array, seen: Any, offsets: Array, near: Array, tolerance: float, z0: int, z1: int, out: Array
) -> None:
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
