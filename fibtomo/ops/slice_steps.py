"""What happens between slices: faces imaged twice, slices never imaged, a new focus, another magnification.

The first two show in how fast the likeness of slices falls with their distance, see `fibtomo.ops.thickness`, which
measures it with more care; here it costs nothing and only raises flags. Nothing is corrected.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

RESCANNED = "re-scan: repeats the face of the slice before"
"""Reason of slices that `find_rescanned` names; their motion is known all the same."""
_OTHER_VIEW = 0.03  # of the side of the frame, by which a pair may have moved to tell a distance
_LEAST_ALIKE = 0.3  # likeness of neighbours, from which on it tells their distance
_NEAR = 5  # slices on either side that a step is compared with
_FEWEST = 8  # steps that must be comparable
_TWICE_OF = 1.7  # usual change over two slices against that over one, from which on it tells distances
_SAME_FACE = 0.45  # change between images of one face against the usual one
_SAME_BEYOND = 1.35  # change from either of them to a third slice, seen from the other
_SATURATED = 0.5  # change from which on more of it tells nothing
_UNLIKE = 0.8  # change to which it is cut
_ANYTHING = 6.0  # usual steps from which on the slices have too little in common to say why
_SIDE = 3  # steps on either side of a long one
_LONG = 1.5  # usual steps; irregular ones of sound phantoms stay below 1.35
_SPREADS_OF_STEPS = 3.5  # robust standard deviations of the steps, both sides being less
_LONG_AND_MOVED = 1.25
_LEAST_JITTER_PX = 0.05
_STEADY = 6.0  # rows moved per slice over their spread, from which on they count slices
_SPREADS = 5.0
_MOST_GAPS = 0.05  # share of the slices from which on long steps are a trait of the milling
_FOCUS = float(np.log(1.35))
_LEAST_SCALE = 0.002
_LEAST_CONTRAST = 0.3  # of that of the richest slices, below which a slice does not tell its magnification
_WINDOW = 21  # slices over which the spread is taken
_FOCUS_SIDE = 4  # slices averaged on either side of a focus step


def pair_change(column: Mapping[str, Any], bad: NDArray[np.bool_]) -> Float:
    """(3, n) change 1 − coherence from the slice one and two before (rows 1, 2).

    NaN where a slice is bad, and where it has moved so far that other parts of the specimen are in view.

    Parameters
    ----------
    column
        Columns ``first``, ``second``, ``coherence``, ``shift_px`` and ``area_px`` of
        `fibtomo.ops.drift_measure.measure_slab`.
    bad
        (n,) slices not to use.
    """
    change = np.full((3, len(bad)), np.nan)
    first, second = (np.asarray(column[name], dtype=np.int64) for name in ("first", "second"))
    gap = second - first
    moved = np.abs(np.asarray(column["shift_px"]).reshape(-1, 2)).sum(axis=1)
    elsewhere = moved > _OTHER_VIEW * np.sqrt(np.maximum(column["area_px"], 1.0))[second]
    use = (gap <= 2) & ~bad[first] & ~bad[second] & ~elsewhere
    change[gap[use], second[use]] = 1 - np.asarray(column["coherence"], dtype=np.float64)[use]
    return change


def find_rescanned(change: Float) -> list[int]:
    """Slices that show the face of the slice before once more, under fresh noise.

    Such a slice hardly differs from the one before, and either of them differs as much from any third slice.

    Parameters
    ----------
    change
        From `pair_change`.

    Examples
    --------
    >>> z = np.arange(30.0)
    >>> z[12:] -= 1
    >>> change = np.full((3, 30), np.nan)
    >>> for gap in (1, 2):
    ...     change[gap, gap:] = 0.03 * (z[gap:] - z[:-gap]) ** 2
    >>> find_rescanned(change)
    [12]
    """
    one, two = change[1], change[2]
    usual = _around(one)
    if not _tells_distance(one, two):
        return []
    found = []
    for k in map(int, np.flatnonzero(one < _SAME_FACE * usual)):
        if not 2 <= k < len(one) - 1:
            continue
        sides, across = np.array([one[k - 1], one[k + 1]]), np.array([two[k], two[k + 1]])
        if (sides < _SATURATED).all() and (across < _SAME_BEYOND * sides).all():
            found.append(k)
    return found


def find_missing(change: Float, content: Float | None = None, dy_px: Float | None = None) -> dict[int, float]:
    """Slices before which others seem to be missing, and how many usual steps lie there.

    There the change over one slice, and that over two across the place, exceed those on both sides, by more than the
    irregularity of all other steps. Where another material begins nothing is said. Where the content moves by about the
    same rows with every slice, as in a field of view that does not follow the face, the motion must be that of several
    slices, and then less unlikeness is enough.

    Parameters
    ----------
    change
        From `pair_change`.
    content
        (m, n) numbers that tell materials apart, in steps that matter (1 and more).
    dy_px
        (n,) rows by which the slices have moved.

    Examples
    --------
    >>> z = np.arange(30.0)
    >>> z[12:] += 1
    >>> change = np.full((3, 30), np.nan)
    >>> for gap in (1, 2):
    ...     change[gap, gap:] = 0.02 * (z[gap:] - z[:-gap]) ** 2
    >>> {k: round(step, 1) for k, step in find_missing(change).items()}
    {12: 2.0}
    """
    one, two = (0.5 * np.log(np.clip(row, 1e-6, _UNLIKE)) for row in change[1:])
    if not _tells_distance(change[1], change[2]):
        return {}
    n = len(one)
    step, away = np.full(n, np.nan), np.full(n, np.nan)
    for k in range(2, n - 1):
        sides = _mean(one[max(0, k - _SIDE) : k]), _mean(one[k + 1 : k + 1 + _SIDE])
        across = _mean(two[k : k + 2])
        beyond = _mean(two[max(0, k - _SIDE) : k]), _mean(two[k + 2 : k + 2 + _SIDE])
        away[k] = one[k] - (sides[0] + sides[1]) / 2
        # over two slices one of the two steps is a usual one
        step[k] = min(np.exp(one[k] - max(sides)), 2 * np.exp(across - np.nanmax([*beyond, -np.inf])) - 1)
    known = np.isfinite(step) & np.isfinite(away)
    if known.sum() < _FEWEST:
        return {}
    spread = 1.4826 * float(np.median(np.abs(away[known] - np.median(away[known]))))
    limit = max(_LONG, float(np.exp(_SPREADS_OF_STEPS * spread)))
    limits = np.full(n, limit) if dy_px is None else _limits_by_motion(dy_px, limit)
    known &= (change[1] < _UNLIKE) & (step < _ANYTHING)
    found = {int(k): float(step[k]) for k in np.flatnonzero(np.where(known, step, 0.0) > limits)}
    if content is not None:
        found = {k: size for k, size in found.items() if not _another_material(content, k)}
    return found if len(found) <= max(_MOST_GAPS * known.sum(), 3) else {}


def _limits_by_motion(dy_px: Float, limit: float) -> Float:
    """(n,) least step: `limit`, less where the rows moved are those of several slices, infinite where of one."""
    rows = np.diff(dy_px, prepend=np.nan)
    usual = float(np.nanmedian(rows))
    spread = max(1.4826 * float(np.nanmedian(np.abs(rows - usual))), _LEAST_JITTER_PX)
    if abs(usual) < _STEADY * spread:
        return np.full(len(rows), limit)
    count = rows / usual
    several = (np.round(count) >= 2) & (np.abs(count - np.round(count)) * abs(usual) < _SPREADS_OF_STEPS * spread)
    return np.where(several, min(limit, _LONG_AND_MOVED), np.where(np.abs(count - 1) < 0.5, np.inf, limit))


def _another_material(content: Float, k: int) -> bool:
    before, after = content[:, max(0, k - _SIDE) : k], content[:, k : k + _SIDE]
    return bool((np.abs(np.median(after, axis=1) - np.median(before, axis=1)) > 1).any())


def _mean(values: Float) -> float:
    """Mean of the known values; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _tells_distance(one: Float, two: Float) -> bool:
    known = np.isfinite(one) & np.isfinite(two)
    if known.sum() < _FEWEST:
        return False
    usual = float(np.median(one[known]))
    return usual < 1 - _LEAST_ALIKE and float(np.median(two[known])) > _TWICE_OF * usual


