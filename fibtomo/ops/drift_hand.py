"""What the user's hand adds to the solve for the motion: breaks of the stack, and slices whose place is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError
from fibtomo.ops.trajectory import Pairs, Trajectory

Float = NDArray[np.float64]

Override = tuple[int, float, float]
Move = Literal["neighbours", "alone"]

_TRUSTED = 0.3
_LEAST_STEP_PX = 0.05


@dataclass(frozen=True, eq=False)
class Levelled:
    """Pairs as if nothing had happened at the breaks.

    Attributes
    ----------
    pairs
        With the jumps taken off.
    jumps_px
        (n, 2) sum of the jumps up to each slice, beyond the usual step; to be added to the solution.
    sizes_px
        The jump at each break, ``None`` where no pair across it can be trusted.
    """

    pairs: Pairs
    jumps_px: Float
    sizes_px: dict[int, float | None]


def check_hand(n: int, overrides: Sequence[Override], also_bad: Sequence[int], breaks: Sequence[int]) -> None:
    """Refuse slices that do not exist or are named twice.

    Raises
    ------
    InputError
        Names the parameter and the slice.
    """
    pinned = [k for k, _, _ in overrides]
    for name, slices, first in (("overrides", pinned, 0), ("also_bad", also_bad, 0), ("breaks", breaks, 1)):
        for k in slices:
            if not first <= k < n:
                raise InputError(f"{name}: slice {k} must lie between {first} and {n - 1}; slices count from 0")
    for k in pinned:
        if pinned.count(k) > 1:
            raise InputError(f"overrides: slice {k} stands twice; keep one row for each slice")


def level_breaks(n: int, pairs: Pairs, confidence: Float, breaks: Sequence[int]) -> Levelled:
    """Take the jumps at known breaks off the pairs that lead over them.

    What is judged on the whole motion (its straight line, what changing structure does to it) is then not misled by
    a field of view that was moved. The nearer slope of structure helps little across a break, so that pairs over it
    count only as far as their own peak convinces.

    Parameters
    ----------
    n
        Number of slices.
    pairs
        All pairs, with their weights.
    confidence
        (m,) confidence of the peak of each pair alone, without what is expected of the motion.
    breaks
        First slices of new segments.

    Examples
    --------
    >>> shift = np.array([[1.0, 0.0], [41.0, -30.0], [1.0, 0.0]])
    >>> pairs = Pairs(np.arange(3), np.arange(1, 4), shift, np.full((3, 2), 0.1), np.ones(3))
    >>> level_breaks(4, pairs, np.ones(3), [2]).jumps_px.tolist()
    [[0.0, 0.0], [0.0, 0.0], [40.0, -30.0], [40.0, -30.0]]
    """
    jumps = np.zeros((n, 2))
    if not breaks:
        return Levelled(pairs, jumps, {})
    over = {b: (pairs.first < b) & (pairs.second >= b) for b in sorted(set(breaks))}
    crossed = np.sum(list(over.values()), axis=0)
    weight = np.where(crossed > 0, np.minimum(pairs.weight, confidence), pairs.weight)
    gap = pairs.second - pairs.first
    shift = pairs.shift_px.copy()
    ordinary = (crossed == 0) & (gap == 1) & (weight > _TRUSTED)
    usual = np.median(shift[ordinary], axis=0) if ordinary.any() else np.zeros(2)
    sizes: dict[int, float | None] = {}
    for b, leads_over in over.items():
        told = np.flatnonzero(leads_over & (crossed == 1) & (weight > _TRUSTED))
        sizes[b] = None
        if len(told):
            best = told[pairs.sigma_px[told].sum(axis=1).argmin()]
            jump = shift[best] - gap[best] * usual
            jumps[b:] += jump
            shift[leads_over] -= jump
            sizes[b] = float(np.hypot(*jump))
        else:
            weight = np.where(leads_over, 0.0, weight)
    return Levelled(replace(pairs, shift_px=shift, weight=weight), jumps, sizes)


def pin(
    shifts: Float, sigma: Float, track: Trajectory, overrides: Sequence[Override], move: Move
) -> tuple[Float, Float]:
    """Lead the motion through the places of pinned slices, exactly.

    "neighbours": the difference to the estimate is shared out among the steps between two pinned slices in proportion
    to the variance of each step, so that measured stretches bend smoothly and a step that nothing measured (a bridge, a
    break) takes nearly all of it; slices after the last pinned one keep its difference. "alone": only the pinned slices
    move, and bridged ones next to them are interpolated anew. Slice 0 stays where it is; a table that holds it is taken
    relative to it.

    Parameters
    ----------
    shifts, sigma
        (n, 2) and (n,) the estimate.
    track
        Solution of the pairs, for the variance of the steps and for which slices were bridged.
    overrides
        (slice, dy, dx) of every pinned slice, px.
    move
        "neighbours" or "alone".

    Returns
    -------
    shifts, sigma
        (n, 2) and (n,); the standard deviation of pinned slices is 0.

    References
    ----------
    Conditioning of a random walk on known places: the Brownian bridge.
    """
    places = {0: (0.0, 0.0)} | {k: (dy, dx) for k, dy, dx in overrides}
    at = np.array(sorted(places))
    wanted = np.array([places[k] for k in at.tolist()]) - np.array(places[0])
    every = np.arange(len(shifts))
    if move == "alone":
        moved = shifts.copy()
        moved[at] = wanted
        known = track.support > 0
        known[at] = True
        for axis in (0, 1):
            moved[~known, axis] = np.interp(every[~known], every[known], moved[known, axis])
        return moved, np.where(np.isin(every, at), 0.0, sigma)
    advance = np.cumsum([0.0, *np.maximum(np.diff(_settled((track.sigma_px**2).mean(axis=1))), _LEAST_STEP_PX**2)])
    rest = wanted - shifts[at]
    moved = shifts + np.stack([np.interp(advance, advance[at], rest[:, axis]) for axis in (0, 1)], axis=1)
    moved[at] = wanted
    settled = _settled(sigma**2)
    before, after = at[np.searchsorted(at, every, side="right") - 1], np.searchsorted(at, every)
    next_pin = np.where(after < len(at), settled[at[np.minimum(after, len(at) - 1)]], np.inf)
    since, until = settled - settled[before], next_pin - settled
    with np.errstate(invalid="ignore", divide="ignore"):
        between = np.where(np.isinf(until), since, np.where(since + until > 0, since * until / (since + until), 0.0))
    own = np.where(np.isin(every, at), 0.0, sigma**2 - settled)
    return moved, np.sqrt(np.maximum(between + own, 0.0))


def _settled(variance: Float) -> Float:
    """The part of a variance that later slices inherit: what is more belongs to a slice alone."""
    return np.minimum.accumulate(variance[::-1])[::-1]
