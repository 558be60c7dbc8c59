"""The motion that changing structure feigns: how large it is, and which slow bends of a path it alone explains.

From slice to slice the structure leads the correlation astray by a small velocity that forgets itself over some slices
(an Ornstein-Uhlenbeck process), so that a motionless stack seems to walk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.trajectory import Pairs

Float = NDArray[np.float64]

_LEAST_STEPS = 8
_LEAST_OF_RULE = 1 / 3
_LEAST_FEATURES = 5  # in every part, for its motion to be its own
_REAL_MEMORY_SLICES = 30.0  # of slow drift of stage and sample
_UPDATES = 100
_JUMP = 6.0  # steps farther than this from the median, in robust standard deviations, are real
_SLOWEST = 400  # frequencies that decide the spread of a path


@dataclass(frozen=True)
class Walk:
    """A velocity and its memory.

    Attributes
    ----------
    velocity_px
        Standard deviation of the false motion from one slice to the next, per axis.
    memory_slices
        Slices over which it persists.
    """

    velocity_px: float
    memory_slices: float

    def sigma_px(self, n: int) -> Float:
        """(n,) standard deviation of the walk relative to slice 0.

        Examples
        --------
        >>> Walk(0.1, 1e6).sigma_px(4).round(3).tolist()
        [0.0, 0.1, 0.2, 0.3]
        """
        t = np.arange(n) / self.memory_slices
        return np.asarray(self.velocity_px * self.memory_slices * np.sqrt(2 * np.maximum(t - 1 + np.exp(-t), 0)))

    def power(self, omega: Float) -> Float:
        """Power spectrum of the steps at `omega` radians per slice."""
        return self.velocity_px**2 * _lorentzian(omega, self.memory_slices)


@dataclass(frozen=True)
class Walks:
    """Two estimates of the walk of one stack.

    Attributes
    ----------
    seen
        By what the parts of the frame do apart from each other; the rule where they are too small to tell.
    rule
        By the number of features in view.
    """

    seen: Walk
    rule: Walk

    def sigma_px(self, n: int) -> Float:
        """(n,) standard deviation as seen, at least a third of the rule: parts share long waves, features live long.

        The rule counts features by their wavelength, which overrates the walk of particles two- to threefold.
        """
        return np.maximum(self.seen.sigma_px(n), _LEAST_OF_RULE * self.rule.sigma_px(n))


def measure_walk(column: Mapping[str, Any], pairs: Pairs) -> Walks:
    """Measure the walk of a stack by what the parts of its frame do apart from each other, and by rule.

    Every part shows its own structure, so the parts walk independently and the frame, their mean, by their spread
    over the square root of their number. The memory is the integrated autocorrelation of that spread, and its
    standard error on top.
    The rule for isotropic structure is 0.45 dz/√N_f per slice for N_f features in view, and a memory of λ/(2 dz), with
    dz/λ from the coherence of neighbours, 1 − (2π dz/λ)²/6.

    Parameters
    ----------
    column
        What `measure_slab` left, in z order.
    pairs
        The pairs with their weights.

    References
    ----------
    Sokal 1997, in Functional Integration (window of the autocorrelation time).
    """
    neighbours = (pairs.second - pairs.first == 1) & (pairs.weight > 0) & (column["wavelength_px"] > 0)
    if not neighbours.any():
        return Walks(Walk(0.0, 1.0), Walk(0.0, 1.0))
    wavelength = float(np.median(column["wavelength_px"][neighbours]))
    coherence = float(np.median(column["coherence"][neighbours]))
    step = np.sqrt(6 * max(1 - coherence, 1e-4)) / (2 * np.pi)
    features = max(float(np.median(column["area_px"])) / wavelength**2, 1.0)
    rule = Walk(0.45 * step * wavelength / features**0.5, 1 / (2 * step))
    local = column["local_px"][pairs.second[neighbours]]
    seen = _of_parts(local) if features >= _LEAST_FEATURES * local.shape[1] else None
    return Walks(seen or rule, rule)


def _of_parts(steps: Float) -> Walk | None:
    """Walk of the mean of the parts from their steps (n, parts, 2)."""
    steps = steps[np.isfinite(steps).all(axis=(1, 2))]
    n, parts = steps.shape[:2]
    if n < _LEAST_STEPS:
        return None
    apart = (steps - steps.mean(axis=1, keepdims=True)).reshape(n, -1)
    limit = _JUMP * 1.4826 * np.median(np.abs(apart))
    apart = np.clip(apart, -limit, limit)
    covariance = [float((apart[: n - lag] * apart[lag:]).mean()) / (parts - 1) for lag in range(n // 2)]
    if covariance[0] <= 0:
        return None
    memory, lag = 0.5, 0
    for lag, value in enumerate(covariance[1:], 1):
        memory += value / covariance[0]
        if lag >= 5 * memory:
            break
    error = np.sqrt((4 * lag + 2) / (n * 2 * (parts - 1)))
    return Walk(covariance[0] ** 0.5, max(memory, 0.5) * (1 + min(error, 1.0)))


def without_walk(shifts: Float, walk: Walk) -> tuple[Float, Float]:
    """Take out the bends of a path that the walk of the structure explains better than real drift.

    The steps of the path are the sum of the walk, whose spectrum is known, and of real motion: jitter, a random
    walk and slow drift, whose strengths maximise the likelihood of what is seen. The expected walk is subtracted
    (Wiener filter). A path that bends more than structure can keeps its bends; jumps are kept always; the mean step
    is not touched.

    Parameters
    ----------
    shifts
        (n, 2) path.
    walk
        From `measure_walk`.

    Returns
    -------
    shifts_px, sigma_px
        (n, 2) path, and (n,) standard deviation of what is left of the walk apart from its straight line.

    References
    ----------
    Whittle 1953, Ark. Mat. 2:423; Wiener 1949, Extrapolation, Interpolation and Smoothing of Stationary Time Series.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> path = np.zeros((200, 2))
    >>> for k in range(1, 200):
    ...     path[k] = path[k - 1] + 0.1 * rng.normal(size=2)
    >>> bent = lambda p: float(np.std(p - np.outer(np.arange(200), p[-1] / 199)))
    >>> bent(without_walk(path, Walk(0.1, 0.5))[0]) < 0.5 * bent(path)
    True
    """
    from scipy.fft import idct

    n = len(shifts) - 1
    if n < _LEAST_STEPS:
        return shifts, walk.sigma_px(len(shifts))
    omega = np.pi * np.arange(n) / n
    false = walk.power(omega)
    if not false.any():
        return shifts, walk.sigma_px(len(shifts))
    spectrum = _spectrum(shifts)
    share = np.zeros((n, 2))
    for axis in (0, 1):
        share[1:, axis] = false[1:] / (false[1:] + _real_power(spectrum[1:, axis] ** 2, false[1:], omega[1:]))
    removed = idct(spectrum * share, axis=0, norm="ortho")
    left = false * (1 - share.mean(axis=1))
    left[0] = 0.0
    path = shifts - np.concatenate([np.zeros((1, 2)), np.cumsum(removed, axis=0)])
    return path, _path_sigma(left)


def real_line_sigma(shifts: Float, walk: Walk) -> Float:
    """(2,) standard deviation of the real straight line, first to last slice, to be expected from the real bends.

    Slow drift that bends the path also moves it from end to end; how much, follows from the strengths that explain
    the bends best beside the walk of the structure. A path without real bends has hardly a real slope either.

    Parameters
    ----------
    shifts
        (n, 2) path.
    walk
        From `measure_walk`.
    """
    n = len(shifts) - 1
    if n < _LEAST_STEPS:
        return np.zeros(2)
    omega = np.pi * np.arange(n) / n
    false, spectrum = walk.power(omega), _spectrum(shifts)
    powers = [_real_power(spectrum[1:, axis] ** 2, false[1:], omega[1:])[0] for axis in (0, 1)]
    return np.sqrt(n * np.array(powers))


def _spectrum(shifts: Float) -> Float:
    """(n, 2) cosine coefficients of the steps, without jumps."""
    from scipy.fft import dct

    steps = np.diff(shifts, axis=0)
    middle = np.median(steps, axis=0)
    limit = _JUMP * 1.4826 * np.median(np.abs(steps - middle), axis=0)
    calm = np.where(np.abs(steps - middle) > np.maximum(limit, 1e-3), middle, steps)
    return np.asarray(dct(calm, axis=0, norm="ortho"))


def _lorentzian(omega: Float, memory: float) -> Float:
    """Power spectrum of an autoregression of unit variance that forgets itself over `memory` steps."""
    keep = np.exp(-1 / memory)
    return (1 - keep**2) / (1 + keep**2 - 2 * keep * np.cos(omega))


def _real_power(seen: Float, false: Float, omega: Float) -> Float:
    """Most likely spectrum of the real motion where the spectrum `seen` contains the known `false` one."""
    kinds = np.stack([np.ones_like(omega), 2 - 2 * np.cos(omega), _lorentzian(omega, _REAL_MEMORY_SLICES)])
    strength = seen.mean() / kinds.mean(axis=1)
    for _ in range(_UPDATES):
        total = false + strength @ kinds
        strength = strength * (kinds @ (seen / total**2)) / (kinds @ (1 / total))
    return np.asarray(strength @ kinds)


def _path_sigma(power: Float) -> Float:
    """(n + 1,) standard deviation of the sum of n steps whose cosine coefficients have variance `power`."""
    n = len(power)
    k, j = np.arange(n + 1)[:, None], np.arange(1, min(n, _SLOWEST))
    waves = np.sqrt(2 / n) * np.sin(np.pi * j * k / n) / (2 * np.sin(np.pi * j / (2 * n)))
    return np.asarray(np.sqrt(power[0] * k[:, 0] ** 2 / n + waves**2 @ power[j]))
