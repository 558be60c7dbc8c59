"""Removal of curtaining: stripes that uneven milling leaves on the face, along the ion beam."""

from typing import Any, Literal

import numpy as np

from fibtomo.backend.array import as_array, namespace, to_dtype
from fibtomo.errors import InputError
from fibtomo.ops.curtain_filters import FILTERS, named_stripes
from fibtomo.ops.padding import inside_padding
from fibtomo.ops.stripes import Array, StripeField, stripe_field, stripe_slope

Method = Literal["auto", "gradient", "vsnr", "general", "wedge", "wavelet_fft"]
METHODS = ("auto", "gradient", "vsnr", "general", "wedge", "wavelet_fft")
MAX_ANGLE_DEG = 45.0
SURE_INDEX = 2.0
"""Stripe index from which a named filter is believed altogether; "gradient" weighs its octaves itself."""


def remove_curtaining(
    array: Array,
    *,
    method: Method = "auto",
    angle_deg: float | Literal["auto"] = "auto",
    strength: float = 1.0,
    length_px: float = 20.0,
    width_px: float = 60.0,
    return_curtain: bool = False,
) -> Any:
    """Subtract the curtains of each slice; slices that show none, and padding, come back bit-identical.

    Parameters
    ----------
    array
        (z, y, x) slices or one (y, x) slice, any integer or float dtype: NumPy, CuPy, or what turns into an array.
    method
        "gradient" averages the grey steps along the ion beam, phase boundaries left out, and integrates them
        (`fibtomo.ops.stripes`). Behind the same gate: "vsnr", the variational stationary noise remover
        (`fibtomo.ops.curtain_vsnr`); "general", the general stripe remover (`fibtomo.ops.curtain_general`); "wedge",
        the Fourier wedge refilled by total variation (`fibtomo.ops.curtain_wedge`); "wavelet_fft", the filter of Münch
        et al. 2009 (`fibtomo.ops.curtain_wavelet`). "auto" takes what measured best, at present "gradient".
    angle_deg
        Direction of the curtains, positive when they lean to the right on their way down; "auto" finds it on each
        slice within ±15°.
    strength
        Share of the curtains to subtract, 0 to 1.
    length_px
        Smoothing along the curtains (standard deviation): shorter follows curtains that fade, longer is steadier.
    width_px
        Curtains much wider than this are left in.
    return_curtain
        Also return what was subtracted, as float32.

    Returns
    -------
    Array or tuple of Array
        Same shape and dtype; integers are rounded and clipped.

    Raises
    ------
    InputError
        The array is not 2-D or 3-D, or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> clean = 100 + rng.normal(0, 3, (128, 128))
    >>> striped = clean + 8 * np.sin(np.arange(128) / 2)
    >>> [float(np.std(a - clean).round(1)) for a in (striped, remove_curtaining(striped))]
    [5.6, 0.5]
    >>> np.array_equal(remove_curtaining(clean), clean)
    True
    """
    array = as_array(array)
    _check(array, method, angle_deg, strength, length_px, width_px)
    xp = namespace(array)
    stack = array[None] if array.ndim == 2 else array
    out, removed = stack.copy(), xp.zeros(stack.shape, xp.float32) if return_curtain else None
    for k in range(stack.shape[0]):
        inside = inside_padding(stack[k])
        plane = stack[k][inside]
        if plane.size == 0:
            continue
        found = find_curtains(plane, method, angle_deg, length_px, width_px)
        if found.index > 1:
            curtain = strength * found.field
            out[k][inside] = to_dtype(plane.astype(xp.float32) - curtain, array.dtype)
            if removed is not None:
                removed[k][inside] = curtain
    out = out.reshape(array.shape)
    return out if removed is None else (out, removed.reshape(array.shape))


def find_curtains(
    plane: Array, method: Method, angle_deg: float | Literal["auto"], length_px: float, width_px: float
) -> StripeField:
    """Curtains of one (y, x) slice, with its stripe index."""
    slope = stripe_slope(plane) if angle_deg == "auto" else float(np.tan(np.radians(angle_deg)))
    found = stripe_field(plane, slope, length_px, width_px)
    if method not in FILTERS or found.index <= 1:
        return found
    share = min(1.0, (found.index - 1) / (SURE_INDEX - 1))
    return StripeField(share * named_stripes(plane, slope, method, length_px, width_px), found.index)


def _check(
    array: Array, method: str, angle_deg: float | str, strength: float, length_px: float, width_px: float
) -> None:
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif":
        raise InputError(f"array of shape {array.shape} and type {array.dtype} must be grey values (z, y, x) or (y, x)")
    if method not in METHODS:
        raise InputError(f"method '{method}' must be one of {', '.join(METHODS)}")
    if angle_deg != "auto" and not (isinstance(angle_deg, int | float) and abs(angle_deg) <= MAX_ANGLE_DEG):
        raise InputError(f"angle_deg = {angle_deg!r} must be 'auto' or within ±{MAX_ANGLE_DEG:g}°")
    if not (0 <= strength <= 1 and length_px > 0 and width_px > 0):
        raise InputError(
            f"strength = {strength} must lie within 0..1, length_px = {length_px} and width_px = {width_px} above 0"
        )
