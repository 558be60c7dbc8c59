"""Touching objects split where the distance to their surface has a pass: a watershed that any cut leaves the same.

All pairs of neighbouring voxels of the mask are ordered: by the squared distance of the lower voxel, then its place in
raster order, then the slope to the higher voxel and its place. The maximum spanning forest under that order is unique.
It is cut where the lower of the two peaks that meet at a pass rises at least h above it, and its trees are the objects:
the h-maxima of the distance, flooded downwards (Meyer & Beucher 1990; dynamics: Grimaud 1992; forest: Cousty 2009).

A slab finds what belongs together for certain: each voxel and the neighbour to which it rises most steeply; and two
sides of a pass, one of which is known on all its boundary above the pass and rises by less than h. Merging voxels that
end in one object changes no other decision, so the forest of what the slabs leave open, and of the faces between them,
gives the same objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import to_host
from fibtomo.core.volume import OUTSIDE, Table
from fibtomo.errors import InputError
from fibtomo.ops.distance import distance_transform
from fibtomo.ops.flood import LOOK_AHEAD, TILE_ROWS, Flood
from fibtomo.ops.labels import Components, components_of, packed, partial_of_labels, unpacked


@dataclass(frozen=True)
class SlabBasins:
    """Objects of a slab as far as it can tell: (z, y, x) uint32 labels 1 … n of its own slices, and what is open.

    Attributes
    ----------
    labels, squares
        Labels, and squared distances int32, of the slab's own slices.
    peaks
        (n,) key of the highest voxel of each label.
    ends, keys
        (m, 2) labels, counted from 0, and (m, 3) keys of the passes about which nothing can be said yet.
    contacts
        (c, 5) labels, counted from 0, and the faces across z, y and x that they share.
    """

    labels: NDArray[np.uint32]
    squares: NDArray[np.int32]
    peaks: NDArray[np.int64]
    ends: NDArray[np.int64]
    keys: NDArray[np.int64]
    contacts: NDArray[np.int64]


def slab_basins(phases: Any, phase: int, core: tuple[int, int], z0: int, flood: Flood) -> SlabBasins:
    """Split what a slab shows of one phase.

    Parameters
    ----------
    phases
        (z, y, x) uint8 phase labels of the slab and its halo, numpy or cupy; nothing is known beyond `OUTSIDE`.
    phase
        The one to split.
    core
        The slab's own slices [a, b) in the block.
    z0
        Number of the block's first slice in the volume.
    flood
        How to split.

    Raises
    ------
    InputError
        The block has more than 2³¹ voxels.
    """
    from fibtomo.ops import _basin_kernels as loops

    if phases.size >= 2**31 or (z0 + len(phases)) * phases[0].size > loops.LAST_INDEX:
        raise InputError(f"a block of {phases.shape} voxels at slice {z0} is too large to split; use thinner slabs")
    lo, hi = max(0, core[0] - LOOK_AHEAD), min(len(phases), core[1] + LOOK_AHEAD)
    seen = slice(max(0, lo - 1), min(len(phases), hi + 1))
    squares = _squares(phases, phase, seen, flood)
    settled = slice(lo - seen.start, hi - seen.start)
    nodes, peaks, leaks = _nodes(squares, settled, z0 + seen.start, flood)
    known, area = squares[settled], phases[0].size
    own = slice(core[0] - lo, core[1] - lo)
    steps = loops.neighbour_offsets(flood.connectivity, forward=True)
    lengths, core_planes, vague = flood.lengths(steps), (own.start, own.stop), leaks == peaks
    ends, keys, faces = loops.find_passes(nodes, known, (z0 + lo) * area, core_planes, steps, lengths, vague)
    order = np.lexsort(keys.T[::-1])[::-1]
    group, left_open = loops.merge_shallow(ends[order], keys[order, 0], peaks, leaks, flood.rise)
    labels = np.empty(nodes[own].shape, dtype=np.uint32)
    label_of, n = loops.label_groups(nodes[own], group, labels)
    start, kept = (z0 + core[0]) * area, order[left_open]
    kept = kept[_inside(keys[kept], start, start + labels.size)]
    own_peaks = np.full(n, -1, dtype=np.int64)
    loops.raise_peaks(labels, known[own], start, own_peaks)
    pairs = label_of[ends].astype(np.int64) - 1
    touching = (pairs[:, 0] != pairs[:, 1]) & faces.any(axis=1)
    contacts = np.concatenate([pairs, faces], axis=1)[touching]
    return SlabBasins(labels, known[own], own_peaks, pairs[kept], keys[kept], contacts)


def _nodes(
    squares: NDArray[np.int32], settled: slice, z0: int, flood: Flood
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Voxels that rise to one place, of the planes `settled`, whose neighbours are all known.

    Returns
    -------
    nodes
        (z, y, x) numbers from 1, 0 outside.
    peaks, leaks
        (nodes,) highest key, and highest key in a plane beyond which more of the volume follows; -1 where none does.
    """
    from fibtomo.ops import _basin_kernels as loops

    lo, hi, area = settled.start, settled.stop, squares[0].size
    up = np.arange(squares.size, dtype=np.int32)
    steps = loops.neighbour_offsets(flood.connectivity, forward=False)
    lengths = flood.lengths(steps)
    _over_planes(lambda a, b: loops.ascend(squares, a, b, steps, lengths, up), lo, hi)
    count = loops.number_basins(up, lo * area, hi * area)
    nodes = up.reshape(squares.shape)[settled]
    peaks, leaks = np.full((2, count), -1, dtype=np.int64)
    loops.raise_peaks(nodes, squares[settled], (z0 + lo) * area, peaks)
    for plane, beyond in ((lo, lo > 0), (hi - 1, hi < len(squares))):
        if beyond:
            loops.raise_peaks(nodes[plane - lo], squares[plane], (z0 + plane) * area, leaks)
    return nodes, peaks, leaks


