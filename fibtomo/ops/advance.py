"""How far slices lie apart, in pixels, if the specimen is isotropic: from the decay of likeness along z.

A wave of frequency q in the plane of the slices stays alike over Δ as the covariance C of the structure has it:
S(q, Δ) is the two-dimensional transform of C(√(ρ² + Δ²)) over ρ, and C itself follows from S(q, 0), the spectrum of a
single slice. The measured decay of every wave is compared with that; neither noise nor the beam takes part in it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.correlation import pair_shift
from fibtomo.ops.spectra import make_band, slice_spectrum
from fibtomo.ops.tile_spectra import Tiles, noise_level

Float = NDArray[np.float64]

_LEAST_CONFIDENCE = 0.5
_HIGHEST = 0.3  # cycles per pixel
_BAND = 2.0  # typical frequencies up to which waves are compared
_STEP_PX, _REACH, _TAPER = 0.5, 0.3, 0.15  # of the covariance: sampling, and tiles up to which it counts
_LEAST_SHARE, _LEAST_LIKENESS = 0.15, 0.2
_AMPLITUDE = 0.85, 1.1
_STEPS_PX = np.geomspace(0.1, 12.0, 240)
_FEWEST_LAGS = 2
_FEWEST_RUNS = 2
_FEW_RUNS_ERROR = 0.2
_MODEL_ERROR = 0.12


def cross_power(
    run: Sequence[Any], spectra: Sequence[Any], tiles: Tiles
) -> tuple[list[Float | None], list[tuple[float, float]]]:
    """Mean power over tiles, and mean aligned cross power of slices 1, 2, … apart, of consecutive slices.

    Parameters
    ----------
    run
        Slices (y, x).
    spectra
        Of their tiles, from `tile_spectra`.
    tiles
        From `make_tiles`.

    Returns
    -------
    power
        Arrays (size, size // 2 + 1); the first without the noise; ``None`` where no pair could be aligned.
    steps_px
        (dy, dx) from slice to slice, of the pairs of neighbours that could be aligned.
    """
    shifts = _shifts(run)
    sums: list[list[Float]] = [[] for _ in run]
    for i in range(len(run)):
        power = (np.abs(spectra[i]) ** 2).mean(axis=0, dtype=np.float64)
        sums[0].append(power - noise_level(power, tiles))
    for (i, j), shift in shifts.items():
        dy, dx = (2 * np.pi * v / tiles.binning for v in shift)
        turn = np.exp(1j * (tiles.fy * dy + tiles.fx * dx)).astype(np.complex64)
        sums[j - i].append((np.conj(spectra[i]) * spectra[j] * turn).real.mean(axis=0, dtype=np.float64))
    steps = [shift for (i, j), shift in shifts.items() if j == i + 1]
    return [np.mean(parts, axis=0) if parts else None for parts in sums], steps


def _shifts(run: Sequence[Any]) -> dict[tuple[int, int], tuple[float, float]]:
    """Shift from slice i to slice j by (i, j): measured, or that of the steps between where they are too unlike."""
    band = make_band(run[0].shape)
    whole = [slice_spectrum(image, band) for image in run]
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for lag in range(1, len(run)):
        for i in range(len(run) - lag):
            pair, middle = pair_shift(whole[i], whole[i + lag], band), i + lag - 1
            if pair.confidence >= _LEAST_CONFIDENCE:
                found[i, i + lag] = pair.shift_px
            elif lag > 1 and (i, middle) in found and (middle, i + lag) in found:
                (y, x), (dy, dx) = found[i, middle], found[middle, i + lag]
                found[i, i + lag] = y + dy, x + dx
    return found


def measure_advance(
    runs: Sequence[Sequence[Float | None]], tiles: Tiles, ratio: float, skew: float, wavelength_px: float
) -> tuple[float, float] | None:
    """Advance per slice in columns as stored, and its standard deviation (jackknife over runs, and of the model).

    Parameters
    ----------
    runs
        From `cross_power`, one for each run.
    tiles
        From `make_tiles`.
    ratio, skew
        Shape of structures in the plane; see `Isotropy`.
    wavelength_px
        Typical wavelength, binned pixels.

    Returns
    -------
    tuple or None
        ``None`` where slices are too unlike to tell, or hardly change.
    """
    lags = min(len(run) for run in runs)
    useful = [m for m in range(lags) if all(run[m] is not None for run in runs)]
    if len(useful) <= _FEWEST_LAGS or useful != list(range(len(useful))):
        return None
    rings = _Rings(tiles, ratio, skew)
    values = np.array([[rings.mean(np.asarray(run[m])) for m in useful] for run in runs])
    comparison = _Comparison(rings, tiles.size, wavelength_px)
    step = comparison.step(values.mean(axis=0))
    if step is None:
        return None
    left_out = range(len(runs)) if len(runs) > _FEWEST_RUNS else ()
    parts = [comparison.step(np.delete(values, k, axis=0).mean(axis=0)) for k in left_out]
    known = np.array([part for part in parts if part is not None])
    if len(known) < len(parts):
        return None
    scatter = np.sqrt((len(known) - 1) * known.var()) if len(known) else _FEW_RUNS_ERROR * step
    return step * tiles.binning, float(np.hypot(scatter, _MODEL_ERROR * step)) * tiles.binning


class _Rings:
    """Frequencies of equal length in the plane of the specimen, one period per tile wide."""

    def __init__(self, tiles: Tiles, ratio: float, skew: float) -> None:
        square = tiles.fx**2 + 2 * skew * tiles.fx * tiles.fy + (ratio * tiles.fy) ** 2
        radius = np.sqrt(np.maximum(square, 0))
        edges = np.arange(1.0 / tiles.size, _HIGHEST, 1.0 / tiles.size)
        self.keep = tiles.usable & (radius >= edges[0]) & (radius < edges[-1])
        self.ring = np.searchsorted(edges, radius[self.keep], side="right") - 1
        self.samples = np.bincount(self.ring, minlength=len(edges) - 1)
        self.filled = self.samples > 0
        self.centres = (edges[1:] + edges[:-1])[self.filled] / 2

    def mean(self, values: Float) -> Float:
        """Mean of `values` on every ring that has frequencies."""
        sums = np.bincount(self.ring, values[self.keep], minlength=len(self.samples))
        return np.asarray(sums[self.filled] / self.samples[self.filled])


class _Comparison:
    """Measured decay of rings beside that of isotropic structure of the same spectrum."""

    def __init__(self, rings: _Rings, size: int, wavelength_px: float) -> None:
        from scipy.special import j0

        self.rings = rings
        self.use = rings.centres < _BAND / wavelength_px
        self.rho = np.arange(_STEP_PX / 2, (_REACH + _TAPER) * size, _STEP_PX)
        fade = ((self.rho / size - _REACH) / _TAPER).clip(0, 1)
        self.taper = 0.5 + 0.5 * np.cos(np.pi * fade)
        self.fine = np.arange(0.25, _HIGHEST * size, 0.5) / size
        self.to_covariance = j0(2 * np.pi * np.outer(self.rho, self.fine)) * self.fine
        self.to_ring = j0(2 * np.pi * np.outer(rings.centres[self.use], self.rho)) * self.rho

    def step(self, values: Float) -> float | None:
        """Likeliest advance in binned pixels from ring means (lags, rings)."""
        power = np.maximum(values[0], 0.0)
        if np.count_nonzero(power[self.use]) < 3:
            return None
        covariance = self.to_covariance @ np.interp(self.fine, self.rings.centres, power)
        covariance = covariance / covariance[0] * self.taper
        own = self.to_ring @ covariance
        floor = 1e-6 * power.max()
        likeness = np.where(power[self.use] > floor, values[1:, self.use] / np.maximum(power[self.use], floor), 0.0)
        weight = self.rings.samples[self.rings.filled][self.use] * (own > _LEAST_SHARE * own.max())
        weight = weight * (likeness > _LEAST_LIKENESS)
        if not weight.any():
            return None
        misfits = np.array([self._misfit(step, covariance, own, likeness, weight) for step in _STEPS_PX])
        best = int(misfits.argmin())
        return float(_STEPS_PX[best]) if 0 < best < len(_STEPS_PX) - 1 else None

    def _misfit(self, step: float, covariance: Float, own: Float, likeness: Float, weight: Float) -> float:
        lags = np.arange(1, len(likeness) + 1)
        shifted = [np.interp(np.hypot(self.rho, step * m), self.rho, covariance, right=0.0) for m in lags]
        expected = np.array([self.to_ring @ c for c in shifted]) / np.where(own > 0, own, np.inf)
        scale = (weight * expected * likeness).sum() / max((weight * expected**2).sum(), 1e-30)
        return float((weight * (likeness - np.clip(scale, *_AMPLITUDE) * expected) ** 2).sum())
