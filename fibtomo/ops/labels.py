"""Connected components slab by slab: local labels, a union over the faces between slabs, one global numbering.

Objects are numbered by their first voxel in raster order, so the numbers do not depend on how the volume was cut.
NumPy slabs are labelled by cc3d, CuPy slabs by ``kernels/label.cu``; tables and edge planes are joined on the host.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, like, namespace, to_host
from fibtomo.backend.kernels import twin
from fibtomo.core.volume import OUTSIDE, Shape, Table, VoxelNm
from fibtomo.errors import InputError

Connectivity = Literal[6, 18, 26]
FACES = ("z0", "z1", "y0", "y1", "x0", "x1")
"""Outer faces in the order of the bits of ``touches``."""


def label_objects(
    mask: Any,
    *,
    connectivity: Connectivity | None = None,
    split: Literal["watershed"] | None = None,
    voxel_nm: float | VoxelNm | None = None,
    h_nm: float | None = None,
    largest_nm: float | None = None,
) -> Any:
    """Number the connected components of a mask, or the parts of them that only touch.

    Parameters
    ----------
    mask
        (z, y, x) numpy or cupy array; what is not zero belongs to objects.
    connectivity
        6 (voxels sharing a face), 18 (an edge) or 26 (a corner) hang together; ``None``: 6, or 26 for a watershed.
    split
        "watershed" separates objects at the necks between them (`fibtomo.ops.basins`); ``None`` leaves components.
    voxel_nm, h_nm, largest_nm
        For the watershed: voxel size, one number or (dz, dy, dx), ``None`` for voxels; how much deeper than its neck
        the smaller of two touching objects must be to stand alone; up to which radius necks are told from bulk. Both
        lengths are in voxels without `voxel_nm`; ``None``: defaults of `fibtomo.ops.flood`.

    Returns
    -------
    objects
        (z, y, x) uint32: 0 for background, 1, 2, … in raster order of each object's first voxel; the same kind of
        array as `mask`.

    Raises
    ------
    InputError
        The mask is not three-dimensional, or the connectivity, way to split or a length cannot be used.

    References
    ----------
    Rosenfeld & Pfaltz 1966, J. ACM 13, 471; Grimaud 1992, Proc. SPIE 1769, 292 (dynamics); Cousty et al. 2009, IEEE
    Trans. PAMI 31, 1362 (watershed cuts as spanning forests).

    Examples
    --------
    >>> label_objects(np.array([[[1, 0, 1], [0, 1, 1]]])).tolist()
    [[[1, 0, 2], [0, 2, 2]]]
    """
    mask = as_array(mask)
    if mask.ndim != 3:
        raise InputError(f"label_objects: the mask has {mask.ndim} axes but must have three (z, y, x)")
    if split is not None:
        if split != "watershed":
            raise InputError(f"label_objects: split = {split!r} must be 'watershed' or None")
        from fibtomo.ops.watershed import split_touching

        return split_touching(mask, voxel_nm, connectivity=connectivity or 26, h_nm=h_nm, largest_nm=largest_nm)
    labels, n = label_slab((mask != 0).astype(np.uint8), connectivity or 6)
    return twin(__package__, "label", like=labels).in_raster_order(labels, n)


def label_slab(classes: Any, connectivity: Connectivity) -> tuple[Any, int]:
    """Label the components of equal non-zero class in one slab.

    Parameters
    ----------
    classes
        (z, y, x) uint8, numpy or cupy.
    connectivity
        6, 18 or 26.

    Returns
    -------
    labels, n
        (z, y, x) uint32, the same kind of array, and the number of components. Their order is the same in every run,
        but not the same on the device.

    Raises
    ------
    InputError
        The connectivity is unknown, or a device block has more than 2³¹ voxels.
    """
    if connectivity not in {6, 18, 26}:
        raise InputError(f"connectivity = {connectivity} must be 6, 18 or 26")
    labels, n = twin(__package__, "label", like=classes).label_classes(classes, connectivity)
    return labels, n


def full_boxes(shape: Shape) -> NDArray[np.int64]:
    """Boxes (z, 4) [y0, y1, x0, x1) of a volume seen everywhere."""
    return np.tile(np.array([0, shape[1], 0, shape[2]], dtype=np.int64), (shape[0], 1))


def seen_boxes(phases: Any) -> NDArray[np.int64]:
    """Bounding box (z, 4) [y0, y1, x0, x1) of what is not `OUTSIDE` in each slice; empty where nothing was seen.

    Phases are numpy or cupy; the boxes lie on the host.

    Examples
    --------
    >>> seen_boxes(np.array([[[255, 0], [255, 1]]], dtype=np.uint8)).tolist()
    [[0, 2, 1, 2]]
    """
    boxes = full_boxes(phases.shape)
    cut = np.flatnonzero(to_host((phases == OUTSIDE).any(axis=(1, 2))))
    if len(cut):
        seen = phases[like(phases, cut)] != OUTSIDE
        for column, axis in ((0, 2), (2, 1)):
            line = to_host(seen.any(axis=axis))
            boxes[cut, column] = line.argmax(axis=1)
            boxes[cut, column + 1] = np.where(line.any(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1), 0)
    return boxes


def slab_components(classes: Any, boxes: NDArray[np.int64], z0: int, nz: int, connectivity: Connectivity) -> Table:
    """What one slab contributes to the components of the whole volume.

    Parameters
    ----------
    classes
        (z, y, x) uint8, numpy or cupy; 0 is background, equal other values may hang together.
    boxes
        (z, 4) seen region of each slice.
    z0, nz
        First slice of the slab, and slices of the whole volume.
    connectivity
        6, 18 or 26.

    Returns
    -------
    partial
        Number, class and statistics of the local components; first and last plane of labels (compressed). All of it on
        the host.
    """
    labels, n = label_slab(classes, connectivity)
    return partial_of_labels(labels, n, boxes, z0, nz, classes)


def partial_of_labels(labels: Any, n: int, boxes: NDArray[np.int64], z0: int, nz: int, classes: Any = None) -> Table:
    """Partial of a slab whose labels 1 … n are made already; `classes` as in `slab_components`, ``None``: all 1."""
    statistics = twin(__package__, "label", like=labels).component_statistics(labels, n, z0, nz, boxes)
    local_first = statistics[:, 1] - z0 * labels.shape[1] * labels.shape[2]
    return {
        "z0": z0,
        "depth": len(labels),
        "plane_shape": list(labels.shape[1:]),
        "classes": np.ones(n, dtype=np.uint8) if classes is None else to_host(classes.reshape(-1)[local_first]),
        "statistics": to_host(statistics),
        "lower_plane": packed(to_host(labels[0])),
        "upper_plane": packed(to_host(labels[-1])),
        "boxes": boxes,
    }


def packed(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Compress a plane of 32-bit numbers."""
    return np.frombuffer(zlib.compress(np.ascontiguousarray(plane), 1), dtype=np.uint8)


