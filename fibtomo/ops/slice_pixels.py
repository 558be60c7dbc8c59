"""Plain counts over the pixels of a slice, compiled for NumPy arrays: binning, constant lines, repeated pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host

_THUMBNAIL_PX = 128
_SAME_NOISE = 0.95  # correlation


def thumbnail(image: Any) -> tuple[Any, int]:
    """Bin a slice until its shorter side is just no less than 128 pixels; return it as float32, and the binning.

    Examples
    --------
    >>> small, binning = thumbnail(np.ones((600, 300), np.uint8))
    >>> small.shape, binning
    ((300, 150), 2)
    """
    binning = 1
    while min(image.shape) // (2 * binning) >= _THUMBNAIL_PX:
        binning *= 2
    return binned(image, binning), binning


def binned(image: Any, binning: int) -> Any:
    """Mean of `binning` x `binning` pixels as float32.

    Examples
    --------
    >>> binned(np.arange(16).reshape(4, 4), 2).tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    if binning == 1:
        return image.astype(np.float32)
    if _compilable(image):
        from fibtomo.ops._slice_kernels import binned_mean

        return binned_mean(image, binning)
    rows, cols = image.shape[0] // binning, image.shape[1] // binning
    cells = image[: rows * binning, : cols * binning].reshape(rows, binning, cols, binning)
    return cells.mean(axis=(1, 3), dtype=np.float32)


def varying_lines(image: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows and which columns hold more than one value.

    Examples
    --------
    >>> [lines.tolist() for lines in varying_lines(np.array([[1, 1, 1], [1, 2, 1]]))]
    [[False, True], [False, True, False]]
    """
    if _compilable(image):
        from fibtomo.ops import _slice_kernels

        rows, cols = _slice_kernels.varying_lines(image)
        return rows, cols
    rows, cols = (to_host(image.min(axis=axis) < image.max(axis=axis)) for axis in (1, 0))
    return rows, cols


def windowed(image: Any, window_y: NDArray[np.float64], window_x: NDArray[np.float64]) -> tuple[Any, Any]:
    """Slice times `window_x` as float32, and the sum of its rows weighted by `window_y`.

    Examples
    --------
    >>> rows, profile = windowed(np.array([[1, 2], [3, 4]]), np.array([1.0, 0.0]), np.array([1.0, 10.0]))
    >>> rows.tolist(), profile.tolist()
    ([[1.0, 20.0], [3.0, 40.0]], [1.0, 2.0])
    """
    xp = namespace(image)
    wy, wx = (xp.asarray(window, dtype=np.float32) for window in (window_y, window_x))
    if _compilable(image):
        from fibtomo.ops import _slice_kernels

        rows, profile = _slice_kernels.windowed(image, wy, wx)
        return rows, profile
    grey = image.astype(np.float32)
    return grey * wx, xp.einsum("y,yx->x", wy, grey)


def repeated_share(image: Any, previous: Any) -> float:
    """Share of the pixels that differ from their left neighbour which equal the same pixel of another slice.

    Examples
    --------
    >>> image = np.arange(12).reshape(3, 4)
    >>> repeated_share(image, image), repeated_share(image, image + 1)
    (1.0, 0.0)
    """
    if _compilable(image) and _compilable(previous):
        from fibtomo.ops._slice_kernels import repeated_pixels

        varies, same = repeated_pixels(image, previous)
    else:
        xp = namespace(image)
        differs = image[:, 1:] != image[:, :-1]
        varies = int(xp.count_nonzero(differs))
        same = int(xp.count_nonzero(differs & (image[:, 1:] == previous[:, 1:])))
    return same / max(varies, 1)


def repeated_rows(image: Any, previous: Any, step: int = 1) -> float:
    """Share of the rows that show the very noise of the same row of another slice, whatever gain and offset it has.

    Every `step`-th row is looked at; rows of one value do not count.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image, other = rng.normal(size=(2, 4, 500))
    >>> image[3] = 1.1 * other[3] + 5
    >>> repeated_rows(image, other)
    0.25
    """
    if _compilable(image) and _compilable(previous):
        from fibtomo.ops._slice_kernels import rows_of_same_noise

        varying, same = rows_of_same_noise(image, previous, step, _SAME_NOISE)
        return same / max(varying, 1)
    a, b = (_bend(slice_[::step]) for slice_ in (image, previous))
    size = to_host((a * a).sum(axis=1) * (b * b).sum(axis=1)) ** 0.5
    varies = size > 0
    alike = varies & (to_host((a * b).sum(axis=1)) > _SAME_NOISE * size)
    return float(alike.sum()) / max(int(varies.sum()), 1)


def _bend(rows: Any) -> Any:
    """Second difference along x, in which noise outweighs structure."""
    grey = rows.astype(np.float32)
    return grey[:, 2:] - 2 * grey[:, 1:-1] + grey[:, :-2]


def _compilable(image: Any) -> bool:
    """Whether numba takes arrays of this kind."""
    return namespace(image) is np and image.dtype.isnative and image.dtype.kind in "uif" and image.dtype != np.float16
