"""Smooth displacement fields of single slices from the displacements of their tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.refine_planes import Planes, SliceTiles
from fibtomo.ops.refine_shrink import size_odds

Float = NDArray[np.float64]
Inverse = NDArray[np.floating[Any]]

_LENGTHS = (0.125, 0.25, 0.5)  # of smooth fields, in frames
_AMPLITUDES = np.concatenate([[0.0], np.geomspace(0.7, 16.0, 10)])  # of smooth fields, in scatters of a tile
_SCATTERS = np.geomspace(0.35, 1.4, 9)  # of a tile, relative to what a plane leaves
_FORETOLD = 0.35  # share of the tiles' mean square that a field must foretell; chance reaches 0.27 on sound phantoms
_FORETOLD_BY_ALL = 0.5  # the same for tiles that share content, in excess of noise; chance exceeds 0.4 in gyroids
_LEAST_RMS_PX = 0.3  # a field must reach; periodic structure, alike in all of its cells, feigns 0.26
_CLIP = 2.5  # standard deviations from which on a tile's misfit counts no more
_ANYWHERE_PX2 = 1e4  # variance of the motion of a slice as a whole


@dataclass(frozen=True, eq=False)
class Fields:
    """Smooth displacement of every slice.

    Attributes
    ----------
    nodes_px
        (n, gy, gx, 2) displacement at nodes spread over the frame; zero where none is taken.
    middle_px
        (n, 2) what moves the slice as a whole beside it, NaN where none is taken.
    """

    nodes_px: Float
    middle_px: Float


def smooth_fields(
    slices: Sequence[SliceTiles], planes: Planes, size: int, frame: tuple[int, int], nodes: tuple[int, int]
) -> Fields:
    """Displacement that varies smoothly over the frame, or from line to line only, where the tiles prove it.

    Every field is a Gaussian process of one of several lengths and amplitudes; how frequent each is in the stack, and
    how much single tiles scatter, is what makes all tiles together likeliest. A field is taken only if it foretells
    tiles from those with which they share no content, or very well from all others: scatter cannot be foretold,
    however smooth it looks.

    Parameters
    ----------
    slices, planes
        Tiles, and their affine fit.
    size
        Side of a tile, px.
    frame
        (rows, columns) of the slices.
    nodes
        (gy, gx) nodes spread over the frame.

    References
    ----------
    Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, ch. 2 and 5.

    Examples
    --------
    >>> from fibtomo.ops.refine_planes import fit_planes
    >>> rng = np.random.default_rng(0)
    >>> middle = np.stack(np.meshgrid(*2 * [np.arange(-120.0, 121.0, 30)], indexing="ij"), axis=-1).reshape(-1, 2)
    >>> wave = np.outer(np.sin(middle[:, 0] / 50), (0, 1))
    >>> slices = [SliceTiles(middle, w * wave + 0.2 * rng.normal(size=wave.shape), np.ones_like(wave)) for w in (1, 0)]
    >>> found = smooth_fields(slices, fit_planes(slices, 60), 60, (301, 301), (11, 11)).nodes_px
    >>> bool(abs(found[0, 3:8, :, 1] - np.sin(np.linspace(-60, 60, 5) / 50)[:, None]).max() < 0.3)
    True
    >>> bool(found[1].any())
    False
    """
    lines = [np.linspace(0, n - 1, g) - (n - 1) / 2 for n, g in zip(frame, nodes, strict=True)]
    at = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 2)
    fields, middles = np.zeros((len(slices), len(at), 2)), np.full((len(slices), 2), np.nan)
    seen = [k for k, tiles in enumerate(slices) if tiles.enough]
    lengths = _lengths_px(frame, size)
    for axis in (0, 1) if seen else ():
        tiles = [_Component(slices[k], planes.outlying[k][:, axis], axis, size) for k in seen]
        choices = _likeliest(tiles, lengths, float(planes.scatter_px[axis]))
        for k, component, (length_px, amplitude) in zip(seen, tiles, choices, strict=True):
            if amplitude > 0:
                fields[k, :, axis], middles[k, axis] = component.field(at, length_px, amplitude)
    return Fields(fields.reshape(len(slices), *nodes, 2), middles)


def _lengths_px(frame: tuple[int, int], size: int) -> list[tuple[float, float]]:
    """Lengths along y and x: the same share of the frame, or without end along the lines."""
    lengths = []
    for share in _LENGTHS:
        along_y, along_x = (max(share * n, size / 2) for n in frame)
        lengths += [(along_y, along_x), (along_y, np.inf)]
    return lengths


class _Component:
    """One component of the displacement of the tiles of one slice."""

    def __init__(self, tiles: SliceTiles, raised: Float, axis: int, size: int) -> None:
        self.size = size
        self.places = tiles.middle_px - tiles.shift_px / 2
        self.shift = tiles.shift_px[:, axis]
        self.noise = tiles.covariance(axis, size) * np.outer(raised, raised)
        apart = np.abs(tiles.middle_px[:, None] - tiles.middle_px[None]).max(axis=-1)
        self.sharing = apart < size - 1

    def kernel(self, at: Float, length_px: tuple[float, float], averaged: int) -> Float:
        """Covariance of a field of unit variance with the mean over each tile, at places or (averaged: 2) tiles."""
        out = np.ones((len(at), len(self.places)))
        for axis, length in enumerate(length_px):
            if np.isfinite(length):
                wide = length**2 + averaged * self.size**2 / 12
                apart = at[:, None, axis] - self.places[None, :, axis]
                out *= length / np.sqrt(wide) * np.exp(-0.5 * apart**2 / wide)
        return out

    def modes(self, lengths: Sequence[tuple[float, float]]) -> list[tuple[Float, Float]]:
        """For each kernel independent values and their gains: their variance is scatter² (1 + amplitude² · gain)."""
        m = len(self.shift)
        # an orthonormal basis without the mean
        free = np.linalg.qr(np.column_stack([np.ones(m), np.eye(m)[:, 1:]]))[0][:, 1:].T
        white = np.linalg.solve(np.linalg.cholesky(free @ self.noise @ free.T), free)
        found = []
        for length in lengths:
            gain, vectors = np.linalg.eigh(white @ self.kernel(self.places, length, 2) @ white.T)
            found.append((vectors.T @ (white @ self.shift), gain.clip(0)))
        return found

    def field(self, at: Float, length_px: tuple[float, float], amplitude: float) -> tuple[Float, float]:
        """Expected displacement at places (p, 2) and that of the whole, or zero and NaN if it is not proven."""
        none = self.noise + _ANYWHERE_PX2
        inverse = np.linalg.inv(none + amplitude**2 * self.kernel(self.places, length_px, 2))
        without = np.linalg.inv(none)
        apart = self._explained(inverse, without, self.sharing)
        alone = self._explained(inverse, without, np.eye(len(self.shift), dtype=bool))
        if apart < _FORETOLD and alone < _FORETOLD_BY_ALL:
            return np.zeros(len(at)), np.nan
        weights = inverse @ self.shift
        found = amplitude**2 * self.kernel(at, length_px, 1) @ weights
        if np.std(found) < _LEAST_RMS_PX:
            return np.zeros(len(at)), np.nan
        return found, _ANYWHERE_PX2 * float(weights.sum())

    def _explained(self, inverse: Inverse, without: Inverse, left_out: NDArray[np.bool_]) -> float:
        """Share of the tiles' mean square, outliers clipped, that a field foretells beyond what noise alone does."""
        missed, missed_without = (self._missed(i, left_out) for i in (inverse, without))
        limit = _CLIP * 1.4826 * np.median(np.abs(missed_without))
        left, all_of_it = (np.minimum(np.abs(e), limit) ** 2 for e in (missed, missed_without))
        return float(1 - left.sum() / max(all_of_it.sum(), 1e-12))

    def _missed(self, inverse: Inverse, left_out: NDArray[np.bool_]) -> Float:
        """What each tile differs from its prediction by all tiles but those left out for it."""
        weights = inverse @ self.shift
        missed = np.empty_like(weights)
        for i, row in enumerate(left_out):
            block = np.flatnonzero(row)
            rest = np.linalg.solve(inverse[np.ix_(block, block)], weights[block])
            missed[i] = rest[np.searchsorted(block, i)]
        return missed


