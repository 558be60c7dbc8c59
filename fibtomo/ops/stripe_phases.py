"""Stripe profiles from how far the pixels inside the phases lie off the greys of the phases."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace, to_host
from fibtomo.backend.kernels import twin
from fibtomo.ops.grey_valleys import valleys
from fibtomo.ops.slow_change import slow_change
from fibtomo.ops.stripe_frame import BAND_ROWS, loops, rows_of_bands
from fibtomo.ops.stripe_gate import Profiles, agreement
from fibtomo.ops.stripe_steps import half_gaussian

Array = Any
Float = NDArray[np.float64]

SMOOTHINGS_PX = (1.0, 2.0)
"""Smoothing before the greys are told apart; the second where noise hides the phases after the first."""
BINS = 128
DEPTH, SURE_DEPTH = 0.5, 0.25
"""How deep the histogram must be between phases: their nulls judge what they tell, but layers must be sure."""
SAMPLED_ROWS = 64
"""Rows, evenly spread, that show the phases in a histogram and the scatter of their greys."""
OUTSIDE = 255
"""Label of pixels that belong to no phase for sure: edges, outliers, what lies outside the plane."""
CUT = 4.0
"""Pixels farther off their phase, in its standard deviations, are left out."""
CUT_SHARE = 0.3
"""They are kept up to this share of the difference between phases, however little these scatter."""
FEWEST = 100
"""Samples of a phase that tell its grey."""
LEAST_SIGMA = 1e-3
"""Scatter of noise-free phases, as a share of the difference between phases."""
FLAT = 0.25
"""No phase is taken to be surer than this share of the scatter of the least sure; one that does not scatter at all is
clipped and tells nothing."""
LONG = 1.0
"""Smoothing along the stripes, in lengths, of what is taken off before the null is measured: grains must stay in it."""
FOLLOWS = 0.6
"""Correlation of stripes with the phases from which they are layers along the beam."""
FAITH = 0.1
"""Pixels per band and column that the first estimate is worth."""
ROUNDS = 2
SLOW_WIDTHS = 2.0
"""Scale over which a phase may change its grey across the plane, in widths of the broadest stripes."""
STIFFNESS = 0.7
"""Of the profiles along the stripes, relative to that of a Gaussian's length."""
BREAK = 0.5
"""Steps along a stripe beyond this many standard errors of a band are hardly smoothed."""


@dataclass(frozen=True)
class PhaseStripes:
    """Stripes told by the phases, and how strongly each phase shows them.

    Attributes
    ----------
    profiles
        Of curtains as they are on the mean of the phases.
    smooth
        (y, x) smoothed grey that tells the phase of each pixel.
    grey, gain
        (phases,) grey of each phase and how strongly it shows the curtains, mean 1.
    """

    profiles: Profiles
    smooth: Array
    grey: Float
    gain: Float

    def scaled(self, field: Array) -> Array:
        """Curtains (y, x) as they show on the phase of each pixel, linear in the grey between phases."""
        return _scaled(field, self.smooth, self.grey, self.gain)


def _scaled(field: Array, smooth: Array, grey: Float, gain: Float) -> Array:
    if np.ptp(gain) == 0:
        return field
    return _loops(field).scaled_by_grey(field, smooth, like(field, grey), like(field, gain))


