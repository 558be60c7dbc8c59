"""Motion of parts of a slice against the one before it: what the whole frame shares is motion, the rest is structure.

Changing structure feigns another motion in every part of the frame, while the sample moves as one. The spread of the
parts therefore measures how far the structure leads the motion of the whole frame astray.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.ops.slice_pixels import thumbnail

Float = NDArray[np.float64]

PARTS = 2
"""Parts along either axis."""
_LEAST_ROWS = 24  # binned rows or columns of a part


def local_steps(first: Any, second: Any, shift_px: tuple[float, float]) -> Float:
    """Motion of each part of the frame from one slice to the next.

    Both slices are binned and brought together to the nearest pixel; the rest follows from the brightness gradient.
    Column means are left out, so that curtains do not count.

    Parameters
    ----------
    first, second
        (y, x) grey values of any real type.
    shift_px
        (dy, dx) by which the frame as a whole has moved.

    Returns
    -------
    array
        (`PARTS` ** 2, 2) motion (dy, dx) in pixels; NaN where the overlap is too small or shows nothing.

    References
    ----------
    Lucas and Kanade, Proc. IJCAI 674 (1981).

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(0).normal(size=(200, 200)), 4)
    >>> local_steps(scene[10:170, 10:170], scene[8:168, 13:173], (2.0, -3.0)).round(1).tolist()
    [[2.0, -3.0], [2.0, -3.0], [2.0, -3.0], [2.0, -3.0]]
    """
    (a, binning), (b, _) = thumbnail(first), thumbnail(second)
    return thumbnail_steps(a, b, binning, shift_px)


def thumbnail_steps(first: Any, second: Any, binning: int, shift_px: tuple[float, float]) -> Float:
    """`local_steps` of slices that `thumbnail` has binned."""
    unknown = np.full((PARTS**2, 2), np.nan)
    whole = np.rint(np.asarray(shift_px) / binning).astype(int)
    a, b = _overlap(_normalised(first), _normalised(second), whole)
    height, width = a.shape[0] // PARTS, a.shape[1] // PARTS
    if min(height, width) < _LEAST_ROWS:
        return unknown
    a, b = (_parts(image[: PARTS * height, : PARTS * width], height, width) for image in (a, b))
    change = (b - a)[:, 1:-1, :, 1:-1]
    middle = a + b
    along_y = ((middle[:, 2:] - middle[:, :-2]) / 4)[:, :, :, 1:-1]
    along_x = ((middle[..., 2:] - middle[..., :-2]) / 4)[:, 1:-1]
    yy, xx, yx, ty, tx = (
        to_host((p * q).sum(axis=(1, 3))).astype(np.float64).ravel()
        for p, q in (
            (along_y, along_y),
            (along_x, along_x),
            (along_y, along_x),
            (along_y, change),
            (along_x, change),
        )
    )
    determinant = yy * xx - yx**2
    sound = determinant > 1e-3 * yy * xx
    scale = np.where(sound, -1 / np.where(sound, determinant, 1.0), np.nan)
    rest = np.stack([(xx * ty - yx * tx) * scale, (yy * tx - yx * ty) * scale], axis=1)
    return np.asarray((rest + whole) * binning)


def _normalised(grey: Any) -> Any:
    return (grey - grey.mean()) / namespace(grey).maximum(grey.std(), 1e-6)


def _overlap(a: Any, b: Any, whole: NDArray[np.int64]) -> tuple[Any, Any]:
    """What both show, once `b` is moved back by whole pixels."""
    for axis, step in enumerate(whole):
        n = max(0, a.shape[axis] - abs(int(step)))
        low_a, low_b = max(0, -int(step)), max(0, int(step))
        window_a, window_b = [slice(None)] * 2, [slice(None)] * 2
        window_a[axis], window_b[axis] = slice(low_a, low_a + n), slice(low_b, low_b + n)
        a, b = a[tuple(window_a)], b[tuple(window_b)]
    return a, b


def _parts(image: Any, height: int, width: int) -> Any:
    """(PARTS, height, PARTS, width) view, every column of a part freed of its mean."""
    parts = image.reshape(PARTS, height, PARTS, width)
    return parts - parts.mean(axis=1, keepdims=True)
