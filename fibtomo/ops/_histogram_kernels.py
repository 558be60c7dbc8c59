"""Compiled loop of histograms (numba); imported only when something is counted."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def count_bins(volume, start, width, n, spans, patches):
    """Count the pixels of rectangles in bins floor((value − start) / width); see `fibtomo.ops.histogram.count_bins`.

    Parameters
    ----------
    volume
        (z, y, x) of any real type.
    start, width
        (1,) or (z,), in the arithmetic to use.
    n
        Number of bins.
    spans
        (z, y, 2) columns [x0, x1) of each row, or without elements.
    patches
        (p, 4) rows [y0, y1) and columns [x0, x1).

    Returns
    -------
    counts
        (1 or z, p, n + 2) int64, the first below and the last above all bins.
    """
    counts = np.zeros((len(start), len(patches), n + 2), dtype=np.int64)
    for z in range(len(volume)):
        row = min(z, len(start) - 1)
        low, step = start[row], width[row]
        for p in range(len(patches)):
            mine = counts[row, p]
            for y in range(patches[p, 0], patches[p, 1]):
                x0, x1 = patches[p, 2], patches[p, 3]
                if spans.size:
                    x0, x1 = max(x0, spans[z, y, 0]), min(x1, spans[z, y, 1])
                for x in range(x0, x1):
                    above = volume[z, y, x] - low
                    if above != above:
                        continue
                    at = np.floor(above if step == 1 else above / step)
                    if at < 0:
                        mine[0] += 1
                    elif at >= n:
                        mine[n + 1] += 1
                    else:
                        mine[np.int64(at) + 1] += 1
    return counts
