"""Straight line of the noise variance over grey, through counts of blocks of which many hold structure too."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
FEWEST_BLOCKS = 12
"""Blocks of one grey from which a first variance is read."""
ROUNDS = 40
SPREAD = (0.2, 0.45)
"""Least and greatest standard deviation of the log variance of blocks of pure noise."""
CLOSE = 3.0
ONE_SIDED = 0.25
"""Greys whose variance lies further above the line, in ln, hold structure."""
RISING_FROM = 3.0
"""Standard errors from which on a slope counts."""


def fit_line(counts: NDArray[np.int64], mean: Float, variance: Float) -> tuple[float, float, tuple[float, float]]:
    """Slope and intercept of the variance over grey, and the range of greys that hold pure noise.

    Parameters
    ----------
    counts
        Blocks by (grey, variance).
    mean, variance
        Centres of the bins, variances on a logarithmic scale.

    Returns
    -------
    tuple
        (0, 0, (0, 0)) where no block holds noise.
    """
    if counts.sum() < FEWEST_BLOCKS:
        return 0.0, 0.0, (0.0, 0.0)
    while counts.sum(axis=1).max() < FEWEST_BLOCKS:  # few blocks: wider bins of grey
        counts, mean = counts[::2] + counts[1::2], 0.5 * (mean[::2] + mean[1::2])
    level = np.log(variance)
    rows, first = _first_modes(counts, level)
    slope, intercept = _lower_line(mean[rows], np.exp(first), counts[rows].sum(axis=1).astype(np.float64))
    spread = np.full(len(mean), 0.3)
    share = np.full(len(mean), 0.5)
    reach = max(float(np.ptp(level)) / 4, 1e-9)
    error = 0.0
    for _ in range(ROUNDS):
        line = np.maximum(slope * mean + intercept, variance[0])
        away = level - np.log(line)[:, None] + 0.5 * spread[:, None] ** 2
        near = np.where(np.abs(away) < CLOSE * spread[:, None], np.exp(-0.5 * (away / spread[:, None]) ** 2), 0)
        noise = share[:, None] * near / (spread[:, None] * np.sqrt(2 * np.pi))
        chance = noise / np.maximum(noise + (1 - share[:, None]) / reach, 1e-30)
        part = counts * chance
        inliers, blocks = part.sum(axis=1), np.maximum(counts.sum(axis=1), 1)
        if inliers.sum() < FEWEST_BLOCKS:
            break
        share = np.clip((inliers + 1) / (blocks + 2), 0.02, 0.98)
        below = part * (away < 0)  # structure only adds variance
        width = float(np.sqrt((below * away**2).sum() / max(below.sum(), 1e-9)))
        spread[:] = np.clip(width, *SPREAD)
        there = inliers > 0.5
        found = np.zeros(len(mean))
        lnv = (part @ level)[there] / inliers[there]
        found[there] = np.exp(lnv + 0.5 * spread[there] ** 2)
        weight = np.where(there, inliers / line**2, 0.0)
        weight *= found < line * np.exp(ONE_SIDED)
        if weight.sum() == 0:
            break
        slope, intercept, error = _line(mean, found, weight)
    greys = mean[inliers > max(0.5, 1e-3 * inliers.sum())]
    low, high = (float(greys.min()), float(greys.max())) if len(greys) else (0.0, 0.0)
    if abs(slope) < RISING_FROM * error or high == low:
        slope, intercept = 0.0, slope * 0.5 * (low + high) + intercept
    return float(slope), float(intercept), (low, high)


def _first_modes(counts: NDArray[np.int64], level: Float) -> tuple[NDArray[np.intp], Float]:
    """Rows with enough blocks, and the lowest ln variance at which a good share of them gathers."""
    from scipy.ndimage import gaussian_filter1d

    width = 0.3 / max(float(level[1] - level[0]), 1e-9)
    rows, modes = [], []
    for row in np.flatnonzero(counts.sum(axis=1) >= FEWEST_BLOCKS):
        smooth = gaussian_filter1d(counts[row].astype(np.float64), width, mode="constant")
        peak = (smooth >= np.roll(smooth, 1)) & (smooth >= np.roll(smooth, -1)) & (smooth > 0.25 * smooth.max())
        rows.append(row)
        modes.append(level[np.flatnonzero(peak)[0]])
    return np.array(rows, dtype=np.intp), np.array(modes)


def _lower_line(mean: Float, variance: Float, blocks: Float) -> tuple[float, float]:
    """Line under the points: those far above it are taken away and it is laid again."""
    weight = blocks / variance**2
    slope, intercept = 0.0, float(np.median(variance))
    for _ in range(ROUNDS):
        slope, intercept, _ = _line(mean, variance, weight)
        line = np.maximum(slope * mean + intercept, 1e-3 * variance.min())
        above = np.log(variance / line)
        weight = blocks / line**2 * np.where(above > 0, np.exp(-((above / ONE_SIDED) ** 2)), 1.0)
    return slope, intercept


def _line(x: Float, y: Float, weight: Float) -> tuple[float, float, float]:
    """Weighted straight line that is nowhere negative: slope, intercept, standard error of the slope."""
    total = weight.sum()
    centre, height = (weight * x).sum() / total, (weight * y).sum() / total
    square = (weight * (x - centre) ** 2).sum()
    if square <= 1e-12 * total:
        return 0.0, float(height), 0.0
    slope = float((weight * (x - centre) * (y - height)).sum() / square)
    rest = (weight * (y - height - slope * (x - centre)) ** 2).sum()
    points = max((weight > 0).sum() - 2, 1)
    return slope, float(height - slope * centre), float(np.sqrt(rest / points / square))
