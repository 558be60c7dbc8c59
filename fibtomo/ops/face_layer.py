"""The end of a layer at one edge of the slices (protective layer, trench wall), followed through the stack."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

NEAR = 2  # points next to the boundary that the beam blurs
LEAST_BAND = 5  # points of a layer that can be recognised
_STEEPEST = 0.16  # boundary against the strips: 9 degrees
_SLOPES = 13
_PROBES = 24  # slices on which the slope is looked for
_REACH = 8  # points that the boundary may stray from the expected motion between two slices
_JUMP_COST = 6.0
STRAY = 2.5  # points by which a strip may depart from the common shape
MOST_SLICES = 200  # looked at together
_SUDDEN = 5.0  # points by which a slice may depart from its neighbours
_NEIGHBOURS = 4
LEAST_SLICES = 8
_NOISE = 0.02  # of the specimen's structure; below that one layer is as quiet as another


@dataclass(frozen=True, eq=False)
class Boundary:
    """Where the layer ends on each slice.

    Attributes
    ----------
    places
        (n,) boundary at the middle of the slice, in points; NaN where it was not found.
    sigma
        (n,) its standard deviation.
    slopes
        (n,) points per point along the strips.
    agreement
        (n,) fraction of strips that agree with the common shape.
    visible
        (n,) False where the motion has carried the boundary out of view.
    shape
        (strips,) departure from `places`, the same for all slices.
    """

    places: Float
    sigma: Float
    slopes: Float
    agreement: Float
    visible: NDArray[np.bool_]
    shape: Float


def follow_boundary(profiles: Float32, motion: Float, across: Float) -> Boundary | None:
    """Follow the end of a layer that begins at the first point of the profiles.

    Parameters
    ----------
    profiles
        (n, points, strips), NaN on padding.
    motion
        (n,) expected motion of the boundary, in points.
    across
        (strips,) distance of the middle of each strip from the middle of the slice, in points.

    Returns
    -------
    Boundary or None
        ``None`` if nothing resembles a layer.

    References
    ----------
    Viterbi 1967, IEEE Trans. Inf. Theory 13:260 (the path through the stack).
    """
    n, points, strips = profiles.shape
    if n < LEAST_SLICES or strips < 5 or points < 6 * LEAST_BAND:
        return None
    probes = evenly(n, _PROBES)
    slopes = np.linspace(-_STEEPEST, _STEEPEST, _SLOPES)
    scores = [float(np.median(evidence(sheared(profiles[probes], s * across)).max(axis=1))) for s in slopes]
    slope = slopes[int(np.argmax(scores))]
    parts = np.array_split(profiles, -(-n // MOST_SLICES))
    path = best_path(np.concatenate([evidence(sheared(part, slope * across)) for part in parts]), motion)
    lines = path[:, None] + slope * across
    for _ in range(2):
        edges = strip_edges(profiles, lines)
        boundary = _common_shape(edges, lines, across, motion)
        lines = np.where(np.isfinite(boundary.places), boundary.places, path)[:, None] + boundary.shape
    return boundary if np.isfinite(boundary.places).sum() >= LEAST_SLICES else None


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """Indices of at most `most` of n things, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def sheared(profiles: Float32, offsets: Float) -> Float32:
    """Profiles (n, points, strips) read along a line that departs by `offsets` (strips,) from the middle strip."""
    at = np.arange(profiles.shape[1])[:, None] + np.rint(offsets).astype(int)
    inside = (at >= 0) & (at < profiles.shape[1])
    moved = np.take_along_axis(profiles, np.broadcast_to(np.where(inside, at, 0), profiles.shape), axis=1)
    return np.where(inside, moved, np.float32(np.nan))


def structure(profiles: Float32, share: float = 0.7) -> Float32:
    """(n, points): quantile `share` of the difference between strips two apart; shading and few marks do not count."""
    with np.errstate(all="ignore"):
        steps = np.abs(profiles[..., 2:] - profiles[..., :-2])
        order = np.sort(steps, axis=-1)  # NaN last
        count = np.isfinite(order).sum(axis=-1)
        at = np.clip(np.ceil(share * count).astype(int) - 1, 0, order.shape[-1] - 1)
        value = np.take_along_axis(order, at[..., None], axis=-1)[..., 0]
    return np.where(2 * count >= order.shape[-1], value, np.float32(np.nan))


