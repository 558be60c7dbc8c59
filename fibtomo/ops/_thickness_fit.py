"""From the likeness of pairs of slices to the steps between slices: decay curve, banded solve, scatter of the tiles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.trajectory import banded_inverse_diagonal

Float = NDArray[np.float64]

_QUALITY_SPREAD = 0.02  # logarithm by which noise, focus and charging change the likeness from slice to slice
_LOOSE = 0.6  # spread of a step in the unshrunk solution, nominal steps
_LEAST_STEP = 0.02
_NEWTON_STEPS = 6
_SHARED = 1.4  # variance of the errors over what the tiles show: neighbouring ones share some structure
_SMOOTHING = 9  # frequencies over which the spectrum of the errors is averaged, at least


@dataclass(frozen=True)
class Decay:
    """Unlikeness −ln(coherence) of two slices against their distance in nominal steps.

    It begins at `floor` (noise, which differs from slice to slice even without distance) and rises as a hyperbola:
    quadratic below `length`, straight beyond.
    """

    floor: float
    length: float
    amplitude: float

    def __call__(self, distance: Any) -> Any:
        """Unlikeness at a distance."""
        return self.floor + self.amplitude * (np.sqrt(1 + (distance / self.length) ** 2) - 1)

    def slope(self, distance: Any) -> Any:
        """Its derivative."""
        return self.amplitude * distance / self.length**2 / np.sqrt(1 + (distance / self.length) ** 2)


def fit_decay(unlikeness: Float) -> Decay:
    """Fit the monotone decay to the usual unlikeness (gaps,) of slices 1, 2, … steps apart.

    Only these means enter: the irregular steps, which are still unknown, do not bend the curve they are read from.

    Examples
    --------
    >>> true = Decay(0.05, 1.0, 0.4)
    >>> fitted = fit_decay(true(np.arange(1.0, 6.0)))
    >>> bool(abs(fitted.floor - 0.05) < 0.02), bool(abs(fitted.slope(1.0) / true.slope(1.0) - 1) < 0.05)
    (True, True)
    """
    from scipy.optimize import nnls

    distance = np.arange(1, len(unlikeness) + 1, dtype=np.float64)
    best, found = np.inf, Decay(float(unlikeness[0]), 1.0, 0.0)
    for length in np.geomspace(0.05, 20, 40):
        shape = np.sqrt(1 + (distance / length) ** 2) - 1
        design = np.stack([np.ones_like(shape), shape / shape[-1]], axis=1) / distance[:, None]
        (floor, rise), misfit = nnls(design, unlikeness / distance)
        if misfit < best:
            best, found = misfit, Decay(float(floor), float(length), float(rise / shape[-1]))
    return found


def solve_steps(unlikeness: Float, variance: Float, decay: Decay, tile_excess: Float) -> tuple[Float, Float, Float]:
    """Solve for the steps between slices and the quality of each slice, without believing in regular slicing.

    Parameters
    ----------
    unlikeness
        (n, gaps) of slice k and the one 1, 2, … before it; NaN where nothing is known.
    variance
        (gaps,) of these numbers.
    decay
        Their common dependence on distance.
    tile_excess
        (n, gaps, tiles) by which each tile alone departs from them.

    Returns
    -------
    steps
        (n - 1,) distances in nominal steps; 1 where nothing is known.
    tile_steps
        (n - 1, tiles) by which each tile alone would change them.
    sigma
        (n - 1,) relative sizes of their standard deviations.
    """
    from scipy.linalg import cho_solve_banded, cholesky_banded

    n, gaps = unlikeness.shape
    steps, quality = np.ones(n - 1), np.zeros(n)
    for final in [False] * _NEWTON_STEPS + [True]:
        normal, right, tile_right = _normal_equations(unlikeness, variance, decay, tile_excess, steps, quality)
        factor = cholesky_banded(normal, lower=True)
        if final:
            break
        change = cho_solve_banded((factor, True), right)
        quality = quality + change[0::2]
        steps = np.clip(steps + np.clip(change[1:-1:2], -0.5, 0.5), _LEAST_STEP, gaps + 1.0)
    tile_steps = cho_solve_banded((factor, True), tile_right)[1:-1:2]
    return steps, tile_steps, np.sqrt(banded_inverse_diagonal(normal))[1:-1:2]


def _normal_equations(
    unlikeness: Float, variance: Float, decay: Decay, tile_excess: Float, steps: Float, quality: Float
) -> tuple[Float, Float, Float]:
    """Lower-banded normal matrix and right sides; unknowns are quality and following step of each slice in turn."""
    n, gaps = unlikeness.shape
    normal = np.zeros((2 * gaps + 1, 2 * n))
    right, tile_right = np.zeros(2 * n), np.zeros((2 * n, tile_excess.shape[2]))
    normal[0, 0::2], normal[0, 1::2] = 1 / _QUALITY_SPREAD**2, 1 / _LOOSE**2
    right[0::2] = -quality / _QUALITY_SPREAD**2
    right[1:-1:2] = (1 - steps) / _LOOSE**2
    position = np.concatenate([[0.0], np.cumsum(steps)])
    for gap in range(1, gaps + 1):
        second = np.flatnonzero(np.isfinite(unlikeness[:, gap - 1]))
        first = second - gap
        distance = position[second] - position[first]
        misfit = unlikeness[second, gap - 1] - decay(distance) - quality[first] - quality[second]
        row = np.zeros((2 * gap + 1, len(second)))
        row[0] = row[-1] = 1.0
        row[1:-1:2] = decay.slope(distance)
        # the logarithm of a lower coherence is less certain
        weight = np.exp(np.clip(2 * (decay(float(gap)) - decay(distance)), -6.0, 0.0)) / variance[gap - 1]
        for p in range(2 * gap + 1):
            right[2 * first + p] += weight * row[p] * misfit
            tile_right[2 * first + p] += (weight * row[p])[:, None] * tile_excess[second, gap - 1]
            for q in range(p, 2 * gap + 1):
                normal[q - p, 2 * first + p] += weight * row[p] * row[q]
    return normal, right, tile_right


def error_spectrum(errors: Float, share: Float) -> Float:
    """Spectrum along z (m - 1,) of the errors of m steps, from the scatter of the tiles.

    Parameters
    ----------
    errors
        (m, tiles) by which each tile alone would change the steps.
    share
        (tiles,) weights of the tiles, sum 1.
    """
    from scipy.fft import dct
    from scipy.ndimage import uniform_filter1d

    m = len(errors)
    scatter = (dct(errors, axis=0, norm="ortho")[1:] ** 2 * share**2).sum(axis=1) / max(1 - (share**2).sum(), 0.1)
    width = min(max(_SMOOTHING, m // 20), m - 1)
    return _SHARED * np.maximum(uniform_filter1d(scatter, width, mode="nearest"), 1e-6)
