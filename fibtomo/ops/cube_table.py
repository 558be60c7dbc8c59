"""The triangle table of marching cubes, made rather than listed.

On every face of a cube the cut edges are joined so that inside corners stay apart where a face is ambiguous. The rule
looks at the four corners of the face only, so both cubes that share it agree and the surface has no holes (Montani,
Scateni & Scopigno 1994, The Visual Computer 10, 353). Loops are cut into triangles without diagonals inside a face, so
that every edge belongs to two triangles.

Corners are numbered as in `fibtomo.ops.cells`; an edge is (lower corner, axis).
"""

from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

EDGES = [(corner, axis) for axis in range(3) for corner in range(8) if not corner >> (2 - axis) & 1]
"""The 12 edges."""

_Loop = list[int]


def _edge(a: int, b: int) -> int:
    return EDGES.index((min(a, b), 3 - (a ^ b).bit_length()))


def _faces() -> list[list[int]]:
    """Corners of the six faces, all in the same sense seen from outside."""
    rings = []
    for axis, side in product(range(3), (0, 1)):
        u, v = 1 << (2 - (axis + 1) % 3), 1 << (2 - (axis + 2) % 3)
        start = side << (2 - axis)
        ring = [start, start | u, start | u | v, start | v]
        rings.append(ring if side else ring[::-1])
    return rings


_FACES = _faces()
_FACES_OF_EDGE = [
    {f for f, ring in enumerate(_FACES) for k in range(4) if _edge(ring[k], ring[k - 3]) == e} for e in range(12)
]


def _loops(config: int) -> list[_Loop]:
    """Closed loops of cut edges around the inside corners of a configuration."""
    inside = [bool(config >> c & 1) for c in range(8)]
    following = {}
    for ring in _FACES:
        for k in range(4):
            if not inside[ring[k]] and inside[ring[k - 3]]:
                end = k + 1
                while inside[ring[(end + 1) % 4]]:
                    end += 1
                following[_edge(ring[k], ring[k - 3])] = _edge(ring[end % 4], ring[(end + 1) % 4])
    loops = []
    while following:
        start, edge = following.popitem()
        loop = [start]
        while edge != start:
            loop.append(edge)
            edge = following.pop(edge)
        loops.append(loop)
    return loops


def _triangles(loop: _Loop) -> list[tuple[int, int, int]]:
    """Fan from the first edge whose diagonals all run through the cube."""
    for turn in range(len(loop)):
        root, *rest = loop[turn:] + loop[:turn]
        if not any(_FACES_OF_EDGE[root] & _FACES_OF_EDGE[e] for e in rest[1:-1]):
            return [(root, b, a) for a, b in pairwise(rest)]
    raise RuntimeError(f"no triangulation of the loop {loop}")


def triangle_table() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Number of triangles (256,) and their edges (256, 5, 3) for every configuration of inside corners.

    Examples
    --------
    >>> count, edges = triangle_table()
    >>> int(count[1]), sorted(EDGES[e] for e in edges[1, 0])
    (1, [(0, 0), (0, 1), (0, 2)])
    """
    count, edges = np.zeros(256, dtype=np.int8), np.zeros((256, 5, 3), dtype=np.int8)
    for config in range(256):
        found = [t for loop in _loops(config) for t in _triangles(loop)]
        count[config] = len(found)
        edges[config, : len(found)] = np.array(found, dtype=np.int8).reshape(-1, 3)
    return count, edges
