"""What a slice leaves behind for the search of the specimen's face: its padding and two coarse pictures of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.core.volume import Table
from fibtomo.ops.padding import padding_of

STRIPS = 24
"""Strips across the slice, each of which gives one profile."""
LONGEST = 512
"""Points of the longest profile; longer ones are binned."""
SAMPLES = 64
"""Grey values kept along either axis of the slice."""
_SAMPLE_PX = 3


@dataclass(frozen=True)
class StripLayout:
    """How an axis of `length` pixels is binned, and one of `width` pixels cut into strips.

    Examples
    --------
    >>> StripLayout.of(2000, 480)
    StripLayout(bin_px=4, points=500, strip_px=20, strips=24)
    """

    bin_px: int
    points: int
    strip_px: int
    strips: int

    @classmethod
    def of(cls, length: int, width: int) -> "StripLayout":
        """Choose both for a slice."""
        bin_px = -(-length // LONGEST)
        strips = max(1, min(STRIPS, width // 8))
        return cls(bin_px, length // bin_px, width // strips, strips)

    @property
    def centres_px(self) -> NDArray[np.float64]:
        """(strips,) pixel at the middle of each strip."""
        return np.asarray((np.arange(self.strips) + 0.5) * self.strip_px - 0.5, dtype=np.float64)


def measure_faces(slices: Any) -> Table:
    """Reduce slices to what `find_face` needs.

    Parameters
    ----------
    slices
        (n, y, x) grey values of any real type.

    Returns
    -------
    Table
        ``padding`` (n, 4) constant lines at top, bottom, left and right; ``down`` (n, points, strips) and ``across``
        profiles along y in strips across x, and along x in strips across y; ``samples`` (n, rows, columns) means of
        3 × 3 pixels. Grey values are in standard deviations about the slice's mean, NaN on padding.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(1, 64, 96))
    >>> image[0, :5] = 0
    >>> table = measure_faces(image)
    >>> table["padding"].tolist(), table["down"].shape, table["across"].shape
    ([[5, 0, 0, 0]], (1, 64, 12), (1, 96, 8))
    """
    found: list[dict[str, Any]] = [_measure(slices[k]) for k in range(len(slices))]
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def _measure(image: Any) -> dict[str, Any]:
    xp = namespace(image)
    grey = image.astype(np.float32)
    top, bottom, left, right = padding = padding_of(grey)
    known = xp.zeros(grey.shape, bool)
    known[top : grey.shape[0] - bottom, left : grey.shape[1] - right] = True
    known &= xp.isfinite(grey)
    count = max(1, int(known.sum()))
    away = grey - xp.where(known, grey, 0).sum(dtype=np.float64).astype(np.float32) / np.float32(count)
    away = xp.where(known, away, np.float32(0))
    spread = float(xp.sqrt(xp.vdot(away, away) / count))
    if spread > 0:
        away /= np.float32(spread)
    else:
        known[:] = False
    return {
        "padding": np.array(padding),
        "down": _profiles(away, known, 0),
        "across": _profiles(away, known, 1),
        "samples": _samples(away, known),
    }


def _profiles(away: Any, known: Any, along: int) -> Any:
    """Means (points, strips) along axis `along`; NaN where half of a cell or more is not known."""
    xp = namespace(away)
    layout = StripLayout.of(away.shape[along], away.shape[1 - along])
    cell = (layout.bin_px, layout.strip_px) if along == 0 else (layout.strip_px, layout.bin_px)
    most = cell[0] * cell[1]
    count = xp.float32(most) if bool(known.all()) else _sums(known.astype(np.float32), cell)
    mean = xp.where(2 * count > most, _sums(away, cell) / xp.maximum(count, 1), xp.nan)
    return to_host(mean if along == 0 else mean.T)[: layout.points, : layout.strips].astype(np.float16)


def _sums(values: Any, cell: tuple[int, int]) -> Any:
    """Sums over whole cells; each axis is summed as the first, which is fast."""
    for size in cell:
        count = values.shape[0] // size
        values = values[: count * size].reshape(count, size, -1).sum(axis=1).T
        values = namespace(values).ascontiguousarray(values)
    return values


def sample_places(length: int) -> NDArray[np.int64]:
    """First pixel of each 3-pixel cell that is sampled along an axis."""
    return np.linspace(0, length - _SAMPLE_PX, min(SAMPLES, length // _SAMPLE_PX)).astype(np.int64)


def _samples(away: Any, known: Any) -> Any:
    xp = namespace(away)
    rows, cols = (sample_places(length) for length in away.shape)
    total: Any = 0
    for dy in range(_SAMPLE_PX):
        for dx in range(_SAMPLE_PX):
            at = xp.asarray(rows + dy)[:, None], xp.asarray(cols + dx)
            total = total + xp.where(known[at], away[at], xp.nan)
    return to_host(total / _SAMPLE_PX**2).astype(np.float16)
