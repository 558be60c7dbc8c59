"""Local thickness of a phase: the largest inscribed sphere over each voxel."""

from math import ceil, isinf
from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import twin
from fibtomo.core.volume import VoxelNm
from fibtomo.ops.distance import as_mask, distance_transform
from fibtomo.ops.morphometry import as_scale

Array = Any
SHRINK = 1 - 4e-6
"""Of squared radii: voxels at exactly the radius, such as those that bound a sphere, are never inside."""


def local_thickness(mask: Array, voxel_nm: float | VoxelNm | None, *, black_border: bool = False) -> Array:
    """Diameter of the largest sphere that covers a voxel and lies within the phase.

    Spheres have voxels as centres and reach to the centre of the nearest False voxel, which they leave out; their
    diameter is twice that distance. The wall lies half a voxel before that voxel, but no voxel need lie at the middle:
    on average plates come out 0.4 voxels too thick, cylinders 0.5 and balls 0.9 voxels too thin, and single bodies up
    to about 1.4 voxels off. Along an axis, a plate of n voxels measures n (n even) or n + 1 (n odd).

    Spheres may reach beyond the volume unless `black_border`, so near its ends the thickness is that of what is seen.

    Most spheres lie within one next to them and are left out beforehand; the check is exact, so the result is that of
    the definition. For slabs take a halo of twice the largest radius along z.

    Parameters
    ----------
    mask
        (z, y, x) bool, or numbers of which 0 is False; NumPy or CuPy.
    voxel_nm
        Voxel size, one number or (dz, dy, dx); ``None`` measures in voxels.
    black_border
        Whether the voxels around the volume count as False.

    Returns
    -------
    array
        float32, in nm or voxels: 0 at False voxels; inf at all True ones if nothing is False.

    Raises
    ------
    InputError
        The mask has not three axes, none of them empty; the voxel size is not positive.

    References
    ----------
    T. Hildebrand, P. Rüegsegger, J. Microsc. 185 (1997) 67, doi:10.1046/j.1365-2818.1997.1340694.x; R. Dougherty,
    K.-H. Kunzelmann, Microsc. Microanal. 13 (2007) 1678, doi:10.1017/S1431927607074430 (the distance ridge).

    Examples
    --------
    >>> slit = np.zeros((8, 9, 9), dtype=bool)
    >>> slit[2:6] = True
    >>> thickness = local_thickness(slit, 5.0)
    >>> float(thickness[2:6].min()), float(thickness[2:6].max())
    (20.0, 20.0)
    """
    phase = as_mask(mask)
    spacing, _ = as_scale(voxel_nm)
    distance = distance_transform(phase, spacing, black_border=black_border)
    largest = float(distance.max())
    if largest == 0 or isinf(largest):
        return distance
    loops = twin(__package__, "local_thickness", like=phase)
    farthest, voxel_square = _farthest(spacing, largest, phase.shape)
    centres = loops.ridge_centres(distance, like(phase, farthest), voxel_square, SHRINK)
    radii = loops.paint(distance, centres, spacing, SHRINK)
    return namespace(radii).multiply(radii, np.float32(2), out=radii)


def _farthest(spacing: VoxelNm, largest: float, shape: tuple[int, int, int]) -> tuple[Any, float]:
    """Table of `farthest_in_spheres` for radii up to `largest`, and the squared radius per column."""
    from fibtomo.ops._local_thickness_kernels import farthest_in_spheres

    voxel_square = min(spacing) ** 2  # exact for cubic voxels, on the safe side for others; finer columns gain nothing
    reach = [min(ceil(largest / step), n - 1) for step, n in zip(spacing, shape, strict=True)]
    bins = ceil(largest**2 / voxel_square) + 2
    return farthest_in_spheres(np.array(reach), np.array(spacing) ** 2, voxel_square, bins), voxel_square
