"""Loops behind `fibtomo.ops.stripe_phases` on the CPU; `_phase_device` has the same functions for CuPy.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
BREAK_ROUNDS = 4


@_compiled
def smoothed(u: Array, stripe: Array, band_rows: int, taps: Array) -> Array:
    """(y, x) less its bands (band, x), smoothed with a half kernel from the centre outwards; edges held."""
    ny, nx = u.shape
    radius = len(taps) - 1
    plain = np.empty((ny, nx), np.float32)
    for y in range(ny):
        row, bands, target = u[y], stripe[y // band_rows], plain[y]
        for x in range(nx):
            target[x] = row[x] - bands[x]
    out, wide = np.empty((ny, nx), np.float32), np.empty(nx + 2 * radius, np.float32)
    middle = wide[radius : radius + nx]
    for y in range(ny):
        row, target = plain[y], out[y]
        for x in range(nx):
            middle[x] = taps[0] * row[x]
        for k in range(1, radius + 1):
            above, below, tap = plain[max(y - k, 0)], plain[min(y + k, ny - 1)], taps[k]
            for x in range(nx):
                middle[x] += tap * (above[x] + below[x])
        wide[:radius] = middle[0]
        wide[radius + nx :] = middle[nx - 1]
        for x in range(nx):
            target[x] = taps[0] * middle[x]
        for k in range(1, radius + 1):
            left, right, tap = wide[radius - k :], wide[radius + k :], taps[k]
            for x in range(nx):
                target[x] += tap * (left[x] + right[x])
    return out


@_compiled
def pure_labels(smooth: Array, thresholds: Array, spans: Array, reach: int, outside: int) -> Array:
    """Number of thresholds below each pixel (y, x), `outside` where that differs within ±`reach` rows and columns."""
    ny, nx = smooth.shape
    label, along = np.empty((ny, nx), np.uint8), np.empty((ny, nx), np.uint8)
    for y in range(ny):
        row, target = smooth[y], label[y]
        for x in range(nx):
            target[x] = 0
        for t in thresholds:
            for x in range(nx):
                target[x] += np.uint8(row[x] > t)
        target[: spans[y, 0]] = outside
        target[max(spans[y, 1], 0) :] = outside
    for y in range(ny):
        row, target = label[y], along[y]
        target[:] = row
        for k in range(1, reach + 1):
            for x in range(k, nx):
                if row[x - k] != row[x]:
                    target[x] = outside
            for x in range(nx - k):
                if row[x + k] != row[x]:
                    target[x] = outside
    out = np.empty((ny, nx), np.uint8)
    for y in range(ny):
        row, target = along[y], out[y]
        target[:] = row
        for k in range(max(y - reach, 0), min(y + reach, ny - 1) + 1):
            other = along[k]
            for x in range(nx):
                if other[x] != row[x]:
                    target[x] = outside
    return out


@_compiled
def turned_labels(labels: Array) -> Array:
    """Return (x, y) of (y, x)."""
    return np.ascontiguousarray(labels.T)


def cell_means(bands: Array, cell: int) -> Array:
    """Means (band, n) over runs of `cell` columns, the last of them shorter."""
    starts = np.arange(0, bands.shape[1], cell)
    return np.add.reduceat(bands, starts, axis=1) / np.diff(np.append(starts, bands.shape[1]))


@_compiled
def cell_sums(
    u: Array, labels: Array, stripe: Array, gain: Array, grey: Array, cut: Array, band_rows: int, cell: int
) -> tuple[Array, Array]:
    """Pixels (phase, band, cell) no farther than `cut` off their phase, stripes allowed for, and the sum of that."""
    ny, nx = u.shape
    phases = len(grey)
    count = np.zeros((phases, stripe.shape[0], -(-nx // cell)), np.float32)
    total = np.zeros_like(count)
    pixels, sums = np.zeros(256, np.float32), np.zeros(256, np.float32)
    for y in range(ny):
        band = y // band_rows
        row, label, bands = u[y], labels[y], stripe[band]
        for c in range(count.shape[2]):
            pixels[:phases] = 0
            sums[:phases] = 0
            for x in range(c * cell, min((c + 1) * cell, nx)):
                k = label[x]
                if k < phases:
                    off = row[x] - grey[k] - gain[k] * bands[x]
                    near = np.float32(abs(off) < cut[k])
                    pixels[k] += near
                    sums[k] += near * off
            for k in range(phases):
                count[k, band, c] += pixels[k]
                total[k, band, c] += sums[k]
    return count, total


@_compiled
def class_sums(
    u: Array, labels: Array, stripe: Array, gain: Array, grey: Array, cut: Array, slow: Array, band_rows: int
) -> tuple[Array, Array]:
    """Pixels (phase, band, x) near the local grey of their phase, and the sum of what they are off it, stripes kept."""
    ny, nx = u.shape
    phases = len(grey)
    count = np.zeros((phases, stripe.shape[0], nx), np.float32)
    total = np.zeros_like(count)
    for y in range(ny):
        band = y // band_rows
        row, label, bands = u[y], labels[y], stripe[band]
        for x in range(nx):
            k = label[x]
            if k < phases:
                off = row[x] - grey[k] - slow[k, band, x]
                if abs(off - gain[k] * bands[x]) < cut[k]:
                    count[k, band, x] += 1
                    total[k, band, x] += off
    return count, total


@_compiled
def broken_smooth(weight: Array, total: Array, stiffness: float, step: float) -> Array:
    """Profiles (band, x) that follow total/weight and change little from band to band, but for a few steps.

    Minimises Σ weight (s - total/weight)² + stiffness Σ step² log(1 + Δ²/step²) by reweighting; the size of the step
    Δ between two bands is taken over three columns.
    """
    bands, nx = weight.shape
    out, tie = np.empty((bands, nx), np.float32), np.empty((bands, nx), np.float32)
    ratio, size = np.empty((bands, nx), np.float32), np.empty(nx, np.float32)
    tie[:] = stiffness
    tie[bands - 1] = 0
    inverse = 1 / (step * step + 1e-30)
    for again in range(BREAK_ROUNDS):
        for b in range(bands):
            w, t, here, r, target = weight[b], total[b], tie[b], ratio[b], out[b]
            if b == 0:
                for x in range(nx):
                    d = 1 / (w[x] + here[x])
                    r[x] = here[x] * d
                    target[x] = t[x] * d
            else:
                before, last, value = tie[b - 1], ratio[b - 1], out[b - 1]
                for x in range(nx):
                    d = 1 / (w[x] + here[x] + before[x] * (1 - last[x]))
                    r[x] = here[x] * d
                    target[x] = (t[x] + before[x] * value[x]) * d
        for b in range(bands - 2, -1, -1):
            r, target, below = ratio[b], out[b], out[b + 1]
            for x in range(nx):
                target[x] += r[x] * below[x]
        if again < BREAK_ROUNDS - 1:
            for b in range(bands - 1):
                upper, lower, here = out[b], out[b + 1], tie[b]
                for x in range(nx):
                    size[x] = abs(lower[x] - upper[x])
                for x in range(nx):
                    d = np.float32(0.25) * (size[max(x - 1, 0)] + size[min(x + 1, nx - 1)]) + np.float32(0.5) * size[x]
                    here[x] = stiffness / (1 + d * d * inverse)
    return out


@_compiled
def scaled_by_grey(field: Array, smooth: Array, grey: Array, gain: Array) -> Array:
    """Multiply (y, x) by a gain that depends on another's grey: linear between the given greys, held beyond."""
    ny, nx = field.shape
    out, last = np.empty((ny, nx), np.float32), len(grey) - 1
    for y in range(ny):
        for x in range(nx):
            v, k = smooth[y, x], 0
            while k < last and v > grey[k + 1]:
                k += 1
            g = gain[k]
            if k < last and v > grey[k]:
                g += (gain[k + 1] - gain[k]) * (v - grey[k]) / (grey[k + 1] - grey[k])
            out[y, x] = field[y, x] * g
    return out
