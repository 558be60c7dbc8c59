"""Brightness along the stack (flicker) and across the plane (shading), without mistaking porosity for brightness."""

from typing import Any, Literal

from fibtomo.backend.array import as_array, namespace, to_dtype
from fibtomo.errors import InputError
from fibtomo.ops.charging import fault_notes, repair_charging
from fibtomo.ops.flicker import apply_flicker, combine_flicker, measure_flicker
from fibtomo.ops.shading import apply_shading, combine_shading, measure_shading

Array = Any


def correct_intensity(
    array: Array,
    *,
    flicker: bool = True,
    shading: Literal["polynomial", "n4"] | None = "polynomial",
    window_slices: int = 101,
    order: int = 2,
    value_range: tuple[float, float] | None = None,
    charging: bool = False,
    return_report: bool = False,
) -> Array:
    """Even out brightness and contrast along z, and shading across the plane; repair charging tails if asked.

    Parameters
    ----------
    array
        (z, y, x) slices, NumPy or CuPy.
    flicker
        Bring the grey of the phases of each slice to their running median along z.
    shading
        "polynomial" fits the gain (or, where both phases move alike, the offset) of the phases over the plane, with
        shadows at the side walls; "n4" is the bias field of N4 (Tustison et al. 2010,
        doi:10.1109/TMI.2010.2046908) on the mean of the stack; ``None`` leaves shading in.
    window_slices
        Window of the running median; slower changes are left in.
    order
        Order of the polynomial in y and x, 1 to 4.
    value_range
        Smallest and largest grey that can occur; by default that of the array.
    charging
        Repair charging tails, rows that jump in brightness and dead lines first, see
        `fibtomo.ops.charging.repair_charging`. Off unless asked for: a repair writes grey that was not seen.
    return_report
        Return what was done as well.

    Returns
    -------
    corrected
        Same shape and dtype.
    report
        If asked for: ``flicker`` (``gain`` and ``offset`` of each slice), ``shading`` (the maps), ``charging``
        (``faults``, ``pixels`` repaired per slice, ``blobs``) of what was switched on, and sentences in ``notes``.

    Raises
    ------
    InputError
        The array is not (z, y, x), or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> phases = np.where(rng.random((9, 64, 64)) < np.linspace(0.3, 0.6, 9)[:, None, None], 80, 160)
    >>> slices = phases + rng.normal(0, 4, phases.shape)
    >>> slices[4] *= 1.1
    >>> even = correct_intensity(slices, shading=None)
    >>> [int(np.rint(v[4][phases[4] == 160].mean())) for v in (slices, even)]
    [176, 160]
    """
    array = as_array(array)
    if array.ndim != 3:
        raise InputError(f"array of shape {array.shape} must be (z, y, x)")
    if not bool(namespace(array).isfinite(array).all()):
        raise InputError("the array holds NaN or infinite greys; fill them first, as with numpy.nan_to_num")
    if shading not in {"polynomial", "n4", None}:
        raise InputError(f"shading = {shading!r} must be 'polynomial', 'n4' or None")
    if window_slices < 3 or not 1 <= order <= 4:
        raise InputError(f"window_slices = {window_slices} must be at least 3 and order = {order} within 1..4")
    xp = namespace(array)
    out, notes = array, []
    report: dict[str, Any] = {}
    if charging:
        out, report["charging"] = repair_charging(out)
        notes += fault_notes(report["charging"])
    if flicker:
        report["flicker"] = table = combine_flicker([measure_flicker(out)], window_slices)
        out = apply_flicker(out, table["gain"], table["offset"])
    if shading is not None:
        span = value_range or (float(xp.min(out)), float(xp.max(out)))
        report["shading"] = combine_shading([measure_shading(out, span)], shading, order)
        out = apply_shading(out, **report["shading"])
    out = to_dtype(out, array.dtype)
    return (out, {**report, "notes": notes}) if return_report else out
