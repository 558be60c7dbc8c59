"""Interpolation taps: which samples, with which weights, make the value at a position between samples.

Both backends gather with the tables made here, so the choice of kernel, the edges, uneven slice positions and
anti-aliasing are defined once. Kernels: linear; cubic convolution with a = -1/2 (Keys 1981,
https://doi.org/10.1109/TASSP.1981.1163711); Lanczos with three lobes (Duchon 1979); nearest for labels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace

Float = NDArray[np.float64]

_SNAP = 1e-7
"""Positions this near to a sample are that sample, so that rounding cannot blur an identity map."""

PHASES = 1024
"""Places between two samples at which `phase_table` holds exact weights."""

_MAX_NOISE_GAIN = 1.25
"""Largest sum of squared slice weights allowed for the sake of exact parabolas."""


@dataclass(frozen=True)
class Kernel:
    """An interpolation kernel of compact support.

    Attributes
    ----------
    radius
        Half width of the support, in samples.
    weight
        Value at an array of offsets inside the support.
    degree
        Polynomials up to this degree are reproduced exactly, whatever the spacing.
    widens
        Whether the kernel is widened when the target is coarser than the source (labels must not mix).
    """

    radius: float
    weight: Callable[[Any], Any]
    degree: int
    widens: bool = True


def _keys(t: Any) -> Any:
    xp, t = namespace(t), abs(t)
    return xp.where(t < 1, (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2)


def _lanczos3(t: Any) -> Any:
    xp = namespace(t)
    return xp.sinc(t) * xp.sinc(t / 3)


KERNELS = {
    "nearest": Kernel(0.5, lambda t: t * 0 + 1, 0, widens=False),
    "linear": Kernel(1, lambda t: 1 - abs(t), 1),
    "cubic": Kernel(2, _keys, 2),
    "lanczos3": Kernel(3, _lanczos3, 2),
}


def axis_taps(position: Any, count: int, step: float, kernel: Kernel) -> tuple[Any, Any]:
    """Taps along an axis of evenly spaced samples.

    Parameters
    ----------
    position
        (..., m) float64 positions in samples; those outside [0, count - 1] take the edge sample.
    count
        Number of samples.
    step
        Samples from one target position to the next; above 1 the kernel is widened by it.
    kernel
        One of `KERNELS`.

    Returns
    -------
    first, weight
        (..., m) int32 first sample, and (..., taps, m) float32 weights of it and those after it, all inside the axis.
    """
    xp = namespace(position)
    position = _snap(xp.clip(position, 0, count - 1))
    scale = max(1.0, step) if kernel.widens else 1.0
    index = _window(position, count, kernel.radius * scale, kernel.radius * scale)
    offset = index - position
    *_, weight = _reproduce(*_weigh(offset / scale, kernel), offset, min(kernel.degree, 1))
    return index[0].astype(xp.int32), xp.ascontiguousarray(xp.moveaxis(weight, 0, -2), dtype=xp.float32)


def phase_table(step: float, kernel: Kernel) -> tuple[NDArray[np.float32], int]:
    """Weights for positions between two samples, for gathers whose positions differ from voxel to voxel.

    Parameters
    ----------
    step, kernel
        As for `axis_taps`, whose weights away from the edges these are.

    Returns
    -------
    table, lead
        (2, `PHASES` + 1, taps) float32 weights at 0, 1 / `PHASES`, ... 1 samples beyond a sample, to be interpolated
        linearly: first as used away from the edges, then as the kernel has them, to be cut at an edge and corrected;
        and how many samples before that sample the first tap lies. Nearest has one tap.
    """
    if kernel.radius < 1:
        return np.ones((2, PHASES + 1, 1), dtype=np.float32), 0
    scale = max(1.0, step) if kernel.widens else 1.0
    first = floor(-kernel.radius * scale) + 1
    offset = np.arange(first, ceil(1 + kernel.radius * scale))[:, None] - np.linspace(0, 1, PHASES + 1)
    raw, *_, weight = _reproduce(*_weigh(offset / scale, kernel), offset, min(kernel.degree, 1))
    return np.ascontiguousarray(np.stack([weight.T, raw.T]), dtype=np.float32), -first


def slice_taps(z: Float, z_slices: Float, kernel: Kernel) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Taps along the milling axis, whose samples may be unevenly spaced.

    Parameters
    ----------
    z
        (m,) target positions, one unit apart; those before the first or after the last slice take that slice.
    z_slices
        (n,) ascending positions of the usable slices.
    kernel
        One of `KERNELS`; widened where slices lie denser than target positions.

    Returns
    -------
    index, weight
        (m, taps) positions in `z_slices` and float32 weights; where a weight is 0 the index repeats another one.
    """
    count = len(z_slices)
    samples = np.arange(count)
    position = _snap(np.interp(z, z_slices, samples))
    scale = slices_per_step(z, z_slices, kernel)
    index = _window(position, count, kernel.radius * scale, kernel.radius * float(scale.max(initial=1.0)))
    offset = z_slices[index.astype(np.int64)] - np.interp(position, samples, z_slices)
    best, *better = list(_reproduce(*_weigh((index - position) / scale, kernel), offset, kernel.degree))[-2:]
    for weight in better:
        best = np.where((weight**2).sum(axis=0) <= _MAX_NOISE_GAIN, weight, best)
    main = np.take_along_axis(index, best.argmax(axis=0)[None], axis=0)
    return (
        np.ascontiguousarray(np.where(best == 0, main, index).T, dtype=np.int64),
        np.ascontiguousarray(best.T, dtype=np.float32),
    )


