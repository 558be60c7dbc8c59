"""From shifts between pairs of slices to one trajectory: a robust, weighted, banded least-squares solve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_ROBUST_LIMIT = 4.0  # pairs farther off than this many robust standard deviations lose their vote
_LEAST_SCALE_PX = 0.03
_ANNEALING = 1.5
_LOST_VOTE = 0.05


@dataclass(frozen=True, eq=False)
class Pairs:
    """Measured motion between pairs of slices.

    Attributes
    ----------
    first, second
        (m,) slice indices, first < second.
    shift_px, sigma_px
        (m, 2) motion (dy, dx) from first to second, and its standard deviation.
    weight
        (m,) confidence 0 to 1; pairs at 0 are ignored.
    """

    first: Int
    second: Int
    shift_px: Float
    sigma_px: Float
    weight: Float

    def only(self, keep: NDArray[np.bool_]) -> "Pairs":
        """Return the pairs selected by a mask."""
        return Pairs(*(column[keep] for column in (self.first, self.second, self.shift_px, self.sigma_px, self.weight)))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Solution of `solve_trajectory`.

    Attributes
    ----------
    shifts_px, sigma_px
        (n, 2) position relative to slice 0, and its standard deviation.
    support
        (n,) confidence of the best pair that reaches each slice; 0 where it was bridged.
    pair_weight
        (m,) 0 (rejected) to 1 for every pair given.
    breaks
        Slices that no accepted chain of pairs joins to what lies before them; the step there is assumed.
    measured
        (n - 1,) whether the step from each slice to the next lies inside a chain of accepted pairs.
    """

    shifts_px: Float
    sigma_px: Float
    support: Float
    pair_weight: Float
    breaks: tuple[int, ...]
    measured: NDArray[np.bool_]


def solve_trajectory(n: int, pairs: Pairs, expected_px: Float | None = None) -> Trajectory:
    """Find the positions that explain the pair shifts best.

    Pairs that contradict the others are voted out by graduated non-convexity (Geman-McClure loss from convex to
    robust); a real jump is what all pairs across it agree on, and is kept. Slices or stretches that no accepted
    pair reaches are bridged with the expected step, or the usual one of their neighbourhood.

    Parameters
    ----------
    n
        Number of slices.
    pairs
        The measurements.
    expected_px
        (n, 2) motion that geometry predicts.

    Raises
    ------
    InputError
        An index lies outside the stack.

    References
    ----------
    Yang et al. 2020, IEEE Robot. Autom. Lett. 5:1127 (graduated non-convexity); Takahashi et al. 1973 (variances
    from a sparse factor).

    Examples
    --------
    >>> first, second = np.array([0, 1, 0]), np.array([1, 2, 2])
    >>> shift = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    >>> pairs = Pairs(first, second, shift, np.full((3, 2), 0.1), np.ones(3))
    >>> solve_trajectory(3, pairs).shifts_px[:, 0].round(6).tolist()
    [0.0, 1.0, 2.0]
    """
    if len(pairs.first) and (pairs.first.min() < 0 or pairs.second.max() >= n or (pairs.first >= pairs.second).any()):
        raise InputError(f"pairs must join an earlier to a later one of {n} slices")
    usable = (pairs.weight > 0) & np.isfinite(pairs.sigma_px).all(axis=1)
    kept = pairs.only(usable)
    vote = np.ones(len(kept.first))
    if n < 2:
        alone = np.ones(len(usable)), (), np.zeros(0, dtype=bool)
        return Trajectory(np.zeros((n, 2)), np.zeros((n, 2)), np.ones(n), *alone)
    expected = None if expected_px is None else np.diff(expected_px, axis=0)
    links = _bridges(n, kept, vote, expected)
    shifts = _positions(n, kept, vote, links)
    scale = _scale(_misfit(kept, shifts))
    control = max(float((_misfit(kept, shifts) / (_ROBUST_LIMIT * scale)).max(initial=1.0)) ** 2, 1.0)
    while True:
        misfit = _misfit(kept, shifts)
        scale = _scale(misfit[vote > 0.5] if (vote > 0.5).any() else misfit)
        limit = control * (_ROBUST_LIMIT * scale) ** 2
        vote = (limit / (limit + misfit**2)) ** 2
        shifts = _positions(n, kept, vote, links)
        if control <= 1:
            break
        control = max(control / _ANNEALING, 1.0)
    vote = np.where(_misfit(kept, shifts) > _ROBUST_LIMIT * scale, 0.0, vote)
    links = _bridges(n, kept, vote, expected)
    shifts, sigma = _positions(n, kept, vote, links), _deviations(n, kept, vote, links)
    support = np.zeros(n)
    for ends in (kept.first, kept.second):
        np.maximum.at(support, ends, kept.weight * vote)
    pair_weight = np.zeros(len(usable))
    pair_weight[usable] = vote
    breaks, measured = _chains(n, kept, vote, support)
    return Trajectory(shifts, sigma, support, pair_weight, breaks, measured)


def _model(pairs: Pairs, shifts: Float) -> Float:
    return shifts[pairs.second] - shifts[pairs.first]


def _misfit(pairs: Pairs, shifts: Float) -> Float:
    """(m,) disagreement of each pair with the trajectory, in its own standard deviations."""
    floor = np.maximum(pairs.sigma_px, _LEAST_SCALE_PX)
    return np.sqrt((((pairs.shift_px - _model(pairs, shifts)) / floor) ** 2).mean(axis=1))


def _scale(misfit: Float) -> float:
    """Robust size of the misfits; never above 1, so that bad pairs do not excuse each other by being many."""
    if not len(misfit):
        return 1.0
    return float(np.clip(1.4826 * np.median(misfit), 0.5, 1.0))


