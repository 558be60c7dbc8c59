"""Launches of ``kernels/label.cu``: the loops of `fibtomo.ops._label_kernels` for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.errors import InputError
from fibtomo.ops._label_kernels import COLUMNS, SMALLEST

REACH = {6: 1, 18: 2, 26: 3}
TILE_Z = 8
PART_X, PART_Z = 128, 16
"""As in ``kernels/label.cu``."""


def label_classes(classes: Any, connectivity: int) -> tuple[Any, int]:
    """Label the components of equal non-zero class; on the device they are numbered in raster order at once."""
    if classes.size >= 2**31:
        raise InputError(f"a block of {classes.shape} voxels is too large to label at once; use thinner slabs")
    xp, module, shape = namespace(classes), load_kernel("label"), classes.shape
    labels = xp.zeros(shape, dtype=xp.uint32)
    if classes.size == 0:
        return labels, 0
    nz, ny, nx = shape
    classes = xp.ascontiguousarray(classes)
    forest = xp.empty(shape, dtype=xp.uint32)
    launch(module, "label_tiles", (-(-nz // TILE_Z), ny, nx), (classes, forest, REACH[connectivity], *shape))
    launch(module, "label_seams", shape, (classes, forest, REACH[connectivity], *shape))
    count = xp.empty(nz * ny, dtype=xp.uint32)
    launch(module, "count_roots", (nz, ny, 32), (forest, count, *shape))
    end = xp.cumsum(count, dtype=xp.uint32)
    launch(module, "number_roots", (nz, ny, 32), (forest, count, end, *shape))
    launch(module, "number_voxels", shape, (forest, labels, *shape))
    return labels, int(end[-1])


def in_raster_order(labels: Any, _n: int) -> Any:
    """Return labels as they are: `label_classes` numbers them in raster order."""
    return labels


def component_statistics(labels: Any, n: int, z0: int, nz: int, boxes: Any) -> Any:
    """Statistics (n, len(COLUMNS)) int64 of components 1 … n, on the device."""
    xp, (depth, ny, nx) = namespace(labels), labels.shape
    statistics = xp.zeros((n, len(COLUMNS)), dtype=xp.int64)
    for column in SMALLEST:
        statistics[:, column] = np.iinfo(np.int64).max
    if n:
        launch(
            load_kernel("label"),
            "component_statistics",
            (-(-depth // PART_Z), ny, -(-nx // PART_X) * 32),
            (labels, like(labels, boxes.astype(np.int32)), statistics, *labels.shape, z0, nz),
        )
    return statistics
