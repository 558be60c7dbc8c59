"""Shift between two slices: weighted cross-correlation that measures how far it can be trusted, or refuses.

The coherence γ of the two spectra is measured on rings; every ring then counts with γ²/(1 − γ²), the
maximum-likelihood weight of delay estimation. Noise and structure that changes from slice to slice both lower γ, so
the same number sets the weights and the uncertainty of the shift.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import fft, to_host
from fibtomo.backend.kernels import twin
from fibtomo.ops.spectra import HIGHEST, Band, SliceSpectrum

Float = NDArray[np.float64]

_MAX_COHERENCE2 = 0.98
_NEWTON_STEPS = 6
_LONGEST_STEP = 1.5
_STILL_PX = 0.004  # Newton squares what is left after such a step
_LINEAR_PX = 0.1  # up to here one Newton step gives the shift of half the band
_LOBE_PX = 8.0  # a peak farther than this from the highest one is its rival
_LEAST_PERIOD_PX = 12.0
_NEARER = 0.75
_AS_GOOD = 0.9  # height from which on another peak is as good as the highest


@dataclass(frozen=True)
class PairShift:
    """Motion of the content from one slice to another.

    Attributes
    ----------
    shift_px
        (dy, dx) in pixels of the unbinned slice.
    sigma_px
        (dy, dx) standard deviations that noise and changing structure leave.
    coherence
        Likeness of the two slices, 0 to 1, over the waves longer than `wavelength_px`, which stand above the noise.
    wavelength_px
        Length of the structure they share: half of the common power lies at longer waves.
    significance
        Height of the correlation peak in standard deviations of an unrelated pair.
    rival
        Highest other peak, relative to this one.
    disagreement
        Distance between the shifts from the lower and the upper half of the band, in their standard deviations.
    rival_px
        (dy, dx) from this peak to the other one.
    roundness
        1 where the shift is known equally well in all directions, 0 where only one direction is known (lamellae).
    """

    shift_px: tuple[float, float]
    sigma_px: tuple[float, float]
    coherence: float
    wavelength_px: float
    significance: float
    rival: float
    disagreement: float
    rival_px: tuple[float, float] = (0.0, 0.0)
    roundness: float = 1.0

    @property
    def confidence(self) -> float:
        """0 (refused) to 1; the limits lie between the true and the false locks of phantoms."""
        return _ramp(self.significance, 7.0, 10.0) * _ramp(self.rival, 0.75, 0.5) * _ramp(self.disagreement, 6.0, 4.0)

    @property
    def periodic_confidence(self) -> float:
        """Confidence up to a step from peak to peak: that of a lattice, whose few waves agree almost perfectly."""
        if np.hypot(*self.rival_px) < _LEAST_PERIOD_PX:
            return 0.0
        alike = _ramp(self.coherence, 0.8, 0.9) * _ramp(self.roundness, 0.1, 0.3)
        return alike * _ramp(self.significance, 3.5, 5.0) * _ramp(self.disagreement, 6.0, 4.0)


REFUSED = PairShift((0.0, 0.0), (np.inf, np.inf), 0.0, 0.0, 0.0, 1.0, np.inf, (0.0, 0.0), 0.0)


def _ramp(value: float, zero: float, one: float) -> float:
    return float(np.clip((value - zero) / (one - zero), 0.0, 1.0))


def pair_shift(a: SliceSpectrum, b: SliceSpectrum, band: Band, max_shift_px: float | None = None) -> PairShift:
    """Measure where the content of `a` went in `b`.

    The weights are those of Hannan & Thomson for the delay between two noisy records, with coherence and power
    averaged over rings; the peak is found on a coarse surface and refined by Newton steps on the exact trigonometric
    sum, so that no interpolation biases it. The slope of the windows' overlap, which pulls towards no motion, is
    taken out.

    Parameters
    ----------
    a, b
        From `slice_spectrum` with the same band.
    band
        The frequencies in use.
    max_shift_px
        Largest shift along either axis that is looked for; ``None`` is a third of the slice.

    Returns
    -------
    PairShift
        With confidence 0 where the peak does not stand out, has a rival or the two halves of the band disagree.

    References
    ----------
    Hannan & Thomson 1973, J. Am. Stat. Assoc. 68:173; Knapp & Carter 1976, IEEE Trans. ASSP 24:320.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> from fibtomo.ops.spectra import make_band, slice_spectrum
    >>> scene = gaussian_filter(np.random.default_rng(0).normal(size=(140, 140)), 2)
    >>> band = make_band((128, 128))
    >>> first, second = (slice_spectrum(scene[s : s + 128, :128], band) for s in (5, 2))
    >>> pair = pair_shift(first, second, band)
    >>> [round(v) for v in pair.shift_px], pair.confidence
    ([3, 0], 1.0)
    """
    if not (a.power.sum() > 0 and b.power.sum() > 0):
        return REFUSED
    cross, square = twin(__package__, "ring", a.values).cross_spectrum(a.values, b.values, band.ring, band.rings)
    mean_power = np.sqrt(np.maximum(a.power * b.power, 1e-30)) / band.samples
    independent = _independent_fraction(a, b, band)
    reach = _reach(band, max_shift_px)
    shift = _peak(correlation_surface(_weighted(cross, 1 / np.sqrt(mean_power), band), band), band, reach)
    slope = _overlap_slope(shift, a, b)
    rings = ring_moments(cross, shift, band)
    for _ in range(2):
        coherence, squared = _coherence(rings, mean_power, independent, band)
        if not squared.any():
            return REFUSED
        weights = np.sqrt(squared) / (1 - squared) / mean_power
        shift, rings = _climb(cross, weights, shift, rings, slope, band)
    surface = correlation_surface(_weighted(cross, weights, band), band)
    highest = _peak(surface, band, reach)
    if np.abs(highest - shift).max() > 1 / HIGHEST:
        slope = _overlap_slope(highest, a, b)
        shift, rings = _climb(cross, weights, highest, ring_moments(cross, highest, band), slope, band)
    height = float(weights @ rings[0])
    rival, rival_shift = _rival(surface, shift, height, band, reach)
    # a lattice: of equal peaks the one next to rest is meant
    while rival > _AS_GOOD and np.abs(shift).max() > _LOBE_PX:
        box = _NEARER * float(np.abs(shift).max())
        near = _peak(surface, band, (min(box, reach[0]), min(box, reach[1])))
        slope_there = _overlap_slope(near, a, b)
        near, rings_there = _climb(cross, weights, near, ring_moments(cross, near, band), slope_there, band)
        value = float(weights @ rings_there[0])
        if value < _AS_GOOD * height or np.abs(near).max() > box:
            break
        shift, rings, slope, height = near, rings_there, slope_there, value
        rival, rival_shift = _rival(surface, shift, height, band, reach)
    fisher = 2 * independent * squared / (1 - squared) * band.squares
    spread = (float(weights**2 @ square) / 2 / independent) ** 0.5
    power = mean_power * band.samples
    common = np.cumsum(np.clip(coherence, 0, 1) * power)
    middle = int(np.searchsorted(common, common[-1] / 2))
    radius = np.sqrt(band.squares[:, middle].sum() / band.samples[middle]) / (2 * np.pi)
    return PairShift(
        shift_px=_pixels(shift, band),
        sigma_px=_pixels(1 / np.sqrt(np.maximum(fisher.sum(axis=1), 1e-12)), band),
        coherence=float(np.clip(np.average(coherence[: middle + 1], weights=power[: middle + 1]), 0, 1)),
        wavelength_px=float(band.binning / radius),
        significance=height / max(spread, 1e-30),
        rival=rival,
        disagreement=_disagreement(cross, weights, shift, rings, fisher, slope, band),
        rival_px=_pixels(rival_shift - shift, band),
        roundness=_roundness(weights, rings),
    )


def _pixels(binned: Float, band: Band) -> tuple[float, float]:
    return float(binned[0]) * band.binning, float(binned[1]) * band.binning


def _reach(band: Band, max_shift_px: float | None) -> tuple[float, float]:
    """Largest shift looked for, binned pixels; a third of the slice leaves enough overlap to judge."""
    limit = np.inf if max_shift_px is None else max(max_shift_px / band.binning, 1.0)
    return min(limit, band.shape[0] / 3), min(limit, band.shape[1] / 3)


def _weighted(cross: Any, per_ring: Float, band: Band) -> Any:
    return twin(__package__, "ring", cross).weighted(cross, band.ring, np.append(per_ring, 0.0).astype(np.float32))


def ring_moments(cross: Any, shift: Float, band: Band) -> Float:
    """Sums over each ring of the cross spectrum R + iI once a `shift` in binned pixels is undone.

    Returns
    -------
    array
        (6, rings) on the host: R, −I·wy, −I·wx, R·wy², R·wy·wx, R·wx² with w = 2π f, the value of the correlation, its
        gradient and its negative curvature.
    """
    wy, wx = (2 * np.pi * f for f in (band.freq_y, band.freq_x))
    turns = phase_turns(shift, band)
    return np.asarray(twin(__package__, "ring", cross).moments(cross, band.ring, band.rings, *turns, wy, wx))


def phase_turns(shift: Float, band: Band) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Phase factors along the rows and columns of the spectrum that undo a `shift` (dy, dx) in binned pixels."""
    y, x = (
        np.exp(2j * np.pi * f * s).astype(np.complex64) for f, s in zip((band.freq_y, band.freq_x), shift, strict=True)
    )
    return y, x