def phase_profiles(u: Array, spans: Array, bands: Array, length_px: float, width_px: float) -> PhaseStripes | None:
    """Stripe profiles of an upright plane from its phases; ``None`` where the greys do not fall into phases.

    Parameters
    ----------
    u
        (y, x) grey values with the stripes upright.
    spans
        (y, 2) columns [first, last) of each row inside the plane.
    bands
        (band, x) first estimate of the stripes.
    length_px, width_px
        See `fibtomo.ops.stripes.stripe_field`.
    """
    labelled = _labels(u, spans, bands, DEPTH)
    if labelled is None:
        return None
    labels, phases, smooth = labelled
    gain, best = np.ones(phases), bands
    for _ in range(ROUNDS):
        found = _Residuals.of(u, labels, phases, best, gain, width_px)
        if found is None:
            return None
        gain = found.gains(best)
        along, best = found.profiles(gain, best, length_px)
    sure = bands + agreement(along, bands, length_px) * (best - bands)
    long = loops(u).smoothed_bands(sure, like(u, half_gaussian(LONG * length_px / BAND_ROWS)[0]))
    stripes = _scaled(rows_of_bands(long, len(u)), smooth, found.grey, gain)
    turned, across = namespace(u).ascontiguousarray((u - stripes).T), _loops(u).turned_labels(labels)
    none = namespace(u).zeros_like(bands, shape=(-(-turned.shape[0] // BAND_ROWS), turned.shape[1]))
    even = np.ones(phases)
    null = _Residuals.of(turned, across, phases, none, even, width_px)
    if null is None:
        return None
    across_plain, across_best = null.profiles(even, none, length_px)
    profiles = Profiles(along, across_plain, best, across_best)
    return PhaseStripes(profiles, smooth, found.grey, gain)


def first_profiles(
    u: Array, spans: Array, none: Array, length_px: float, width_px: float
) -> tuple[Array, Array] | None:
    """Profiles (band, x) from phases that are told apart before anything is taken off; ``None`` where they are not.

    They bear witness for the grey steps: layers along the beam are steps, but no part of a phase. With them comes how
    many pixels of each phase there are in each band and column (phase, band, x).

    Parameters
    ----------
    u, spans, length_px, width_px
        See `phase_profiles`.
    none
        (band, x) zeros.
    """
    labelled = _labels(u, spans, none, SURE_DEPTH)
    if labelled is None:
        return None
    labels, phases, _ = labelled
    even = np.ones(phases)
    found = _Residuals.of(u, labels, phases, none, even, width_px)
    return None if found is None else (found.profiles(even, none, length_px)[0], found.count)


def follows_phases(bands: Array, count: Array) -> bool:
    """Whether stripes (band, x) go along with the phases (phase, band, x) rather than across all of them alike."""
    xp = namespace(bands)
    pixels = count.sum(axis=0)
    phase = (xp.arange(len(count), dtype=xp.float32)[:, None, None] * count).sum(axis=0)
    total = float(pixels.sum())
    if total == 0:
        return False
    a = phase - pixels * (float(phase.sum()) / total)
    b = bands - float((bands * pixels).sum()) / total
    spread = float((a * a / xp.maximum(pixels, 1)).sum()) * float((pixels * b * b).sum())
    return float((a * b).sum()) ** 2 > FOLLOWS**2 * spread > 0


def _loops(a: Array) -> ModuleType:
    return twin(__package__, "phase", like=a)


def _row_step(u: Array) -> int:
    return max(1, len(u) // SAMPLED_ROWS)


def _labels(u: Array, spans: Array, bands: Array, depth: float) -> tuple[Array, int, Array] | None:
    """Phase (y, x) of each pixel well inside one, the number of phases, and the smoothed greys."""
    every = _row_step(u)
    for sigma in SMOOTHINGS_PX:
        smooth = _loops(u).smoothed(u, bands, BAND_ROWS, like(u, half_gaussian(sigma)[0]))
        part = to_host(smooth[::every])
        steep = (part[:, 2:] - part[:, :-2]) ** 2
        inside = to_host(spans[::every])
        x = np.arange(1, part.shape[1] - 1)
        known = (x > inside[:, :1]) & (x < inside[:, 1:] - 1)
        if not known.any():
            return None
        flat = part[:, 1:-1][known & (steep <= np.median(steep[known]))]
        thresholds = valleys(flat, BINS, depth)
        if len(thresholds):
            reach = 2 if sigma == SMOOTHINGS_PX[0] else 3
            labels = _loops(u).pure_labels(smooth, like(u, thresholds), spans, reach, OUTSIDE)
            return labels, len(thresholds) + 1, smooth
    return None


@dataclass(frozen=True)
class _Residuals:
    """How many pixels of each phase there are in each band and column (phase, band, x), and how far off they lie."""

    count: Array
    total: Array
    grey: Float
    sigma: Float

    @classmethod
    def of(
        cls, u: Array, labels: Array, phases: int, bands: Array, gain: Float, width_px: float
    ) -> "_Residuals | None":
        """Sums over the bands of `u`, outliers and the slow change of each phase over the plane left out."""
        xp, over = namespace(u), _loops(u)
        every = _row_step(u)
        rows = np.arange(0, len(u), every) // BAND_ROWS
        label = to_host(labels[::every])
        members = [label == k for k in range(phases)]
        if not all(np.count_nonzero(m) >= FEWEST for m in members):
            return None
        sample = to_host(u[::every] - bands[like(u, rows)])
        grey = np.array([np.median(sample[m]) for m in members], dtype=np.float32)
        gap = float(np.diff(grey).min())
        g, centre = like(u, gain.astype(np.float32)), like(u, grey)
        wide = like(u, np.full(phases, gap, np.float32))
        cell = max(BAND_ROWS, -(-u.shape[1] // 64))
        cells = to_host(xp.stack(over.cell_sums(u, labels, bands, g, centre, wide, BAND_ROWS, cell)))
        stripes = to_host(over.cell_means(bands, cell))
        slow = slow_change(*cells, stripes, cell, SLOW_WIDTHS * width_px, u)
        shade = to_host(slow[:, like(u, rows)])
        off = [sample[m] - grey[k] - shade[k][m] for k, m in enumerate(members)]
        sigma = np.array([1.4826 * np.median(np.abs(o - np.median(o))) for o in off])
        if not sigma.any():
            sigma[:] = LEAST_SIGMA * gap
        cut = np.maximum(CUT * sigma, CUT_SHARE * gap).astype(np.float32)
        count, total = over.class_sums(u, labels, bands, g, centre, like(u, cut), slow, BAND_ROWS)
        return cls(count, total, grey.astype(np.float64), sigma)

    def gains(self, bands: Array) -> Float:
        """How strongly each phase shows the stripes `bands`, mean 1; all 1 where that cannot be told."""
        sums = [a.sum(axis=(1, 2)) for a in (self.count * bands**2, self.total * bands, self.count)]
        square, common, pixels = to_host(namespace(bands).stack(sums)).astype(np.float64)
        told = square > 0
        if told.sum() < 2:
            return np.ones(len(square))
        gain = np.where(told, common / np.where(told, square, 1), 1.0)
        mean = (gain * pixels).sum() / pixels.sum()
        error = self.sigma / np.sqrt(np.where(told, square, np.inf))
        if mean <= 0 or np.all(np.abs(gain - mean) <= np.maximum(5 * error, 0.05)):
            return np.ones(len(square))
        return np.clip(gain / mean, 0.0, 3.0)

    def profiles(self, gain: Float, prior: Array, length_px: float) -> tuple[Array, Array]:
        """Profiles (band, x) smoothed along the bands by a Gaussian, and by a filter that lets stripes begin."""
        xp, over = namespace(prior), _loops(prior)
        seen = self.sigma > 0
        noise = max(float(self.sigma[seen].min()), FLAT * float(self.sigma.max()))
        trust = np.where(seen, noise / np.maximum(self.sigma, noise), 0.0) ** 2
        w = like(prior, (trust * gain**2).astype(np.float32))[:, None, None]
        t = like(prior, (trust * gain).astype(np.float32))[:, None, None]
        weight, total = (w * self.count).sum(axis=0) + FAITH, (t * self.total).sum(axis=0) + FAITH * prior
        taps = like(prior, half_gaussian(length_px / BAND_ROWS)[0])
        plain = loops(prior).smoothed_bands(total, taps) / loops(prior).smoothed_bands(weight, taps)
        typical = float(weight.mean())
        stiffness = STIFFNESS * (length_px / BAND_ROWS) ** 2 * typical
        best = over.broken_smooth(weight, total, stiffness, BREAK * noise / typical**0.5)
        return plain.astype(xp.float32), best
