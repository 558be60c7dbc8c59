"""Two detectors of the same slices blended for least noise."""

from typing import Any, NamedTuple

import numpy as np

from fibtomo.backend.array import as_array, namespace, to_host
from fibtomo.errors import InputError
from fibtomo.ops.noise import estimate_noise

Array = Any
_LEAST_CORRELATION = 0.5


class Blend(NamedTuple):
    """How the second channel is laid on the first: ``first_weight * A + second_weight * (gain * B + offset)``.

    Attributes
    ----------
    gain, offset
        Bring the greys of the second channel to those of the first; a negative gain turns its contrast over.
    weights
        Of both channels, with sum 1; (1, 0) where the two do not show the same contrast.
    noise
        Standard deviation (grey levels of the first) of both channels, and of the blend.
    correlation
        Of the signals, noise taken off, -1 to 1.
    """

    gain: float
    offset: float
    weights: tuple[float, float]
    noise: tuple[float, float, float]
    correlation: float


def measure_blend(first: Array, second: Array) -> Blend:
    """Match of greys and weights of two channels.

    The gain is the slope of the second signal over the first, the variance of the noise taken off (errors in
    variables); the weights are the inverse variances of the noise once the greys are matched, which is the ratio of
    the squared signal-to-noise ratios.

    Parameters
    ----------
    first, second
        (z, y, x) slices, NumPy or CuPy; a few are enough.

    Raises
    ------
    InputError
        The channels differ in shape or are not (z, y, x).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phase = (rng.random((2, 32, 32)) < 0.4).repeat(6, axis=1).repeat(6, axis=2)
    >>> a = 100.0 + 60 * phase + rng.normal(0, 12, phase.shape)
    >>> b = 90.0 - 30 * phase + rng.normal(0, 3, phase.shape)
    >>> found = measure_blend(a, b)
    >>> round(found.gain), [round(w, 1) for w in found.weights]
    (-2, [0.2, 0.8])
    """
    first, second = as_array(first), as_array(second)
    if first.ndim != 3 or first.shape != second.shape:
        raise InputError(f"channels of shape {first.shape} and {second.shape} must be (z, y, x) and alike")
    xp = namespace(first)
    noise_a, noise_b = (float(np.sqrt(np.mean(estimate_noise(c) ** 2))) for c in (first, second))
    a, b = (c.astype(xp.float32) for c in (first, second))
    mean_a, mean_b = (float(to_host(c.mean(dtype=xp.float64))) for c in (a, b))
    a, b = a - np.float32(mean_a), b - np.float32(mean_b)
    product = [float(to_host((u * v).mean(dtype=xp.float64))) for u, v in ((a, a), (b, b), (a, b))]
    signal_a, signal_b = (max(p - n**2, 0.0) for p, n in zip(product[:2], (noise_a, noise_b), strict=True))
    scale = np.sqrt(signal_a * signal_b)
    correlation = float(np.clip(product[2] / scale, -1, 1)) if scale > 0 else 0.0
    if abs(correlation) < _LEAST_CORRELATION:
        return Blend(1.0, 0.0, (1.0, 0.0), (noise_a, noise_b, noise_a), correlation)
    gain = signal_a / product[2]
    matched = abs(gain) * noise_b
    total = noise_a**2 + matched**2
    weight = matched**2 / total if total > 0 else 0.5
    left = float(np.hypot(weight * noise_a, (1 - weight) * matched))
    return Blend(gain, mean_a - gain * mean_b, (weight, 1 - weight), (noise_a, matched, left), correlation)


def blend_channels(first: Array, second: Array, how: Blend | None = None) -> tuple[Array, Blend]:
    """Blend of two channels, as float32, in the greys of the first, and how it was made.

    Parameters
    ----------
    first, second
        (z, y, x) slices, NumPy or CuPy.
    how
        Result of `measure_blend`, so that all slabs of a stack are blended alike; measured if not given.

    Raises
    ------
    InputError
        The channels differ in shape or are not (z, y, x).
    """
    first, second = as_array(first), as_array(second)
    how = how or measure_blend(first, second)
    if first.shape != second.shape:
        raise InputError(f"channels of shape {first.shape} and {second.shape} must be alike")
    xp = namespace(first)
    a, b = how.weights
    share, shift = np.float32(b * how.gain), np.float32(b * how.offset)
    return np.float32(a) * first.astype(xp.float32) + (share * second.astype(xp.float32) + shift), how
