"""Valleys between the modes of a histogram."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 0.02
"""Modes with a smaller share of the values do not count."""


def valleys(values: NDArray[Any], bins: int = 128, depth: float = 0.5) -> NDArray[np.float32]:
    """Greys that separate the modes of `values`, ascending; none where there is one mode.

    From the highest peak down, a peak is a mode if the lowest place between it and any higher mode is lower than
    `depth` times the peak.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> one, two = rng.normal(80, 6, 5000), rng.normal(160, 6, 3000)
    >>> valleys(np.r_[one, two]).round(-1).tolist(), valleys(one).tolist()
    ([120.0], [])
    """
    low, high = np.quantile(values, [0.001, 0.999])
    if not high > low:
        return np.zeros(0, np.float32)
    counts, edges = np.histogram(values, bins, (low, high))
    if values.dtype.kind in "iu":
        counts, edges = np.histogram(values, np.arange(low - 0.5, high + 1))
    smooth = np.convolve(np.pad(counts.astype(np.float64), 4, mode="edge"), _BELL, mode="same")[4:-4]
    modes: list[int] = []
    for peak in np.argsort(-smooth):
        if smooth[peak] <= 0:
            break
        if all(smooth[min(peak, m) : max(peak, m) + 1].min() < depth * smooth[peak] for m in modes):
            modes.append(int(peak))
    while True:
        modes.sort()
        cuts = [a + _lowest(smooth[a : b + 1]) for a, b in pairwise(modes)]
        parts = np.add.reduceat(counts, [0, *cuts]) if cuts else counts.sum()[None]
        small = int(np.argmin(parts))
        if len(modes) < 2 or parts[small] >= LEAST * counts.sum():
            break
        del modes[small]
    return ((edges[:-1] + edges[1:]) / 2)[cuts].astype(np.float32)


def _lowest(between: NDArray[np.float64]) -> int:
    """Middle of the floor of a valley that runs from peak to peak."""
    floor = between.min() + 0.05 * (min(between[0], between[-1]) - between.min())
    return int(np.flatnonzero(between <= floor).mean().round())


_BELL = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
_BELL /= _BELL.sum()
