"""Stripe field of a milled face: what is coherent along the ion beam and not part of the structure.

Curtains are weak steps in grey that run on for tens to hundreds of rows; phase boundaries are strong and wander. So
horizontal grey steps are averaged along the beam with strong gradients left out (redescending M-estimate), and
integrated across the beam. What structure and noise alone would leave in such an average is measured on the same image
along the perpendicular direction, and subtracted from the power in each octave (spectral subtraction, Lim and
Oppenheim 1979, doi:10.1109/PROC.1979.11540). An octave that shows nothing beyond that, or nothing that runs straight
on, is left alone (`fibtomo.ops.stripe_gate`); so is a slice without any such octave.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from fibtomo.backend.array import fft, is_cupy, like, namespace, to_host
from fibtomo.ops.stripe_gate import keep_stripes

Array = Any

BAND_ROWS = 8
"""Rows that are summed before anything else is done along the beam."""
EDGE_SIGMA_PX = 1.5
"""Scale of the gradients that tell structure from stripes."""
EDGE_CUT = 6.0
"""Gradients beyond this many noise standard deviations belong to the structure."""
FIRST_CUT = 12.0
"""Steps taken for stripes before anything is known, in the same unit; protects structure that runs along the beam."""
FIRST_ROWS = 64
"""Rows over which that first guess takes the median."""
VARIANCE_SAMPLES = 1 << 14
"""About as many pixels as tell the noise of the gradients to 1%."""
SHIFT_TAPS = 16
"""Length of the interpolator that leans rows."""
MIN_SIDE_PX = 32
"""Smaller planes hold too little to tell stripes from structure."""


@dataclass(frozen=True)
class StripeField:
    """Stripes found in a plane.

    Attributes
    ----------
    field
        (y, x) float32 stripe component in grey units, zero where nothing was found.
    index
        Power in the most conspicuous octave over the most that a stripe-free plane should show there, 0 if it does not
        run straight on; there are stripes above 1.
    """

    field: Array
    index: float


def stripe_field(plane: Array, slope: float = 0.0, length_px: float = 20.0, width_px: float = 60.0) -> StripeField:
    """Estimate the stripe component of a plane.

    Parameters
    ----------
    plane
        (y, x) grey values, NumPy or CuPy.
    slope
        Columns per row by which stripes lean to the right on their way down.
    length_px
        Standard deviation of the smoothing along the stripes.
    width_px
        Stripes much wider than this are left alone.
    """
    xp = namespace(plane)
    ny, nx = plane.shape
    if min(ny, nx) < MIN_SIDE_PX:
        return StripeField(xp.zeros((ny, nx), xp.float32), 0.0)
    slope = _snapped(slope, ny)
    bands, null = _estimate(*_upright(plane, slope), length_px, width_px)
    bands, index = keep_stripes(bands, null, length_px, BAND_ROWS)
    if index <= 1:
        return StripeField(xp.zeros((ny, nx), xp.float32), index)
    return StripeField(_leant(_rows_of_bands(bands, ny), slope, nx), index)


def in_stripe_frame(plane: Array, slope: float, filtered: Callable[[Array], Array]) -> Array:
    """Apply `filtered` to a plane whose stripes have been set upright, and lean its result back."""
    slope = _snapped(slope, plane.shape[0])
    return _leant(filtered(_upright(plane, slope)[0]), slope, plane.shape[1])


def stripe_slope(plane: Array, max_angle_deg: float = 15.0, step_deg: float = 0.25) -> float:
    """Return the lean of the stripes in columns per row; 0 where no direction stands out.

    The power of the horizontal steps, structure left out, is summed along lines through the centre of the Fourier
    plane; stripes of one direction lie on one such line.
    """
    xp = namespace(plane)
    ny, nx = plane.shape
    if min(ny, nx) < MIN_SIDE_PX:
        return 0.0
    u, spans = _upright(plane, 0.0)
    gradients = _Gradients.of(u, spans)
    steps = _loops(u).flat_steps(u, gradients.gx, gradients.gy, gradients.limit(None))
    steps *= xp.hanning(ny).astype(xp.float32)[:, None] * xp.hanning(nx - 1).astype(xp.float32)
    slopes = np.tan(np.radians(np.arange(-max_angle_deg, max_angle_deg + step_deg / 2, step_deg)))
    lines = _power_on_lines(steps, slopes)
    level = xp.maximum(xp.median(lines, axis=0), xp.finfo(xp.float32).tiny)
    return _peak(to_host((lines / level).mean(axis=1)), slopes)


def _power_on_lines(a: Array, slopes: np.ndarray[Any, Any]) -> Array:
    """Power (slope, kx) of (y, x) along lines through the centre of the Fourier plane, linear between its rows."""
    f, (ny, nx) = fft(a), a.shape
    kx = np.arange(nx // 64 + 1, int(np.ceil(0.4 * nx)))
    ky = -slopes[:, None] * kx * (ny / nx)
    low = np.abs(ky).astype(np.int64)
    half_plane = f.fft(f.rfft(a, axis=0)[: low.max() + 2], axis=1)
    power = half_plane.real**2 + half_plane.imag**2
    columns, part = like(a, np.where(ky < 0, nx - kx, kx)), like(a, (np.abs(ky) - low).astype(np.float32))
    low = like(a, low)
    near = power[low, columns]
    return near + part * (power[low + 1, columns] - near)


def _peak(score: np.ndarray[Any, Any], slopes: np.ndarray[Any, Any]) -> float:
    """Position of the largest score, refined by a parabola; 0 if it does not stand out."""
    centre = np.median(score)
    spread = 1.4826 * np.median(np.abs(score - centre))
    k = int(np.argmax(score))
    if not score[k] > centre + 6 * spread:
        return 0.0
    if not 0 < k < len(score) - 1:
        return float(slopes[k])
    left, mid, right = score[k - 1 : k + 2]
    curvature = left - 2 * mid + right
    shift = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float(np.interp(k + shift, np.arange(len(slopes)), slopes))


def _loops(a: Array) -> ModuleType:
    """Return the module of loops over pixels for arrays like `a`."""
    if is_cupy(a):
        from fibtomo.ops import _stripe_arrays

        return _stripe_arrays
    from fibtomo.ops import _stripe_kernels

    return _stripe_kernels


@dataclass(frozen=True)
class _Gradients:
    """Gradients (y, x) at `EDGE_SIGMA_PX`, and the columns [first, last) of each row that are inside the plane."""

    gx: Array
    gy: Array
    spans: Array

    @classmethod
    def of(cls, u: Array, spans: Array) -> "_Gradients":
        smooth, slope = _half_gaussian(EDGE_SIGMA_PX)
        return cls(*_loops(u).gradients(u, like(u, smooth), like(u, slope)), spans)

    def limit(self, stripe: Array | None) -> float:
        """Squared gradient that belongs to structure, given the stripe gradient (band, x).

        The magnitude of noise is Rayleigh distributed; the median starts, and repeated clipping leaves structure out.
        """
        ny, nx = self.gx.shape
        every = max(3, round((ny * nx / VARIANCE_SAMPLES) ** 0.5))
        gx, gy = to_host(self.gx[::every, ::every]), to_host(self.gy[::every, ::every])
        if stripe is not None:
            gx = gx - to_host(stripe[:, ::every])[np.arange(0, ny, every) // BAND_ROWS]
        square = gx**2 + gy**2
        variance = float(np.median(square)) / 1.3863
        for _ in range(4):
            quiet = square[square < 6.25 * variance]
            variance = min(variance, 0.6 * float(quiet.mean()) if len(quiet) else 0.0)
        return EDGE_CUT**2 * max(variance, float(np.finfo(np.float32).tiny))

    def turned(self, stripe: Array) -> "_Gradients":
        """The same without the stripe gradient, rows and columns exchanged."""
        xp, turn = namespace(self.gx), _loops(self.gx).transposed
        x = xp.arange(self.gx.shape[1])
        inside = (x >= self.spans[:, :1]) & (x < self.spans[:, 1:])
        first = inside.argmax(axis=0)
        spans = xp.stack([first, first + inside.sum(axis=0)], axis=1)
        return _Gradients(turn(self.gy, xp.zeros_like(stripe), BAND_ROWS), turn(self.gx, stripe, BAND_ROWS), spans)

    def first_guess(self) -> Array:
        """Stripe gradient (band, x) as the median over runs of rows, never as strong as structure."""
        xp = namespace(self.gx)
        ny = len(self.gx)
        rows = min(FIRST_ROWS, ny)
        strongest = FIRST_CUT / EDGE_CUT * self.limit(None) ** 0.5
        medians = _loops(self.gx).run_medians(self.gx, rows, rows - 1 + rows % 2, strongest)
        return medians[xp.minimum(xp.arange(-(-ny // BAND_ROWS)) * BAND_ROWS // rows, len(medians) - 1)]


def _half_gaussian(sigma: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Weights of a Gaussian and of its slope from the centre outwards, as far as 4 sigma."""
    k = np.arange(int(4 * sigma + 0.5) + 1)
    smooth = np.exp(-(k**2) / (2 * sigma**2))
    smooth /= 2 * smooth.sum() - 1
    return smooth.astype(np.float32), (smooth * k / sigma**2).astype(np.float32)


