"""Find the strip of text (scale bar, kV, date) that microscopes burn into the bottom of an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST_SHARE = 0.25
_FEWEST_ROWS = 12
_TWO_TONE = 0.72
_LAST_ROWS_FREE = 3


def info_bar_rows(slices: Sequence[NDArray[Any]]) -> int:
    """Rows of the info bar at the bottom of all `slices`, 0 where there is none.

    A bar is a band over the whole width in two tones (ground and ink, both extreme greys), set off from the image
    above by one plain row, at the same place and with largely the same ink in every slice.

    Parameters
    ----------
    slices
        Images (rows, columns) of one stack, well apart.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).integers(40, 200, (200, 300)).astype(np.uint8)
    >>> info_bar_rows([image])
    0
    >>> image[170:] = 0
    >>> image[180:190, 20:200:3] = 255
    >>> info_bar_rows([image])
    30
    """
    bars = [_bar(image) for image in slices]
    if not bars or bars[0] is None:
        return 0
    first = bars[0]
    for bar in bars[1:]:
        if bar is None or bar.shape != first.shape or (bar & first).sum() < 0.5 * (bar | first).sum():
            return 0
    return int(first.shape[0])


def _bar(image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Ink mask of the bar of one image, or None."""
    if image.ndim != 2 or image.dtype.kind not in "iu" or image.shape[0] < 4 * _FEWEST_ROWS:
        return None
    n_rows = image.shape[0]
    bottom = image[-int(n_rows * _LARGEST_SHARE) - 1 :].astype(np.float32)
    low, high = float(image.min()), float(image.max())
    tolerance = 0.025 * (high - low)
    dark, bright = bottom <= low + tolerance, bottom >= high - tolerance
    in_bar = (dark | bright).mean(axis=1) >= _TWO_TONE
    in_bar[-_LAST_ROWS_FREE:] = True
    others = np.flatnonzero(~in_bar)
    if not len(others):
        return None
    start = int(others[-1]) + 1
    height = len(bottom) - start
    if height < max(_FEWEST_ROWS, 0.015 * n_rows):
        return None
    paper, ink = (dark, bright) if dark[start:].sum() >= bright[start:].sum() else (bright, dark)
    plain_row = max(dark[start : start + 4].mean(axis=1).max(), bright[start : start + 4].mean(axis=1).max())
    written = ink[start:].mean()
    if plain_row < 0.97 or paper[start:].mean() < 0.55 or not 0.005 <= written <= 0.45:
        return None
    return ink[start:]
