"""Gaussian mixture of a histogram: the phases, and the voxels that lie across two of them.

The mixture is fitted to counts, not to voxels: expectation-maximisation (Dempster, Laird and Rubin 1977,
doi:10.1111/j.2517-6161.1977.tb01600.x) over at most `BINS` bins costs the same for a million voxels and for a million
million. Voxels that an interface cuts show any grey between those of two phases; left to the normal components they
would drag their means together, so every pair of phases has a component for them (Santago and Gage 1993,
doi:10.1109/42.241885): all mixing ratios equally likely, blurred by the noise.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from fibtomo.errors import InputError
from fibtomo.ops.histogram import Counts, Edges, condense
from fibtomo.ops.thresholds import multi_otsu

Float = NDArray[np.float64]
BINS = 1024
"""Most bins over the occupied part of the histogram that the fit sees."""
SEARCH_BINS = 192
"""Most bins while starts are compared."""
SEARCH_STEPS, STEPS = 40, 400
KEPT = 4
"""Starts that are followed to the end."""
TAIL = 0.004
"""Share of the voxels in the darkest and the brightest cluster that a start may begin with."""
NARROWEST = 0.25
"""Least width of a phase over the mean one."""
SETTLED = 1e-9
"""Change of the mean log-likelihood of a step at which the fit is over."""


@dataclass(frozen=True)
class Mixture:
    """Normal phases, darkest first, and voxels between two of them.

    Attributes
    ----------
    weight, mean, sigma
        (k,) share, mean grey and standard deviation of each phase.
    between
        (k, k) share of the voxels that lie across phases i < j; upper triangle.
    """

    weight: Float
    mean: Float
    sigma: Float
    between: Float

    @property
    def shares(self) -> Float:
        """(k,) share of each phase, half of the voxels between two phases counted to each."""
        return self.weight + (self.between.sum(axis=0) + self.between.sum(axis=1)) / 2

    def densities(self, grey: Float) -> Float:
        """Density (k, n) of each phase at greys (n,), voxels between phases given to the one that fills more of them.

        Examples
        --------
        >>> two = Mixture(np.array([0.6, 0.4]), np.array([0.0, 9.0]), np.ones(2), np.zeros((2, 2)))
        >>> two.densities(np.array([0.0, 9.0])).round(2).tolist()
        [[0.24, 0.0], [0.0, 0.16]]
        """
        u = (grey - self.mean[:, None]) / self.sigma[:, None]
        found = np.exp(-0.5 * u * u) * (self.weight / (np.sqrt(2 * np.pi) * self.sigma))[:, None]
        for i, j in combinations(range(len(self.mean)), 2):
            a, b, spread = self.mean[i], self.mean[j], _spread(self.sigma[i], self.sigma[j])
            low, middle, high = (ndtr((grey - m) / spread) for m in (a, (a + b) / 2, b))
            height = self.between[i, j] / max(b - a, 1e-300)
            found[i] += height * (low - middle)
            found[j] += height * (middle - high)
        return found


def fit_mixture(counts: Counts, edges: Edges, classes: int = 2, between: bool = True, most_bins: int = BINS) -> Mixture:
    """Fit `classes` normal phases, and the voxels between them, to a histogram.

    The fit begins at every choice of `classes` among the clusters of finer multi-Otsu partitions and the two tails,
    so that a rare phase is found too; the best of them by likelihood is taken. Nothing is drawn at random.

    Parameters
    ----------
    counts, edges
        (n,) counts and (n + 1,) edges of equal bins.
    classes
        Number of phases, 2 to 5.
    between
        Whether voxels may lie across two phases.
    most_bins
        Bins of the last fit.

    Raises
    ------
    InputError
        The histogram is empty, or `classes` is not 2 to 5.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> grey = np.r_[rng.normal(80, 8, 97000), rng.normal(140, 8, 3000)]
    >>> fit = fit_mixture(np.histogram(grey, np.arange(-0.5, 256))[0], np.arange(-0.5, 256))
    >>> fit.mean.round().tolist(), fit.shares.round(3).tolist()
    ([80.0, 140.0], [0.97, 0.03])
    """
    if not 2 <= classes <= 5:
        raise InputError(f"classes = {classes} must be 2 to 5")
    if not np.any(counts):
        raise InputError("the histogram is empty: no voxel lies inside the field of view, so there is no threshold")
    coarse = _Fit(*condense(counts, edges, SEARCH_BINS), classes, between)
    state, score = coarse.run(coarse.starts(), SEARCH_STEPS)
    best = np.argsort(-score, kind="stable")[:KEPT]
    fine = _Fit(*condense(counts, edges, most_bins), classes, between)
    state, score = fine.run(tuple(part[best] for part in state), STEPS)
    k = int(np.argmax(score))
    weight, mean, sigma, across = (part[k] for part in state)
    order = np.argsort(mean, kind="stable")
    return Mixture(weight[order], mean[order], sigma[order], _square(across, order))


def _square(across: Float, order: NDArray[np.intp]) -> Float:
    """Shares of pairs (p,) as an upper triangle in the order of the means."""
    place = np.argsort(order)
    square = np.zeros((len(order), len(order)))
    for share, (i, j) in zip(across, combinations(range(len(order)), 2), strict=False):
        a, b = sorted((int(place[i]), int(place[j])))
        square[a, b] = share
    return square


def _spread(a: Float, b: Float) -> Float:
    return np.sqrt((a * a + b * b) / 2)


State = tuple[Float, Float, Float, Float]
"""Weights, means and widths (starts, classes) and shares between phases (starts, pairs)."""


class _Fit:
    """Expectation-maximisation from many starts at once, in arrays (start, component, bin)."""

    def __init__(self, counts: Counts, edges: Edges, classes: int, between: bool) -> None:
        self.counts, self.edges, self.classes = counts, edges, classes
        self.grey = (edges[:-1] + edges[1:]) / 2
        self.share = counts / counts.sum()
        self.width = float(edges[1] - edges[0])
        self.pairs = np.array(list(combinations(range(classes), 2)) if between else []).reshape(-1, 2).astype(int)

    def starts(self) -> State:
        """Every choice of `classes` clusters; widths from the finer partition, so that clusters begin apart."""
        clusters = self._clusters()
        if len(clusters) < self.classes:
            clusters = np.vstack([clusters] + [clusters[-1:]] * (self.classes - len(clusters)))
        chosen = np.array(list(combinations(range(len(clusters)), self.classes)))
        mean, sigma = clusters[chosen, 0], clusters[chosen, 1]
        weight = clusters[chosen, 2]
        weight = 0.9 * weight / weight.sum(axis=1, keepdims=True)
        across = np.full((len(chosen), len(self.pairs)), 0.1 / max(1, len(self.pairs)))
        return weight, mean, sigma, across

    def _clusters(self) -> Float:
        """Mean, width and share (m, 3) of the clusters of the partition into two classes more, and of both tails."""
        cumulative = np.cumsum(self.share)
        tails = np.searchsorted(cumulative, [TAIL, 1 - TAIL])
        cuts = np.searchsorted(self.grey, multi_otsu(self.counts, self.edges, self.classes + 2))
        bounds = np.unique(np.concatenate([[0], cuts, tails, [len(self.grey)]]))
        rows = []
        for a, b in pairwise(bounds):
            share = self.share[a:b]
            if share.sum() > 0:
                mean = np.average(self.grey[a:b], weights=share)
                variance = np.average((self.grey[a:b] - mean) ** 2, weights=share)
                rows.append((mean, np.sqrt(variance + self.width**2 / 12), share.sum()))
        return np.array(rows)

    def run(self, state: State, steps: int) -> tuple[State, Float]:
        """Follow all starts; the states and their mean log-likelihoods."""
        score = np.full(len(state[0]), -np.inf)
        for _ in range(steps):
            state, new = self._step(*state)
            if np.max(np.abs(new - score), initial=0) < SETTLED:
                score = new
                break
            score = new
        return state, score

    def _step(self, weight: Float, mean: Float, sigma: Float, across: Float) -> tuple[State, Float]:
        u = (self.grey - mean[..., None]) / sigma[..., None]
        normal = np.exp(-0.5 * u * u) * (weight / (np.sqrt(2 * np.pi) * sigma))[..., None]
        mixed = self._mixed(mean, sigma) * across[..., None]
        total = normal.sum(axis=1) + mixed.sum(axis=1) + 1e-300
        ratio = (self.share / total)[:, None]
        normal *= ratio
        mass = normal.sum(axis=2) + 1e-12
        found = (normal @ self.grey) / mass
        variance = (normal * (self.grey - found[..., None]) ** 2).sum(axis=2) / mass
        typical = (mass * variance).sum(axis=1, keepdims=True) / mass.sum(axis=1, keepdims=True)
        floor = NARROWEST**2 * typical + self.width**2 / 12
        state = mass, found, np.sqrt(np.maximum(variance, floor)), (mixed * ratio).sum(axis=2)
        return state, np.log(total) @ self.share

    def _mixed(self, mean: Float, sigma: Float) -> Float:
        """Density of voxels between each pair of phases (start, pair, bin)."""
        i, j = self.pairs.T
        a, b = np.minimum(mean[:, i], mean[:, j]), np.maximum(mean[:, i], mean[:, j])
        spread = _spread(sigma[:, i], sigma[:, j])[..., None]
        edge = ndtr((self.grey - a[..., None]) / spread) - ndtr((self.grey - b[..., None]) / spread)
        return edge / np.maximum(b - a, 1e-300)[..., None]


def bayes_thresholds(mixture: Mixture) -> Float:
    """Greys (k − 1,) at which the two neighbouring phases are equally probable; midway where they never are.

    Examples
    --------
    >>> two = Mixture(np.array([0.5, 0.5]), np.array([0.0, 8.0]), np.ones(2), np.zeros((2, 2)))
    >>> bayes_thresholds(two).round(6).tolist()
    [4.0]
    """
    return equal_posterior(mixture, 0.0)


def equal_posterior(mixture: Mixture, log_odds: float) -> Float:
    """Greys (k − 1,) between neighbouring means at which the log odds of the brighter phase are `log_odds`."""
    found = []
    for k, (low, high) in enumerate(pairwise(mixture.mean)):
        grey = np.linspace(low, high, 4097)
        density = mixture.densities(grey)[k : k + 2]
        odds = np.log(density[1] + 1e-300) - np.log(density[0] + 1e-300) - log_odds
        above = np.flatnonzero(odds > 0)
        if len(above) == 0:
            found.append(high)
            continue
        i = int(above[0])
        step = odds[i] / (odds[i] - odds[i - 1]) if i else 0.0
        found.append(grey[i] - step * (grey[1] - grey[0]))
    return np.array(found)
