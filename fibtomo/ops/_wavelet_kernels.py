"""Loops behind `fibtomo.ops.wavelet` on the CPU; `_wavelet_device` has the same functions for CuPy.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")


@_compiled
def _mirrored(i: int, n: int) -> int:
    i %= 2 * n
    return min(i, 2 * n - 1 - i)


@_compiled
def split_rows(a: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Approximation and detail (y, i) of the rows of (y, x)."""
    (ny, n), taps = a.shape, len(low)
    count, lead = (n + taps - 1) // 2, taps - 2
    smooth, detail = np.empty((ny, count), np.float32), np.empty((ny, count), np.float32)
    pairs = count + lead // 2
    even, odd = np.empty(pairs, np.float32), np.empty(pairs, np.float32)
    begin, end = lead // 2, min((n + lead) // 2, pairs)  # pairs of samples that lie inside the row
    for y in range(ny):
        row = a[y]
        for j in range(begin, end):
            even[j] = row[2 * j - lead]
            odd[j] = row[2 * j - lead + 1]
        for j in range(begin):
            even[j], odd[j] = row[_mirrored(2 * j - lead, n)], row[_mirrored(2 * j - lead + 1, n)]
        for j in range(end, pairs):
            even[j], odd[j] = row[_mirrored(2 * j - lead, n)], row[_mirrored(2 * j - lead + 1, n)]
        sums, differences = smooth[y], detail[y]
        sums[:] = 0
        differences[:] = 0
        for k in range(taps):
            source = even[(taps - 1 - k) // 2 :] if k % 2 else odd[(taps - 2 - k) // 2 :]
            one, two = low[k], high[k]
            for i in range(count):
                sums[i] += one * source[i]
                differences[i] += two * source[i]
    return smooth, detail


@_compiled
def split_columns(a: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Approximation and detail (i, x) of the columns of (y, x)."""
    (n, nx), taps = a.shape, len(low)
    count = (n + taps - 1) // 2
    smooth, detail = np.empty((count, nx), np.float32), np.empty((count, nx), np.float32)
    for i in range(count):
        sums, differences = smooth[i], detail[i]
        sums[:] = 0
        differences[:] = 0
        for k in range(taps):
            row, one, two = a[_mirrored(2 * i + 1 - k, n)], low[k], high[k]
            for x in range(nx):
                sums[x] += one * row[x]
                differences[x] += two * row[x]
    return smooth, detail


@_compiled
def join_rows(smooth: Array, detail: Array, low: Array, high: Array) -> Array:
    """Rows (y, x) of their approximation and detail (y, i); None for a detail that is 0."""
    (ny, count), taps = smooth.shape, len(low)
    pairs = count - taps // 2 + 1
    out = np.empty((ny, 2 * pairs), np.float32)
    even, odd = np.empty(pairs, np.float32), np.empty(pairs, np.float32)
    for y in range(ny):
        even[:] = 0
        odd[:] = 0
        for k in range(taps // 2):
            at = taps - 2 - 2 * k
            source, one, two = smooth[y, k : k + pairs], low[at], low[at + 1]
            for j in range(pairs):
                even[j] += one * source[j]
                odd[j] += two * source[j]
            if detail is not None:
                source, one, two = detail[y, k : k + pairs], high[at], high[at + 1]
                for j in range(pairs):
                    even[j] += one * source[j]
                    odd[j] += two * source[j]
        target = out[y]
        for j in range(pairs):
            target[2 * j] = even[j]
            target[2 * j + 1] = odd[j]
    return out


@_compiled
def join_columns(smooth: Array, detail: Array, low: Array, high: Array) -> Array:
    """Columns (y, x) of their approximation and detail (i, x); None for a detail that is 0."""
    (count, nx), taps = smooth.shape, len(low)
    ny = 2 * count - taps + 2
    out = np.empty((ny, nx), np.float32)
    for y in range(ny):
        target = out[y]
        target[:] = 0
        for k in range(taps // 2):
            at = taps - 2 - 2 * k + y % 2
            source, tap = smooth[y // 2 + k], low[at]
            for x in range(nx):
                target[x] += tap * source[x]
            if detail is not None:
                source, tap = detail[y // 2 + k], high[at]
                for x in range(nx):
                    target[x] += tap * source[x]
    return out
