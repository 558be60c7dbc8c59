"""What of a suspected stripe field may be called stripes, octave by octave across the stripes."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import fft, namespace, to_host

Array = Any
Float = NDArray[np.float64]
SIGNIFICANCE = 5.0
"""Standard errors by which the power of an octave must exceed what structure and noise show."""
LAG_ROWS = (64, 64, 96, 96, 128)
"""Distance along the stripes over which they must still be the same, by octave from the finest; the last for all
coarser. Fine structure wanders off sooner, and a small error of the direction tells sooner."""
FINE_OCTAVES = 2
"""Octaves that pass only together with a coarser one."""
COHERENCE = 0.3
"""Least share of the excess power that must be the same at that distance; columnar structure wanders off."""
TINY = float(np.finfo(np.float64).tiny)


def keep_stripes(bands: Array, null: Array, length_px: float, band_rows: int) -> tuple[Array, float]:
    """Scale each octave of `bands` (band, x) to its share of stripes; also the stripe index.

    An octave passes when its power exceeds that of `null` (band, y), the same estimate made across the stripes
    (spectral subtraction), and when the excess is coherent along the stripes.

    Parameters
    ----------
    bands, null
        Profiles across and along the stripes, smoothed over `length_px` (standard deviation).
    band_rows
        Rows from one band to the next.
    """
    spectrum = fft(bands).dct(bands, axis=1, norm="ortho")
    power, count = _octave_means(spectrum, spectrum)
    null_spectrum = fft(null).dct(null, axis=1, norm="ortho")
    floor, floor_count = _octave_means(null_spectrum, null_spectrum)
    octaves = min(len(power), len(floor))
    power, floor, count, floor_count = power[:octaves], floor[:octaves], count[:octaves], floor_count[:octaves]
    independent = 2 * np.sqrt(np.pi) * length_px / band_rows
    samples = count * max(1.0, len(spectrum) / independent)
    floor_samples = floor_count * max(1.0, len(null) / independent)

    limit = floor * (1 + SIGNIFICANCE * np.sqrt(2 / samples + 2 / floor_samples))
    excess = np.minimum(1 - floor / np.maximum(power, TINY), (power - limit) / np.maximum(floor, TINY))
    coherence = _with_neighbours(_coherence(spectrum, power - floor, length_px / band_rows, band_rows), samples)
    steady = np.clip((coherence - COHERENCE - 1 / np.sqrt(samples)) / 0.15, 0, 1)
    steady[:FINE_OCTAVES] *= steady[FINE_OCTAVES:].max(initial=0)
    index = float((power / np.maximum(limit, TINY) * steady).max())
    gain = np.clip(excess, 0, 1) * steady * (index > 1)
    return _weighted_octaves(spectrum, gain), index


def _octave_means(a: Array, b: Array) -> tuple[Float, NDArray[np.int64]]:
    """Mean (octave,) of the product of two cosine spectra, finest octave first, and the coefficients in each."""
    product = to_host(namespace(a).einsum("ij,ij->j", a, b)).astype(np.float64) / len(a)
    n = len(product)
    edges = [n >> j for j in range(n.bit_length()) if n >> j >= 4]
    return np.array([product[low:high].mean() for high, low in pairwise(edges)]), -np.diff(edges)


def _coherence(spectrum: Array, excess: Float, sigma: float, band_rows: int) -> Float:
    """Share (octave,) of the excess power that is the same farther along, beyond what the smoothing shares."""
    bands, octaves = len(spectrum), len(excess)
    rows = (*LAG_ROWS, *(LAG_ROWS[-1],) * octaves)[:octaves]
    lags = [max(1, min(r // band_rows, bands // 3)) for r in rows]
    common = {lag: _octave_means(spectrum[lag:], spectrum[:-lag])[0] for lag in set(lags)}
    share = np.array([common[lag][j] for j, lag in enumerate(lags)])
    share = np.divide(share, excess, out=np.zeros_like(excess), where=excess > TINY)
    by_smoothing = np.exp(-((np.array(lags) / sigma) ** 2) / 4)
    return np.clip((share - by_smoothing) / (1 - by_smoothing), -1, 1)


def _with_neighbours(values: Float, samples: Float) -> Float:
    """Mean of each octave with the next finer and coarser one, by samples."""
    near = [slice(max(0, j - 1), j + 2) for j in range(len(values))]
    return np.array([values[n] @ samples[n] / samples[n].sum() for n in near])


def _weighted_octaves(spectrum: Array, gain: Float) -> Array:
    """Profiles of a cosine spectrum whose octaves are scaled by `gain` (octave,), with smooth transitions."""
    xp = namespace(spectrum)
    n = spectrum.shape[1]
    octave = np.clip(np.log2(n / np.maximum(np.arange(n), 0.5)) - 0.5, 0, len(gain) - 1)
    curve = np.interp(octave, np.arange(len(gain)), gain)
    curve[0] = 0
    return fft(spectrum).idct(spectrum * xp.asarray(curve, dtype=xp.float32), axis=1, norm="ortho")
