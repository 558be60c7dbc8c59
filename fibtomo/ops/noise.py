"""Noise of slices: its level, how it grows with the grey value, and the transform that makes it uniform."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, namespace, ndimage, to_host
from fibtomo.backend.kernels import twin
from fibtomo.core.volume import Table
from fibtomo.errors import InputError

Array = Any
BLOCK_PX = 6
STEEPEST = 5.0
"""Sum of squares that a block's slope may explain, of its variance; 2 is what noise makes on average."""
MOST_BLOCKS = 16384
"""Blocks of one slice that are looked at, about."""
SLAB = 8
"""Slices looked at together."""
GREY_BINS = 64
OCTAVES, BINS_PER_OCTAVE = 30, 8
"""Variances are counted from 2⁻³⁰ to 1 of the squared grey range."""
UNIFORM_WITHIN = 0.15
"""A variance that changes less than this share over the greys that occur counts as uniform."""
DARKEST = 2 * np.sqrt(3 / 8)
"""Stabilised grey of no electron at all."""


def estimate_noise(array: Array) -> NDArray[np.float64]:
    """Standard deviation of white noise on each slice.

    The difference of two Laplacians answers neither to planes nor to straight edges along the axes; its median
    absolute value leaves out what structure remains.

    Parameters
    ----------
    array
        (z, y, x) slices or one (y, x) slice, at least 3 × 3 pixels, NumPy or CuPy.

    Returns
    -------
    numpy.ndarray
        (z,) standard deviations in grey units; (1,) for one slice.

    References
    ----------
    J. Immerkær, Comput. Vis. Image Underst. 64 (1996) 300, doi:10.1006/cviu.1996.0060 (kernel); median instead of
    mean after Donoho and Johnstone, Biometrika 81 (1994) 425, doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> steps = 100.0 * (np.arange(256) // 16 % 2)
    >>> [float(round(v, 1)) for v in estimate_noise(steps + rng.normal(0, 5, (2, 256, 256)))]
    [5.0, 5.0]
    """
    xp, nd = namespace(array), ndimage(array)
    kernel = xp.asarray([1.0, -2.0, 1.0], dtype=xp.float32)
    planes = array[None] if array.ndim == 2 else array
    sigma = [np.zeros(0)]
    for start in range(0, len(planes), SLAB):
        part = planes[start : start + SLAB].astype(xp.float32)
        second = nd.correlate1d(nd.correlate1d(part, kernel, axis=1), kernel, axis=2)[:, 1:-1, 1:-1]
        sigma.append(to_host(xp.median(xp.abs(second).reshape(len(part), -1), axis=1)).astype(np.float64))
    return np.concatenate(sigma) / (6 * 0.67449)


@dataclass(frozen=True)
class NoiseModel:
    """Variance of the noise as a straight line of the grey value: Poisson statistics and amplifier noise.

    Attributes
    ----------
    gain
        Variance per grey value: greys per electron. Negative where the contrast was inverted, 0 for uniform noise.
    variance_at_zero
        Variance of the line at grey 0, grey²; negative where the detector has an offset.
    greys
        Darkest and brightest grey at which noise was seen.

    Examples
    --------
    >>> model = NoiseModel(gain=0.5, variance_at_zero=4.0, greys=(0.0, 255.0))
    >>> [float(s) for s in model.sigma([0.0, 42.0])]
    [2.0, 5.0]
    >>> electrons = np.random.default_rng(0).poisson(60, 100000)
    >>> seen = 0.5 * electrons + np.random.default_rng(1).normal(0, 2, electrons.shape)
    >>> level = model.stabilise(seen)
    >>> round(float(level.std()), 2), round(float(model.restore(level.mean())), 1)
    (1.0, 30.0)
    """

    gain: float
    variance_at_zero: float
    greys: tuple[float, float]

    @property
    def silent(self) -> bool:
        """Whether there is no noise."""
        return not max(self.variance(np.array(self.greys))) > 0

    def variance(self, grey: Any) -> NDArray[np.float64]:
        """Variance, grey², at grey values; those beyond `greys` count as the nearest of them."""
        clipped = np.clip(np.asarray(grey, dtype=np.float64), *self.greys)
        return np.maximum(self.gain * clipped + self.variance_at_zero, 0.0)

    def sigma(self, grey: Any) -> NDArray[np.float64]:
        """Standard deviation at grey values."""
        return np.sqrt(self.variance(grey))

    @property
    def typical_sigma(self) -> float:
        """Standard deviation at the middle of `greys`."""
        return float(self.sigma(sum(self.greys) / 2))

    def stabilise(self, array: Array) -> Array:
        """Greys whose noise has standard deviation 1 everywhere (generalised Anscombe transform), float32.

        References
        ----------
        J.-L. Starck, F. Murtagh, A. Bijaoui, Image Processing and Data Analysis, Cambridge (1998), ch. 2.
        """
        xp = namespace(array)
        values = array.astype(xp.float32)
        if self.gain == 0:
            return values * np.float32(1 / max(np.sqrt(max(self.variance_at_zero, 0.0)), 1e-30))
        electrons = values * np.float32(1 / self.gain)
        electrons += np.float32(self.variance_at_zero / self.gain**2 + 3 / 8)
        return xp.sqrt(xp.maximum(electrons, 0, out=electrons), out=electrons) * np.float32(np.sign(self.gain) * 2)

    def restore(self, level: Array) -> Array:
        """Mean greys of mean stabilised greys: the unbiased inverse, not the algebraic one, float32.

        References
        ----------
        M. Mäkitalo, A. Foi, IEEE Trans. Image Process. 22 (2013) 91, doi:10.1109/TIP.2012.2202675 (closed form).
        """
        xp = namespace(level)
        values = xp.asarray(level, dtype=xp.float32)
        if self.gain == 0:
            return values * np.float32(np.sqrt(max(self.variance_at_zero, 0.0)))
        d = xp.maximum(values * np.float32(np.sign(self.gain)), np.float32(DARKEST))
        root, inverse = np.float32(np.sqrt(1.5)), 1 / d
        tail = inverse * (root / 4 + inverse * (np.float32(-11 / 8) + inverse * (root * np.float32(5 / 8))))
        electrons = d * d / 4 + tail - np.float32(1 / 8)
        return np.float32(self.gain) * electrons - np.float32(self.variance_at_zero / self.gain)

    def to_table(self) -> Table:
        """Plain numbers that `from_table` takes."""
        return {"gain": self.gain, "variance_at_zero": self.variance_at_zero, "greys": list(self.greys)}

    @classmethod
    def from_table(cls, table: Table) -> "NoiseModel":
        """Read what `to_table` wrote."""
        low, high = (float(v) for v in table["greys"])
        return cls(float(table["gain"]), float(table["variance_at_zero"]), (low, high))

    @classmethod
    def uniform(cls, sigma: float) -> "NoiseModel":
        """Noise of one standard deviation at all greys."""
        return cls(0.0, float(sigma) ** 2, (0.0, 0.0))