def _bridges(n: int, pairs: Pairs, vote: Float, expected: Float | None) -> Pairs:
    """Weak links between neighbouring slices that no accepted chain of pairs joins."""
    good = vote > _LOST_VOTE
    group = _groups(n, pairs, vote)
    at = np.flatnonzero(group[1:] != group[:-1])
    single = pairs.second - pairs.first == 1
    where, steps = pairs.second[single & good], pairs.shift_px[single & good]
    usual = np.zeros((len(at), 2))
    spread = np.full(len(at), 1.0)
    if expected is not None:
        usual = expected[at]
    for i, k in enumerate(at):
        near = steps[np.abs(where - k) <= 10]
        if len(near) >= 3:
            middle = np.median(near, axis=0)
            spread[i] = max(1.0, 3 * 1.4826 * float(np.median(np.abs(near - middle))))
            usual[i] = middle if expected is None else usual[i]
    return Pairs(at, at + 1, usual, np.repeat(spread[:, None], 2, axis=1) * 10, np.ones(len(at)))


def _groups(n: int, pairs: Pairs, vote: Float) -> Int:
    """(n,) number of the connected group that each slice belongs to."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    good = vote > _LOST_VOTE
    graph = coo_array((np.ones(int(good.sum())), (pairs.first[good], pairs.second[good])), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _chains(n: int, pairs: Pairs, vote: Float, support: Float) -> tuple[tuple[int, ...], NDArray[np.bool_]]:
    """Slices at which a new chain begins, and which steps lie inside a chain."""
    reached = np.flatnonzero(support > _LOST_VOTE)
    group = _groups(n, pairs, vote)[reached]
    measured = np.zeros(n - 1, dtype=bool)
    joined = group[1:] == group[:-1]
    for a, b in zip(reached[:-1][joined], reached[1:][joined], strict=True):
        measured[a:b] = True
    return tuple(int(k) for k in reached[1:][~joined]), measured


def _normal(n: int, pairs: Pairs, vote: Float, links: Pairs, axis: int) -> tuple[Float, Float]:
    """Banded normal matrix (lower form, slice 0 left out) and right-hand side of one axis."""
    first = np.concatenate([pairs.first, links.first])
    second = np.concatenate([pairs.second, links.second])
    shift = np.concatenate([pairs.shift_px[:, axis], links.shift_px[:, axis]])
    sigma = np.maximum(np.concatenate([pairs.sigma_px[:, axis], links.sigma_px[:, axis]]), 1e-3)
    weight = np.concatenate([vote * pairs.weight, links.weight]) / sigma**2
    reach = int((second - first).max(initial=1))
    band, right = np.zeros((reach + 1, n)), np.zeros(n)
    np.add.at(band, (0, first), weight)
    np.add.at(band, (0, second), weight)
    np.add.at(band, (second - first, first), -weight)
    np.add.at(right, first, -weight * shift)
    np.add.at(right, second, weight * shift)
    # a trace of stiffness keeps slices whose every pair was voted down from making the matrix singular
    band[0] += 1e-9 * max(float(band[0].max()), 1e-9)
    return band[: n - 1, 1:], right[1:]


def _positions(n: int, pairs: Pairs, vote: Float, links: Pairs) -> Float:
    from scipy.linalg import solveh_banded

    shifts = np.zeros((n, 2))
    for axis in (0, 1):
        band, right = _normal(n, pairs, vote, links, axis)
        shifts[1:, axis] = solveh_banded(band, right, lower=True, check_finite=False)
    return shifts


def _deviations(n: int, pairs: Pairs, vote: Float, links: Pairs) -> Float:
    sigma = np.zeros((n, 2))
    for axis in (0, 1):
        band, _ = _normal(n, pairs, vote, links, axis)
        sigma[1:, axis] = np.sqrt(banded_inverse_diagonal(band))
    return sigma


def banded_inverse_diagonal(band: Float) -> Float:
    """Diagonal of the inverse of a symmetric positive definite banded matrix; see `banded_inverse`.

    Examples
    --------
    >>> banded_inverse_diagonal(np.array([[2.0, 2.0], [1.0, 0.0]])).round(4).tolist()
    [0.6667, 0.6667]
    """
    return banded_inverse(band)[0]


def banded_inverse(band: Float) -> Float:
    """Entries within the band of the inverse of a symmetric positive definite banded matrix, in O(n b²).

    Parameters
    ----------
    band
        (b + 1, n) lower form of `scipy.linalg.solveh_banded`.

    Returns
    -------
    array
        (b + 1, n) in the same form; what lies beyond the end of a diagonal has no meaning.

    Examples
    --------
    >>> banded_inverse(np.array([[2.0, 2.0], [1.0, 0.0]])).round(4)[:, 0].tolist()
    [0.6667, -0.3333]
    """
    from scipy.linalg import cholesky_banded

    factor = cholesky_banded(band, lower=True, check_finite=False)
    reach, n = factor.shape[0] - 1, factor.shape[1]
    unit = factor[1:] / factor[0]
    inverse: Any = np.zeros((n + reach, reach + 1))
    offsets = np.abs(np.subtract.outer(np.arange(1, reach + 1), np.arange(1, reach + 1)))
    for k in range(n - 1, -1, -1):
        # entries Z[k + i, k + j] of the part of the inverse that is known already
        later = inverse[k + 1 + np.minimum.outer(np.arange(reach), np.arange(reach)), offsets]
        column = -later @ unit[:, k] if reach else np.zeros(0)
        inverse[k, 1:] = column
        inverse[k, 0] = 1 / factor[0, k] ** 2 - unit[:, k] @ column
    return np.asarray(inverse[:n].T)
