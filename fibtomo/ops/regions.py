"""Which regions of a volume are holes or islands, and what surrounds them: decided on the graph of their contacts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import OUTSIDE, VoxelNm


def counted_pairs(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Different pairs (c, 2) of whole numbers below 2³², and how often each occurs."""
    code, counts = np.unique(pairs[:, 0] << 32 | pairs[:, 1], return_counts=True)
    return np.stack([code >> 32, code & 0xFFFFFFFF], axis=1), counts


def summed_faces(ends: NDArray[np.int64], faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sum the faces of equal pairs, whichever end comes first; pairs of one region with itself are dropped."""
    ends = np.sort(ends, axis=1)
    apart = ends[:, 0] != ends[:, 1]
    code, place = np.unique(ends[apart, 0] << 32 | ends[apart, 1], return_inverse=True)
    total = np.zeros((len(code), 3), dtype=np.int64)
    np.add.at(total, place, faces[apart])
    return np.stack([code >> 32, code & 0xFFFFFFFF], axis=1), total


@dataclass
class Regions:
    """Regions of the whole volume: phase, voxels, whether at the border; contacts and their faces."""

    phase: NDArray[np.uint8]
    voxels: NDArray[np.int64]
    border: NDArray[np.bool_]
    ends: NDArray[np.int64]
    faces: NDArray[np.int64]

    def _groups(self, joined: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Number of the group of each region, given which contacts join."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        a, b = self.ends[joined].T
        n = len(self.phase)
        graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
        return connected_components(graph, directed=False)[1].astype(np.int64)

    def fill(self, phase: int, most_voxels: float) -> int:
        """Give `phase` the holes that it surrounds; how many."""
        other = self.phase != phase
        group = self._groups(other[self.ends].all(axis=1))
        open_group = np.zeros(len(self.phase), dtype=bool)
        np.logical_or.at(open_group, group, self.border | (self.phase == OUTSIDE))
        size = np.bincount(group, weights=self.voxels, minlength=len(self.phase))
        hole = other & ~open_group[group] & (size[group] <= most_voxels)
        self.phase[hole] = phase
        return len(np.unique(group[hole]))

    def remove(self, least_voxels: NDArray[np.float64], scale: VoxelNm, keep_border: bool) -> int:
        """Give islands below the least size of their phase to what surrounds them; how many."""
        group = self._groups(self.phase[self.ends[:, 0]] == self.phase[self.ends[:, 1]])
        n = int(group.max(initial=-1)) + 1
        phase = np.zeros(n, dtype=np.uint8)
        phase[group] = self.phase
        kept = np.zeros(n, dtype=bool)
        np.logical_or.at(kept, group, (self.border & keep_border) | (self.phase == OUTSIDE))
        size = np.bincount(group, weights=self.voxels, minlength=n)
        small = ~kept & (size < np.concatenate([least_voxels, np.zeros(256 - len(least_voxels))])[phase])
        ends, faces = summed_faces(group[self.ends], self.faces)
        removed = _settle(phase, small, ends, faces, scale)
        self.phase = phase[group]
        return removed


def _settle(
    phase: NDArray[np.uint8],
    small: NDArray[np.bool_],
    ends: NDArray[np.int64],
    faces: NDArray[np.int64],
    scale: VoxelNm,
) -> int:
    """Give small regions, round by round, the phase of their largest contact with those settled; how many."""
    source, target = np.concatenate([ends, ends[:, ::-1]]).T
    faces = np.concatenate([faces, faces])
    area = np.array([scale[1] * scale[2], scale[0] * scale[2], scale[0] * scale[1]])
    waiting, count = small.copy(), 0
    while True:
        votes = waiting[source] & ~waiting[target] & (phase[target] != OUTSIDE)
        who, place = np.unique(source[votes], return_inverse=True)
        if len(who) == 0:
            return count
        choices, choice = np.unique(phase[target[votes]], return_inverse=True)
        shared = np.zeros((len(who), len(choices), 3), dtype=np.int64)
        np.add.at(shared, (place, choice), faces[votes])
        phase[who] = choices[np.argmax(shared @ area, axis=1)]
        waiting[who] = False
        count += len(who)
