"""Loops behind `fibtomo.ops.diffusion` on the CPU. Imported lazily: numba takes a while to load."""

from typing import Any

import numpy as np
from numba import njit

from fibtomo.backend.threads import map_ranges

Array = Any
SLICES = 8
compiled = njit(nogil=True, cache=True, error_model="numpy")


def sweep(field: Array, links: Array, inverse: Array, conductance: tuple[float, float], omegas: Any) -> None:
    """Sweep the field in place by red-black SOR, once per omega.

    Parameters
    ----------
    field
        (nz + 2, ny + 2, nx + 2) float64, padded: 0 where nothing takes part, 2 beyond the far face.
    links
        (nz, ny, nx) uint8: 0 where nothing takes part, else which faces conduct.
    inverse
        (256,) float64: one over the sum of the conductances that each value of `links` stands for.
    conductance
        Of faces along y and x, relative to those along z.
    omegas
        Relaxation factors of the sweeps.
    """

    def half_sweep(omega: float, colour: int) -> None:
        def work(z0: int, z1: int) -> None:
            _half_sweep(field, links, inverse, *conductance, omega, colour, z0, z1)

        map_ranges(work, len(links), SLICES)

    for omega in omegas:
        for colour in (0, 1):
            half_sweep(float(omega), colour)


def plane_fluxes(field: Array, links: Array) -> np.ndarray:
    """Sum of the differences across each plane.

    Returns
    -------
    array
        (nz + 1,) float64 on the host, from the wall before the first slice to the wall behind the last.
    """
    out = np.empty(len(links) + 1)
    map_ranges(lambda a, b: _plane_fluxes(field, links, out, a, b), len(out), SLICES)
    return out


@compiled
def _half_sweep(
    u: Array,
    links: Array,
    inverse: Array,
    along_y: float,
    along_x: float,
    omega: float,
    colour: int,
    z0: int,
    z1: int,
) -> None:
    ny, nx = links.shape[1:]
    for z in range(z0, z1):
        for y in range(ny):
            row, link = u[z + 1, y + 1], links[z, y]
            far, near, up, down = u[z + 2, y + 1], u[z, y + 1], u[z + 1, y + 2], u[z + 1, y]
            for x in range((z + y + colour) & 1, nx, 2):
                if link[x] != 0:
                    i = x + 1
                    old = row[i]
                    total = (far[i] + near[i]) + along_y * (up[i] + down[i]) + along_x * (row[i + 1] + row[i - 1])
                    row[i] = old + omega * (total * inverse[link[x]] - old)


@compiled
def _plane_fluxes(u: Array, links: Array, out: Array, z0: int, z1: int) -> None:
    nz, ny, nx = links.shape
    for z in range(z0, z1):
        first, last = z == 0, z == nz
        total = 0.0
        for y in range(ny):
            for x in range(nx):
                if (last or links[z, y, x] != 0) and (first or links[z - 1, y, x] != 0):
                    high = 1.0 if last else u[z + 1, y + 1, x + 1]
                    low = 0.0 if first else u[z, y + 1, x + 1]
                    total += high - low
        out[z] = 2 * total if first or last else total