def estimate_noise_model(array: Array, mask: Array | None = None) -> NoiseModel:
    """Fit how the variance of the noise grows with the grey value.

    Means and variances of many small blocks, each less its own slope, are sorted by grey; a straight line is laid
    through those that hold noise only, which lie lowest. Noise may be correlated over a pixel or two, as it is after
    interpolation: the whole variance is found, a few percent low.

    Parameters
    ----------
    array
        (z, y, x) slices or one (y, x) slice, at least 6 × 6 pixels, NumPy or CuPy.
    mask
        Same shape; false where there is no specimen. NaN is left out anyway.

    Returns
    -------
    NoiseModel
        Variance over grey.

    Raises
    ------
    InputError
        The slices are smaller than one block, or neither 2-D nor 3-D.

    References
    ----------
    A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, IEEE Trans. Image Process. 17 (2008) 1737,
    doi:10.1109/TIP.2008.2001399 (model and idea; blocks instead of level sets).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> steps = np.repeat([32.0, 128.0], 64) + np.zeros((4, 128, 1))
    >>> model = estimate_noise_model(0.5 * rng.poisson(steps / 0.5))
    >>> round(model.gain, 1), [float(round(s, 0)) for s in model.sigma([32, 128])]
    (0.5, [4.0, 8.0])
    """
    planes = as_array(array)
    planes = planes[None] if planes.ndim == 2 else planes
    if planes.ndim != 3 or min(planes.shape[1:]) < BLOCK_PX:
        raise InputError(f"array of shape {planes.shape} must hold slices of at least {BLOCK_PX} × {BLOCK_PX} pixels")
    masks = None if mask is None else (mask if mask.ndim == 3 else mask[None])
    low, high = _range(planes, masks)
    counts, _ = count_blocks(planes, (low, high), masks)
    return fit_counts(counts, (low, high))


def _range(planes: Array, masks: Array | None) -> tuple[float, float]:
    """Least and greatest finite grey."""
    xp, low, high = namespace(planes), np.inf, -np.inf
    for start in range(0, len(planes), SLAB):
        part = planes[start : start + SLAB]
        known = xp.isfinite(part) if masks is None else xp.isfinite(part) & masks[start : start + SLAB]
        least, most = (xp.where(known, part, np.float32(void)) for void in (np.inf, -np.inf))
        low, high = min(low, float(least.min())), max(high, float(most.max()))
    return (low, high) if high > low else (min(low, 0.0), min(low, 0.0) + 1.0)


def count_blocks(planes: Array, greys: tuple[float, float], mask: Array | None = None) -> tuple[NDArray[np.int64], int]:
    """Count the blocks of each slice by mean grey and log variance: (grey, variance) whole numbers, summable.

    Blocks that touch a masked or void pixel, or hold no noise, do not count. The second number is of those whose grey
    lies outside `greys`.
    """
    stride = max(BLOCK_PX // 2, int(np.sqrt(planes.shape[1] * planes.shape[2] / MOST_BLOCKS)))
    found: tuple[NDArray[np.int64], int] = twin(__package__, "noise", like=planes).count_blocks(
        planes, mask, greys, stride
    )
    return found


def fit_counts(counts: NDArray[np.int64], greys: tuple[float, float]) -> NoiseModel:
    """Noise model of summed `count_blocks`, all made with the same `greys`."""
    from fibtomo.ops.noise_fit import fit_line

    span = greys[1] - greys[0]
    mean = (np.arange(GREY_BINS) + 0.5) / GREY_BINS
    variance = 2.0 ** ((np.arange(counts.shape[1]) + 0.5) / BINS_PER_OCTAVE - OCTAVES)
    slope, intercept, (low, high) = fit_line(counts, mean, variance)
    gain, at_zero = slope * span, intercept * span**2 - slope * span * greys[0]
    seen = (greys[0] + span * low, greys[0] + span * high)
    ends = gain * np.array(seen) + at_zero
    if abs(ends[1] - ends[0]) < UNIFORM_WITHIN * ends.mean():
        gain, at_zero = 0.0, float(ends.mean())
    return NoiseModel(gain, at_zero, seen)
