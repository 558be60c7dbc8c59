"""The smooth field of brightness that lets the phases of all cells of the plane fall on each other."""

from dataclasses import dataclass, replace

import numpy as np

from fibtomo.ops.grey_modes import Float, Histograms, Mixture, Peaks, common_peaks
from fibtomo.ops.shading_field import Cells, Field, no_field, pooled, sharpest, sharpness_gain

OFFSET_BLACK = -100.0
"""Black level, in contrasts of the phases, that makes a factor an offset."""
_MINOR_SHARE = 0.04  # of a cell's pixels that a phase must hold to count as seen there
_MISFIT = 0.4  # share of pixels in no phase from which on a cell shows something else
_FLOOR = 0.005  # scatter of a cell's gain that no number of pixels brings down
_MOST = 0.22  # beyond, the fit has gone astray
_LEAST = 0.003  # relative shading, rms, that is worth a correction
_STANDS_OUT = 12.0  # variance ratio that a term or the whole field must reach
_LEAST_SHADOW = 0.01
_RATIO = 0.06  # by which the movements of dark and bright phase must miss a plain gain
_SCALES = 9
_PROMINENCE = 0.03  # of a mode, against the highest


@dataclass(frozen=True)
class _Seen:
    """What the cells say, given a field: by how much its logarithm is off, and how sure that is (cells,).

    Beside it, place and weight of each phase (cells, phase).
    """

    off: Float
    weight: Float
    place: Float
    trust: Float


def fit_shading(cells: Cells, order: int) -> Field:
    """Shading of the plane, or none where none stands out.

    Parameters
    ----------
    cells
        Histograms over all slices.
    order
        Order of the polynomial in y and x.
    """
    cells = cells.part(cells.pixels > 0)
    nothing = no_field(cells.shape)
    if len(cells.counts) <= (order + 1) * (order + 2) // 2 or np.ptp(np.flatnonzero(cells.counts.sum(axis=0))) < 4:
        return nothing
    field, peaks, seen = _refine(cells, sharpest(cells, replace(nothing, order=order)), 6)
    if not 0 < np.count_nonzero(seen.weight) < len(seen.weight):
        field, peaks, seen = _refine(cells, field, 4)
    else:  # now without what shows something else
        again, then, told = _refine(cells, sharpest(cells.part(seen.weight > 0), field), 6)
        if np.sum(told.weight > 0) >= np.sum(seen.weight > 0):
            field, peaks, seen = again, then, told
    for _ in range(2):
        field, peaks, seen = _with_black_level(cells, field, peaks, seen)
        if not np.any(seen.weight > 0):
            return nothing
        field, peaks, seen = _refine(cells, _shadows(cells, field, seen), 6)
    trusted = seen.weight > 0
    if trusted.sum() <= len(field.values) + 4 or not _stands_out(cells, field, peaks, seen):
        return nothing
    return replace(
        field,
        rows=(float(cells.y[trusted].min()), float(cells.y[trusted].max())),
        cols=(float(cells.x[trusted].min()), float(cells.x[trusted].max())),
    )


def _with_black_level(cells: Cells, field: Field, peaks: Peaks, seen: "_Seen") -> "tuple[Field, Peaks, _Seen]":
    """The field about the black level that the movements of the phases speak for."""
    for _ in range(4):
        black = _black_level(peaks, seen)
        if abs(black - field.black) < 0.02 * abs(peaks.mean[-1] - black):
            break
        field = replace(
            field, black=black, values=field.values * (peaks.mean[-1] - field.black) / (peaks.mean[-1] - black)
        )
        field, peaks, seen = _refine(cells, field, 6)
    return field, peaks, seen


def _stands_out(cells: Cells, field: Field, peaks: Peaks, seen: "_Seen") -> bool:
    """Whether the field is large enough to matter, explains more than chance could, and sharpens the greys."""
    log_gain = field.at(cells.y.mean(axis=1), cells.x.mean(axis=1), cells.shape)
    mean = np.average(log_gain, weights=seen.weight)
    size = np.sqrt(np.average((log_gain - mean) ** 2, weights=seen.weight))
    relative = size * abs(peaks.mean[-1] - field.black) / max(abs(peaks.mean[-1]), 1e-30)
    if not _LEAST <= relative <= _MOST:
        return False
    trusted = seen.weight > 0
    explained = np.sum(seen.weight * (log_gain - mean) ** 2) / (len(field.values) - 1)
    left = np.sum(seen.weight * seen.off**2) / (trusted.sum() - len(field.values))
    if explained < _STANDS_OUT * left * _alike_neighbours(seen):
        return False
    return sharpness_gain(cells.part(trusted), field) > 0


