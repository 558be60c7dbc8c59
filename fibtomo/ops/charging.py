"""Charging tails and line faults: found, told, and repaired only where told."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, like, to_dtype, to_host
from fibtomo.core.volume import Table
from fibtomo.errors import InputError
from fibtomo.ops.charging_tails import find_tails
from fibtomo.ops.grey_modes import Float
from fibtomo.ops.line_faults import bridged, dead_lines, row_jumps
from fibtomo.ops.saturated import saturated_regions

Array = Any
KINDS = ("dead rows", "dead columns", "row jump", "tail")
COLUMNS = ("slice", "kind", "row", "row_stop", "column", "column_stop", "amount", "length_px", "dark")
"""Of the table of faults; ``amount`` in grey levels, ``length_px`` with sign: negative for a tail to the left; ``dark``
is the grey of the dark phase, to which pixels go that a tail has cut off at black."""
BLOB_COLUMNS = ("slice", "row", "row_stop", "column", "column_stop", "pixels", "bright")
"""Of the table of saturated regions; ``bright`` is 1 at the highest grey of the type, 0 at the lowest."""
_MOST_RANGES = 8
_CUT_OFF = 0.02  # of the range of the greys above black


def repair_charging(array: Array) -> tuple[Array, Table]:
    """Repair charging tails, jumping rows and dead lines, and tell what was repaired.

    Parameters
    ----------
    array
        (z, y, x) slices, NumPy or CuPy.

    Returns
    -------
    repaired
        Same shape and dtype; slices without a fault are the same bit by bit.
    found
        ``faults`` (n, 9) with the columns `COLUMNS`; ``pixels`` (z,) repaired, ``saturated`` (z,) share of pixels at
        the largest integer grey, and ``blobs`` (m, 7), saturated regions, which cannot be repaired.

    Raises
    ------
    InputError
        The array is not (z, y, x).

    Examples
    --------
    >>> slices = np.random.default_rng(0).normal(100, 5, (3, 64, 128))
    >>> slices[1, 30] += 20
    >>> repaired, found = repair_charging(slices)
    >>> found["pixels"].tolist(), bool(abs(repaired[1, 30].mean() - 100) < 2)
    ([0, 128, 0], True)
    """
    array = as_array(array)
    if array.ndim != 3:
        raise InputError(f"array of shape {array.shape} must be (z, y, x)")
    found = combine_faults([find_faults(array)], array.shape[1:])
    return to_dtype(apply_repairs(array, found["faults"]), array.dtype), found


def find_faults(planes: Array, core: tuple[int, int] | None = None, z0: int = 0, tails: bool = True) -> Table:
    """Faults of the slices `core` = [start, stop) of a block whose first slice is `z0`; the rest are neighbours.

    Returns
    -------
    Table
        ``faults`` (n, 9), ``saturated`` (slices,) and ``blobs`` (m, 7), saturated regions with `BLOB_COLUMNS`.
    """
    host = to_host(planes)
    start, stop = core or (0, len(host))
    top = np.iinfo(host.dtype).max if host.dtype.kind in "iu" else None
    faults: list[tuple[float, ...]] = []
    for k in range(start, stop):
        plane = host[k]
        for axis in (0, 1):
            for a, b in dead_lines(plane, axis):
                place = (a, b, 0, plane.shape[1]) if axis == 0 else (0, plane.shape[0], a, b)
                faults.append((z0 + k, axis, *place, 0.0, 0.0, 0.0))
        dead = [f for f in faults if f[0] == z0 + k and f[1] == 0]
        for a, b, by in row_jumps(host, k):
            if not any(f[2] - 1 <= a < f[3] + 1 or f[2] - 1 < b <= f[3] + 1 for f in dead):
                faults.append((z0 + k, 2, a, b, 0, plane.shape[1], by, 0.0, 0.0))
        if tails:
            mine = [f for f in faults if f[0] == z0 + k]
            sound = apply_repairs(plane[None], np.array(mine), z0 + k)[0] if mine else plane
            faults += [(z0 + k, 3, *tail) for tail in find_tails(to_dtype(sound, plane.dtype))]
    blobs = [(z0 + k, *blob) for k in range(start, stop) for blob in saturated_regions(host[k])]
    saturated = [0.0 if top is None else float(np.mean(plane == top)) for plane in host[start:stop]]
    return {
        "faults": np.array(faults, dtype=np.float64).reshape(-1, len(COLUMNS)),
        "saturated": np.array(saturated),
        "blobs": np.array(blobs, dtype=np.float64).reshape(-1, len(BLOB_COLUMNS)),
    }


def combine_faults(partials: Sequence[Table], plane: tuple[int, ...]) -> Table:
    """``faults`` (n, 9), and per slice ``pixels`` faulty and ``saturated`` share.

    Parameters
    ----------
    partials
        Results of `find_faults` in z order.
    plane
        (rows, columns).
    """
    faults = np.concatenate([np.asarray(p["faults"]).reshape(-1, len(COLUMNS)) for p in partials])
    saturated = np.concatenate([p["saturated"] for p in partials])
    blobs = np.concatenate(
        [np.zeros((0, len(BLOB_COLUMNS))), *(p["blobs"] for p in partials if len(p.get("blobs", ())))]
    )
    pixels = np.zeros(len(saturated), dtype=np.int64)
    for k in np.unique(faults[:, 0]).astype(np.int64):
        pixels[k] = fault_mask(faults, (1, *plane), int(k)).sum()
    return {
        "faults": faults,
        "pixels": pixels,
        "saturated": saturated,
        "blobs": blobs,
        "plane_pixels": int(np.prod(plane)),
    }


def fault_mask(faults: Float, shape: tuple[int, ...], z0: int = 0) -> NDArray[np.bool_]:
    """Faulty pixels of the slices `z0` on, of `shape` (z, y, x).

    Examples
    --------
    >>> fault_mask(np.array([[1, 2, 3, 5, 0, 4, 9.0, 0, 0]]), (2, 8, 4)).sum(axis=(1, 2)).tolist()
    [0, 8]
    """
    mask = np.zeros(shape, dtype=bool)
    for k, _, a, b, c, d, *_ in faults:
        if z0 <= k < z0 + shape[0]:
            mask[int(k) - z0, int(a) : int(b), int(c) : int(d)] = True
    return mask


def fault_notes(found: Table, repaired: bool = True) -> list[str]:
    """One sentence on what was found, and one on saturation where there is much.

    Examples
    --------
    >>> jump = np.array([[1, 2, 3, 5, 0, 4, 9.0, 0, 0]])
    >>> found = combine_faults([{"faults": jump, "saturated": np.zeros(9)}], (8, 4))
    >>> fault_notes(found)
    ['1 row jump repaired on 1 of 9 slices: 2.8 % of all pixels']
    """
    faults, pixels = np.asarray(found["faults"]), np.asarray(found["pixels"])
    saturated = np.asarray(found["saturated"])
    notes = []
    if len(faults):
        count = np.bincount(faults[:, 1].astype(np.int64), minlength=len(KINDS))
        names = [("dead or saturated row run", count[0]), ("dead column run", count[1]), ("row jump", count[2])]
        parts = [f"{c} {name}{'s' if c > 1 else ''}" for name, c in names if c]
        parts += [f"charging tails in {count[3]} rows"] if count[3] else []
        share = 100 * pixels.sum() / (len(pixels) * found["plane_pixels"])
        done = "repaired" if repaired else "found and left as they are"
        where = f"on {np.count_nonzero(pixels)} of {len(pixels)} slices"
        notes.append(f"{', '.join(parts)} {done} {where}: {share:.2g} % of all pixels")
    if saturated.mean() > 1e-3:
        notes.append(f"{100 * saturated.mean():.2g} % of all pixels are saturated, which nothing can repair")
    blobs = np.asarray(found.get("blobs", np.zeros((0, len(BLOB_COLUMNS)))))
    if len(blobs):
        where = _ranges(np.unique(blobs[:, 0]).astype(int).tolist())
        notes.append(f"{len(blobs)} saturated region{'s' if len(blobs) > 1 else ''} left as they are, slices {where}")
    return notes


def _ranges(slices: list[int]) -> str:
    """Numbers in ascending order, runs of them joined; of many, the first.

    Examples
    --------
    >>> _ranges([1, 2, 3, 7])
    '1 to 3, 7'
    """
    starts = [k for k in slices if k - 1 not in slices]
    stops = [k for k in slices if k + 1 not in slices]
    parts = [str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, stops, strict=True)]
    return ", ".join(parts[:_MOST_RANGES]) + (" and more" if len(parts) > _MOST_RANGES else "")


def apply_repairs(planes: Array, faults: Float, z0: int = 0) -> Array:
    """Slices with their faults repaired, as float32; the same type where there is nothing to repair."""
    mine = faults[(faults[:, 0] >= z0) & (faults[:, 0] < z0 + len(planes))]
    if not len(mine):
        return planes
    out = to_host(planes).astype(np.float32)
    integer = np.iinfo(out_of) if (out_of := np.dtype(planes.dtype)).kind in "iu" else None
    cut = -np.inf if integer is None else integer.min + _CUT_OFF * (float(out.max()) - integer.min)
    for k, kind, a, b, c, d, amount, length, dark in mine:
        plane, rows = out[int(k) - z0], slice(int(a), int(b))
        if kind == 0:
            plane[:] = bridged(plane, [(int(a), int(b))], 0)
        elif kind == 1:
            plane[:] = bridged(plane, [(int(c), int(d))], 1)
        elif kind == 2:
            plane[rows] -= np.float32(amount)
        else:
            x = np.arange(int(c), int(d))
            away = x - int(c) if length > 0 else int(d) - 1 - x
            grey = plane[rows, int(c) : int(d)]
            mended = grey + (amount * np.exp(-away / abs(length))).astype(np.float32)
            plane[rows, int(c) : int(d)] = np.where(grey <= cut, np.clip(mended, grey, max(dark, cut)), mended)
    return like(planes, out)
