"""First half of refinement: where small tiles of a slice lie against the mean of the slices around it.

The tiles stand on a lattice that is fixed to the specimen as the drift has it, so that every slice is transformed once
and its neighbours are brought to its place by a phase in their spectra, without interpolation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace
from fibtomo.core.volume import Table
from fibtomo.errors import InputError
from fibtomo.ops.correlation import PairShift, pair_shift, phase_turns
from fibtomo.ops.spectra import Band, SliceSpectrum, make_band, ring_power, slice_spectrum

Float = NDArray[np.float64]
Place = tuple[int, int]

REACH_SLICES = 2
"""Slices on either side that make the template."""
_SMALLEST_PX, _SHARE = 64, 8  # a tile is an eighth of the slice
_LEAST_PX = 32
_REACH_PX = 8.0
_LEAST_CONFIDENCE = 0.5
_LEAST_SIGNIFICANCE = 3.0  # below, one tile in twenty is off by a pixel


@dataclass(frozen=True)
class TileLattice:
    """Square tiles that overlap by half, fixed to the specimen.

    Attributes
    ----------
    frame
        (rows, columns) of the slices.
    size
        Side of a tile, px; the lattice's step is half of it.
    """

    frame: tuple[int, int]
    size: int

    @property
    def step(self) -> int:
        """Distance of neighbouring tiles, px."""
        return self.size // 2

    def corner(self, place: Place, shift_px: Float) -> Place:
        """First row and column of a tile in a slice that has moved by `shift_px`."""
        y, x = (
            (n - self.size) % self.step // 2 + p * self.step + round(float(s))
            for n, p, s in zip(self.frame, place, shift_px, strict=True)
        )
        return y, x

    def places(self, shift_px: Float) -> list[Place]:
        """Tiles that a slice shows whole."""
        y, x = (
            range(-(first // self.step), (n - self.size - first) // self.step + 1)
            for n, first in zip(self.frame, self.corner((0, 0), shift_px), strict=True)
        )
        return [(i, j) for i in y for j in x]

    def middles(self, places: NDArray[np.int64], shift_px: Float) -> Float:
        """(m, 2) rows and columns of the middles of tiles (m, 2), relative to the middle of the frame."""
        corner = np.array(self.corner((0, 0), shift_px))
        return np.asarray(corner + places * self.step + (self.size - 1) / 2 - (np.array(self.frame) - 1) / 2)


def make_lattice(frame: tuple[int, int], tile_px: int | None = None) -> TileLattice:
    """Choose tiles for slices of shape `frame`.

    Raises
    ------
    InputError
        The tiles are too small to correlate, or larger than the slices.

    Examples
    --------
    >>> lattice = make_lattice((320, 320))
    >>> lattice.size, len(lattice.places(np.zeros(2))), lattice.corner((0, 0), np.array([3.2, -1.7]))
    (64, 81, (3, -2))
    """
    size = min(max(_SMALLEST_PX, min(frame) // _SHARE), min(frame)) if tile_px is None else tile_px
    size -= size % 2
    if not _LEAST_PX <= size <= min(frame):
        raise InputError(
            f"tiles of {size} px do not suit slices of {frame[0]} x {frame[1]} pixels: they must have {_LEAST_PX} px "
            f"or more and lie inside; leave refinement out with --set drift.refine=off"
        )
    return TileLattice(frame, size)


def template_weights(before: Sequence[int], after: Sequence[int]) -> dict[int, float]:
    """Weights of the slices at distances `before` and `after` (both positive), by signed distance.

    Their centre of gravity lies on the slice itself, so that structure which moves steadily does not move it.

    Examples
    --------
    >>> template_weights([1, 2], [1, 2])
    {-1: 0.25, -2: 0.25, 1: 0.25, 2: 0.25}
    >>> {k: round(w, 3) for k, w in template_weights([1], [2]).items()}
    {-1: 0.667, 2: 0.333}
    """
    if not before or not after:
        return {}
    low, high = float(np.mean(before)), float(np.mean(after))
    left = {-d: high / (low + high) / len(before) for d in before}
    return left | {d: low / (low + high) / len(after) for d in after}


def neighbours(k: int, n: int, bad: frozenset[int]) -> dict[int, float]:
    """Weights of the slices that make the template of slice k of n, by signed distance; empty if a side has none."""
    reach = range(1, REACH_SLICES + 1)
    before, after = ([d for d in reach if 0 <= k + s * d < n and k + s * d not in bad] for s in (-1, 1))
    return template_weights(before, after)


def measure_tiles(
    block: Any, z0: int, core: tuple[int, int], shifts_px: Float, bad: Sequence[int], lattice: TileLattice
) -> Table:
    """Measure every slice in the core of a slab, and its tiles, against the mean of its neighbours.

    Parameters
    ----------
    block
        (z, y, x) slices, with `REACH_SLICES` on either side of the core where the stack has them.
    z0
        Index in the stack of ``block[0]``.
    core
        Range inside the block that is answered for.
    shifts_px
        (n, 2) motion of all slices that is to be refined.
    bad
        Slices that take no part.
    lattice
        The tiles.

    Returns
    -------
    Table
        Per slice ``whole_slice`` (m,), ``whole_px`` (m, 2) displacement from the template to the slice, ``whole_seen``
        whether it can be trusted; per tile ``slice``, ``place`` (m, 2) on the lattice, ``shift_px`` (m, 2),
        ``sigma_px`` (m, 2) standard deviation, ``seen`` whether its peak stands out.
    """
    out, n = frozenset(bad), len(shifts_px)
    xp = namespace(block)
    band = make_band((lattice.size, lattice.size), xp=xp)
    whole_band = make_band(lattice.frame, xp=xp)
    spectra: dict[int, dict[Place | None, SliceSpectrum]] = {}
    whole: list[tuple[int, PairShift]] = []
    tiles: list[tuple[int, Place, PairShift]] = []
    for k in range(z0 + core[0], z0 + core[1]):
        weights = {} if k in out else neighbours(k, n, out)
        if not weights:
            continue
        for j in [k, *(k + d for d in weights)]:
            if j not in spectra:
                spectra[j] = _tile_spectra(block[j - z0], shifts_px[j], lattice, band)
                spectra[j][None] = slice_spectrum(block[j - z0], whole_band)
        for j in [j for j in spectra if j < k - REACH_SLICES]:
            del spectra[j]
        apart = {k + d: shifts_px[k + d] - shifts_px[k] for d in weights}
        rest = {j: move - np.rint(shifts_px[j]) + np.rint(shifts_px[k]) for j, move in apart.items()}
        share = {k + d: w for d, w in weights.items()}
        moved = {j: w * _turn(rest[j], band, xp) for j, w in share.items()}
        for place, here in spectra[k].items():
            parts = {j: spectra[j].get(place) for j in share}
            if place is None:
                moved_whole = {j: w * _turn(apart[j], whole_band, xp) for j, w in share.items()}
                template = _template(parts, moved_whole, here, whole_band)
                whole.append((k, pair_shift(template, here, whole_band, _REACH_PX)))
            elif all(part is not None for part in parts.values()):
                tiles.append((k, place, pair_shift(_template(parts, moved, here, band), here, band, _REACH_PX)))
    return {
        "whole_slice": np.array([k for k, _ in whole], dtype=np.int64),
        "whole_px": np.array([f.shift_px for _, f in whole]).reshape(-1, 2),
        "whole_seen": np.array([f.confidence > _LEAST_CONFIDENCE for _, f in whole], dtype=bool),
        "slice": np.array([k for k, _, _ in tiles], dtype=np.int64),
        "place": np.array([place for _, place, _ in tiles], dtype=np.int64).reshape(-1, 2),
        "shift_px": np.array([f.shift_px for _, _, f in tiles]).reshape(-1, 2),
        "sigma_px": np.array([f.sigma_px for _, _, f in tiles]).reshape(-1, 2),
        "seen": np.array([f.significance > _LEAST_SIGNIFICANCE for _, _, f in tiles], dtype=bool),
    }


def _tile_spectra(image: Any, shift_px: Float, lattice: TileLattice, band: Band) -> dict[Place | None, SliceSpectrum]:
    found: dict[Place | None, SliceSpectrum] = {}
    for place in lattice.places(shift_px):
        y, x = lattice.corner(place, shift_px)
        found[place] = slice_spectrum(image[y : y + lattice.size, x : x + lattice.size], band)
    return found


def _turn(move_px: Float, band: Band, xp: Any) -> Any:
    """Phases that undo a displacement."""
    y, x = phase_turns(move_px / band.binning, band)
    return xp.asarray(y)[:, None] * xp.asarray(x)


def _template(
    parts: Mapping[int, SliceSpectrum | None], turns: Mapping[int, Any], here: SliceSpectrum, band: Band
) -> SliceSpectrum:
    """Mean of the neighbours, brought to the place of the slice."""
    values = sum(part.values * turns[j] for j, part in parts.items() if part is not None)
    values = values.astype(here.values.dtype)
    return SliceSpectrum(values, ring_power(values, band), here.windows)
