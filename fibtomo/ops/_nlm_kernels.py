"""Loops behind `fibtomo.ops.nlm` on the CPU.

Two voxels an offset apart see the same pair of surroundings, so each pair is compared once and its weight serves both.
The comparison is summed along z, y and x in turn, row by row. Imported lazily: numba takes a while to load.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fibtomo.backend.threads import map_ranges

Array = Any
TILE = (16, 32, 128)
"""Voxels done at a time; what they need fits into the cache of a core."""
compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")


def average_alike(
    level: Array,
    grey: Array,
    seen: Array | None,
    offsets: NDArray[np.int64],
    radius: tuple[int, int, int],
    falloff: float,
    core: tuple[int, int],
    workers: int | None,
) -> Array:
    """One pass of non-local means.

    Parameters
    ----------
    level
        (z, y, x) greys whose noise has standard deviation 1; what is compared.
    grey
        What is averaged, 0 where nothing was seen.
    seen
        (z, y, x) bool; ``None`` if all was seen.
    offsets
        (n, 3) one of each pair of opposite offsets.
    radius
        Half sides of the compared surroundings.
    falloff
        Decay of the weight with the mean squared difference above that of noise.
    core
        Slices that are wanted; the others are those of `grey`.
    workers
        Threads.

    Returns
    -------
    array
        (z, y, x) float32.
    """
    margins = [(r, r) for r in radius]
    padded = np.pad(level, margins, mode="symmetric")
    shown = None if seen is None else np.pad(seen.astype(np.float32), margins, mode="symmetric")
    radii, reach = np.array(radius, dtype=np.int64), np.abs(offsets).max(axis=0, initial=0)
    out = grey.copy()
    spans = [core, (0, grey.shape[1]), (0, grey.shape[2])]
    tiles = [math.ceil((b - a) / t) for (a, b), t in zip(spans, TILE, strict=True)]

    def shown_around(*ranges: NDArray[np.int64]) -> Any:
        """What was seen, unless a tile sees nothing else: comparing is faster then."""
        if shown is None:
            return None
        around = [slice(max(0, a - r), b + r + 2 * m) for (a, b), r, m in zip(ranges, reach, radius, strict=True)]
        return None if shown[tuple(around)].all() else shown

    def run(start: int, stop: int) -> None:
        for k in range(start, stop):
            place = np.unravel_index(k, tiles)
            ranges = [
                np.array([a + i * t, min(a + i * t + t, b)], dtype=np.int64)
                for i, t, (a, b) in zip(place, TILE, spans, strict=True)
            ]
            _average_tile(padded, grey, shown_around(*ranges), offsets, radii, falloff, *ranges, out)

    map_ranges(run, math.prod(tiles), 1, workers)
    return out


@compiled
def _average_tile(
    level: Array,
    grey: Array,
    seen: Any,
    offsets: Array,
    radius: Array,
    falloff: float,
    z_range: Array,
    y_range: Array,
    x_range: Array,
    out: Array,
) -> None:
    """Fill one tile of `out` (z, y, x) with the weighted mean of `grey`.

    Parameters
    ----------
    level
        Greys whose noise has standard deviation 1, mirrored by `radius` on all sides; what is compared.
    grey
        What is averaged, 0 where nothing was seen.
    seen
        1 or 0 as float32, padded like `level`; ``None`` if all was seen.
    offsets
        (n, 3) one of each pair of opposite offsets.
    radius
        Half sides of the compared surroundings.
    falloff
        Decay of the weight with the mean squared difference above that of noise.
    z_range, y_range, x_range
        The tile.
    out
        Written inside the tile.
    """
    nz, ny, nx = grey.shape
    rz, ry, rx = radius
    z0, z1 = z_range
    y0, y1 = y_range
    x0, x1 = x_range
    total = np.empty((z1 - z0, y1 - y0, x1 - x0), np.float32)
    share = np.empty((z1 - z0, y1 - y0, x1 - x0), np.float32)
    total[:] = grey[z0:z1, y0:y1, x0:x1]
    share[:] = 1  # its own weight
    side_y, side_x = 2 * ry + 1, 2 * rx + 1
    reach = 0
    for k in range(len(offsets)):
        reach = max(reach, abs(offsets[k, 2]))
    longest = x1 - x0 + reach + 2 * rx
    ring = np.empty((side_y, longest), np.float32)
    common = np.empty((side_y, longest), np.float32)
    column, counted = np.empty(longest, np.float32), np.empty(longest, np.float32)
    weight = np.empty(longest, np.float32)
    inverse = np.float32(1 / ((2 * rz + 1) * side_y * side_x))
    for k in range(len(offsets)):
        oz, oy, ox = offsets[k]
        za, zb = max(0, -oz, min(z0, z0 - oz)), min(nz, nz - oz, max(z1, z1 - oz))
        ya, yb = max(0, -oy, min(y0, y0 - oy)), min(ny, ny - oy, max(y1, y1 - oy))
        xa, xb = max(0, -ox, min(x0, x0 - ox)), min(nx, nx - ox, max(x1, x1 - ox))
        n = xb - xa
        if n <= 0:
            continue
        wide = n + 2 * rx
        for z in range(za, zb):
            here_z, there_z = z0 <= z < z1, z0 <= z + oz < z1
            for y in range(ya - ry, yb + ry):
                row, both = ring[(y + side_y) % side_y], common[(y + side_y) % side_y]
                if seen is None:
                    _differences(level, z, y + ry, xa, oz, oy, ox, rz, wide, row)
                else:
                    _common_differences(level, seen, z, y + ry, xa, oz, oy, ox, rz, wide, row, both)
                yc = y - ry
                if yc < ya:
                    continue
                here, there = here_z and y0 <= yc < y1, there_z and y0 <= yc + oy < y1
                if not (here or there):
                    continue
                _summed(ring, wide, column)
                if seen is None:
                    _weigh(column, side_x, n, inverse, falloff, weight)
                else:
                    _summed(common, wide, counted)
                    _weigh_common(column, counted, side_x, n, falloff, weight)
                if here:
                    first = max(x0, xa)
                    last = max(first, min(x1, xb))
                    _add(
                        weight[first - xa : last - xa],
                        grey[z + oz, yc + oy, first + ox : last + ox],
                        None if seen is None else seen[z + oz + rz, yc + oy + ry, first + ox + rx : last + ox + rx],
                        total[z - z0, yc - y0, first - x0 : last - x0],
                        share[z - z0, yc - y0, first - x0 : last - x0],
                    )
                if there:
                    first = max(x0 - ox, xa)
                    last = max(first, min(x1 - ox, xb))
                    _add(
                        weight[first - xa : last - xa],
                        grey[z, yc, first:last],
                        None if seen is None else seen[z + rz, yc + ry, first + rx : last + rx],
                        total[z + oz - z0, yc + oy - y0, first + ox - x0 : last + ox - x0],
                        share[z + oz - z0, yc + oy - y0, first + ox - x0 : last + ox - x0],
                    )
    for z in range(z0, z1):
        for y in range(y0, y1):
            line, sums, weights = out[z, y, x0:x1], total[z - z0, y - y0], share[z - z0, y - y0]
            for x in range(x1 - x0):
                line[x] = sums[x] / weights[x]


@compiled
def _differences(
    level: Array, z: int, y: int, xa: int, oz: int, oy: int, ox: int, rz: int, wide: int, row: Array
) -> None:
    """Squared differences of a row and the one an offset away, summed over the surroundings' slices."""
    xb = xa + ox
    if rz == 1:
        a, b = level[z, y, xa : xa + wide], level[z + oz, y + oy, xb : xb + wide]
        c, d = level[z + 1, y, xa : xa + wide], level[z + oz + 1, y + oy, xb : xb + wide]
        e, f = level[z + 2, y, xa : xa + wide], level[z + oz + 2, y + oy, xb : xb + wide]
        for x in range(wide):
            row[x] = (a[x] - b[x]) * (a[x] - b[x]) + (c[x] - d[x]) * (c[x] - d[x]) + (e[x] - f[x]) * (e[x] - f[x])
        return
    for dz in range(2 * rz + 1):
        a, b = level[z + dz, y, xa : xa + wide], level[z + oz + dz, y + oy, xb : xb + wide]
        if dz == 0:
            for x in range(wide):
                row[x] = (a[x] - b[x]) * (a[x] - b[x])
        else:
            for x in range(wide):
                row[x] += (a[x] - b[x]) * (a[x] - b[x])


