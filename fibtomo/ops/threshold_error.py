"""How sure thresholds are, and what that means for the shares of the phases."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.histogram import Counts, Edges
from fibtomo.ops.mixture import Mixture, bayes_thresholds, equal_posterior, fit_mixture
from fibtomo.ops.thresholds import class_fractions

Float = NDArray[np.float64]
LOG_ODDS = 0.3
"""Log odds between two phases up to which a threshold might as well lie elsewhere."""
CONTRAST = 0.03
"""Share of the contrast between two phases within which their greys are not known better."""
DOUBTFUL = 1 / 3
"""Standard error of a share over that of the voxels between the levels of a hysteresis."""


def threshold_errors(
    counts: Counts, edges: Edges, thresholds: Float, mixture: Mixture | None = None
) -> tuple[Float, Float]:
    """Standard error of each threshold, and of the share of each class that follows from all of them.

    A normal mixture with voxels between the phases (see `fit_mixture`) is the yardstick. A threshold is uncertain by
    the greys at which the odds of its two phases lie within exp(±0.3), by 3 % of their contrast, and by its distance
    from where the odds are even. A share is uncertain by what the first two make of it, and by its distance from the
    share in the mixture, which does not depend on where voxels are cut apart.

    The constants are calibrated on simulated volumes of two and three phases (feature sizes 8–22 voxels, shares
    3–85 %, interfaces blurred by 0.4–1.3 voxels, noise 5–25 % of the contrast, with and without grey variation within
    phases and bright edges). On others of the same kind the true share of the volume lies within one standard error in
    50–92 % of the cases and within two in 87–100 %, by method and number of phases; see ``docs/segmentation.md``.

    Parameters
    ----------
    counts, edges
        (n,) counts and (n + 1,) edges of equal bins.
    thresholds
        (k − 1,) ascending, k from 2 to 5.
    mixture
        Of the same histogram and k phases, if known already.

    Returns
    -------
    sigma, fraction_sigma
        (k − 1,) grey values and (k,) shares.

    Examples
    --------
    >>> from fibtomo.ops.thresholds import multi_otsu
    >>> grey = np.arange(256)
    >>> counts = sum(w * np.exp(-0.5 * ((grey - m) / 15) ** 2) for m, w in ((80, 7e4), (160, 3e4))).astype(int)
    >>> edges = np.arange(257) - 0.5
    >>> sigma, shares = threshold_errors(counts, edges, multi_otsu(counts, edges))
    >>> sigma.round(1).tolist(), shares.round(3).tolist()
    ([3.9], [0.003, 0.003])
    """
    fit = fit_mixture(counts, edges, len(thresholds) + 1) if mixture is None else mixture
    own = own_errors(fit)
    off = class_fractions(counts, edges, thresholds) - fit.shares
    shares = np.hypot(fraction_errors(counts, edges, thresholds, own), off)
    return np.hypot(own, thresholds - bayes_thresholds(fit)), shares


def own_errors(mixture: Mixture) -> Float:
    """Standard error (k − 1,) of the thresholds between the phases of a mixture itself."""
    low, high = (equal_posterior(mixture, odds) for odds in (-LOG_ODDS, LOG_ODDS))
    return np.hypot((high - low) / 2, CONTRAST * np.diff(mixture.mean))


def fraction_errors(counts: Counts, edges: Edges, thresholds: Float, sigma: Float) -> Float:
    """Standard error of each class share that the threshold errors `sigma` cause.

    Examples
    --------
    >>> fraction_errors(np.array([10, 10]), np.arange(3.0), np.array([1.0]), np.array([0.1])).round(3).tolist()
    [0.05, 0.05]
    """
    variance = np.zeros(len(thresholds) + 1)
    for levels in shifted(thresholds, sigma):
        lower, upper = (class_fractions(counts, edges, np.asarray(t)) for t in levels)
        variance += ((upper - lower) / 2) ** 2
    return np.sqrt(variance)


def shifted(thresholds: Float, sigma: Float) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """For each threshold, all of them with this one moved down and up by its error, and still ascending.

    Examples
    --------
    >>> shifted(np.array([5.0, 9.0]), np.array([1.0, 2.0]))
    [((4.0, 9.0), (6.0, 9.0)), ((5.0, 7.0), (5.0, 11.0))]
    """
    sets = []
    for k, (level, error) in enumerate(zip(thresholds, sigma, strict=True)):
        low = max(level - error, thresholds[k - 1]) if k else level - error
        high = min(level + error, thresholds[k + 1]) if k + 1 < len(thresholds) else level + error
        before, after = tuple(map(float, thresholds[:k])), tuple(map(float, thresholds[k + 1 :]))
        sets.append(((*before, float(low), *after), (*before, float(high), *after)))
    return sets
