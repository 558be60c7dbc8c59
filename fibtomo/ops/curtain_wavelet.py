"""The wavelet-Fourier filter of Münch et al. 2009, tuned by the plane itself and kept off its edges."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace, ndimage, to_host
from fibtomo.backend.kernels import twin
from fibtomo.ops.curtain_parts import Float, Spans, cosines, flatness, inside_weight
from fibtomo.ops.wavelet import Filters

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
        (y, x) float32 grey values with upright stripes, NumPy or CuPy.
    spans
        (y, 2) columns [first, end) of each row that count; all if None.
    length_px
        Steps left out count as those left within a few times this along the stripes.
    width_px
        Levels up to this many columns are filtered.

    Returns
    -------
    Array
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
    xp = namespace(upright)
    grey = xp.ascontiguousarray(upright - xp.median(upright), np.float32)
    inside = inside_weight(grey, spans)
    if spans is not None:
        grey = _mirrored(grey, spans)
    rows, filters = round(TRUSTED_ROWS * length_px), Filters.of(WAVELET, grey)
    coarse, along, steep = _details(grey, levels, filters)
    across = [twin(__package__, "wavelet", like=grey).split_rows(a, filters.low, filters.high)[0] for a in steep]
    stripes = _stripes(coarse, along, [xp.ascontiguousarray(a.T) for a in across], grey.shape, filters)
    for _ in range(PASSES):
        rest = grey - stripes
        weight = flatness(rest, inside)
        coarse, along, _ = _details(stripes + _flat_steps(rest, weight, rows), levels, filters)
        turned = _flat_steps(xp.ascontiguousarray(rest.T), xp.ascontiguousarray(weight.T), rows)
        stripes = _stripes(coarse, along, _details(turned, levels, filters)[1], grey.shape, filters)
    return stripes


def _mirrored(grey: Float, spans: Spans) -> Float:
    """Go on mirrored outside the spans; edges that are held would look like stripes across."""
    xp, columns = namespace(grey), like(grey, spans)
    first, size = columns[:, :1], xp.maximum(columns[:, 1:] - columns[:, :1], 1)
    x = (xp.arange(grey.shape[1]) - first) % (2 * size)
    x = xp.clip(first + xp.minimum(x, 2 * size - 1 - x), 0, grey.shape[1] - 1)
    return xp.take_along_axis(grey, x, axis=1)


def _flat_steps(rest: Float, weight: Float, rows: int) -> Float:
    """Sum along each row of its trusted steps, for a plane (y, x) without the edges of its structure."""
    xp, nd = namespace(rest), ndimage(rest)
    trust = xp.minimum(weight[:, 1:], weight[:, :-1])
    trust /= xp.maximum(nd.uniform_filter1d(trust, min(rows, len(trust)), axis=0, mode="nearest"), LEAST_TRUST)
    out = xp.zeros(rest.shape, np.float64)
    out[:, 1:] = xp.cumsum(trust * xp.diff(rest, axis=1), axis=1, dtype=np.float64)
    out -= out.mean(axis=1, keepdims=True)
    return out.astype(np.float32)


def _details(grey: Float, levels: int, filters: Filters) -> tuple[Float, list[Float], list[Float]]:
    """Coarsest approximation, each level's detail across columns, and what its columns lose; finest first."""
    loops, taps = twin(__package__, "wavelet", like=grey), (filters.low, filters.high)
    along, steep = [], []
    for _ in range(levels):
        smooth, lost = loops.split_columns(grey, *taps)
        grey, detail = loops.split_rows(smooth, *taps)
        along.append(detail)
        steep.append(lost)
    return grey, along, steep


def _stripes(coarse: Float, along: list[Float], null: list[Float], shape: tuple[int, int], filters: Filters) -> Float:
    """Plane of the tuned details `along` the stripes, given details that hold none; stripes of both run down."""
    xp, loops, taps = (
        namespace(coarse),
        twin(__package__, "wavelet", like=coarse),
        (filters.low_back, filters.high_back),
    )
    out = xp.zeros_like(coarse)
    for detail, other in zip(reversed(along), reversed(null), strict=True):
        ny, nx = detail.shape
        rows = loops.join_rows(xp.ascontiguousarray(out[:ny, :nx]), _tuned(detail, other), *taps)
        out = loops.join_columns(rows, None, *taps)
    return xp.ascontiguousarray(out[: shape[0], : shape[1]])


def _tuned(detail: Float, null: Float) -> Float:
    """Slow part of a detail (y, x) along y, of least expected error by another that holds no stripes."""
    loops = twin(__package__, "curtain", like=detail)
    basis, other = (like(detail, cosines(len(a), min(len(a), int(6 * WIDTHS[-1])))) for a in (detail, null))
    found, out = loops.into_basis(basis, detail), namespace(detail).empty_like(detail)
    squares = [(a.astype(np.float64) ** 2).mean(axis=1) for a in (found, loops.into_basis(other, null))]
    power, floor = np.split(to_host(namespace(detail).concatenate(squares)), [len(found)])
    half_cycles = np.arange(len(power))
    floor = np.interp(half_cycles / len(detail), np.arange(len(floor)) / len(null), floor)
    most, best = 0.0, np.zeros(len(power))
    for sigma in WIDTHS:
        g = np.exp(-((half_cycles / 2 / sigma) ** 2) / 2)
        gain, share = _expected(g, power, floor, (detail.shape[1], null.shape[1]))
        if gain > most:
            most, best = gain, share * g
    loops.from_basis(basis, like(detail, best.astype(np.float32)[:, None]) * found, out)
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
