"""Loops behind `fibtomo.ops.slice_pixels` on the CPU.

Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def binned_mean(image: Array, b: int) -> Array:
    rows, cols = image.shape[0] // b, image.shape[1] // b
    out = np.zeros((rows, cols), np.float32)
    for i in range(rows):
        line = np.zeros(cols, np.float64)
        for k in range(i * b, (i + 1) * b):
            for j in range(cols):
                total = 0.0
                for m in range(j * b, (j + 1) * b):
                    total += image[k, m]
                line[j] += total
        for j in range(cols):
            out[i, j] = line[j] / (b * b)
    return out


@_compiled
def varying_lines(image: Array) -> tuple[Array, Array]:
    ny, nx = image.shape
    rows, cols = np.zeros(ny, np.bool_), np.zeros(nx, np.bool_)
    for i in range(ny):
        for j in range(1, nx):
            if image[i, j] != image[i, 0]:
                rows[i] = True
                break
    left = nx
    for i in range(1, ny):
        for j in range(nx):
            if not cols[j] and image[i, j] != image[0, j]:
                cols[j] = True
                left -= 1
        if left == 0:
            break
    return rows, cols


@_compiled
def repeated_pixels(image: Array, previous: Array) -> tuple[int, int]:
    varies, same = 0, 0
    for i in range(image.shape[0]):
        for j in range(1, image.shape[1]):
            differs = image[i, j] != image[i, j - 1]
            varies += differs
            same += differs & (image[i, j] == previous[i, j])
    return varies, same


@_compiled
def windowed(image: Array, wy: Array, wx: Array) -> tuple[Array, Array]:
    ny, nx = image.shape
    out, profile = np.empty((ny, nx), np.float32), np.zeros(nx, np.float64)
    line = np.zeros(nx, np.float32)
    for i in range(ny):
        weight = wy[i]
        row = out[i]
        for j in range(nx):
            grey = np.float32(image[i, j])
            row[j] = grey * wx[j]
            line[j] += weight * grey
        if i % 64 == 63 or i == ny - 1:
            for j in range(nx):
                profile[j] += line[j]
                line[j] = 0
    return out, profile


@_compiled
def rows_of_same_noise(image: Array, previous: Array, step: int, same: float) -> tuple[int, int]:
    """Sampled rows that vary in both slices, and those whose second differences along x are as alike as `same`."""
    varies = alike = 0
    for y in range(0, image.shape[0], step):
        aa = bb = ab = 0.0
        for x in range(2, image.shape[1]):
            a = np.float64(image[y, x]) - 2.0 * np.float64(image[y, x - 1]) + np.float64(image[y, x - 2])
            b = np.float64(previous[y, x]) - 2.0 * np.float64(previous[y, x - 1]) + np.float64(previous[y, x - 2])
            aa += a * a
            bb += b * b
            ab += a * b
        size = (aa * bb) ** 0.5
        if size > 0:
            varies += 1
            alike += ab > same * size
    return varies, alike