def slices_per_step(z: Float, z_slices: Float, kernel: Kernel) -> Float:
    """Factor (m,), at least 1, by which `kernel` is widened at target positions `z` among slices at `z_slices`."""
    count = len(z_slices)
    if count == 1 or not kernel.widens:
        return np.ones(len(z))
    z = np.clip(z, z_slices[0], z_slices[-1])
    low, high = np.maximum(z - 0.5, z_slices[0]), np.minimum(z + 0.5, z_slices[-1])
    below, above = np.interp([low, high], z_slices, np.arange(count))
    density = (above - below) / (high - low)
    return np.where(density > 1 + _SNAP, density, 1.0)


def _snap(position: Any) -> Any:
    xp = namespace(position)
    nearest = xp.rint(position)
    return xp.where(abs(position - nearest) < _SNAP, nearest, position)


def _window(position: Any, count: int, reach: Any, widest: float) -> Any:
    """Indices (taps, ...) of the samples nearer than `reach`, moved inside [0, count)."""
    xp = namespace(position)
    taps = min(max(1, ceil(2 * widest)), count)
    first = xp.clip(xp.floor(position - reach) + 1, 0, count - taps)
    return first + xp.arange(taps).reshape(-1, *(1,) * position.ndim)


def _weigh(t: Any, kernel: Kernel) -> tuple[Any, Any]:
    """Normalised weights of samples at offsets `t`, and how freely each may be corrected (a tent, 0 outside)."""
    xp = namespace(t)
    weight = xp.where((t > -kernel.radius) & (t <= kernel.radius), kernel.weight(t), 0.0)
    weight = xp.where(abs(weight) < _SNAP**2, 0.0, weight)
    return weight / weight.sum(axis=0), xp.maximum(kernel.radius - abs(t), 0.0)


def _reproduce(weight: Any, trust: Any, offset: Any, degree: int) -> Iterator[Any]:
    """Yield `weight` corrected to reproduce polynomials of `offset` up to degree 0, 1, ... `degree`.

    Each step adds the smallest change, in the norm weighted by 1 / `trust`, that makes the next polynomial
    orthogonal to the lower ones exact at offset 0. It is nothing where the kernel is exact already.
    """
    xp = namespace(weight)
    yield weight
    basis = [(xp.ones_like(offset), 1.0, trust.sum(axis=0))]
    for power in range(1, degree + 1):
        values, at_zero = offset**power, 0.0
        for lower, lower_at_zero, norm in basis:
            part = (trust * values * lower).sum(axis=0) / norm
            values, at_zero = values - part * lower, at_zero - part * lower_at_zero
        norm = (trust * values * values).sum(axis=0)
        norm = xp.where(norm > _SNAP**2, norm, xp.inf)
        basis.append((values, at_zero, norm))
        weight = weight + trust * values * ((at_zero - (weight * values).sum(axis=0)) / norm)
        yield weight
