"""Compiled loops of `fibtomo.ops.basins` (numba); imported only when objects are split.

A voxel's key is ``n << 41 | (2⁴¹ - 1 - index)``: its squared distance, and among equals the earlier in raster order.
Pairs of neighbours are ordered by the key of the lower voxel, the slope from it to the higher one, and the higher key.
"""

import numpy as np
from numba import njit

INDEX_BITS = 41
LAST_INDEX = (1 << INDEX_BITS) - 1
ROOM = 1 << 12
SLOPE_STEPS = 1 << 40
compiled = njit(nogil=True, cache=True)


def neighbour_offsets(connectivity, forward):
    """Steps (n, 3) to the neighbours in raster order; only those after the voxel if `forward`."""
    reach = {6: 1, 18: 2, 26: 3}[connectivity]
    steps = [(dz, dy, dx) for dz in (-1, 0, 1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.array([s for s in steps if 0 < np.abs(s).sum() <= reach and (s > (0, 0, 0) or not forward)])


@compiled
def _key(n, index):
    return np.int64(n) << INDEX_BITS | (LAST_INDEX - index)


@compiled
def squares(distance, mask, out):
    """Whole squared distances of the voxels of the mask into `out`, 0 elsewhere; all are (z, y, x)."""
    for z in range(len(out)):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                out[z, y, x] = np.int32(np.rint(np.float64(distance[z, y, x]) ** 2)) if mask[z, y, x] else 0


@compiled
def _slope(low, high, length):
    """Whole number that orders the slopes between two squared distances."""
    return np.int64((np.sqrt(np.float64(high)) - np.sqrt(np.float64(low))) / length * SLOPE_STEPS)


@compiled
def ascend(n, z0, z1, steps, lengths, up):
    """Flat index of the neighbour to which each voxel rises most steeply, -1 outside; planes z0 … z1 - 1."""
    nz, ny, nx = n.shape
    flat = n.reshape(-1)
    jumps = (steps[:, 0] * ny + steps[:, 1]) * nx + steps[:, 2]
    for z in range(z0, z1):
        for y in range(ny):
            inner = 0 < z < nz - 1 and 0 < y < ny - 1
            for x in range(nx):
                i = (z * ny + y) * nx + x
                height = flat[i]
                if height == 0:
                    up[i] = -1
                    continue
                best, steepest = i, np.int64(-1)
                whole = inner and 0 < x < nx - 1
                for s in range(len(steps)):
                    if not whole:
                        a, b, c = z + steps[s, 0], y + steps[s, 1], x + steps[s, 2]
                        if not (0 <= a < nz and 0 <= b < ny and 0 <= c < nx):
                            continue
                    u = i + jumps[s]
                    if flat[u] < height or (flat[u] == height and u > i):
                        continue
                    slope = _slope(height, flat[u], lengths[s])
                    if slope > steepest or (
                        slope == steepest and (flat[u] > flat[best] or (flat[u] == flat[best] and u < best))
                    ):
                        best, steepest = u, slope
                up[i] = best


@compiled
def number_basins(up, start, stop):
    """Turn pointers of voxels start … stop - 1 into basins 1, 2, … in place, 0 outside; returns how many there are."""
    count = 0
    for i in range(start, stop):
        if up[i] < 0:
            continue
        root = i
        while up[root] >= 0 and up[root] != root:
            root = up[root]
        if up[root] >= 0:
            up[root] = -2 - count
            count += 1
        code = up[root]
        v = i
        while up[v] >= 0:
            above = up[v]
            up[v] = code
            v = above
    for i in range(start, stop):
        up[i] = -1 - up[i]
    return count


@compiled
def pair_slot(pairs, pair):
    """Where a pair stands, or would stand, in the open table."""
    room = len(pairs)
    at = np.int64((np.uint64(pair) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & (room - 1)
    while pairs[at] >= 0 and pairs[at] != pair:
        at = (at + 1) & (room - 1)
    return at


@compiled
def _enlarged(pairs, keys, faces):
    room = 2 * len(pairs)
    new_pairs, new_keys = np.full(room, -1, np.int64), np.full((room, 3), -1, np.int64)
    new_faces = np.zeros((room, 3), np.int64)
    for k in range(len(pairs)):
        if pairs[k] >= 0:
            at = pair_slot(new_pairs, pairs[k])
            new_pairs[at], new_keys[at], new_faces[at] = pairs[k], keys[k], faces[k]
    return new_pairs, new_keys, new_faces


@compiled
def find_passes(nodes, n, first, core, steps, lengths, vague):
    """Highest pass between every two touching nodes, and the faces they share.

    Parameters
    ----------
    nodes, n
        (z, y, x) node numbers from 1, 0 outside; squared distances.
    first
        Raster index, in the whole volume, of the first voxel.
    core
        Planes [a, b) in which shared faces are counted.
    vague
        (nodes,) which of them nothing can be said about; passes between two are left out, except within `core`.
    steps, lengths
        (m, 3) steps to neighbours, each pair of voxels in one direction only, and how long they are.

    Returns
    -------
    ends, keys, faces
        (passes, 2) nodes counted from 0; (passes, 3) key of the lower voxel of the pass, slope, and key of the higher
        voxel; (passes, 3) numbers of faces across z, y and x.
    """
    nz, ny, nx = nodes.shape
    flat, heights = nodes.reshape(-1), n.reshape(-1)
    span = np.int64(1) << 32
    pairs, keys = np.full(ROOM, -1, np.int64), np.full((ROOM, 3), -1, np.int64)
    faces = np.zeros((ROOM, 3), np.int64)
    used = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                i = (z * ny + y) * nx + x
                node = flat[i]
                if node == 0:
                    continue
                for s in range(len(steps)):
                    a, b, c = z + steps[s, 0], y + steps[s, 1], x + steps[s, 2]
                    if not (0 <= a < nz and 0 <= b < ny and 0 <= c < nx):
                        continue
                    u = (a * ny + b) * nx + c
                    other = flat[u]
                    if other == 0 or other == node:
                        continue
                    inside = core[0] <= z < core[1] and core[0] <= a < core[1]
                    if not inside and vague[node - 1] and vague[other - 1]:
                        continue
                    pair = min(node, other) * span + max(node, other)
                    at = pair_slot(pairs, pair)
                    if pairs[at] < 0:
                        if 2 * used > len(pairs):
                            pairs, keys, faces = _enlarged(pairs, keys, faces)
                            at = pair_slot(pairs, pair)
                        pairs[at] = pair
                        used += 1
                    p, q = _key(heights[i], first + i), _key(heights[u], first + u)
                    low, high = min(p, q), max(p, q)
                    if low >= keys[at, 0]:
                        slope = _slope(low >> INDEX_BITS, high >> INDEX_BITS, lengths[s])
                        if low > keys[at, 0] or (slope > keys[at, 1] or (slope == keys[at, 1] and high > keys[at, 2])):
                            keys[at, 0], keys[at, 1], keys[at, 2] = low, slope, high
                    if inside:
                        distance = abs(steps[s, 0]) + abs(steps[s, 1]) + abs(steps[s, 2])
                        if distance == 1:
                            faces[at, 0] += abs(steps[s, 0])
                            faces[at, 1] += abs(steps[s, 1])
                            faces[at, 2] += abs(steps[s, 2])
    ends = np.empty((used, 2), np.int64)
    found_keys, found_faces = np.empty((used, 3), np.int64), np.empty((used, 3), np.int64)
    k = 0
    for at in range(len(pairs)):
        if pairs[at] >= 0:
            ends[k, 0], ends[k, 1] = pairs[at] // span - 1, pairs[at] % span - 1
            found_keys[k], found_faces[k] = keys[at], faces[at]
            k += 1
    return ends, found_keys, found_faces


@compiled
def raise_peaks(nodes, n, first, peaks):
    """Raise the key of each node to that of its highest voxel."""
    flat, heights = nodes.reshape(-1), n.reshape(-1)
    for i in range(len(flat)):
        if flat[i] > 0:
            peaks[flat[i] - 1] = max(peaks[flat[i] - 1], _key(heights[i], first + i))


@compiled
def _find(parent, v):
    while parent[v] != v:
        parent[v] = parent[parent[v]]
        v = parent[v]
    return v


@compiled
def merge_shallow(ends, low, peaks, leaks, h):
    """Merge nodes across passes, highest pass first, where the lower of both peaks rises by less than `h`.

    Parameters
    ----------
    ends, low
        (passes, 2) nodes, and (passes,) keys of the lower voxels, in descending order of the passes.
    peaks, leaks
        (nodes,) highest key, and highest key next to voxels that are not known; -1 where all are known.
    h
        Least height of a peak above its pass, in the unit of the squared distances' roots.

    Returns
    -------
    group, open
        (nodes,) one node of each group; (passes,) whether a pass is neither merged nor part of a cycle: where all is
        known it separates two objects, else nothing can be said yet.
    """
    peaks, leaks = peaks.copy(), leaks.copy()
    joined, group = np.arange(len(peaks)), np.arange(len(peaks))
    left_open = np.zeros(len(low), np.bool_)
    for e in range(len(low)):
        x, y = _find(joined, ends[e, 0]), _find(joined, ends[e, 1])
        if x == y:
            continue
        base = np.sqrt(np.float64(low[e] >> INDEX_BITS))
        shallow = False
        for side in (x, y):
            rise = np.sqrt(np.float64(peaks[side] >> INDEX_BITS)) - base
            shallow |= leaks[side] < low[e] and rise < h
        if shallow:
            group[_find(group, ends[e, 0])] = _find(group, ends[e, 1])
        else:
            left_open[e] = True
        joined[x] = y
        peaks[y], leaks[y] = max(peaks[x], peaks[y]), max(leaks[x], leaks[y])
    for v in range(len(group)):
        group[v] = _find(group, v)
    return group, left_open


@compiled
def label_groups(nodes, group, labels):
    """Labels 1, 2, … of groups in raster order into `labels`; (nodes,) label of every node, 0 where it has no voxel."""
    flat, out = nodes.reshape(-1), labels.reshape(-1)
    numbers = np.zeros(len(group), np.uint32)
    count = 0
    for i in range(len(flat)):
        if flat[i] == 0:
            out[i] = 0
            continue
        g = group[flat[i] - 1]
        if numbers[g] == 0:
            count += 1
            numbers[g] = count
        out[i] = numbers[g]
    return numbers[group], count
