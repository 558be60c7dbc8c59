"""Compiled loops over label images (numba); imported only when labels are made."""

import numpy as np
from numba import njit

COLUMNS = (
    "voxels",
    "first",
    "sum_z",
    "sum_y",
    "sum_x",
    "bbox_z0",
    "bbox_z1",
    "bbox_y0",
    "bbox_y1",
    "bbox_x0",
    "bbox_x1",
    "faces_z",
    "faces_y",
    "faces_x",
    "touches",
)
"""Integer statistics of one component; see `fibtomo.ops.labels`."""
SMALLEST = tuple(COLUMNS.index(c) for c in ("first", "bbox_z0", "bbox_y0", "bbox_x0"))
LARGEST = tuple(COLUMNS.index(c) for c in ("bbox_z1", "bbox_y1", "bbox_x1"))


def label_classes(classes, connectivity):
    """Labels uint32 of the components of equal non-zero class, in some order, and how many there are."""
    import cc3d

    labels, n = cc3d.connected_components(
        np.ascontiguousarray(classes), connectivity=connectivity, return_N=True, out_dtype=np.uint32
    )
    return labels, int(n)


def in_raster_order(labels, n):
    """Renumber labels 1 … n by where each is met first."""
    return np.concatenate([np.zeros(1, dtype=np.uint32), _raster_order(labels, n)])[labels]


@njit(nogil=True, cache=True)
def plane_faces(lower, upper, lower_box, upper_box, faces):
    """Add to `faces` those between two neighbouring planes of one labelling, where both planes were seen."""
    for y in range(max(lower_box[0], upper_box[0]), min(lower_box[1], upper_box[1])):
        for x in range(max(lower_box[2], upper_box[2]), min(lower_box[3], upper_box[3])):
            a, b = lower[y, x], upper[y, x]
            if a != b:
                if a > 0:
                    faces[a - 1] += 1
                if b > 0:
                    faces[b - 1] += 1


@njit(nogil=True, cache=True)
def component_statistics(labels, n, z0, nz, boxes):
    """Statistics (n, len(COLUMNS)) int64 of components 1 … n; one pass, in raster order.

    Faces count only where the neighbouring voxel was seen; `touches` has one bit for each of the six outer faces.
    """
    big = np.iinfo(np.int64).max
    out = np.zeros((n, 15), dtype=np.int64)
    out[:, 1] = big
    out[:, 5] = big
    out[:, 7] = big
    out[:, 9] = big
    depth, ny, nx = labels.shape
    for k in range(depth):
        z = z0 + k
        y0, y1, x0, x1 = boxes[k]
        for y in range(y0, y1):
            for x in range(x0, x1):
                label = labels[k, y, x]
                if label == 0:
                    continue
                row = out[label - 1]
                row[0] += 1
                row[1] = min(row[1], (z * ny + y) * nx + x)
                row[2] += z
                row[3] += y
                row[4] += x
                row[5] = min(row[5], z)
                row[6] = max(row[6], z + 1)
                row[7] = min(row[7], y)
                row[8] = max(row[8], y + 1)
                row[9] = min(row[9], x)
                row[10] = max(row[10], x + 1)
                if y > y0:
                    row[12] += labels[k, y - 1, x] != label
                if y < y1 - 1:
                    row[12] += labels[k, y + 1, x] != label
                if x > x0:
                    row[13] += labels[k, y, x - 1] != label
                if x < x1 - 1:
                    row[13] += labels[k, y, x + 1] != label
                row[14] |= (
                    1 * (z == 0)
                    | 2 * (z == nz - 1)
                    | 4 * (y == y0)
                    | 8 * (y == y1 - 1)
                    | 16 * (x == x0)
                    | 32 * (x == x1 - 1)
                )
        if k > 0:
            plane_faces(labels[k - 1], labels[k], boxes[k - 1], boxes[k], out[:, 11])
    return out


@njit(nogil=True, cache=True)
def _raster_order(labels, n):
    """Numbers (n,) uint32 of labels 1 … n by where each is met first."""
    numbers = np.zeros(n, dtype=np.uint32)
    met = 0
    for label in labels.flat:
        if label > 0 and numbers[label - 1] == 0:
            met += 1
            numbers[label - 1] = met
    return numbers