def _estimate(u: Array, spans: Array, length_px: float, width_px: float) -> tuple[Array, Array]:
    """Profiles (band, x) of the stripes, and profiles (band, y) of what looks like them across the stripes."""
    gradients = _Gradients.of(u, spans)
    bands, stripe = _two_passes(u, gradients, length_px, width_px)
    turned = _loops(u).transposed(u, namespace(u).zeros_like(stripe), BAND_ROWS)
    null, _ = _two_passes(turned, gradients.turned(stripe), length_px, width_px)
    return bands, null


def _two_passes(u: Array, gradients: _Gradients, length_px: float, width_px: float) -> tuple[Array, Array]:
    """Profiles (band, x), and the stripe gradient (band, x) that the second pass allowed for."""
    bands = _profiles(u, gradients, gradients.first_guess(), length_px, width_px)
    _, slope = _half_gaussian(EDGE_SIGMA_PX)
    stripe, _ = _loops(u).gradients(bands, like(u, np.eye(1, len(slope), dtype=np.float32)[0]), like(u, slope))
    return _profiles(u, gradients, stripe, length_px, width_px), stripe


def _profiles(u: Array, gradients: _Gradients, stripe: Array, length_px: float, width_px: float) -> Array:
    """Profile (band, x) of each band of rows of `u`, from the steps between its flat pixels.

    Each is the least-squares profile s with steps s[x+1] - s[x], trusted by their weights, held near zero beyond
    `width_px`: it minimises Σ w (s[x+1] - s[x] - step/w)² + λ Σ s², the screened Poisson equation in one dimension.
    """
    g, loops = gradients, _loops(u)
    smooth = like(u, _half_gaussian(length_px / BAND_ROWS)[0])
    sums = loops.band_steps(u, g.gx, g.gy, stripe, g.spans, g.limit(stripe), BAND_ROWS)
    weights, steps = (loops.smoothed_bands(a, smooth) for a in sums)
    return loops.integrate_steps(weights, steps, float(weights.mean()) / width_px**2 + 1e-9)


