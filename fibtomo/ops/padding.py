"""Padding: constant lines around what a slice shows, as an earlier alignment leaves them."""

from typing import Any

import numpy as np

from fibtomo.backend.array import is_cupy, like, namespace

MOST_EQUAL = 0.6  # of neighbouring pixels, where there is noise
MOST_PADDING_GREY = 0.02  # of the slice may have the grey of its padding; else it may be specimen


def padding_of(plane: Any) -> tuple[int, int, int, int]:
    """Count constant or void lines at top, bottom, left and right whose grey hardly occurs elsewhere on the slice.

    On a slice without noise constant lines say nothing.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.random.default_rng(0).normal(size=(32, 48))
    >>> plane[:5] = 0
    >>> padding_of(plane)
    (5, 0, 0, 0)
    """
    rows, cols = plane.shape
    y0, y1, x0, x1 = _varying(plane)
    if y0 == y1:
        return rows, 0, cols, 0
    lines = [plane[y0 - 1] if y0 else None, plane[y1] if y1 < rows else None]
    lines += [plane[y0:y1, x0 - 1] if x0 else None, plane[y0:y1, x1] if x1 < cols else None]
    inside = plane[y0:y1, x0:x1]
    if inside.size < plane.size and float((inside[:, 1:] == inside[:, :-1]).mean()) > MOST_EQUAL:
        return 0, 0, 0, 0
    for value in {float(line[0]) for line in lines if line is not None}:
        if float((inside == value).mean()) > MOST_PADDING_GREY:
            return 0, 0, 0, 0
    return y0, rows - y1, x0, cols - x1


def inside_padding(plane: Any) -> tuple[slice, slice]:
    """Rows and columns of a slice inside its padding; empty on a constant slice.

    Examples
    --------
    >>> import numpy as np
    >>> inside_padding(np.zeros((4, 6)))
    (slice(4, 4, None), slice(6, 6, None))
    """
    top, bottom, left, right = padding_of(plane)
    return slice(top, plane.shape[0] - bottom), slice(left, plane.shape[1] - right)


def _varying(plane: Any) -> list[int]:
    """Rows [y0, y1) and columns [x0, x1) outside which every line is constant or void, each judged inside the rest."""
    y0, y1, x0, x1 = 0, plane.shape[0], 0, plane.shape[1]
    while y0 < y1 and x0 < x1:
        if _constant(plane[y0, x0:x1]):
            y0 += 1
        elif _constant(plane[y1 - 1, x0:x1]):
            y1 -= 1
        elif _constant(plane[y0:y1, x0]):
            x0 += 1
        elif _constant(plane[y0:y1, x1 - 1]):
            x1 -= 1
        else:
            return [y0, y1, x0, x1]
    return [0, 0, 0, 0]


def _constant(line: Any) -> bool:
    known = line[namespace(line).isfinite(line)]
    return known.size == 0 or bool((known == known[0]).all())


def seen_voxels(planes: Any, boxes: Any = None) -> Any:
    """Mark the voxels that show the specimen: finite, and inside the boxes or, without any, inside the padding.

    Parameters
    ----------
    planes
        (z, y, x) slices, NumPy or CuPy.
    boxes
        (z, 4) rows and columns y0, y1, x0, x1 that each slice shows, or (z, rows, 2) columns row by row.

    Returns
    -------
    array
        (z, y, x) bool, or ``None`` if every voxel does.

    Examples
    --------
    >>> import numpy as np
    >>> planes = np.random.default_rng(0).normal(size=(2, 16, 16))
    >>> seen_voxels(planes) is None
    True
    >>> planes[0, :, :3], planes[1, 4, 4] = 0, np.nan
    >>> (~seen_voxels(planes)).sum(axis=(1, 2)).tolist()
    [48, 1]
    """
    xp, columns = namespace(planes), namespace(planes).arange(planes.shape[2])
    seen = xp.isfinite(planes) if planes.dtype.kind == "f" else xp.ones(planes.shape, dtype=bool)
    shown = like(planes, np.asarray(_boxes_of(planes) if boxes is None else boxes))
    if shown.ndim == 3:
        seen &= (columns >= shown[:, :, :1]) & (columns < shown[:, :, 1:])
    else:
        y0, y1, x0, x1 = shown.T[:, :, None, None]
        rows = xp.arange(planes.shape[1])[:, None]
        seen &= (rows >= y0) & (rows < y1)
        seen &= (columns >= x0) & (columns < x1)
    return None if bool(seen.all()) else seen


def _boxes_of(planes: Any) -> Any:
    """Rows and columns y0, y1, x0, x1 of each slice inside its padding, (z, 4) on the host."""
    if is_cupy(planes):
        from fibtomo.ops._padding_device import boxes_inside_padding

        return boxes_inside_padding(planes)
    sides = [inside_padding(plane) for plane in planes]
    return np.array([(rows.start, rows.stop, cols.start, cols.stop) for rows, cols in sides]).reshape(-1, 4)
