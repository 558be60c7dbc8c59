"""Regions of a slice whose grey was cut off at an end of the range of its type."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.padding import inside_padding

LEAST_PIXELS = 20
_FILLED = 0.6  # share of saturated pixels around one that belongs to a region
_LARGEST = 0.05  # share of the slice: beyond, it is a layer, vacuum or a phase


def saturated_regions(plane: NDArray[Any]) -> list[tuple[float, ...]]:
    """First and stop row, first and stop column, pixels, and 1 for bright or 0 for dark, of each region.

    Parameters
    ----------
    plane
        (y, x) slice; other types than whole numbers know no saturation.

    Examples
    --------
    >>> plane = np.random.default_rng(0).integers(50, 150, (64, 96)).astype(np.uint8)
    >>> plane[10:18, 30:40] = 255
    >>> [tuple(int(v) for v in region) for region in saturated_regions(plane)]
    [(10, 18, 30, 40, 80, 1)]
    """
    from scipy.ndimage import binary_propagation, find_objects, label, uniform_filter

    if plane.dtype.kind not in "iu":
        return []
    limits = np.iinfo(plane.dtype)
    rows, columns = inside_padding(plane)
    inside = plane[rows, columns]
    found: list[tuple[float, ...]] = []
    for bright, at in ((1, inside == limits.max), (0, inside == limits.min)):
        if at.sum() < LEAST_PIXELS:
            continue
        seed = at & (uniform_filter(at.astype(np.float32), 5) > _FILLED)
        labels, _ = label(binary_propagation(seed, mask=at))
        for name, box in enumerate(find_objects(labels), 1):
            size = int(np.count_nonzero(labels[box] == name))
            if LEAST_PIXELS <= size <= _LARGEST * plane.size:
                y, x = (s.start + part.start for s, part in zip((rows, columns), box, strict=True))
                height, width = (part.stop - part.start for part in box)
                found.append((y, y + height, x, x + width, size, bright))
    return found
