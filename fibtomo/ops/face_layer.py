"""A layer at one edge of the slices (protective layer, trench wall): followed through the stack, and judged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

_NEAR = 2  # points next to the boundary that the beam blurs
_LEAST_BAND = 5  # points of a layer that can be recognised
_STEEPEST = 0.16  # boundary against the strips: 9 degrees
_SLOPES = 13
_PROBES = 24  # slices on which the slope is looked for
_REACH = 8  # points that the boundary may stray from the expected motion between two slices
_JUMP_COST = 6.0
_STRAY = 2.5  # points by which a strip may depart from the common shape
_SUDDEN = 5.0  # points by which a slice may depart from its neighbours
_NEIGHBOURS = 4
_LEAST_SLICES = 8
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


@dataclass(frozen=True)
class Verdict:
    """How sure it is that the strip of slices above a boundary is no specimen.

    Attributes
    ----------
    found
        Fraction of slices on which the boundary is seen.
    quiet
        Structure in the layer, relative to that of the specimen.
    like_layer
        Fraction of places in the specimen that are as quiet as the layer over two thirds of the width.
    changing
        How far the specimen changes through the stack: 0 not at all, 1 altogether.
    rough
        Root mean square departure of the boundary from its common shape, points.
    above
        Structure between layer and frame edge, relative to that of the specimen.
    band
        Points of the quiet layer next to the boundary.
    """

    found: float = 0.0
    quiet: float = np.inf
    like_layer: float = 1.0
    changing: float = 0.0
    rough: float = np.inf
    above: float = np.inf
    band: int = 0

    @property
    def doubts(self) -> list[str]:
        """The signs that speak against it, as phrases."""
        signs = {
            f"its boundary is seen on {100 * self.found:.0f} % of the slices only": self.found >= 0.95,
            f"it is {self.quiet:.2f} times as structured as the specimen": self.quiet <= 0.4,
            "other parts of the specimen are as even": self.like_layer <= 0.03,
            "the specimen hardly changes through the stack": self.changing >= 0.5,
            f"its boundary is rough by {self.rough:.1f} px": self.rough <= 1.5,
            "there is structure beyond it": self.above <= 0.7,
            "it is too thin": self.band >= _LEAST_BAND,
        }
        return [phrase for phrase, holds in signs.items() if not holds]

    @property
    def certain(self) -> bool:
        """Whether every sign says so."""
        return not self.doubts

    @property
    def likely(self) -> bool:
        """Whether there is a straight, lasting boundary at all."""
        return self.found >= 0.8 and self.quiet <= 0.5 and self.rough <= 2.0 and self.band >= _LEAST_BAND


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
    if n < _LEAST_SLICES or strips < 5 or points < 6 * _LEAST_BAND:
        return None
    probes = np.unique(np.linspace(0, n - 1, _PROBES).astype(int))
    slopes = np.linspace(-_STEEPEST, _STEEPEST, _SLOPES)
    scores = [float(np.median(evidence(sheared(profiles[probes], s * across)).max(axis=1))) for s in slopes]
    slope = slopes[int(np.argmax(scores))]
    path = best_path(evidence(sheared(profiles, slope * across)), motion)
    lines = path[:, None] + slope * across
    for _ in range(2):
        edges = strip_edges(profiles, lines)
        boundary = _common_shape(edges, lines, across, motion)
        lines = np.where(np.isfinite(boundary.places), boundary.places, path)[:, None] + boundary.shape
    return boundary if np.isfinite(boundary.places).sum() >= _LEAST_SLICES else None


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
    level = np.nanmedian(np.where(np.isfinite(power)[..., None], profiles, 0), axis=-1).astype(np.float64)
    above = running_mean(power, -_LEAST_BAND - 1, -1)
    below = np.minimum(
        running_mean(power, _NEAR, _NEAR + _LEAST_BAND),
        running_mean(power, _NEAR + _LEAST_BAND, _NEAR + 2 * _LEAST_BAND),
    )
    step = running_mean(level, _NEAR, _NEAR + _LEAST_BAND) - running_mean(level, -_LEAST_BAND - 1, -1)
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
    reach = _LEAST_BAND + _NEAR + 1
    offsets = np.arange(-reach, reach + 1)
    at = np.rint(lines).astype(int)[:, None, :] + offsets[:, None]
    inside = (at >= 0) & (at < profiles.shape[1])
    window = np.take_along_axis(profiles, np.where(inside, at, 0), axis=1).astype(np.float64)
    window = np.where(inside, window, np.nan)
    with np.errstate(all="ignore"):
        upper = window[:, offsets <= -_NEAR - 1]
        layer = np.median(upper, axis=1)
        noise = np.nanmedian(np.std(upper, axis=1))
        step = np.mean(window[:, (offsets >= _NEAR) & (offsets <= _NEAR + 3)], axis=1) - layer
        rise = (window - layer[:, None]) / step[:, None] - 0.5
        over = (rise >= 0) & (offsets > -reach + 1)[None, :, None]
        first = over.argmax(axis=1)
        high = np.take_along_axis(rise, first[:, None], axis=1)[:, 0]
        low = np.take_along_axis(rise, np.maximum(first - 1, 0)[:, None], axis=1)[:, 0]
        place = at[:, 0] + first - high / (high - low)
        clear = np.abs(step) > np.maximum(5 * noise, 0.25 * np.nanmedian(np.abs(step)))
    # the half crossing of a step lies half a point above the first point beyond it
    return np.where(over.any(axis=1) & clear & (low < 0), place, np.nan)


def _common_shape(edges: Float, lines: Float, across: Float, motion: Float) -> Boundary:
    """Place of each slice and the shape that all share, by medians; slices that stand out are left open."""
    with np.errstate(all="ignore"):
        away = edges - lines
        away = np.where(np.abs(away - _median(away, axis=1)[:, None]) <= 3 * _STRAY, away, np.nan)
        shape = _median(away + lines - _median(lines, axis=1)[:, None], axis=0)
        shape = _smooth(shape, across)
        places = _median(edges - shape, axis=1)
        rest = edges - shape - places[:, None]
        agrees = np.abs(rest) <= _STRAY
        seen = np.isfinite(edges).sum(axis=1)
        spread = 1.4826 * _median(np.abs(np.where(agrees, rest, np.nan)), axis=1)
        sigma = 1.25 * np.maximum(spread, 0.05) / np.sqrt(np.maximum(agrees.sum(axis=1), 1))
    agreement = agrees.sum(axis=1) / np.maximum(seen, 1)
    found = (2 * seen >= edges.shape[1]) & (agreement >= 0.7)
    found &= np.abs(_sudden(np.where(found, places - motion, np.nan))) <= _SUDDEN
    visible = _median(np.where(found, places - motion, np.nan)[None], axis=1) + motion >= _LEAST_BAND + _NEAR + 1
    found &= visible
    straight = np.polynomial.polynomial.polyfit(across, shape, 1)[1]
    slopes = np.array([_slope(across, rest[k], agrees[k]) for k in range(len(edges))]) + straight
    void = np.where(found, 0.0, np.nan)
    return Boundary(places + void, sigma + void, slopes + void, np.where(found, agreement, 0.0), visible, shape)


def _sudden(places: Float) -> Float:
    """Departure of each value from the median of its neighbours."""
    padded = np.pad(places, _NEIGHBOURS, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1)
    return np.nan_to_num(places - _median(windows, axis=1))


def _median(values: Float, axis: int) -> Float:
    """Median without NaN, NaN where nothing is left, silently."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis))


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
    limit = max(_STRAY, 3 * 1.4826 * float(np.median(np.abs(away[known]))))
    return np.asarray(trend + np.where(np.abs(away) <= limit, away, 0.0))