def unpacked(partial: Table, name: str) -> NDArray[np.uint32]:
    """Plane `name` of a partial as `packed` took it, read as uint32."""
    plane = np.frombuffer(zlib.decompress(partial[name].tobytes()), dtype=np.uint32)
    return plane.reshape(partial["plane_shape"])


@dataclass(frozen=True)
class Components:
    """Components of a whole volume.

    Attributes
    ----------
    statistics
        (objects, columns) int64, columns as in `fibtomo.ops._label_kernels.COLUMNS`, rows in order of the numbers.
    classes
        (objects,) uint8.
    starts
        (slabs + 1,) first slice of every slab, and the end.
    offsets
        (slabs + 1,) where each slab's entries stand in `lut`.
    lut
        Global number of every local label, slab after slab.
    boxes
        (slices, 4) what each slice shows, [y0, y1, x0, x1).
    """

    statistics: NDArray[np.int64]
    classes: NDArray[np.uint8]
    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    lut: NDArray[np.uint32]
    boxes: NDArray[np.int64]

    def column(self, name: str) -> NDArray[np.int64]:
        """One statistic of all objects."""
        from fibtomo.ops._label_kernels import COLUMNS

        return self.statistics[:, COLUMNS.index(name)]

    def touches(self, face: str) -> NDArray[np.bool_]:
        """Which objects touch the outer face "z0", "z1", "y0", "y1", "x0" or "x1"."""
        return (self.column("touches") >> FACES.index(face) & 1).astype(bool)


