"""Compiled loop over cells of 2 × 2 × 2 voxels (numba); imported only when something is measured."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _count_two(config, a, b, tile, between, surface, euler):
    """Add one cell of the phases a (corners of `config`) and b."""
    area = surface[config]
    tile[a, 1] += area
    tile[b, 1] += area
    between[min(a, b), max(a, b)] += area
    for k in range(2):
        tile[a, 2 + k] += euler[k, config]
        tile[b, 2 + k] += euler[k, 255 - config]


@njit(nogil=True, cache=True)
def _count_many(v, tile, between, pair_weight, surface, euler):
    """Add one cell of three or more phases."""
    pair = 0
    for a in range(8):
        config, first = 0, True
        for b in range(8):
            config |= (v[b] == v[a]) << b
            first &= b >= a or v[b] != v[a]
            if b > a:
                if v[a] != v[b]:
                    between[min(v[a], v[b]), max(v[a], v[b])] += pair_weight[pair]
                pair += 1
        if first:
            tile[v[a], 1] += surface[config]
            for k in range(2):
                tile[v[a], 2 + k] += euler[k, config]


@njit(nogil=True, cache=True)
def count_cells(phases, depth, tile_px, n_phases, pair_weight, surface, euler):
    """Sum voxels, surface and Euler numbers of the first `depth` slices over tiles of each slice.

    Parameters
    ----------
    phases
        (z, y, x) uint8: 0 … n_phases − 1, 255 where nothing was seen.
    depth
        Slices to answer for; one more, if there, closes the cells of the last.
    tile_px
        Edge of the square tiles.
    pair_weight, surface, euler
        Tables of `fibtomo.ops.cells`.

    Returns
    -------
    sums
        (depth, tiles, tiles, n_phases, 4): voxels, surface density × cells, 8 × Euler number (6-, 26-connectivity).
    cells
        (depth, tiles, tiles) cells of which all eight voxels were seen.
    between
        (depth, n_phases, n_phases) surface density × cells between two phases, upper triangle.
    """
    n, ny, nx = phases.shape
    sums = np.zeros((depth, -(-ny // tile_px), -(-nx // tile_px), n_phases, 4))
    cells = np.zeros(sums.shape[:3], dtype=np.int64)
    between = np.zeros((depth, n_phases, n_phases))
    v = np.zeros(8, dtype=np.uint8)
    for z in range(depth):
        upper = min(z + 1, n - 1)
        for y in range(ny):
            ty, below = y // tile_px, min(y + 1, ny - 1)
            closed = upper > z and below > y
            for tx in range(cells.shape[2]):
                tile, seen = sums[z, ty, tx], 0
                for x in range(tx * tile_px, min((tx + 1) * tile_px, nx)):
                    a = phases[z, y, x]
                    if a != 255:
                        tile[a, 0] += 1
                    if not closed or x + 1 == nx:
                        continue
                    v[0], v[1] = a, phases[z, y, x + 1]
                    v[2], v[3] = phases[z, below, x], phases[z, below, x + 1]
                    v[4], v[5] = phases[upper, y, x], phases[upper, y, x + 1]
                    v[6], v[7] = phases[upper, below, x], phases[upper, below, x + 1]
                    config, b, outside, many = 0, a, a == 255, False
                    for c in range(8):
                        if v[c] == a:
                            config |= 1 << c
                        else:
                            outside |= v[c] == 255
                            many |= b not in (a, v[c])
                            b = v[c]
                    if outside:
                        continue
                    seen += 1
                    if many:
                        _count_many(v, tile, between[z], pair_weight, surface, euler)
                    elif config != 255:
                        _count_two(config, a, b, tile, between[z], surface, euler)
                cells[z, ty, tx] += seen
    return sums, cells, between