def judge(profiles: Float32, boundary: Boundary) -> Verdict:
    """Weigh the signs that tell a layer from specimen; see `Verdict`."""
    good = np.flatnonzero(np.isfinite(boundary.places))
    seen = np.isfinite(profiles).any(axis=(1, 2)) & boundary.visible
    if len(good) < _LEAST_SLICES:
        return Verdict()
    lines = np.rint(boundary.places[good][:, None] + boundary.shape).astype(int)
    up, down = int(lines.max()), profiles.shape[1] - int(lines.min())
    offsets = np.arange(-up, down)
    at = lines[:, None, :] + offsets[:, None]
    inside = (at >= 0) & (at < profiles.shape[1])
    aligned = np.take_along_axis(profiles[good], np.where(inside, at, 0), axis=1)
    aligned = np.where(inside, aligned, np.float32(np.nan))
    busy = structure(aligned).astype(np.float64)
    typical = _median(busy, axis=0)
    below, above = offsets >= _NEAR, offsets < -_NEAR
    deep = float(np.nanmedian(typical[below])) if np.isfinite(typical[below]).any() else 0.0
    if deep <= 0:
        return Verdict()
    level = _median(_median(aligned, axis=2), axis=0)
    band = _band(typical, level, offsets, deep)
    layer = (offsets < -_NEAR) & (offsets >= -_NEAR - band)
    if band < _LEAST_BAND:
        return Verdict(band=band)
    quiet = float(np.nanmedian(busy[:, layer]))
    rest = np.flatnonzero(above & ~layer)
    return Verdict(
        found=len(good) / max(1, int(seen.sum())),
        quiet=quiet / deep,
        like_layer=_quiet_places(aligned[:, below], min(band, 12), max(1.3 * quiet, 0.25 * deep)),
        changing=_change(aligned[:, below]),
        rough=_rough(profiles, boundary),
        above=_noise_above(aligned, rest, deep, _variation(aligned[:, below])),
        band=band,
    )


