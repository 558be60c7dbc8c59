"""Brightness and contrast that change from slice to slice, without mistaking porosity for brightness.

Two witnesses: the grey of the phases in the histogram of each slice, whatever their proportions, and the straight line
through the greys that neighbouring slices show at the same pixels, to which shading over the plane and a porosity that
changes do nothing. The line is fast and sharp but its errors add up along the stack; the histogram keeps the long run.
Both are laid together by least squares.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace, to_host
from fibtomo.core.volume import Table
from fibtomo.ops.grey_modes import Float, Histograms, affine_to_common
from fibtomo.ops.histogram import count_bins

Array = Any
BINS = 256
LAGS = (1, 2)
"""Distances, slices, over which slices are compared pixel by pixel."""
NEGLIGIBLE = 0.01
"""Share of the contrast between phases below which no slice is touched."""
UNSEEN = 4
"""Times as much that histograms alone must say, where neighbouring slices show no step."""
LOCAL_SLICES = 5
"""Window of the running median where no phases tell brightness from content: only what is fast is brightness then."""
_PAIR_PIXELS = 12000
_LEAST_CORRELATION = 0.7
LONG_RUN = 11
"""Slices over which the histograms have their say."""


def measure_flicker(planes: Array, before: int = 0) -> Table:
    """What tells the brightness of each slice.

    Parameters
    ----------
    planes
        (z, y, x) slices.
    before
        How many of them, at the front, only serve as neighbours.

    Returns
    -------
    Table
        ``counts`` (z, bins), ``low`` and ``width`` (z,): histogram between the 0.1 and 99.9 % quantiles; ``pairs``
        (z, lags, 3): line of each slice over those before, see `pair_line`, NaN where there is none.
    """
    own = planes[before:]
    low, width = _bins(own)
    grey = own.astype(np.float32, copy=False) if own.dtype.kind == "f" else own
    thin = _thinned(planes)
    pairs = [
        [pair_line(thin[k - lag], thin[k]) if k >= lag else (np.nan,) * 3 for lag in LAGS]
        for k in range(before, len(planes))
    ]
    counts = to_host(count_bins(grey, low, width, BINS))[:, 0, 1:-1]
    return {"counts": counts, "low": low, "width": width, "pairs": np.array(pairs)}


def _bins(planes: Array) -> tuple[Float, Float]:
    """Start (z,) and width (z,) of the bins between the 0.1 and 99.9 % quantiles of some of the pixels."""
    some = planes[:, ::3, ::3].reshape(len(planes), -1).astype(np.float32)
    share = like(planes, np.array([0.001, 0.999]))
    first, last = to_host(namespace(planes).quantile(some, share, axis=1)).astype(np.float64)
    if planes.dtype.kind in "iu":  # whole grey values, so that no bin counts more of them than its neighbour
        return np.floor(first) - 0.5, np.ceil((last - first + 1) / BINS)
    span = np.maximum(np.maximum(np.abs(first), np.abs(last)), 1e-30)
    return first, np.maximum((last - first) / BINS, 1e-6 * span)


def _thinned(planes: Array) -> Float:
    """Some of the pixels (z, n), on the host; NaN where they have the lowest or highest grey: saturated or padding."""
    many = planes.shape[1] * planes.shape[2] / _PAIR_PIXELS
    down = max(1, round(np.sqrt(many)))
    across = max(1, round(many / down))
    grey = to_host(planes[:, down // 2 :: down, across // 2 :: across]).astype(np.float32).reshape(len(planes), -1)
    low, high = grey.min(axis=1, keepdims=True), grey.max(axis=1, keepdims=True)
    return np.where((grey <= low) | (grey >= high), np.nan, grey)


def pair_line(earlier: Float, later: Float) -> tuple[float, float, float]:
    """Straight line through the greys of the same pixels in two slices, those left out that changed phase.

    Returns
    -------
    slope, x, y
        The line runs through (x, y). NaN where the slices are too unlike.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> grey = np.where(rng.random(20000) < 0.4, 80.0, 160.0)
    >>> first, second = grey + rng.normal(0, 5, 20000), 1.1 * grey - 6 + rng.normal(0, 5, 20000)
    >>> second[:1500] = 170 + rng.normal(0, 5, 1500)
    >>> slope, x, y = pair_line(first, second)
    >>> round(slope, 2), bool(abs(y - slope * x + 6) < 1)
    (1.1, True)
    """
    nothing = (np.nan,) * 3
    known = np.isfinite(earlier) & np.isfinite(later)
    x, y = earlier[known], later[known]
    if len(x) < 200:
        return nothing
    share = np.linspace(0.02, 0.98, 25)
    qx, qy = np.quantile(x, share), np.quantile(y, share)
    if np.ptp(qx) <= 0 or np.ptp(qy) <= 0:
        return nothing
    slope = float(np.sqrt(qy.var() / qx.var()))
    shift = float(np.median(qy) - slope * np.median(qx))
    weight = np.ones(len(x))
    mx = my = size = correlation = 0.0
    for _ in range(8):
        away = (y - slope * x - shift) / np.hypot(1, slope)
        spread = 1.4826 * float(np.median(np.abs(away))) + 1e-9
        weight = np.clip(1 - (away / (4 * spread)) ** 2, 0, None) ** 2
        size = float(weight.sum())
        mx, my = (
            float((weight * x).sum()) / size,
            float((weight * y).sum()) / size,
        )  # sums: threads of @ would only wait
        dx, dy = x - mx, y - my
        sxx, syy, sxy = (float((weight * product).sum()) / size for product in (dx * dx, dy * dy, dx * dy))
        if sxy <= 0 or min(sxx, syy) <= 0:
            return nothing
        half = 0.5 * (syy - sxx)
        last, slope = slope, (half + np.hypot(half, sxy)) / sxy
        shift = my - slope * mx
        correlation = sxy / np.sqrt(sxx * syy)
        if abs(slope - last) < 1e-4:
            break
    if correlation < _LEAST_CORRELATION or size < 0.2 * len(x) or not 0.2 < slope < 5:
        return nothing
    return float(slope), mx, my


def combine_flicker(partials: Sequence[Table], window_slices: int, max_change: float = 0.5) -> Table:
    """``gain`` and ``offset`` (z,) that bring the phases of each slice to their running median.

    Parameters
    ----------
    partials
        Results of `measure_flicker` in z order.
    window_slices
        Window of the running median.
    max_change
        Largest relative change of contrast; slices that would need more are left as they are.
    """
    histograms = Histograms(*(np.concatenate([p[name] for p in partials]) for name in ("counts", "low", "width")))
    pairs = np.concatenate([p["pairs"] for p in partials])
    lively = (histograms.counts > 0).sum(axis=1) > 3
    n = len(lively)
    gain, offset = np.ones(n), np.zeros(n)
    if lively.sum() > 1:
        dark, bright, window = _anchors(histograms, lively, pairs, window_slices)
        target_dark, target_bright = _running_median(dark, window), _running_median(bright, window)
        deviation = np.maximum(np.abs(dark - target_dark), np.abs(bright - target_bright))
        share = np.nan_to_num(deviation / np.abs(bright - dark))[lively]
        if share.max() < NEGLIGIBLE or (share.max() < UNSEEN * NEGLIGIBLE and _calm(pairs, dark, bright)):
            return {"gain": gain, "offset": offset}
        with np.errstate(invalid="ignore"):
            ratio = (target_bright - target_dark) / (bright - dark)
            usable = lively & (np.abs(np.log(np.maximum(ratio, 1e-6))) <= np.log1p(max_change))
        gain[usable] = ratio[usable]
        offset[usable] = (target_dark - ratio * dark)[usable]
    return {"gain": gain, "offset": offset}


def _calm(pairs: Float, dark: Float, bright: Float) -> bool:
    """Whether nearly all slices are joined to the one before, and no step is worth a correction."""
    slope, rise = pairs[1:, 0, 0], pairs[1:, 0, 2] - pairs[1:, 0, 0] * pairs[1:, 0, 1]
    joined = np.isfinite(slope)
    low, high = float(np.nanmedian(dark)), float(np.nanmedian(bright))
    if joined.sum() < 0.9 * len(joined) or not joined.any():
        return False
    steps = np.abs([(slope[joined] - 1) * grey + rise[joined] for grey in (low, high)])
    return bool(steps.max() < 0.5 * NEGLIGIBLE * abs(high - low))


def _anchors(
    histograms: Histograms, lively: NDArray[np.bool_], pairs: Float, window_slices: int
) -> tuple[Float, Float, int]:
    """Two grey values (z,) per slice that mean the same material throughout, NaN where unknown, and their window."""
    found = histograms.rows(lively)
    scale, shift, peaks = affine_to_common(found)
    dark, bright = np.full(len(lively), np.nan), np.full(len(lively), np.nan)
    if peaks.separated:
        dark[lively], bright[lively] = (scale * mean + shift for mean in (peaks.mean[0], peaks.mean[-1]))
    else:
        cumulated = np.cumsum(found.counts, axis=1) / found.counts.sum(axis=1, keepdims=True)
        rows = zip(cumulated, found.centres, strict=True)
        quartiles = np.array([np.interp([0.25, 0.5, 0.75], share, centre) for share, centre in rows])
        median, contrast = quartiles[:, 1], float(np.median(quartiles[:, 2] - quartiles[:, 0])) or 1.0
        dark[lively], bright[lively] = median, median + contrast
    joined = [along_stack(anchor, pairs) for anchor in (dark, bright)]
    told = np.isfinite(joined[0]) & np.isfinite(joined[1]) & lively
    if told.sum() > 0.5 * lively.sum():
        dark, bright = (np.where(told, path, np.nan) for path in joined)
    return dark, bright, window_slices if peaks.separated else min(window_slices, LOCAL_SLICES)


def along_stack(grey: Float, pairs: Float) -> Float:
    """(z,) grey of one material along the stack: fast changes from the lines between slices, slow ones from histograms.

    Parameters
    ----------
    grey
        What histograms say; NaN where nothing.
    pairs
        (z, lags, 3), see `pair_line`.

    Returns
    -------
    Array of float
        NaN where no line joins a slice to another.

    Examples
    --------
    >>> grey = np.array([80.0, 88.0, 60.0, 80.0, 80.0])  # the third is mistaken
    >>> steps = [(np.nan, np.nan), (1.1, np.nan), (1 / 1.1, 1.0), (1.0, 1 / 1.1), (1.0, 1.0)]
    >>> lines = np.array([[(s, 80.0, 80.0 * s) for s in two] for two in steps])
    >>> along_stack(grey, lines).round(1).tolist()
    [80.0, 88.0, 80.0, 80.0, 80.0]
    """
    chain, segment = _chained(grey, pairs)
    path = np.full(len(grey), np.nan)
    for name in np.unique(segment[segment >= 0]):
        at = np.flatnonzero(segment == name)
        away = (grey - chain)[at]
        known = np.isfinite(away)
        if len(at) < 2 or not known.any():
            continue
        lean = _lean(at[known], away[known])
        path[at] = chain[at] + lean * at + _running_median(away - lean * at, min(LONG_RUN, len(at)))
    return path


def _chained(grey: Float, pairs: Float) -> tuple[Float, NDArray[np.int64]]:
    """Grey carried on from slice to slice, and the number of the unbroken run; -1 where a slice stands alone."""
    slope, rise = pairs[..., 0], pairs[..., 2] - pairs[..., 0] * pairs[..., 1]
    middle = float(np.nanmedian(grey))
    chain, segment, runs = np.full(len(grey), np.nan), np.full(len(grey), -1), 0
    for k in range(len(grey)):
        for j, lag in enumerate(LAGS):
            if np.isfinite(slope[k, j]):
                if segment[k - lag] < 0:
                    segment[k - lag], runs = runs, runs + 1
                    chain[k - lag] = grey[k - lag] if np.isfinite(grey[k - lag]) else middle
                chain[k], segment[k] = slope[k, j] * chain[k - lag] + rise[k, j], segment[k - lag]
                break
    return chain, segment


def _lean(at: NDArray[np.int64], values: Float) -> float:
    """Median slope between places a third of the run apart (after Theil and Sen)."""
    reach = len(at) // 3
    if reach < 4:
        return 0.0
    return float(np.median((values[reach:] - values[:-reach]) / (at[reach:] - at[:-reach])))


def _running_median(values: Float, window: int) -> Float:
    half = window // 2
    parts = [values[max(0, k - half) : k + half + 1] for k in range(len(values))]
    return np.array([np.nanmedian(p) if np.isfinite(p).any() else np.nan for p in parts])


def apply_flicker(planes: Array, gain: Float, offset: Float) -> Array:
    """Return ``gain * slice + offset`` as float32."""
    xp = namespace(planes)
    a, b = (like(planes, np.asarray(v, dtype=np.float32))[:, None, None] for v in (gain, offset))
    return planes.astype(xp.float32) * a + b
