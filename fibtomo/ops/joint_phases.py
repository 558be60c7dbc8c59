"""Phases as clusters in the joint histogram of two channels: a mixture of Gaussians, and a table that applies it.

The Gaussians share one covariance: voxels across interfaces, which have the greys of two phases, then pull at both
alike; with covariances of their own, one of the two swallows them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.core.volume import OUTSIDE, Table
from fibtomo.ops.histogram import Bins, shown

Array = Any
Float = NDArray[np.float64]
Spans = NDArray[np.integer[Any]]
MAX_BINS = 1024
FIT_CELLS, PEAK_CELLS = 96, 40
"""Cells along each channel on which the mixture, and the peaks it may start from, are found."""
_ROUNDS, _SETTLED = 300, 1e-7
_BLUR_CELLS = 2.0


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians in the plane of two greys, in ascending order of the first grey.

    Attributes
    ----------
    share
        (k,), adds up to 1.
    mean, covariance
        (k, 2), and (2, 2) of all.
    likelihood
        Mean logarithm of the density of what it was found from.
    """

    share: Float
    mean: Float
    covariance: Float
    likelihood: float

    def log_parts(self, greys: Float) -> Float:
        """Logarithm of share times density of each Gaussian, (k, n), at greys (n, 2)."""
        away = greys[None] - self.mean[:, None]
        square = np.einsum("kni,ij,knj->kn", away, np.linalg.inv(self.covariance), away)
        level = 0.5 * np.log(np.linalg.det(self.covariance)) + np.log(2 * np.pi)
        return np.asarray(np.log(self.share)[:, None] - 0.5 * square - level)

    def posterior(self, greys: Float) -> Float:
        """Probability of each Gaussian, (k, n), at greys (n, 2)."""
        logs = self.log_parts(greys)
        parts = np.exp(logs - logs.max(axis=0))
        return np.asarray(parts / parts.sum(axis=0))