def _around(values: Float) -> Float:
    """Median of the known values up to `_NEAR` before and after each, itself left out."""
    n = len(values)
    out = np.full(n, np.nan)
    for k in range(n):
        near = np.r_[values[max(0, k - _NEAR) : k], values[k + 1 : k + 1 + _NEAR]]
        near = near[np.isfinite(near)]
        if len(near) >= 3:
            out[k] = np.median(near)
    return out


def find_focus_steps(detail: Float, usable: NDArray[np.bool_]) -> dict[int, float]:
    """Slices from which on fine detail is stronger or weaker than before, and by which factor.

    Parameters
    ----------
    detail
        (n,) logarithm of the power of fine detail, the mean of ``detail_y`` and ``detail_x`` of `slice_statistics`.
    usable
        (n,) False for bad slices.

    Examples
    --------
    >>> detail = np.r_[np.linspace(0, -1, 20), np.zeros(20)]
    >>> {k: round(factor, 1) for k, factor in find_focus_steps(detail, np.ones(40, bool)).items()}
    {20: 2.5}
    """
    at = np.flatnonzero(usable)
    level, side = np.asarray(detail, dtype=np.float64)[at], _FOCUS_SIDE
    n = len(level)
    if n < 4 * side:
        return {}
    step = np.full(n, 0.0)
    for k in range(side, n - side + 1):
        before, after = level[k - side : k], level[k : k + side]
        # the least that separates the two sides: nothing for a ramp
        up, down = after.min() - before.max(), before.min() - after.max()
        step[k] = max(up, 0.0) - max(down, 0.0)
    away = np.abs(np.diff(level))
    limit = max(_FOCUS, _SPREADS * 1.4826 * float(np.median(away)))
    found = {}
    for k in map(int, np.flatnonzero(np.abs(step) > limit)):
        near = step[max(0, k - side) : k + side + 1]
        if np.abs(step[k]) >= np.abs(near).max():
            found[int(at[k])] = float(np.exp(np.median(level[k : k + side]) - np.median(level[k - side : k])))
    return found


