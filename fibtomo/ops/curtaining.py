"""Removal of curtaining: stripes that uneven milling leaves on the face, along the ion beam."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fibtomo.backend.array import as_array, is_cupy, namespace, to_dtype
from fibtomo.backend.threads import map_ranges
from fibtomo.core.volume import Table
from fibtomo.errors import InputError
from fibtomo.ops.curtain_filters import FILTERS, named_stripes
from fibtomo.ops.curtain_quality import curtain_quality
from fibtomo.ops.padding import inside_padding
from fibtomo.ops.stripe_direction import stripe_slope
from fibtomo.ops.stripes import Array, StripeField, stripe_field

Method = Literal["auto", "gradient", "vsnr", "general", "wedge", "wavelet_fft"]
METHODS = ("auto", "gradient", "vsnr", "general", "wedge", "wavelet_fft")
Angle = float | tuple[float, float] | Literal["auto"]
MAX_ANGLE_DEG = 45.0
LEAST_ROCKING_DEG = 0.75
"""Two directions nearer to each other are taken for one."""
SUSPECT = 4.0
"""Standard deviations from which a direction is looked into; the gate decides what runs along it."""
SURE_INDEX = 2.0
"""Stripe index from which a named filter is believed altogether; "gradient" weighs its octaves itself."""


def remove_curtaining(
    array: Array,
    *,
    method: Method = "auto",
    angle_deg: Angle = "auto",
    strength: float = 1.0,
    length_px: float = 20.0,
    width_px: float = 60.0,
    return_curtain: bool = False,
    workers: int | None = None,
) -> Any:
    """Subtract the curtains of each slice; slices that show none, and padding, come back bit-identical.

    Parameters
    ----------
    array
        (z, y, x) slices or one (y, x) slice, any integer or float dtype: NumPy, CuPy, or what turns into an array.
    method
        "gradient" averages grey steps and, where the greys fall into phases, what lies off them along the ion beam
        (`fibtomo.ops.stripes`). Behind the same gate: "vsnr", the variational stationary noise remover
        (`fibtomo.ops.curtain_vsnr`); "general", the general stripe remover (`fibtomo.ops.curtain_general`); "wedge",
        the Fourier wedge refilled by total variation (`fibtomo.ops.curtain_wedge`); "wavelet_fft", the filter of Münch
        et al. 2009 (`fibtomo.ops.curtain_wavelet`). "auto" takes what measured best, at present "gradient".
    angle_deg
        Direction of the curtains, positive when they lean to the right on their way down, or two of them for a rocking
        stage; "auto" finds one or two on each slice within ±15°.
    strength
        Share of the curtains to subtract, 0 to 1.
    length_px
        Length along the curtains over which they are averaged: shorter follows curtains that fade, longer is steadier.
    width_px
        Curtains much wider than this are left in.
    return_curtain
        Also return what was subtracted, as float32.
    workers
        Slices at a time; ``None`` takes as many as there are cores.

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
    >>> striped = clean + rng.normal(0, 6, 128)
    >>> [float(np.std(a - clean).round(1)) for a in (striped, remove_curtaining(striped))]
    [5.8, 0.5]
    >>> np.array_equal(remove_curtaining(clean), clean)
    True
    """
    array = as_array(array)
    _check(array, method, angle_deg, strength, length_px, width_px)
    stack = array[None] if array.ndim == 2 else array
    out, removed = stack.copy(), namespace(array).zeros(stack.shape, np.float32) if return_curtain else None

    def one(k: int, _: int) -> None:
        out[k], layer = _without(stack[k], method, angle_deg, strength, length_px, width_px)[:2]
        if removed is not None:
            removed[k] = layer

    map_ranges(one, stack.shape[0], 1, 1 if is_cupy(array) else workers)
    out = out.reshape(array.shape)
    return out if removed is None else (out, removed.reshape(array.shape))


def remove_and_judge(
    planes: Array, method: Method, angle_deg: Angle, strength: float, length_px: float, width_px: float
) -> tuple[Array, Table]:
    """Remove the curtains of (z, y, x) slices one after another; with what was found and done on each slice.

    Returns
    -------
    planes
        Same shape and dtype.
    table
        (z,) ``index``, ``angle_deg`` and ``second_angle_deg`` (NaN where there is none), and the numbers of
        `fibtomo.ops.curtain_quality.curtain_quality`, zero on slices that were left alone.
    """
    out = planes.copy()
    rows = []
    for k, plane in enumerate(planes):
        out[k], layer, found = _without(plane, method, angle_deg, strength, length_px, width_px)
        row = dict.fromkeys(("removed_rms", "damage_rms", "structure_loss", "structure_r"), 0.0)
        angles: tuple[float, ...] = ()
        if found is not None and found.index > 1:
            angles = found.angles_deg
            row = curtain_quality(plane.astype(np.float32), layer, angles)
        named = dict(zip(("angle_deg", "second_angle_deg"), (*angles, np.nan, np.nan), strict=False))
        rows.append({"index": found.index if found is not None else 0.0, **named, **row})
    return out, {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}


def _without(
    plane: Array, method: Method, angle_deg: Angle, strength: float, length_px: float, width_px: float
) -> tuple[Array, Array, "Curtains | None"]:
    """Return a slice without its curtains, what was removed, and what was found (None: nothing but padding)."""
    xp = namespace(plane)
    out, layer = plane.copy(), xp.zeros(plane.shape, xp.float32)
    inside = inside_padding(plane)
    grey, known = _filled(plane[inside])
    found = find_curtains(grey, method, angle_deg, length_px, width_px) if grey.size else None
    if found is not None and found.index > 1:
        layer[inside] = strength * found.field * known
        out[inside] = to_dtype(plane[inside].astype(xp.float32) - layer[inside], plane.dtype)
    return out, layer, found


def _filled(plane: Array) -> tuple[Array, Array | int]:
    """Return a plane with the median in place of what is not finite, and where it is finite."""
    xp = namespace(plane)
    known = xp.isfinite(plane) if plane.dtype.kind == "f" and plane.size else None
    if known is None or bool(known.all()):
        return plane, 1
    if not bool(known.any()):
        return plane[:0], known
    return xp.where(known, plane, xp.median(plane[known])).astype(plane.dtype), known


@dataclass(frozen=True)
class Curtains:
    """Curtains found on a slice.

    Attributes
    ----------
    field
        (y, x) float32 curtains in grey units, zero where there are none.
    index
        Stripe index: there are curtains above 1.
    angles_deg
        Directions in which they were looked for, the stronger first.
    """

    field: Array
    index: float
    angles_deg: tuple[float, ...]


def find_curtains(plane: Array, method: Method, angle_deg: Angle, length_px: float, width_px: float) -> Curtains:
    """Curtains of one (y, x) slice, in one or two directions, with its stripe index."""

    def look(grey: Array, slope: float) -> StripeField:
        return _one_direction(grey, slope, method, length_px, width_px)

    plane = plane.astype(namespace(plane).float32)
    given = [] if angle_deg == "auto" else list(angle_deg) if isinstance(angle_deg, tuple) else [angle_deg]
    slopes = [float(np.tan(np.radians(a))) for a in given] or [stripe_slope(plane, significance=SUSPECT)]
    first = look(plane, slopes[0])
    if first.index <= 1 and not given and slopes[0] != 0:  # a direction was suspected in vain
        slopes = [0.0]
        first = look(plane, 0.0)
    if first.index > 1 and not given:
        slopes += _second_slope(plane - first.field, slopes[0])
    field, index = first.field, first.index
    if len(slopes) == 2:
        second = look(plane - first.field, slopes[1])
        if second.index > 1:  # each direction once more without the other
            first = look(plane - second.field, slopes[0])
            second = look(plane - first.field, slopes[1])
            field, index = first.field + second.field, max(index, second.index)
        elif not given:
            slopes = slopes[:1]
    return Curtains(field, index, tuple(float(np.degrees(np.arctan(s))) for s in slopes))


def _second_slope(rest: Array, slope: float) -> list[float]:
    """Direction of the curtains that a rocking stage leaves beside those of `slope`, if it stands out."""
    other = stripe_slope(rest, significance=SUSPECT)
    return [other] if other != 0 and abs(other - slope) > np.tan(np.radians(LEAST_ROCKING_DEG)) else []


def _one_direction(plane: Array, slope: float, method: Method, length_px: float, width_px: float) -> StripeField:
    found = stripe_field(plane, slope, length_px, width_px)
    if method not in FILTERS or found.index <= 1:
        return found
    share = min(1.0, (found.plain_index - 1) / (SURE_INDEX - 1))
    if share <= 0:
        return replace(found, field=namespace(plane).zeros_like(found.field), index=found.plain_index)
    return replace(found, field=share * named_stripes(plane, slope, method, length_px, width_px))


def _check(array: Array, method: str, angle_deg: Any, strength: float, length_px: float, width_px: float) -> None:
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif":
        raise InputError(f"array of shape {array.shape} and type {array.dtype} must be grey values (z, y, x) or (y, x)")
    if method not in METHODS:
        raise InputError(f"method '{method}' must be one of {', '.join(METHODS)}")
    angles = angle_deg if isinstance(angle_deg, tuple) else (angle_deg,)
    known = all(isinstance(a, int | float) and abs(a) <= MAX_ANGLE_DEG for a in angles) and 0 < len(angles) < 3
    if angle_deg != "auto" and not known:
        raise InputError(
            f"angle_deg = {angle_deg!r} must be 'auto', one angle or two of them, within ±{MAX_ANGLE_DEG:g}°"
        )
    if not (0 <= strength <= 1 and length_px > 0 and width_px > 0):
        raise InputError(
            f"strength = {strength} must lie within 0..1, length_px = {length_px} and width_px = {width_px} above 0"
        )
