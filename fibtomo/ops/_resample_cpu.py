"""CPU twin of ``kernels/resample.cu``: the same gather from the same tables, arranged for caches and vector units.

How a slice is interpolated in its plane does not depend on the target z, so each source line is made once and then
shared by all target slices around it. Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")


@_compiled
def gather(
    source: Any,
    out: Any,
    z_slice: Any,
    z_weight: Any,
    box: Any,
    y_first: Any,
    y_weight: Any,
    x_first: Any,
    x_weight: Any,
    rows_used: Any,
    fill: float,
) -> None:
    """Fill `out` (nz, ny, nx) from `source` (slices, rows, columns); tables as for the CUDA kernel.

    `rows_used` (slices, 2) gives the target rows that any z needs of each slice.
    """
    slices, _, cols = source.shape
    nz, ny, nx = out.shape
    line = np.empty(cols, np.float32)
    lines = np.zeros((slices, nx), np.float32)
    runs = np.empty((slices, 2), np.int64)
    for k in range(slices):
        runs[k, 0], runs[k, 1] = _longest_run(x_first[k])
    for y in range(ny):
        for k in range(slices):
            if rows_used[k, 0] <= y < rows_used[k, 1]:
                _mix_rows(source[k], y_first[k, y], y_weight[k, :, y], line)
                _mix_columns(line, x_first[k], x_weight[k], runs[k, 0], runs[k, 1], lines[k])
        for z in range(nz):
            target = out[z, y]
            x0, x1 = (box[z, 2], box[z, 3]) if box[z, 0] <= y < box[z, 1] else (0, 0)
            target[:x0] = fill
            target[x0:x1] = 0
            target[max(x0, x1) :] = fill
            for t in range(z_slice.shape[1]):
                weight = z_weight[z, t]
                if weight != 0:
                    samples = lines[z_slice[z, t]]
                    for x in range(x0, x1):
                        target[x] += weight * samples[x]


@_compiled
def _longest_run(first: Any) -> tuple[int, int]:
    """Range around the middle where taps advance by one sample per voxel, as they do unless columns are rescaled."""
    start, stop = len(first) // 2, len(first) // 2 + 1
    while start > 0 and first[start - 1] == first[start] - 1:
        start -= 1
    while stop < len(first) and first[stop] == first[stop - 1] + 1:
        stop += 1
    return start, stop


@_compiled
def _mix_rows(image: Any, first: int, weight: Any, line: Any) -> None:
    line[:] = 0
    for a in range(len(weight)):
        w, row = weight[a], image[first + a]
        for x in range(len(line)):
            line[x] += w * np.float32(row[x])


@_compiled
def _mix_columns(line: Any, first: Any, weight: Any, start: int, stop: int, samples: Any) -> None:
    """Interpolate along `line`; the run [start, stop) is read in order, which vectorises, the rest is gathered."""
    samples[:] = 0
    run_samples = samples[start:stop]
    for b in range(len(weight)):
        w = weight[b]
        run, run_weight = line[first[start] + b :], w[start:stop]
        for x in range(start):
            samples[x] += w[x] * line[first[x] + b]
        for x in range(len(run_samples)):
            run_samples[x] += run_weight[x] * run[x]
        for x in range(stop, len(samples)):
            samples[x] += w[x] * line[first[x] + b]
