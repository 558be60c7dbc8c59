"""Whether what lies beyond a boundary is a layer (protective layer, trench wall) or specimen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.face_layer import (
    LEAST_BAND,
    LEAST_SLICES,
    MOST_SLICES,
    NEAR,
    STRAY,
    Boundary,
    Float,
    Float32,
    evenly,
    median,
    running_mean,
    strip_edges,
    structure,
)


@dataclass(frozen=True)
class Verdict:
    """How sure it is that the strip of slices above a boundary is no specimen.

    Attributes
    ----------
    found
        Fraction of slices on which the boundary is seen.
    quiet
        Structure in the layer, relative to that of the specimen.
    like_layer
        Fraction of places in the specimen that are as quiet as the layer over two thirds of the width.
    changing
        How far the specimen changes through the stack: 0 not at all, 1 altogether.
    rough
        Root mean square departure of the boundary from its common shape, points.
    above
        Structure between layer and frame edge, relative to that of the specimen.
    band
        Points of the quiet layer next to the boundary.
    """

    found: float = 0.0
    quiet: float = np.inf
    like_layer: float = 1.0
    changing: float = 0.0
    rough: float = np.inf
    above: float = np.inf
    band: int = 0

    @property
    def doubts(self) -> list[str]:
        """The signs that speak against it, as phrases."""
        signs = {
            f"its boundary is seen on {100 * self.found:.0f} % of the slices only": self.found >= 0.9,
            f"it is {self.quiet:.2f} times as structured as the specimen": self.quiet <= 0.4,
            "other parts of the specimen are as even": self.like_layer <= (0.05 if self.quiet <= 0.05 else 0.03),
            "the specimen hardly changes through the stack": self.changing >= 0.5,
            f"its boundary is rough by {self.rough:.1f} px": self.rough <= 1.5,
            "there is structure beyond it": self.above <= 0.7,
            "it is too thin": self.band >= LEAST_BAND,
        }
        return [phrase for phrase, holds in signs.items() if not holds]

    @property
    def likely(self) -> bool:
        """Whether there is a straight, lasting boundary at all."""
        return self.found >= 0.8 and self.quiet <= 0.5 and self.rough <= 2.0 and self.band >= LEAST_BAND


def judge(profiles: Float32, boundary: Boundary) -> Verdict:
    """Weigh the signs that tell a layer from specimen; see `Verdict`."""
    good = np.flatnonzero(np.isfinite(boundary.places))
    seen = np.isfinite(profiles).any(axis=(1, 2)) & boundary.visible
    if len(good) < LEAST_SLICES:
        return Verdict()
    found = len(good) / max(1, int(seen.sum()))
    good = good[evenly(len(good), MOST_SLICES)]
    lines = np.rint(boundary.places[good][:, None] + boundary.shape).astype(int)
    up, down = int(lines.max()), profiles.shape[1] - int(lines.min())
    offsets = np.arange(-up, down)
    at = lines[:, None, :] + offsets[:, None]
    inside = (at >= 0) & (at < profiles.shape[1])
    aligned = np.take_along_axis(profiles[good], np.where(inside, at, 0), axis=1)
    aligned = np.where(inside, aligned, np.float32(np.nan))
    busy = structure(aligned).astype(np.float64)
    typical = median(busy, axis=0)
    below, above = offsets >= NEAR, offsets < -NEAR
    deep = float(median(typical[below], axis=0))
    if not deep > 0:
        return Verdict()
    level = median(median(aligned, axis=2), axis=0)
    band = _band(typical, level, offsets, deep)
    layer = (offsets < -NEAR) & (offsets >= -NEAR - band)
    if band < LEAST_BAND:
        return Verdict(band=band)
    quiet = float(median(busy[:, layer].ravel(), axis=0))
    rest = np.flatnonzero(above & ~layer)
    return Verdict(
        found=found,
        quiet=quiet / deep,
        like_layer=_quiet_places(aligned[:, below], min(band, 12), max(1.3 * quiet, 0.25 * deep)),
        changing=_change(aligned[:, below]),
        rough=_rough(profiles, boundary),
        above=_noise_above(aligned, rest, deep, _variation(aligned[:, below])),
        band=band,
    )


def _band(typical: Float, level: Float, offsets: NDArray[np.int64], deep: float) -> int:
    """Points of the quiet, even layer next to the boundary."""
    count = 0
    start = int(np.searchsorted(offsets, -NEAR))
    near = level[max(0, start - LEAST_BAND) : start]
    if not np.isfinite(near).any():
        return 0
    grey = float(median(near, axis=0))
    for i in range(start - 1, -1, -1):
        if not typical[i] <= 0.5 * deep or not abs(level[i] - grey) <= 0.3:
            break
        count += 1
    return count


def _quiet_places(below: Float32, height: int, limit: float) -> float:
    """Fraction of windows in the specimen, two thirds as wide as the slice, that are as quiet as the layer."""
    strips = below.shape[2]
    half = 2 * strips // 3
    power = [
        running_mean(structure(below[:, :, first : first + half], 0.8).astype(np.float64) ** 2, 0, height)
        for first in (0, (strips - half) // 2, strips - half)
    ]
    known = np.isfinite(power[0])
    if not known.any():
        return 1.0
    least = np.min([np.where(np.isfinite(p), p, np.inf) for p in power], axis=0)
    return float((least[known] <= limit**2).mean())


def _variation(part: Float32) -> float:
    """Typical variance over z at a fixed place."""
    with np.errstate(all="ignore"):
        centred = part - median(part, axis=2)[:, :, None]
        count = np.isfinite(centred).sum(axis=0)
        mean = np.nansum(centred, axis=0) / np.maximum(count, 1)
        variance = np.nansum((centred - mean) ** 2, axis=0) / np.maximum(count, 1)
    return float(np.median(variance[count > 1])) if (count > 1).any() else 0.0


def _change(below: Float32) -> float:
    """Share of the specimen's variance that varies over z."""
    with np.errstate(all="ignore"):
        centred = below - median(below, axis=2)[:, :, None]
        count = np.isfinite(centred).sum(axis=0)
        enough = 2 * count >= len(below)
        total = np.nansum(centred**2, axis=0) / np.maximum(count, 1)
        mean = np.nansum(centred, axis=0) / np.maximum(count, 1)
    if not enough.any() or total[enough].sum() <= 0:
        return 0.0
    return float(1 - (mean[enough] ** 2).sum() / total[enough].sum())


def _noise_above(aligned: Float32, rest: NDArray[np.int64], deep: float, variation: float) -> float:
    """Structure between layer and frame edge: of most strips, or what changes over z, whichever is smaller."""
    if not len(rest):
        return 0.0
    part = aligned[:, rest]
    busy = structure(part, 0.5)
    spatial = float(np.nanquantile(busy, 0.75)) / deep if np.isfinite(busy).any() else 0.0
    temporal = float(np.sqrt(_variation(part) / max(variation, 1e-12)))
    return min(spatial, temporal)


def _rough(profiles: Float32, boundary: Boundary) -> float:
    good = np.isfinite(boundary.places)
    edges = strip_edges(profiles[good], boundary.places[good][:, None] + boundary.shape)
    rest = edges - boundary.places[good][:, None] - boundary.shape
    return float(np.sqrt(np.nanmean(np.minimum(np.abs(rest), 3 * STRAY) ** 2)))
