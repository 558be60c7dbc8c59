"""Bilateral filter in three dimensions."""

from typing import Any

import numpy as np

from fibtomo.backend.kernels import twin
from fibtomo.ops._tiles import over_tiles
from fibtomo.ops.noise import NoiseModel, estimate_noise_model

Array = Any
CUT_OFF = 2.0
"""Standard deviations after which the Gaussian is cut off."""


def bilateral(
    planes: Array,
    strength: float = 3.0,
    sigma_px: float = 1.5,
    sigma_slices: float | None = None,
    *,
    aspect: float = 1.0,
    noise: NoiseModel | None = None,
    mask: Array | None = None,
    workers: int | None = None,
) -> Array:
    """Gaussian that leaves out voxels of another grey; float32.

    Parameters
    ----------
    planes
        (z, y, x) grey values, NumPy or CuPy.
    strength
        Tolerated difference of grey, in units of the noise at that grey.
    sigma_px
        Width of the Gaussian in the plane; it is cut off at two of them, and at the edges of the volume.
    sigma_slices
        The same along z; ``None`` takes as far as in the plane, 0 works slice by slice.
    aspect
        Distance of slices over pixel size.
    noise
        Noise of the whole volume; ``None`` estimates it from `planes`.
    mask
        Same shape and place as `planes`; false voxels neither change nor count.
    workers
        Threads on the CPU; ``None`` takes all cores.

    Raises
    ------
    InputError
        On a CUDA device: the Gaussian reaches over more than 22 px.

    References
    ----------
    C. Tomasi, R. Manduchi, Proc. ICCV (1998) 839, doi:10.1109/ICCV.1998.710815.
    """
    noise = noise or estimate_noise_model(planes, mask)
    if noise.silent:
        return planes.astype(np.float32)
    offsets, near = _kernel(sigma_px, sigma_along(sigma_px, sigma_slices, aspect))
    loops = twin(__package__, "bilateral", like=planes)

    def filtered(part: Array, shown: Any) -> Array:
        grey = part.astype(np.float32)
        if shown is not None:
            grey[~shown] = 0
            shown = shown.astype(np.float32)
        return loops.average_near(noise.stabilise(grey), grey, shown, offsets, near, strength, workers)

    return over_tiles(filtered, planes, mask, max(1, round(CUT_OFF * sigma_px)))


def sigma_along(sigma_px: float, sigma_slices: float | None, aspect: float) -> float:
    """Width of the Gaussian along z, slices."""
    return sigma_px / aspect if sigma_slices is None else sigma_slices


def reach_slices(sigma_slices: float) -> int:
    """Slices to either side of which the result takes notice."""
    return round(CUT_OFF * sigma_slices)


def _kernel(sigma_px: float, sigma_slices: float) -> tuple[Any, Any]:
    """Offsets (n, 3) and their weights."""
    reach = max(1, round(CUT_OFF * sigma_px))
    sizes = (reach_slices(sigma_slices), reach, reach)
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in sizes), indexing="ij"), axis=-1).reshape(-1, 3)
    widths = np.array([sigma_slices or 1.0, sigma_px, sigma_px])
    away = ((grid / widths) ** 2).sum(axis=1)
    inside = away <= max(CUT_OFF, reach / sigma_px) ** 2 + 1e-9
    return grid[inside].astype(np.int64), np.exp(-0.5 * away[inside]).astype(np.float32)
