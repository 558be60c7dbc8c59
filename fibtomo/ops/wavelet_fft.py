"""Wavelet-Fourier stripe filter of Münch et al. 2009."""

from typing import Any

import numpy as np

from fibtomo.backend.array import like, to_host
from fibtomo.errors import InputError

Array = Any


def wavelet_stripes(plane: Array, wavelet: str = "db10", levels: int = 5, sigma_rows: float = 4.0) -> Array:
    """Return what the wavelet-Fourier filter takes for upright stripes.

    Each level's detail across the stripes keeps only its slow part along them: a Gaussian in Fourier space.

    Parameters
    ----------
    plane
        (y, x) grey values; a CuPy plane is processed on the host and comes back as CuPy.
    wavelet
        Name of an orthogonal wavelet of PyWavelets.
    levels
        Octaves, from the finest; limited by the size of the plane.
    sigma_rows
        Width of the Gaussian, in cycles per plane height.

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
    possible = pywt.dwt_max_level(min(host.shape), pywt.Wavelet(wavelet).dec_len)
    coefficients = pywt.wavedec2(host, wavelet, level=max(1, min(levels, possible)), mode="symmetric")
    stripes = [np.zeros_like(coefficients[0])]
    for _, upright, _ in coefficients[1:]:
        stripes.append((None, _slow_rows(upright, sigma_rows), None))
    out = pywt.waverec2(stripes, wavelet, mode="symmetric")[: host.shape[0], : host.shape[1]]
    return like(plane, np.ascontiguousarray(out, dtype=np.float32))


def _slow_rows(detail: np.ndarray[Any, Any], sigma_rows: float) -> np.ndarray[Any, Any]:
    import scipy.fft

    cycles = np.arange(detail.shape[0] // 2 + 1, dtype=np.float32)
    keep = np.exp(-(cycles**2) / (2 * sigma_rows**2))
    return scipy.fft.irfft(scipy.fft.rfft(detail, axis=0) * keep[:, None], n=detail.shape[0], axis=0)
