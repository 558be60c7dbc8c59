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
        """The same with bins merged and empty ends cut, at most 512 bins over what is there; bins must be common."""
        filled = np.flatnonzero(self.counts.sum(axis=0))
        if len(filled) == 0:
            return self
        first, last = int(filled[0]), int(filled[-1]) + 1
        merge = -(-(last - first) // 512)
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

    Phase j of histogram k lies at ``gain[k] * common.mean[j] + offset[k]``.

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
    gain, shift = np.ones(n), np.zeros(n)
    peaks = Peaks(np.zeros(phases), np.ones(phases))
    for _ in range(rounds):
        x, c = _pooled(histograms, gain, shift)
        peaks = _mixture(x, c, phases)
        for start in range(0, n, 256):
            part = slice(start, start + 256)
            gain[part], shift[part] = _match(histograms.rows(part), peaks, gain[part], shift[part], offset)
    return gain, shift, peaks


def _pooled(h: Histograms, gain: Float, shift: Float) -> tuple[Float, Float]:
    """All histograms laid over each other with the affine maps undone, as (512,) centres and counts."""
    x = (h.centres - shift[:, None]) / gain[:, None]
    total, edges = np.histogram(x, 512, weights=h.counts)
    return (edges[1:] + edges[:-1]) / 2, total.astype(np.float64)


def _mixture(x: Float, counts: Float, phases: int, iterations: int = 100) -> Peaks:
    """Means and standard deviations (phases,) of a Gaussian mixture on one histogram, means ascending."""
    share = counts / max(counts.sum(), 1.0)
    cumulated = np.cumsum(share)
    mean = np.interp((np.arange(phases) + 0.5) / phases, cumulated, x)
    centre = float(share @ x)
    spread = max(float(np.sqrt(share @ (x - centre) ** 2)), float(x[1] - x[0]))
    mean = mean + 1e-3 * spread * np.arange(phases)
    sigma, weight = np.full(phases, spread / phases), np.full(phases, (1 - OUTLIER_SHARE) / phases)
    flat = OUTLIER_SHARE / (x[-1] - x[0])
    for _ in range(iterations):
        density = weight * _normal(x[:, None], mean, sigma)
        r = share[:, None] * density / (density.sum(axis=1, keepdims=True) + flat)
        weight = np.maximum(r.sum(axis=0), 1e-9)
        core = r * _core((x[:, None] - mean) / sigma)
        mass = np.maximum(core.sum(axis=0), 1e-12)
        variance = (core * (x[:, None] - mean) ** 2).sum(axis=0) / mass / CORE_VARIANCE
        mean = (core * x[:, None]).sum(axis=0) / mass
        sigma = np.maximum(np.sqrt(variance), 0.5 * (x[1] - x[0]))
        flat = max(1 - weight.sum(), 1e-3) / (x[-1] - x[0])
    order = np.argsort(mean)
    return Peaks(mean[order], sigma[order])


def _match(
    h: Histograms, peaks: Peaks, gain: Float, shift: Float, offset: bool, iterations: int = 60
) -> tuple[Float, Float]:
    """Affine map and phase fractions of each histogram with the peaks' relative positions held."""
    x, mean, sigma = h.centres[:, :, None], peaks.mean, peaks.sigma
    total = np.maximum(h.counts.sum(axis=1, keepdims=True), 1)
    share = (h.counts / total)[:, :, None]
    weight = np.full((len(x), len(mean)), (1 - OUTLIER_SHARE) / len(mean))
    span = np.maximum(x[:, -1:] - x[:, :1], 1e-12)
    flat = OUTLIER_SHARE / span
    centre, spread = mean.mean(), np.ptp(mean) + sigma.mean()
    for _ in range(iterations):
        position, scale = (gain[:, None] * mean + shift[:, None])[:, None], (gain[:, None] * sigma)[:, None]
        density = weight[:, None] * _normal(x, position, scale)
        r = share * density / (density.sum(axis=2, keepdims=True) + flat)
        weight = np.maximum(r.sum(axis=1), 1e-9)
        flat = np.maximum(1 - weight.sum(axis=1), 1e-3)[:, None, None] / span
        core = r * _core((x - position) / scale)
        mass, first = core.sum(axis=1), (core * x).sum(axis=1)
        trust = mass / sigma**2
        first = first / sigma**2
        gain, shift = _regress(trust, first, mean, centre, spread, offset)
    return gain, shift


def _regress(
    trust: Float, first: Float, mean: Float, centre: float, spread: float, offset: bool
) -> tuple[Float, Float]:
    """Weighted straight line through phase positions; a faint prior at gain 1 decides where one phase stands alone."""
    prior = 1e-3 * trust.sum(axis=1) + 1e-30
    if not offset:
        gain = ((first * mean).sum(axis=1) + prior * spread**2) / ((trust * mean**2).sum(axis=1) + prior * spread**2)
        return gain, np.zeros_like(gain)
    u = mean - centre
    s0, s1, s2 = trust.sum(axis=1) + prior * 1e-6, trust @ u, trust @ u**2 + prior * spread**2
    t0, t1 = first.sum(axis=1), first @ u + prior * spread**2
    gain = (s0 * t1 - s1 * t0) / (s0 * s2 - s1**2)
    level = (t0 - gain * s1) / s0
    return gain, level - gain * centre


def _core(u: Float) -> Float:
    """Tukey's biweight: only the core of a peak speaks, as its flanks hold half-and-half pixels of phase edges."""
    return np.clip(1 - (u / CORE_SIGMA) ** 2, 0, None) ** 2


def _normal(x: Float, mean: Float, sigma: Float) -> Float:
    return np.exp(-0.5 * ((x - mean) / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
