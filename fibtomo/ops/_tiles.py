"""Filters of bounded reach over tiles of the plane, so that their temporaries do not grow with it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fibtomo.backend.array import namespace

Array = Any
SIDE_PX = 256


def over_tiles(function: Callable[[Array, Any], Array], planes: Array, mask: Any, reach_px: int) -> Array:
    """Call ``function(part, mask of it)`` for overlapping tiles of (z, y, x) and put their middles together.

    What the mask leaves out comes back as it is, float32.

    Parameters
    ----------
    function
        Returns an array like its first argument; what lies `reach_px` away must not matter.
    planes, mask
        Arrays of one shape in one place; the mask may be ``None``.
    reach_px
        Overlap on each side.
    """
    xp = namespace(planes)
    out = xp.empty(planes.shape, np.float32)
    _, ny, nx = planes.shape
    for y in range(0, ny, SIDE_PX):
        for x in range(0, nx, SIDE_PX):
            top, left = max(0, y - reach_px), max(0, x - reach_px)
            window = (slice(None), slice(top, y + SIDE_PX + reach_px), slice(left, x + SIDE_PX + reach_px))
            part = function(planes[window], None if mask is None else mask[window])
            target = out[:, y : y + SIDE_PX, x : x + SIDE_PX]
            target[:] = part[:, y - top : y - top + target.shape[1], x - left : x - left + target.shape[2]]
    if mask is not None:
        xp.copyto(out, planes, where=~mask, casting="unsafe")
    return out


def largest_share(shape: tuple[int, ...], reach_px: int) -> float:
    """Part of a plane that one tile with its overlap takes at most."""
    side = SIDE_PX + 2 * reach_px
    return min(side, shape[-2]) * min(side, shape[-1]) / (shape[-2] * shape[-1])
