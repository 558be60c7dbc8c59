"""Depth of a charging tail in each row, from the differences of rows that lie close to each other.

What the specimen shows hardly changes from a row to the next; the depth of a tail does. The difference of two rows is
``(a_q - a_r) exp(-(x - start) / length)`` plus noise, wherever no phase boundary lies between them. A robust fit gives
one number for each pair of rows; least squares over all pairs, with depth 0 above and below the tail, give the depths.
No phases need be known, and what does not change from row to row (curtains, shading) drops out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.grey_modes import Float

Flags = NDArray[np.bool_]
LENGTHS_PX = tuple(float(v) for v in np.geomspace(8, 200, 15))
"""Decay lengths that are tried."""
GAP_PX = 2
"""Pixels left out beyond the edge of the inclusion."""
_LAGS = (1, 2, 3, 5)
_TUKEY = 4.0
_LEAST_PX = 6
_JITTER = 0.35  # of the depths of a tail, relative
_PAIR_NOISE = 1.155  # of a difference of two rows, against one of a row and the mean of its neighbours


@dataclass(frozen=True)
class Scene:
    """A slice in which tails run to the right.

    Attributes
    ----------
    grey
        (rows, columns).
    clipped
        Pixels whose grey was cut off.
    noise
        Standard deviation of `row_bends`.
    """

    grey: Float
    clipped: Flags
    noise: float


@dataclass(frozen=True)
class Tail:
    """Depth (rows,) in grey levels at the first column beyond an inclusion, darkness positive."""

    rows: NDArray[np.int64]
    start: Float
    depth: Float
    length_px: float
    gain: float
    """Logarithm of the likelihood that a row gains."""

    def shape(self, columns: int) -> Float:
        """(rows, columns) darkness."""
        away = np.arange(columns) - self.start[:, None]
        fall = np.exp(-np.maximum(away, 0) / self.length_px)
        return np.where(away > 0, self.depth[:, None] * fall, 0.0)


def row_bends(grey: Float) -> Float:
    """Each row less the mean of the rows above and below."""
    bend = np.empty_like(grey)
    bend[1:-1] = grey[1:-1] - 0.5 * (grey[:-2] + grey[2:])
    bend[0], bend[-1] = grey[0] - grey[1], grey[-1] - grey[-2]
    return bend


def strongest(values: Float, known: Flags, shape: Float, noise: float, block: int = 1) -> tuple[Float, Float]:
    """Amplitude (n,) of ``shape`` in each row of values, phase boundaries left out, and its standard error.

    A faint boundary of some length is lost in the noise of single pixels; means over `block` pixels show it.

    Examples
    --------
    >>> x = np.arange(60)
    >>> values = 12 * np.exp(-x / 20)[None] + np.random.default_rng(0).normal(0, 2, (1, 60))
    >>> values[0, 20:30] += 80
    >>> amplitude, error = strongest(values, np.ones((1, 60), bool), np.exp(-x / 20)[None], 2.0)
    >>> bool(abs(amplitude[0] - 12) < 2), bool(error[0] < 1)
    (True, True)
    """
    known_px, blocks = known, -(-values.shape[1] // block)
    pad = ((0, 0), (0, blocks * block - values.shape[1]))
    count = np.pad(known, pad).reshape(len(values), blocks, block).sum(axis=2)
    known, root = count > 0, np.sqrt(np.maximum(count, 1))
    values, shape = (
        np.pad(np.where(inside, v, 0.0), pad).reshape(len(v), blocks, block).sum(axis=2) / root
        for v, inside in ((values, known_px), (np.broadcast_to(shape, known_px.shape), known_px))
    )
    base = shape
    ratio = np.where(known, values / np.maximum(shape, 1e-9), np.inf)
    order = np.argsort(ratio, axis=1)
    mass = np.cumsum(np.take_along_axis(base, order, 1), axis=1)
    middle = np.argmax(mass >= 0.5 * mass[:, -1:], axis=1)[:, None]
    found = np.take_along_axis(ratio, np.take_along_axis(order, middle, 1), 1)[:, 0]
    found = np.where(np.isfinite(found), found, 0.0)
    size = np.ones(len(values))
    for _ in range(8):
        left = (values - found[:, None] * base) / (_TUKEY * noise)
        weight = base * np.clip(1 - left**2, 0, None) ** 2
        size = np.einsum("nx,nx->n", weight, base) + 1e-9
        found = np.einsum("nx,nx->n", weight, values) / size
    return found, noise / np.sqrt(size)


def block_px(length_px: float) -> int:
    """Pixels over which a tail of this length may be averaged."""
    return int(np.clip(length_px / 8, 1, 8))


def windows(scene_rows: Any, first: Any, stop: Any, width: int) -> tuple[Any, Any, Flags]:
    """Indices (n, width) of the columns from `first` to `stop` in some rows, and which of them exist."""
    x = np.asarray(first)[:, None] + np.arange(width)
    return np.asarray(scene_rows)[:, None], x, x < np.asarray(stop)[:, None]


def fit_tail(scene: Scene, rows: NDArray[np.int64], start: Float, stop: int, length_px: float | None = None) -> Tail:
    """The tail, with the length that explains most, of an inclusion that ends at `start` (rows,).

    Parameters
    ----------
    scene
        The slice.
    rows
        Neighbouring rows that may hold the tail; beyond them it is taken to be gone.
    start
        Last column of the inclusion in each row, px.
    stop
        Column from which on another tail lies on top.
    length_px
        Its length, where known.
    """
    best: Tail | None = None
    for length in LENGTHS_PX[::2] if length_px is None else (length_px,):
        tail = _of_length(scene, rows, start, stop, length)
        best = tail if best is None or tail.gain > best.gain else best
    if best is None:
        raise ValueError("no length to try")
    if length_px is None:
        for near in LENGTHS_PX[1::2]:
            if 0.6 < near / best.length_px < 1.6:
                tail = _of_length(scene, rows, start, stop, near)
                best = tail if tail.gain > best.gain else best
    return best


def _of_length(scene: Scene, rows: NDArray[np.int64], start: Float, stop: int, length: float) -> Tail:
    ny, nx = scene.grey.shape
    n = len(rows)
    stop = min(stop, nx)
    lines, told, weights = [], [], []
    for lag in _LAGS:
        upper = np.arange(max(0, rows[0] - lag), min(ny - lag, rows[-1] + 1))
        i, j = upper - rows[0], upper + lag - rows[0]
        begin = np.maximum(_or_less(start, i), _or_less(start, j)).astype(np.int64) + GAP_PX
        width = int(min(3 * length, max(stop - begin.min(initial=stop), 0)))
        if width < _LEAST_PX or not len(upper):
            continue
        y, x, exists = windows(upper, begin, np.full(len(upper), stop), width)
        x = np.minimum(x, nx - 1)
        known = exists & ~scene.clipped[y, x] & ~scene.clipped[y + lag, x]
        shape = np.broadcast_to(np.exp(-np.arange(width) / length), known.shape)
        found, error = strongest(
            scene.grey[y, x] - scene.grey[y + lag, x], known, shape, _PAIR_NOISE * scene.noise, block_px(length)
        )
        good = known.sum(axis=1) >= _LEAST_PX
        line = np.zeros((len(upper), n))
        for at, sign in ((i, -1.0), (j, 1.0)):
            inside = (at >= 0) & (at < n)
            place = np.clip(at, 0, n - 1)
            fall = np.exp(-(begin - start[place]) / length)
            line[np.flatnonzero(inside), place[inside]] = sign * fall[inside]
        lines.append(line[good])
        told.append(found[good])
        weights.append(1 / (error[good] ** 2 * (1 + (lag / 2) ** 2)))
    if not lines:
        return Tail(rows, start, np.zeros(n), length, 0.0)
    depth = _least_squares(np.concatenate(lines), np.concatenate(told), np.concatenate(weights))
    tail = Tail(rows, start, depth, length, 0.0)
    return Tail(rows, start, depth, length, gain_of(scene, tail, stop))


def _or_less(start: Float, at: NDArray[np.int64]) -> Float:
    inside = (at >= 0) & (at < len(start))
    return np.where(inside, start[np.clip(at, 0, len(start) - 1)], -np.inf)


def _least_squares(lines: Float, told: Float, weights: Float) -> Float:
    """Depths of all rows from what pairs of rows say, those that disagree held back (Huber)."""
    n = lines.shape[1]
    trust, depth = weights, np.zeros(n)
    for step in range(12):
        if (
            step == 6 and np.abs(depth).max() > 0
        ):  # slow changes along the rows are the specimen's; those of charge are fast
            deep = np.abs(depth) > 0.4 * np.quantile(np.abs(depth), 0.8)
            middle = float(np.median(depth[deep]))
            lines = np.concatenate([lines, np.eye(n)[deep]])
            told = np.concatenate([told, np.full(int(deep.sum()), middle)])
            weights = np.concatenate([weights, np.full(int(deep.sum()), 1 / max(_JITTER * abs(middle), 1e-6) ** 2)])
            trust = weights
        normal = lines.T @ (lines * trust[:, None])
        depth = np.linalg.solve(normal + (1e-6 * weights.mean() + 1e-12) * np.eye(n), lines.T @ (trust * told))
        trust = weights / np.maximum(1, 0.5 * np.abs(told - lines @ depth) * np.sqrt(weights))
    return np.asarray(depth)


def gain_of(scene: Scene, tail: Tail, stop: int) -> float:
    """By how much less neighbouring rows differ once the tail is taken off, per row."""
    if len(tail.rows) < 2:
        return 0.0
    upper, lower = tail.rows[:-1], tail.rows[1:]
    begin = np.maximum(tail.start[:-1], tail.start[1:]).astype(np.int64) + GAP_PX
    y, x, exists = windows(upper, begin, np.full(len(upper), stop), 120)
    x = np.minimum(x, scene.grey.shape[1] - 1)
    known = exists & ~scene.clipped[y, x] & ~scene.clipped[y + 1, x]
    off = scene.grey[y, x] - scene.grey[lower[:, None], x]
    fall = [
        tail.depth[part, None] * np.exp(-(x - tail.start[part, None]) / tail.length_px)
        for part in (slice(None, -1), slice(1, None))
    ]
    limit = (3 * _PAIR_NOISE * scene.noise) ** 2
    before, after = np.minimum(off**2, limit), np.minimum((off + fall[0] - fall[1]) ** 2, limit)
    return float(np.sum((before - after)[known])) * 4.5 / limit / len(upper)
