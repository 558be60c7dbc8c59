"""Greys of the outer phases brought to given places in the range of greys, with one straight line for the stack."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fibtomo.backend.array import namespace, to_host
from fibtomo.core.volume import Table
from fibtomo.errors import InputError
from fibtomo.ops.grey_modes import Float, Histograms, common_peaks
from fibtomo.ops.histogram import count_bins

Array = Any
BINS = 4096


def measure_greys(planes: Array, value_range: tuple[float, float]) -> Table:
    """Histogram ``counts`` (bins,) over the range of greys that can occur."""
    low, width = _bins(planes.dtype, value_range)
    grey = planes.astype(np.float32, copy=False) if planes.dtype.kind == "f" else planes
    counts = to_host(count_bins(grey, [low], [width], BINS))[0, 0]
    counts[[1, -2]] += counts[[0, -1]]  # what lies beyond
    return {"counts": counts[1:-1], "low": low, "width": width}


def _bins(dtype: Any, value_range: tuple[float, float]) -> tuple[float, float]:
    low, high = value_range
    if np.dtype(dtype).kind in "iu":
        return float(np.floor(low)) - 0.5, float(np.ceil((high - low + 1) / BINS))
    return low, max(high - low, 1e-30) / BINS


def combine_greys(
    partials: Sequence[Table],
    value_range: tuple[float, float],
    dark: float = 0.1,
    bright: float = 0.9,
    phases: bool = True,
) -> Table:
    """``gain`` and ``offset`` that bring the outer phases to `dark` and `bright` of the range of greys.

    Parameters
    ----------
    partials
        Results of `measure_greys`.
    value_range
        Range of greys of the stack.
    dark, bright
        Places in that range, 0 to 1.
    phases
        Whether the outer two of the phases are taken, where two stand apart; else the 2 and 98 % quantiles.

    Returns
    -------
    Table
        ``gain``, ``offset``, ``anchors`` (2,): greys that were brought there, ``by``: "phases" or "quantiles".

    Raises
    ------
    InputError
        `dark` is not below `bright`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> grey = np.where(rng.random((2, 64, 64)) < 0.4, 90, 140) + rng.normal(0, 4, (2, 64, 64))
    >>> slices = np.rint(grey).astype(np.uint8)
    >>> found = combine_greys([measure_greys(slices, (0, 255))], (0, 255), 0.2, 0.8)
    >>> found["by"], [round(float(grey), -1) for grey in found["anchors"]]
    ('phases', [90.0, 140.0])
    """
    if not 0 <= dark < bright <= 1:
        raise InputError(f"dark = {dark} must lie below bright = {bright}, both between 0 and 1")
    counts = np.sum([p["counts"] for p in partials], axis=0).astype(np.float64)
    low, width = float(partials[0]["low"]), float(partials[0]["width"])
    inside = counts.copy()
    inside[[0, -1]] = 0  # padding and saturation
    if np.count_nonzero(inside) < 2:
        return {"gain": 1.0, "offset": 0.0, "anchors": np.array([np.nan, np.nan]), "by": "nothing"}
    anchors, by = _quantiles(inside, low, width), "quantiles"
    if phases:
        filled = Histograms(inside[None], np.array([low]), np.array([width])).occupied()
        peaks = common_peaks(filled, 3)
        if peaks.separated:
            anchors, by = peaks.mean[[0, -1]], "phases"
    start, stop = value_range
    wanted = start + (stop - start) * np.array([dark, bright])
    gain = float((wanted[1] - wanted[0]) / max(float(anchors[1] - anchors[0]), 1e-30))
    return {"gain": gain, "offset": float(wanted[0] - gain * anchors[0]), "anchors": np.asarray(anchors), "by": by}


def _quantiles(counts: Float, low: float, width: float) -> Float:
    share = np.cumsum(counts) / counts.sum()
    return np.asarray(low + width * (0.5 + np.interp([0.02, 0.98], share, np.arange(len(counts)))))


def apply_greys(planes: Array, gain: float, offset: float) -> Array:
    """Return ``gain * slices + offset`` as float32."""
    xp = namespace(planes)
    return planes.astype(xp.float32) * np.float32(gain) + np.float32(offset)
