"""The frame in which stripes stand upright, and the way back."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import twin

Array = Any

BAND_ROWS = 8
"""Rows that are summed before anything else is done along the beam."""
SHIFT_TAPS = 16
"""Length of the interpolator that leans rows."""


def loops(a: Array) -> ModuleType:
    """Return the module of loops over pixels for arrays like `a`."""
    return twin(__package__, "stripe", like=a)


def snapped(slope: float, ny: int) -> float:
    """Zero when the lean over the whole plane is below half a column."""
    return slope if abs(slope) * ny > 0.5 else 0.0


def upright(plane: Array, slope: float) -> tuple[Array, Array]:
    """Shift rows so that stripes stand upright, widened so that nothing is lost; with the columns inside the plane."""
    xp, (ny, nx) = namespace(plane), plane.shape
    u = xp.ascontiguousarray(plane, dtype=xp.float32)
    if slope == 0:
        return u, like(u, np.tile(np.array([0, nx]), (ny, 1)))
    start = _row_shifts(ny, slope) - _widening(ny, slope)
    spans = np.stack([np.ceil(1 - start), np.floor(nx - 2 - start) + 1], axis=1).astype(np.int64)
    return _shift_rows(u, start, nx + 2 * _widening(ny, slope)), like(u, spans)


def leant(field: Array, slope: float, nx: int) -> Array:
    """Lean upright stripes back to where they were."""
    if slope == 0:
        return field
    ny = len(field)
    return _shift_rows(field, _widening(ny, slope) - _row_shifts(ny, slope), nx)


def in_stripe_frame(plane: Array, slope: float, filtered: Callable[[Array], Array]) -> Array:
    """Apply `filtered` to a plane whose stripes have been set upright, and lean its result back."""
    slope = snapped(slope, plane.shape[0])
    return leant(filtered(upright(plane, slope)[0]), slope, plane.shape[1])


def rows_of_bands(bands: Array, ny: int) -> Array:
    """Interpolate (band, x) linearly to (ny, x)."""
    last = len(bands) - 1
    position = np.clip((np.arange(ny) - (BAND_ROWS - 1) / 2) / BAND_ROWS, 0, last)
    low = np.minimum(position.astype(np.int64), last - 1)
    part = (position - low).astype(np.float32)
    return loops(bands).rows_of_bands(bands, like(bands, low), like(bands, part))


def _widening(ny: int, slope: float) -> int:
    return int(np.ceil(abs(slope) * ny / 2)) + 16


def _row_shifts(ny: int, slope: float) -> np.ndarray[Any, Any]:
    return slope * (np.arange(ny) - (ny - 1) / 2)


def _shift_rows(a: Array, start: np.ndarray[Any, Any], width: int) -> Array:
    """Sample row y of (y, x) at start[y], start[y] + 1, …, with a Kaiser-windowed sinc."""
    whole = np.floor(start)
    tap = np.arange(SHIFT_TAPS) - (SHIFT_TAPS // 2 - 1)
    at = tap - (start - whole)[:, None]
    window = np.i0(6 * np.sqrt(np.maximum(1 - (2 * at / SHIFT_TAPS) ** 2, 0)))
    taps = np.sinc(at) * window
    taps = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    first = whole.astype(np.int64) + int(tap[0])
    return loops(a).shifted_rows(a, like(a, first), like(a, taps), width)