def _likeliest(
    tiles: Sequence[_Component], lengths: Sequence[tuple[float, float]], scatter_px: float
) -> list[tuple[tuple[float, float], float]]:
    """Length and amplitude (in scatters) of the field of every slice that make the tiles of all slices likeliest."""
    modes = [component.modes(lengths) for component in tiles]
    best, odds = -np.inf, np.zeros((0, 0))
    for scatter in scatter_px * _SCATTERS:
        log = np.array([[_log_likelihood(*mode, scatter) for mode in of_slice] for of_slice in modes])
        # no field is the same for every length: one column stands for it
        flat = np.concatenate([log[:, 0, :1], log[:, :, 1:].reshape(len(log), -1)], axis=1)
        chance, total = size_odds(flat)
        if total > best:
            best, odds = total, chance
    choices = []
    for chance in odds:
        number, size = divmod(int(chance[1:].argmax()), len(_AMPLITUDES) - 1)
        choices.append((lengths[number], 0.0 if chance[0] > 0.5 else float(_AMPLITUDES[1 + size])))
    return choices


def _log_likelihood(values: Float, gain: Float, scatter: float) -> Float:
    variance = (1 + np.outer(_AMPLITUDES**2, gain)) * scatter**2
    return np.asarray(-0.5 * (np.log(variance) + values**2 / variance).sum(axis=1))