def _alike_neighbours(seen: "_Seen") -> float:
    """By how much neighbouring cells that err alike swell the variance of a mean over many.

    Cells run along x first; the neighbour below is as much alike as the one to the right.
    """
    error = np.sqrt(seen.weight) * seen.off
    both = (seen.weight[1:] > 0) & (seen.weight[:-1] > 0)
    spread = np.mean(error[seen.weight > 0] ** 2)
    r = float(np.clip(np.mean((error[1:] * error[:-1])[both]) / max(spread, 1e-30), 0, 0.9)) if both.any() else 0.0
    return ((1 + r) / (1 - r)) ** 2


def _refine(cells: Cells, field: Field, rounds: int) -> tuple[Field, Peaks, _Seen]:
    """Expectation-maximisation on the cores of the common peaks, the field moving with the cells' votes."""
    y, x = cells.y.mean(axis=1), cells.x.mean(axis=1)
    terms = field.terms(y, x, cells.shape)
    h = Histograms(cells.counts, np.full(len(y), cells.low), np.full(len(y), cells.width))
    values = field.values
    for _ in range(rounds):
        log_gain = terms @ values
        total, edges = pooled(cells, log_gain, field.black)
        peaks = _modes(total, edges)
        seen = _look(h, peaks, log_gain, field.black, cells.pixels)
        if not np.any(seen.weight > 0):
            break
        step = np.zeros(len(values))
        weight = seen.weight
        for _ in range(4):
            left = seen.off - terms @ step
            step = step + _least_squares(terms, left, weight)
            left = seen.off - terms @ step
            spread = 1.4826 * float(np.median(np.abs(left[seen.weight > 0]))) + 1e-6
            weight = seen.weight * np.clip(1 - (left / (4.7 * spread)) ** 2, 0, None) ** 2
        seen = replace(seen, off=seen.off - terms @ step, weight=weight)
        step[0] = 0.0  # the peaks are found anew on the pooled greys
        values = values + step
    return replace(field, values=values), peaks, seen


def _least_squares(terms: Float, target: Float, weight: Float) -> Float:
    normal = terms.T @ (terms * weight[:, None])
    ridge = 1e-6 * np.trace(normal) / len(normal) + 1e-30
    return np.asarray(np.linalg.solve(normal + ridge * np.eye(len(normal)), terms.T @ (weight * target)))


