"""Watertight surfaces by marching cubes, slab by slab, welded by the lattice edge each vertex lies on.

Lorensen & Cline 1987, Computer Graphics 21, 163. The phase's indicator is smoothed first: on a binary volume marching
cubes overestimates the area by 9 % however fine the voxels are. Surfaces are made on the host; cupy arrays are brought
there.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, to_host
from fibtomo.core.mesh import Mesh
from fibtomo.core.volume import Shape, Table, VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.cube_table import EDGES, triangle_table
from fibtomo.ops.morphometry import as_phases, as_scale, phases_in

__all__ = ["Mesh", "auto_bin", "extract_surface", "slab_surface", "surface_halo", "weld"]

TRUNCATE = 3.0
"""Radius of the Gaussian in sigmas."""
MAX_LATTICE = 2**24
"""Lattice points above which the volume is binned by default: a few million triangles for fine structures."""
MOST_PHASES = 32
"""More different values than this are taken for grey values, not labels."""
SLAB = 64
MARGIN = 1e-3
"""Vertices keep this distance from lattice points, in lattice steps, so that none coincide."""


def extract_surface(
    labels_or_volume: Any,
    voxel_nm: float | VoxelNm | None,
    *,
    phase: int | None = None,
    level: float | None = None,
    smooth_px: float | None = None,
    bin_factor: int | None = None,
) -> Mesh:
    """Surface of one phase, or of all that is brighter than a grey level, closed at the border of the volume.

    Parameters
    ----------
    labels_or_volume
        (z, y, x) phase labels (bool, integer), or a grey volume if `level` is given; numpy or cupy.
    voxel_nm
        Voxel size, one number or (dz, dy, dx); ``None`` for a mesh in voxels.
    phase
        Phase to enclose; ``None`` takes the brightest.
    level
        Grey level of an isosurface.
    smooth_px
        Sigma of a Gaussian in voxels of the volume; by default 1 for phases, 0 for grey volumes.
    bin_factor
        Voxels along each axis joined into one; ``None`` bins volumes beyond 16 million voxels.

    Returns
    -------
    Mesh
        Closed surface, normals outward, vertices (x, y, z) in nm.

    Raises
    ------
    InputError
        The array, voxel size, smoothing or binning cannot be used, grey values come without a level, or phase and
        level are both given.

    References
    ----------
    Lorensen & Cline 1987; Montani, Scateni & Scopigno 1994, The Visual Computer 10, 353.

    Examples
    --------
    >>> z, y, x = np.ogrid[-9:10, -9:10, -9:10]
    >>> distance = 7 - np.sqrt(z**2 + y**2 + x**2)
    >>> mesh = extract_surface(distance, 1.0, level=0.0)
    >>> round(mesh.area_nm2 / (4 * np.pi * 49), 2), round(mesh.volume_nm3 / (4 / 3 * np.pi * 343), 2)
    (0.99, 0.99)
    """
    scale, unit = as_scale(voxel_nm)
    if level is None:
        volume = to_host(as_phases(as_array(labels_or_volume)))
        phase = _only_phase(volume) if phase is None else phase
    elif phase is not None:
        raise InputError("give either phase (of labels) or level (of grey values), not both")
    else:
        volume = to_host(labels_or_volume)
        if volume.ndim != 3 or 0 in volume.shape or not np.all(np.isfinite(volume)):
            raise InputError(f"a grey volume of shape {volume.shape} must have three axes and finite values")
    smooth_px = (1.0 if level is None else 0.0) if smooth_px is None else smooth_px
    bin_factor = bin_factor or auto_bin(volume.shape)
    if smooth_px < 0 or bin_factor < 1:
        raise InputError(f"smooth_px = {smooth_px} must not be negative, bin_factor = {bin_factor} not below 1")
    before, after = surface_halo(smooth_px, bin_factor)
    parts = []
    for z0 in range(0, len(volume), SLAB):
        z1 = min(z0 + SLAB, len(volume))
        first = max(0, z0 - before)
        block = volume[first : z1 + after]
        field = (block == phase).astype(np.float32) if level is None else block.astype(np.float32)
        parts.append(
            slab_surface(field, first, (z0, z1), volume.shape, 0.5 if level is None else level, smooth_px, bin_factor)
        )
    vertices, faces = weld(parts)
    return Mesh(to_specimen(vertices, bin_factor, scale), faces, unit)


def _only_phase(phases: NDArray[np.uint8]) -> int:
    """Return the highest phase label that occurs, 0 if nothing was seen; refuse what looks like grey values."""
    seen = phases_in(phases)
    if len(seen) > MOST_PHASES:
        raise InputError(
            f"{len(seen)} different values from {seen[0]} to {seen[-1]} look like grey values, not phase labels: give "
            f"the grey level of the surface (level=...), or segment() the volume first"
        )
    return int(seen[-1]) if len(seen) else 0


def auto_bin(shape: Shape) -> int:
    """Smallest binning that keeps the lattice below `MAX_LATTICE` points.

    Examples
    --------
    >>> auto_bin((256, 256, 256)), auto_bin((1000, 1000, 1000))
    (1, 4)
    """
    factor = 1
    while np.prod([ceil(n / factor) for n in shape], dtype=float) > MAX_LATTICE:
        factor += 1
    return factor


def surface_halo(smooth_px: float, bin_factor: int) -> tuple[int, int]:
    """Neighbouring slices (before, after) that `slab_surface` needs."""
    radius = int(TRUNCATE * smooth_px / bin_factor + 0.5)
    return radius * bin_factor, (radius + 2) * bin_factor - 1


def slab_surface(
    field: Any,
    first: int,
    core: tuple[int, int],
    shape: Shape,
    level: float,
    smooth_px: float,
    bin_factor: int,
) -> Table:
    """Triangles of the cubes that start in the slices `core` of the whole volume.

    Parameters
    ----------
    field
        (z, y, x) slices, halo included: grey values, or bool for a phase; numpy, or cupy, which is brought to the host.
    first
        Index of field[0] in the whole volume.
    core
        Slices (start, stop) of the whole volume to answer for.
    shape
        Shape of the whole volume.
    level, smooth_px, bin_factor
        As in `extract_surface`.

    Returns
    -------
    partial
        keys: numbers (n,) of the lattice edges cut; vertices: (n, 3) lattice positions (z, y, x); faces: (m, 3).
    """
    from scipy.ndimage import gaussian_filter

    from fibtomo.ops._surface_kernels import cut_cubes

    lattice = (ceil(shape[0] / bin_factor), ceil(shape[1] / bin_factor), ceil(shape[2] / bin_factor))
    start, stop = ceil(core[0] / bin_factor), ceil(core[1] / bin_factor)
    if start == stop:
        return {"keys": np.empty(0, np.int64), "vertices": np.empty((0, 3)), "faces": np.empty((0, 3), np.int32)}
    binned, lowest = _binned(to_host(field), first, shape[0], bin_factor)
    if smooth_px:
        binned = gaussian_filter(binned, smooth_px / bin_factor, mode="nearest", truncate=TRUNCATE)
    own = binned[start - lowest : stop - lowest + 1]
    own = _closed(own, level, core[0] == 0, stop == lattice[0])
    plane = start + (core[0] > 0)
    corner, axis = np.array(EDGES).T
    keys, faces = cut_cubes(np.ascontiguousarray(own), level, *_table(), corner, axis, plane)
    return {
        "keys": keys,
        "vertices": _positions(keys, own, level, plane),
        "faces": faces,
    }


_table = lru_cache(maxsize=1)(triangle_table)


def _binned(field: NDArray[Any], first: int, nz: int, factor: int) -> tuple[NDArray[np.float32], int]:
    """Means over cubes of `factor` voxels aligned with the whole volume, and the index of the first."""
    lowest, end = ceil(first / factor), first + len(field)
    if factor == 1:
        return field.astype(np.float32), lowest
    highest = ceil(nz / factor) if end == nz else end // factor
    field = field[lowest * factor - first : highest * factor - first]
    pad = [(0, -n % factor) for n in field.shape]
    field = np.pad(field, pad, mode="edge")
    z, y, x = (n // factor for n in field.shape)
    return field.reshape(z, factor, y, factor, x, factor).mean(axis=(1, 3, 5), dtype=np.float32), lowest


def _closed(field: NDArray[np.float32], level: float, first: bool, last: bool) -> NDArray[np.float32]:
    """Surround the field with its mirror below the level: the surface closes half a voxel outside, on the border."""
    for axis, (before, after) in enumerate([(first, last), (True, True), (True, True)]):
        edges = [np.take(field, [k], axis=axis) for k in (0, -1)]
        low, high = (np.float32(level) - np.abs(e - np.float32(level)) for e in edges)
        parts = [low] * before + [field] + [high] * after
        field = np.concatenate(parts, axis=axis)
    return field


def _positions(keys: NDArray[np.int64], field: NDArray[np.float32], level: float, plane: int) -> NDArray[np.float64]:
    """Where the surface cuts the lattice edges, by linear interpolation; (n, 3) as (z, y, x), first voxel at 0."""
    at, axis = np.divmod(keys, 3)
    lattice = np.stack(np.unravel_index(at, (2**40, *field.shape[1:])), axis=1)
    step = np.eye(3, dtype=np.int64)[axis]
    local = lattice - [plane, 0, 0]
    low, high = (field[tuple(p.T)].astype(np.float64) for p in (local, local + step))
    share = np.clip((level - low) / (high - low), MARGIN, 1 - MARGIN)
    return lattice + step * share[:, None] - 1.0


def weld(parts: Sequence[Table]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Join the parts of all slabs, in z order: vertices on the same lattice edge are one.

    Returns
    -------
    vertices, faces
        (n, 3) lattice positions (z, y, x) in order of the lattice edges, and (m, 3) int32.
    """
    keys, first = np.unique(np.concatenate([p["keys"] for p in parts]), return_index=True)
    vertices = np.concatenate([p["vertices"] for p in parts])[first]
    faces = [np.searchsorted(keys, p["keys"])[p["faces"]] for p in parts]
    return vertices, np.concatenate(faces).astype(np.int32)


def to_specimen(vertices: NDArray[np.float64], bin_factor: int, scale: VoxelNm) -> NDArray[np.float32]:
    """Turn lattice positions (z, y, x) into coordinates (x, y, z), centre of the first voxel at 0."""
    voxels = (vertices + 0.5) * bin_factor - 0.5
    return (voxels * np.asarray(scale))[:, ::-1].astype(np.float32)
