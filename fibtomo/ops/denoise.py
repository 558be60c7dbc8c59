"""Noise filters with a bounded reach."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from fibtomo.backend.array import as_array, is_cupy, like, namespace, ndimage, to_dtype, to_host
from fibtomo.errors import InputError
from fibtomo.ops.noise import estimate_noise

Array = Any
GAUSSIAN_REACH = 4.0
"""Standard deviations after which a Gaussian is cut off."""


def denoise(
    array: Array, *, method: Literal["nlm", "tv", "bilateral", "median", "gaussian"] = "nlm", **options: Any
) -> Array:
    """Filter noise with one of the functions of this module.

    Parameters
    ----------
    array
        (z, y, x) slices or one (y, x) slice, NumPy or CuPy.
    method
        "nlm", "tv" and "bilateral" work slice by slice and keep edges; "median" and "gaussian" may reach along z.
    **options
        Parameters of `non_local_means`, `total_variation`, `bilateral`, `median` or `gaussian`.

    Returns
    -------
    Array
        Same shape and dtype; integers are rounded.

    Raises
    ------
    InputError
        There is no such method or option, or the array is not 2-D or 3-D.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> step = np.where(np.arange(64) < 32, 50.0, 150.0) + np.zeros((64, 1))
    >>> noisy = step + rng.normal(0, 10, step.shape)
    >>> [float(np.std(denoise(noisy, method=m) - step).round()) for m in ("nlm", "tv", "bilateral", "median")]
    [1.0, 2.0, 3.0, 4.0]
    """
    import inspect

    if method not in METHODS:
        raise InputError(f"there is no method '{method}' to denoise; there are {', '.join(METHODS)}")
    array = as_array(array)
    if array.ndim not in (2, 3):
        raise InputError(f"array of shape {array.shape} must be (z, y, x) or (y, x)")
    known = list(inspect.signature(METHODS[method]).parameters)[1:]
    foreign = sorted(set(options) - set(known))
    if foreign:
        raise InputError(f"method '{method}' has no option '{foreign[0]}'; there are {', '.join(known)}")
    stack = array[None] if array.ndim == 2 else array
    return to_dtype(METHODS[method](stack, **options), array.dtype).reshape(array.shape)


def median(planes: Array, size_px: int = 3, size_slices: int = 1) -> Array:
    """Median over a box of `size_slices` × `size_px` × `size_px` (odd); edges repeat the outermost voxel.

    Raises
    ------
    InputError
        A size is even.
    """
    if size_px % 2 == 0 or size_slices % 2 == 0:
        raise InputError(f"a median of {size_slices} slices and {size_px} px has no centre; sizes must be odd")
    if is_cupy(planes):
        return ndimage(planes).median_filter(planes, (size_slices, size_px, size_px), mode="nearest")
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(planes))
    radius = (size_px // 2, size_px // 2, size_slices // 2)
    return SimpleITK.GetArrayFromImage(SimpleITK.Median(image, radius))


def gaussian(planes: Array, sigma_px: float = 1.0, sigma_slices: float = 0.0) -> Array:
    """Gaussian filter, cut off at `gaussian_reach`; float32; edges repeat the outermost voxel."""
    xp = namespace(planes)
    sigma = (sigma_slices, sigma_px, sigma_px)
    smooth = ndimage(planes).gaussian_filter
    return smooth(planes.astype(xp.float32), sigma, mode="nearest", truncate=GAUSSIAN_REACH)


def gaussian_reach(sigma: float) -> int:
    """Voxels to either side that a Gaussian of `sigma` sees."""
    return int(GAUSSIAN_REACH * sigma + 0.5)


def non_local_means(planes: Array, strength: float = 0.8, patch_px: int = 5, reach_px: int = 6) -> Array:
    """Average of the pixels whose surroundings look alike, slice by slice; float32.

    Runs on the host also for CuPy arrays.

    Parameters
    ----------
    planes
        (z, y, x) grey values.
    strength
        Tolerated difference of two surroundings, in units of the slice's own noise.
    patch_px
        Side of the compared surroundings, odd.
    reach_px
        How far alike pixels are looked for.

    References
    ----------
    A. Buades, B. Coll, J.-M. Morel, Image Process. On Line 1 (2011) 208, doi:10.5201/ipol.2011.bcm_nlm.
    """
    from skimage.restoration import denoise_nl_means

    def one(plane: Any, sigma: float) -> Any:
        h = max(strength * sigma, 1e-30)
        return denoise_nl_means(plane / h, patch_px, reach_px, h=1.0, sigma=sigma / h, fast_mode=True) * h

    return like(planes, _each_slice(to_host(planes), one))


def total_variation(planes: Array, strength: float = 1.0, iterations: int = 60) -> Array:
    """Least total variation at a given distance from the data, slice by slice; float32.

    Parameters
    ----------
    planes
        (z, y, x) grey values.
    strength
        Weight of the total variation, in units of the slice's own noise.
    iterations
        Fixed number of Chambolle's projections.

    References
    ----------
    A. Chambolle, J. Math. Imaging Vis. 20 (2004) 89, doi:10.1023/B:JMIV.0000011325.36760.1e.
    """
    xp = namespace(planes)

    def one(plane: Array, sigma: float) -> Array:
        weight = max(strength * sigma, 1e-30)
        py, px = xp.zeros_like(plane), xp.zeros_like(plane)
        for _ in range(iterations):
            g = _divergence(py, px) - plane / weight
            gy, gx = xp.zeros_like(g), xp.zeros_like(g)
            gy[:-1], gx[:, :-1] = g[1:] - g[:-1], g[:, 1:] - g[:, :-1]
            norm = 1 + 0.25 * xp.sqrt(gy * gy + gx * gx)
            py, px = (py + 0.25 * gy) / norm, (px + 0.25 * gx) / norm
        return plane - weight * _divergence(py, px)

    return _each_slice(planes, one)


def _divergence(py: Array, px: Array) -> Array:
    out = py + px
    out[1:] -= py[:-1]
    out[:, 1:] -= px[:, :-1]
    return out


def bilateral(planes: Array, strength: float = 3.0, sigma_px: float = 1.5) -> Array:
    """Gaussian that leaves out pixels of another grey, slice by slice; float32.

    Parameters
    ----------
    planes
        (z, y, x) grey values.
    strength
        Tolerated difference of grey, in units of the slice's own noise.
    sigma_px
        Width of the Gaussian; it is cut off at two of them.

    References
    ----------
    C. Tomasi, R. Manduchi, Proc. ICCV (1998) 839, doi:10.1109/ICCV.1998.710815.
    """
    xp = namespace(planes)
    reach = max(1, round(2 * sigma_px))
    offsets = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]

    def one(plane: Array, sigma: float) -> Array:
        ny, nx = plane.shape
        padded = xp.pad(plane, reach, mode="reflect" if min(ny, nx) > reach else "edge")
        tolerance = 1 / (2 * max(strength * sigma, 1e-15) ** 2)
        total, weights = xp.zeros_like(plane), xp.zeros_like(plane)
        for dy, dx in offsets:
            other = padded[reach + dy : reach + dy + ny, reach + dx : reach + dx + nx]
            near = np.exp(-(dy * dy + dx * dx) / (2 * sigma_px**2))
            weight = near * xp.exp(-((other - plane) ** 2) * tolerance)
            total += weight * other
            weights += weight
        return total / weights

    return _each_slice(planes, one)


def _each_slice(planes: Array, one: Callable[[Array, float], Array]) -> Array:
    """Apply `one(plane, noise)` to each plane as float32; planes without noise come back as they are."""
    xp = namespace(planes)
    out = planes.astype(xp.float32)
    for k, sigma in enumerate(estimate_noise(planes)):
        if sigma > 0:
            out[k] = one(out[k], float(sigma))
    return out


METHODS: dict[str, Callable[..., Array]] = {
    "nlm": non_local_means,
    "tv": total_variation,
    "bilateral": bilateral,
    "median": median,
    "gaussian": gaussian,
}
