"""Non-local means in three dimensions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace
from fibtomo.backend.kernels import twin
from fibtomo.ops._tiles import over_tiles
from fibtomo.ops.noise import NoiseModel, estimate_noise_model

Array = Any
SECOND_TOLERANCE = 0.4
"""Of the second comparison, whose greys hold less noise, relative to the first."""
SECOND_RADIUS = (0, 1, 1)


def non_local_means(
    planes: Array,
    strength: float = 0.8,
    patch_px: int = 3,
    reach_px: int = 4,
    reach_slices: int | None = None,
    passes: int = 2,
    *,
    aspect: float = 1.0,
    noise: NoiseModel | None = None,
    mask: Array | None = None,
    core: tuple[int, int] | None = None,
    workers: int | None = None,
) -> Array:
    r"""Average of the voxels whose surroundings look alike; float32.

    Surroundings are compared after the greys were stabilised, so that noise counts the same in dark and bright
    phases; the greys themselves are averaged, so that nothing has to be transformed back. With d² the mean squared
    difference of two surroundings in units of the noise, the weight is
    :math:`(1 - (d^2 - 2)_+ / 8 s^2)_+^8`, which is nearly exp(-(d² - 2) / s²). A second pass compares the result of
    the first and averages the data once more.

    Parameters
    ----------
    planes
        (z, y, x) grey values, NumPy or CuPy.
    strength
        Tolerated difference s of two surroundings, in units of the noise.
    patch_px
        Side of the compared surroundings, odd.
    reach_px
        How far alike voxels are looked for, in an ellipsoid.
    reach_slices
        The same along z; ``None`` takes as far as in the plane, at least 1; 0 works slice by slice.
    passes
        1, or 2 to compare a second time.
    aspect
        Distance of slices over pixel size.
    noise
        Noise of the whole volume; ``None`` estimates it from `planes`.
    mask
        Same shape and place as `planes`; false voxels neither change nor count.
    core
        Range of slices that are wanted (the others are only looked at, and come back as they are); ``None``: all.
    workers
        Threads on the CPU; ``None`` takes all cores.

    Raises
    ------
    InputError
        On a CUDA device: the surroundings are too large for its shared memory (more than 15 px, about).

    References
    ----------
    A. Buades, B. Coll, J.-M. Morel, Image Process. On Line 1 (2011) 208, doi:10.5201/ipol.2011.bcm_nlm.
    J. V. Manjón et al., Med. Image Anal. 16 (2012) 18, doi:10.1016/j.media.2011.04.003 (comparison of a first result).
    """
    noise = noise or estimate_noise_model(planes, mask)
    if noise.silent:
        return planes.astype(np.float32)
    reach = reach_of(reach_px, reach_slices, aspect)
    radius = (patch_slices(patch_px, aspect) if reach[0] else 0, patch_px // 2, patch_px // 2)

    def filtered(part: Array, shown: Any) -> Array:
        grey = part.astype(np.float32)
        if shown is not None:
            grey[~shown] = 0
        level, wanted = noise.stabilise(grey), core or (0, len(grey))
        if passes > 1:
            first = (max(0, wanted[0] - reach[0]), min(len(grey), wanted[1] + reach[0]))
            level = noise.stabilise(average_alike(level, grey, radius, reach, strength, shown, first, workers))
            level *= np.float32(1 / SECOND_TOLERANCE)
        last = radius if passes == 1 else SECOND_RADIUS
        return average_alike(level, grey, last, reach, strength, shown, wanted, workers)

    return over_tiles(filtered, planes, mask, plane_reach(patch_px, reach_px, passes))


def reach_of(reach_px: int, reach_slices: int | None, aspect: float) -> tuple[int, int, int]:
    """How far alike voxels are looked for along z, y and x, voxels."""
    along = max(1, round(reach_px / aspect)) if reach_slices is None else reach_slices
    return along, reach_px, reach_px


def patch_slices(patch_px: int, aspect: float) -> int:
    """Half the length of the compared surroundings along z, at least 1."""
    return max(1, round(patch_px // 2 / aspect))


def halo_slices(patch_px: int, reach: tuple[int, int, int], aspect: float, passes: int) -> int:
    """Slices to either side of which the result takes notice."""
    return passes * reach[0] + patch_slices(patch_px, aspect) if reach[0] else 0


def plane_reach(patch_px: int, reach_px: int, passes: int) -> int:
    """Pixels to either side of which the result takes notice."""
    return patch_px // 2 + passes * (reach_px + 1)


def offsets_within(reach: tuple[int, int, int]) -> NDArray[np.int64]:
    """One of each pair of opposite offsets in an ellipsoid, (n, 3).

    Examples
    --------
    >>> offsets_within((0, 1, 1)).tolist()
    [[0, 0, 1], [0, 1, -1], [0, 1, 0], [0, 1, 1]]
    """
    axes = [np.arange(-r, r + 1) for r in reach]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[len(grid) // 2 + 1 :]
    size = np.array([r + 0.5 for r in reach])
    return grid[((grid / size) ** 2).sum(axis=1) <= 1].astype(np.int64)


def average_alike(
    level: Array,
    grey: Array,
    radius: tuple[int, int, int],
    reach: tuple[int, int, int],
    strength: float,
    seen: Array | None = None,
    core: tuple[int, int] | None = None,
    workers: int | None = None,
) -> Array:
    """One pass over the slices `core` of `grey`; what is compared is `level`, whose noise has standard deviation 1."""
    if min(level.shape) == 0:
        return namespace(level).zeros(level.shape, np.float32)
    loops = twin(__package__, "nlm", like=level)
    span, falloff = core or (0, len(grey)), 2 / strength**2
    return loops.average_alike(level, grey, seen, offsets_within(reach), radius, falloff, span, workers)
