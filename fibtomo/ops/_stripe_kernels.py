"""Loops behind `fibtomo.ops.stripes` on the CPU; `_stripe_device` has the same functions for CuPy.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
TILE = 32
MEDIAN_COLUMNS = 128
MEDIAN_HALVINGS = 16
INTEGRATED = 8


@_compiled
def gradients(u: Array, smooth: Array, slope: Array) -> tuple[Array, Array]:
    """Derivatives of (y, x) along x and along y; half kernels from the centre outwards, mirrored at the rim."""
    ny, nx = u.shape
    radius = len(smooth) - 1
    gx, gy = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32)
    wide_blur, wide_rise = np.empty(nx + 2 * radius, np.float32), np.empty(nx + 2 * radius, np.float32)
    blur, rise = wide_blur[radius : radius + nx], wide_rise[radius : radius + nx]
    for y in range(ny):
        row = u[y]
        for x in range(nx):
            blur[x] = smooth[0] * row[x]
            rise[x] = 0
        for k in range(1, radius + 1):
            above, below = u[_mirrored(y - k, ny)], u[_mirrored(y + k, ny)]
            a, b = smooth[k], slope[k]
            for x in range(nx):
                blur[x] += a * (below[x] + above[x])
                rise[x] += b * (below[x] - above[x])
        for k in range(1, radius + 1):
            near, far = _mirrored(-k, nx), _mirrored(nx - 1 + k, nx)
            wide_blur[radius - k], wide_blur[radius + nx - 1 + k] = blur[near], blur[far]
            wide_rise[radius - k], wide_rise[radius + nx - 1 + k] = rise[near], rise[far]
        along_x, along_y = gx[y], gy[y]
        for x in range(nx):
            along_x[x] = 0
            along_y[x] = smooth[0] * rise[x]
        for k in range(1, radius + 1):
            a, b = smooth[k], slope[k]
            left_blur, right_blur = wide_blur[radius - k :], wide_blur[radius + k :]
            left_rise, right_rise = wide_rise[radius - k :], wide_rise[radius + k :]
            for x in range(nx):
                along_x[x] += b * (right_blur[x] - left_blur[x])
                along_y[x] += a * (right_rise[x] + left_rise[x])
    return gx, gy


@_compiled
def _mirrored(i: int, n: int) -> int:
    i %= 2 * n
    return min(i, 2 * n - 1 - i)


@_compiled
def run_medians(a: Array, rows: int, use: int, limit: float) -> Array:
    """Median (run, x) of the first `use`, an odd number, of each run of rows, clipped at ±limit; by bisection."""
    runs, nx = a.shape[0] // rows, a.shape[1]
    out = np.empty((runs, nx), np.float32)
    middle, step = np.empty(MEDIAN_COLUMNS, np.float32), np.float32(0)
    below = np.empty(MEDIAN_COLUMNS, np.int32)
    for run in range(runs):
        for x0 in range(0, nx, MEDIAN_COLUMNS):
            width = min(MEDIAN_COLUMNS, nx - x0)
            middle[:] = 0
            step = np.float32(limit)
            for _ in range(MEDIAN_HALVINGS):
                below[:] = 0
                for y in range(run * rows, run * rows + use):
                    row = a[y, x0 : x0 + width]
                    for x in range(width):
                        below[x] += np.int32(row[x] < middle[x])
                step *= np.float32(0.5)
                for x in range(width):
                    middle[x] += -step if 2 * below[x] > use else step
            out[run, x0 : x0 + width] = middle[:width]
    return out


@_compiled
def band_steps(
    u: Array, gx: Array, gy: Array, stripe: Array, spans: Array, limit: float, band_rows: int
) -> tuple[Array, Array]:
    """Sums (band, x) over runs of rows of the weights of horizontal steps, and of the weighted steps."""
    ny, nx = u.shape
    bands = stripe.shape[0]
    weights, steps = np.zeros((bands, nx - 1), np.float32), np.zeros((bands, nx - 1), np.float32)
    flat = np.empty(nx, np.float32)
    inverse = np.float32(1 / limit)
    for y in range(ny):
        band = y // band_rows
        _flatness(gx[y], gy[y], stripe[band], inverse, spans[y, 0], spans[y, 1], flat)
        row, weight, step = u[y], weights[band], steps[band]
        for x in range(nx - 1):
            w = min(flat[x], flat[x + 1])
            weight[x] += w
            step[x] += w * (row[x + 1] - row[x])
    return weights, steps


@_compiled
def flat_steps(u: Array, gx: Array, gy: Array, limit: float) -> Array:
    """Horizontal steps (y, x) times their weights."""
    ny, nx = u.shape
    out = np.empty((ny, nx - 1), np.float32)
    flat, none = np.empty(nx, np.float32), np.zeros(nx, np.float32)
    inverse = np.float32(1 / limit)
    for y in range(ny):
        _flatness(gx[y], gy[y], none, inverse, 0, nx, flat)
        row, step = u[y], out[y]
        for x in range(nx - 1):
            step[x] = min(flat[x], flat[x + 1]) * (row[x + 1] - row[x])
    return out


@_compiled
def _flatness(gx: Array, gy: Array, stripe: Array, inverse: float, first: int, last: int, out: Array) -> None:
    """Tukey's biweight of the gradient without stripes: 1 where it vanishes, 0 on structure and outside the span."""
    for x in range(len(out)):
        along = gx[x] - stripe[x]
        near = max(np.float32(1) - (along * along + gy[x] * gy[x]) * inverse, np.float32(0))
        out[x] = near * near
    out[:first] = 0
    out[last:] = 0


