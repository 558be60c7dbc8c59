"""Noise level of slices."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, ndimage, to_host

Array = Any


def estimate_noise(array: Array) -> NDArray[np.float64]:
    """Standard deviation of white noise on each slice.

    The difference of two Laplacians answers neither to planes nor to straight edges along the axes; its median
    absolute value leaves out what structure remains.

    Parameters
    ----------
    array
        (z, y, x) slices or one (y, x) slice, at least 3 × 3 pixels, NumPy or CuPy.

    Returns
    -------
    numpy.ndarray
        (z,) standard deviations in grey units; (1,) for one slice.

    References
    ----------
    J. Immerkær, Comput. Vis. Image Underst. 64 (1996) 300, doi:10.1006/cviu.1996.0060 (kernel); median instead of
    mean after Donoho and Johnstone, Biometrika 81 (1994) 425, doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> steps = 100.0 * (np.arange(256) // 16 % 2)
    >>> [float(round(v, 1)) for v in estimate_noise(steps + rng.normal(0, 5, (2, 256, 256)))]
    [5.0, 5.0]
    """
    xp, nd = namespace(array), ndimage(array)
    kernel = xp.asarray([1.0, -2.0, 1.0], dtype=xp.float32)
    planes = array[None] if array.ndim == 2 else array
    sigma = []
    for plane in planes:
        second = nd.correlate1d(nd.correlate1d(plane.astype(xp.float32), kernel, axis=0), kernel, axis=1)
        sigma.append(float(to_host(xp.median(xp.abs(second[1:-1, 1:-1])))) / (6 * 0.67449))
    return np.array(sigma)
