"""Walls and open pores by the classical two-stage threshold method: the yardstick of `fibtomo.ops.shine_through`."""

from typing import Any

from fibtomo.backend.array import as_array, namespace, ndimage
from fibtomo.ops.light_decay import fit_light, sample_rays

Array = Any
SMOOTH_PX = 0.7
DROPS = 0.25
"""Fall of brightness from one slice to the second next that marks where a structure ends, over the contrast."""
LOCAL_PX = 6.0
"""Standard deviation of the surroundings that the second threshold adapts to."""


def two_stage_threshold(volume: Array, rows_per_slice: float) -> Array:
    """Label walls 1 by where structures are seen last, then by a threshold that follows their surroundings.

    After Salzer et al., simplified. First stage, from the last slice to the first: a bright voxel is wall where its
    brightness falls abruptly within two slices (there the structure occurs last), and in front of such a place as long
    as it stays as bright as walls are. Second stage: voxels are compared with the middle between the means, around
    them, of what was and was not taken for wall.

    Parameters
    ----------
    volume
        (z, y, x) greys, NumPy or CuPy.
    rows_per_slice
        Cotangent of the column angle times dz / dy; black and white are taken from rays, as `fit_light` finds them.

    Returns
    -------
    labels
        (z, y, x) uint8, the same kind of array.

    References
    ----------
    M. Salzer, A. Spettl, O. Stenzel, J.-H. Smått, M. Lindén, I. Manke, V. Schmidt, Mater. Charact. 69 (2012) 115.
    """
    volume = as_array(volume)
    xp, nd = namespace(volume), ndimage(volume)
    light = fit_light([sample_rays(volume, 0, (0, len(volume)), volume.shape, rows_per_slice)]).light
    bright = nd.gaussian_filter(light.relative(volume), SMOOTH_PX)
    solid = xp.empty(volume.shape, bool)
    behind = bright[-1] > 0.5
    solid[-1] = behind
    for z in range(len(bright) - 2, -1, -1):
        fall = bright[z] - bright[min(z + 2, len(bright) - 1)]
        ends = (fall > DROPS) & (bright[z] > 0.5)
        goes_on = behind & (bright[z] > 1 - DROPS)
        solid[z] = behind = ends | goes_on
    weight = nd.gaussian_filter(solid.astype(xp.float32), LOCAL_PX)
    walls = nd.gaussian_filter(xp.where(solid, bright, 0), LOCAL_PX) / xp.maximum(weight, 1e-3)
    pores = nd.gaussian_filter(xp.where(solid, 0, bright), LOCAL_PX) / xp.maximum(1 - weight, 1e-3)
    return (bright > (walls + pores) / 2).astype(xp.uint8)
