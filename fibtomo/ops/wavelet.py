"""Two-dimensional discrete wavelet transform, one level at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import twin
from fibtomo.errors import InputError

Array = Any


@dataclass(frozen=True)
class Filters:
    """Taps of a wavelet where the arrays are that it filters.

    Attributes
    ----------
    low, high
        (tap,) float32 that make approximations and details; even in number.
    low_back, high_back
        (tap,) float32 that make planes of them.
    """

    low: Array
    high: Array
    low_back: Array
    high_back: Array

    @classmethod
    def of(cls, wavelet: str, plane: Array) -> "Filters":
        """Filters of a discrete wavelet by the name that PyWavelets gives it, for arrays such as `plane`.

        Raises
        ------
        InputError
            There is no such wavelet.
        """
        import pywt

        try:
            taps = pywt.Wavelet(wavelet).filter_bank
        except ValueError as error:
            raise InputError(f"wavelet '{wavelet}': {error}") from None
        return cls(*(like(plane, np.array(t, np.float32)) for t in taps))


def dwt2(plane: Array, wavelet: str = "db4") -> tuple[Array, tuple[Array, Array, Array]]:
    """Split a plane into octaves along both axes; it goes on mirrored, its rim repeated.

    The results are those of ``pywt.dwt2(…, mode="symmetric")``, for NumPy and CuPy arrays.

    Parameters
    ----------
    plane
        (y, x) real values.
    wavelet
        Name of a discrete wavelet of PyWavelets.

    Returns
    -------
    approximation
        (i, j) float32, about half as many rows and columns.
    details
        Along y, along x and along both, each (i, j) float32: edges that run along x, along y, and corners.

    Raises
    ------
    InputError
        The plane is not 2-D or is empty, or there is no such wavelet.

    References
    ----------
    S. Mallat, IEEE Trans. Pattern Anal. 11 (1989) 674, doi:10.1109/34.192463.

    Examples
    --------
    >>> stripes = np.tile(np.array([1.0, -1.0]), (8, 8))
    >>> approximation, (along_y, along_x, _) = dwt2(stripes, "haar")
    >>> approximation.shape, [float(np.abs(a).max().round(3)) for a in (approximation, along_y, along_x)]
    ((4, 8), [0.0, 0.0, 2.0])
    """
    if plane.ndim != 2 or plane.size == 0:
        raise InputError(f"array of shape {plane.shape} must be a plane (y, x)")
    taps, loops = Filters.of(wavelet, plane), twin(__package__, "wavelet", like=plane)
    grey = namespace(plane).ascontiguousarray(plane, dtype=np.float32)
    smooth, detail = loops.split_columns(grey, taps.low, taps.high)
    approximation, along_x = loops.split_rows(smooth, taps.low, taps.high)
    along_y, along_both = loops.split_rows(detail, taps.low, taps.high)
    return approximation, (along_y, along_x, along_both)


def idwt2(approximation: Array, details: tuple[Array, Array, Array], wavelet: str = "db4") -> Array:
    """Put a plane together from what `dwt2` makes of it; one more row or column than an odd plane had.

    Parameters
    ----------
    approximation, details
        See `dwt2`; all of the same shape.
    wavelet
        Name of a discrete wavelet of PyWavelets.

    Returns
    -------
    Array
        (y, x) float32.

    Raises
    ------
    InputError
        The arrays differ in shape or hold fewer coefficients than the wavelet needs, or there is no such wavelet.

    Examples
    --------
    >>> plane = np.random.default_rng(0).normal(size=(12, 17))
    >>> bool(np.allclose(idwt2(*dwt2(plane))[:, :17], plane, atol=1e-5))
    True
    """
    taps, loops = Filters.of(wavelet, approximation), twin(__package__, "wavelet", like=approximation)
    given = (approximation, *details)
    if {a.shape for a in given} != {approximation.shape} or min(approximation.shape) < len(taps.low) // 2:
        raise InputError(f"coefficients of shapes {[a.shape for a in given]} make no plane with wavelet '{wavelet}'")
    xp = namespace(approximation)
    approximation, along_y, along_x, along_both = (xp.ascontiguousarray(a, dtype=np.float32) for a in given)
    smooth = loops.join_rows(approximation, along_x, taps.low_back, taps.high_back)
    detail = loops.join_rows(along_y, along_both, taps.low_back, taps.high_back)
    return loops.join_columns(smooth, detail, taps.low_back, taps.high_back)
