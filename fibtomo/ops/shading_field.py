"""Cells of the plane, smooth fields of brightness over it, and how sharp the greys of all cells are when one is undone.

Entropy of the pooled histogram as the measure: Likar, Viergever and Pernus, IEEE Trans. Med. Imaging 20 (2001) 1398,
doi:10.1109/42.974934.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.grey_modes import Float


@dataclass(frozen=True)
class Cells:
    """Histograms of the cells of a plane, with common bins.

    Attributes
    ----------
    counts
        (cells, bins) pixels.
    low, width
        Lower edge of the first bin and bin width, grey.
    y, x
        (cells, 2) first and last edge of each cell, px.
    shape
        (rows, columns) of the plane.
    """

    counts: Float
    low: float
    width: float
    y: Float
    x: Float
    shape: tuple[int, int]

    @cached_property
    def grey(self) -> Float:
        """(bins,) bin centres."""
        return np.asarray(self.low + self.width * (np.arange(self.counts.shape[1]) + 0.5))

    @cached_property
    def pixels(self) -> Float:
        """(cells,) pixels."""
        return np.asarray(self.counts.sum(axis=1))

    def part(self, which: NDArray[np.bool_]) -> "Cells":
        """Some of the cells."""
        return replace(self, counts=self.counts[which], y=self.y[which], x=self.x[which])


@dataclass(frozen=True)
class Field:
    """Logarithm of the gain about a black level: a polynomial and shadows of the side walls.

    Attributes
    ----------
    order
        Of the polynomial.
    scales_px
        Decay lengths of the shadows at the left and right edge; 0 where there is none.
    values
        Coefficients, the constant first.
    black
        Grey that shading leaves alone; far below all greys where shading is an offset.
    rows, cols
        Range (first, last) of the plane, px, in which cells were found to show the specimen.
    """

    order: int
    scales_px: tuple[float, float]
    values: Float
    black: float
    rows: tuple[float, float]
    cols: tuple[float, float]

    def terms(self, y: Float, x: Float, shape: tuple[int, int]) -> Float:
        """(n, terms) terms at n places (px), held beyond `rows` and `cols`."""
        y, x = np.clip(y, *self.rows), np.clip(x, *self.cols)
        v, u = y / shape[0] * 2 - 1, x / shape[1] * 2 - 1
        n = self.order
        columns = [v**i * u**j for i in range(n + 1) for j in range(n + 1 - i)]
        for scale, away in zip(self.scales_px, (x, shape[1] - x), strict=True):
            if scale:
                shadow = np.exp(-away / scale)
                columns += [shadow, shadow**2]
        return np.stack(columns, axis=1)

    def at(self, y: Float, x: Float, shape: tuple[int, int]) -> Float:
        """(n,) logarithm of the gain."""
        return np.asarray(self.terms(y, x, shape) @ self.values)

    def with_terms(self, scales_px: tuple[float, float], values: Float) -> "Field":
        """The same with other shadows."""
        return replace(self, scales_px=scales_px, values=values)


def no_field(shape: tuple[int, int]) -> Field:
    """Even brightness."""
    return Field(0, (0.0, 0.0), np.zeros(1), 0.0, (0.0, float(shape[0])), (0.0, float(shape[1])))


def pooled(cells: Cells, log_gain: Float, black: float, bins: int = 512) -> tuple[Float, Float]:
    """Histogram (bins,) and its edges of all cells with a field undone; each bin is shared out over those it meets."""
    ends = cells.low + cells.width * np.arange(cells.counts.shape[1] + 1)
    moved = black + (ends - black) * np.exp(-log_gain)[:, None]
    low, high = float(moved.min()), float(moved.max())
    edges = np.linspace(low, high, bins + 1)
    at = np.clip((moved - low) * (bins / max(high - low, 1e-30)), 0, bins)
    centre, half = 0.5 * (at[:, 1:] + at[:, :-1]), 0.5 * np.maximum(at[:, 1:] - at[:, :-1], 1.0)
    first = np.clip(np.floor(centre - half), 0, bins - 1).astype(np.int64)
    total = np.zeros(bins + 8)
    overlap_end = centre + half
    for j in range(int(np.ceil(2 * half.max())) + 1):
        share = np.clip(np.minimum(overlap_end, first + j + 1) - np.maximum(centre - half, first + j), 0, None)
        total += np.bincount(
            np.minimum(first + j, bins + 7).ravel(), (cells.counts * share / (2 * half)).ravel(), bins + 8
        )
    total[bins - 1] += total[bins:].sum()
    return total[:bins], edges


def _entropy(cells: Cells, log_gain: Float, black: float, bins: int) -> float:
    """Entropy of the pooled histogram, the mean grey kept."""
    weight = cells.counts @ (cells.grey - black)
    log_gain = log_gain + np.log(max(np.sum(weight * np.exp(-log_gain)) / max(np.sum(weight), 1e-30), 1e-6))
    total, edges = pooled(cells, log_gain, black, bins)
    share = total / max(total.sum(), 1e-30)
    kernel = np.array([0.25, 0.5, 0.25])
    share = np.convolve(share, kernel, "same")
    filled = share[share > 0]
    return float(-np.sum(filled * np.log(filled)) + np.log(edges[1] - edges[0]))


def sharpness_gain(cells: Cells, field: Field) -> float:
    """By how much the entropy of the grey of all cells falls when a field is undone."""
    log_gain = field.at(cells.y.mean(axis=1), cells.x.mean(axis=1), cells.shape)
    none = _entropy(cells, np.zeros(len(log_gain)), field.black, 512)
    return none - _entropy(cells, log_gain, field.black, 512)


def n4_pays(cells: Cells, log_gain: Float) -> bool:
    """Whether undoing a gain (cells,) sharpens the histogram of all cells."""
    none = _entropy(cells, np.zeros(len(log_gain)), 0.0, 512)
    return none - _entropy(cells, log_gain, 0.0, 512) > 1e-3


def _coarse(cells: Cells) -> Cells:
    """Neighbouring cells joined to eighths of the plane, grey bins to 128: enough to begin with."""
    ny, nx = cells.shape
    where = (cells.y.mean(axis=1) * 8 // ny * 8 + cells.x.mean(axis=1) * 8 // nx).astype(np.int64)
    names, index = np.unique(where, return_inverse=True)
    merge = max(1, -(-cells.counts.shape[1] // 128))
    fine = np.pad(cells.counts, ((0, 0), (0, -cells.counts.shape[1] % merge)))
    counts = np.zeros((len(names), fine.shape[1] // merge))
    np.add.at(counts, index, fine.reshape(len(fine), -1, merge).sum(axis=2))
    y, x = (np.add.outer(v, np.array([0, 1])) * n / 8 for v, n in ((names // 8, ny), (names % 8, nx)))
    return Cells(counts, cells.low, cells.width * merge, y, x, cells.shape)


def sharpest(cells: Cells, field: Field) -> Field:
    """The polynomial, of order 2 at most, that makes the histogram of all cells sharpest."""
    from scipy.optimize import minimize

    coarse, start = _coarse(cells), replace(field, order=min(field.order, 2), scales_px=(0.0, 0.0))
    terms = start.terms(coarse.y.mean(axis=1), coarse.x.mean(axis=1), cells.shape)[:, 1:]

    def cost(values: Float) -> float:
        return _entropy(coarse, terms @ np.asarray(values), field.black, 192)

    names = [(i, j) for i in range(start.order + 1) for j in range(start.order + 1 - i)][1:]
    down, across = names.index((1, 0)), names.index((0, 1))
    full = [(i, j) for i in range(field.order + 1) for j in range(field.order + 1 - i)]
    best = np.array([field.values[full.index(n)] if len(field.values) >= len(full) else 0.0 for n in names])
    least = cost(best)
    for a in np.linspace(-0.3, 0.3, 13):
        for b in (-0.1, -0.05, 0.0, 0.05, 0.1):
            values = np.zeros(len(names))
            values[down], values[across] = a, b
            found = cost(values)
            if found < least:
                best, least = values, found
    steps = np.vstack([best, best + 0.05 * np.eye(len(names))])
    best = minimize(
        cost, best, method="Nelder-Mead", options={"initial_simplex": steps, "xatol": 1e-3, "fatol": 1e-5}
    ).x
    values = np.zeros(len(full))
    for name, value in zip(names, best, strict=True):
        values[full.index(name)] = value
    return replace(field, scales_px=(0.0, 0.0), values=values)
