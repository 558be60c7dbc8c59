"""Fit of the grey of the phases from place to place to the histograms of cells; see `grey_field`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Shape
from fibtomo.errors import InputError
from fibtomo.ops.grey_field import Cells, GreyField
from fibtomo.ops.grey_modes import FAINT, Histograms, Peaks, match_peaks
from fibtomo.ops.histogram import Bins, Counts, Edges
from fibtomo.ops.mixture import SEARCH_BINS, Mixture, fit_mixture

Float = NDArray[np.float64]
FLAT_BINS = 2048
"""Bins of the histogram of the evened volume."""
NEGLIGIBLE = 0.02
"""Change of the grey of a phase, over the contrast between the outer two, that is left alone."""
STEPS = 15
"""Steps of expectation-maximisation at each size of window."""
ROUNDS = 3
"""Times the phases are found again at the smallest windows."""
HELD, LOOSE = 1e6, 0.5
"""Faith in the gain while only offsets vary, and when both do."""
DOUBT = 0.01
"""Gain of the mean log-likelihood from which offsets are believed rather than gains."""
BATCH = 256
"""Windows matched at once."""


@dataclass(frozen=True)
class _State:
    """A field (z, y, x), the histogram of the volume that it evens, and the phases in it."""

    gain: Float
    offset: Float
    counts: Counts
    edges: Edges
    mixture: Mixture

    @property
    def peaks(self) -> Peaks:
        return Peaks(self.mixture.mean, self.mixture.sigma)

    def likelihood(self, weight: Counts) -> float:
        """Mean log-likelihood of the greys before they were evened; `weight` voxels in each window."""
        grey = (self.edges[:-1] + self.edges[1:]) / 2
        density = self.mixture.densities(grey).sum(axis=0) + 1e-300
        fit = np.average(np.log(density), weights=self.counts)
        return float(fit - np.average(np.log(self.gain), weights=weight))


def fit_field(counts: Counts, bins: Bins, cells: Cells, phases: int) -> tuple[GreyField, Counts, Edges]:
    """Find the field of `phases` phases, and the histogram of the evened volume.

    The search lets the gain vary, as shading does, or else the offset; at the end both may. What explains the greys
    best, one grey for each phase everywhere included, is taken, the gain in case of doubt.

    Parameters
    ----------
    counts
        (z, y, x, n) counts of each cell in `bins`.
    bins, cells
        As they were counted.
    phases
        Phases to look for.

    Returns
    -------
    field, counts, edges
        The field, gain 1 and offset 0 everywhere if no phase changes by more than `NEGLIGIBLE` of the contrast; counts
        (m,) and edges (m + 1,) of the volume that `GreyField.evened` makes.

    Raises
    ------
    InputError
        Nothing was counted.
    """
    occupied = np.flatnonzero(counts.sum(axis=(0, 1, 2)))
    if len(occupied) == 0:
        raise InputError("the histogram is empty: no voxel lies inside the field of view, so there is no threshold")
    counts = counts[..., occupied[0] : occupied[-1] + 1]
    edges = bins.edges[occupied[0] : occupied[-1] + 2]
    grid = cells.grid
    windows = _windows(counts, cells.window)
    flat = np.ones(grid), np.zeros(grid)
    weight = counts.sum(axis=-1)
    plain = _state(counts, edges, flat[0], flat[1], phases)
    best = plain
    for by_gain, better in ((True, 0.0), (False, DOUBT)):
        found = _search(counts, windows, edges, by_gain, phases)
        if found.likelihood(weight) > best.likelihood(weight) + better:
            best = found
    if best is plain or _moved(best) <= NEGLIGIBLE:
        return GreyField(cells, *flat), counts.sum(axis=(0, 1, 2)), edges
    return GreyField(cells, best.gain, best.offset), best.counts, best.edges


def _search(counts: Counts, windows: Counts, edges: Edges, by_gain: bool, phases: int) -> _State:
    """From the whole volume to ever smaller parts, and to the windows."""
    grid = counts.shape[:3]
    state = _state(_joined(counts, (1, 1, 1)), edges, np.ones((1, 1, 1)), np.zeros((1, 1, 1)), phases)
    for size in _sizes(grid):
        parts = windows if size == grid else _joined(counts, size)
        gain, offset = (_resized(part, size) for part in (state.gain, state.offset))
        for _ in range(ROUNDS if size == grid else 1):
            gain, offset = _matched(parts, edges, state.peaks, gain, offset, not by_gain, HELD)
            state = _state(_joined(counts, size), edges, gain, offset, phases)
    for _ in range(ROUNDS):
        gain, offset = _matched(windows, edges, state.peaks, state.gain, state.offset, True, LOOSE)
        state = _state(counts, edges, gain, offset, phases)
    return state


def _state(counts: Counts, edges: Edges, gain: Float, offset: Float, phases: int) -> _State:
    flat, flat_edges = _laid_over(counts, edges, gain, offset)
    return _State(gain, offset, flat, flat_edges, fit_mixture(flat, flat_edges, phases, most_bins=SEARCH_BINS))


def _moved(state: _State) -> float:
    """Largest difference of a phase's grey from the middle of all windows, over the contrast."""
    mean = state.peaks.mean
    grey = state.gain[..., None] * mean + state.offset[..., None]
    return float(np.abs(grey - np.median(grey, axis=(0, 1, 2))).max() / max(np.ptp(mean), 1e-300))


