"""From displacements against the neighbours to displacements against the smooth path of the stack."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

SMOOTH_SLICES = 11
"""The running mean over so many slices is left as it was."""
_RIDGE = 0.02  # of the normal equations: leaves alone what the template hardly tells, slow change above all
_STEP_SIGMA = 5.0


def fast_part(values: Float) -> Float:
    """Values (n, ...) less their running mean over `SMOOTH_SLICES`, taken off twice.

    Once leaves a quarter of what changes over some eighteen slices in the running mean of the result.

    Examples
    --------
    >>> bool(abs(fast_part(np.linspace(0, 9, 40))[10:30]).max() < 1e-9), fast_part(np.eye(40)[20])[20].round(2).item()
    (True, 0.91)
    """
    from scipy.ndimage import uniform_filter1d

    for _ in range(2):
        values = values - uniform_filter1d(values, SMOOTH_SLICES, axis=0, mode="reflect")
    return values


def own_displacement(against: Float, seen: NDArray[np.bool_], weights: Mapping[int, Mapping[int, float]]) -> Float:
    """Solve ``against[k] = own[k] − Σ weights[k][d] own[k + d]`` for what every slice itself contributes.

    Parameters
    ----------
    against
        (n, c) displacement of each slice against its template.
    seen
        (n,) where it was measured; elsewhere nothing is said and ``own`` stays near zero.
    weights
        By slice, the weights of its template by signed distance.

    Returns
    -------
    array
        (n, c), its slow part damped.

    Examples
    --------
    >>> weights = {k: {-2: 0.25, -1: 0.25, 1: 0.25, 2: 0.25} for k in range(2, 28)}
    >>> own = np.eye(30)[15]
    >>> against = np.array([own[k] - sum(w * own[k + d] for d, w in weights.get(k, {}).items()) for k in range(30)])
    >>> found = own_displacement(against[:, None], np.isin(np.arange(30), list(weights)), weights)[:, 0]
    >>> fast_part(found)[14:17].round(1).tolist()
    [-0.1, 0.9, -0.1]
    """
    from scipy.linalg import solveh_banded

    n = len(against)
    reach = max((abs(d) for near in weights.values() for d in near), default=0)
    band = np.zeros((2 * reach + 1, n))
    for k, near in weights.items():
        if seen[k]:
            band[reach, k] = 1.0
            for d, w in near.items():
                band[reach + d, k] = -w
    normal, right = np.zeros((2 * reach + 1, n)), np.zeros_like(against, dtype=np.float64)
    normal[0] = _RIDGE
    for a in range(-reach, reach + 1):
        rows = np.arange(max(0, -a), min(n, n - a))
        right[rows + a] += band[reach + a, rows, None] * against[rows]
        for b in range(a, reach + 1):
            rows = np.arange(max(0, -a), min(n, n - b))
            normal[b - a, rows + a] += band[reach + a, rows] * band[reach + b, rows]
    return np.asarray(solveh_banded(normal, right, lower=True))


def step_sizes(values: Float, least: float) -> list[tuple[int, float]]:
    """Lasting steps in a series of which only the fast part is known.

    Parameters
    ----------
    values
        (n,) fast part of the series.
    least
        Smallest step that is told.

    Returns
    -------
    list
        (k, size) of steps from slice k - 1 to k that exceed five robust standard deviations of what chance shows.

    Examples
    --------
    >>> series = np.where(np.arange(60) < 30, 0.0, 0.002) + 1e-4 * np.random.default_rng(0).normal(size=60)
    >>> [(k, round(size, 4)) for k, size in step_sizes(fast_part(series), 0.0005)]
    [(30, 0.002)]
    """
    half = SMOOTH_SLICES // 2
    if len(values) < 2 * SMOOTH_SLICES:
        return []
    step = fast_part((np.arange(6 * SMOOTH_SLICES) >= 3 * SMOOTH_SLICES).astype(np.float64))
    shape = step[3 * SMOOTH_SLICES - half : 3 * SMOOTH_SLICES + half]
    size = np.zeros(len(values))
    for k in range(half, len(values) - half + 1):
        size[k] = values[k - half : k + half] @ shape / (shape @ shape)
    chance = 1.4826 * np.median(np.abs(size[half : len(values) - half]))
    large = np.abs(size) > max(least, _STEP_SIGMA * chance)
    return [
        (int(k), float(size[k]))
        for k in np.flatnonzero(large)
        if abs(size[k]) == np.abs(size[max(0, k - half) : k + half + 1]).max()
    ]
