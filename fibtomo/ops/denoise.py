"""Noise filters with a bounded reach."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from fibtomo.backend.array import as_array, is_cupy, like, namespace, ndimage, to_dtype, to_host
from fibtomo.errors import InputError
from fibtomo.ops.bilateral import bilateral
from fibtomo.ops.nlm import non_local_means
from fibtomo.ops.noise import NoiseModel
from fibtomo.ops.padding import seen_voxels
from fibtomo.ops.total_variation import total_variation

Array = Any
GAUSSIAN_REACH = 4.0
"""Standard deviations after which a Gaussian is cut off."""


def denoise(
    array: Array,
    *,
    method: Literal["nlm", "tv", "bilateral", "median", "gaussian"] = "nlm",
    voxel_nm: Sequence[float] | None = None,
    noise: NoiseModel | float | None = None,
    mask: Array | None = None,
    **options: Any,
) -> Array:
    """Filter noise with one of the functions of this module.

    Parameters
    ----------
    array
        (z, y, x) slices or one (y, x) slice, NumPy or CuPy.
    method
        "nlm", "tv" and "bilateral" keep edges and measure the noise first; "median" and "gaussian" do not.
    voxel_nm
        (dz, dy, dx): where slices lie further apart than pixels, filters reach less far along z; ``None`` takes cubes.
    noise
        Model of the noise, or its standard deviation in greys; ``None`` measures it.
    mask
        Same shape and place; false where there is no specimen. NaN and constant lines around a slice (padding) are left
        out anyway: such voxels stay as they are and do not touch others.
    **options
        Parameters of `non_local_means`, `total_variation`, `bilateral`, `median` or `gaussian`.

    Returns
    -------
    Array
        Same shape and dtype; integers are rounded.

    Raises
    ------
    InputError
        There is no such method or option, the array is not 2-D or 3-D, or its slices are too small (under 6 × 6 pixels)
        to measure noise on.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> step = np.where(np.arange(64) < 32, 50.0, 150.0) + np.zeros((16, 64, 1))
    >>> noisy = step + rng.normal(0, 10, step.shape)
    >>> [float(np.std(denoise(noisy, method=m) - step).round(1)) for m in ("nlm", "tv", "bilateral", "median")]
    [0.6, 1.0, 1.7, 4.4]
    """
    if method not in METHODS:
        raise InputError(f"there is no method '{method}' to denoise; there are {', '.join(METHODS)}")
    array = as_array(array)
    if array.ndim not in (2, 3):
        raise InputError(f"array of shape {array.shape} must be (z, y, x) or (y, x)")
    if mask is not None and mask.shape != array.shape:
        raise InputError(f"mask of shape {mask.shape} must have the shape of the array, {array.shape}")
    function, known = METHODS[method], options_of(method)
    foreign = sorted(set(options) - set(known))
    if foreign:
        raise InputError(f"method '{method}' has no option '{foreign[0]}'; there are {', '.join(known)}")
    stack = array[None] if array.ndim == 2 else array
    seen = seen_voxels(stack)
    if mask is not None:
        given = namespace(stack).asarray(mask).reshape(stack.shape).astype(bool)
        seen = given if seen is None else seen & given
    if method in MEASURED:
        options["aspect"] = 1.0 if voxel_nm is None else float(voxel_nm[0]) / float(voxel_nm[1])
        options["noise"] = NoiseModel.uniform(noise) if isinstance(noise, int | float) else noise
    out = to_dtype(function(stack, **options, mask=seen), array.dtype)
    return kept(stack, out, seen).reshape(array.shape)


def options_of(method: str) -> list[str]:
    """Names of the options of a method."""
    signature = inspect.signature(METHODS[method])
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [name for name, p in list(signature.parameters.items())[1:] if p.kind is kind]


def kept(planes: Array, out: Array, seen: Array | None) -> Array:
    """Put the voxels of `planes` that were not seen back into `out`, which nobody else holds."""
    if seen is not None:
        namespace(out).copyto(out, planes, where=~seen, casting="unsafe")
    return out


def median(planes: Array, size_px: int = 3, size_slices: int = 1, *, mask: Array | None = None) -> Array:
    """Median over a box of `size_slices` × `size_px` × `size_px` (odd); edges repeat the outermost voxel.

    Raises
    ------
    InputError
        A size is even.
    """
    if size_px % 2 == 0 or size_slices % 2 == 0:
        raise InputError(f"a median of {size_slices} slices and {size_px} px has no centre; sizes must be odd")
    filled = planes if mask is None else _filled(planes, mask)
    if is_cupy(planes):
        return ndimage(planes).median_filter(filled, (size_slices, size_px, size_px), mode="nearest")
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(filled))
    radius = (size_px // 2, size_px // 2, size_slices // 2)
    return SimpleITK.GetArrayFromImage(SimpleITK.Median(image, radius))


def _filled(planes: Array, seen: Array) -> Array:
    """Repeat the nearest seen pixel of the slice where nothing was seen; empty slices repeat the nearest other."""
    from scipy.ndimage import distance_transform_edt

    host, shown = to_host(planes).copy(), to_host(seen)
    full = np.flatnonzero(shown.any(axis=(1, 2)))
    for k in full:
        if not shown[k].all():
            rows, columns = distance_transform_edt(~shown[k], return_distances=False, return_indices=True)
            host[k] = host[k][rows, columns]
    for k in set(range(len(host))) - set(full.tolist()):
        if len(full):
            host[k] = host[full[np.abs(full - k).argmin()]]
    return like(planes, host)


def gaussian(planes: Array, sigma_px: float = 1.0, sigma_slices: float = 0.0, *, mask: Array | None = None) -> Array:
    """Gaussian filter, cut off at `gaussian_reach`; float32; edges repeat the outermost voxel.

    With a mask, the mean over what was seen.
    """
    xp = namespace(planes)
    sigma = (sigma_slices, sigma_px, sigma_px)

    def smooth(values: Array) -> Array:
        return ndimage(planes).gaussian_filter(values, sigma, mode="nearest", truncate=GAUSSIAN_REACH)

    values = planes.astype(xp.float32)
    if mask is None:
        return smooth(values)
    share = smooth(mask.astype(xp.float32))
    return smooth(xp.where(mask, values, xp.float32(0))) / xp.maximum(share, xp.float32(1e-6))


def gaussian_reach(sigma: float) -> int:
    """Voxels to either side that a Gaussian of `sigma` sees."""
    return int(GAUSSIAN_REACH * sigma + 0.5)


METHODS: dict[str, Callable[..., Array]] = {
    "nlm": non_local_means,
    "tv": total_variation,
    "bilateral": bilateral,
    "median": median,
    "gaussian": gaussian,
}
MEASURED = ("nlm", "tv", "bilateral")
"""Methods whose strength is in units of the noise."""
