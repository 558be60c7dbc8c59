"""Shift between two slices: weighted cross-correlation that measures how far it can be trusted, or refuses.

The coherence γ of the two spectra is measured on rings; every ring then counts with γ²/(1 − γ²), the
maximum-likelihood weight of delay estimation. Noise and structure that changes from slice to slice both lower γ, so
the same number sets the weights and the uncertainty of the shift.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import fft, namespace, to_host
from fibtomo.ops.spectra import HIGHEST, Band, SliceSpectrum, ring_sums

Float = NDArray[np.float64]

_MAX_COHERENCE2 = 0.98
_NEWTON_STEPS = 6
_LOBE_PX = 8.0  # a peak farther than this from the highest one is its rival
_LEAST_PERIOD_PX = 12.0


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
        return alike * _ramp(self.significance, 4.5, 6.5) * _ramp(self.disagreement, 6.0, 4.0)


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
    cross = a.values.conj() * b.values
    mean_power = np.sqrt(np.maximum(a.power * b.power, 1e-30)) / band.samples
    independent = _independent_fraction(a, b, band)
    reach = _reach(band, max_shift_px)
    shift = _peak(correlation_surface(_weighted(cross, 1 / np.sqrt(mean_power), band), band), band, reach)
    for _ in range(2):
        coherence = ring_sums(_turned(cross, shift, band), band) / band.samples / mean_power
        squared = _trusted(coherence, band.samples * independent)
        if not squared.any():
            return REFUSED
        weighted = _weighted(cross, np.sqrt(squared) / (1 - squared) / mean_power, band)
        shift = _climb(weighted, shift, a, b, band)
    surface = correlation_surface(weighted, band)
    highest = _peak(surface, band, reach)
    if np.abs(highest - shift).max() > 1 / HIGHEST:
        shift = _climb(weighted, highest, a, b, band)
    fisher = 2 * independent * squared / (1 - squared) * band.squares
    turned = _turned(weighted, shift, band)
    height = float(turned.sum())
    rival, rival_shift = _rival(surface, shift, height, band, reach)
    spread = (float((abs(weighted) ** 2).sum()) / 2 / independent) ** 0.5
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
        disagreement=_disagreement(weighted, shift, fisher, (a, b), band),
        rival_px=_pixels(rival_shift - shift, band),
        roundness=_roundness(turned, band),
    )


def _pixels(binned: Float, band: Band) -> tuple[float, float]:
    return float(binned[0]) * band.binning, float(binned[1]) * band.binning


def _reach(band: Band, max_shift_px: float | None) -> tuple[float, float]:
    """Largest shift looked for, binned pixels; a third of the slice leaves enough overlap to judge."""
    limit = np.inf if max_shift_px is None else max(max_shift_px / band.binning, 1.0)
    return min(limit, band.shape[0] / 3), min(limit, band.shape[1] / 3)


def _weighted(cross: Any, per_ring: Float, band: Band) -> Any:
    weights = namespace(cross).asarray(np.append(per_ring, 0.0), dtype=np.float32)
    return cross * weights[band.ring].reshape(cross.shape)


def phase_turns(shift: Float, band: Band, xp: Any) -> tuple[Any, Any]:
    """Phase factors along the rows and columns of the spectrum that undo a `shift` (dy, dx) in binned pixels."""
    y, x = (
        xp.asarray(np.exp(2j * np.pi * f * s), dtype=np.complex64)
        for f, s in zip((band.freq_y, band.freq_x), shift, strict=True)
    )
    return y, x


def _turned(cross: Any, shift: Float, band: Band) -> Any:
    """Real part of the cross spectrum once `shift` is undone."""
    y, x = phase_turns(shift, band, namespace(cross))
    return (cross * y[:, None] * x).real


def correlation_surface(weighted: Any, band: Band) -> Any:
    """Correlation on the coarse grid of shifts, zero shift first."""
    return fft(weighted).irfft2(weighted, s=band.grid_shape)


def _grid(band: Band) -> tuple[Float, Float]:
    """Shifts in binned pixels along either axis of the correlation surface."""
    y, x = (np.fft.fftfreq(g) * n for g, n in zip(band.grid_shape, band.fft_shape, strict=True))
    return y, x


def _peak(surface: Any, band: Band, reach: tuple[float, float]) -> Float:
    xp = namespace(surface)
    y, x = _grid(band)
    inside = xp.asarray((np.abs(y) <= reach[0])[:, None] & (np.abs(x) <= reach[1]))
    iy, ix = divmod(int(xp.where(inside, surface, -xp.inf).argmax()), surface.shape[1])
    return np.array([y[iy], x[ix]])


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


def _climb(weighted: Any, start: Float, a: SliceSpectrum, b: SliceSpectrum, band: Band) -> Float:
    """Go to the maximum of J(s)/R(s) near `start`: J the weighted correlation, R the overlap of the windows."""
    xp = namespace(weighted)
    wy, wx = 2 * np.pi * band.freq_y, 2 * np.pi * band.freq_x
    slope = _overlap_slope(start, a, b)
    shift = start
    for _ in range(_NEWTON_STEPS):
        y, x = (np.exp(1j * w * s) for w, s in zip((wy, wx), shift, strict=True))
        factors = xp.asarray(np.stack([x, wx * x, wx**2 * x]), dtype=np.complex64)
        # sums instead of a matrix product: small BLAS calls from many threads cost more than they save
        rows = to_host(xp.stack([(weighted * f).sum(axis=1) for f in factors])).astype(np.complex128)
        moment = np.array([[(rows[j] * wy**i * y).sum() for j in range(3)] for i in range(3)])
        gradient = -np.array([moment[1, 0].imag, moment[0, 1].imag]) - moment[0, 0].real * slope
        hyy, hxx, hxy = moment[2, 0].real, moment[0, 2].real, moment[1, 1].real
        hessian = np.array([[hyy, hxy], [hxy, hxx]])
        if hyy <= 0 or hyy * hxx <= hxy * hxy:  # not yet on the cap of the peak: plain uphill step
            hessian = np.diag(np.abs([hyy, hxx]) + 1e-12)
        step = np.clip(np.linalg.solve(hessian, gradient), -1.5, 1.5)
        shift = shift + step
        if np.abs(step).max() < 1e-3:
            break
    return shift


def _roundness(turned: Any, band: Band) -> float:
    """Smaller over larger curvature of the peak, along its principal directions."""
    wy, wx = 2 * np.pi * band.freq_y, 2 * np.pi * band.freq_x
    power = to_host(turned).astype(np.float64)
    rows = power.sum(axis=1), (power * wx).sum(axis=1), (power * wx**2).sum(axis=1)
    yy, yx, xx = (rows[0] * wy**2).sum(), (rows[1] * wy).sum(), rows[2].sum()
    low, high = np.linalg.eigvalsh([[yy, yx], [yx, xx]])
    return float(np.clip(low / max(high, 1e-30), 0, 1))


def _rival(surface: Any, shift: Float, height: float, band: Band, reach: tuple[float, float]) -> tuple[float, Float]:
    """Height of the highest other peak, relative to this one, and its shift."""
    xp = namespace(surface)
    y, x = _grid(band)
    outside = (y[:, None] - shift[0]) ** 2 + (x - shift[1]) ** 2 > _LOBE_PX**2
    outside &= (np.abs(y) <= reach[0])[:, None] & (np.abs(x) <= reach[1])
    if not outside.any():
        return 0.0, shift
    others = xp.where(xp.asarray(outside), surface, -xp.inf)
    iy, ix = divmod(int(others.argmax()), surface.shape[1])
    highest = float(others[iy, ix]) * surface.size / 2
    return max(0.0, highest) / max(height, 1e-30), np.array([y[iy], x[ix]])


def _disagreement(
    weighted: Any, shift: Float, fisher: Float, pair: tuple[SliceSpectrum, SliceSpectrum], band: Band
) -> float:
    """Distance of the two half-band shifts; 0 where all the information lies on one side."""
    total = np.cumsum(fisher.sum(axis=0))
    upper = np.arange(band.rings) > int(np.searchsorted(total, total[-1] / 2))
    if fisher[:, upper].sum() < 0.1 * total[-1]:
        return 0.0
    shifts = [_climb(_weighted(weighted, half.astype(float), band), shift, *pair, band) for half in (~upper, upper)]
    variance = sum(1 / np.maximum(fisher[:, half].sum(axis=1), 1e-12) for half in (~upper, upper)) + 0.05**2
    return float(np.max(np.abs(shifts[0] - shifts[1]) / np.sqrt(variance)))
