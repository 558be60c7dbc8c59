"""Stripe field of a milled face: what is coherent along the ion beam and not part of the structure.

Curtains are weak steps in grey that run on for tens to hundreds of rows; phase boundaries are strong and wander. So
horizontal grey steps are averaged along the beam with strong gradients left out (redescending M-estimate), and
integrated across the beam. What structure and noise alone would leave in such an average is measured on the same image
along the perpendicular direction, and subtracted from the power in each octave (spectral subtraction, Lim and
Oppenheim 1979, doi:10.1109/PROC.1979.11540). An octave that shows nothing beyond that, or nothing that runs straight
on, is left alone (`fibtomo.ops.stripe_gate`); so is a slice without any such octave.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fibtomo.backend.array import fft, like, namespace, ndimage, to_host
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
MIN_SIDE_PX = 32
"""Smaller planes hold too little to tell stripes from structure."""


@dataclass(frozen=True)
class StripeField:
    """Stripes found in a stack of planes.

    Attributes
    ----------
    field
        (z, y, x) float32 stripe component in grey units, zero where nothing was found.
    index
        (z,) power in the most conspicuous octave over the most that a stripe-free plane should show there, 0 if it
        does not run straight on; there are stripes above 1.
    """

    field: Array
    index: np.ndarray[Any, np.dtype[np.float64]]


def stripe_field(planes: Array, slope: float = 0.0, length_px: float = 20.0, width_px: float = 60.0) -> StripeField:
    """Estimate the stripe component of each plane.

    Parameters
    ----------
    planes
        (z, y, x) grey values, NumPy or CuPy.
    slope
        Columns per row by which stripes lean to the right on their way down.
    length_px
        Standard deviation of the smoothing along the stripes.
    width_px
        Stripes much wider than this are left alone.
    """
    xp = namespace(planes)
    u = planes.astype(xp.float32)
    nz, ny, nx = u.shape
    if min(ny, nx) < MIN_SIDE_PX:
        return StripeField(xp.zeros_like(u), np.zeros(nz))
    slope = _snapped(slope, ny)
    sheared, inside = _into_stripe_frame(u, slope)
    bands, null = _estimate(sheared, inside, length_px, width_px)
    bands, index = keep_stripes(bands, null, length_px, BAND_ROWS)
    field = _out_of_stripe_frame(_rows_of_bands(bands, ny), slope, nx)
    return StripeField(field.astype(xp.float32), index)


def in_stripe_frame(planes: Array, slope: float, filtered: Callable[[Array], Array]) -> Array:
    """Apply `filtered` to planes whose stripes have been set upright, and lean its result back."""
    xp = namespace(planes)
    slope = _snapped(slope, planes.shape[1])
    upright, _ = _into_stripe_frame(planes.astype(xp.float32), slope)
    return _out_of_stripe_frame(filtered(upright), slope, planes.shape[2])


def stripe_slope(planes: Array, max_angle_deg: float = 15.0, step_deg: float = 0.25) -> np.ndarray[Any, Any]:
    """Return the lean (z,) of the stripes in columns per row; 0 where no direction stands out.

    The power of the horizontal steps, structure left out, is summed along lines through the centre of the Fourier
    plane; stripes of one direction lie on one such line.
    """
    xp = namespace(planes)
    u = planes.astype(xp.float32)
    nz, ny, nx = u.shape
    if min(ny, nx) < MIN_SIDE_PX:
        return np.zeros(nz)
    flat = _Gradients.of(u, None).flatness(0.0)
    steps = xp.minimum(flat[..., 1:], flat[..., :-1]) * xp.diff(u, axis=2)
    taper = xp.hanning(ny)[:, None] * xp.hanning(nx - 1)
    power = xp.abs(fft(u).rfft2(steps * taper.astype(xp.float32))) ** 2
    fx = xp.arange(power.shape[-1]) / (nx - 1)
    slopes = np.tan(np.radians(np.arange(-max_angle_deg, max_angle_deg + step_deg / 2, step_deg)))
    lines = xp.stack([_along_line(power, -s * fx * ny) for s in slopes])
    band = (fx > 1 / 64) & (fx < 0.4)
    level = xp.median(lines, axis=0)
    tiny = xp.finfo(xp.float32).tiny
    score = to_host((lines / xp.maximum(level, tiny))[..., band].mean(axis=-1))
    return np.array([_peak(score[:, k], slopes) for k in range(nz)])


def _along_line(power: Array, row: Array) -> Array:
    """Sample power (z, ky, kx) at fractional wrapped row indices (kx,)."""
    xp = namespace(power)
    low = xp.floor(row).astype(xp.int64)
    part = (row - low).astype(xp.float32)
    columns, ny = xp.arange(power.shape[-1]), power.shape[-2]
    return power[:, low % ny, columns] * (1 - part) + power[:, (low + 1) % ny, columns] * part


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


@dataclass(frozen=True)
class _Gradients:
    """Gradients (z, y, x) at `EDGE_SIGMA_PX`, and which pixels are inside the plane (None: all)."""

    gx: Array
    gy: Array
    inside: Array | None

    @classmethod
    def of(cls, u: Array, inside: Array | None) -> "_Gradients":
        gaussian, s = ndimage(u).gaussian_filter, EDGE_SIGMA_PX
        return cls(gaussian(u, (0, s, s), order=(0, 0, 1)), gaussian(u, (0, s, s), order=(0, 1, 0)), inside)

    def flatness(self, stripe_gradient: Array | float) -> Array:
        """Weight (z, y, x): 1 where the gradient without stripes vanishes, 0 on structure (Tukey's biweight)."""
        square = (self.gx - stripe_gradient) ** 2 + self.gy**2
        ratio = square / (EDGE_CUT**2 * _gradient_variance(square))
        weight = namespace(square).clip(1 - ratio, 0, 1) ** 2
        return weight if self.inside is None else weight * self.inside

    def turned(self) -> "_Gradients":
        """The same with rows and columns exchanged."""
        inside = None if self.inside is None else self.inside.transpose(0, 2, 1)
        return _Gradients(self.gy.transpose(0, 2, 1), self.gx.transpose(0, 2, 1), inside)

    def first_guess(self) -> Array:
        """Stripe gradient (z, y, x) as the median over runs of rows, never as strong as structure."""
        xp = namespace(self.gx)
        nz, ny, nx = self.gx.shape
        rows = min(FIRST_ROWS, ny)
        runs = ny // rows
        median = xp.median(self.gx[:, : runs * rows].reshape(nz, runs, rows, nx), axis=2)
        limit = FIRST_CUT * xp.sqrt(_gradient_variance(self.gx**2 + self.gy**2))
        return xp.clip(median, -limit, limit)[:, xp.minimum(xp.arange(ny) // rows, runs - 1)]


def _estimate(u: Array, inside: Array | None, length_px: float, width_px: float) -> tuple[Array, Array]:
    """Profiles (z, band, x) of the stripes, and profiles (z, band, y) of what looks like them across the stripes."""
    gradients = _Gradients.of(u, inside)
    bands, stripe_gradient = _two_passes(u, gradients, length_px, width_px)
    cleaned = replace(gradients, gx=gradients.gx - stripe_gradient)
    null, _ = _two_passes(u.transpose(0, 2, 1), cleaned.turned(), length_px, width_px)
    return bands, null


def _two_passes(u: Array, gradients: _Gradients, length_px: float, width_px: float) -> tuple[Array, Array]:
    """Profiles (z, band, x), and the stripe gradient (z, y, x) that the second pass allowed for."""
    flat = gradients.flatness(gradients.first_guess())
    bands = _profiles(u, flat, length_px, width_px)
    slope = ndimage(u).gaussian_filter1d(bands, EDGE_SIGMA_PX, axis=2, order=1)
    stripe_gradient = _rows_of_bands(slope, u.shape[1])
    return _profiles(u, gradients.flatness(stripe_gradient), length_px, width_px), stripe_gradient


def _profiles(u: Array, flat: Array, length_px: float, width_px: float) -> Array:
    """Profile (z, band, x) of each band of rows of `u`, from the steps between its flat pixels."""
    xp, nd = namespace(u), ndimage(u)
    weights = xp.minimum(flat[..., 1:], flat[..., :-1])
    sigma = length_px / BAND_ROWS
    total = nd.gaussian_filter1d(_band_sums(weights), sigma, axis=1, mode="nearest")
    steps = nd.gaussian_filter1d(_band_sums(weights * xp.diff(u, axis=2)), sigma, axis=1, mode="nearest")
    return _integrate_steps(steps, total, width_px)


def _gradient_variance(square: Array) -> Array:
    """Variance (z, 1, 1) of one gradient component away from structure, from squared magnitudes (z, y, x).

    The magnitude of noise is Rayleigh distributed; the median starts, and repeated clipping leaves structure out.
    Every third row and column are enough, as gradients are correlated over that distance.
    """
    xp = namespace(square)
    square = square[:, ::3, ::3]
    variance = xp.median(square, axis=(1, 2), keepdims=True) / 1.3863
    for _ in range(4):
        quiet = square < 6.25 * variance
        mean = xp.sum(square * quiet, axis=(1, 2), keepdims=True) / xp.maximum(quiet.sum(axis=(1, 2), keepdims=True), 1)
        variance = xp.minimum(variance, 0.6 * mean)
    return xp.maximum(variance, xp.finfo(xp.float32).tiny)


def _band_sums(a: Array) -> Array:
    """Sum (z, y, x) over runs of `BAND_ROWS` rows."""
    xp = namespace(a)
    nz, ny, nx = a.shape
    missing = -ny % BAND_ROWS
    if missing:
        a = xp.concatenate([a, xp.zeros((nz, missing, nx), a.dtype)], axis=1)
    return a.reshape(nz, -1, BAND_ROWS, nx).sum(axis=2)


def _rows_of_bands(bands: Array, ny: int) -> Array:
    """Interpolate (z, bands, x) linearly to (z, ny, x)."""
    xp = namespace(bands)
    last = bands.shape[1] - 1
    if last == 0:
        return xp.repeat(bands, ny, axis=1)
    position = xp.clip((xp.arange(ny) - (BAND_ROWS - 1) / 2) / BAND_ROWS, 0, last)
    low = xp.minimum(position.astype(xp.int64), last - 1)
    part = (position - low).astype(xp.float32)[:, None]
    return bands[:, low] * (1 - part) + bands[:, low + 1] * part


def _integrate_steps(steps: Array, weights: Array, width_px: float) -> Array:
    """Least-squares profile s with steps s[x+1] - s[x], each trusted by its weight, held near zero beyond `width_px`.

    Minimises Σ w (s[x+1] - s[x] - steps/w)² + λ Σ s², the screened Poisson equation in one dimension. All bands make
    one tridiagonal system, which is small and solved on the host.
    """
    from scipy.linalg import solveh_banded

    w, g = to_host(weights).astype(np.float64), to_host(steps).astype(np.float64)
    nz, bands, n = w.shape[0], w.shape[1], w.shape[2] + 1
    diagonal = np.empty((nz, bands, n))
    diagonal[:] = w.mean(axis=(1, 2), keepdims=True) / width_px**2 + 1e-9
    diagonal[..., :-1] += w
    diagonal[..., 1:] += w
    upper, right = np.zeros_like(diagonal), np.zeros_like(diagonal)
    upper[..., 1:] = -w
    right[..., :-1] -= g
    right[..., 1:] += g
    profile = solveh_banded(np.stack([upper.ravel(), diagonal.ravel()]), right.ravel(), check_finite=False)
    return like(steps, profile.reshape(nz, bands, n).astype(np.float32))


def _snapped(slope: float, ny: int) -> float:
    """Zero when the lean over the whole plane is below half a column."""
    return slope if abs(slope) * ny > 0.5 else 0.0


def _into_stripe_frame(u: Array, slope: float) -> tuple[Array, Array | None]:
    """Shift rows so that stripes stand upright; widened so that nothing is lost, with the mask of real pixels."""
    if slope == 0:
        return u, None
    xp = namespace(u)
    pad = _widening(u.shape[1], slope)
    wide = xp.pad(u, ((0, 0), (0, 0), (pad, pad)), mode="edge")
    x = xp.arange(wide.shape[2]) - pad + _row_shifts(u, slope)[:, None]
    inside = ((x >= 1) & (x <= u.shape[2] - 2)).astype(xp.float32)[None]
    return _shift_rows(wide, _row_shifts(u, slope)), inside


def _out_of_stripe_frame(field: Array, slope: float, nx: int) -> Array:
    if slope == 0:
        return field
    pad = _widening(field.shape[1], slope)
    return _shift_rows(field, -_row_shifts(field, slope))[:, :, pad : pad + nx]


def _widening(ny: int, slope: float) -> int:
    return int(np.ceil(abs(slope) * ny / 2)) + 16


def _row_shifts(a: Array, slope: float) -> Array:
    xp = namespace(a)
    return slope * (xp.arange(a.shape[1]) - (a.shape[1] - 1) / 2)


def _shift_rows(a: Array, shifts_px: Array) -> Array:
    """Sample row y of (z, y, x) at x + shifts_px[y], by the Fourier shift theorem."""
    xp, f = namespace(a), fft(a)
    n = a.shape[2]
    phase = xp.exp(2j * xp.pi * f.rfftfreq(n) * shifts_px[:, None]).astype(xp.complex64)
    return f.irfft(f.rfft(a, axis=2) * phase, n=n, axis=2)
