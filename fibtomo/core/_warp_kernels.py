"""Compiled inner loops of warps: displacement along a line, and what a warped slice shows of it.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

compiled = njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")


@compiled
def cells_of_row(control: Any, at: float, cells: Any) -> None:
    """Fill `cells` (gx - 3, 8) with the cubic polynomials (dy: 0 to 3, dx: 4 to 7) of each cell of one row.

    `control` (gy, gx, 2) are spline coefficients, `at` is the row in node steps.
    """
    cell = min(max(int(np.floor(at)), 0), len(control) - 4)
    beyond = at - cell
    t = min(max(beyond, 0.0), 1.0)
    beyond -= t
    u = 1 - t
    w0 = u * u * u / 6 - beyond * u * u / 2
    w1 = ((3 * t - 6) * t * t + 4) / 6 + beyond * (3 * t - 4) * t / 2
    w2 = (((3 - 3 * t) * t + 3) * t + 1) / 6 + beyond * ((2 - 3 * t) * t + 1) / 2
    w3 = t * t * t / 6 + beyond * t * t / 2
    a, b, c, d = control[cell], control[cell + 1], control[cell + 2], control[cell + 3]
    for axis in range(2):
        p = w0 * a[0, axis] + w1 * b[0, axis] + w2 * c[0, axis] + w3 * d[0, axis]
        q = w0 * a[1, axis] + w1 * b[1, axis] + w2 * c[1, axis] + w3 * d[1, axis]
        r = w0 * a[2, axis] + w1 * b[2, axis] + w2 * c[2, axis] + w3 * d[2, axis]
        for j in range(len(cells)):
            s = w0 * a[j + 3, axis] + w1 * b[j + 3, axis] + w2 * c[j + 3, axis] + w3 * d[j + 3, axis]
            cells[j, 4 * axis] = (p + 4 * q + r) / 6
            cells[j, 4 * axis + 1] = (r - p) / 2
            cells[j, 4 * axis + 2] = (p - 2 * q + r) / 2
            cells[j, 4 * axis + 3] = (s - p + 3 * (q - r)) / 6
            p, q, r = q, r, s


@compiled
def shift_at(cells: Any, at: float, axis: int) -> float:
    """Displacement along `axis` at a column `at` in node steps; beyond the frame it goes on straight."""
    j = min(max(int(np.floor(at)), 0), len(cells) - 1)
    beyond = at - j
    t = min(max(beyond, 0.0), 1.0)
    b, c, d = cells[j, 4 * axis + 1], cells[j, 4 * axis + 2], cells[j, 4 * axis + 3]
    shift = ((d * t + c) * t + b) * t + cells[j, 4 * axis]
    slope = (3 * d * t + 2 * c) * t + b
    return float(shift if beyond == t else shift + (beyond - t) * slope)


@compiled
def warped_spans(
    control: Any,
    nodes_per_px: Any,
    margin: Any,
    frame: tuple[int, int],
    k: Any,
    row: Any,
    col_start: Any,
    col_step: float,
    tolerance: float,
    count: int,
    spans: Any,
) -> None:
    """Fill `spans` (m, 2) with the longest run of voxels that lie inside the frame, for lines as in `line_spans`.

    `margin` (n,) is a distance from the edge that no displacement of slice k can bridge.
    """
    rows, cols = frame
    cells = np.empty((control.shape[2] - 3, 8))
    for i in range(len(k)):
        spans[i] = 0
        edge = margin[k[i]]
        if row[i] < -edge or row[i] > rows - 1 + edge:
            continue
        cells_of_row(control[k[i]], row[i] * nodes_per_px[0], cells)
        x0 = _first_beyond(-tolerance, cells, col_start[i], col_step, nodes_per_px[1], count)
        x1 = _first_beyond(cols - 1 + tolerance, cells, col_start[i], col_step, nodes_per_px[1], count)
        if row[i] >= edge and row[i] <= rows - 1 - edge:
            spans[i] = x0, x1
            continue
        run = 0
        for x in range(x0, x1):
            y = row[i] + shift_at(cells, (col_start[i] + x * col_step) * nodes_per_px[1], 0)
            run = run + 1 if -tolerance <= y <= rows - 1 + tolerance else 0
            if run > spans[i, 1] - spans[i, 0]:
                spans[i] = x + 1 - run, x + 1


@compiled
def _first_beyond(edge: float, cells: Any, col_start: float, col_step: float, nodes_per_col: float, count: int) -> int:
    """First voxel of a line whose column reaches `edge`; columns ascend, as a warp does not fold."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        col = col_start + middle * col_step
        if col + shift_at(cells, col * nodes_per_col, 1) < edge:
            low = middle + 1
        else:
            high = middle
    return low
