"""Grey volumes to phase labels: levels from the whole histogram, applied voxel by voxel."""

from math import ceil, radians, tan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, is_cupy, namespace, ndimage
from fibtomo.core.volume import OUTSIDE, value_range_of
from fibtomo.errors import InputError
from fibtomo.ops.grey_field import Cells, cells_for, coarse_bins
from fibtomo.ops.grey_field_fit import fit_field
from fibtomo.ops.grey_levels import METHODS, PHASES, Method, find_levels
from fibtomo.ops.histogram import Bins, row_spans, shown

Boxes = NDArray[np.integer[Any]]

TRUNCATE = 4.0
"""Radius of the Gaussian in sigmas."""


def segment(
    volume: Any,
    *,
    method: Method | Literal["forest"] = "multi_otsu",
    classes: int = 2,
    thresholds: tuple[float, ...] | None = None,
    smooth_px: float = 0.0,
    reach_px: int = 8,
    window_nm: float | None = None,
    follow_slices: int = 0,
    valid_boxes: Boxes | None = None,
    voxel_nm: float | tuple[float, float, float] | None = None,
    column_angle_deg: float = 52.0,
    shine_through: bool = False,
    forest: Any = None,
) -> Any:
    """Label the phases of a grey volume, darkest first.

    Parameters
    ----------
    volume
        (z, y, x) grey values, numpy or cupy, any real dtype; NaN counts as outside the field of view.
    method
        "otsu" (two phases), "multi_otsu" (`classes` phases), "gmm" (`classes` phases of a Gaussian mixture, rare ones
        too), "local" (the same where brightness changes slowly from place to place), "hysteresis" (two phases: above
        the upper threshold, or above the lower one and within `reach_px` steps of it), "threshold" (fixed
        `thresholds`), "forest" (what `forest` was trained on; its phases in the order of the labels).
    classes
        Number of phases for "multi_otsu", "gmm" and "local", 2 to 5.
    thresholds
        Fixed grey levels: ascending for "threshold", (low, high) for "hysteresis" in place of the automatic pair.
    smooth_px
        Sigma of a Gaussian applied before thresholding, in voxels; 0 for none.
    reach_px
        Steps between face neighbours that "hysteresis" grows.
    window_nm
        Edge of the windows of "local", nm (voxels without `voxel_nm`); ``None`` for a third of the plane. They should
        hold several features.
    follow_slices
        Slices over which automatic thresholds follow the grey of the phases along z; 0 for the same on all.
    valid_boxes
        (z, 4) rows [y0, y1) and columns [x0, x1) that each slice really shows, or (z, y, 2) columns [x0, x1) of each
        of its rows; elsewhere the label is 255.
    voxel_nm
        (dz, dy, dx) or one edge, for "local", "forest" and light; cubes if not given.
    column_angle_deg
        Angle between the columns, which tells where light comes from.
    shine_through
        Label empty pores 0 and walls 1 where back walls are seen through the pores, whatever `method`; the volume must
        be in the frame of the specimen (z along milling, y down the face). Where nothing shines through, it does no
        harm. Warns where the volume is unlike all that was trained on.
    forest
        A `PixelForest` or the file of one, for "forest".

    Returns
    -------
    labels
        (z, y, x) uint8, 0 … phases − 1 ordered by grey, 255 outside; the same kind of array as `volume`.

    Raises
    ------
    InputError
        The volume, method, thresholds or number of classes cannot be used, or the method is not in this version.

    References
    ----------
    Otsu 1979, IEEE Trans. SMC 9, 62; Santago & Gage 1993, IEEE Trans. Med. Imaging 12, 566 (mixture with partial
    volumes); Chow & Kaneko 1972, Comput. Biomed. Res. 5, 388 (local); Canny 1986, IEEE Trans. PAMI 8, 679
    (hysteresis).

    Examples
    --------
    >>> segment(np.array([[[10, 12, 200, 90, 95, 210]]], dtype=np.uint8), classes=3).tolist()
    [[[0, 0, 2, 1, 1, 2]]]
    """
    if shine_through:
        return _by_light(volume, classes, voxel_nm, column_angle_deg, valid_boxes)
    if method == "forest":
        return _by_forest(volume, forest, voxel_nm, valid_boxes)
    if method not in METHODS:
        raise InputError(f"segment: method {method!r} must be one of {', '.join(METHODS)}, forest")
    volume = as_array(volume)
    if volume.ndim != 3:
        raise InputError(f"segment: the volume has {volume.ndim} axes but must have three (z, y, x)")
    scale = (1.0, 1.0, 1.0) if voxel_nm is None else tuple(np.broadcast_to(voxel_nm, 3).tolist())
    if min(scale) <= 0:
        raise InputError(f"segment: voxel_nm = {voxel_nm} must be positive")
    if not 0 < column_angle_deg <= 90:
        raise InputError(f"segment: column_angle_deg = {column_angle_deg} must lie between 0 and 90")
    grey = smooth(volume, smooth_px, valid_boxes)
    levels = thresholds
    if levels is None:
        if method == "threshold":
            raise InputError("segment: method 'threshold' needs thresholds, such as thresholds=(120,)")
        cells = cells_for(method, volume.shape, scale, window_nm, follow_slices)
        grey, levels = _automatic(
            grey, Bins.covering(volume.dtype, grey_range(volume)), cells, method, classes, valid_boxes
        )
    if method == "hysteresis":
        return hysteresis(grey, _pair(levels), reach_px, valid_boxes)
    return digitise(grey, levels, valid_boxes)


