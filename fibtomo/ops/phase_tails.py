"""Tails of charging inclusions, measured against the phases.

A tail is a decaying darkness beside a bright inclusion along the fast scan direction, x. The rows beside an inclusion
are explained as the two phases of the slice, shifted by ``-depth exp(-distance / length)``, with one length for an
inclusion and one depth for every row. It counts only if it is deep, explains much, is missing on the other side and
ends above and below, and if its pixels are the phases once it is taken off: a dark rim, a layer or a wall are not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.grey_modes import Float, Histograms, Peaks, common_peaks

LENGTHS_PX = (10.0, 20.0, 40.0, 80.0, 160.0)
_DEPTHS = np.linspace(-0.3, 0.9, 25)  # of the contrast
_PHASE_PIXELS = 2**17
_SEED_SIGMA = 3.5
_SEED_ABOVE = 0.28  # contrasts above the brightest phase: more than a bright rim
_SEED_ROWS = 4
_SEED_PIXELS = 20
_LARGEST = 0.03  # share of the slice from which on a bright region is no inclusion
_MOST_BRIGHT = 0.04
_LEAST_DEPTH = 0.1  # of the contrast
_DEEP_ROWS = 0.85  # share of rows that must be deep
_DEEPEST = 0.7  # beyond, one phase is taken for the other
_SCATTER = 0.27  # of the depths, in contrasts
_LEAST_EVIDENCE = 12.0  # logarithm of the likelihood per row
_ELSEWHERE = 0.4
_MISFIT = 0.3  # share of pixels that lie at neither phase once the tail is off: they show something else
_BANDS = 4  # times its own height that an inclusion may be larger than what is seen of it


@dataclass(frozen=True)
class _Inclusion:
    """A bright blob: for each of its rows the first and the last column."""

    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def phase_tails(plane: NDArray[Any]) -> list[tuple[float, ...]]:
    """Tails of a slice, row by row: row, row + 1, first and stop column, depth in grey levels, signed length in px."""
    grey = np.asarray(plane, dtype=np.float32)
    if min(grey.shape) < 32:
        return []
    phases = _phases(grey)
    if phases is None:
        return []
    tails: list[tuple[float, ...]] = []
    taken: dict[int, set[int]] = {1: set(), -1: set()}
    for blob in _inclusions(grey, phases):
        right, left = _fit(grey, blob, phases, +1), _fit(grey, blob, phases, -1)
        best, other, side = (right, left, 1) if right.evidence >= left.evidence else (left, right, -1)
        if best.evidence < _LEAST_EVIDENCE or np.median(other.depths) > _ELSEWHERE * best.middle or not _even(best):
            continue
        if _misfit(grey, best, blob, phases, side) > _MISFIT or not _ends(grey, blob, phases, side, best):
            continue
        contrast = phases.mean[-1] - phases.mean[0]
        for row, first, stop, depth in _rows_of(grey, blob, phases, side, best):
            if row not in taken[side]:
                taken[side].add(row)
                reach = int(4 * best.length_px)
                first, stop = (first, min(stop, first + reach)) if side > 0 else (max(first, stop - reach), stop)
                tails.append((row, row + 1, first, stop, depth * contrast, side * best.length_px))
    return tails


def _even(tail: "_Tail") -> bool:
    """Whether nearly all rows are deep, none so deep that one phase is taken for the other, and all about as deep."""
    deep = float(np.mean(tail.depths > _LEAST_DEPTH))
    return deep >= _DEEP_ROWS and tail.middle < _DEEPEST and float(np.std(tail.depths)) < _SCATTER


def _phases(grey: Float) -> Peaks | None:
    """The two phases with most pixels, or nothing where they do not stand apart."""
    step = max(1, int(np.sqrt(grey.size / _PHASE_PIXELS)))
    some = grey[::step, ::step]
    low, high = np.quantile(some, [0.002, 0.998])
    if high <= low:
        return None
    counts, edges = np.histogram(some, 256, (low, high))
    peaks = common_peaks(Histograms(counts[None], edges[:1], edges[1:2] - edges[:1]), 2)
    apart = peaks.mean[1] - peaks.mean[0] > 4 * peaks.sigma.max()
    return peaks if apart and np.all(peaks.sigma > 0) else None


def _inclusions(grey: Float, phases: Peaks) -> list[_Inclusion]:
    """Small regions brighter than the brightest phase."""
    from scipy.ndimage import find_objects, label, uniform_filter

    limit = phases.mean[1] + max(_SEED_SIGMA * phases.sigma[1] / 3, _SEED_ABOVE * (phases.mean[1] - phases.mean[0]))
    bright = uniform_filter(grey, 3, mode="nearest") > limit
    if bright.mean() > _MOST_BRIGHT:  # a phase of the specimen
        return []
    labels, _ = label(bright)
    found = []
    for name, box in enumerate(find_objects(labels), 1):
        inside = labels[box] == name
        size = int(inside.sum())
        if size < _SEED_PIXELS or inside.shape[0] < _SEED_ROWS or size > _LARGEST * grey.size:
            continue
        if box[0].start == 0 or box[0].stop == grey.shape[0]:
            continue
        first, last = inside.argmax(axis=1), inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
        rows = np.arange(box[0].start, box[0].stop)
        found.append(_Inclusion(rows, first + box[1].start, last + box[1].start))
    return found


@dataclass(frozen=True)
class _Tail:
    """Depth of each row in contrasts, and how much better than none the rows are explained, per row."""

    depths: Float
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    length_px: float
    evidence: float

    @property
    def middle(self) -> float:
        """Median depth."""
        return float(np.median(self.depths)) if len(self.depths) else 0.0


def _fit(grey: Float, blob: _Inclusion, phases: Peaks, side: int, length_px: float | None = None) -> _Tail:
    """The length, one for all rows, and the depths that explain best what lies beside an inclusion."""
    contrast, columns = phases.mean[1] - phases.mean[0], grey.shape[1]
    reach = int(4 * LENGTHS_PX[-1])
    first = np.minimum(blob.last + 3, columns) if side > 0 else np.maximum(blob.first - 2 - reach, 0)
    stop = np.minimum(first + reach, columns) if side > 0 else np.maximum(blob.first - 2, 0)
    sigma, mean = phases.sigma.max(), phases.mean
    gains = np.zeros((len(LENGTHS_PX), len(blob.rows), len(_DEPTHS)))
    for i, row in enumerate(blob.rows):
        line = grey[row, first[i] : stop[i]][::side]
        if len(line) < 8:
            continue
        away = np.arange(len(line))
        for j, length in enumerate(LENGTHS_PX):
            near = away[: int(4 * length)]
            moved = line[: len(near)] + contrast * _DEPTHS[:, None] * np.exp(-near / length)
            u = (moved[..., None] - mean) / sigma
            likelihood = np.log(np.exp(-0.5 * u * u).sum(axis=-1) + 0.02).sum(axis=-1)
            gains[j, i] = likelihood - likelihood[np.argmin(np.abs(_DEPTHS))]
    total = gains.max(axis=2).sum(axis=1)
    j = int(np.argmax(total)) if length_px is None else LENGTHS_PX.index(length_px)
    depths = _peak(gains[j])
    return _Tail(depths, first, stop, LENGTHS_PX[j], float(total[j]) / max(len(blob.rows), 1))


def _misfit(grey: Float, tail: _Tail, blob: _Inclusion, phases: Peaks, side: int) -> float:
    """Share of the pixels in a tail that lie at neither phase when it is taken off."""
    wrong = seen = 0
    contrast = phases.mean[1] - phases.mean[0]
    for row, first, stop, depth in zip(blob.rows, tail.first, tail.stop, tail.depths, strict=True):
        line = grey[row, first:stop][::side][: int(4 * tail.length_px)]
        line = line + depth * contrast * np.exp(-np.arange(len(line)) / tail.length_px)
        away = np.abs(line[:, None] - phases.mean).min(axis=1)
        wrong, seen = wrong + int(np.sum(away > 3 * phases.sigma.max())), seen + len(line)
    return wrong / max(seen, 1)


def _peak(gains: Float) -> Float:
    """Depth (rows,) of most likelihood, between the grid's places by a parabola."""
    at = np.clip(gains.argmax(axis=1), 1, len(_DEPTHS) - 2)
    rows = np.arange(len(gains))
    before, here, after = gains[rows, at - 1], gains[rows, at], gains[rows, at + 1]
    bend = before - 2 * here + after
    part = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0.0)
    return np.where(np.ptp(gains, axis=1) > 0, _DEPTHS[at] + np.clip(part, -1, 1) * (_DEPTHS[1] - _DEPTHS[0]), 0.0)


