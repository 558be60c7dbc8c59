"""What a cell of 2 × 2 × 2 voxels tells: Euler number and Crofton surface as sums over cells.

Voxel (dz, dy, dx) of a cell is corner ``4·dz + 2·dy + dx`` and bit of the same number in its configuration.
"""

from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import VoxelNm

CORNERS = np.array([(c >> 2, c >> 1 & 1, c & 1) for c in range(8)])
PAIRS = tuple(combinations(range(8), 2))
"""All 28 pairs of corners."""


def _direction(offset: NDArray[np.int64]) -> tuple[int, int, int]:
    """One of the two opposite vectors, always the same."""
    o = tuple(int(v) for v in offset)
    return max(o, (-o[0], -o[1], -o[2]))


DIRECTIONS = tuple(sorted({_direction(CORNERS[b] - CORNERS[a]) for a, b in PAIRS}))
"""The 13 directions to neighbouring voxels."""
PAIR_DIRECTION = np.array([DIRECTIONS.index(_direction(CORNERS[b] - CORNERS[a])) for a, b in PAIRS])
PAIRS_PER_CELL = np.bincount(PAIR_DIRECTION)
"""How many pairs of each direction a cell holds: 4 along axes, 2 across faces, 1 across the body."""


@lru_cache(maxsize=16)
def direction_weights(scale: VoxelNm) -> NDArray[np.float64]:
    """Share (13,) of the unit sphere that is nearest to each direction and its opposite; sums to 1.

    For cubic voxels 0.09156 (axes), 0.07396 (face diagonals), 0.07039 (body diagonals); for others the areas of the
    spherical Voronoi cells are computed anew (Lang, Ohser & Hilfer 2001, J. Microsc. 203, 303).

    Examples
    --------
    >>> w = direction_weights((1.0, 1.0, 1.0))
    >>> [round(float(w[DIRECTIONS.index(d)]), 5) for d in [(0, 0, 1), (0, 1, 1), (1, 1, 1)]]
    [0.09156, 0.07396, 0.07039]
    """
    from scipy.spatial import SphericalVoronoi

    vectors = np.array(DIRECTIONS) * np.asarray(scale) / min(scale)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    areas = SphericalVoronoi(np.concatenate([unit, -unit])).calculate_areas()
    shares = areas[: len(unit)] + areas[len(unit) :]
    return shares / shares.sum()


def pair_weights(scale: VoxelNm) -> NDArray[np.float64]:
    """Surface density that one unlike pair (28,) adds to a cell: S_V = 2 · Σ weight · crossings per length."""
    length = np.linalg.norm(np.array(DIRECTIONS) * np.asarray(scale), axis=1)
    return (2.0 * direction_weights(scale) / (PAIRS_PER_CELL * length))[PAIR_DIRECTION]


def surface_table(scale: VoxelNm) -> NDArray[np.float64]:
    """Surface density (256,) that a cell of each configuration adds."""
    inside = np.arange(256)[:, None] >> np.arange(8) & 1
    first, second = np.array(PAIRS).T
    return (inside[:, first] != inside[:, second]) @ pair_weights(scale)


def _euler_tables() -> NDArray[np.int64]:
    """Eight times the Euler number that each of the 256 configurations adds, for 6- and 26-connectivity (2, 256)."""
    tables = np.zeros((2, 256), dtype=np.int64)
    axis_pairs = [p for p, d in zip(PAIRS, PAIR_DIRECTION, strict=True) if PAIRS_PER_CELL[d] == 4]
    squares = [[c for c in range(8) if CORNERS[c][axis] == side] for axis in range(3) for side in (0, 1)]
    for config in range(256):
        inside = [bool(config >> c & 1) for c in range(8)]
        n = sum(inside)
        tables[0, config] = (
            n
            - 2 * sum(inside[a] and inside[b] for a, b in axis_pairs)
            + 4 * sum(all(inside[c] for c in s) for s in squares)
            - 8 * all(inside)
        )
        tables[1, config] = (
            8 * any(inside)
            - 4 * sum(any(inside[c] for c in s) for s in squares)
            + 2 * sum(inside[a] or inside[b] for a, b in axis_pairs)
            - n
        )
    return tables


EULER = _euler_tables()
"""Points, edges, squares and cubes of voxel centres (6-connectivity), or of closed voxels (26-connectivity)."""
