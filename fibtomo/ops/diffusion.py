"""Steady diffusion through a phase: the field between two faces and the tortuosity factor."""

from dataclasses import dataclass
from math import inf, pi, sqrt
from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace, ndimage, to_host
from fibtomo.backend.kernels import twin
from fibtomo.core.volume import VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.distance import as_mask
from fibtomo.ops.morphometry import as_scale

Array = Any
AXES = {"z": 0, "y": 1, "x": 2}
BELOW, ABOVE, FIRST, LAST = 1, 2, 64, 128
"""Bits of a link along z: neighbours, and the second halves of the double conductances to the two walls."""


@dataclass(frozen=True)
class DiffusionResult:
    """Steady diffusion between the two outer faces along an axis.

    Attributes
    ----------
    field
        (z, y, x) float32 concentration from 0 at the first face to 1 at the last; NaN outside the percolating part.
    tortuosity_factor
        Phase fraction over relative diffusivity; inf if the phase does not percolate.
    relative_diffusivity
        Effective diffusivity of the volume over that of the phase.
    fraction
        Share of the voxels in the phase.
    percolating_fraction
        Share of the voxels in parts of the phase that touch both faces.
    flux_mismatch
        Largest difference of the fluxes through two planes across the axis, over their mean, or the last change of
        that mean if it is larger; 0 for the exact solution.
    sweeps
        Iterations done.
    converged
        Whether the flux mismatch came below the tolerance.
    """

    field: Array
    tortuosity_factor: float
    relative_diffusivity: float
    fraction: float
    percolating_fraction: float
    flux_mismatch: float
    sweeps: int
    converged: bool


def diffusion_field(
    mask: Array,
    axis: str | int,
    voxel_nm: float | VoxelNm | None,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 20000,
) -> DiffusionResult:
    """Solve Laplace's equation in the True voxels, between concentration 0 and 1 on the two faces along `axis`.

    Nothing flows through the other faces, nor through the boundary of the phase; parts that do not touch both faces
    (through voxels joined by faces) are left out. Finite volumes, one unknown per voxel, walls half a voxel beyond the
    outer voxels; red-black successive over-relaxation, whose factor follows from the slowest mode of diffusion along
    the axis: it decays more slowly than in a straight channel by the tortuosity factor.

    Parameters
    ----------
    mask
        (z, y, x) bool, or numbers of which 0 is False; NumPy or CuPy.
    axis
        "z", "y" or "x", or 0, 1, 2.
    voxel_nm
        Voxel size, one number or (dz, dy, dx); ``None`` for cubic voxels.
    tolerance
        Flux mismatch at which it is done, relative.
    max_iterations
        Sweeps after which it ends anyhow; see `DiffusionResult.converged`.

    Returns
    -------
    DiffusionResult
        The field lies where the mask does.

    Raises
    ------
    InputError
        The mask has not three axes, none of them empty; the voxel size is not positive; there is no such axis; the
        tolerance is not positive.

    References
    ----------
    S. J. Cooper et al., SoftwareX 5 (2016) 203, doi:10.1016/j.softx.2016.09.002 (tortuosity factor from images);
    D. M. Young, Iterative Solution of Large Linear Systems (1971) (over-relaxation).

    Examples
    --------
    >>> channels = np.zeros((10, 8, 8), dtype=bool)
    >>> channels[:, ::2] = True
    >>> found = diffusion_field(channels, "z", 5.0)
    >>> round(found.tortuosity_factor, 4), found.fraction
    (1.0, 0.5)
    """
    phase = as_mask(mask)
    spacing, _ = as_scale(voxel_nm)
    along = AXES.get(axis, axis) if isinstance(axis, str) else axis
    if along not in {0, 1, 2}:
        raise InputError(f"axis = {axis!r} must be one of z, y, x (or 0, 1, 2)")
    if not tolerance > 0:
        raise InputError(f"tolerance = {tolerance} must be positive")
    xp = namespace(phase)
    turned = xp.ascontiguousarray(xp.moveaxis(phase, along, 0))
    steps = (spacing[along], *(s for i, s in enumerate(spacing) if i != along))
    fraction = float(xp.count_nonzero(phase)) / phase.size
    active = _percolating(turned)
    share = float(xp.count_nonzero(active)) / phase.size
    if share == 0:
        nothing = xp.full(phase.shape, np.nan, np.float32)
        return DiffusionResult(nothing, inf, 0.0, fraction, 0.0, 0.0, 0, True)
    conductance = ((steps[0] / steps[1]) ** 2, (steps[0] / steps[2]) ** 2)
    field, diffusivity, mismatch, sweeps = _solve(active, conductance, share, tolerance, max_iterations)
    inner = xp.where(active, field[1:-1, 1:-1, 1:-1], np.nan).astype(np.float32)
    return DiffusionResult(
        xp.ascontiguousarray(xp.moveaxis(inner, 0, along)),
        fraction / diffusivity if diffusivity > 0 else inf,
        diffusivity,
        fraction,
        share,
        mismatch,
        sweeps,
        mismatch <= tolerance,
    )


