"""CPU twin of ``kernels/resample_warped.cu``: one gather for targets that are turned or warped against the slices.

A target row is a straight line on each slice unless that is warped, so it is made of whole source lines; with a warp
every voxel finds its own place. Lines are shared by all target slices where these are parallel to the source slices.
Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

from fibtomo.ops._resample_cpu import _longest_run, _mix_columns

_compiled = njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")


@_compiled
def gather(
    source: Any,
    out: Any,
    z_slice: Any,
    z_weight: Any,
    spans: Any,
    start: Any,
    steps: Any,
    z0: int,
    y_table: Any,
    y_lead: int,
    y_reach: float,
    x_table: Any,
    x_lead: int,
    x_reach: float,
    control: Any,
    nodes_per_px: Any,
    x_first: Any,
    x_weight: Any,
    fill: float,
) -> None:
    """Fill `out` (nz, ny, nx) from `source` (slices, rows, columns); tables as for the CUDA kernel.

    Without a warp `control` has length 0, and `x_first` (slices, nx) and `x_weight` (slices, taps, nx) hold the taps
    along x.
    """
    slices, rows, cols = source.shape
    nz, ny, nx = out.shape
    warped, turned = len(control) > 0, steps[0] != 0
    lines = np.zeros((1 if turned else slices, nx), np.float32)
    line = np.empty(cols, np.float32)
    places = np.empty((2, nx), np.float64)
    cells = np.empty((8, max(1, control.shape[2] - 3) if warped else 1), np.float32)
    weights = np.empty((2, max(y_table.shape[2], x_table.shape[2])), np.float32)
    runs = np.zeros((slices, 2), np.int64)
    for k in range(0 if warped else slices):
        runs[k, 0], runs[k, 1] = _longest_run(x_first[k])
    reach = np.empty((slices, 2), np.int64)
    for y in range(ny):
        if not turned:
            _reach_of_slices(z_slice[:, y], z_weight[:, y], spans[:, y], reach)
        for z in range(nz):
            target = out[z, y]
            x0, x1 = spans[z, y]
            target[:x0] = fill
            target[x0:x1] = 0
            target[x1:] = fill
            if x1 <= x0:
                continue
            for t in range(z_slice.shape[2]):
                weight = z_weight[z, y, t]
                if weight == 0:
                    continue
                k = z_slice[z, y, t]
                samples = lines[0 if turned else k]
                a, b = (x0, x1) if turned else (reach[k, 0], reach[k, 1])
                if turned or a < b:
                    row = start[k, 0] + (z0 + z) * steps[0] + y * steps[1]
                    if warped:
                        _cells_of_row(control[k], row * nodes_per_px[0], cells)
                        _places(row, start[k, 1], steps[2], cells, nodes_per_px[1], places)
                        _sample_places(
                            source[k],
                            places,
                            a,
                            b,
                            y_table,
                            y_lead,
                            y_reach,
                            x_table,
                            x_lead,
                            x_reach,
                            weights,
                            samples,
                        )
                    else:
                        first = _axis(row, rows, y_table, y_lead, y_reach, weights[0])
                        c0, c1 = x_first[k, a], x_first[k, b - 1] + x_weight.shape[1]
                        _mix_rows(source[k], first, weights[0, : y_table.shape[2]], c0, c1, line)
                        _mix_columns(line, x_first[k], x_weight[k], runs[k, 0], runs[k, 1], samples)
                    if not turned:
                        reach[k, 1] = reach[k, 0]  # made for this y
                for x in range(x0, x1):
                    target[x] += weight * samples[x]


@_compiled
def _reach_of_slices(z_slice: Any, z_weight: Any, spans: Any, reach: Any) -> None:
    """Columns [a, b) that any target slice needs of each source slice at one y."""
    reach[:, 0] = np.iinfo(np.int32).max
    reach[:, 1] = 0
    for z in range(len(z_slice)):
        for t in range(z_slice.shape[1]):
            if z_weight[z, t] != 0 and spans[z, 1] > spans[z, 0]:
                k = z_slice[z, t]
                reach[k, 0] = min(reach[k, 0], spans[z, 0])
                reach[k, 1] = max(reach[k, 1], spans[z, 1])


@_compiled
def _mix_rows(image: Any, first: int, weight: Any, c0: int, c1: int, line: Any) -> None:
    """Weighted sum of the columns [c0, c1) of rows from `first` on; rows beyond the edge have no weight."""
    line[c0:c1] = 0
    for a in range(len(weight)):
        w = weight[a]
        if w != 0:
            row = image[first + a]
            for x in range(c0, c1):
                line[x] += w * np.float32(row[x])


@_compiled
def _cells_of_row(control: Any, at: float, cells: Any) -> None:
    """Cubic polynomials (dy: 0 to 3, dx: 4 to 7) of each node cell along the row at `at` node steps."""
    cell = min(max(int(np.floor(at)), 0), len(control) - 4)
    beyond = np.float32(at - cell)
    t = min(max(beyond, np.float32(0)), np.float32(1))
    beyond -= t
    u = 1 - t
    w0 = u * u * u / 6 - beyond * u * u / 2
    w1 = ((3 * t - 6) * t * t + 4) / 6 + beyond * (3 * t - 4) * t / 2
    w2 = (((3 - 3 * t) * t + 3) * t + 1) / 6 + beyond * ((2 - 3 * t) * t + 1) / 2
    w3 = t * t * t / 6 + beyond * t * t / 2
    a, b, c, d = control[cell], control[cell + 1], control[cell + 2], control[cell + 3]
    for j in range(cells.shape[1]):
        for axis in range(2):
            p = w0 * a[j, axis] + w1 * b[j, axis] + w2 * c[j, axis] + w3 * d[j, axis]
            q = w0 * a[j + 1, axis] + w1 * b[j + 1, axis] + w2 * c[j + 1, axis] + w3 * d[j + 1, axis]
            r = w0 * a[j + 2, axis] + w1 * b[j + 2, axis] + w2 * c[j + 2, axis] + w3 * d[j + 2, axis]
            s = w0 * a[j + 3, axis] + w1 * b[j + 3, axis] + w2 * c[j + 3, axis] + w3 * d[j + 3, axis]
            cells[4 * axis, j] = (p + 4 * q + r) / 6
            cells[4 * axis + 1, j] = (r - p) / 2
            cells[4 * axis + 2, j] = (p - 2 * q + r) / 2
            cells[4 * axis + 3, j] = (s - p + 3 * (q - r)) / 6


@_compiled
def _places(row: float, col_start: float, col_step: float, cells: Any, nodes_per_col: float, places: Any) -> None:
    """Rows and columns that the voxels of a line read once their displacement is added."""
    last = cells.shape[1] - 1
    for x in range(places.shape[1]):
        col = col_start + x * col_step
        at = col * nodes_per_col
        j = min(max(int(np.floor(at)), 0), last)
        beyond = np.float32(at - j)
        t = min(max(beyond, np.float32(0)), np.float32(1))
        beyond -= t
        for axis in range(2):
            b, c, d = cells[4 * axis + 1, j], cells[4 * axis + 2, j], cells[4 * axis + 3, j]
            shift = ((d * t + c) * t + b) * t + cells[4 * axis, j] + beyond * ((3 * d * t + 2 * c) * t + b)
            places[axis, x] = (row if axis == 0 else col) + shift


@_compiled
def _axis(at: float, count: int, table: Any, lead: int, reach: float, weight: Any) -> int:
    """First tap around `at`, moved onto the axis, and its weights; taps beyond an edge have no weight."""
    at = min(max(at, 0.0), count - 1.0)
    taps = table.shape[2]
    if taps == 1:
        weight[0] = 1
        return int(np.floor(at + 0.5))
    base = int(np.floor(at))
    fine = (at - base) * (table.shape[1] - 1)
    phase = int(fine)
    part = np.float32(fine - phase)
    first = base - lead
    cut = first < 0 or first + taps > count
    lower, upper = table[int(cut), phase], table[int(cut), phase + 1]
    for a in range(taps):
        weight[a] = lower[a] + part * (upper[a] - lower[a])
    if cut:
        _correct_edge(np.float32(at - first), first, count, reach, weight[:taps])
    return first


@_compiled
def _correct_edge(middle: float, first: int, count: int, reach: float, weight: Any) -> None:
    """Take weights off taps beyond the edge so that the others still reproduce straight lines, as `_taps` does."""
    total = trust_sum = moment = np.float32(0)
    for a in range(len(weight)):
        if not 0 <= first + a < count:
            weight[a] = 0
            continue
        trust = max(reach - abs(a - middle), np.float32(0))
        total += weight[a]
        trust_sum += trust
        moment += trust * (a - middle)
    mean = moment / trust_sum
    norm = deviation = np.float32(0)
    for a in range(len(weight)):
        weight[a] /= total
        if 0 <= first + a < count:
            off = a - middle - mean
            norm += max(reach - abs(a - middle), np.float32(0)) * off * off
            deviation += weight[a] * off
    if norm > 1e-12:
        for a in range(len(weight)):
            if 0 <= first + a < count:
                off = a - middle - mean
                trust = max(reach - abs(a - middle), np.float32(0))
                weight[a] -= trust * off * (mean + deviation) / norm


@_compiled
def _sample_places(
    image: Any,
    places: Any,
    x0: int,
    x1: int,
    y_table: Any,
    y_lead: int,
    y_reach: float,
    x_table: Any,
    x_lead: int,
    x_reach: float,
    weights: Any,
    samples: Any,
) -> None:
    rows, cols = image.shape
    y_taps, x_taps = y_table.shape[2], x_table.shape[2]
    wy, wx = weights[0], weights[1]
    for x in range(x0, x1):
        top = _axis(places[0, x], rows, y_table, y_lead, y_reach, wy)
        left = _axis(places[1, x], cols, x_table, x_lead, x_reach, wx)
        value = np.float32(0)
        if top >= 0 and top + y_taps <= rows and left >= 0 and left + x_taps <= cols:
            for a in range(y_taps):
                line = np.float32(0)
                for b in range(x_taps):
                    line += wx[b] * np.float32(image[top + a, left + b])
                value += wy[a] * line
        else:
            for a in range(y_taps):
                line = np.float32(0)
                for b in range(x_taps):
                    if wy[a] != 0 and wx[b] != 0:
                        line += wx[b] * np.float32(image[top + a, left + b])
                value += wy[a] * line
        samples[x] = value
