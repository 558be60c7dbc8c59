"""Loops behind `fibtomo.ops.diffusion` on a CUDA device: ``kernels/diffusion.cu``."""

from typing import Any

import numpy as np

from fibtomo.backend.array import namespace, to_host
from fibtomo.backend.kernels import launch, load_kernel

Array = Any
VOXELS_PER_BLOCK = 4096


def sweep(field: Array, links: Array, inverse: Array, conductance: tuple[float, float], omegas: Any) -> None:
    """Sweep the field in place, once per omega; see `_diffusion_kernels.sweep`."""
    kernels = load_kernel("diffusion")
    nz, ny, nx = links.shape
    stiffness = tuple(np.float64(c) for c in conductance)
    for omega in omegas:
        for colour in (0, 1):
            args = (field, links, inverse, nz, ny, nx, *stiffness, np.float64(omega), colour)
            launch(kernels, "half_sweep", (nz, ny, -(-nx // 2)), args)


def plane_fluxes(field: Array, links: Array) -> np.ndarray:
    """Sum of the differences across each plane; see `_diffusion_kernels.plane_fluxes`."""
    nz, ny, nx = links.shape
    parts = -(-ny * nx // VOXELS_PER_BLOCK)
    partial = namespace(field).empty((nz + 1, parts), np.float64)
    launch(
        load_kernel("diffusion"),
        "plane_flux",
        (nz + 1, 1, 256 * parts),
        (field, links, partial, nz, ny, nx, parts),
        block=(256, 1, 1),
    )
    return to_host(partial).sum(axis=1)
