"""Where neighbouring rows differ by something that decays along the scan: places at which charging tails may start."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.grey_modes import Float
from fibtomo.ops.tail_fit import Scene, row_bends

SEARCHED_PX = (10.0, 20.0, 40.0, 80.0, 160.0)
"""Decay lengths that are sought."""
_CLIP = 2.0  # standard deviations beyond which a difference counts no more
_WINDOW = 7  # rows of which most must stand out
_CLIPPED = 0.15  # share of the pixels around


def clipped_pixels(plane: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels at the lowest or highest grey of the type, and those among many of them."""
    from scipy.ndimage import uniform_filter

    if plane.dtype.kind not in "iu":
        return np.zeros(plane.shape, dtype=bool)
    limits = np.iinfo(plane.dtype)
    cut = (plane <= limits.min) | (plane >= limits.max)
    return np.asarray(cut | (uniform_filter(cut.astype(np.float32), (3, 5)) > _CLIPPED))


class Search:
    """How much the rows about each pixel stand out if a tail starts there, for a number of lengths."""

    def __init__(self, scene: Scene) -> None:
        self.scale = np.zeros(len(SEARCHED_PX))
        self.score = np.zeros((len(SEARCHED_PX), *scene.grey.shape), dtype=np.float32)
        self.alike = np.zeros_like(self.score)
        self.noise = scene.noise
        self.see(scene.grey, 0, len(scene.grey))

    def see(self, grey: Float, first: int, stop: int) -> None:
        """Look (again) at the rows from `first` to `stop`."""
        from scipy.ndimage import median_filter
        from scipy.signal import lfilter

        reach = _WINDOW // 2
        a, b = max(0, first - 1 - reach), min(len(grey), stop + 1 + reach)
        lo, hi = max(0, a - reach - 1), min(len(grey), b + reach + 1)
        bends = np.clip(row_bends(grey[lo:hi]), -_CLIP * self.noise, _CLIP * self.noise)[:, ::-1]
        for j, length in enumerate(SEARCHED_PX):
            total = lfilter([1.0], [1.0, -np.exp(-1 / length)], bends, axis=1)[:, ::-1]
            if self.scale[j] == 0:
                self.scale[j] = max(1.4826 * float(np.median(np.abs(total))), 1e-9)
            score = np.asarray((total / self.scale[j]) ** 2, dtype=np.float32)
            self.score[j, a:b] = score[a - lo : b - lo]
            self.alike[j, a:b] = median_filter(score, (_WINDOW, 1), mode="nearest")[a - lo : b - lo]
