"""Compiled loop of marching cubes (numba); imported only when a surface is made."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def cut_cubes(field, level, count, edges, lower_corner, axis, first_plane):
    """Triangles (n, 3) of the surface where `field` crosses `level`, as numbers of the lattice edges they cut.

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
    """
    nz, ny, nx = field.shape
    total = 0
    triangles = np.empty((0, 3), dtype=np.int64)
    for write in (False, True):
        if write:
            triangles = np.empty((total, 3), dtype=np.int64)
            total = 0
        for z in range(nz - 1):
            for y in range(ny - 1):
                column = 0
                for corner in range(4):
                    inside = field[z + (corner >> 1), y + (corner & 1), 0] > level
                    column |= inside << (2 * corner)
                for x in range(nx - 1):
                    config, column = column, 0
                    for corner in range(4):
                        inside = field[z + (corner >> 1), y + (corner & 1), x + 1] > level
                        column |= inside << (2 * corner)
                    config |= column << 1
                    if write:
                        for t in range(count[config]):
                            for k in range(3):
                                e = edges[config, t, k]
                                c = lower_corner[e]
                                at = (first_plane + z + (c >> 2)) * ny + y + (c >> 1 & 1)
                                triangles[total + t, k] = (at * nx + x + (c & 1)) * 3 + axis[e]
                    total += count[config]
    return triangles