def _rows_of_bands(bands: Array, ny: int) -> Array:
    """Interpolate (band, x) linearly to (ny, x)."""
    last = len(bands) - 1
    position = np.clip((np.arange(ny) - (BAND_ROWS - 1) / 2) / BAND_ROWS, 0, last)
    low = np.minimum(position.astype(np.int64), last - 1)
    part = (position - low).astype(np.float32)
    return _loops(bands).rows_of_bands(bands, like(bands, low), like(bands, part))


def _snapped(slope: float, ny: int) -> float:
    """Zero when the lean over the whole plane is below half a column."""
    return slope if abs(slope) * ny > 0.5 else 0.0


def _upright(plane: Array, slope: float) -> tuple[Array, Array]:
    """Shift rows so that stripes stand upright, widened so that nothing is lost; with the columns inside the plane."""
    xp, (ny, nx) = namespace(plane), plane.shape
    u = xp.ascontiguousarray(plane, dtype=xp.float32)
    if slope == 0:
        return u, like(u, np.tile(np.array([0, nx]), (ny, 1)))
    start = _row_shifts(ny, slope) - _widening(ny, slope)
    spans = np.stack([np.ceil(1 - start), np.floor(nx - 2 - start) + 1], axis=1).astype(np.int64)
    return _shift_rows(u, start, nx + 2 * _widening(ny, slope)), like(u, spans)


def _leant(field: Array, slope: float, nx: int) -> Array:
    """Lean upright stripes back to where they were."""
    if slope == 0:
        return field
    ny = len(field)
    return _shift_rows(field, _widening(ny, slope) - _row_shifts(ny, slope), nx)


def _widening(ny: int, slope: float) -> int:
    return int(np.ceil(abs(slope) * ny / 2)) + 16


def _row_shifts(ny: int, slope: float) -> np.ndarray[Any, Any]:
    return slope * (np.arange(ny) - (ny - 1) / 2)


def _shift_rows(a: Array, start: np.ndarray[Any, Any], width: int) -> Array:
    """Sample row y of (y, x) at start[y], start[y] + 1, …, with a Kaiser-windowed sinc."""
    whole = np.floor(start)
    tap = np.arange(SHIFT_TAPS) - (SHIFT_TAPS // 2 - 1)
    at = tap - (start - whole)[:, None]
    window = np.i0(6 * np.sqrt(np.maximum(1 - (2 * at / SHIFT_TAPS) ** 2, 0)))
    taps = np.sinc(at) * window
    taps = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    first = whole.astype(np.int64) + int(tap[0])
    return _loops(a).shifted_rows(a, like(a, first), like(a, taps), width)
