"""Steps between slices from their likeness: pooling of tiles and bands, doubled and missing slices, shrinking."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.drift import Drift
from fibtomo.core.volume import Table
from fibtomo.ops._thickness_belief import weigh_steps
from fibtomo.ops._thickness_fit import error_spectrum, fit_decay, solve_steps
from fibtomo.ops._thickness_odd import find_odd_steps

Float = NDArray[np.float64]

_LEAST_COHERENCE = 0.15  # of neighbours in a band that is used
_LEAST_SHARE = 0.25  # of the neighbours' coherence at the largest gap that is used
_FEWEST_GAPS = 2
_FEWEST_STEPS = 8
_UNSEEN_QUALITY = 0.004  # change of likeness from slice to slice that all tiles share, beyond what is solved for
_MOST_PEAKED = 2.6


@dataclass(frozen=True, eq=False)
class ImageSteps:
    """What the images say of the steps between n slices, in nominal steps.

    Attributes
    ----------
    steps, sigma
        (n - 1,) steps shrunk to what is believable, and their standard deviations (NaN: nothing known).
    position_sigma
        (n,) standard deviations of the positions that follow, if the first and the mean step are right.
    raw
        (n - 1,) the same before shrinking.
    spread
        Standard deviation of the irregularity that is believed; 0: none.
    doubled, missing_before
        Slices without advance; slices before which at least one is missing.
    notes
        Sentences for the report.
    """

    steps: Float
    sigma: Float
    position_sigma: Float
    raw: Float
    spread: float
    doubled: tuple[int, ...]
    missing_before: tuple[int, ...]
    notes: tuple[str, ...]


def steps_from_images(partials: Sequence[Table], drift: Drift) -> ImageSteps:
    """Solve for all steps from what `compare_slab` left of the whole stack, in z order."""
    power = np.concatenate([p["power"] for p in partials])
    cross = np.concatenate([p["cross"] for p in partials])
    n = len(power)
    repeated = tuple(k for k in drift.bad_slices if "repeats" in drift.flags[k])
    silent = np.zeros(n, dtype=bool)
    silent[list(drift.bad_slices)] = True
    stretch = np.cumsum(["break" in flag for flag in drift.flags])
    coherence = _coherence(power, cross, silent | (drift.confidence <= 0), stretch)
    bounds = np.asarray(partials[0]["bounds"])
    level, share, tile_slope, weight = _pooled(coherence, np.diff(bounds))
    pooled = (level * share).sum(axis=2)
    usual = np.nanmedian(pooled, axis=0) if n > 1 and np.isfinite(pooled).any(axis=0).all() else np.zeros(1)
    gaps = int(np.count_nonzero(np.cumprod(usual > max(_LEAST_SHARE * usual[0], 0.03))))
    measured = int(np.isfinite(pooled[:, 0]).sum())
    if gaps < _FEWEST_GAPS or measured < _FEWEST_STEPS:
        return _nothing(n, repeated, "too few slices could be compared with their neighbours")
    if _peakedness(np.sum([p["mode_power"] for p in partials], axis=0), bounds) @ weight > _MOST_PEAKED:
        return _nothing(n, repeated, "the structure is a lattice, which changes everywhere at once")
    level, pooled, usual = level[:, :gaps], pooled[:, :gaps], usual[:gaps]
    # a tile changes with thickness by its own slope; what it does beyond is its error
    excess = level - np.nanmedian(level, axis=0) - tile_slope * (pooled - usual)[..., None]
    excess = np.where(np.isfinite(excess), -excess / usual[:, None], 0.0)
    scatter = (excess**2 * share**2).sum(axis=2).mean(axis=0) / max(1 - (share**2).sum(), 0.1)
    unlikeness = -np.log(np.clip(pooled, 0.02 * usual[0], 1.0))
    decay = fit_decay(-np.log(usual))
    steps, tile_steps, sigma = solve_steps(unlikeness, np.maximum(scatter, 1e-6), decay, excess)
    floor = (_UNSEEN_QUALITY / max(float(decay.slope(1.0)), 1e-6)) ** 2
    shown = error_spectrum(tile_steps, share)
    scatter = shown + floor
    deviation = steps / steps.mean() - 1
    compared = np.where(np.isfinite(pooled[1:, 0]), deviation, np.nan)
    error = weigh_steps(deviation, scatter).error
    odd = find_odd_steps(compared, tile_steps, share, shown, error, drift.shifts_px[:, 0])
    expected = np.ones(n - 1)
    for k, count in odd.items():
        expected[k] = count
    deviation = steps * expected.sum() / steps.sum() - expected
    belief = weigh_steps(deviation, scatter)
    sigma = np.minimum(belief.sigma * sigma / np.median(sigma), max(belief.most, belief.sigma))
    doubled = sorted({*repeated, *(k + 1 for k, count in odd.items() if count == 0)})
    missing = tuple(sorted(k + 1 for k, count in odd.items() if count > 1))
    tiles_used = 1 / float((share**2).sum())
    notes = (_verdict(belief.spread, gaps, tiles_used),)
    believed, position_sigma = expected + belief.keep(deviation), belief.position_sigma()
    return ImageSteps(believed, sigma, position_sigma, steps, belief.spread, tuple(doubled), missing, notes)


def _nothing(n: int, repeated: tuple[int, ...], why: str) -> ImageSteps:
    unknown = np.full(max(n - 1, 0), np.nan)
    note = f"The images tell nothing of the slice thickness: {why}."
    position_sigma = np.concatenate([[0.0], unknown])
    return ImageSteps(np.ones_like(unknown), unknown, position_sigma, np.ones_like(unknown), 0.0, repeated, (), (note,))


def _peakedness(mode_power: Float, bounds: NDArray[np.int64]) -> Float:
    """(bands,) mean square over squared mean of the power in each band: about 1 for random structure."""
    parts = [mode_power[a:b] for a, b in pairwise(bounds)]
    return np.array([(p**2).mean() / max(p.mean() ** 2, 1e-30) if len(p) else 1.0 for p in parts])


def _coherence(power: Float, cross: Float, silent: NDArray[np.bool_], stretch: NDArray[np.int64]) -> Float:
    """(n, gaps, tiles, bands) coherence; NaN for pairs that touch silent slices or are not of one stretch."""
    coherence = np.full_like(cross, np.nan)
    usable = np.where(silent, np.nan, 1.0)
    for gap in range(1, min(cross.shape[1], len(power) - 1) + 1):
        known = np.where(stretch[gap:] == stretch[:-gap], usable[gap:] * usable[:-gap], np.nan)
        both = np.sqrt(power[gap:] * power[:-gap]) * known[:, None, None]
        coherence[gap:, gap - 1] = cross[gap:, gap - 1] / np.where(both > 0, both, np.nan)
    return coherence


def _pooled(coherence: Float, modes: Float) -> tuple[Float, Float, Float, Float]:
    """Join bands, and weigh tiles, by how precisely they tell thickness.

    A coherence c of M modes has the variance (1 − c²)²/2M.

    Returns
    -------
    level
        (n, gaps, tiles) coherence.
    share
        (tiles,) weights, sum 1.
    tile_slope
        (tiles,) change with thickness relative to that of the weighted mean.
    weight
        (bands,) weights of the bands, sum 1.
    """
    mean = _nanmean(coherence, (0, 2))  # gaps, bands
    neighbours = np.clip(mean[0], 0, 0.98)
    fall = np.clip(neighbours - mean[min(1, len(mean) - 1)], 0, None)
    weight = np.where(neighbours > _LEAST_COHERENCE, fall * modes / (1 - neighbours**2) ** 2, 0.0)
    weight = weight / weight.sum() if weight.any() else np.full(len(weight), 1 / len(weight))
    level = np.where(np.isnan(coherence), 0.0, coherence) @ weight
    level[np.isnan(coherence).all(axis=(2, 3))] = np.nan
    per_tile = _nanmean(level, (0,))  # gaps, tiles
    slope = np.clip(per_tile[0] - per_tile[min(1, len(per_tile) - 1)], 0, None)
    own = level[:, 0] - per_tile[0]
    noise = _nanmean((own - own.mean(axis=1, keepdims=True)) ** 2, (0,))
    share = slope / np.maximum(noise, 1e-6) if slope.any() else np.ones_like(slope)
    share = share / share.sum()
    mean_slope = float((slope * share).sum())
    return level, share, slope / mean_slope if mean_slope > 0 else np.ones_like(slope), weight


def _nanmean(values: Float, axes: tuple[int, ...]) -> Float:
    """Mean without NaN; 0 where there is nothing."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=axes) / np.maximum(known.sum(axis=axes), 1)


def _verdict(spread: float, gaps: int, tiles: float) -> str:
    compared = f"Slices were compared with those up to {gaps} before them, in {tiles:.0f} independent parts"
    if spread == 0:
        return (
            f"{compared}: what differs between slices is no more than the parts disagree; the thickness was left "
            f"constant."
        )
    return (
        f"{compared}: the thickness of single slices scatters by {100 * spread:.0f} %; its mean cannot be seen in "
        f"images and is the nominal one."
    )
