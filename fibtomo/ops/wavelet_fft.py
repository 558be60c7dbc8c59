"""Wavelet-Fourier stripe filter of Münch et al. 2009, with a tuning that needs no stripe-free plane."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, to_host
from fibtomo.errors import InputError
from fibtomo.ops.curtain_parts import Float, Spans, cosines

Array = Any

WIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Widths of the Gaussian to choose from, in cycles per plane height."""
SIGNIFICANCE = 4.0
"""Standard errors by which a level must hold more along the stripes than across."""
LEAST_SIDE = 24
"""Coefficients along the shorter side that a level must have."""


def wavelet_stripes(plane: Array, wavelet: str = "db10", levels: int = 5, sigma_rows: float | None = None) -> Array:
    """Return what the wavelet-Fourier filter takes for upright stripes.

    Each level's detail across the stripes keeps only its slow part along them: a Gaussian in Fourier space. By default
    its width and the share to take are those of least expected error, level by level. Expected is: what the detail
    along the stripes holds, read across them, is what structure and noise hold where there are stripes, too; the rest
    is stripe power E. Taking the share a of a Gaussian g leaves ``Σ (1 - a g)² E`` of it and costs ``Σ a² g² N`` of
    structure and noise N. Nothing is taken where E is within the errors of both estimates.

    Parameters
    ----------
    plane
        (y, x) grey values; a CuPy plane is processed on the host and comes back as CuPy.
    wavelet
        Name of an orthogonal wavelet of PyWavelets.
    levels
        Octaves, from the finest; limited by the size of the plane.
    sigma_rows
        Width of the Gaussian, in cycles per plane height, with everything it holds taken, as in the paper; None tunes.

    Returns
    -------
    Array
        (y, x) float32 stripes; ``plane - stripes`` is the filtered plane of the paper.

    Raises
    ------
    InputError
        There is no such wavelet.

    References
    ----------
    B. Münch, P. Trtik, F. Marone, M. Stampanoni, Opt. Express 17 (2009) 8567, doi:10.1364/OE.17.008567.

    Examples
    --------
    >>> import numpy as np
    >>> stripes = np.tile(np.sin(np.arange(256) * 2 * np.pi / 8), (256, 1))
    >>> bool(np.std(wavelet_stripes(stripes) - stripes) < 0.1)
    True
    """
    import pywt

    if wavelet not in pywt.wavelist(kind="discrete"):
        raise InputError(f"there is no wavelet '{wavelet}'; db10, db20 and coif3 are usual")
    host = to_host(plane).astype(np.float32)
    possible = min(pywt.dwt_max_level(min(host.shape), 2), int(np.log2(max(2, min(host.shape) / LEAST_SIDE))))
    approximation, details = host, []
    for _ in range(max(1, min(levels, possible))):
        approximation, detail = pywt.dwt2(approximation, wavelet, mode="symmetric")
        details.append(detail)
    out = np.zeros_like(approximation)
    for across, along, _ in reversed(details):
        if sigma_rows is None:
            stripes = _tuned(along, np.ascontiguousarray(across.T), host.shape)
        else:
            stripes = _slow_rows(along, sigma_rows)
        out = pywt.idwt2((out[: along.shape[0], : along.shape[1]], (None, stripes, None)), wavelet, mode="symmetric")
    return like(plane, np.ascontiguousarray(out[: host.shape[0], : host.shape[1]], dtype=np.float32))


def tuned_wavelet_stripes(
    upright: Float, spans: Spans | None = None, *, length_px: float = 20.0, width_px: float = 60.0
) -> Float:
    """`wavelet_stripes` with its own tuning, for `fibtomo.ops.curtain_filters`: lengths are found, spans left out."""
    del spans, length_px
    return np.asarray(wavelet_stripes(upright, levels=max(1, round(np.log2(width_px)))), np.float32)


def _slow_rows(detail: Float, sigma_rows: float) -> Float:
    import scipy.fft

    cycles = np.arange(detail.shape[0] // 2 + 1, dtype=np.float32)
    keep = np.exp(-(cycles**2) / (2 * sigma_rows**2))
    filtered = scipy.fft.irfft(scipy.fft.rfft(detail, axis=0) * keep[:, None], n=detail.shape[0], axis=0)
    return np.asarray(filtered, np.float32)


def _tuned(along: Float, across: Float, shape: tuple[int, ...]) -> Float:
    """Slow part of the detail `along` the stripes, of least expected error by the detail `across` them, transposed."""
    basis, other = _slow_cosines(along, shape[0]), _slow_cosines(across, shape[0])
    found = basis @ along
    power = np.mean(found.astype(np.float64) ** 2, axis=1)
    null = np.mean((other @ across).astype(np.float64) ** 2, axis=1)
    at = np.arange(len(power)) / (2 * len(along))
    null = np.interp(at, np.arange(len(null)) / (2 * len(across)), null)
    most, best = 0.0, None
    for sigma in WIDTHS:
        g = np.exp(-((at * len(along) / sigma) ** 2) / 2)
        gain, share = _expected_gain(g, power, null, along.shape[1], across.shape[1])
        if gain > most:
            most, best = gain, share * g
    if best is None:
        return np.zeros_like(along)
    return np.asarray(basis.T @ (best.astype(np.float32)[:, None] * found), np.float32)


def _slow_cosines(detail: Float, height: int) -> Float:
    """Cosines along the detail, as far as the widest Gaussian reaches; in the units of a plane of that height."""
    del height
    return cosines(len(detail), min(len(detail), int(2 * 3 * WIDTHS[-1])))


def _expected_gain(
    g: NDArray[np.float64], power: NDArray[np.float64], null: NDArray[np.float64], columns: int, null_columns: int
) -> tuple[float, float]:
    """Squared error that a Gaussian g takes away, and the share of it to take, from mean powers of each frequency."""
    kept, floor = float(g**2 @ power), float(g**2 @ null)
    independent = float((g**2).sum() ** 2 / (g**4).sum())
    error = SIGNIFICANCE * np.sqrt(2 / (columns * independent) + 2 / (null_columns * independent))
    if kept <= floor * (1 + error) or kept <= 0:
        return 0.0, 0.0
    stripe = float(g @ (power - null))
    share = float(np.clip(stripe / kept, 0, 1)) * min(1.0, (kept / max(floor, 1e-30) - 1) / error - 1)
    return (2 * share * stripe - share**2 * kept) * columns, share
