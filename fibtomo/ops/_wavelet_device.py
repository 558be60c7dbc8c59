"""Launches of ``kernels/wavelet.cu``: the functions of `_wavelet_kernels` for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.backend.kernels import launch, load_kernel

Array = Any


def split_rows(a: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Approximation and detail (y, i) of the rows of (y, x)."""
    (ny, n), taps = a.shape, len(low)
    count = (n + taps - 1) // 2
    smooth, detail = (namespace(a).empty((ny, count), np.float32) for _ in range(2))
    _run("split_rows", smooth.shape, a, low, high, smooth, detail, taps, n, count, ny)
    return smooth, detail


def split_columns(a: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Approximation and detail (i, x) of the columns of (y, x)."""
    (n, nx), taps = a.shape, len(low)
    count = (n + taps - 1) // 2
    smooth, detail = (namespace(a).empty((count, nx), np.float32) for _ in range(2))
    _run("split_columns", smooth.shape, a, low, high, smooth, detail, taps, n, count, nx)
    return smooth, detail


def join_rows(smooth: Array, detail: Array | None, low: Array, high: Array) -> Array:
    """Rows (y, x) of their approximation and detail (y, i); None for a detail that is 0."""
    (ny, count), taps = smooth.shape, len(low)
    nx = 2 * count - taps + 2
    out = namespace(smooth).empty((ny, nx), np.float32)
    given = smooth if detail is None else detail
    _run("join_rows", out.shape, smooth, given, low, high, out, taps, int(given is detail), count, ny, nx)
    return out


def join_columns(smooth: Array, detail: Array | None, low: Array, high: Array) -> Array:
    """Columns (y, x) of their approximation and detail (i, x); None for a detail that is 0."""
    (count, nx), taps = smooth.shape, len(low)
    ny = 2 * count - taps + 2
    out = namespace(smooth).empty((ny, nx), np.float32)
    given = smooth if detail is None else detail
    _run("join_columns", out.shape, smooth, given, low, high, out, taps, int(given is detail), ny, nx)
    return out


def _run(function: str, shape: tuple[int, ...], *args: Any) -> None:
    launch(load_kernel("wavelet"), function, shape, args)
