"""Whether something lies on plain ground beside the face, as a mark does, or stands in the structure of a specimen."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_SIDES, _MOSTLY = 2, 0.85
_OF_CONTRAST = 0.3  # by which plain ground may vary
_SMOOTH_PX = 3
_STRIP_PX, _LEAST_HALF_PX = 32, 9.0  # wider than the gaps between columns


def lies_aside(thumbs: Any, path: Float, box: tuple[int, int, int, int]) -> bool:
    """Whether the ground beside a box is plain on two sides, and all the way to one edge of the frame.

    Columns and lamellae are as static as a mark, but a mark lies on the surface of the specimen or beside its face.

    Parameters
    ----------
    thumbs
        (p, rows, columns) of the probed slices.
    path
        (p, 2) motion of the box, binned pixels, first at 0.
    box
        (y0, y1, x0, x1) on the first thumbnail.
    """
    from scipy.ndimage import shift, uniform_filter

    together = np.stack(
        [shift(np.asarray(t, dtype=np.float32), -d, order=1, cval=np.nan) for t, d in zip(thumbs, path, strict=True)]
    )
    together = np.where(np.isfinite(together).mean(axis=0) > _MOSTLY, together, 0.0)
    mean, change = np.nanmean(together, axis=0), uniform_filter(np.nanvar(together, axis=0), _SMOOTH_PX)
    seen = together.any(axis=0)
    inside = slice(*box[:2]), slice(*box[2:])
    limit = _OF_CONTRAST * float(mean[inside].std())
    calm = change < float(np.median(change[inside])) + limit**2
    ground = np.median(mean[inside][calm[inside]])
    marked = np.where(calm & (np.abs(mean - ground) > limit), np.abs(mean - ground), 0.0)
    shown = np.asarray(marked)[inside]
    if not shown.any():
        return False
    beside, open_ways = 0, 0
    spread = [_spread(shown.sum(axis=1 - axis), box[2 * axis]) for axis in (0, 1)]
    for axis, (low, high) in enumerate(spread):
        across = slice(*spread[1 - axis])
        views = [v[:, across] if axis == 0 else v[across].T for v in (seen, calm, mean)]
        reach = 2 * (box[2 * axis + 1] - box[2 * axis])
        for known, still, grey in (
            [v[low - 1 :: -1] if low else v[:0] for v in views],
            [v[high:] for v in views],
        ):
            lines = int(known.all(axis=1).argmin()) if not known.all() else len(known)
            if lines < _STRIP_PX // 2:
                open_ways += 1
                continue
            for first in range(0, min(reach, lines - _STRIP_PX // 2), 2):
                strip = slice(first, min(first + _STRIP_PX, lines))
                if _plain(still[strip], grey[strip], limit):
                    beside += 1
                    open_ways += _plain(still[first:lines], grey[first:lines], limit)
                    break
    return beside >= _SIDES and open_ways > 0


def _spread(profile: Float, start: int) -> tuple[int, int]:
    """First line of a mark and the line after its last, from how much of it the lines from `start` on show."""
    at = np.arange(len(profile)) + start
    middle = float(np.average(at, weights=profile))
    half = max(_LEAST_HALF_PX, float(np.sqrt(np.average((at - middle) ** 2, weights=profile))))
    return max(0, round(middle - half)), round(middle + half) + 1


def _plain(calm: NDArray[np.bool_], grey: Any, limit: float) -> bool:
    """Whether nearly all of a strip stays the same from slice to slice and is of one grey."""
    return bool((calm & (np.abs(grey - np.median(grey)) < limit)).mean() > _MOSTLY)
