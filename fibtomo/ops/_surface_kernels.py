"""Compiled loops of marching cubes (numba); imported only when a surface is made."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _next_column(field, level, z, y, x):
    """Bits 0, 2, 4, 6 of a configuration: which of the four corners at column x are inside."""
    column = 0
    for corner in range(4):
        column |= (field[z + (corner >> 1), y + (corner & 1), x] > level) << (2 * corner)
    return column


@njit(nogil=True, cache=True)
def _count(field, level, count):
    """Number of triangles."""
    nz, ny, nx = field.shape
    total = 0
    for z in range(nz - 1):
        for y in range(ny - 1):
            column = _next_column(field, level, z, y, 0)
            for x in range(1, nx):
                config, column = column, _next_column(field, level, z, y, x)
                total += count[config | column << 1]
    return total


@njit(nogil=True, cache=True)
def cut_cubes(field, level, count, edges, lower_corner, axis, first_plane):
    """Surface where `field` crosses `level`: the lattice edges it cuts, and triangles between them.

    Parameters
    ----------
    field
        (z, y, x) float32; larger than `level` is inside.
    count, edges
        From `fibtomo.ops.cube_table.triangle_table`.
    lower_corner, axis
        (12,) lower corner and axis of the edges of a cube.
    first_plane
        Index of field[0] in the whole lattice, of which an edge's number is ((z · ny + y) · nx + x) · 3 + axis.

    Returns
    -------
    keys
        (n,) numbers of the edges, each once.
    faces
        (m, 3) int32 places in `keys`.
    """
    nz, ny, nx = field.shape
    faces = np.empty((_count(field, level, count), 3), dtype=np.int32)
    keys = np.empty(3 * len(faces), dtype=np.int64)
    met = np.full((2, ny, nx, 3), -1, dtype=np.int32)
    n = m = 0
    for z in range(nz - 1):
        met[(z + 1) & 1] = -1
        for y in range(ny - 1):
            column = _next_column(field, level, z, y, 0)
            for x in range(nx - 1):
                config, column = column, _next_column(field, level, z, y, x + 1)
                config |= column << 1
                for t in range(count[config]):
                    for k in range(3):
                        e = edges[config, t, k]
                        c, a = lower_corner[e], axis[e]
                        cz, cy, cx = z + (c >> 2), y + (c >> 1 & 1), x + (c & 1)
                        number = met[cz & 1, cy, cx, a]
                        if number < 0:
                            number = n
                            met[cz & 1, cy, cx, a] = n
                            keys[n] = (((first_plane + cz) * ny + cy) * nx + cx) * 3 + a
                            n += 1
                        faces[m, k] = number
                    m += 1
    return keys[:n].copy(), faces