def _percolating(phase: Array) -> Array:
    """Voxels that hang together, through faces, with the first and with the last slice."""
    xp = namespace(phase)
    labels, n = ndimage(phase).label(phase)
    touches = xp.zeros((2, int(n) + 1), dtype=bool)
    touches[0, labels[0].ravel()] = True
    touches[1, labels[-1].ravel()] = True
    both = touches[0] & touches[1]
    both[0] = False
    return both[labels]


def _solve(
    active: Array, conductance: tuple[float, float], share: float, tolerance: float, max_iterations: int
) -> tuple[Array, float, float, int]:
    """Field (padded), relative diffusivity, flux mismatch and number of sweeps."""
    xp, loops = namespace(active), twin(__package__, "diffusion", like=active)
    nz, ny, nx = active.shape
    links = _links(active)
    sums = _face_sums(conductance)
    counts = to_host(xp.bincount(links.ravel(), minlength=256))
    diagonal = float(counts[1:] @ sums[1:]) / counts[1:].sum()
    inverse = like(active, 1 / np.where(sums > 0, sums, 1))
    field = xp.zeros((nz + 2, ny + 2, nx + 2))
    profile = like(active, (np.arange(nz) + 0.5) / nz)
    field[1:-1, 1:-1, 1:-1] = profile[:, None, None] * active
    field[-1, 1:-1, 1:-1] = 2.0 * active[-1]

    sweeps, previous = 0, inf
    while True:
        flux = loops.plane_fluxes(field, links)
        mean = float(flux.mean())
        mismatch = float(np.ptp(flux)) / mean if mean > 0 else inf
        # planes can agree by symmetry long before the field is right: the flux must have settled as well
        mismatch = max(mismatch, abs(mean - previous) / mean if mean > 0 else inf)
        diffusivity, previous = mean * nz / (ny * nx), mean
        if mismatch <= tolerance or sweeps >= max_iterations:
            return field, diffusivity, mismatch, sweeps
        omega = _relaxation(nz, diagonal, share / diffusivity if diffusivity > 0 else 10.0)
        n = min(max(10, nz // 2), max_iterations - sweeps)
        loops.sweep(field, links, inverse, conductance, [omega] * n)
        sweeps += n


def _links(active: Array) -> Array:
    """Which faces of each voxel conduct, one bit each."""
    xp = namespace(active)
    links = xp.zeros(active.shape, np.uint8)
    bits = active.view(np.uint8)
    for axis in range(3):
        before, after = [slice(None)] * 3, [slice(None)] * 3
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        low, high = np.uint8(BELOW << 2 * axis), np.uint8(ABOVE << 2 * axis)
        links[tuple(after)] |= bits[tuple(before)] * low
        links[tuple(before)] |= bits[tuple(after)] * high
    links[0] |= np.uint8(BELOW | FIRST)
    links[-1] |= np.uint8(ABOVE | LAST)
    links *= bits
    return links


def _face_sums(conductance: tuple[float, float]) -> Any:
    """Sum of the conductances that each of the 256 values of a link stands for."""
    faces = np.array([1, 1, conductance[0], conductance[0], conductance[1], conductance[1], 1, 1])
    return np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") @ faces


def _relaxation(nz: int, diagonal: float, tortuosity: float) -> float:
    """Best relaxation factor if the slowest mode is a half wave along z, slowed down by the tortuosity factor."""
    slowest = min(1.0, (pi / nz) ** 2 / (max(tortuosity, 1.0) * diagonal))  # eigenvalue of the scaled matrix
    radius = 1 - slowest  # spectral radius of Jacobi's iteration
    return 2 / (1 + sqrt(1 - radius**2))
