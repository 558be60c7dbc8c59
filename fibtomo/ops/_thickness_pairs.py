"""Likeness of neighbouring slices, tile by tile: what thickness is estimated from.

A slice is cut into tiles. Thickness is common to all tiles, while the accidents of the structure differ between them:
their scatter is the honest error of what they say together. Tiles are compared by coherence, band by band, so that
brightness, contrast and focus drop out; the wedge of spatial frequencies in which curtains and scan lines lie is left
out, and what is left of drift between two slices is fitted first.
"""

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import fft, namespace, to_host
from fibtomo.core.volume import Table
from fibtomo.errors import InputError

Float = NDArray[np.float64]

BANDS = 8
_HIGHEST = 0.25  # cycles per pixel
_TILE_PX = 128
_MOST_TILES = 4  # along either axis
_LARGE_PX = 1500  # from this size on slices are binned
_SMALLEST_TILE_PX = 16
_WEDGE_DEG = 10.0
_REFINE_PX = 1.5
_REFINE_STEPS = 2
_LEAST_OVERLAP = 0.3


@dataclass(frozen=True, eq=False)
class Tiling:
    """How slices of one shape are cut into tiles, and the spatial frequencies in use.

    Attributes
    ----------
    binning
        Pixels averaged along either axis.
    grid, shape
        Tiles along y and x; rows and columns of a tile, binned pixels.
    window_y, window_x
        Taper of a tile.
    modes
        Flat indices into the half spectrum of a tile, sorted by band.
    omega
        (2, modes) angular frequencies along y and x, radians per binned pixel.
    bounds
        (BANDS + 1,) where each band begins among the modes.
    """

    binning: int
    grid: tuple[int, int]
    shape: tuple[int, int]
    window_y: Float
    window_x: Float
    modes: NDArray[np.int64]
    omega: Float
    bounds: NDArray[np.int64]

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.grid[0] * self.grid[1]


