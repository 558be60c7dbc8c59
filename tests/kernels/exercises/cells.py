"""Exercises of ``kernels/cells.cu``."""

import functools

import numpy as np
from scipy.ndimage import gaussian_filter

from fibtomo.backend.kernels import twin
from fibtomo.core.volume import OUTSIDE
from fibtomo.ops.cells import EULER, pair_weights, surface_table
from fibtomo.ops.morphometry import slab_sums

TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}
SCALE = (2.0, 1.0, 1.3)


def cases():
    for n in (0, 1, 2, 3, 12, 20):  # 12: tables beyond shared memory, 20: without tables of pairs
        yield f"{n}-phases", functools.partial(slab, (5, 21, 45), n, True)
    yield "last-slab", functools.partial(slab, (4, 21, 45), 3, False)
    yield "voxel", functools.partial(slab, (1, 1, 1), 1, False)
    yield "tall-tiles", tall_tiles


def labels(shape: tuple[int, int, int], n: int) -> np.ndarray:
    """Smooth phases 2, 4, … of which not all was seen; none at all for n = 0."""
    grey = gaussian_filter(np.random.default_rng(n).standard_normal(shape), 1.0)
    phases = 2 * (1 + np.searchsorted(np.quantile(grey, np.arange(1, n) / max(n, 1)), grey)).astype(np.uint8)
    phases[-1, :3] = phases[:, -2:, 30:] = OUTSIDE
    return phases if n else np.full(shape, OUTSIDE, dtype=np.uint8)


def slab(shape: tuple[int, int, int], n: int, followed: bool, put):
    phases = labels(shape, n)
    part = slab_sums(put(phases), shape[0] - followed, 3, (shape[0] + 5, *shape[1:]), SCALE, 6)
    return {name: put(part[name]) for name in ("values", "sums", "cells", "between")}


def tall_tiles(put):
    """Tiles that take several blocks each."""
    phases = labels((3, 150, 70), 3)
    phases = put(np.where(phases == OUTSIDE, phases, phases // 2 - 1))
    tables = pair_weights(SCALE), surface_table(SCALE), EULER
    sums, cells, between = twin("fibtomo.ops", "cell", like=phases).count_cells(phases, 3, 80, 63, *tables)
    return {"sums": sums, "cells": cells, "between": between}
