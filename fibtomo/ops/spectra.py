"""In-band spectra of slices: what cross-correlation works on.

A slice is windowed, transformed once and kept only in a band of spatial frequencies that leaves out shading, scan
lines and the wedge in which curtains lie.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import fft, namespace, to_host
from fibtomo.backend.kernels import twin
from fibtomo.errors import InputError
from fibtomo.ops.slice_pixels import binned, varying_lines, windowed

Float = NDArray[np.float64]

HIGHEST = 0.2
"""Upper end of the band in cycles per pixel; beyond it noise and change between slices leave nothing."""
_TAPER = 0.085  # part of the window that rises and falls; what it hides adds to the false motion of structure
_WEDGE_DEG = 6.0  # half-angle about the x frequency axis in which curtains lie
_LARGE_PX = 1500  # from this size on slices are binned
_RING_WIDTH = 1 / 200  # cycles per pixel


@dataclass(frozen=True, eq=False)
class Band:
    """The spatial frequencies in use for slices of one shape.

    The half spectrum is cropped to the frequencies below the upper limit; its inverse transform is the correlation
    on a coarse grid of shifts.

    Attributes
    ----------
    shape
        Rows and columns of the (binned) slice.
    binning
        Pixels averaged along either axis before the transform.
    fft_shape
        Size of the zero-padded transform.
    grid_shape
        Size of the coarse correlation surface.
    freq_y, freq_x
        Frequencies of the rows and columns of the cropped half spectrum, cycles per binned pixel.
    ring
        (ny, nx) ring number of each frequency, `rings` where it is not used; on a device, its `DeviceRings`.
    rings
        Number of rings in the band.
    samples
        (rings,) frequencies on each ring.
    squares
        (2, rings) sums of (2π f)² along y and x.
    """

    shape: tuple[int, int]
    binning: int
    fft_shape: tuple[int, int]
    grid_shape: tuple[int, int]
    freq_y: Float
    freq_x: Float
    ring: Any
    rings: int
    samples: Float
    squares: Float


@dataclass(frozen=True, eq=False)
class SliceSpectrum:
    """In-band spectrum of one windowed slice.

    Attributes
    ----------
    values
        Cropped half spectrum, complex64, zero outside the band.
    power
        (rings,) summed power, on the host.
    windows
        The window along y and along x; zero on constant margins.
    """

    values: Any
    power: Float
    windows: tuple[Float, Float]


def make_band(
    shape: tuple[int, int],
    band_cycles_per_px: tuple[float, float] | None = None,
    *,
    skip_scan_lines: bool = True,
    ring_width: float = _RING_WIDTH,
    xp: Any = np,
) -> Band:
    """Choose binning, transform size and frequencies for slices of `shape`.

    Parameters
    ----------
    shape
        Rows and columns of the slices.
    band_cycles_per_px
        Lowest and highest frequency; ``None`` takes two cycles per image up to 0.2 per pixel and leaves the rest
        to the coherence weights.
    skip_scan_lines
        Leave out what only varies along y: brightness that differs from scan line to scan line.
    ring_width
        Cycles per pixel over which coherence is averaged; small images need wide rings to tell it.
    xp
        `numpy` or `cupy`.

    Raises
    ------
    InputError
        The slice is too small or the band is empty.

    Examples
    --------
    >>> band = make_band((256, 256))
    >>> band.binning, band.fft_shape, band.grid_shape
    (1, (256, 256), (108, 108))
    """
    limits = None if band_cycles_per_px is None else (float(band_cycles_per_px[0]), float(band_cycles_per_px[1]))
    band = _make_band((int(shape[0]), int(shape[1])), limits, skip_scan_lines, ring_width)
    if xp is np:
        return band
    from fibtomo.ops._ring_device import DeviceRings

    return replace(band, ring=DeviceRings.of(band.ring, band.rings, xp))


def binning_of(shape: tuple[int, int]) -> int:
    """Pixels averaged along either axis before slices of this shape are transformed.

    Examples
    --------
    >>> binning_of((1024, 1024)), binning_of((2048, 2048))
    (1, 2)
    """
    binning = 1
    while max(shape) / binning >= _LARGE_PX and min(shape) / (2 * binning) >= 64:
        binning *= 2
    return binning


@lru_cache(maxsize=16)
def _make_band(
    shape: tuple[int, int], limits: tuple[float, float] | None, skip_scan_lines: bool, ring_width: float
) -> Band:
    from scipy.fft import next_fast_len

    binning = binning_of(shape)
    rows, cols = shape[0] // binning, shape[1] // binning
    if min(rows, cols) < 16:
        raise InputError(
            f"slices of {shape[0]} x {shape[1]} pixels are too small to correlate: leave the drift out "
            f"with --set drift.estimate=off"
        )
    ny, nx = next_fast_len(rows, real=True), next_fast_len(cols, real=True)
    low, high = (2.0 / min(rows, cols), HIGHEST) if limits is None else (limits[0] * binning, limits[1] * binning)
    high = min(high, 0.5)
    half_y, half_x = (_half(high, n) for n in (ny, nx))
    ky = np.concatenate([np.arange(half_y), np.arange(-half_y, 0)])[:, None]
    kx = np.arange(half_x + 1)[None, :]
    fy, fx = ky / ny, kx / nx
    radius = np.hypot(fy, fx)
    keep = (radius >= low) & (radius <= high) & (np.abs(ky) < half_y) & (kx < half_x)
    keep &= np.abs(fy) > np.maximum(1.0 / rows, np.tan(np.radians(_WEDGE_DEG)) * fx)
    keep &= fx > 0.5 / cols if skip_scan_lines else (fx > 0) | (fy > 0)
    if np.count_nonzero(keep) < 20:
        raise InputError(
            f"the band {low / binning:.4g} to {high / binning:.4g} cycles per pixel holds too few frequencies of "
            f"slices of {shape[0]} x {shape[1]} pixels; widen it, or leave the drift out with --set drift.estimate=off"
        )
    _, number = np.unique((radius[keep] / ring_width).astype(np.int64), return_inverse=True)
    rings = int(number.max()) + 1
    ring = np.full(keep.shape, rings)
    ring[keep] = number
    squares = [
        np.bincount(number, weights=np.broadcast_to((2 * np.pi * f) ** 2, keep.shape)[keep], minlength=rings)
        for f in (fy, fx)
    ]
    return Band(
        shape=(rows, cols),
        binning=binning,
        fft_shape=(ny, nx),
        grid_shape=(2 * half_y, 2 * half_x),
        freq_y=fy[:, 0],
        freq_x=fx[0],
        ring=ring.astype(np.int32),
        rings=rings,
        samples=np.bincount(number, minlength=rings).astype(np.float64),
        squares=np.array(squares),
    )


def _half(high: float, n: int) -> int:
    """Half the size of the correlation grid: holds all frequencies up to `high`, and transforms fast."""
    from scipy.fft import next_fast_len

    half = int(np.ceil(high * n)) + 1
    while half < n // 2 and next_fast_len(2 * half, real=True) != 2 * half:
        half += 1
    return min(half, n // 2)


def slice_spectrum(image: Any, band: Band) -> SliceSpectrum:
    """Bin, flatten, window and transform one slice.

    Rows and columns at the margins that hold one constant value (padding) get no weight.

    Parameters
    ----------
    image
        (y, x) grey values of any real type.
    band
        From `make_band` for this shape.
    """
    xp = namespace(image)
    b = band.binning
    grey = image if b == 1 else binned(image, b)
    window_y, window_x = (_window(lines) for lines in varying_lines(grey))
    (ny, nx), half_y, half_x = band.fft_shape, band.grid_shape[0] // 2, band.grid_shape[1] // 2
    kept = np.r_[:half_y, ny - half_y : ny]
    rows_kept = xp.asarray(kept)
    rows, profile = windowed(grey, window_y, window_x)
    along_x = fft(rows).rfft(rows, n=nx, axis=1)[:, : half_x + 1]
    wy = xp.asarray(window_y, dtype=np.float32)[:, None]
    values = fft(rows).fft(along_x * wy, n=ny, axis=0, overwrite_x=True)[rows_kept]
    if window_y.any() and window_x.any():
        row_profile = to_host(along_x[:, 0].real).astype(np.float64) / window_x.sum()
        col_profile = to_host(profile).astype(np.float64) / window_y.sum()
        mean = np.average(row_profile, weights=window_y)
        trends = (
            (window_y * _parabola(row_profile, window_y), window_x),
            (window_y, window_x * (_parabola(col_profile, window_x) - mean)),
        )
        for trend_y, trend_x in trends:
            waves_y, waves_x = np.fft.fft(trend_y, n=ny)[kept], np.fft.rfft(trend_x, n=nx)[: half_x + 1]
            values -= xp.asarray(waves_y.astype(np.complex64))[:, None] * xp.asarray(waves_x.astype(np.complex64))
    values = twin(__package__, "ring", values).weighted(values, band.ring, _inside(band.rings))
    return SliceSpectrum(values, ring_power(values, band), (window_y, window_x))


def _inside(rings: int) -> NDArray[np.float32]:
    """Weight of each ring, and of what is outside."""
    return np.append(np.ones(rings, np.float32), np.float32(0))


def ring_power(values: Any, band: Band) -> Float:
    """Sum the squared magnitude of the cropped half spectrum over each ring; (rings,) on the host."""
    return twin(__package__, "ring", values).power(values, band.ring, band.rings)


def _window(varies: NDArray[np.bool_]) -> Float:
    """Tukey window over the stretch between the first and the last line that is not constant."""
    window = np.zeros(len(varies))
    lines = np.flatnonzero(varies)
    if len(lines) < 8:
        return window
    a, b = int(lines[0]), int(lines[-1]) + 1
    t = (np.arange(b - a) + 0.5) / (b - a)
    edge = np.minimum(t, 1 - t) / (_TAPER / 2)
    window[a:b] = np.where(edge < 1, 0.5 - 0.5 * np.cos(np.pi * edge), 1.0)
    return window


def _parabola(profile: Float, weight: Float) -> Float:
    powers = np.linspace(-1, 1, len(profile)) ** np.arange(3)[:, None]
    weighted = powers * weight
    coefficients = np.linalg.lstsq(weighted @ powers.T, weighted @ profile, rcond=None)[0]
    return np.asarray(coefficients @ powers)