def _sizes(grid: Shape) -> list[Shape]:
    """Grids from two cells along the longest axis to `grid`, doubling."""
    sizes, n = [], 2
    while n < max(grid):
        sizes.append((min(n, grid[0]), min(n, grid[1]), min(n, grid[2])))
        n *= 2
    return [*sizes, grid]


def _joined(counts: Counts, size: Shape) -> Counts:
    """Counts of coarser cells."""
    for axis, n in enumerate(size):
        if n < counts.shape[axis]:
            starts = np.rint(np.linspace(0, counts.shape[axis], n + 1)[:-1]).astype(np.int64)
            counts = np.add.reduceat(counts, starts, axis=axis)
    return counts


def _resized(part: Float, size: Shape) -> Float:
    """Linear between the centres of coarser cells."""
    for axis, n in enumerate(size):
        old = part.shape[axis]
        place = np.clip((np.arange(n) + 0.5) * old / n - 0.5, 0, old - 1)
        low = np.minimum(place.astype(int), max(old - 2, 0))
        way = (place - low).reshape(-1, *[1] * (2 - axis))
        part = np.take(part, low, axis) * (1 - way) + np.take(part, np.minimum(low + 1, old - 1), axis) * way
    return part


def _windows(counts: Counts, window: Shape) -> Counts:
    """Sums over `window` cells around each."""
    for axis, n in enumerate(window):
        if n > 1:
            total = np.cumsum(counts, axis=axis)
            total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis=axis)
            at = np.arange(counts.shape[axis])
            last = np.minimum(at + n // 2 + 1, counts.shape[axis])
            counts = np.take(total, last, axis) - np.take(total, np.maximum(at - n // 2, 0), axis)
    return counts


def _matched(
    counts: Counts, edges: Edges, peaks: Peaks, gain: Float, offset: Float, shifts: bool, faith: float
) -> tuple[Float, Float]:
    """Gain and offset of each window, where they were before if its greys fit no phase; no offset without `shifts`."""
    rows = counts.reshape(-1, counts.shape[-1])
    width = edges[1] - edges[0]
    h = Histograms(rows, np.full(len(rows), edges[0]), np.full(len(rows), width)).occupied()
    before = gain.ravel(), offset.ravel()
    found = before[0].copy(), before[1].copy()
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        g, o = before[0][part], before[1][part]
        fit_g, fit_o, outliers = match_peaks(h.rows(part), peaks, g, o, shifts, STEPS, g, faith if shifts else FAINT)
        good = (outliers < 0.5) & (rows[part].sum(axis=1) > 0) & (np.abs(np.log(np.maximum(fit_g / g, 1e-9))) < 1)
        found[0][part], found[1][part] = np.where(good, fit_g, g), np.where(good, fit_o, o)
    return found[0].reshape(gain.shape), found[1].reshape(gain.shape)


def _laid_over(counts: Counts, edges: Edges, gain: Float, offset: Float) -> tuple[Counts, Edges]:
    """Histogram of all cells in common greys; bins are shared out in proportion."""
    gain, offset = gain.ravel(), offset.ravel()
    ends = (edges[[0, -1]] - offset[:, None]) / gain[:, None]
    n = min(FLAT_BINS, 2 * (len(edges) - 1))
    target = np.linspace(ends.min(), ends.max(), n + 1)
    total = np.zeros(n + 1)
    for g, o, row in zip(gain, offset, counts.reshape(-1, counts.shape[-1]), strict=True):
        total += np.interp(g * target + o, edges, np.concatenate([[0], np.cumsum(row)]))
    return np.rint(np.diff(total)).astype(np.int64), target
