"""Loops behind `fibtomo.ops.local_thickness` on the CPU. Imported lazily: numba takes a while to load."""

from math import ceil
from typing import Any

import numpy as np
from numba import njit

from fibtomo.backend.threads import map_ranges
from fibtomo.core.volume import VoxelNm

Array = Any
TILE = (8, 8, 16)
SLICES = 4 * TILE[0]
compiled = njit(nogil=True, cache=True, error_model="numpy")


def ridge_centres(distance: Array, farthest: Array, voxel_square: float, shrink: float) -> Array:
    """Centres of spheres that no sphere about one of their 26 neighbours contains.

    Parameters
    ----------
    distance
        (z, y, x) float32 radii of the spheres.
    farthest
        (7, bins) float32 from `farthest_in_spheres`.
    voxel_square
        Squared radius per column of `farthest`.
    shrink
        Share of the squared radius within which voxels count as covered.

    Returns
    -------
    array
        (n,) places in the flat volume.
    """
    kept = np.empty(distance.shape, np.uint8)
    map_ranges(lambda a, b: _ridge(distance, farthest, voxel_square, shrink, kept, a, b), len(distance), SLICES)
    return np.flatnonzero(kept)


def paint(distance: Array, centres: Array, spacing: VoxelNm, shrink: float) -> Array:
    """Radius of the largest sphere over each voxel.

    Parameters
    ----------
    distance
        (z, y, x) float32 radii of the spheres.
    centres
        (n,) places of their centres in the flat volume.
    spacing
        Distance of voxels along (z, y, x).
    shrink
        As for `ridge_centres`.

    Returns
    -------
    array
        (z, y, x) float32, 0 where no sphere lies.
    """
    centres = centres[np.argsort(-distance.ravel()[centres])]
    out = np.zeros(distance.shape, np.float32)
    map_ranges(lambda a, b: _paint(distance, centres, *spacing, shrink, out, a, b), len(out), SLICES)
    return out


@compiled
def farthest_in_spheres(reach: Array, weights: Array, voxel_square: float, bins: int) -> Array:
    """How far voxels of a sphere about a voxel can lie from the centre of a voxel next to it.

    Parameters
    ----------
    reach
        Largest offsets (z, y, x) that occur.
    weights
        Squared voxel size along (z, y, x).
    voxel_square
        Squared radius per bin.
    bins
        Their number; bin b stands for open spheres of squared radius up to ``b * voxel_square``.

    Returns
    -------
    array
        (7, bins) float32 squared distances from the neighbours (001, 010, 011, 100, 101, 110, 111).
    """
    most = np.zeros((7, bins), np.float32)
    for z in range(reach[0] + 1):
        for y in range(reach[1] + 1):
            for x in range(reach[2] + 1):
                square = weights[0] * z * z + weights[1] * y * y + weights[2] * x * x
                b = int(square / voxel_square * (1 + 1e-9)) + 1  # the first bin that the voxel lies in
                if b >= bins:
                    break
                for row in range(7):
                    ez, ey, ex = (row + 1) // 4, (row + 1) // 2 % 2, (row + 1) % 2
                    to_z, to_y, to_x = z + ez, y + ey, x + ex
                    far = weights[0] * to_z * to_z + weights[1] * to_y * to_y + weights[2] * to_x * to_x
                    most[row, b] = max(most[row, b], np.float32(far))
    for row in range(7):
        for b in range(1, bins):
            most[row, b] = max(most[row, b], most[row, b - 1])
    return most


@compiled
def _ridge(distance: Array, farthest: Array, voxel_square: float, shrink: float, kept: Array, z0: int, z1: int) -> None:
    ny, nx = distance.shape[1:]
    last = farthest.shape[1] - 1
    for z in range(z0, z1):
        for y in range(ny):
            for x in range(nx):
                radius = distance[z, y, x]
                kept[z, y, x] = 0
                if radius > 0:
                    b = min(ceil(radius * radius * shrink / voxel_square), last)
                    kept[z, y, x] = not _is_contained(distance, farthest, z, y, x, radius, b, shrink)


@compiled
def _is_contained(
    distance: Array, farthest: Array, z: int, y: int, x: int, radius: float, b: int, shrink: float
) -> bool:
    nz, ny, nx = distance.shape
    for p in range(max(z - 1, 0), min(z + 2, nz)):
        for q in range(max(y - 1, 0), min(y + 2, ny)):
            for r in range(max(x - 1, 0), min(x + 2, nx)):
                other = distance[p, q, r]
                if other > radius:
                    row = (p != z) * 4 + (q != y) * 2 + (r != x) - 1
                    if farthest[row, b] < other * other * shrink:
                        return True
    return False


@compiled
def _paint(
    distance: Array, centres: Array, dz: float, dy: float, dx: float, shrink: float, out: Array, z0: int, z1: int
) -> None:
    """Paint the slices z0 … z1 - 1 of all spheres, largest first: what is painted is done, tiles that are full too."""
    ny, nx = out.shape[1:]
    bare = np.zeros(((z1 - z0 - 1) // TILE[0] + 1, (ny - 1) // TILE[1] + 1, (nx - 1) // TILE[2] + 1), np.int32)
    for z in range(z0, z1):
        for y in range(ny):
            for x in range(nx):
                bare[(z - z0) // TILE[0], y // TILE[1], x // TILE[2]] += distance[z, y, x] > 0
    for centre in centres:
        at = (centre // nx // ny, centre // nx % ny, centre % nx)
        radius = distance[at]
        rz, ry, rx = int(radius / dz), int(radius / dy), int(radius / dx)
        a, b = max(at[0] - rz, z0), min(at[0] + rz, z1 - 1)
        c, d = max(at[1] - ry, 0), min(at[1] + ry, ny - 1)
        e, f = max(at[2] - rx, 0), min(at[2] + rx, nx - 1)
        if a > b:
            continue
        for i in range((a - z0) // TILE[0], (b - z0) // TILE[0] + 1):
            for j in range(c // TILE[1], d // TILE[1] + 1):
                for k in range(e // TILE[2], f // TILE[2] + 1):
                    if bare[i, j, k] > 0:
                        zs = (max(a, z0 + i * TILE[0]), min(b + 1, z0 + (i + 1) * TILE[0]))
                        ys = (max(c, j * TILE[1]), min(d + 1, (j + 1) * TILE[1]))
                        xs = (max(e, k * TILE[2]), min(f + 1, (k + 1) * TILE[2]))
                        bare[i, j, k] -= _paint_tile(out, at, radius, radius * radius * shrink, dz, dy, dx, zs, ys, xs)


@compiled
def _paint_tile(
    out: Array, at: Any, radius: float, square: float, dz: float, dy: float, dx: float, zs: Any, ys: Any, xs: Any
) -> int:
    """Give voxels of a box that lie in a sphere its radius unless they have one; returns how many those were."""
    painted = 0
    for z in range(zs[0], zs[1]):
        for y in range(ys[0], ys[1]):
            rest = square - (dz * (z - at[0])) ** 2 - (dy * (y - at[1])) ** 2
            for x in range(xs[0], xs[1]):
                if out[z, y, x] == 0 and (dx * (x - at[2])) ** 2 < rest:
                    out[z, y, x] = radius
                    painted += 1
    return painted