def _by_light(volume: Any, classes: int, voxel_nm: Any, column_angle_deg: float, boxes: Boxes | None) -> Any:
    from fibtomo.ops.shine_through import segment_shine_through

    if classes != 2:
        raise InputError(f"segment: shine_through=True tells walls from pores, 2 classes, not {classes}")
    volume = as_array(volume)
    if volume.ndim != 3:
        raise InputError(f"segment: the volume has {volume.ndim} axes but must have three (z, y, x)")
    dz, dy, _ = np.broadcast_to(np.asarray(1.0 if voxel_nm is None else voxel_nm, dtype=np.float64), 3)
    if not (dz > 0 and dy > 0 and 0 < column_angle_deg <= 90):
        raise InputError(
            f"segment: voxel_nm = {voxel_nm} must be positive, and column_angle_deg = {column_angle_deg} 0 to 90"
        )
    seen = _outside(namespace(volume).ones(volume.shape, bool), volume, boxes, fill=False)
    return segment_shine_through(
        volume, float(dz / dy / tan(radians(column_angle_deg))), seen=None if bool(seen.all()) else seen
    )


def _by_forest(volume: Any, forest: Any, voxel_nm: Any, boxes: Boxes | None) -> Any:
    from fibtomo.ops.pixel_forest import PixelForest

    if forest is None:
        raise InputError("segment: method 'forest' needs forest=, a PixelForest or the file of one")
    found = forest if isinstance(forest, PixelForest) else PixelForest.load(forest)
    return found.predict(volume, voxel_nm, valid_boxes=boxes)


def _automatic(
    grey: Any, bins: Bins, cells: Cells | None, method: Method, classes: int, boxes: Boxes | None
) -> tuple[Any, tuple[float, ...]]:
    """Grey that levels apply to, evened if brightness changes in `cells`, and the levels."""
    if cells is None:
        return grey, tuple(find_levels(method, bins.count(grey, boxes)[1:-1], bins.edges, classes).thresholds)
    bins = coarse_bins(bins)
    counts = cells.add([cells.count(grey, 0, bins, boxes)])[..., 1:-1]
    field, flat, edges = fit_field(counts, bins, cells, PHASES.get(method, classes))
    return field.evened(grey, 0), tuple(find_levels(method, flat, edges, classes).thresholds)


def grey_range(volume: Any) -> tuple[float, float]:
    """Range in which grey values of a volume can lie: its type's, or what occurs."""
    if volume.dtype.kind in "iu" and volume.dtype.itemsize <= 2:
        return value_range_of(volume.dtype)
    xp = namespace(volume)
    finite = volume[xp.isfinite(volume)] if volume.dtype.kind == "f" else volume
    if finite.size == 0:
        raise InputError("segment: the volume holds no finite grey value")
    return float(finite.min()), float(finite.max())


def _pair(levels: tuple[float, ...]) -> tuple[float, float]:
    if len(levels) != 2:
        raise InputError(f"hysteresis needs two thresholds (low, high), not {len(levels)}")
    return levels[0], levels[1]