@_compiled
def transposed(a: Array, stripe: Array, band_rows: int) -> Array:
    """Return (x, y) of (y, x) less what its bands (band, x) hold; in tiles, which the cache likes."""
    ny, nx = a.shape
    out, tile = np.empty((nx, ny), np.float32), np.empty((TILE, TILE + 1), np.float32)
    for y0 in range(0, ny, TILE):
        rows = min(TILE, ny - y0)
        for x0 in range(0, nx, TILE):
            columns = min(TILE, nx - x0)
            for j in range(rows):
                row, stripes = a[y0 + j, x0 : x0 + columns], stripe[(y0 + j) // band_rows, x0 : x0 + columns]
                for i in range(columns):
                    tile[j, i] = row[i] - stripes[i]
            for i in range(columns):
                target = out[x0 + i, y0 : y0 + rows]
                for j in range(rows):
                    target[j] = tile[j, i]
    return out


@_compiled
def smoothed_bands(bands: Array, smooth: Array) -> Array:
    """Convolve (band, x) along the bands with a half kernel from the centre outwards, edges held."""
    n, nx = bands.shape
    out = np.empty((n, nx), np.float32)
    for b in range(n):
        centre, target = bands[b], out[b]
        for x in range(nx):
            target[x] = smooth[0] * centre[x]
        for k in range(1, len(smooth)):
            above, below, weight = bands[max(b - k, 0)], bands[min(b + k, n - 1)], smooth[k]
            for x in range(nx):
                target[x] += weight * (above[x] + below[x])
    return out


@_compiled
def shifted_rows(a: Array, first: Array, taps: Array, width: int) -> Array:
    """Rows (y, width) of (y, x) from x = first[y] on, each through its own taps (y, tap), edges held."""
    ny, nx = a.shape
    count = taps.shape[1]
    out, line = np.empty((ny, width), np.float32), np.empty(width + count, np.float32)
    for y in range(ny):
        row, target = a[y], out[y]
        for x in range(width + count):
            line[x] = row[min(max(x + first[y], 0), nx - 1)]
        for x in range(width):
            target[x] = 0
        for t in range(count):
            weight, source = taps[y, t], line[t:]
            for x in range(width):
                target[x] += weight * source[x]
    return out


@_compiled
def rows_of_bands(bands: Array, low: Array, part: Array) -> Array:
    """Mix band low[y] and the next by part[y]."""
    ny, nx = len(low), bands.shape[1]
    out = np.empty((ny, nx), np.float32)
    for y in range(ny):
        near, far, share, target = bands[low[y]], bands[low[y] + 1], part[y], out[y]
        for x in range(nx):
            target[x] = near[x] + share * (far[x] - near[x])
    return out


@_compiled
def integrate_steps(weights: Array, steps: Array, screening: float) -> Array:
    """Solve the tridiagonal system of `fibtomo.ops.stripes` for each row of (band, x - 1), by elimination."""
    bands, n = weights.shape[0], weights.shape[1] + 1
    out = np.empty((bands, n), np.float32)
    ratio, value = np.zeros((n, INTEGRATED)), np.zeros((n, INTEGRATED))
    left, carried = np.zeros(INTEGRATED), np.zeros(INTEGRATED)
    for first in range(0, bands, INTEGRATED):
        count = min(INTEGRATED, bands - first)
        left[:] = 0
        carried[:] = 0
        for x in range(n):
            for b in range(count):
                right = np.float64(weights[first + b, x]) if x < n - 1 else 0.0
                step = np.float64(steps[first + b, x]) if x < n - 1 else 0.0
                before = max(x - 1, 0)
                inverse = 1 / (screening + right + left[b] - left[b] * ratio[before, b])
                value[x, b] = (carried[b] - step + left[b] * value[before, b]) * inverse
                ratio[x, b] = right * inverse
                left[b], carried[b] = right, step
        out[first : first + count, n - 1] = value[n - 1, :count]
        for x in range(n - 2, -1, -1):
            for b in range(count):
                value[x, b] += ratio[x, b] * value[x + 1, b]
                out[first + b, x] = value[x, b]
    return out