@compiled
def _common_differences(
    level: Array, seen: Array, z: int, y: int, xa: int, oz: int, oy: int, ox: int, rz: int, wide: int, row: Array,
    both: Array,
) -> None:  # fmt: skip
    """Like `_differences` where both were seen, and how often they were."""
    row[:wide] = 0
    both[:wide] = 0
    xb = xa + ox
    for dz in range(2 * rz + 1):
        a, b = level[z + dz, y, xa : xa + wide], level[z + oz + dz, y + oy, xb : xb + wide]
        p, q = seen[z + dz, y, xa : xa + wide], seen[z + oz + dz, y + oy, xb : xb + wide]
        for x in range(wide):
            pair = p[x] * q[x]
            row[x] += pair * (a[x] - b[x]) * (a[x] - b[x])
            both[x] += pair


@compiled
def _summed(ring: Array, wide: int, column: Array) -> None:
    """Sum over the rows of the ring."""
    if len(ring) == 3:
        a, b, c = ring[0], ring[1], ring[2]
        for x in range(wide):
            column[x] = a[x] + b[x] + c[x]
    elif len(ring) == 5:
        a, b, c, d, e = ring[0], ring[1], ring[2], ring[3], ring[4]
        for x in range(wide):
            column[x] = (a[x] + b[x]) + (c[x] + d[x]) + e[x]
    else:
        column[:wide] = ring[0, :wide]
        for j in range(1, len(ring)):
            a = ring[j]
            for x in range(wide):
                column[x] += a[x]


