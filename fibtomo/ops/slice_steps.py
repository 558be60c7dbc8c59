"""What happens between slices: faces imaged twice, slices never imaged, a new focus, another magnification.

The first two show in how fast the likeness of slices falls with their distance, see `fibtomo.ops.thickness`, which
measures it with more care; here it costs nothing and only raises flags. Nothing is corrected.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_LEAST_ALIKE = 0.3  # likeness of neighbours, from which on it tells their distance
_NEAR = 5  # slices on either side that a step is compared with
_FEWEST = 8  # steps that must be comparable
_TWICE_OF = 1.7  # usual change over two slices against that over one, from which on it tells distances
_SAME_FACE = 0.45  # change between images of one face against the usual one
_SAME_BEYOND = 1.35  # change from either of them to a third slice, seen from the other
_LONG = 1.6  # nominal steps
_SPREADS = 5.0  # robust standard deviations by which a long step stands out
_LEAST_SPREAD = 0.09
_MOST_GAPS = 0.05  # share of the slices from which on long steps are a trait of the milling
_FOCUS = float(np.log(1.35))
_LEAST_SCALE = 0.002
_FOCUS_SIDE = 4  # slices averaged on either side of a focus step


def likeness(column: Mapping[str, Any], bad: NDArray[np.bool_]) -> Float:
    """(3, n) change 1 − coherence from the slice one and two before (rows 1, 2); NaN where a slice is bad.

    Parameters
    ----------
    column
        Columns ``first``, ``second`` and ``coherence`` of `fibtomo.ops.drift_measure.measure_slab`.
    bad
        (n,) slices not to use.
    """
    change = np.full((3, len(bad)), np.nan)
    first, second = (np.asarray(column[name], dtype=np.int64) for name in ("first", "second"))
    gap = second - first
    use = (gap <= 2) & ~bad[first] & ~bad[second]
    change[gap[use], second[use]] = 1 - np.asarray(column["coherence"], dtype=np.float64)[use]
    return change


def find_rescanned(change: Float) -> list[int]:
    """Slices that show the face of the slice before once more, under fresh noise.

    Such a slice hardly differs from the one before, and either of them differs as much from any third slice.

    Parameters
    ----------
    change
        From `likeness`.

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
    for k in np.flatnonzero(one < _SAME_FACE * usual):
        beyond = []
        if k >= 2 and np.isfinite([two[k], one[k - 1]]).all():
            beyond.append(two[k] / max(one[k - 1], 1e-9))
        if k + 1 < len(one) and np.isfinite([two[k + 1], one[k + 1]]).all():
            beyond.append(two[k + 1] / max(one[k + 1], 1e-9))
        if beyond and max(beyond) < _SAME_BEYOND:
            found.append(int(k))
    return found


def find_missing(change: Float) -> dict[int, float]:
    """Slices before which others seem to be missing, and how many usual steps lie there.

    The step is read off the change over one slice and over two, across the place, relative to their neighbourhood; it
    must stand out from the irregularity of all other steps.

    Parameters
    ----------
    change
        From `likeness`.

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
    steps = relative_steps(change)
    known = np.isfinite(steps)
    if known.sum() < _FEWEST or not _tells_distance(change[1], change[2]):
        return {}
    log = np.log(steps[known])
    spread = max(1.4826 * float(np.median(np.abs(log - np.median(log)))), _LEAST_SPREAD)
    limit = max(_LONG, float(np.exp(_SPREADS * spread)))
    long = np.flatnonzero(np.where(known, steps, 0.0) > limit)
    return {int(k): float(steps[k]) for k in long} if len(long) <= max(_MOST_GAPS * known.sum(), 3) else {}


def relative_steps(change: Float) -> Float:
    """(n,) distance of each slice from the one before, in those of its neighbourhood; NaN where it cannot be told."""
    root = np.sqrt(np.clip(change, 1e-6, 1 - _LEAST_ALIKE))
    one, two = root[1] / _around(root[1]), root[2] / _around(root[2])
    after = np.append(two[1:], np.nan)
    # over two slices one of the two steps is the usual one
    told = np.stack([one, 2 * two - 1, 2 * after - 1])
    told[1:, ~np.isfinite(one)] = np.nan
    known = np.isfinite(told)
    weight = np.array([2.0, 1.0, 1.0])[:, None] * known
    total = (np.where(known, told, 0.0) * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
    return np.where(known[0] & known[1:].any(axis=0), np.maximum(total, 1e-3), np.nan)


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
    for k in np.flatnonzero(np.abs(step) > limit):
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
    scale = scale_steps(local_px, shape)
    known = np.isfinite(scale) & usable & np.concatenate([[False], usable[:-1]])
    if known.sum() < _FEWEST:
        return {}
    away = scale - np.median(scale[known])
    spread = 1.4826 * float(np.median(np.abs(away[known])))
    limit = max(_LEAST_SCALE, _SPREADS * spread)
    return {int(k): float(scale[k]) for k in np.flatnonzero(known & (np.abs(away) > limit))}


def scale_steps(local_px: Float, shape: tuple[int, int]) -> Float:
    """(n,) growth of the frame against the slice before, from the motion (n, parts, 2) of its parts."""
    parts = round(local_px.shape[1] ** 0.5)
    local = np.asarray(local_px, dtype=np.float64).reshape(len(local_px), parts, parts, 2)
    centre = (np.arange(parts) - (parts - 1) / 2) / parts
    growth = []
    for axis, length in enumerate(shape):
        place = centre * length
        weight = place / (parts * (place**2).sum())
        growth.append(np.einsum("nij,i->n", local[..., 0], weight) if axis == 0 else local[..., 1].sum(axis=1) @ weight)
    return np.asarray(np.mean(growth, axis=0))


def describe_steps(column: Mapping[str, Any], bad: NDArray[np.bool_]) -> tuple[dict[int, list[str]], list[str]]:
    """Remarks on single slices, and sentences for the report, on missing slices, focus and magnification.

    Parameters
    ----------
    column
        Joined columns of `fibtomo.ops.drift_measure.measure_slab`.
    bad
        (n,) slices not to use.
    """
    remarks: dict[int, list[str]] = {}
    notes = []
    missing = find_missing(likeness(column, bad))
    for k, step in missing.items():
        remarks.setdefault(k, []).append(f"missing slice before this one? (step of {step:.1f} slices)")
    if missing:
        notes.append(
            f"Slices seem to be missing before {_listed(missing)}: neighbours differ there as much as over several "
            f"slices. Their distance was left as stated; stage thickness.estimate measures it."
        )
    focus = find_focus_steps((np.asarray(column["detail_y"]) + np.asarray(column["detail_x"])) / 2, ~bad)
    for k, factor in focus.items():
        remarks.setdefault(k, []).append(f"focus step: fine detail {factor:.2g} times as strong as before")
    if focus:
        notes.append(
            f"Fine detail changes suddenly at {_listed(focus)} (refocused, or another material). Slices were not "
            f"sharpened or blurred to match."
        )
    scale = find_scale_steps(np.asarray(column["local_px"]), _shape(column), ~bad)
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
