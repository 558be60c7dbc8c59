"""Fast part of a motion from the images, slow part from something static."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.trajectory import banded_inverse_diagonal

Float = NDArray[np.float64]

_LAGS = 12
_FEWEST_KNOWN = 8
_HUBER, _ROUNDS = 2.5, 12
_OUTLIER = 5.0
_BLOCKS, _MEDIAN_SLICES = 12, 11
_LEAST_NOISE_PX, _LEAST_WALK_PX = 0.01, 1e-3
_MOST_STATED_PX = 0.05  # beyond, the scatter itself tells
_BREAK_PX = 1e3  # walk over a break, where the images leave the step open


@dataclass(frozen=True)
class Blend:
    """A motion whose slow part follows a reference.

    Attributes
    ----------
    shifts_px
        (n, 2) motion.
    sigma_px
        (n, 2) standard deviation of its slow part; infinite along an axis that stays as the images have it.
    used
        (n, 2) slices whose place of the reference fits the others.
    noise_px
        Scatter (dy, dx) of the reference about the motion.
    lean_px
        Straight line (dy, dx) from first to last slice that the images had and the reference has not.
    """

    shifts_px: Float
    sigma_px: Float
    used: NDArray[np.bool_]
    noise_px: tuple[float, float]
    lean_px: tuple[float, float]


def blend_reference(shifts_px: Float, reference_px: Float, sigma_px: Float, breaks: tuple[int, ...] = ()) -> Blend:
    """Take the slow part of a motion from a reference and keep the fast part, along each axis by itself.

    Reference less images is the false motion of structure, a straight line and a random walk, and the noise of the
    reference, which is independent from slice to slice. How strong walk and noise are is read off the scatter of
    differences over 1 to 12 slices; the likeliest walk is then added to the images (Kalman smoother with Huber's
    weights). A noisy reference therefore does not become jitter, and a slice on which something else was taken for
    the reference does not count.

    Parameters
    ----------
    shifts_px
        (n, 2) motion as the images show it.
    reference_px, sigma_px
        (n, 2) places of the reference, and their standard deviations, infinite where it was not found.
    breaks
        Slices before which the images leave the step open; the walk may jump there.

    Returns
    -------
    Blend
        An axis along which the reference is known on fewer than 8 slices stays as the images have it.

    References
    ----------
    Rauch, Tung & Striebel 1965, AIAA J. 3:1445; Huber 1964, Ann. Math. Stat. 35:73.

    Examples
    --------
    >>> lean = np.outer(np.arange(50), [0.1, 0.0])
    >>> found = blend_reference(lean, np.zeros((50, 2)), np.full((50, 2), 0.1))
    >>> bool(np.abs(found.shifts_px - found.shifts_px[0]).max() < 0.01), round(found.lean_px[0], 3)
    (True, 4.9)
    """
    n = len(shifts_px)
    shifts, sigma = np.array(shifts_px, dtype=np.float64), np.full((n, 2), np.inf)
    used, noise, lean = np.zeros((n, 2), dtype=bool), [0.0, 0.0], [0.0, 0.0]
    for axis in (0, 1):
        known = np.flatnonzero(np.isfinite(sigma_px[:, axis]))
        if len(known) < _FEWEST_KNOWN:
            continue
        away = (reference_px - shifts_px)[known, axis]
        line = _robust_line(known, away)
        rest = away - np.polynomial.polynomial.polyval(known, line)
        noise[axis], walk = _noise_and_walk(rest, known, float(np.median(sigma_px[known, axis])))
        expected = np.maximum(noise[axis], np.minimum(sigma_px[known, axis], _MOST_STATED_PX))
        level, sigma[:, axis], fits = _smoothed(n, known, rest, expected, walk, breaks)
        used[known[fits], axis] = True
        shifts[:, axis] += level + np.polynomial.polynomial.polyval(np.arange(n), line)
        lean[axis] = -float(line[1]) * (n - 1)
    return Blend(shifts, sigma, used, (noise[0], noise[1]), (lean[0], lean[1]))


def _robust_line(at: NDArray[np.int64], values: Float) -> Float:
    """Offset and slope of the straight line through the medians of blocks."""
    blocks = np.array_split(np.arange(len(at)), max(2, min(_BLOCKS, len(at) // 5)))
    middles = np.array([(at[block].mean(), np.median(values[block])) for block in blocks])
    return np.asarray(np.polynomial.polynomial.polyfit(*middles.T, 1))


def _noise_and_walk(rest: Float, at: NDArray[np.int64], stated: float) -> tuple[float, float]:
    """Standard deviations of the noise of every place, and of the walk from one slice to the next."""
    lags, spread = [], []
    for lag in range(1, min(_LAGS, len(rest) // 2) + 1):
        steps = rest[lag:] - rest[:-lag]
        lags.append(float(np.median(at[lag:] - at[:-lag])))
        spread.append((1.4826 * float(np.median(np.abs(steps - np.median(steps))))) ** 2)
    slope, twice = np.polyfit(lags, spread, 1)
    slope = max(float(slope), _LEAST_WALK_PX**2)
    twice = max(float(np.mean(np.array(spread) - slope * np.array(lags))), 2 * min(stated, _MOST_STATED_PX) ** 2)
    return max(float(np.sqrt(twice / 2)), _LEAST_NOISE_PX), float(np.sqrt(slope))


def _smoothed(
    n: int, known: NDArray[np.int64], rest: Float, noise: Float, walk: float, breaks: tuple[int, ...]
) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Likeliest random walk (n,), its standard deviation, and which of the `known` places fit it."""
    from scipy.linalg import solveh_banded
    from scipy.ndimage import median_filter

    tie = np.full(n - 1, walk**-2)
    tie[[k - 1 for k in breaks if 0 < k < n]] = _BREAK_PX**-2
    usual = median_filter(rest, min(_MEDIAN_SLICES, len(rest)), mode="nearest")
    weight = _weights(np.abs(rest - usual) / noise)
    for _ in range(_ROUNDS):
        strength = np.zeros(n)
        strength[known] = weight / noise**2
        normal = np.zeros((2, n))
        normal[0] = strength
        normal[0, :-1] += tie
        normal[0, 1:] += tie
        normal[1, :-1] = -tie
        right = np.zeros(n)
        right[known] = strength[known] * rest
        level = solveh_banded(normal, right, lower=True)
        score = np.abs(rest - level[known]) / noise
        new = _weights(score)
        if not new.any() or np.abs(new - weight).max() < 1e-3:
            break
        weight = new
    return level, np.sqrt(banded_inverse_diagonal(normal)), score <= _OUTLIER


def _weights(score: Float) -> Float:
    """Huber's weights of residuals in standard deviations; none beyond the outlier limit."""
    return np.where(score > _OUTLIER, 0.0, np.minimum(1.0, _HUBER / np.maximum(score, 1e-9)))
