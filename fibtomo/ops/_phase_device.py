"""Launches of ``kernels/phases.cu``: the functions of `_phase_kernels` for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.ops._phase_kernels import BREAK_ROUNDS

Array = Any


def smoothed(u: Array, stripe: Array, band_rows: int, taps: Array) -> Array:
    """(y, x) less its bands (band, x), smoothed with a half kernel from the centre outwards; edges held."""
    ny, nx = u.shape
    radius = len(taps) - 1
    out = namespace(u).empty((ny, nx), np.float32)
    side = 32 + 2 * radius
    args = (u, stripe, taps, out, band_rows, radius, ny, nx)
    _run("smoothed", (-(-ny // 4), nx), *args, shared=4 * side * (side + 32))  # each thread makes four rows
    return out


def pure_labels(smooth: Array, thresholds: Array, spans: Array, reach: int, outside: int) -> Array:
    """Number of thresholds below each pixel (y, x), `outside` where that differs within ±`reach` rows and columns."""
    ny, nx = smooth.shape
    out = namespace(smooth).empty((ny, nx), np.uint8)
    args = (smooth, thresholds, spans, out, len(thresholds), reach, outside, ny, nx)
    _run("pure_labels", (ny, nx), *args, shared=(32 + 2 * reach) * (8 + 2 * reach))
    return out


def turned_labels(labels: Array) -> Array:
    """Return (x, y) of (y, x)."""
    return namespace(labels).ascontiguousarray(labels.T)


def cell_means(bands: Array, cell: int) -> Array:
    """Means (band, n) over runs of `cell` columns, the last of them shorter."""
    xp, nx = namespace(bands), bands.shape[1]
    sums = xp.pad(bands, ((0, 0), (0, -nx % cell))).reshape(len(bands), -1, cell).sum(axis=2)
    return sums / xp.minimum(cell, nx - cell * xp.arange(sums.shape[1]))


def cell_sums(
    u: Array, labels: Array, stripe: Array, gain: Array, grey: Array, cut: Array, band_rows: int, cell: int
) -> tuple[Array, Array]:
    """Pixels (phase, band, cell) no farther than `cut` off their phase, stripes allowed for, and the sum of that."""
    ny, nx = u.shape
    phases, bands, cells = len(grey), len(stripe), -(-nx // cell)
    count, total = (namespace(u).empty((phases, bands, cells), np.float32) for _ in range(2))
    args = (u, labels, stripe, gain, grey, cut, count, total, phases, band_rows, cell, cells, bands, ny, nx)
    _run("cell_sums", (bands, 32 * cells), *args)  # a warp for each cell
    return count, total


def class_sums(
    u: Array, labels: Array, stripe: Array, gain: Array, grey: Array, cut: Array, slow: Array, band_rows: int
) -> tuple[Array, Array]:
    """Pixels (phase, band, x) near the local grey of their phase, and the sum of what they are off it, stripes kept."""
    (ny, nx), phases, bands = u.shape, len(grey), len(stripe)
    count, total = (namespace(u).empty((phases, bands, nx), np.float32) for _ in range(2))
    args = (u, labels, stripe, gain, grey, cut, slow, count, total, phases, band_rows, bands, ny, nx)
    _run("class_sums", (bands, nx), *args)
    return count, total


def broken_smooth(weight: Array, total: Array, stiffness: float, step: float) -> Array:
    """Profiles (band, x) that follow total/weight and change little from band to band, but for a few steps.

    Minimises Σ weight (s - total/weight)² + stiffness Σ step² log(1 + Δ²/step²) by reweighting; the size of the step
    Δ between two bands is taken over three columns.
    """
    xp, (bands, nx) = namespace(weight), weight.shape
    out, ratio = (xp.empty((bands, nx), np.float32) for _ in range(2))
    tie = xp.full((bands, nx), stiffness, np.float32)
    tie[-1] = 0
    for again in range(BREAK_ROUNDS):
        if again:
            _run("loosened", (bands, nx), out, tie, float(stiffness), 1 / (step * step + 1e-30), bands, nx)
        _run("tied_columns", (nx,), weight, total, tie, ratio, out, bands, nx, block=(32, 1, 1))
    return out


def scaled_by_grey(field: Array, smooth: Array, grey: Array, gain: Array) -> Array:
    """Multiply (y, x) by a gain that depends on another's grey: linear between the given greys, held beyond."""
    ny, nx = field.shape
    out = namespace(field).empty((ny, nx), np.float32)
    table = (grey.astype(np.float32), gain.astype(np.float32))
    _run("scaled_by_grey", (ny, nx), field, smooth, *table, out, len(grey), ny, nx)
    return out


def _run(
    function: str, shape: tuple[int, ...], *args: Any, block: tuple[int, int, int] = (32, 8, 1), shared: int = 0
) -> None:
    launch(load_kernel("phases"), function, shape, args, block=block, shared_bytes=shared)
