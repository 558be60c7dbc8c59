"""Launches of ``kernels/stripes.cu``: the functions of `_stripe_kernels` for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace, ndimage
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.ops._stripe_kernels import MEDIAN_HALVINGS

Array = Any
TILE_ROWS = 4
"""Rows of a 32 × 32 tile that each thread of a block of 32 × 8 makes."""
CHUNKS = 256
"""Parts of a line that a block solves side by side."""


def gradients(u: Array, smooth: Array, slope: Array) -> tuple[Array, Array]:
    """Derivatives of (y, x) along x and along y; half kernels from the centre outwards, mirrored at the rim."""
    ny, nx = u.shape
    radius = len(smooth) - 1
    gx, gy = (_empty(u, ny, nx) for _ in range(2))
    side = 32 + 2 * radius
    _run(
        "gradients", (-(-ny // TILE_ROWS), nx), u, smooth, slope, gx, gy, radius, ny, nx, shared=4 * side * (side + 64)
    )
    return gx, gy


def run_medians(a: Array, rows: int, use: int, limit: float) -> Array:
    """Median (run, x) of the first `use`, an odd number, of each run of rows, clipped at ±limit."""
    runs, nx = a.shape[0] // rows, a.shape[1]
    out = _empty(a, runs, nx)
    _run("run_medians", (runs, nx), a, out, rows, use, float(limit), MEDIAN_HALVINGS, runs, nx)
    return out


def band_steps(
    u: Array, gx: Array, gy: Array, stripe: Array, spans: Array, limit: float, band_rows: int
) -> tuple[Array, Array]:
    """Sums (band, x) over runs of rows of the weights of horizontal steps, and of the weighted steps."""
    (ny, nx), bands = u.shape, len(stripe)
    weights, steps = (_empty(u, bands, nx - 1) for _ in range(2))
    sizes = (1 / limit, band_rows, bands, ny, nx)
    _run("band_steps", weights.shape, u, gx, gy, stripe, spans, weights, steps, *sizes)
    return weights, steps


def flat_steps(u: Array, gx: Array, gy: Array, limit: float) -> Array:
    """Horizontal steps (y, x) times their weights."""
    ny, nx = u.shape
    out = _empty(u, ny, nx - 1)
    _run("flat_steps", out.shape, u, gx, gy, out, 1 / limit, ny, nx)
    return out


def transposed(a: Array, stripe: Array, band_rows: int) -> Array:
    """Return (x, y) of (y, x) less what its bands (band, x) hold."""
    ny, nx = a.shape
    out = _empty(a, nx, ny)
    _run("transposed", (-(-ny // TILE_ROWS), nx), a, stripe, out, band_rows, ny, nx)
    return out


def smoothed_bands(bands: Array, smooth: Array) -> Array:
    """Convolve (band, x) along the bands with a half kernel from the centre outwards, edges held."""
    kernel = namespace(smooth).concatenate([smooth[:0:-1], smooth])
    return ndimage(bands).correlate1d(bands, kernel, axis=0, mode="nearest")


def shifted_rows(a: Array, first: Array, taps: Array, width: int) -> Array:
    """Rows (y, width) of (y, x) from x = first[y] on, each through its own taps (y, tap), edges held."""
    ny, nx = a.shape
    out = _empty(a, ny, width)
    _run("shifted_rows", out.shape, a, first, taps, out, taps.shape[1], ny, nx, width)
    return out


def rows_of_bands(bands: Array, low: Array, part: Array) -> Array:
    """Mix band low[y] and the next by part[y]."""
    ny, nx = len(low), bands.shape[1]
    out = _empty(bands, ny, nx)
    _run("rows_of_bands", out.shape, bands, low, part, out, ny, nx)
    return out


def integrate_steps(weights: Array, steps: Array, screening: float) -> Array:
    """Solve the tridiagonal system of `fibtomo.ops.stripes` for each row of (band, x - 1)."""
    bands, n = weights.shape[0], weights.shape[1] + 1
    out = _empty(weights, bands, n)
    scratch = namespace(weights).empty((bands, 3, -(-n // CHUNKS), CHUNKS), np.float64)
    args = (weights, steps, scratch, out, np.float64(screening), n)
    _run("integrate_steps", (bands, CHUNKS), *args, block=(CHUNKS, 1, 1))
    return out


def _empty(a: Array, *shape: int) -> Array:
    return namespace(a).empty(shape, np.float32)


def _run(
    function: str, shape: tuple[int, ...], *args: Any, block: tuple[int, int, int] = (32, 8, 1), shared: int = 0
) -> None:
    launch(load_kernel("stripes"), function, shape, args, block=block, shared_bytes=shared)
