"""Launches of ``kernels/features.cu``: what `_features_kernels` does, for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.errors import InputError

Array = Any
Core = tuple[slice, slice, slice]
LANES, GROUPS, EACH = 32, 8, 4
"""Block of threads along x and the axis that is filtered, and values that a thread makes along it."""
BLOCK = (LANES, GROUPS, 1)
SHARED_BYTES = 48 * 1024


def smooth(grey: Array, kernels: tuple[Array, ...], core: Core) -> Array:
    """Gaussian mean of `grey` (z, y, x) in the window `core` of it, float32."""
    fields = _before_last(grey[None], kernels, 0)
    out = namespace(grey).empty_like(grey)
    _along(fields, out, _last(kernels), 0, _axis(grey.shape, kernels))
    return namespace(grey).ascontiguousarray(out[core])


def derivative_features(
    grey: Array, kernels: tuple[Array, ...], slots: tuple[int, ...], out: Array, core: Core
) -> None:
    """Fill features of one scale; see `_features_kernels`."""
    fields = _before_last(grey[None], kernels, 2)
    if out.shape[1:] == grey.shape:
        _end("derivative_features", fields, kernels, out, slots)
        return
    room = namespace(grey).empty((5 if _flat(kernels) else 6, *grey.shape), grey.dtype)
    places = tuple(k if slot >= 0 else -1 for k, slot in enumerate(slots))
    _end("derivative_features", fields, kernels, room, places)
    for k, slot in enumerate(slots):
        if slot >= 0:
            wide = len(room) - k if k == len(slots) - 1 else 1
            out[slot : slot + wide] = room[k : k + wide, *core]


def tensor_features(
    grey: Array, inner: tuple[Array, ...], outer: tuple[Array, ...], slot: int, out: Array, wide: Core, core: Core
) -> None:
    """Fill the eigenvalues of the structure tensor, from `slot` on; see `_features_kernels`."""
    xp, count = namespace(grey), 3 if _flat(inner) else 6
    products = xp.empty((count, *grey.shape), grey.dtype)
    _end("gradient_products", _before_last(grey[None], inner, 1), inner, products)
    products = xp.ascontiguousarray(products[:, *wide])
    axes = 2 if _flat(inner) else 3
    room = out[slot:] if out.shape[1:] == products.shape[1:] else xp.empty((axes, *products.shape[1:]), grey.dtype)
    _end("tensor_features", _before_last(products, outer, 0), outer, room)
    if room.shape[1:] != out.shape[1:]:
        out[slot : slot + axes] = room[:, *core]


def _flat(kernels: tuple[Array, ...]) -> bool:
    """Whether slices stand alone."""
    return kernels[0].shape[1] == 1


def _last(kernels: tuple[Array, ...]) -> Array:
    """Kernel of the axis that comes last: z, or y where slices stand alone."""
    return kernels[1] if _flat(kernels) else kernels[0]


def _axis(shape: tuple[int, ...], kernels: tuple[Array, ...]) -> tuple[int, int, int]:
    """Elements outside, along and inside the axis that comes last."""
    nz, ny, nx = shape
    return (nz, ny, nx) if _flat(kernels) else (1, nz, ny * nx)


def _before_last(source: Array, kernels: tuple[Array, ...], top: int) -> Array:
    """Derivatives up to order `top` of `source` (fields, z, y, x) along the axes before the last, one after another."""
    xp = namespace(source)
    count, nz, ny, nx = source.shape
    columns = xp.empty((top + 1, *source.shape), xp.float32)
    taps, radius = _taps(source, kernels[2])
    threads = (count * nz, ny, -(-nx // (LANES * EACH)) * LANES)
    args = (source, columns, taps, radius, top, ny, nx, np.int64(source.size))
    shared = 4 * GROUPS * (LANES * EACH + 2 * radius)
    launch(load_kernel("features"), "along_x", threads, args, block=BLOCK, shared_bytes=_fitting(shared))
    if not _flat(kernels):
        fields = xp.empty(((top + 1) * (top + 2) // 2, *source.shape), xp.float32)
        position = 0
        for order in range(top + 1):
            _along(columns[order], fields[position:], kernels[1], top - order, (count * nz, ny, nx))
            position += top + 1 - order
        columns = fields
    return columns.reshape(-1, nz, ny, nx)


def _along(field: Array, out: Array, kernel: Array, top: int, axis: tuple[int, int, int]) -> None:
    """Fill ``out[k]`` with the derivative of order k ≤ `top` of a field that is seen as (outer, n, inner), along n."""
    outer, n, inner = axis
    taps, radius = _taps(field, kernel)
    args = (field, out, taps, radius, top, n, inner, np.int64(field.size))
    threads = (outer, -(-n // EACH), inner)
    launch(load_kernel("features"), "along_y", threads, args, block=BLOCK, shared_bytes=_column_bytes(radius))


def _end(function: str, fields: Array, kernels: tuple[Array, ...], out: Array, slots: tuple[int, ...] = ()) -> None:
    """Filter all fields along the last axis and fill what `function` makes of them."""
    outer, n, inner = _axis(fields.shape[1:], kernels)
    taps, radius = _taps(fields, _last(kernels))
    args = (fields, out, taps, radius, int(not _flat(kernels)), n, inner, np.int64(outer * n * inner), *slots)
    threads = (outer, -(-n // EACH), inner)
    launch(load_kernel("features"), function, threads, args, block=BLOCK, shared_bytes=_column_bytes(radius))


def _taps(array: Array, kernel: np.ndarray[Any, Any]) -> tuple[Array, int]:
    """Taps of a kernel, (taps, 4), on the device of `array`, and its radius."""
    taps = np.zeros((kernel.shape[1], 4), np.float32)
    taps[:, :3] = kernel.T
    return like(array, taps), kernel.shape[1] // 2


def _column_bytes(radius: int) -> int:
    return _fitting(4 * LANES * (GROUPS * EACH + 2 * radius))


def _fitting(shared_bytes: int) -> int:
    if shared_bytes > SHARED_BYTES:
        raise InputError("a scale is too coarse for the card; bin the volume or drop scales beyond about 55 voxels")
    return shared_bytes
