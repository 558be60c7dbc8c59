"""Compiled loop over touching labels (numba); imported only when phases are cleaned."""

import numpy as np
from numba import njit

from fibtomo.ops._basin_kernels import ROOM, pair_slot


@njit(nogil=True, cache=True)
def count_contacts(labels):
    """Faces between every two different labels of a (z, y, x) array, 0 included.

    Returns
    -------
    ends, faces
        (contacts, 2) labels, the smaller first, and (contacts, 3) numbers of faces across z, y and x.
    """
    nz, ny, nx = labels.shape
    span = np.int64(1) << 32
    pairs, faces, used = np.full(ROOM, -1, np.int64), np.zeros((ROOM, 3), np.int64), 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                label = labels[z, y, x]
                for axis in range(3):
                    a, b, c = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if a == nz or b == ny or c == nx or labels[a, b, c] == label:
                        continue
                    pair = min(label, labels[a, b, c]) * span + max(label, labels[a, b, c])
                    at = pair_slot(pairs, pair)
                    if pairs[at] < 0:
                        if 2 * used > len(pairs):
                            pairs, faces = _enlarged(pairs, faces)
                            at = pair_slot(pairs, pair)
                        pairs[at] = pair
                        used += 1
                    faces[at, axis] += 1
    kept = np.flatnonzero(pairs >= 0)
    ends = np.empty((len(kept), 2), np.int64)
    for k in range(len(kept)):
        ends[k, 0], ends[k, 1] = pairs[kept[k]] // span, pairs[kept[k]] % span
    return ends, faces[kept]


@njit(nogil=True, cache=True)
def _enlarged(pairs, faces):
    new_pairs, new_faces = np.full(2 * len(pairs), -1, np.int64), np.zeros((2 * len(pairs), 3), np.int64)
    for k in range(len(pairs)):
        if pairs[k] >= 0:
            at = pair_slot(new_pairs, pairs[k])
            new_pairs[at], new_faces[at] = pairs[k], faces[k]
    return new_pairs, new_faces
