"""What part of the slices a target covers: what all of them show, or any, or a region of interest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.warp import Warp
from fibtomo.errors import InputError

Float = NDArray[np.float64]


def crop_box(
    frame: tuple[int, int],
    shifts: Float,
    usable: NDArray[np.bool_],
    warp: Warp | None,
    crop: str,
    roi: Sequence[int] | None,
) -> tuple[Float, Float]:
    """Choose the part of the aligned slices that the target covers.

    Parameters
    ----------
    frame
        (rows, columns) of a slice.
    shifts
        (n, 2) apparent motion (dy, dx).
    usable
        (n,) False for slices that do not count.
    warp
        Displacement within the slices, beside their motion.
    crop, roi
        As for `fibtomo.core.grid.make_grid`.

    Returns
    -------
    start, extent
        (2,) first place (row, column) on a slice that did not move, and pixels from there to the last place.

    Raises
    ------
    InputError
        The region or the way to crop makes no sense, or nothing is left.
    """
    if crop not in {"auto", "valid", "all"}:
        raise InputError(f"crop = {crop!r} must be auto, valid or all")
    size = np.asarray(frame, dtype=np.float64) - 1
    outer, inner = _visible(frame, usable, warp)
    moved = shifts[usable]
    spread = np.ptp(moved, axis=0)
    all_box = (outer[0] - moved).min(axis=0), (outer[1] - moved).max(axis=0)
    common = (inner[0] - moved).max(axis=0), (inner[1] - moved).min(axis=0)
    wanted = size
    if roi is not None:
        region = _region(roi) - shifts[0]
        all_box, common = ((np.maximum(box[0], region[0]), np.minimum(box[1], region[1])) for box in (all_box, common))
        wanted = np.minimum(size, np.ptp(region, axis=0))
        if np.any(all_box[1] < all_box[0]):
            raise InputError(f"roi = {tuple(roi)} holds nothing of slices of {frame[0]} x {frame[1]} pixels")
    left = common[1] - common[0]
    if crop == "auto":
        crop = "valid" if np.all(left >= 0.5 * wanted) else "all"
    if crop == "valid" and np.any(left < np.minimum(1, wanted)):
        raise InputError(
            f"the slices move by {spread[0]:.0f} rows and {spread[1]:.0f} columns and share no "
            f"common area; set geometry.resample.crop=all to keep everything"
        )
    low, high = common if crop == "valid" else all_box
    return low, high - low


def _region(roi: Sequence[int]) -> Float:
    box = np.asarray(roi, dtype=np.float64)
    if box.shape != (4,) or not np.isfinite(box).all() or box[0] >= box[1] or box[2] >= box[3]:
        raise InputError(f"roi = {list(roi)} must be rows y0 < y1 and columns x0 < x1 as (y0, y1, x0, x1)")
    return np.array([[box[0], box[2]], [box[1] - 1, box[3] - 1]])


def _visible(frame: tuple[int, int], usable: NDArray[np.bool_], warp: Warp | None) -> tuple[Float, Float]:
    """Boxes (2, m, 2) around, and inside, what each usable slice shows once its warp is undone."""
    whole = np.zeros((2, int(usable.sum()), 2))
    whole[1] = np.asarray(frame) - 1
    if warp is None:
        return whole, whole
    k = np.flatnonzero(usable)[:, None]
    rows, cols = (np.linspace(0, size - 1, 4 * g + 1) for size, g in zip(frame, warp.nodes_px.shape[1:3], strict=True))
    sides = [warp.undo(k, *side) for side in ((0.0, cols), (frame[0] - 1.0, cols), (rows, 0.0), (rows, frame[1] - 1.0))]
    edge = np.concatenate(sides, axis=1)
    inner = np.stack([sides[0][..., 0].max(axis=1), sides[2][..., 1].max(axis=1)], axis=1)
    far = np.stack([sides[1][..., 0].min(axis=1), sides[3][..., 1].min(axis=1)], axis=1)
    return np.stack([edge.min(axis=1), edge.max(axis=1)]), np.stack([inner, far])
