"""Which columns of a target row a slice really shows, where a warp bends the edges of its frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.warp import Warp

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def line_spans(
    warp: Warp | None,
    frame: tuple[int, int],
    k: NDArray[Any],
    row: Float,
    col_start: Float,
    col_scale: float,
    count: int,
    tolerance: float,
) -> Int:
    """Columns [x0, x1) of straight target lines whose every voxel lies inside the frame of its slice.

    Parameters
    ----------
    warp
        Displacement within the slices; ``None`` for none.
    frame
        (rows, columns) of the slices.
    k, row, col_start
        (m,) slice, row, and column of the first voxel of each line.
    col_scale, count
        Columns per voxel, and voxels per line.
    tolerance
        Pixels by which rounding may push a place over the edge.

    Returns
    -------
    spans
        (m, 2) int64; the longest such run, (0, 0) if there is none.
    """
    rows, cols = frame
    if warp is not None:
        from fibtomo.core._warp_kernels import warped_spans

        found = np.empty((len(k), 2), dtype=np.int64)
        row, col_start = np.ascontiguousarray(row), np.ascontiguousarray(col_start)
        control, per_px, margin = warp.control_px, np.array(warp.nodes_per_px), warp.margin_px
        warped_spans(control, per_px, margin, (rows, cols), k, row, col_start, col_scale, tolerance, count, found)
    else:
        first = np.ceil(-col_start / col_scale - tolerance)
        last = np.floor((cols - 1 - col_start) / col_scale + tolerance)
        found = np.clip(np.stack([first, last + 1], axis=1), 0, count).astype(np.int64)
        found[(row < -tolerance) | (row > rows - 1 + tolerance)] = 0
    found[found[:, 1] <= found[:, 0]] = 0
    return found