def _modes(total: Float, edges: Float, most: int = 4) -> Peaks:
    """Phases of a pooled histogram: its modes, narrowed down by expectation-maximisation on their cores."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks, peak_widths

    width = float(edges[1] - edges[0])
    for smooth in (3.0, 5.0, 8.0, 12.0, 20.0):
        curve = np.pad(gaussian_filter1d(total, smooth, mode="constant"), 1)
        at, told = find_peaks(curve, prominence=_PROMINENCE * curve.max())
        if len(at) <= most:
            break
    strongest = np.sort(at[np.argsort(-told["prominences"])[:most]])
    if not len(strongest):
        strongest = np.array([int(np.argmax(curve))])
    half = peak_widths(curve, strongest, rel_height=0.5)[0] / 2.355
    sigma = np.sqrt(np.maximum(half**2 - smooth**2, 1.0)) * width
    start = Peaks(edges[0] + (strongest - 0.5) * width, sigma)
    return common_peaks(Histograms(total[None], edges[:1], np.array([width])), len(strongest), 40, start)


def _look(h: Histograms, peaks: Peaks, log_gain: Float, black: float, pixels: Float) -> _Seen:
    """Where the phases of each cell lie against where the field puts them."""
    fit = Mixture(h, len(peaks.mean))
    gain = np.exp(log_gain)[:, None]
    place = black + (peaks.mean - black) * gain
    off, slope = np.zeros(len(place)), (peaks.mean - black) * gain
    for _ in range(8):
        here = place + off[:, None] * slope
        core = fit.cores(here, np.broadcast_to(peaks.sigma, here.shape))
        mass = core.sum(axis=2)
        shift = (core * fit.x).sum(axis=2) / np.maximum(mass, 1e-12) - here
        trust = mass / peaks.sigma**2
        information = (trust * slope**2).sum(axis=1)
        moved = (trust * slope * shift).sum(axis=1) / np.maximum(information, 1e-30)
        off = np.clip(off + 1.5 * moved, -0.25, 0.25)
    known = fit.outliers < _MISFIT
    several = known & ((fit.weight > _MINOR_SHARE).sum(axis=1) > 1)
    if several.sum() >= 0.4 * known.sum():
        known = several
    weight = np.where(known, 1 / (1 / np.maximum(information * pixels, 1e-9) + _FLOOR**2), 0.0)
    return _Seen(off, weight, here + shift, np.where(known[:, None], trust * pixels[:, None], 0.0))


def _black_level(peaks: Peaks, seen: _Seen) -> float:
    """Grey at which shading vanishes, from how far the darkest and the brightest phase move; 0 unless another is sure.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> field, one = rng.normal(0, 8, (200, 1)), np.ones(200)
    >>> places = np.array([80.0, 160.0]) + field + rng.normal(0, 0.3, (200, 2))
    >>> peaks = Peaks(np.array([80.0, 160.0]), np.array([5.0, 5.0]))
    >>> _black_level(peaks, _Seen(field[:, 0], one, places, np.ones((200, 2))))
    -8000.0
    """
    dark, bright = float(peaks.mean[0]), float(peaks.mean[-1])
    contrast = bright - dark
    both = (seen.weight > 0) & (seen.trust[:, 0] > 0) & (seen.trust[:, -1] > 0)
    if both.sum() < 8 or not peaks.separated:
        return 0.0
    low, high = seen.place[both, 0], seen.place[both, -1]
    precision = np.minimum(seen.trust[both, 0], seen.trust[both, -1])
    precision = 1 / (1 / np.maximum(precision, 1e-12) + (_FLOOR * bright) ** 2)
    ratio = error = 0.0
    for _ in range(4):
        a, b = (v - np.average(v, weights=precision) for v in (low, high))
        spread = np.sum(precision * b * b)
        if spread <= 0 or np.sqrt(spread / np.sum(precision)) < 0.01 * contrast:
            return 0.0
        ratio = float(np.sum(precision * a * b) / spread)
        left = a - ratio * b
        error = float(np.sqrt(np.sum(precision * left**2) / max(both.sum() - 2, 1) / spread))
        limit = 4.7 * 1.4826 * np.median(np.abs(left)) + 1e-9
        precision = precision * (np.abs(left) < limit)
    if abs(ratio - dark / bright) < max(5 * error, _RATIO):
        return 0.0
    if ratio > 0.93:
        return OFFSET_BLACK * contrast
    return float(np.clip((dark - ratio * bright) / (1 - ratio), OFFSET_BLACK * contrast, dark - 0.05 * contrast))


def _shadows(cells: Cells, field: Field, seen: _Seen) -> Field:
    """The field with exponential shadows at the left and right edge where they stand out."""
    y, x = cells.y.mean(axis=1), cells.x.mean(axis=1)
    base = field.terms(y, x, cells.shape)
    total = base @ field.values + seen.off
    used = seen.weight > 0
    scales = (0.0, *np.geomspace(2.5 * np.diff(cells.x, axis=1).min(), cells.shape[1] / 5, _SCALES))
    costs, fits = {}, {}
    for left in scales:
        for right in scales:
            tried = field.with_terms((left, right), field.values)
            terms = tried.terms(y, x, cells.shape)
            fits[left, right] = values = _least_squares(terms, total, seen.weight)
            costs[left, right] = float(np.sum(seen.weight * (total - terms @ values) ** 2))
    best = min(costs, key=lambda pair: costs[pair])
    free = max(int(used.sum()) - len(fits[best]), 1)
    chosen = [0.0, 0.0]
    for side in (0, 1):
        without = (0.0, best[1]) if side == 0 else (best[0], 0.0)
        drop = (costs[without] - costs[best]) / 2
        shadow = replace(field, scales_px=best).terms(y, x, cells.shape)[:, base.shape[1] :]
        at = 2 * side if best[0] else 0
        if best[side] and drop > _STANDS_OUT * costs[best] / free:
            depth = shadow[:, at : at + 2] @ fits[best][base.shape[1] + at : base.shape[1] + at + 2]
            chosen[side] = best[side] if np.ptp(depth[used]) > _LEAST_SHADOW else 0.0
    if not any(chosen):
        return field
    pair = (chosen[0], chosen[1])
    return field.with_terms(pair, fits[pair])