def _band(typical: Float, level: Float, offsets: NDArray[np.int64], deep: float) -> int:
    """Points of the quiet, even layer next to the boundary."""
    count = 0
    start = int(np.searchsorted(offsets, -_NEAR))
    near = level[max(0, start - _LEAST_BAND) : start]
    if not len(near) or not np.isfinite(near).any():
        return 0
    grey = float(np.nanmedian(near))
    for i in range(start - 1, -1, -1):
        if not typical[i] <= 0.5 * deep or not abs(level[i] - grey) <= 0.3:
            break
        count += 1
    return count


def _quiet_places(below: Float32, height: int, limit: float) -> float:
    """Fraction of windows in the specimen, two thirds as wide as the slice, that are as quiet as the layer."""
    strips = below.shape[2]
    half = 2 * strips // 3
    power = [
        running_mean(structure(below[:, :, first : first + half], 0.8).astype(np.float64) ** 2, 0, height)
        for first in (0, (strips - half) // 2, strips - half)
    ]
    known = np.isfinite(power[0])
    if not known.any():
        return 1.0
    least = np.min([np.where(np.isfinite(p), p, np.inf) for p in power], axis=0)
    return float((least[known] <= limit**2).mean())


def _variation(part: Float32) -> float:
    """Typical variance over z at a fixed place."""
    with np.errstate(all="ignore"):
        centred = part - _median(part, axis=2)[:, :, None]
        count = np.isfinite(centred).sum(axis=0)
        mean = np.nansum(centred, axis=0) / np.maximum(count, 1)
        variance = np.nansum((centred - mean) ** 2, axis=0) / np.maximum(count, 1)
    return float(np.median(variance[count > 1])) if (count > 1).any() else 0.0


def _change(below: Float32) -> float:
    """Share of the specimen's variance that varies over z."""
    with np.errstate(all="ignore"):
        centred = below - _median(below, axis=2)[:, :, None]
        count = np.isfinite(centred).sum(axis=0)
        enough = 2 * count >= len(below)
        total = np.nansum(centred**2, axis=0) / np.maximum(count, 1)
        mean = np.nansum(centred, axis=0) / np.maximum(count, 1)
    if not enough.any() or total[enough].sum() <= 0:
        return 0.0
    return float(1 - (mean[enough] ** 2).sum() / total[enough].sum())


def _noise_above(aligned: Float32, rest: NDArray[np.int64], deep: float, variation: float) -> float:
    """Structure between layer and frame edge: of most strips, or what changes over z, whichever is smaller."""
    if not len(rest):
        return 0.0
    part = aligned[:, rest]
    busy = structure(part, 0.5)
    spatial = float(np.nanquantile(busy, 0.75)) / deep if np.isfinite(busy).any() else 0.0
    temporal = float(np.sqrt(_variation(part) / max(variation, 1e-12)))
    return min(spatial, temporal)


def _rough(profiles: Float32, boundary: Boundary) -> float:
    good = np.isfinite(boundary.places)
    edges = strip_edges(profiles[good], boundary.places[good][:, None] + boundary.shape)
    rest = edges - boundary.places[good][:, None] - boundary.shape
    return float(np.sqrt(np.nanmean(np.minimum(np.abs(rest), 3 * _STRAY) ** 2)))