@compiled
def _weigh(column: Array, side: int, n: int, inverse: float, falloff: float, weight: Array) -> None:
    """Weight of each pair from the summed squared differences; close to exp(-falloff · (distance - 1))."""
    top, drop = np.float32(1 + falloff / 8), np.float32(-0.5 * falloff / 8 * inverse)
    one, none = np.float32(1), np.float32(0)
    if side == 3:
        b, c = column[1:], column[2:]
        for x in range(n):
            w = min(max(top + drop * (column[x] + b[x] + c[x]), none), one)
            w *= w
            w *= w
            weight[x] = w * w
        return
    weight[:n] = column[:n]
    for j in range(1, side):
        b = column[j:]
        for x in range(n):
            weight[x] += b[x]
    for x in range(n):
        w = min(max(top + drop * weight[x], none), one)
        w *= w
        w *= w
        weight[x] = w * w


@compiled
def _weigh_common(column: Array, counted: Array, side: int, n: int, falloff: float, weight: Array) -> None:
    """Like `_weigh`, each sum divided by the pairs it holds."""
    top, drop = np.float32(1 + falloff / 8), np.float32(-0.5 * falloff / 8)
    for x in range(n):
        total, pairs = column[x], counted[x]
        for j in range(1, side):
            total += column[x + j]
            pairs += counted[x + j]
        w = min(max(top + drop * total / max(pairs, np.float32(1)), np.float32(0)), np.float32(1))
        w *= w
        w *= w
        weight[x] = w * w


@compiled
def _add(weight: Array, grey: Array, seen: Any, total: Array, share: Array) -> None:
    if seen is None:
        for x in range(len(weight)):
            total[x] += weight[x] * grey[x]
            share[x] += weight[x]
    else:
        for x in range(len(weight)):
            total[x] += weight[x] * grey[x]
            share[x] += weight[x] * seen[x]