def digitise(volume: Any, thresholds: tuple[float, ...], boxes: Boxes | None = None) -> Any:
    """Count how many thresholds each voxel exceeds; 255 outside `boxes` and where the value is NaN.

    Examples
    --------
    >>> digitise(np.array([[[1.0, 2.0, 3.0]]]), (1.5, 2.0)).tolist()
    [[[0, 1, 2]]]
    """
    if not 1 <= len(thresholds) < OUTSIDE or np.any(np.diff(thresholds) < 0):
        raise InputError(f"thresholds {tuple(thresholds)} must be at least one and ascending")
    xp = namespace(volume)
    labels = xp.zeros(volume.shape, dtype=xp.uint8)
    for level in thresholds:
        labels += volume > level
    return _outside(labels, volume, boxes)


def hysteresis(volume: Any, levels: tuple[float, float], reach_px: int, boxes: Boxes | None = None) -> Any:
    """Label 1 what exceeds the upper level, or the lower one and hangs together with it within `reach_px` steps.

    The growth is bounded so that a slab with `reach_px` neighbouring slices gives the same labels as the whole
    volume; chains of doubtful voxels longer than that stay in phase 0.

    Examples
    --------
    >>> hysteresis(np.array([[[9, 5, 5, 5, 0, 5]]]), (4, 8), reach_px=2).tolist()
    [[[1, 1, 1, 0, 0, 0]]]
    """
    low, high = levels
    if low > high:
        raise InputError(f"the lower threshold {low} of the hysteresis lies above the upper one, {high}")
    sure = _outside(volume > high, volume, boxes, fill=False)
    maybe = _outside(volume > low, volume, boxes, fill=False)
    xp = namespace(volume)
    if reach_px:  # cupy knows only the plain iteration; both give the same voxels
        sure = ndimage(volume).binary_dilation(sure, iterations=reach_px, mask=maybe, brute_force=xp is not np)
    return _outside(sure.astype(xp.uint8), volume, boxes)


def _outside(labels: Any, volume: Any, boxes: Boxes | None, fill: int | bool = OUTSIDE) -> Any:
    """Put `fill` outside the boxes and at NaN; `labels` is this module's own new array."""
    if volume.dtype.kind == "f":
        labels[namespace(volume).isnan(volume)] = fill
    if boxes is None:
        return labels
    if is_cupy(labels) or np.ndim(boxes) == 3:
        labels[~shown(labels, row_spans(boxes, labels.shape))] = fill
        return labels
    for plane, (y0, y1, x0, x1) in zip(labels, boxes, strict=True):
        plane[:y0], plane[y1:], plane[:, :x0], plane[:, x1:] = (fill,) * 4
    return labels


def smooth(volume: Any, sigma_px: float, boxes: Boxes | None = None) -> Any:
    """Gaussian mean of the voxels inside `boxes` (normalised convolution), float32; the volume itself for sigma 0.

    Knutsson & Westin 1993, CVPR, 515.

    Examples
    --------
    >>> smooth(np.full((1, 5, 5), 7, np.uint8), 1.0, np.array([[0, 3, 0, 5]]))[0, 2].round(4).tolist()
    [7.0, 7.0, 7.0, 7.0, 7.0]
    """
    if sigma_px == 0:
        return volume
    xp, nd = namespace(volume), ndimage(volume)
    grey = volume.astype(xp.float32)
    if boxes is None and volume.dtype.kind != "f":
        return nd.gaussian_filter(grey, sigma_px, mode="nearest", truncate=TRUNCATE)
    weight = _outside(xp.ones(volume.shape, dtype=xp.float32), volume, boxes, fill=0)
    seen = weight > 0
    blurred = nd.gaussian_filter(xp.where(seen, grey, 0), sigma_px, mode="nearest", truncate=TRUNCATE)
    norm = nd.gaussian_filter(weight, sigma_px, mode="nearest", truncate=TRUNCATE)
    return xp.where(seen, blurred / xp.where(seen, norm, 1), grey)


def smoothing_halo(sigma_px: float) -> int:
    """Neighbouring slices that `smooth` needs on either side."""
    return ceil(TRUNCATE * sigma_px + 0.5) if sigma_px else 0
