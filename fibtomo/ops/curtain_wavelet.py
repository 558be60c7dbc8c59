"""The wavelet-Fourier filter of Münch et al. 2009, tuned by the plane itself and kept off its edges."""

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

from fibtomo.ops.curtain_parts import Float, Spans, cosines, flatness, inside_weight

WAVELET = "db4"
WIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Widths of the Gaussian along the stripes to choose from, in cycles per plane height."""
SIGNIFICANCE = 2.0
"""Standard errors by which a level must hold more along the stripes than across."""
LEAST_SIDE = 8
"""Coefficients along the shorter side that a level must have."""
PASSES = 6
"""What the first filter took from structure fades with each."""
TRUSTED_ROWS = 5.0
"""Rows over which the steps left must stand for those left out, in units of `length_px`."""
LEAST_TRUST = 0.25


def tuned_wavelet_stripes(
    upright: Float, spans: Spans | None = None, *, length_px: float = 20.0, width_px: float = 60.0
) -> Float:
    """Return what the wavelet-Fourier filter takes for stripes, at widths and shares of least expected error.

    Each level's detail across the stripes keeps a share a of a Gaussian g in Fourier space along them. Both are chosen
    per level without a stripe-free plane: what the same level holds when rows and columns are exchanged is what
    structure and noise hold (N); the rest is stripe power E; a g leaves ``Σ (1 - a g)² E`` and costs ``Σ a² g² N``.
    Nothing is taken where E is within the errors of both estimates.

    That alone beats any fixed setting, but the edges of structure swamp both powers. So the filter runs again on a
    plane put together from the grey steps between flat pixels (`curtain_parts.flatness`), with the stripes found so far
    in place of the steps left out.

    Parameters
    ----------
    upright
        (y, x) float32 grey values with upright stripes.
    spans
        (y, 2) columns [first, end) of each row that count; all if None.
    length_px
        Steps left out count as those left within a few times this along the stripes.
    width_px
        Levels up to this many columns are filtered.

    Returns
    -------
    numpy.ndarray
        (y, x) float32 stripes in grey units.

    References
    ----------
    B. Münch, P. Trtik, F. Marone, M. Stampanoni, Opt. Express 17 (2009) 8567, doi:10.1364/OE.17.008567.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stripes = np.tile(5 * np.sin(np.arange(128) / 2), (128, 1)).astype(np.float32)
    >>> found = tuned_wavelet_stripes(stripes + rng.normal(0, 3, (128, 128)).astype(np.float32))
    >>> bool(np.std(found - stripes) < 0.25 * np.std(stripes))
    True
    """
    levels = max(1, min(round(np.log2(width_px)), int(np.log2(max(2.0, min(upright.shape) / LEAST_SIDE)))))
    grey = np.ascontiguousarray(upright - np.median(upright), np.float32)
    inside = inside_weight(grey, spans)
    if spans is not None:
        grey = _mirrored(grey, spans)
    rows = round(TRUSTED_ROWS * length_px)
    coarse, along, across = _details(grey, levels)
    stripes = _stripes(coarse, along, [np.ascontiguousarray(a.T) for a in across], grey.shape)
    for _ in range(PASSES):
        rest = grey - stripes
        weight = flatness(rest, inside)
        coarse, along, _ = _details(stripes + _flat_steps(rest, weight, rows), levels)
        turned = _flat_steps(np.ascontiguousarray(rest.T), np.ascontiguousarray(weight.T), rows)
        stripes = _stripes(coarse, along, _details(turned, levels)[1], grey.shape)
    return stripes


def _mirrored(grey: Float, spans: Spans) -> Float:
    """Go on mirrored outside the spans; edges that are held would look like stripes across."""
    first, size = spans[:, :1], np.maximum(spans[:, 1:] - spans[:, :1], 1)
    x = (np.arange(grey.shape[1]) - first) % (2 * size)
    x = np.clip(first + np.minimum(x, 2 * size - 1 - x), 0, grey.shape[1] - 1)
    return np.asarray(np.take_along_axis(grey, x, axis=1), np.float32)


def _flat_steps(rest: Float, weight: Float, rows: int) -> Float:
    """Sum along each row of its trusted steps, for a plane (y, x) without the edges of its structure."""
    trust = np.minimum(weight[:, 1:], weight[:, :-1])
    trust /= np.maximum(ndi.uniform_filter1d(trust, min(rows, len(trust)), axis=0, mode="nearest"), LEAST_TRUST)
    out = np.zeros(rest.shape, np.float64)
    np.cumsum(trust * np.diff(rest, axis=1), axis=1, out=out[:, 1:])
    out -= out.mean(axis=1, keepdims=True)
    return out.astype(np.float32)


def _details(grey: Float, levels: int) -> tuple[Float, list[Float], list[Float]]:
    """Coarsest approximation, and each level's detail across columns and across rows, finest first."""
    import pywt

    along, across = [], []
    for _ in range(levels):
        grey, (down, right, _) = pywt.dwt2(grey, WAVELET, mode="symmetric")
        along.append(right)
        across.append(down)
    return grey, along, across


def _stripes(coarse: Float, along: list[Float], null: list[Float], shape: tuple[int, int]) -> Float:
    """Plane of the tuned details `along` the stripes, given details that hold none; stripes of both run down."""
    import pywt

    out = np.zeros_like(coarse)
    for detail, other in zip(reversed(along), reversed(null), strict=True):
        ny, nx = detail.shape
        out = pywt.idwt2((out[:ny, :nx], (None, _tuned(detail, other), None)), WAVELET, mode="symmetric")
    return np.ascontiguousarray(out[: shape[0], : shape[1]], np.float32)


def _tuned(detail: Float, null: Float) -> Float:
    """Slow part of a detail (y, x) along y, of least expected error by another that holds no stripes."""
    from fibtomo.ops._curtain_kernels import from_basis, into_basis

    basis, other = (cosines(len(a), min(len(a), int(6 * WIDTHS[-1]))) for a in (detail, null))
    found, out = into_basis(basis, detail), np.empty_like(detail)
    power, floor = (np.mean(np.square(a, dtype=np.float64), axis=1) for a in (found, into_basis(other, null)))
    half_cycles = np.arange(len(power))
    floor = np.interp(half_cycles / len(detail), np.arange(len(floor)) / len(null), floor)
    most, best = 0.0, np.zeros(len(power))
    for sigma in WIDTHS:
        g = np.exp(-((half_cycles / 2 / sigma) ** 2) / 2)
        gain, share = _expected(g, power, floor, (detail.shape[1], null.shape[1]))
        if gain > most:
            most, best = gain, share * g
    from_basis(basis, best.astype(np.float32)[:, None] * found, out)
    return out


def _expected(
    g: NDArray[np.float64], power: NDArray[np.float64], floor: NDArray[np.float64], columns: tuple[int, int]
) -> tuple[float, float]:
    """Squared error that a Gaussian g takes away, and the share of it to take, from mean powers at each frequency."""
    found, null = float(g**2 @ power), float(g**2 @ floor)
    independent = float((g**2).sum() ** 2 / (g**4).sum())
    error = SIGNIFICANCE * np.sqrt(sum(2 / (n * independent) for n in columns))
    if not found > null * (1 + error):
        return 0.0, 0.0
    stripe = float(g @ (power - floor))
    share = float(np.clip(stripe / found, 0, 1)) * min(1.0, (found / max(null, 1e-30) - 1) / error - 1)
    return 2 * share * stripe - share**2 * found, share