def correlation_surface(weighted: Any, band: Band) -> Any:
    """Correlation on the coarse grid of shifts, zero shift first."""
    return fft(weighted).irfft2(weighted, s=band.grid_shape)


@lru_cache(maxsize=16)
def _grid(band: Band) -> tuple[Float, Float]:
    """Shifts in binned pixels along either axis of the correlation surface."""
    y, x = (np.fft.fftfreq(g) * n for g, n in zip(band.grid_shape, band.fft_shape, strict=True))
    return y, x


def _highest(
    surface: Any, band: Band, reach: tuple[float, float], at: Float, apart_px: float
) -> tuple[float, tuple[int, int]]:
    """Height and indices of the highest point within reach, farther than `apart_px` from `at`; −inf without any."""
    loops = twin(__package__, "ring", surface)
    value, iy, ix = loops.highest(surface, *_grid(band), *reach, at, apart_px * abs(apart_px))
    return float(value), (int(iy), int(ix))


def _peak(surface: Any, band: Band, reach: tuple[float, float]) -> Float:
    """Shift of the highest point, between the points of the grid by the parabola through its neighbours."""
    _, place = _highest(surface, band, reach, np.zeros(2), -1.0)
    shift = np.zeros(2)
    for axis, (grid, n) in enumerate(zip(_grid(band), surface.shape, strict=True)):
        index = [[place[0]] * 3, [place[1]] * 3]
        index[axis] = [(place[axis] + step) % n for step in (-1, 0, 1)]
        below, here, above = to_host(surface[tuple(index)]).astype(np.float64)
        bend = 2 * here - below - above
        part = 0.5 * (above - below) / bend if bend > 0 else 0.0
        shift[axis] = grid[place[axis]] + np.clip(part, -0.5, 0.5) * (grid[1] - grid[0])
    return shift