def joint_bins(dtype: Any, value_range: tuple[float, float]) -> Bins:
    """Bins of one channel: one per grey, or at most 1024.

    Examples
    --------
    >>> joint_bins("uint8", (0, 255)).n, joint_bins("uint16", (0, 65535)).n
    (256, 1024)
    """
    fine = Bins.covering(dtype, value_range)
    step = -(-fine.n // MAX_BINS)
    return Bins(fine.start, fine.width * step, -(-fine.n // step))


def count_joint(volumes: Sequence[Array], bins: Sequence[Bins], spans: Spans | None = None) -> Table:
    """Count the voxels of two channels in each pair of bins.

    Parameters
    ----------
    volumes
        Two (z, y, x) arrays of one shape, NumPy or CuPy.
    bins
        Of each; greys beyond them fall into the outer ones.
    spans
        (z, y, 2) columns [x0, x1) of each row that count; all when ``None``. NaN does not.

    Returns
    -------
    Table
        ``cell`` and ``count`` of the pairs that occur; cells are numbered row by row of the first channel.

    Examples
    --------
    >>> bins = [Bins(-0.5, 1, 3)] * 2
    >>> first, second = np.array([[[0, 1, 1]]]), np.array([[[2, 0, 0]]])
    >>> {name: values.tolist() for name, values in count_joint([first, second], bins).items()}
    {'cell': [2, 3], 'count': [1, 2]}
    """
    xp = namespace(volumes[0])
    total = xp.zeros(bins[0].n * bins[1].n, dtype=xp.int64)
    for k, planes in enumerate(zip(*volumes, strict=True)):
        cells, seen = _cells(planes, bins, None if spans is None else spans[k])
        total += xp.bincount(cells[seen], minlength=len(total))
    counts = to_host(total)
    cell = np.flatnonzero(counts)
    return {"cell": cell, "count": counts[cell]}


def label_joint(volumes: Sequence[Array], bins: Sequence[Bins], phases: NDArray[np.uint8], spans: Any = None) -> Array:
    """Look up the phase of each voxel; 255 where nothing is shown, and at NaN.

    Parameters
    ----------
    volumes, bins, spans
        As for `count_joint`.
    phases
        (cells,) uint8, see `phases_of_cells`.

    Examples
    --------
    >>> grey = np.array([[[0, 1, 1]]])
    >>> label_joint([grey, grey], [Bins(-0.5, 1, 2)] * 2, np.array([0, 9, 9, 1], np.uint8)).tolist()
    [[[0, 1, 1]]]
    """
    xp = namespace(volumes[0])
    table, out = xp.asarray(phases), xp.empty(volumes[0].shape, dtype=xp.uint8)
    for k, planes in enumerate(zip(*volumes, strict=True)):
        cells, seen = _cells(planes, bins, None if spans is None else spans[k])
        out[k] = xp.where(seen, table[cells], xp.uint8(OUTSIDE))
    return out


def _cells(planes: Sequence[Array], bins: Sequence[Bins], spans: Spans | None) -> tuple[Array, Array]:
    """Number of the pair of bins of each pixel, and whether it is seen."""
    xp = namespace(planes[0])
    seen = xp.ones(planes[0].shape, dtype=bool) if spans is None else shown(planes[0], spans)
    cells = xp.zeros(planes[0].shape, dtype=xp.int32)
    for grey, axis in zip(planes, bins, strict=True):
        place = xp.floor((grey.astype(xp.float32) - xp.float32(axis.start)) / xp.float32(axis.width))
        known = xp.isfinite(place)
        seen &= known
        place = xp.clip(xp.where(known, place, xp.float32(0)), 0, axis.n - 1)
        cells = cells * axis.n + place.astype(xp.int32)
    return cells, seen


def joint_table(partials: Sequence[Table], bins: Sequence[Bins], classes: int) -> Table:
    """Find the clusters of a joint histogram.

    Parameters
    ----------
    partials
        Results of `count_joint`.
    bins
        Of both channels.
    classes
        Number of phases.

    Returns
    -------
    Table
        ``share`` (classes,) and ``mean`` (classes, 2) of the Gaussians, by ascending mean of the first channel, and
        ``covariance`` (2, 2) of all; ``fraction_sigma`` (classes,): how far the fraction of the labels is from the sum
        of probabilities; ``counts`` of the first channel.

    References
    ----------
    Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1, doi:10.1111/j.2517-6161.1977.tb01600.x.
    """
    sizes = (bins[0].n, bins[1].n)
    counts = np.zeros(sizes[0] * sizes[1], dtype=np.int64)
    for partial in partials:
        counts[partial["cell"]] += partial["count"]
    occupied = np.flatnonzero(counts)
    centres = [_centres(b) for b in bins]
    greys = np.stack([centres[0][occupied // sizes[1]], centres[1][occupied % sizes[1]]], axis=1)
    found = fit_mixture(greys, counts[occupied].astype(np.float64), classes, [b.width for b in bins])
    weight = counts[occupied] / max(1, counts.sum())
    parts = found.posterior(greys)
    hard = np.bincount(parts.argmax(axis=0), weights=weight, minlength=classes)
    return {
        "share": found.share,
        "mean": found.mean,
        "covariance": found.covariance,
        "fraction_sigma": np.abs(parts @ weight - hard).tolist(),
        "counts": counts.reshape(sizes).sum(axis=1),
    }


def phases_of_cells(table: Table, bins: Sequence[Bins]) -> NDArray[np.uint8]:
    """Likeliest phase of each pair of bins, (cells,), by the Gaussians of `joint_table`."""
    found = Mixture(*(np.asarray(table[name]) for name in ("share", "mean", "covariance")), 0.0)
    first, second = (_centres(b) for b in bins)
    lines = (np.stack([np.full(len(second), grey), second], axis=1) for grey in first)
    return np.concatenate([found.log_parts(line).argmax(axis=0) for line in lines]).astype(np.uint8)


def _centres(bins: Bins) -> Float:
    return np.asarray(bins.edges[:-1] + bins.width / 2)


def fit_mixture(greys: Float, weight: Float, classes: int, least: Sequence[float]) -> Mixture:
    """Fit Gaussians to weighted points by expectation and maximisation, from two starts; the likelier one is kept.

    Parameters
    ----------
    greys, weight
        (n, 2) points, (n,) how often each occurs.
    classes
        Number of Gaussians.
    least
        Smallest deviation along each axis.

    Examples
    --------
    >>> greys = np.array([[0.0, 5.0], [0.0, 1.0], [9.0, 1.0]])
    >>> fit_mixture(greys, np.array([5.0, 3.0, 2.0]), 3, [0.5, 0.5]).share.round(3).tolist()
    [0.5, 0.3, 0.2]
    """
    greys, weight = _gathered(greys, weight, least, FIT_CELLS)
    spread = np.maximum(np.sqrt(_moments(greys, weight)[1].diagonal()), np.asarray(least))
    starts = [greys[_spread_out(greys / spread, weight, classes)], _peaks(greys, weight, classes, least)]
    fits = [_settled(greys, weight, start, least) for start in starts]
    best = max(fits, key=lambda fit: fit.likelihood)
    order = np.lexsort(best.mean.T[::-1])
    return Mixture(best.share[order], best.mean[order], best.covariance, best.likelihood)


def _gathered(greys: Float, weight: Float, least: Sequence[float], cells: int) -> tuple[Float, Float]:
    """Points of one small cell joined into their mean."""
    low, high = greys.min(axis=0), greys.max(axis=0)
    step = np.maximum((high - low) / cells, np.asarray(least))
    place = np.floor((greys - low) / step).astype(np.int64)
    _, index = np.unique(place @ [2 * cells, 1], return_inverse=True)
    total = np.bincount(index, weights=weight)
    means = [np.bincount(index, weights=weight * g) / total for g in greys.T]
    return np.stack(means, axis=1), total


def _moments(greys: Float, weight: Float) -> tuple[Float, Float]:
    mean = weight @ greys / weight.sum()
    away = greys - mean
    return mean, (away * weight[:, None]).T @ away / weight.sum()


def _spread_out(greys: Float, weight: Float, classes: int) -> list[int]:
    """Points that lie far from each other and stand for many: each next one has the largest weight × distance²."""
    chosen = [int(weight.argmax())]
    while len(chosen) < classes:
        nearest = ((greys[:, None] - greys[chosen]) ** 2).sum(axis=-1).min(axis=1)
        chosen.append(int((weight * nearest).argmax()))
    return chosen


def _peaks(greys: Float, weight: Float, classes: int, least: Sequence[float]) -> Float:
    """Peaks of the blurred histogram (classes, 2): points that are dense, and far from any that is denser."""
    points, weight = _gathered(greys, weight, least, PEAK_CELLS)
    scaled = points / np.maximum(np.ptp(points, axis=0) / PEAK_CELLS, np.asarray(least)) / _BLUR_CELLS
    near = ((scaled[:, None] - scaled[None]) ** 2).sum(axis=-1)
    density = np.exp(-0.5 * near) @ weight
    higher = np.where(density[None] > density[:, None], near, np.inf).min(axis=1)
    order = np.argsort(-density * np.minimum(np.sqrt(higher), PEAK_CELLS), kind="stable")
    return points[np.resize(order, classes)]


def _settled(greys: Float, weight: Float, means: Float, least: Sequence[float]) -> Mixture:
    """Expectation and maximisation in turn until the likelihood stands still."""
    classes, floor = len(means), np.diag(np.asarray(least, dtype=np.float64) ** 2 / 12)
    whole = _moments(greys, weight)[1] / classes**2 + floor
    now = Mixture(np.full(classes, 1 / classes), means, whole, -np.inf)
    for _ in range(_ROUNDS):
        logs = now.log_parts(greys)
        top = logs.max(axis=0)
        parts = np.exp(logs - top)
        likelihood = float((np.log(parts.sum(axis=0)) + top) @ weight / weight.sum())
        if likelihood - now.likelihood < _SETTLED:
            return now
        shares = parts / parts.sum(axis=0) * weight
        means, covariances = zip(*(_moments(greys, np.maximum(s, 1e-300)) for s in shares), strict=True)
        share = np.maximum(shares.sum(axis=1) / weight.sum(), 1e-12)
        common = np.einsum("k,kij->ij", share / share.sum(), np.array(covariances)) + floor
        now = Mixture(share, np.array(means), common, likelihood)
    return now