@lru_cache(maxsize=8)
def make_tiling(shape: tuple[int, int]) -> Tiling:
    """Choose tiles and frequencies for slices of `shape` (rows, columns).

    Raises
    ------
    InputError
        The slice is too small to be cut into tiles.
    """
    binning = 1
    while max(shape) / binning >= _LARGE_PX and min(shape) / (2 * binning) >= 2 * _TILE_PX:
        binning *= 2
    sides = [n // binning for n in shape]
    grid = [int(np.clip(round(n / _TILE_PX), 2, _MOST_TILES)) for n in sides]
    ny, nx = (n // g for n, g in zip(sides, grid, strict=True))
    if min(ny, nx) < _SMALLEST_TILE_PX:
        raise InputError(
            f"slices of {shape[0]} x {shape[1]} pixels are too small to estimate thickness from them: leave it out "
            f"with --set thickness.estimate=off"
        )
    fy, fx = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)[None]
    radius, lowest = np.hypot(fy, fx), 2.0 / min(ny, nx)
    keep = (radius >= lowest) & (radius < _HIGHEST) & (fx > 1.5 / nx)
    keep &= np.abs(fy) > np.maximum(1.5 / ny, np.tan(np.radians(_WEDGE_DEG)) * fx)
    edges = np.geomspace(lowest, _HIGHEST, BANDS + 1)
    flat = np.flatnonzero(keep)
    band = np.clip(np.searchsorted(edges, radius.ravel()[flat], side="right") - 1, 0, BANDS - 1)
    order = np.argsort(band, kind="stable")
    modes = flat[order]
    omega = 2 * np.pi * np.stack([np.broadcast_to(f, keep.shape).ravel()[modes] for f in (fy, fx)])
    bounds = np.searchsorted(band[order], np.arange(BANDS + 1))
    return Tiling(binning, (grid[0], grid[1]), (ny, nx), _taper(ny), _taper(nx), modes, omega, bounds)


def _taper(n: int) -> Float:
    """Tukey window of which half rises and falls."""
    t = (np.arange(n) + 0.5) / n
    edge = np.minimum(t, 1 - t) / 0.25
    return np.where(edge < 1, 0.5 - 0.5 * np.cos(np.pi * edge), 1.0)


def compare_slab(block: Any, z0: int, core: tuple[int, int], shifts_px: Float, gaps: int) -> Table:
    """Compare the slices in the core of a slab with those up to `gaps` before them.

    Parameters
    ----------
    block
        (z, y, x) slices, with `gaps` before the core where the stack has them.
    z0
        Index in the stack of ``block[0]``.
    core
        Range inside the block that is answered for.
    shifts_px
        (n, 2) drift of the whole stack.
    gaps
        Largest distance between two slices that are compared.

    Returns
    -------
    Table
        ``power`` (m, tiles, bands) of the core's slices and ``cross`` (m, gaps, tiles, bands), the aligned cross power
        with the slice 1, 2, … before, NaN where there is none; ``mode_power`` (modes,), summed over slices and tiles,
        and ``bounds`` of the bands among the modes.
    """
    xp = namespace(block)
    tiling = make_tiling((int(block.shape[1]), int(block.shape[2])))
    omega = xp.asarray(tiling.omega, dtype=np.float32)
    length = core[1] - core[0]
    power = np.zeros((length, tiling.tiles, BANDS))
    cross = np.full((length, gaps, tiling.tiles, BANDS), np.nan)
    mode_power = np.zeros(len(tiling.modes))
    recent: deque[Any] = deque(maxlen=gaps + 1)
    for i in range(max(0, core[0] - gaps), core[1]):
        recent.append(_tile_spectra(block[i], tiling))
        k = i - core[0]
        if k < 0:
            continue
        strength = xp.abs(recent[-1]) ** 2
        power[k] = _band_sums(strength, tiling)
        mode_power += to_host(strength.sum(axis=0, dtype=np.float64))
        for gap in range(1, len(recent)):
            shift = (shifts_px[z0 + i] - shifts_px[z0 + i - gap]) / tiling.binning
            product, shift = _aligned(recent[-1 - gap].conj() * recent[-1], shift, omega)
            overlap = _overlap(tiling.window_y, shift[0]) * _overlap(tiling.window_x, shift[1])
            if overlap > _LEAST_OVERLAP:
                cross[k, gap - 1] = _band_sums(product.real, tiling) / overlap
    return {"power": power, "cross": cross, "mode_power": mode_power, "bounds": tiling.bounds}


def _tile_spectra(image: Any, tiling: Tiling) -> Any:
    """(tiles, modes) complex64 spectra of the tapered tiles of one slice."""
    xp = namespace(image)
    (ty, tx), (ny, nx), b = tiling.grid, tiling.shape, tiling.binning
    grey = image[: ty * ny * b, : tx * nx * b].astype(np.float32)
    if b > 1:
        grey = grey.reshape(ty * ny, b, tx * nx, b).mean(axis=(1, 3))
    tiles = grey.reshape(ty, ny, tx, nx).transpose(0, 2, 1, 3).reshape(-1, ny, nx)
    window = xp.asarray(tiling.window_y[:, None] * tiling.window_x, dtype=np.float32)
    tiles = (tiles - tiles.mean(axis=(1, 2), keepdims=True)) * window
    spectra = fft(tiles).rfft2(tiles).reshape(len(tiles), -1)
    return spectra[:, xp.asarray(tiling.modes)].astype(np.complex64)


def _band_sums(values: Any, tiling: Tiling) -> Float:
    """(tiles, bands) sums of real `values` (tiles, modes), on the host."""
    xp, b = namespace(values), tiling.bounds
    sums = [values[:, int(b[i]) : int(b[i + 1])].sum(axis=1, dtype=np.float64) for i in range(BANDS)]
    return to_host(xp.stack(sums, axis=1))


def _aligned(product: Any, shift: Float, omega: Any) -> tuple[Any, Float]:
    """Undo `shift` in a cross spectrum, and what is left of the motion that all tiles share."""
    xp = namespace(product)
    turned = product * _turn(shift, omega, xp)
    whole = turned.sum(axis=0)
    whole = whole / (abs(turned).mean(axis=0) + 1e-30)  # phases count, not the power of the structure
    rest = np.zeros(2)
    for _ in range(_REFINE_STEPS):
        here = whole * _turn(rest, omega, xp)
        gradient = -to_host((omega * here.imag).sum(axis=1)).astype(np.float64)
        yy, xx, yx = (
            float((omega[a] * omega[b] * here.real).sum(dtype=np.float64)) for a, b in ((0, 0), (1, 1), (0, 1))
        )
        # a weak pull to the drift table keeps directions along which nothing changes where they are
        pull = 0.02 * to_host((omega**2).sum(axis=1)).astype(np.float64) * len(product)
        hessian = np.array([[max(yy, 0.0) + pull[0], yx], [yx, max(xx, 0.0) + pull[1]]])
        if np.linalg.det(hessian) <= 0:
            break
        rest = np.clip(rest + np.linalg.solve(hessian, gradient), -_REFINE_PX, _REFINE_PX)
    return turned * _turn(rest, omega, xp), shift + rest


def _turn(shift: Float, omega: Any, xp: Any) -> Any:
    """Phase factors (modes,) that undo a shift (dy, dx)."""
    return xp.exp(1j * (omega[0] * np.float32(shift[0]) + omega[1] * np.float32(shift[1]))).astype(np.complex64)


def _overlap(window: Float, shift: float) -> float:
    """Share of the window's power in which content moved by `shift` is still seen by both."""
    at = np.arange(len(window), dtype=np.float64)
    return float((np.interp(at + shift, at, window, 0, 0) * window).sum() / (window**2).sum())