def join_components(partials: Sequence[Table], connectivity: Connectivity) -> Components:
    """Join the components of consecutive slabs and number them by first voxel."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    counts = np.array([len(t["classes"]) for t in partials], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    pairs = [_pairs(a, b, connectivity) + offsets[k : k + 2, None] for k, (a, b) in enumerate(pairwise(partials))]
    lower, upper = np.concatenate([np.empty((2, 0), dtype=np.int64), *pairs], axis=1)
    total = int(offsets[-1])
    if total == 0:
        group = np.empty(0, dtype=np.int64)
    else:
        graph = coo_array((np.ones(len(lower), dtype=np.int8), (lower, upper)), shape=(total, total))
        group = connected_components(graph, directed=False)[1].astype(np.int64)
    return components_of(partials, group, np.concatenate([t["statistics"] for t in partials]))


def components_of(partials: Sequence[Table], group: NDArray[np.int64], statistics: NDArray[np.int64]) -> Components:
    """Objects of consecutive slabs from groups 0, 1, … and statistics of all their labels, numbered by first voxel."""
    summed = _summed(statistics, group)
    order = np.argsort(summed[:, 1])
    rank = np.empty(len(order), dtype=np.uint32)
    rank[order] = np.arange(1, len(order) + 1, dtype=np.uint32)
    starts = np.array([*(t["z0"] for t in partials), partials[-1]["z0"] + partials[-1]["depth"]], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(t["classes"]) for t in partials])]).astype(np.int64)
    classes = np.zeros(len(order), dtype=np.uint8)
    classes[group] = np.concatenate([t["classes"] for t in partials])
    boxes = np.concatenate([t["boxes"] for t in partials])
    found = Components(summed[order], classes[order], starts, offsets, rank[group], boxes)
    _add_faces_between_slabs(found, partials)
    return found


def without_small(found: Components, least_voxels: float) -> Components:
    """Drop objects of fewer voxels; the others are numbered anew."""
    kept = found.column("voxels") >= least_voxels
    numbers = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.uint32)
    return replace(found, statistics=found.statistics[kept], classes=found.classes[kept], lut=numbers[found.lut])


def _pairs(below: Table, above: Table, connectivity: Connectivity) -> NDArray[np.int64]:
    """Pairs (2, n) of local components, counted from 0, that touch across the face between two slabs."""
    a, b = unpacked(below, "upper_plane"), unpacked(above, "lower_plane")
    reach = {6: 0, 18: 1, 26: 2}[connectivity]
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if abs(dy) + abs(dx) <= reach]
    codes = []
    for dy, dx in shifts:
        p = a[max(0, -dy) : a.shape[0] - max(0, dy), max(0, -dx) : a.shape[1] - max(0, dx)]
        q = b[max(0, dy) : b.shape[0] + min(0, dy), max(0, dx) : b.shape[1] + min(0, dx)]
        both = (p > 0) & (q > 0)
        codes.append(np.unique(p[both].astype(np.int64) << 32 | q[both]))
    code = np.unique(np.concatenate(codes))
    lower, upper = (code >> 32) - 1, (code & 0xFFFFFFFF) - 1
    alike = below["classes"][lower] == above["classes"][upper]
    return np.stack([lower[alike], upper[alike]])


def _summed(statistics: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Statistics of the groups: sums, extremes and face bits of their members."""
    from fibtomo.ops._label_kernels import COLUMNS, LARGEST, SMALLEST

    n = int(group.max(initial=-1)) + 1
    joined = np.zeros((n, len(COLUMNS)), dtype=np.int64)
    joined[:, SMALLEST] = np.iinfo(np.int64).max
    for c in range(len(COLUMNS)):
        ufunc = np.minimum if c in SMALLEST else np.maximum if c in LARGEST else np.add
        ufunc = np.bitwise_or if COLUMNS[c] == "touches" else ufunc
        ufunc.at(joined[:, c], group, statistics[:, c])
    return joined


def _add_faces_between_slabs(found: Components, partials: Sequence[Table]) -> None:
    from fibtomo.ops._label_kernels import plane_faces

    faces = found.column("faces_z")
    for k in range(len(partials) - 1):
        below, above = partials[k], partials[k + 1]
        lower = apply_lut(unpacked(below, "upper_plane"), found.lut[found.offsets[k] : found.offsets[k + 1]])
        upper = apply_lut(unpacked(above, "lower_plane"), found.lut[found.offsets[k + 1] : found.offsets[k + 2]])
        plane_faces(lower, upper, below["boxes"][-1], above["boxes"][0], faces)


def apply_lut(labels: Any, numbers: NDArray[np.uint32]) -> Any:
    """Replace local labels 1, 2, … (numpy or cupy) by `numbers` (on the host); 0 stays."""
    return namespace(labels).take(like(labels, np.concatenate([np.zeros(1, dtype=np.uint32), numbers])), labels)
