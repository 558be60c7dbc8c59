"""Direction of the stripes of a milled face."""

from typing import Any

import numpy as np

from fibtomo.backend.array import fft, like, namespace, to_host
from fibtomo.ops.stripe_frame import loops, upright
from fibtomo.ops.stripe_steps import MIN_SIDE_PX, Gradients

Array = Any


def stripe_slope(plane: Array, max_angle_deg: float = 15.0, step_deg: float = 0.25, significance: float = 6.0) -> float:
    """Return the lean of the stripes in columns per row; 0 where no direction stands out.

    The power of the horizontal steps, structure left out, is summed along lines through the centre of the Fourier
    plane; stripes of one direction lie on one such line. The highest sum counts if it exceeds their median by so many
    standard deviations (`significance`) of all of them.
    """
    xp = namespace(plane)
    ny, nx = plane.shape
    if min(ny, nx) < MIN_SIDE_PX:
        return 0.0
    u, spans = upright(plane, 0.0)
    gradients = Gradients.of(u, spans)
    steps = loops(u).flat_steps(u, gradients.gx, gradients.gy, gradients.limit(None))
    steps *= xp.hanning(ny).astype(xp.float32)[:, None] * xp.hanning(nx - 1).astype(xp.float32)
    slopes = np.tan(np.radians(np.arange(-max_angle_deg, max_angle_deg + step_deg / 2, step_deg)))
    lines = _power_on_lines(steps, slopes)
    level = xp.maximum(xp.median(lines, axis=0), xp.finfo(xp.float32).tiny)
    return _peak(to_host((lines / level).mean(axis=1)), slopes, significance)


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


def _peak(score: np.ndarray[Any, Any], slopes: np.ndarray[Any, Any], significance: float) -> float:
    """Position of the largest score, refined by a parabola; 0 if it does not stand out."""
    centre = np.median(score)
    spread = 1.4826 * np.median(np.abs(score - centre))
    k = int(np.argmax(score))
    if not score[k] > centre + significance * spread:
        return 0.0
    if not 0 < k < len(score) - 1:
        return float(slopes[k])
    left, mid, right = score[k - 1 : k + 2]
    curvature = left - 2 * mid + right
    shift = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float(np.interp(k + shift, np.arange(len(slopes)), slopes))