def evidence(profiles: Float32) -> Float:
    """(n, points): how much more structure there is below each point than above, and how far the grey steps."""
    power = structure(profiles).astype(np.float64) ** 2
    level = median(profiles, axis=2)
    above = running_mean(power, -LEAST_BAND - 1, -1)
    below = np.minimum(
        running_mean(power, NEAR, NEAR + LEAST_BAND),
        running_mean(power, NEAR + LEAST_BAND, NEAR + 2 * LEAST_BAND),
    )
    step = running_mean(level, NEAR, NEAR + LEAST_BAND) - running_mean(level, -LEAST_BAND - 1, -1)
    floor = _NOISE * np.nanquantile(power, 0.75) + 1e-6 if np.isfinite(power).any() else 1.0
    score = np.log((below + floor) / (above + floor)) + np.minimum(np.abs(step), 1.0)
    return np.where(np.isfinite(score), score, -1e3)


def running_mean(values: Float, first: int, stop: int) -> Float:
    """Mean (n, points) of ``values[:, r + first : r + stop]``; NaN where that leaves the array or meets NaN."""
    n, points = values.shape
    total = np.concatenate([np.zeros((n, 1)), np.cumsum(np.nan_to_num(values), axis=1)], axis=1)
    voids = np.concatenate([np.zeros((n, 1)), np.cumsum(~np.isfinite(values), axis=1)], axis=1)
    low, high = np.arange(points) + first, np.arange(points) + stop
    inside = (low >= 0) & (high <= points)
    low, high = np.where(inside, low, 0), np.where(inside, high, 0)
    sound = inside & (voids[:, high] == voids[:, low])
    return np.where(sound, (total[:, high] - total[:, low]) / (stop - first), np.nan)


def best_path(score: Float, motion: Float) -> Float:
    """(n,) likeliest points through `score` (n, points) that move about as `motion` (n,) says, with rare jumps."""
    n, points = score.shape
    best = score[0]
    back = np.zeros((n, points), dtype=np.int64)
    steps = np.arange(-_REACH, _REACH + 1)
    for k in range(1, n):
        expected = motion[k] - motion[k - 1]
        whole = int(np.rint(expected))
        source = np.arange(points)[:, None] - whole - steps
        inside = (source >= 0) & (source < points)
        cost = 0.5 * (whole + steps - expected) ** 2 / 2.0**2
        reached = np.where(inside, best[np.where(inside, source, 0)] - cost, -np.inf)
        choice = reached.argmax(axis=1)
        value = reached[np.arange(points), choice]
        jump = int(best.argmax())
        jumps = best[jump] - _JUMP_COST > value
        back[k] = np.where(jumps, jump, source[np.arange(points), choice])
        best = score[k] + np.where(jumps, best[jump] - _JUMP_COST, value)
    path = np.empty(n, dtype=np.int64)
    path[-1] = best.argmax()
    for k in range(n - 1, 0, -1):
        path[k - 1] = back[k, path[k]]
    return path.astype(np.float64)


def strip_edges(profiles: Float32, lines: Float) -> Float:
    """(n, strips) sub-pixel place where each profile leaves the layer, NaN where there is no step.

    The place is where the profile first crosses half the step between the layer and what lies below.
    """
    reach = LEAST_BAND + NEAR + 1
    offsets = np.arange(-reach, reach + 1)
    at = np.rint(lines).astype(int)[:, None, :] + offsets[:, None]
    inside = (at >= 0) & (at < profiles.shape[1])
    window = np.take_along_axis(profiles, np.where(inside, at, 0), axis=1).astype(np.float64)
    window = np.where(inside, window, np.nan)
    with np.errstate(all="ignore"):
        upper = window[:, offsets <= -NEAR - 1]
        layer = np.median(upper, axis=1)
        noise = float(median(np.std(upper, axis=1).ravel(), axis=0))
        step = np.mean(window[:, (offsets >= NEAR) & (offsets <= NEAR + 3)], axis=1) - layer
        rise = (window - layer[:, None]) / step[:, None] - 0.5
        over = (rise >= 0) & (offsets > -reach + 1)[None, :, None]
        first = over.argmax(axis=1)
        high = np.take_along_axis(rise, first[:, None], axis=1)[:, 0]
        low = np.take_along_axis(rise, np.maximum(first - 1, 0)[:, None], axis=1)[:, 0]
        place = at[:, 0] + first - high / (high - low)
        clear = np.abs(step) > np.maximum(5 * noise, 0.25 * float(median(np.abs(step).ravel(), axis=0)))
    # the half crossing of a step lies half a point above the first point beyond it
    return np.where(over.any(axis=1) & clear & (low < 0), place, np.nan)