def _ends(grey: Float, blob: _Inclusion, phases: Peaks, side: int, best: _Tail) -> bool:
    """Whether the tail is gone in rows above and below the inclusion; a layer goes on, and so may its other parts."""
    n = max(len(blob.rows), _SEED_ROWS)
    for direction in (-1, 1):
        gone = []
        for step in range(1, _BANDS + 1):
            rows = blob.rows + direction * step * (n + 3)
            rows = rows[(rows >= 0) & (rows < len(grey))]
            if len(rows) >= _SEED_ROWS:
                gone.append(_fit(grey, _at(blob, rows, side), phases, side).middle < _ELSEWHERE * best.middle)
        if gone and not any(gone):
            return False
    return True


def _at(blob: _Inclusion, rows: NDArray[np.int64], side: int) -> _Inclusion:
    """Other rows, as if the inclusion ended there in its middle column."""
    edge = np.full(len(rows), int(np.median(blob.last if side > 0 else blob.first)))
    return _Inclusion(rows, edge, edge)


def _rows_of(grey: Float, blob: _Inclusion, phases: Peaks, side: int, best: _Tail) -> list[tuple[int, int, int, float]]:
    """Row, first and stop column and depth of the tail: in the rows of the inclusion, and on while it goes on."""
    found = [
        (int(row), int(first), int(stop), float(depth))
        for row, first, stop, depth in zip(blob.rows, best.first, best.stop, best.depths, strict=True)
        if stop - first >= 4 and depth > 0.5 * _LEAST_DEPTH
    ]
    reach = _BANDS * (len(blob.rows) + 3)
    for start, step in ((int(blob.rows[0]) - 1, -1), (int(blob.rows[-1]) + 1, 1)):
        missed = 0
        for row in range(start, start + step * reach, step):
            if not 0 <= row < len(grey) or missed > 2:
                break
            one = _fit(grey, _at(blob, np.array([row]), side), phases, side, best.length_px)
            missed = 0 if one.evidence > _LEAST_EVIDENCE and one.middle > _LEAST_DEPTH else missed + 1
            if not missed:
                found.append((row, int(one.first[0]), int(one.stop[0]), one.middle))
    return found
