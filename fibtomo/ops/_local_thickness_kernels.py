"""Loops behind `fibtomo.ops.local_thickness` on the CPU. Imported lazily: numba takes a while to load."""

from math import ceil, sqrt
from typing import Any

import numpy as np
from numba import njit

from fibtomo.backend.threads import map_ranges
from fibtomo.core.volume import VoxelNm

Array = Any
SLICES = 8
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
    out = np.zeros(distance.shape, np.float32)
    map_ranges(lambda a, b: _paint(distance.ravel(), centres, *spacing, shrink, out, a, b), len(out), SLICES)
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
    """Paint the slices z0 … z1 - 1 of all spheres."""
    ny, nx = out.shape[1:]
    for i in range(centres.size):
        centre = centres[i]
        cx, cy, cz = centre % nx, centre // nx % ny, centre // nx // ny
        radius = distance[centre]
        square = radius * radius * shrink
        reach_z, reach_y = int(radius / dz), int(radius / dy)
        for z in range(max(cz - reach_z, z0), min(cz + reach_z + 1, z1)):
            for y in range(max(cy - reach_y, 0), min(cy + reach_y + 1, ny)):
                rest = square - (dz * (z - cz)) ** 2 - (dy * (y - cy)) ** 2
                if rest <= 0:
                    continue
                reach = int(sqrt(rest) / dx)
                if (dx * reach) ** 2 >= rest:
                    reach -= 1
                line = out[z, y]
                for x in range(max(cx - reach, 0), min(cx + reach + 1, nx)):
                    line[x] = max(line[x], radius)
