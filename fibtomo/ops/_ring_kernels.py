"""Loops behind `fibtomo.ops.correlation` on the CPU.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
_compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")


@_compiled
def cross_spectrum(a: Array, b: Array, ring: Array, rings: int) -> tuple[Array, Array]:
    """``conj(a) * b`` and its squared magnitude summed over each ring."""
    ny, nx = a.shape
    cross, square = np.empty((ny, nx), np.complex64), np.zeros(rings + 1)
    for i in range(ny):
        for j in range(nx):
            value = a[i, j].conjugate() * b[i, j]
            cross[i, j] = value
            square[ring[i, j]] += value.real * value.real + value.imag * value.imag
    return cross, square[:rings]


@_compiled
def power(values: Array, ring: Array, rings: int) -> Array:
    """Squared magnitude summed over each ring."""
    ny, nx = values.shape
    sums = np.zeros(rings + 1)
    for i in range(ny):
        for j in range(nx):
            value = values[i, j]
            sums[ring[i, j]] += value.real * value.real + value.imag * value.imag
    return sums[:rings]


@_compiled
def weighted(cross: Array, ring: Array, weights: Array) -> Array:
    """`cross` times the weight of its ring."""
    ny, nx = cross.shape
    out = np.empty((ny, nx), np.complex64)
    for i in range(ny):
        for j in range(nx):
            out[i, j] = cross[i, j] * weights[ring[i, j]]
    return out


@_compiled
def moments(cross: Array, ring: Array, rings: int, turn_y: Array, turn_x: Array, wy: Array, wx: Array) -> Array:
    """(6, rings) sums of R, −I·wy, −I·wx, R·wy², R·wy·wx, R·wx² of the turned cross spectrum R + iI."""
    ny, nx = cross.shape
    sums = np.zeros((rings + 1, 6), np.float64)
    for i in range(ny):
        ty, fy = turn_y[i], wy[i]
        for j in range(nx):
            r = ring[i, j]
            if r == rings:
                continue
            value = cross[i, j] * (ty * turn_x[j])
            fx = wx[j]
            real, imag = value.real, value.imag
            row = sums[r]
            row[0] += real
            row[1] -= imag * fy
            row[2] -= imag * fx
            row[3] += real * fy * fy
            row[4] += real * fy * fx
            row[5] += real * fx * fx
    return sums[:rings].T.copy()


@_compiled
def highest(surface: Array, y: Array, x: Array, reach_y: float, reach_x: float, at: Array, apart: float) -> tuple:
    """Value and place of the highest point within reach that is farther than `apart` from `at`."""
    ny, nx = surface.shape
    best, best_i, best_j = -np.inf, -1, -1
    for i in range(ny):
        if abs(y[i]) > reach_y:
            continue
        away_y = (y[i] - at[0]) ** 2
        for j in range(nx):
            if surface[i, j] > best and abs(x[j]) <= reach_x and away_y + (x[j] - at[1]) ** 2 > apart:
                best, best_i, best_j = surface[i, j], i, j
    return best, best_i, best_j
