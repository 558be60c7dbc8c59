"""Where in each row a charging tail starts: the edge of the inclusion."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.grey_modes import Float
from fibtomo.ops.tail_fit import Scene

_REACH_PX = 28
_STEP_PX = 5
_STEEPEST_PX = 8  # per row
_BEND = 0.6  # price of a pixel by which the edges of two rows differ
_SCORE_CAP = 400.0
_STEP_CAP = 15.0


def tail_starts(scene: Scene, rows: NDArray[np.int64], about: int, score: Float) -> Float:
    """Last column (rows,) of the inclusion: a step down where rows begin to differ, much the same in all rows.

    Parameters
    ----------
    scene
        The slice.
    rows
        Neighbouring rows.
    about
        Column near which the tail starts.
    score
        (y, x) squared standard score of the difference from neighbouring rows right of each pixel.
    """
    from scipy.ndimage import uniform_filter1d

    nx = scene.grey.shape[1]
    at = np.arange(max(3, about - _REACH_PX), min(nx - _STEP_PX - 2, about + _REACH_PX))
    if len(at) < 4:
        return np.full(len(rows), float(about))
    first, last = max(0, int(rows[0]) - 3), int(rows[-1]) + 4
    part = scene.grey[first:last]
    total = np.cumsum(np.pad(part, ((0, 0), (1, 0))), axis=1)
    before = np.minimum(_STEP_PX, at)
    step = (total[:, at] - total[:, at - before]) / before
    step = step - (total[:, at + _STEP_PX + 1] - total[:, at + 1]) / _STEP_PX
    step = uniform_filter1d(step, 3, axis=0) / (scene.noise * np.sqrt(2 / (3 * _STEP_PX)))
    differ = 0.5 * np.minimum(uniform_filter1d(score[first:last].astype(np.float64), 5, axis=0), _SCORE_CAP)[:, at]
    gain = (differ + np.clip(step, 0, _STEP_CAP))[rows - first]
    return at[_smooth_path(gain)].astype(np.float64)


def _smooth_path(gain: Float) -> NDArray[np.int64]:
    """Column of each row on the path of most gain (dynamic programming)."""
    columns = np.arange(gain.shape[1])
    apart = np.abs(columns[:, None] - columns)
    price = np.where(apart > _STEEPEST_PX, 1e6, _BEND * apart)
    best, back = gain[0], []
    for row in gain[1:]:
        through = best[None] - price
        back.append(through.argmax(axis=1))
        best = through.max(axis=1) + row
    path = [int(best.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return np.array(path[::-1])
