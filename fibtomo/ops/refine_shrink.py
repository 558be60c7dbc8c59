"""How much of a measured correction to believe, judged by how large the corrections of the whole stack are."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

SIZES = np.concatenate([[0.0], np.geomspace(1.5, 200.0, 15)])
"""Sizes of true corrections that are weighed against each other, in standard deviations of the noise."""
_STEPS = 60
_CAUTION = 1.6  # times the standard deviation: scatter is never quite what it was estimated to be
_DOUBT_SLICES, _DOUBT_SHARE = 4.0, 0.1  # so many slices without any correction are assumed beside those seen


def size_odds(log_likelihood: Float) -> tuple[Float, float]:
    """Probability (n, sizes) that the true correction of a slice has each of several sizes, the first being none.

    How frequent each size is follows from the stack itself (expectation maximisation), with a leaning to none. The
    second result is the logarithm of the likelihood of the whole stack.

    References
    ----------
    Efron & Morris 1973, J. Am. Stat. Assoc. 68:117; Laird 1978, J. Am. Stat. Assoc. 73:805.
    """
    n, sizes = log_likelihood.shape
    highest = log_likelihood.max(axis=1, keepdims=True)
    likelihood = np.exp(log_likelihood - highest)
    doubt = np.zeros(sizes)
    doubt[0] = _DOUBT_SLICES + _DOUBT_SHARE * n
    share = np.full(sizes, 1 / sizes)
    for _ in range(_STEPS):
        odds = likelihood * share
        evidence = odds.sum(axis=1, keepdims=True)
        odds /= evidence
        share = odds.sum(axis=0) + doubt
        share /= share.sum()
    return odds, float((np.log(evidence) + highest).sum())


def shrunk(values: Float, sigma: Float) -> tuple[Float, Float]:
    """Expected true corrections, given measured ones and their standard deviations.

    Parameters
    ----------
    values, sigma
        (n,) corrections and standard deviations, infinite where nothing was measured.

    Returns
    -------
    value, sigma
        (n,) expected correction, zero where it is likelier that there is none, and its standard deviation.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=50)
    >>> bool(np.abs(shrunk(noise, np.ones(50))[0]).max() < 0.5)
    True
    >>> noise[7] = 12.0
    >>> float(shrunk(noise, np.ones(50))[0][7]) > 10
    True
    """
    known = np.isfinite(sigma)
    sigma = _CAUTION * sigma
    ratio = np.where(known, values / np.where(known, sigma, 1.0), 0.0)[:, None]
    spread = 1 + SIZES**2
    odds, _ = size_odds(np.where(known[:, None], -0.5 * (np.log(spread) + ratio**2 / spread), 0.0))
    kept = SIZES**2 / spread
    expected = np.where(odds[:, 0] < 0.5, (odds * kept).sum(axis=1), 0.0)
    variance = (odds * (kept + (kept * ratio) ** 2)).sum(axis=1) - (expected * ratio[:, 0]) ** 2
    scale = np.where(known, sigma, 0.0)
    return expected * ratio[:, 0] * scale, np.sqrt(np.maximum(variance, 0.0)) * scale