def _common_shape(edges: Float, lines: Float, across: Float, motion: Float) -> Boundary:
    """Place of each slice and the shape that all share, by medians; slices that stand out are left open."""
    with np.errstate(all="ignore"):
        away = edges - lines
        away = np.where(np.abs(away - median(away, axis=1)[:, None]) <= 3 * STRAY, away, np.nan)
        shape = median(away + lines - median(lines, axis=1)[:, None], axis=0)
        shape = _smooth(shape, across)
        places = median(edges - shape, axis=1)
        rest = edges - shape - places[:, None]
        agrees = np.abs(rest) <= STRAY
        seen = np.isfinite(edges).sum(axis=1)
        spread = 1.4826 * median(np.abs(np.where(agrees, rest, np.nan)), axis=1)
        sigma = 1.25 * np.maximum(spread, 0.05) / np.sqrt(np.maximum(agrees.sum(axis=1), 1))
    agreement = agrees.sum(axis=1) / np.maximum(seen, 1)
    found = (2 * seen >= edges.shape[1]) & (agreement >= 0.7)
    found &= np.abs(_sudden(np.where(found, places - motion, np.nan))) <= _SUDDEN
    visible = median(np.where(found, places - motion, np.nan)[None], axis=1) + motion >= LEAST_BAND + NEAR + 1
    found &= visible
    straight = np.polynomial.polynomial.polyfit(across, shape, 1)[1]
    slopes = np.array([_slope(across, rest[k], agrees[k]) for k in range(len(edges))]) + straight
    void = np.where(found, 0.0, np.nan)
    return Boundary(places + void, sigma + void, slopes + void, np.where(found, agreement, 0.0), visible, shape)


def _sudden(places: Float) -> Float:
    """Departure of each value from the median of its neighbours."""
    padded = np.pad(places, _NEIGHBOURS, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1)
    return np.nan_to_num(places - median(windows, axis=1))


def median(values: Float | Float32, axis: int) -> Float:
    """Median of what is not NaN, NaN where nothing is."""
    order = np.sort(np.asarray(values, dtype=np.float64), axis=axis)  # NaN last
    count = np.isfinite(order).sum(axis=axis, keepdims=True)
    last = order.shape[axis] - 1
    low, high = (np.clip(at, 0, last) for at in ((count - 1) // 2, count // 2))
    middle = np.take_along_axis(order, low, axis=axis) + np.take_along_axis(order, high, axis=axis)
    return np.asarray(np.where(count > 0, middle / 2, np.nan).squeeze(axis=axis))


def _slope(across: Float, rest: Float, use: NDArray[np.bool_]) -> float:
    if use.sum() < 3:
        return 0.0
    return float(np.polynomial.polynomial.polyfit(across[use], rest[use], 1)[1])


def _smooth(shape: Float, across: Float) -> Float:
    """Shape with gaps and outliers filled by a low polynomial."""
    known = np.isfinite(shape)
    if known.sum() < 5:
        return np.where(known, shape, 0.0)
    line = np.polynomial.polynomial.polyfit(across[known], shape[known], 1)
    trend = np.polynomial.polynomial.polyval(across, line)
    away = np.where(known, shape - trend, 0.0)
    limit = max(STRAY, 3 * 1.4826 * float(np.median(np.abs(away[known]))))
    return np.asarray(trend + np.where(np.abs(away) <= limit, away, 0.0))