def find_scale_steps(local_px: Float, shape: tuple[int, int], usable: NDArray[np.bool_]) -> dict[int, float]:
    """Slices at which the magnification changes, and the change relative to the slice before.

    The parts of the frame move apart: away from each other along both axes by the same share of their distance.
    Changing structure does so by chance, the less the larger the frame.

    Parameters
    ----------
    local_px
        (n, parts, 2) motion (dy, dx) of the parts of the frame against the slice before, from `local_steps`.
    shape
        Rows and columns of the frame.
    usable
        (n,) False for bad slices.

    Examples
    --------
    >>> local = 0.1 * np.random.default_rng(0).normal(size=(40, 4, 2))
    >>> local[17] += 0.004 * 500 * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    >>> {k: round(100 * step, 1) for k, step in find_scale_steps(local, (2000, 2000), np.ones(40, bool)).items()}
    {17: 0.4}
    """
    from scipy.ndimage import median_filter

    along = scale_steps(local_px, shape)
    scale = along.mean(axis=0)
    known = np.isfinite(scale) & usable & np.concatenate([[False], usable[:-1]])
    if known.sum() < _FEWEST:
        return {}
    at = np.flatnonzero(known)
    away = np.abs(scale[at] - np.median(scale[at]))
    spread = 1.4826 * np.maximum(np.median(away), median_filter(away, size=_WINDOW, mode="reflect"))
    both = (along[:, at] * np.sign(scale[at]) > 0.5 * np.abs(scale[at])).all(axis=0)
    return {int(k): float(scale[k]) for k in at[both & (away > np.maximum(_LEAST_SCALE, _SPREADS * spread))]}