def _squares(phases: Any, phase: int, seen: slice, flood: Flood) -> NDArray[np.int32]:
    """Whole squared distances, in units, to what is seen of other phases; 0 outside the phase."""
    from fibtomo.ops import _basin_kernels as loops

    z, y, x = (float(np.sqrt(v)) for v in flood.grid[1])
    limit = flood.square_limit**0.5
    ny, reach = phases.shape[1], ceil(limit / y)
    squares = np.empty((seen.stop - seen.start, *phases.shape[1:]), dtype=np.int32)
    for y0 in range(0, ny, TILE_ROWS):
        a, y1 = max(0, y0 - reach), min(y0 + TILE_ROWS, ny)
        tile = phases[:, a : y1 + reach]
        inside = tile == phase
        distance = distance_transform(inside | (tile == OUTSIDE), (z, y, x), limit=limit)
        rows = (seen, slice(y0 - a, y1 - a))
        loops.squares(to_host(distance[rows]), to_host(inside[rows]), squares[:, y0:y1])
    return squares


def _over_planes(work: Any, start: int, stop: int) -> None:
    from fibtomo.backend.threads import map_ranges

    map_ranges(lambda a, b: work(start + a, start + b), stop - start, max(1, min(8, (stop - start) // 8)))


def _inside(keys: NDArray[np.int64], start: int, stop: int) -> NDArray[np.bool_]:
    """Which passes have both voxels in a range of raster indices."""
    from fibtomo.ops._basin_kernels import LAST_INDEX

    index = LAST_INDEX - (keys[:, [0, 2]] & LAST_INDEX)
    return ((index >= start) & (index < stop)).all(axis=1)


def slab_partial(found: SlabBasins, boxes: NDArray[np.int64], z0: int, nz: int) -> Table:
    """What one slab contributes to the objects of the whole volume.

    Parameters
    ----------
    found
        Its objects.
    boxes
        (z, 4) seen region of each of its slices.
    z0, nz
        First of its slices, and slices of the whole volume.

    Returns
    -------
    partial
        As `fibtomo.ops.labels.partial_of_labels` makes it, with peaks, passes and contacts.
    """
    return {
        **partial_of_labels(found.labels, len(found.peaks), boxes, z0, nz),
        "lower_squares": packed(found.squares[0]),
        "upper_squares": packed(found.squares[-1]),
        "peaks": found.peaks,
        "ends": found.ends,
        "keys": found.keys,
        "contacts": found.contacts,
    }


def join_basins(partials: Sequence[Table], flood: Flood) -> Components:
    """Join the objects of consecutive slabs and number them by first voxel."""
    from fibtomo.ops._basin_kernels import merge_shallow

    offsets = np.concatenate([[0], np.cumsum([len(t["peaks"]) for t in partials])]).astype(np.int64)
    peaks = np.concatenate([t["peaks"] for t in partials])
    across = [_passes_between(a, b, flood) for a, b in pairwise(partials)]
    ends = np.concatenate([t["ends"] + o for t, o in zip(partials, offsets, strict=False)])
    ends = np.concatenate([ends, *(pair[0] + o for pair, o in zip(across, offsets, strict=False))])
    keys = np.concatenate([*(t["keys"] for t in partials), *(pair[1] for pair in across)])
    order = np.lexsort(keys.T[::-1])[::-1]
    group, _ = merge_shallow(ends[order], keys[order, 0], peaks, np.full_like(peaks, -1), flood.rise)
    group = np.unique(group, return_inverse=True)[1] if len(group) else group
    contacts = np.concatenate([t["contacts"] + [o, o, 0, 0, 0] for t, o in zip(partials, offsets, strict=False)])
    inner = contacts[group[contacts[:, 0]] == group[contacts[:, 1]]]
    statistics = np.concatenate([t["statistics"] for t in partials])
    return components_of(partials, group, _without_inner_faces(statistics, inner))


def _passes_between(below: Table, above: Table, flood: Flood) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Highest passes across the face between two slabs; nodes of the upper slab follow those of the lower one."""
    from fibtomo.ops import _basin_kernels as loops

    lower, upper = unpacked(below, "upper_plane"), unpacked(above, "lower_plane")
    nodes = np.stack([lower, np.where(upper > 0, upper + np.uint32(len(below["peaks"])), 0)]).astype(np.int64)
    squares = np.stack([unpacked(below, "upper_squares"), unpacked(above, "lower_squares")]).astype(np.int32)
    steps = loops.neighbour_offsets(flood.connectivity, forward=True)
    steps = steps[steps[:, 0] == 1]
    first = (above["z0"] - 1) * lower.size
    known = np.zeros(len(below["peaks"]) + len(above["peaks"]), dtype=np.bool_)
    ends, keys, _ = loops.find_passes(nodes, squares, first, (0, 0), steps, flood.lengths(steps), known)
    return ends, keys


def _without_inner_faces(statistics: NDArray[np.int64], inner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Take the faces between labels of one object from both; (c, 5) labels and faces."""
    from fibtomo.ops._label_kernels import COLUMNS

    statistics = statistics.copy()
    for column, axis in enumerate("zyx", start=2):
        for end in (0, 1):
            np.subtract.at(statistics[:, COLUMNS.index(f"faces_{axis}")], inner[:, end], inner[:, column])
    return statistics
