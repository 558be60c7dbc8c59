"""Fill a closed triangle mesh with voxels, to draw it with the ray-caster."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError

_BATCH = 1_000_000


def voxelise(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], edge: int = 150
) -> tuple[NDArray[np.uint8], float]:
    """Mark the voxels inside a watertight mesh by counting crossings along z.

    Parameters
    ----------
    vertices
        (n, 3) as x, y, z.
    faces
        (m, 3) vertex numbers.
    edge
        Voxels along the longest side.

    Returns
    -------
    solid
        (z, y, x) uint8, 1 inside.
    size
        Edge of a voxel, in the unit of `vertices`.

    Raises
    ------
    InputError
        The mesh is flat or not finite.

    Examples
    --------
    >>> corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    >>> sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    >>> faces = np.array([t for a, b, c, d in sides for t in ((a, b, c), (a, c, d))])
    >>> solid, size = voxelise(corners, faces, 8)
    >>> solid.shape, bool(solid.all()), size
    ((8, 8, 8), True, 0.125)
    """
    points = np.asarray(vertices, dtype=np.float64)
    low = points.min(axis=0)
    span = points.max(axis=0) - low
    if not np.isfinite(span).all() or not (span > 0).all():
        raise InputError("a mesh without volume or with vertices that are not finite cannot be drawn")
    size = float(span.max()) / edge
    points = (points - low) / size
    shape = tuple(int(n) for n in np.maximum(1, np.round(span / size))[::-1])
    toggles = np.zeros((shape[0] + 1, *shape[1:]), dtype=np.uint8)
    triangles = points[np.asarray(faces)]
    first = np.clip(np.ceil(triangles[..., :2].min(axis=1) - 0.5), 0, None).astype(np.int64)
    last = np.minimum(np.floor(triangles[..., :2].max(axis=1) - 0.5), [shape[2] - 1, shape[1] - 1]).astype(np.int64)
    counts = np.maximum(last - first + 1, 0)
    columns = counts.prod(axis=1)
    batches = np.cumsum(columns) // _BATCH
    for batch in range(int(batches[-1]) + 1):
        chosen = np.flatnonzero((batches == batch) & (columns > 0))
        _cross(toggles, triangles[chosen], first[chosen], counts[chosen, 0], columns[chosen])
    return np.bitwise_xor.accumulate(toggles, axis=0)[:-1], size


def _cross(
    toggles: NDArray[np.uint8],
    triangles: NDArray[np.float64],
    first: NDArray[np.int64],
    across: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> None:
    """Flip, for every column of voxels that a triangle crosses, the first voxel above the crossing."""
    face = np.repeat(np.arange(len(triangles)), columns)
    within = np.arange(len(face)) - np.repeat(np.cumsum(columns) - columns, columns)
    x = first[face, 0] + within % across[face]
    y = first[face, 1] + within // across[face]
    # The columns are set a hair aside so that none runs exactly through an edge.
    here = np.stack([x + 0.5 + 1.0e-7, y + 0.5 + 1.7e-7], axis=1)
    a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
    area = _turn(a[:, :2], b[:, :2], c[:, :2])
    upright = area == 0
    area[upright] = 1.0
    u, v = _turn(here, b[:, :2], c[:, :2]) / area, _turn(a[:, :2], here, c[:, :2]) / area
    inside = ~upright & (u >= 0) & (v >= 0) & (u + v <= 1)
    u, v, x, y, a, b, c = (q[inside] for q in (u, v, x, y, a, b, c))
    z = u * a[:, 2] + v * b[:, 2] + (1 - u - v) * c[:, 2]
    above = np.clip(np.ceil(z - 0.5), 0, len(toggles) - 1).astype(np.int64)
    np.bitwise_xor.at(toggles, (above, y, x), 1)


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
