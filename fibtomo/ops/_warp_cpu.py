"""CPU twin of ``kernels/resample_warped.cu``: one gather for targets that are turned or warped against the slices.

A target row is a straight line on each slice unless that is warped, so it is made of whole source lines; with a warp
every voxel finds its own place. Lines are shared by all target slices where these are parallel to the source slices.
Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np

from fibtomo.core._warp_kernels import cells_of_row, shift_at
from fibtomo.core._warp_kernels import compiled as _compiled
from fibtomo.ops._resample_cpu import _longest_run, _mix_columns


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
    along_y: Any,
    along_x: Any,
    control: Any,
    nodes_per_px: Any,
    x_first: Any,
    x_weight: Any,
    fill: float,
) -> None:
    """Fill `out` (nz, ny, nx) from `source` (slices, rows, columns); tables as for the CUDA kernel.

    `along_y` and `along_x` are (table, lead, reach). Without a warp `control` has length 0, and `x_first` (slices, nx)
    and `x_weight` (slices, taps, nx) hold the taps along x.
    """
    slices, _, cols = source.shape
    nz, ny, nx = out.shape
    warped, turned = len(control) > 0, steps[0] != 0
    lines = np.zeros((1 if turned else slices, nx), np.float32)
    line = np.empty(cols, np.float32)
    places, cells = np.empty((2, nx)), np.empty((control.shape[2] - 3, 8))
    weights = np.empty((2, max(along_y[0].shape[2], along_x[0].shape[2])), np.float32)
    runs = np.zeros((slices, 2), np.int64)
    for k in range(0 if warped else slices):
        runs[k, 0], runs[k, 1] = _longest_run(x_first[k])
    wanted = np.empty((slices, 2), np.int64)
    for y in range(ny):
        if not turned:
            _columns_wanted(z_slice[:, y], z_weight[:, y], spans[:, y], wanted)
        for z in range(nz):
            target, x0, x1 = out[z, y], spans[z, y, 0], spans[z, y, 1]
            target[:x0] = fill
            target[x0:x1] = 0
            target[x1:] = fill
            for t in range(z_slice.shape[2] if x0 < x1 else 0):
                k, weight = z_slice[z, y, t], z_weight[z, y, t]
                if weight == 0:
                    continue
                samples = lines[0 if turned else k]
                if turned:
                    wanted[k] = x0, x1
                if wanted[k, 0] < wanted[k, 1]:
                    row = start[k, 0] + (z0 + z) * steps[0] + y * steps[1]
                    if warped:
                        cells_of_row(control[k], row * nodes_per_px[0], cells)
                        _places(row, start[k, 1], steps[2], cells, nodes_per_px[1], places)
                        _sample(source[k], places, wanted[k], along_y, along_x, weights, samples)
                    else:
                        first = _axis(row, source.shape[1], along_y, weights[0])
                        c0, c1 = x_first[k, wanted[k, 0]], x_first[k, wanted[k, 1] - 1] + x_weight.shape[1]
                        _mix_rows(source[k], first, weights[0, : along_y[0].shape[2]], line[c0:c1], c0)
                        _mix_columns(line, x_first[k], x_weight[k], runs[k, 0], runs[k, 1], samples)
                    wanted[k] = 0
                for x in range(x0, x1):
                    target[x] += weight * samples[x]


@_compiled
def _columns_wanted(z_slice: Any, z_weight: Any, spans: Any, wanted: Any) -> None:
    """Columns [a, b) that any target slice needs of each source slice at one y."""
    wanted[:, 0] = np.iinfo(np.int32).max
    wanted[:, 1] = 0
    for z in range(len(z_slice)):
        for t in range(z_slice.shape[1]):
            if z_weight[z, t] != 0 and spans[z, 1] > spans[z, 0]:
                k = z_slice[z, t]
                wanted[k, 0] = min(wanted[k, 0], spans[z, 0])
                wanted[k, 1] = max(wanted[k, 1], spans[z, 1])


@_compiled
def _mix_rows(image: Any, first: int, weight: Any, line: Any, column: int) -> None:
    """Weighted sum of rows from `first` on, columns from `column` on; rows beyond the edge have no weight."""
    line[:] = 0
    for a in range(len(weight)):
        w = weight[a]
        if w != 0:
            row = image[first + a, column : column + len(line)]
            for x in range(len(line)):
                line[x] += w * np.float32(row[x])


@_compiled
def _places(row: float, col_start: float, col_step: float, cells: Any, nodes_per_col: float, places: Any) -> None:
    """Rows and columns that the voxels of a line read once their displacement is added, cell by cell of the nodes."""
    count = places.shape[1]
    x, last = 0, len(cells) - 1
    while x < count:
        at = (col_start + x * col_step) * nodes_per_col
        j = min(max(int(np.floor(at)), 0), last)
        stop = count
        if 0 <= at <= last + 1 and nodes_per_col > 0:
            stop = min(count, max(x + 1, int(np.ceil(((j + 1) / nodes_per_col - col_start) / col_step))))
        elif at < 0:
            stop = min(count, max(x + 1, int(np.ceil(-col_start / col_step))))
        if 0 <= at <= last + 1:
            a0, a1, a2, a3 = cells[j, 0], cells[j, 1], cells[j, 2], cells[j, 3]
            b0, b1, b2, b3 = cells[j, 4], cells[j, 5], cells[j, 6], cells[j, 7]
            for i in range(x, stop):
                col = col_start + i * col_step
                t = col * nodes_per_col - j
                places[0, i] = row + (((a3 * t + a2) * t + a1) * t + a0)
                places[1, i] = col + (((b3 * t + b2) * t + b1) * t + b0)
        else:
            for i in range(x, stop):
                col = col_start + i * col_step
                places[0, i] = row + shift_at(cells, col * nodes_per_col, 0)
                places[1, i] = col + shift_at(cells, col * nodes_per_col, 1)
        x = stop


@_compiled
def _axis(at: float, count: int, along: Any, weight: Any) -> int:
    """First tap around `at`, moved onto the axis, and its weights; taps beyond an edge have no weight."""
    table, lead, reach = along
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


def _line_sampler(taps: int) -> Any:
    """Compile the interpolation at given places for `taps` samples along both axes, 0 for any number of them."""

    @_compiled
    def sample(image: Any, places: Any, wanted: Any, along_y: Any, along_x: Any, weights: Any, samples: Any) -> None:
        (y_table, y_lead, _), (x_table, x_lead, _) = along_y, along_x
        rows, cols = image.shape
        y_taps, x_taps = taps or y_table.shape[2], taps or x_table.shape[2]
        wy, wx = weights[0], weights[1]
        for x in range(wanted[0], wanted[1]):
            at_y = min(max(places[0, x], 0.0), rows - 1.0)
            at_x = min(max(places[1, x], 0.0), cols - 1.0)
            base_y, base_x = int(at_y), int(at_x)
            top, left = base_y - y_lead, base_x - x_lead
            value = np.float32(0)
            if y_taps > 1 and top >= 0 and top + y_taps <= rows and left >= 0 and left + x_taps <= cols:
                fine_y, fine_x = (at_y - base_y) * (y_table.shape[1] - 1), (at_x - base_x) * (x_table.shape[1] - 1)
                i, j = int(fine_y), int(fine_x)
                part_y, part_x = np.float32(fine_y - i), np.float32(fine_x - j)
                for b in range(x_taps):
                    wx[b] = x_table[0, j, b] + part_x * (x_table[0, j + 1, b] - x_table[0, j, b])
                for a in range(y_taps):
                    w = y_table[0, i, a] + part_y * (y_table[0, i + 1, a] - y_table[0, i, a])
                    line = np.float32(0)
                    for b in range(x_taps):
                        line += wx[b] * np.float32(image[top + a, left + b])
                    value += w * line
            else:
                top = _axis(at_y, rows, along_y, wy)
                left = _axis(at_x, cols, along_x, wx)
                for a in range(y_taps):
                    for b in range(x_taps):
                        if wy[a] != 0 and wx[b] != 0:
                            value += wy[a] * wx[b] * np.float32(image[top + a, left + b])
            samples[x] = value

    return sample


_sample_linear, _sample_cubic, _sample_any = (_line_sampler(taps) for taps in (2, 4, 0))


@_compiled
def _sample(image: Any, places: Any, wanted: Any, along_y: Any, along_x: Any, weights: Any, samples: Any) -> None:
    """Interpolate `image` at `places` for the voxels [wanted[0], wanted[1])."""
    y_taps, x_taps = along_y[0].shape[2], along_x[0].shape[2]
    if y_taps == x_taps == 2:
        _sample_linear(image, places, wanted, along_y, along_x, weights, samples)
    elif y_taps == x_taps == 4:
        _sample_cubic(image, places, wanted, along_y, along_x, weights, samples)
    else:
        _sample_any(image, places, wanted, along_y, along_x, weights, samples)
