"""Launches of ``kernels/features.cu``: what `_features_kernels` does, for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.errors import InputError

Array = Any
LANES, GROUPS, EACH = 32, 8, 4
"""Block of threads along x and the axis that is filtered, and values that a thread makes along it."""
SHARED_BYTES = 48 * 1024


def smooth(grey: Array, kernels: tuple[Array, ...]) -> Array:
    """Gaussian mean of `grey` (z, y, x), float32."""
    plane = _before_last(grey[None], kernels, 0)
    return plane[0] if _flat(kernels) else _along(plane[0], kernels[0], 0, (1, len(grey), grey[0].size))[0]


def derivative_features(grey: Array, kernels: tuple[Array, ...], slots: tuple[int, ...], out: Array) -> None:
    """Fill features of one scale; see `_features_kernels`."""
    _end("derivative_features", _before_last(grey[None], kernels, 2), kernels, out, slots)


def tensor_features(
    grey: Array, inner: tuple[Array, ...], outer: tuple[Array, ...], slot: int, out: Array
) -> None:
    """Fill the eigenvalues of the structure tensor, from `slot` on; see `_features_kernels`."""
    xp = namespace(grey)
    products = xp.empty((3 if _flat(inner) else 6, *grey.shape), xp.float32)
    _end("gradient_products", _before_last(grey[None], inner, 1), inner, products, ())
    _end("tensor_features", _before_last(products, outer, 0), outer, out[slot:], ())


def _flat(kernels: tuple[Array, ...]) -> bool:
    """Whether slices stand alone."""
    return kernels[0].shape[1] == 1


def _before_last(source: Array, kernels: tuple[Array, ...], top: int) -> Array:
    """Filter fields along x and y, in slices that stand alone only along x where the last kernel takes y."""
    xp = namespace(source)
    _, nz, ny, nx = source.shape
    ...


def _table(array: Array, kernel: np.ndarray[Any, Any]) -> Array:
    """Taps as the kernels want them, (taps, 4)."""
    taps = np.zeros((kernel.shape[1], 4), np.float32)
    taps[:, :3] = kernel.T
    return like(array, taps)
