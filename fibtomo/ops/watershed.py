"""Splitting a mask into objects that touch, and watersheds of grey values from given markers."""

from typing import Any

import numpy as np

from fibtomo.backend.array import as_array, like, to_host
from fibtomo.core.volume import VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.basins import join_basins, slab_basins, slab_partial
from fibtomo.ops.flood import Flood
from fibtomo.ops.labels import Connectivity, apply_lut, full_boxes
from fibtomo.ops.morphometry import as_scale


def split_touching(
    mask: Any,
    voxel_nm: float | VoxelNm | None,
    *,
    connectivity: Connectivity,
    h_nm: float | None,
    largest_nm: float | None,
) -> Any:
    """Objects of a whole mask; see `fibtomo.ops.labels.label_objects`."""
    scale, _ = as_scale(voxel_nm)
    flood = Flood(connectivity, scale, h_nm, largest_nm)
    if mask.size == 0:
        return like(mask, np.zeros(mask.shape, dtype=np.uint32))
    found = slab_basins((mask != 0).astype(np.uint8), 1, (0, len(mask)), 0, flood)
    joined = join_basins([slab_partial(found, full_boxes(mask.shape), 0, len(mask))], flood)
    return like(mask, apply_lut(found.labels, joined.lut))


def watershed_from_markers(landscape: Any, markers: Any, mask: Any = None) -> Any:
    """Flood a landscape, such as the gradient of grey values, from given markers.

    Runs on the host and needs the whole volume in memory (about 40 bytes per voxel).

    Parameters
    ----------
    landscape
        (z, y, x) heights, numpy or cupy; lines between regions follow its crests.
    markers
        (z, y, x) whole numbers; 0 is undecided.
    mask
        (z, y, x) bool; regions stay inside. ``None``: everywhere.

    Returns
    -------
    labels
        (z, y, x) int32, the same kind of array as `landscape`.

    Raises
    ------
    InputError
        Shapes differ or there is no marker.

    References
    ----------
    Meyer & Beucher 1990, J. Vis. Commun. Image Represent. 1, 21, as in scikit-image.

    Examples
    --------
    >>> crest = np.array([[[0, 1, 5, 1, 0]]])
    >>> watershed_from_markers(crest, np.array([[[1, 0, 0, 0, 2]]])).tolist()
    [[[1, 1, 1, 2, 2]]]
    """
    from skimage.segmentation import watershed

    landscape = as_array(landscape)
    seeds = to_host(as_array(markers))
    inside = None if mask is None else to_host(as_array(mask)) != 0
    for name, other in (("markers", seeds), ("mask", inside)):
        if other is not None and other.shape != landscape.shape:
            raise InputError(f"{name} of shape {other.shape} must have the shape of the landscape, {landscape.shape}")
    if not seeds.any():
        raise InputError("watershed_from_markers: there is no marker; give each region a number above 0")
    return like(landscape, watershed(to_host(landscape), seeds.astype(np.int32), mask=inside))
