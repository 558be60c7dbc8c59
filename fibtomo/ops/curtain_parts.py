"""What the iterative removers of curtains share: where structure is, how noisy a plane is, what is long and narrow.

All of them see the plane with its curtains upright, as `fibtomo.ops.stripe_frame.in_stripe_frame` sets it.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import fft, like, namespace, ndimage
from fibtomo.backend.kernels import twin
from fibtomo.ops.noise import estimate_noise
from fibtomo.ops.stripe_frame import loops
from fibtomo.ops.stripe_steps import EDGE_CUT, EDGE_SIGMA_PX, half_gaussian

Float = Any
"""float32 array of either kind."""
Spans = NDArray[np.int64]

LEAST_NOISE = 0.05
"""Noise is taken to be at least this share of the standard deviation of the grey values; it sets the steps, too."""
ROUNDING = 1e-6
"""Share of the range of grey values that is no difference."""
NEGLIGIBLE = 1e-3
"""Share of the largest weight below which a row of a spectrum is left out."""


def frame_spans(shape: tuple[int, int], columns: int, slope: float) -> Spans:
    """Columns [first, end) of each row of an upright plane that come from the plane it was made from.

    Parameters
    ----------
    shape
        (y, x) of the upright plane, which is widened by the same number of columns left and right.
    columns
        Width of the plane it was made from.
    slope
        Columns per row by which the stripes lean to the right on their way down.

    Returns
    -------
    numpy.ndarray
        (y, 2).

    Examples
    --------
    >>> frame_spans((3, 8), 4, -1.0).tolist()
    [[1, 5], [2, 6], [3, 7]]
    >>> frame_spans((2, 4), 4, 0.1).tolist()
    [[0, 4], [0, 4]]
    """
    ny, width = shape
    if width == columns:
        return np.tile(np.array([0, columns]), (ny, 1))
    start = (width - columns) / 2 - slope * (np.arange(ny) - (ny - 1) / 2)
    first = np.clip(np.ceil(start), 0, width)
    return np.stack([first, np.clip(np.floor(start + columns - 1) + 1, first, width)], axis=1).astype(np.int64)


def clipped(grey: Float) -> Any:
    """Where nothing varies within two pixels: the detector clips there, and neither noise nor curtains are seen.

    Examples
    --------
    >>> clipped(np.array([[0, 0, 0, 0, 0, 3, 1]] * 5, np.float32))[0].tolist()
    [True, True, True, False, False, False, False]
    """
    xp = namespace(grey)
    least = ROUNDING * xp.ptp(grey)
    same = xp.ones(grey.shape, np.uint8)
    same[:, 1:] = xp.abs(xp.diff(grey, axis=1)) <= least
    same[1:] &= xp.abs(xp.diff(grey, axis=0)) <= least
    if bool(same[1:, 1:].any()):
        same = ndimage(grey).minimum_filter(same, 5)
    return same > 0 if bool(same[1:, 1:].any()) else xp.zeros(grey.shape, np.bool_)


def inside_weight(grey: Float, spans: Spans | None) -> Float:
    """1 where a pixel (y, x) and its right and lower neighbours lie inside the spans, and grey values vary, else 0."""
    seen = ~clipped(grey)
    if spans is not None:
        x, columns = namespace(grey).arange(grey.shape[1]), like(grey, spans)
        seen &= (x >= columns[:, :1]) & (x < columns[:, 1:] - 1)
        seen[:-1] &= seen[1:]
    return seen.astype(np.float32)


def noise_level(upright: Float, spans: Spans | None) -> float:
    """Standard deviation of the noise of a (y, x) plane inside its spans, in grey units; above 0."""
    part = upright
    if spans is not None and spans[:, 1].min() - spans[:, 0].max() >= 16:
        part = upright[:, spans[:, 0].max() : spans[:, 1].min()]
    sigma = float(estimate_noise(part)[0]) if min(part.shape) >= 3 else 0.0
    return max(sigma, LEAST_NOISE * float(part.std()), float(np.finfo(np.float32).tiny ** 0.5))


def flatness(grey: Float, inside: Float) -> Float:
    """Weight (y, x) from 1 where nothing but noise varies down to 0 on the edges of structure and where `inside` is 0.

    Tukey's biweight of the smoothed gradient. Its scale is that of the quiet part of the plane: the magnitude of noise
    is Rayleigh distributed; the median starts, and repeated clipping leaves structure out.
    """
    xp = namespace(grey)
    gx, gy = loops(grey).gradients(grey, *(like(grey, taps) for taps in half_gaussian(EDGE_SIGMA_PX)))
    square = gx * gx + gy * gy
    sample = square[::3, ::3][inside[::3, ::3] > 0]
    variance = float(xp.median(sample)) / 1.3863 if len(sample) else 0.0
    for _ in range(4):
        quiet = sample[sample < 6.25 * variance]
        variance = min(variance, 0.6 * float(quiet.mean()) if len(quiet) else 0.0)
    square /= -(EDGE_CUT**2) * max(variance, float(np.finfo(np.float32).tiny))
    square += 1
    xp.maximum(square, 0, out=square)
    square *= square
    square *= inside
    return square


@lru_cache(maxsize=32)
def cosines(n: int, count: int) -> NDArray[np.float32]:
    """The first `count` rows (count, n) of the orthonormal cosine transform (DCT-II), not to be written to."""
    k, y = np.arange(count)[:, None], np.arange(n)
    basis = np.sqrt(2 / n) * np.cos(np.pi * k * (y + 0.5) / n)
    basis[0] /= np.sqrt(2)
    basis = basis.astype(np.float32)
    basis.flags.writeable = False
    return basis


def cycles(n: int) -> NDArray[np.float64]:
    """Cycles per pixel of the coefficients (n,) of a cosine transform."""
    return np.arange(n) / (2 * n)


def long_and_narrow(field: Float, length_px: float, width_px: float) -> Float:
    """Smooth a (y, x) field over `length_px` rows (standard deviation), and take off what is wider than `width_px`.

    Examples
    --------
    >>> stripes = np.tile(np.sin(np.arange(64)), (64, 1)).astype(np.float32)
    >>> bool(np.abs(long_and_narrow(stripes, 20, 60) - stripes).max() < 0.03)
    True
    >>> float(np.abs(long_and_narrow(stripes.T.copy(), 20, 60)).max().round(2))
    0.0
    """
    (ny, nx), transforms, products = field.shape, fft(field), twin(__package__, "curtain", like=field)
    along = np.exp(-((2 * np.pi * cycles(ny) * length_px) ** 2) / 2)
    along = along[along > NEGLIGIBLE].astype(np.float32)
    across = (1 - np.exp(-((2 * cycles(nx) * width_px) ** 2))).astype(np.float32)
    basis, out = like(field, cosines(ny, len(along))), namespace(field).empty((ny, nx), np.float32)
    spectrum = transforms.dct(products.into_basis(basis, field), axis=1, norm="ortho")
    spectrum = spectrum * like(field, along[:, None]) * like(field, across)
    products.from_basis(basis, transforms.idct(spectrum, axis=1, norm="ortho"), out)
    return out
