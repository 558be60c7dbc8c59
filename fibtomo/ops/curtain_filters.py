"""The established curtain filters by name, for planes whose curtains lean."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.ops.curtain_general import general_stripes
from fibtomo.ops.curtain_parts import Float, clipped, frame_spans
from fibtomo.ops.curtain_vsnr import vsnr_stripes
from fibtomo.ops.curtain_wavelet import tuned_wavelet_stripes
from fibtomo.ops.curtain_wedge import wedge_stripes
from fibtomo.ops.stripe_frame import in_stripe_frame

Array = Any

LEAST_SIDE_PX = 8
"""Nothing is looked for in smaller planes."""
FILTERS: dict[str, Callable[..., Float]] = {
    "vsnr": vsnr_stripes,
    "general": general_stripes,
    "wedge": wedge_stripes,
    "wavelet_fft": tuned_wavelet_stripes,
}
"""Each takes upright (y, x) grey values, the (y, 2) columns of each row that count, `length_px` and `width_px`."""


def named_stripes(plane: Array, slope: float, name: str, length_px: float, width_px: float) -> Array:
    """Stripes that a filter of `FILTERS` finds in a plane.

    Parameters
    ----------
    plane
        (y, x) grey values, NumPy or CuPy. A CuPy plane stays on the device; what comes to the host are single
        numbers (noise, medians) and coefficients of few rows, from which the strengths of the filters are set.
    slope
        Columns per row by which the stripes lean to the right on their way down.
    name
        Key of `FILTERS`.
    length_px, width_px
        As of `fibtomo.ops.curtaining.remove_curtaining`.

    Returns
    -------
    Array
        (y, x) float32 stripes in grey units, 0 where the detector clips.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[:128, :128]
    >>> stripes = 5 * np.sin((x - 0.1 * y) / 2)
    >>> noisy = stripes + np.random.default_rng(0).normal(0, 3, stripes.shape)
    >>> [bool(np.std(named_stripes(noisy, 0.1, n, 20, 60) - stripes) < 1.5) for n in FILTERS]
    [True, True, True, True]
    """
    xp = namespace(plane)
    if min(plane.shape) < LEAST_SIDE_PX:
        return xp.zeros(plane.shape, np.float32)

    def filtered(upright: Array) -> Array:
        spans = frame_spans(upright.shape, plane.shape[1], slope)
        return FILTERS[name](upright, spans, length_px=length_px, width_px=width_px)

    return xp.where(clipped(plane.astype(np.float32)), np.float32(0), in_stripe_frame(plane, slope, filtered))