def _coherence(rings: Float, mean_power: Float, independent: float, band: Band) -> tuple[Float, Float]:
    coherence = rings[0] / band.samples / mean_power
    return coherence, _trusted(coherence, band.samples * independent)


def _trusted(coherence: Float, samples: Float) -> Float:
    """Squared coherence per ring, smoothed and freed of its bias; 0 where it is not significant."""
    smooth = np.convolve(np.pad(coherence, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    squared = np.clip((smooth**2 - 1 / samples) / np.maximum(1 - 1 / samples, 1e-3), 0, _MAX_COHERENCE2)
    return np.where(smooth * np.sqrt(samples) > 2, squared, 0.0)


def _independent_fraction(a: SliceSpectrum, b: SliceSpectrum, band: Band) -> float:
    """Independent frequencies per frequency of the padded, windowed transform."""
    fraction = 1.0
    for wa, wb, n in zip(a.windows, b.windows, band.fft_shape, strict=True):
        product = wa * wb
        fraction *= product.sum() ** 2 / max((product**2).sum(), 1e-12) / n
    return max(float(fraction), 1e-3)


def _overlap_slope(shift: Float, a: SliceSpectrum, b: SliceSpectrum) -> Float:
    """Derivative of ln(overlap of the windows) by the shift along y and x."""
    slope = np.zeros(2)
    for axis in (0, 1):
        wa, wb = a.windows[axis], b.windows[axis]
        at = np.arange(len(wb), dtype=np.float64)
        ahead, behind = (float((np.interp(at + shift[axis] + h, at, wb, 0, 0) * wa).sum()) for h in (0.5, -0.5))
        slope[axis] = 2 * (ahead - behind) / max(ahead + behind, 1e-9)
    return slope


def _step(weights: Float, rings: Float, slope: Float) -> Float:
    """Newton step towards the maximum of J(s)/R(s): J the weighted correlation, R the overlap of the windows."""
    value, gy, gx, hyy, hyx, hxx = rings @ weights
    gradient = np.array([gy, gx]) - value * slope
    if hyy <= 0 or hyy * hxx <= hyx * hyx:  # not yet on the cap of the peak: plain uphill step
        step = gradient / (np.abs([hyy, hxx]) + 1e-12)
    else:
        step = np.array([hxx * gradient[0] - hyx * gradient[1], hyy * gradient[1] - hyx * gradient[0]])
        step /= hyy * hxx - hyx * hyx
    return np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)


def _climb(cross: Any, weights: Float, start: Float, rings: Float, slope: Float, band: Band) -> tuple[Float, Float]:
    """Go from `start`, where the moments are `rings`, to the maximum nearby; return it with its moments."""
    shift = start
    for _ in range(_NEWTON_STEPS):
        step = _step(weights, rings, slope)
        shift = shift + step
        if np.abs(step).max() < _STILL_PX:
            break
        rings = ring_moments(cross, shift, band)
    return shift, rings


def _roundness(weights: Float, rings: Float) -> float:
    """Smaller over larger curvature of the peak, along its principal directions."""
    yy, yx, xx = rings[3:] @ weights
    low, high = np.linalg.eigvalsh([[yy, yx], [yx, xx]])
    return float(np.clip(low / max(high, 1e-30), 0, 1))


def _rival(surface: Any, shift: Float, height: float, band: Band, reach: tuple[float, float]) -> tuple[float, Float]:
    """Height of the highest other peak, relative to this one, and its shift."""
    value, (iy, ix) = _highest(surface, band, reach, shift, _LOBE_PX)
    if not np.isfinite(value):
        return 0.0, shift
    y, x = _grid(band)
    return max(0.0, value * surface.size / 2) / max(height, 1e-30), np.array([y[iy], x[ix]])


def _disagreement(
    cross: Any, weights: Float, shift: Float, rings: Float, fisher: Float, slope: Float, band: Band
) -> float:
    """Distance of the two half-band shifts; 0 where all the information lies on one side."""
    total = np.cumsum(fisher.sum(axis=0))
    upper = np.arange(band.rings) > int(np.searchsorted(total, total[-1] / 2))
    if fisher[:, upper].sum() < 0.1 * total[-1]:
        return 0.0
    shifts = []
    for half in (~upper, upper):
        step = _step(weights * half, rings, slope)
        far = np.abs(step).max() > _LINEAR_PX
        shifts.append(_climb(cross, weights * half, shift, rings, slope, band)[0] if far else shift + step)
    variance = sum(1 / np.maximum(fisher[:, half].sum(axis=1), 1e-12) for half in (~upper, upper)) + 0.05**2
    return float(np.max(np.abs(shifts[0] - shifts[1]) / np.sqrt(variance)))