def scale_steps(local_px: Float, shape: tuple[int, int]) -> Float:
    """(2, n) growth along y and x against the slice before, from the motion (n, parts, 2) of the parts."""
    parts = round(local_px.shape[1] ** 0.5)
    local = np.asarray(local_px, dtype=np.float64).reshape(len(local_px), parts, parts, 2)
    centre = (np.arange(parts) - (parts - 1) / 2) / parts
    growth = []
    for axis, length in enumerate(shape):
        place = centre * length
        weight = place / (parts * (place**2).sum())
        growth.append(np.einsum("nij,i->n", local[..., 0], weight) if axis == 0 else local[..., 1].sum(axis=1) @ weight)
    return np.asarray(growth)


def describe_steps(
    column: Mapping[str, Any], reasons: Mapping[int, str], shifts_px: Float
) -> tuple[dict[int, list[str]], list[str]]:
    """Remarks on single slices, and sentences for the report, on missing slices, focus and magnification.

    Parameters
    ----------
    column
        Joined columns of `fibtomo.ops.drift_measure.measure_slab`.
    reasons
        Bad slices and why.
    shifts_px
        (n, 2) motion of the slices.
    """
    remarks: dict[int, list[str]] = {}
    notes = []
    bad = np.isin(np.arange(len(shifts_px)), list(reasons))
    again = {k: None for k, reason in reasons.items() if reason == RESCANNED}
    if again:
        notes.append(
            f"The face before was imaged once more as {_listed(again)}. If nothing was milled in between, all that "
            f"follows lies one step higher than stated; stage thickness.estimate puts it there."
        )
    detail = (np.asarray(column["detail_y"]) + np.asarray(column["detail_x"])) / 2
    content = np.stack([detail / _FOCUS, np.log(np.maximum(column["contrast"], 1e-30)) / _FOCUS])
    missing = find_missing(pair_change(column, bad), content, shifts_px[:, 0])
    for k, step in missing.items():
        remarks.setdefault(k, []).append(f"missing slice before this one? (step of {step:.1f} slices)")
    if missing:
        notes.append(
            f"Slices seem to be missing before {_listed(missing)}: neighbours differ there as much as over several "
            f"slices. Their distance was left as file numbers or log state it; stage thickness.estimate measures it."
        )
    focus = find_focus_steps(detail, ~bad)
    for k, factor in focus.items():
        remarks.setdefault(k, []).append(f"focus step: fine detail {factor:.2g} times as strong as before")
    if focus:
        notes.append(
            f"Fine detail changes suddenly at {_listed(focus)} (refocused, or another material). Slices were not "
            f"sharpened or blurred to match."
        )
    contrast = np.asarray(column["contrast"])
    shown = ~bad & (contrast > _LEAST_CONTRAST * np.percentile(contrast, 90))
    scale = find_scale_steps(np.asarray(column["local_px"]), _shape(column), shown)
    for k, growth in scale.items():
        remarks.setdefault(k, []).append(f"magnification step of {100 * growth:+.1f} %")
    if scale:
        notes.append(f"The magnification seems to change at {_listed(scale)}; it was not corrected here.")
    return remarks, notes


def _shape(column: Mapping[str, Any]) -> tuple[int, int]:
    rows, cols = np.asarray(column["frame_px"])[0]
    return int(rows), int(cols)


def _listed(slices: Mapping[int, Any], most: int = 8) -> str:
    shown = ", ".join(str(k) for k in list(slices)[:most])
    left = len(slices) - most
    text = f"slice {shown}" if len(slices) == 1 else f"slices {shown}"
    return text if left <= 0 else f"{text} and {left} more"
