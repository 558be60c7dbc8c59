"""Loops behind `fibtomo.ops.distance` on the CPU: lower envelopes of parabolas, line by line.

Lines are cut at False voxels, across which no parabola reaches. Columns are copied together in tiles, so that the
volume is read in whole cache lines. Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

from fibtomo.backend.threads import map_ranges
from fibtomo.core.volume import VoxelNm

Array = Any
TILE = 16
compiled = njit(nogil=True, cache=True, error_model="numpy")


def distances(mask: Array, spacing: VoxelNm, black_border: bool, limit: float) -> Array:
    """Distance of each True voxel to the nearest False one.

    Parameters
    ----------
    mask
        (z, y, x) bool, C-contiguous.
    spacing
        Distance of voxels along (z, y, x).
    black_border
        Voxels outside count as False.
    limit
        Largest distance that is returned; inf for none.

    Returns
    -------
    array
        float32, 0 at False voxels.
    """
    nz, ny, _ = mask.shape
    dz, dy, dx = spacing
    out = np.empty(mask.shape, np.float32)
    bits = mask.view(np.uint8)
    map_ranges(lambda a, b: _planes(bits, out, a, b, dy, dx, black_border, limit), nz, max(1, min(8, nz // 16)))
    map_ranges(lambda a, b: _depths(out, a, b, dz, black_border, limit), ny, max(1, min(8, ny // 16)))
    return out


@compiled
def _planes(mask: Array, out: Array, z0: int, z1: int, dy: float, dx: float, border: bool, limit: float) -> None:
    """Squared distances within planes z0 … z1 - 1."""
    ny, nx = mask.shape[1:]
    lines, starts, sites = np.empty((TILE, ny), np.float32), np.empty(ny + 3), np.empty(ny + 3, np.int32)
    values = np.empty(ny + 3)
    most = np.float32(limit * limit)
    for z in range(z0, z1):
        for y in range(ny):
            _row(mask[z, y], out[z, y], np.float32(dx), most, border)
        for x0 in range(0, nx, TILE):
            n = min(TILE, nx - x0)
            for y in range(ny):
                for i in range(n):
                    lines[i, y] = out[z, y, x0 + i]
            for i in range(n):
                _line(lines[i], dy * dy, border, most, starts, sites, values)
            for y in range(ny):
                for i in range(n):
                    out[z, y, x0 + i] = lines[i, y]


@compiled
def _depths(out: Array, y0: int, y1: int, dz: float, border: bool, limit: float) -> None:
    """Complete rows y0 … y1 - 1 of all planes along z, and take the roots."""
    nz, _, nx = out.shape
    lines, starts, sites = np.empty((TILE, nz), np.float32), np.empty(nz + 3), np.empty(nz + 3, np.int32)
    values = np.empty(nz + 3)
    most = np.float32(limit * limit)
    for y in range(y0, y1):
        for x0 in range(0, nx, TILE):
            n = min(TILE, nx - x0)
            for z in range(nz):
                for i in range(n):
                    lines[i, z] = out[z, y, x0 + i]
            for i in range(n):
                _line(lines[i], dz * dz, border, most, starts, sites, values)
            for z in range(nz):
                for i in range(n):
                    out[z, y, x0 + i] = min(np.sqrt(lines[i, z]), np.float32(limit))


@compiled
def _row(mask: Array, out: Array, spacing: np.float32, most: np.float32, border: bool) -> None:
    """Squared distances along a row: from the left, then from the right."""
    n = mask.size
    steps = 0 if border else 2 * n
    for x in range(n):
        steps = (steps + 1) * mask[x]
        out[x] = steps
    steps = 0 if border else 2 * n
    for x in range(n - 1, -1, -1):
        steps = (steps + 1) * mask[x]
        nearest = min(np.float32(steps), out[x])
        distance = spacing * nearest
        out[x] = most if nearest > n else min(distance * distance, most)


@compiled
def _line(f: Array, w: float, border: bool, most: np.float32, starts: Array, sites: Array, values: Array) -> None:
    """Replace ``f`` by the least of ``f(q) + w (q - p)²`` over q, but at most `most`.

    Parameters
    ----------
    f
        Squared distances so far.
    w
        Squared spacing.
    border, most
        Whether the ends are next to False voxels; squared limit.
    starts, sites, values
        Room for the parabolas of the lower envelope: where each becomes the lowest, its vertex and its least value.
    """
    n = f.size
    a = 0
    while a < n:
        if f[a] == 0:
            a += 1
            continue
        b = a + 1
        while b < n and f[b] > 0:
            b += 1
        top = -1
        for q in range(a if a == 0 and not border else a - 1, b if b == n and not border else b + 1):
            least = np.float64(f[q]) if a <= q < b else 0.0
            if least >= most:
                continue
            start = -np.inf
            while top >= 0:
                v = sites[top]
                start = 0.5 * (q + v) + (least - values[top]) / (2 * w * (q - v))
                if start > starts[top]:
                    break
                top -= 1
                start = -np.inf
            top += 1
            sites[top], values[top], starts[top] = q, least, start
        if top < 0:
            f[a:b] = most
        else:
            starts[top + 1] = np.inf
            k = 0
            for p in range(a, b):
                while starts[k + 1] < p:
                    k += 1
                d = np.float64(p - sites[k])
                f[p] = min(np.float32(values[k] + w * d * d), most)
        a = b
