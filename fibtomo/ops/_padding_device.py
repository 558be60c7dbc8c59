"""Padding of all slices at once, for CuPy arrays: what `fibtomo.ops.padding.padding_of` finds slice by slice.

A line that is constant inside some rows or columns is constant inside fewer of them too, so all constant lines of all
slices may be taken away together, until none is left.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace, to_host
from fibtomo.ops.padding import MOST_EQUAL, MOST_PADDING_GREY

Array = Any
Boxes = NDArray[np.int64]
SLAB_VOXELS = 1 << 26


def boxes_inside_padding(planes: Array) -> Boxes:
    """Rows and columns y0, y1, x0, x1 inside the padding of each slice, (z, 4) on the host; empty on constant ones."""
    slab = max(1, SLAB_VOXELS // max(1, planes.shape[1] * planes.shape[2]))
    found = [np.zeros((0, 4), np.int64)]
    for start in range(0, len(planes), slab):
        part = planes[start : start + slab]
        found.append(_believed(part, _shrunk(part)))
    return np.concatenate(found)


def _shrunk(planes: Array) -> Boxes:
    """Boxes outside which every line is constant or void, each judged inside the rest."""
    n, ny, nx = planes.shape
    boxes, before = np.tile(np.array([0, ny, 0, nx]), (n, 1)), None
    while before is None or not np.array_equal(before, boxes):
        before = boxes.copy()
        for ends in (slice(0, 2), slice(2, 4)):
            varying = to_host(_varying(planes, boxes, along=2 if ends.start == 0 else 1))
            there, (first, stop) = np.arange(varying.shape[1]), boxes[:, ends, None].transpose(1, 0, 2)
            varying &= (there >= first) & (there < stop)
            boxes[:, ends] = np.stack([varying.argmax(1), varying.shape[1] - varying[:, ::-1].argmax(1)], axis=1)
            boxes[~varying.any(axis=1)] = 0
    return boxes


def _varying(planes: Array, boxes: Boxes, along: int) -> Array:
    """Whether each row (`along` 2) or column (1) has two greys inside the box, (z, lines)."""
    xp = namespace(planes)
    rows, columns = _sides(planes, boxes)
    known = xp.isfinite(planes) & (columns if along == 2 else rows)
    least = xp.where(known, planes, np.float32(np.inf)).min(axis=along)
    return least < xp.where(known, planes, np.float32(-np.inf)).max(axis=along)


def _sides(planes: Array, boxes: Boxes) -> tuple[Array, Array]:
    """Which rows, (z, y, 1), and columns, (z, 1, x), lie inside the boxes."""
    xp = namespace(planes)
    y0, y1, x0, x1 = like(planes, np.ascontiguousarray(boxes.T))[:, :, None, None]
    rows, columns = xp.arange(planes.shape[1])[:, None], xp.arange(planes.shape[2])
    return (rows >= y0) & (rows < y1), (columns >= x0) & (columns < x1)


def _believed(planes: Array, boxes: Boxes) -> Boxes:
    """Boxes of the slices whose padding has a grey of its own and that hold noise; the others show all they have."""
    xp, (n, ny, nx) = namespace(planes), planes.shape
    y0, y1, x0, x1 = boxes.T
    voxels = (y1 - y0) * (x1 - x0)
    padded = (voxels > 0) & (voxels < ny * nx)
    if not padded.any():
        return boxes
    rows, columns = _sides(planes, boxes)
    inside = rows & columns
    equal = (planes[:, :, 1:] == planes[:, :, :-1]) & inside[:, :, 1:] & inside[:, :, :-1]
    counts, slices = [equal.sum(axis=(1, 2))], xp.arange(n)
    for y, x in ((y0 - 1, 0 * x0), (y1, 0 * x0), (y0, x0 - 1), (y0, x1)):  # a voxel of each line next to the box
        place = like(planes, np.stack([y.clip(0, ny - 1), x.clip(0, nx - 1)]))
        value = planes[slices, place[0], place[1]]
        counts.append(((planes == value[:, None, None]) & inside).sum(axis=(1, 2)))
    equal_pairs, *of_lines = to_host(xp.stack(counts))
    like_padding = np.where([y0 > 0, y1 < ny, x0 > 0, x1 < nx], np.array(of_lines), 0).max(axis=0)
    doubtful = equal_pairs > MOST_EQUAL * np.maximum((y1 - y0) * (x1 - x0 - 1), 1)
    doubtful |= like_padding > MOST_PADDING_GREY * voxels
    return np.where((padded & doubtful)[:, None], [0, ny, 0, nx], boxes)
