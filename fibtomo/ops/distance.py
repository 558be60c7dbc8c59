"""Distance of every voxel of a phase to the nearest voxel outside it."""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace
from fibtomo.backend.kernels import twin
from fibtomo.core.volume import VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.morphometry import as_scale

Array = Any


def distance_transform(
    mask: Array,
    voxel_nm: float | VoxelNm | None,
    *,
    black_border: bool = False,
    limit: float | None = None,
) -> Array:
    """Exact Euclidean distance of each True voxel to the nearest False voxel, centre to centre.

    The wall of a phase lies about half a voxel before the first voxel outside it, so a distance exceeds that to the
    wall by about half a voxel.

    Volumes in slabs: False voxels that a slab does not see can only be nearer than those it sees. In a slab with a
    halo of h slices, a distance at a wanted voxel is exact if it is at most (h + 1) dz, and too large otherwise. So
    ``limit = (h + 1) dz`` gives the same values as the whole volume, whatever the slabs.

    Parameters
    ----------
    mask
        (z, y, x) bool, or numbers of which 0 is False; NumPy or CuPy.
    voxel_nm
        Voxel size, one number or (dz, dy, dx); ``None`` measures in voxels.
    black_border
        Whether the voxels around the volume count as False; otherwise nothing is known about them.
    limit
        Larger distances come back as this one, in nm (in voxels without `voxel_nm`); ``None``: all distances.

    Returns
    -------
    array
        float32, in nm or voxels: 0 at False voxels; inf (or `limit`) if there is no False voxel at all.

    Raises
    ------
    InputError
        The mask has not three axes, none of them empty; the voxel size or the limit is not positive.

    References
    ----------
    A. Meijster, J. B. T. M. Roerdink, W. H. Hesselink, Mathematical Morphology and its Applications (2000) 331,
    doi:10.1007/0-306-47025-X_36; P. F. Felzenszwalb, D. P. Huttenlocher, Theory Comput. 8 (2012) 415,
    doi:10.4086/toc.2012.v008a019 (axis after axis, lower envelopes).

    Examples
    --------
    >>> pore = np.ones((1, 1, 5), dtype=bool)
    >>> pore[..., 0] = False
    >>> distance_transform(pore, (10.0, 5.0, 5.0)).ravel()
    array([ 0.,  5., 10., 15., 20.], dtype=float32)
    """
    phase = as_mask(mask)
    spacing, _ = as_scale(voxel_nm)
    if limit is not None and not limit > 0:
        raise InputError(f"limit = {limit} must be a positive distance; leave it out for all distances")
    loops = twin(__package__, "distance", like=phase)
    return loops.distances(phase, spacing, black_border, float("inf") if limit is None else float(limit))


def as_mask(mask: Array) -> Array:
    """Return a mask as a C-contiguous bool array in the place where it is.

    Raises
    ------
    InputError
        Not three axes, or no voxels.
    """
    if mask.ndim != 3 or 0 in mask.shape:
        raise InputError(f"a mask of shape {mask.shape} must have three axes (z, y, x), none of them empty")
    xp = namespace(mask)
    return xp.ascontiguousarray(mask if mask.dtype == np.bool_ else mask != 0)
