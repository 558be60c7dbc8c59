"""Levels that part the phases, by method, with what is known of their errors."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError
from fibtomo.ops.histogram import Counts, Edges
from fibtomo.ops.mixture import bayes_thresholds, equal_posterior, fit_mixture
from fibtomo.ops.threshold_error import DOUBTFUL, own_errors, threshold_errors
from fibtomo.ops.thresholds import class_fractions, multi_otsu

Float = NDArray[np.float64]
Method = Literal["otsu", "multi_otsu", "gmm", "local", "hysteresis", "threshold"]
METHODS: tuple[Method, ...] = get_args(Method)
PAIR_LOG_ODDS = (-0.5, 3.0)
"""Log odds of the brighter phase at the lower and the upper level of a hysteresis."""
PHASES: dict[str, int] = {"otsu": 2, "hysteresis": 2}
"""Phases of the methods that know no other number."""
Pair = tuple[float | None, float | None]


@dataclass(frozen=True)
class Levels:
    """Thresholds (k,) with their standard errors (k,), and standard errors of the shares of the phases."""

    thresholds: Float
    sigma: Float
    fraction_sigma: Float


def find_levels(method: Method, counts: Counts, edges: Edges, classes: int = 2, pair: Pair = (None, None)) -> Levels:
    """Find the levels of an automatic method in a histogram.

    Parameters
    ----------
    method
        "otsu", "multi_otsu", "gmm", "local" (as "gmm") or "hysteresis".
    counts, edges
        (n,) counts and (n + 1,) edges of equal bins.
    classes
        Number of phases; "otsu" and "hysteresis" know two.
    pair
        Levels of a hysteresis that are given; ``None`` where the mixture shall say.

    Examples
    --------
    >>> grey = np.arange(256)
    >>> counts = (1e5 * (np.exp(-0.5 * ((grey - 80) / 12) ** 2) + np.exp(-0.5 * ((grey - 160) / 12) ** 2))).astype(int)
    >>> find_levels("gmm", counts, np.arange(257) - 0.5).thresholds.round().tolist()
    [120.0]
    """
    if method == "hysteresis":
        return _hysteresis(counts, edges, pair)
    if method in {"gmm", "local"}:
        fit = fit_mixture(counts, edges, classes)
        found = bayes_thresholds(fit)
        return Levels(found, *threshold_errors(counts, edges, found, fit))
    found = multi_otsu(counts, edges, PHASES.get(method, classes))
    return Levels(found, *threshold_errors(counts, edges, found))


def fixed_levels(levels: tuple[float, ...]) -> Levels:
    """Levels that the user gives: taken as exact."""
    return Levels(np.array(levels, dtype=np.float64), np.zeros(len(levels)), np.zeros(len(levels) + 1))


def _hysteresis(counts: Counts, edges: Edges, pair: Pair) -> Levels:
    """Pair from a mixture of two phases, where it is not given; half of what lies between may be wrong."""
    fit = fit_mixture(counts, edges, 2)
    low, high = (
        float(equal_posterior(fit, odds)[0]) if given is None else given
        for given, odds in zip(pair, PAIR_LOG_ODDS, strict=True)
    )
    if low > high:
        raise InputError(f"hysteresis: the lower level {low:g} lies above the upper level {high:g}")
    levels = np.array([low, high])
    doubtful = class_fractions(counts, edges, levels)[1] * DOUBTFUL
    return Levels(levels, np.repeat(own_errors(fit), 2), np.array([doubtful, doubtful]))
