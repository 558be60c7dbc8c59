"""Spectra of tiles of slices, in which the shape of the structure shows apart from shading, curtains and scan lines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.thresholds import multi_otsu

Float = NDArray[np.float64]

_LARGEST_PX, _SMALLEST_PX = 256, 48
_MOST_ALONG = 6  # tiles along either axis
_CURTAIN_WEDGE_DEG, _SCAN_WEDGE_DEG = 9.0, 7.0  # half-angles about the x and the y frequency axis
_FEWEST_PERIODS = 1.6  # of a wave in a tile, along y and along x
_CORNER = 0.42, 0.2  # radius and coordinate of the frequencies at which only noise is left
_TAILS_PERCENT = 0.5, 99.5  # charging and dirt beyond are levelled
_SAMPLE = 250_000  # pixels of a slice whose greys are counted
_BIN_ABOVE_PX = 20.0  # typical wavelength from which on pixels are averaged
_FINEST_PX = 8.0


@dataclass(frozen=True, eq=False)
class Tiles:
    """Square tiles of slices of one shape, and their spatial frequencies.

    Attributes
    ----------
    binning
        Pixels averaged along either axis before anything else.
    size
        Side of a tile, binned pixels.
    corners
        (row, column) at which each tile begins, binned pixels.
    window
        (size, size) taper.
    fy, fx
        (size, size // 2 + 1) frequencies, cycles per binned pixel.
    usable
        Frequencies outside the wedges of curtains and scan lines.
    noise
        Frequencies at which only noise is expected.
    """

    binning: int
    size: int
    corners: tuple[tuple[int, int], ...]
    window: NDArray[np.float32]
    fy: Float
    fx: Float
    usable: NDArray[np.bool_]
    noise: NDArray[np.bool_]


def make_tiles(image: Any) -> Tiles | None:
    """Choose binning and tiles from a typical slice (y, x); ``None`` if it is too small."""
    binning = 1
    tiles = _tiles(image.shape, binning)
    while tiles is not None and min(image.shape) // (2 * binning) >= 2 * _LARGEST_PX:
        power = (np.abs(tile_spectra(image, tiles)) ** 2).mean(axis=0)
        wavelength = typical_wavelength_px(power, tiles)
        if not _BIN_ABOVE_PX < wavelength < float("inf"):
            break
        binning *= min(2, max(1, int(wavelength / _FINEST_PX)))
        tiles = _tiles(image.shape, binning)
    return tiles


def _tiles(shape: tuple[int, ...], binning: int) -> Tiles | None:
    rows, cols = (n // binning for n in shape)
    size = min(_LARGEST_PX, min(rows, cols) // 2) // 2 * 2
    if size < _SMALLEST_PX:
        return None
    corners = tuple((y, x) for y in _starts(rows, size) for x in _starts(cols, size))
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    least = _FEWEST_PERIODS / size
    off_curtains = np.abs(fy) > np.maximum(least, np.tan(np.radians(_CURTAIN_WEDGE_DEG)) * fx)
    off_scan = fx > np.maximum(least, np.tan(np.radians(_SCAN_WEDGE_DEG)) * np.abs(fy))
    radius, coordinate = _CORNER
    noise = (np.hypot(fy, fx) > radius) & (np.abs(fy) > coordinate) & (fx > coordinate)
    window = np.outer(taper, taper).astype(np.float32)
    return Tiles(binning, size, corners, window, fy, fx, off_curtains & off_scan, noise)


def _starts(length: int, size: int) -> list[int]:
    """Tiles that overlap by half, or fewer that are spread evenly."""
    count = min(_MOST_ALONG, int(np.ceil(2 * (length - size) / size)) + 1)
    return sorted({round(float(v)) for v in np.linspace(0, length - size, count)})


def tile_spectra(image: Any, tiles: Tiles, *, bright: bool = False) -> NDArray[np.complex64]:
    """Spectra (tiles, size, size // 2 + 1) of the windowed tiles of one slice (y, x).

    With `bright`, everything darker than halfway between Otsu's threshold and the bright phase is levelled: what is
    seen behind the face through empty pores is mostly darker than that.
    """
    from scipy.fft import rfft2

    b = tiles.binning
    rows, cols = image.shape[0] // b * b, image.shape[1] // b * b
    grey = np.asarray(image[:rows, :cols], dtype=np.float32)
    grey = grey.clip(*np.percentile(_sample(grey), _TAILS_PERCENT))
    if b > 1:
        grey = grey.reshape(rows // b, b, cols // b, b).mean(axis=(1, 3))
    if bright:
        grey = np.maximum(grey, _bright_limit(grey))
    cut = np.stack([grey[y : y + tiles.size, x : x + tiles.size] for y, x in tiles.corners])
    mean = (cut * tiles.window).sum(axis=(1, 2), keepdims=True) / tiles.window.sum()
    spectra: NDArray[np.complex64] = rfft2((cut - mean) * tiles.window)
    return spectra


def _sample(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every so many pixels, as many as make a steady histogram."""
    step = max(1, int((grey.size / _SAMPLE) ** 0.5))
    return grey[::step, ::step]


def _bright_limit(grey: NDArray[np.float32]) -> float:
    grey = _sample(grey)
    counts, edges = np.histogram(grey, bins=256)
    threshold = float(multi_otsu(counts, edges)[0]) if np.ptp(grey) > 0 else float(grey.max())
    above = grey[grey > threshold]
    return threshold + 0.5 * (float(np.median(above)) - threshold) if above.size else threshold


def noise_level(power: Float, tiles: Tiles) -> float:
    """Power of the white noise in a mean power spectrum."""
    return float(np.median(power[tiles.noise]))


def typical_wavelength_px(power: Float, tiles: Tiles) -> float:
    """Wavelength of the root mean square frequency of the structure, binned pixels; infinite without structure."""
    radius = np.hypot(tiles.fy, tiles.fx)
    use = tiles.usable & (radius < 0.3)
    signal = np.maximum(power[use] - noise_level(power, tiles), 0.0)
    moment = float((signal * radius[use] ** 2).sum())
    return float(np.sqrt(signal.sum() / moment)) if moment > 0 else float("inf")
