"""Grey levels of the phases, found in histograms whose phase fractions differ.

A slice (or a region) shows every phase at an affine copy of its usual grey, but in its own proportion. Matching mean
and standard deviation would take a change of porosity for a change of brightness; matching the positions of the phase
peaks with free heights does not. The peaks are a Gaussian mixture, fitted by expectation-maximisation (Dempster, Laird
and Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x) with a flat component for edges and outliers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
OUTLIER_SHARE = 0.02
"""Weight of the flat component at the start."""
CORE_SIGMA = 2.5
"""Half width of a peak's core, in standard deviations."""
CORE_VARIANCE = 0.529
"""Variance that the core shows of a normal distribution of variance 1."""

FAINT = 1e-3
"""Weight of an expected gain over that of what a histogram says."""


@dataclass(frozen=True)
class Histograms:
    """Histograms with their own bins.

    Attributes
    ----------
    counts
        (n, bins) pixels per bin.
    low
        (n,) lower edge of the first bin.
    width
        (n,) bin width.
    """

    counts: NDArray[Any]
    low: Float
    width: Float

    @property
    def centres(self) -> Float:
        """(n, bins) bin centres."""
        bins = np.arange(self.counts.shape[1]) + 0.5
        return np.asarray(self.low)[:, None] + np.asarray(self.width)[:, None] * bins

    def occupied(self) -> "Histograms":
        """The same with bins merged and empty ends cut, at most 256 bins over what is there; bins must be common."""
        filled = np.flatnonzero(self.counts.sum(axis=0))
        if len(filled) == 0:
            return self
        first, last = int(filled[0]), int(filled[-1]) + 1
        merge = -(-(last - first) // 256)
        counts = np.pad(self.counts[:, first:last], ((0, 0), (0, -(last - first) % merge)))
        counts = counts.reshape(len(counts), -1, merge).sum(axis=2)
        return Histograms(counts, self.low + first * self.width, self.width * merge)

    def rows(self, part: Any) -> "Histograms":
        """Some of the histograms."""
        return Histograms(self.counts[part], self.low[part], self.width[part])


@dataclass(frozen=True)
class Peaks:
    """Means and standard deviations (phases,) of the phases, darkest first."""

    mean: Float
    sigma: Float

    @property
    def separated(self) -> bool:
        """Whether the outer two stand apart, so that their distance can tell the gain."""
        return bool(self.mean[-1] - self.mean[0] > 3 * max(self.sigma[0], self.sigma[-1]))


def affine_to_common(
    histograms: Histograms, phases: int = 3, offset: bool = True, rounds: int = 3
) -> tuple[Float, Float, Peaks]:
    """Gain (n,) and offset (n,) by which each histogram's phases lie off the common ones, and those.

    Phase j of histogram k lies at ``gain[k] * common.mean[j] + offset[k]``; NaN where the peaks are not found again.

    Parameters
    ----------
    histograms
        One per slice or region.
    phases
        Peaks to look for; one more than there are takes up the pixels of phase edges.
    offset
        False keeps all offsets zero.
    rounds
        Times the common peaks are found again with the histograms laid over each other.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> dark, bright = rng.normal(80, 5, 20000), rng.normal(160, 5, 20000)
    >>> parts = [np.r_[dark, bright], 1.1 * np.r_[dark, bright[:4000]] - 6]
    >>> h = Histograms(np.stack([np.histogram(p, 256, (0, 256))[0] for p in parts]), np.zeros(2), np.ones(2))
    >>> gain, offset, common = affine_to_common(h)
    >>> float(round(gain[1] / gain[0], 2)), bool(abs(offset[1] - offset[0] * gain[1] / gain[0] + 6) < 0.5)
    (1.1, True)
    """
    n = len(histograms.counts)
    gain, shift, outliers = np.ones(n), np.zeros(n), np.zeros(n)
    peaks = Peaks(np.zeros(phases), np.ones(phases))
    for _ in range(rounds):
        peaks = common_peaks(_pooled(histograms, gain, shift), phases)
        for start in range(0, n, 256):
            part = slice(start, start + 256)
            matched = match_peaks(histograms.rows(part), peaks, gain[part], shift[part], offset)
            gain[part], shift[part], outliers[part] = matched
    failed = outliers > 0.5
    gain[failed] = shift[failed] = np.nan
    return gain, shift, peaks


def _pooled(h: Histograms, gain: Float, shift: Float) -> Histograms:
    """All histograms laid over each other with the affine maps undone, as one of 512 bins."""
    total, edges = np.histogram((h.centres - shift[:, None]) / gain[:, None], 512, weights=h.counts)
    return Histograms(total[None], edges[:1], edges[1:2] - edges[:1])


class Mixture:
    """Gaussian peaks and a flat component, for n histograms at once in arrays (n, phase, bin)."""

    def __init__(self, h: Histograms, phases: int) -> None:
        self.x = h.centres[:, None]
        self.share = (h.counts / np.maximum(h.counts.sum(axis=1, keepdims=True), 1))[:, None]
        self.span = np.maximum(np.asarray(h.width) * h.counts.shape[1], 1e-12)
        self.weight = np.full((len(self.x), phases), (1 - OUTLIER_SHARE) / phases)

    @property
    def outliers(self) -> Float:
        """Share (n,) of pixels that belong to no peak."""
        return np.maximum(1 - self.weight.sum(axis=1), 1e-3)

    def cores(self, mean: Float, sigma: Float) -> Float:
        """Share of pixels in the core of each peak by bin, for peaks at (n, phase); updates the weights."""
        u = (self.x - mean[:, :, None]) / sigma[:, :, None]
        density = np.exp(-0.5 * u * u) * (self.weight / (np.sqrt(2 * np.pi) * sigma))[:, :, None]
        flat = (self.outliers / self.span)[:, None, None]
        r = self.share * density / (density.sum(axis=1, keepdims=True) + flat)
        self.weight = np.maximum(r.sum(axis=2), 1e-9)
        return r * np.clip(1 - (u / CORE_SIGMA) ** 2, 0, None) ** 2


def common_peaks(pooled: Histograms, phases: int, iterations: int = 100, start: Peaks | None = None) -> Peaks:
    """Peaks of one histogram, by expectation-maximisation on their cores, from where quantiles or `start` put them."""
    fit = Mixture(pooled, phases)
    x, share, width = fit.x[0, 0], fit.share[0, 0], float(pooled.width[0])
    spread = max(float(np.sqrt(share @ (x - share @ x) ** 2)), width)
    mean = np.interp((np.arange(phases) + 0.5) / phases, np.cumsum(share), x) + 1e-3 * spread * np.arange(phases)
    sigma = np.full(phases, spread / phases)
    if start is not None:
        mean, sigma = start.mean.copy(), start.sigma.copy()
    for _ in range(iterations):
        core = fit.cores(mean[None], sigma[None])[0]
        mass = np.maximum(core.sum(axis=1), 1e-12)
        variance = (core * (x - mean[:, None]) ** 2).sum(axis=1) / mass / CORE_VARIANCE
        mean = core @ x / mass
        sigma = np.maximum(np.sqrt(variance), 0.5 * width)
    order = np.argsort(mean)
    return Peaks(mean[order], sigma[order])


def match_peaks(
    h: Histograms,
    peaks: Peaks,
    gain: Float,
    shift: Float,
    offset: bool = True,
    iterations: int = 40,
    expected: Float | float = 1.0,
    faith: float = FAINT,
) -> tuple[Float, Float, Float]:
    """Affine map of each histogram with the peaks' relative positions held, and the share that fits no peak.

    `gain` and `shift` are where it begins; `expected` is the gain where one phase stands alone, held everywhere the
    more `faith` exceeds 1.
    """
    fit = Mixture(h, len(peaks.mean))
    for _ in range(iterations):
        core = fit.cores(gain[:, None] * peaks.mean + shift[:, None], gain[:, None] * peaks.sigma)
        trust = core.sum(axis=2) / peaks.sigma**2
        first = (core * fit.x).sum(axis=2) / peaks.sigma**2
        gain, shift = _regress(trust, first, peaks, offset, expected, faith)
    return gain, shift, fit.outliers


def _regress(
    trust: Float, first: Float, peaks: Peaks, offset: bool, expected: Float | float, faith: float
) -> tuple[Float, Float]:
    """Weighted straight line through peak positions; a prior decides the gain where one phase stands alone."""
    mean = peaks.mean
    prior = (faith * trust.sum(axis=1) + 1e-30) * (np.ptp(mean) + peaks.sigma.mean()) ** 2
    if not offset:
        gain = (first @ mean + prior * expected) / (trust @ mean**2 + prior)
        return gain, np.zeros_like(gain)
    u = mean - mean.mean()
    s0, s1, s2 = trust.sum(axis=1) + 1e-30, trust @ u, trust @ u**2 + prior
    t0, t1 = first.sum(axis=1), first @ u + prior * expected
    gain = (s0 * t1 - s1 * t0) / (s0 * s2 - s1**2)
    return gain, (t0 - gain * s1) / s0 - gain * mean.mean()
