"""Loops behind `fibtomo.ops.total_variation` on the CPU.

One sweep does a whole iteration: the dual variables of a row, then its greys, while both are still in the cache; no
row is needed again before it has been renewed. Imported lazily: numba takes a while to load.
"""

from typing import Any

import numpy as np
from numba import njit

Array = Any
compiled = njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")


@compiled
def iterate(
    data: Array, u: Array, ahead: Array, dual: Array, seen: Any, weight: float, along_z: float, steps: Array
) -> None:
    """Do the iterations.

    Parameters
    ----------
    data, u, ahead
        (z, y, x) greys seen, greys found, and those extrapolated from the last two iterations; `u` and `ahead`
        change.
    dual
        (3, z, y, x) dual variables of the differences along z, y and x; changed.
    seen
        (z, y, x) 1 or 0 as float32; ``None`` if all was seen.
    weight, along_z
        Weight of the total variation; factor of the differences along z.
    steps
        (iterations, 3) dual step, primal step and extrapolation.
    """
    nz, ny, nx = data.shape
    radius, factor, one = np.float32(1 / weight), np.float32(along_z), np.float32(1)
    for k in range(len(steps)):
        sigma, tau, theta = np.float32(steps[k, 0]), np.float32(steps[k, 1]), np.float32(steps[k, 2])
        share = one / (one + tau)
        for z in range(nz):
            for y in range(ny):
                below, under, here = ahead[min(z + 1, nz - 1), y], ahead[z, min(y + 1, ny - 1)], ahead[z, y]
                pz, py, px = dual[0, z, y], dual[1, z, y], dual[2, z, y]
                if seen is None:
                    _raise_duals(here, below, under, pz, py, px, sigma, factor, radius)
                else:
                    s, t, r = seen[z, y], seen[min(z + 1, nz - 1), y], seen[z, min(y + 1, ny - 1)]
                    _raise_seen_duals(here, below, under, s, t, r, pz, py, px, sigma, factor, radius)
                above, over = dual[0, max(z - 1, 0), y], dual[1, z, max(y - 1, 0)]
                top, first = np.float32(z > 0), np.float32(y > 0)
                wanted, row, next_row, left = data[z, y], u[z, y], ahead[z, y], px[: nx - 1]
                flow = factor * (pz[0] - top * above[0]) + py[0] - first * over[0] + px[0]
                value = (row[0] + tau * (flow + wanted[0])) * share
                next_row[0] = value + theta * (value - row[0])
                row[0] = value
                for x in range(1, nx):
                    flow = factor * (pz[x] - top * above[x]) + (py[x] - first * over[x]) + (px[x] - left[x - 1])
                    value = (row[x] + tau * (flow + wanted[x])) * share
                    next_row[x] = value + theta * (value - row[x])
                    row[x] = value


@compiled
def _raise_duals(
    here: Array, below: Array, under: Array, pz: Array, py: Array, px: Array, sigma: float, factor: float, radius: float
) -> None:
    """Step the dual variables of a row along the differences and put them back into their ball."""
    last, one = len(here) - 1, np.float32(1)
    right = here[1:]
    for x in range(last):
        a = pz[x] + sigma * factor * (below[x] - here[x])
        b = py[x] + sigma * (under[x] - here[x])
        c = px[x] + sigma * (right[x] - here[x])
        scale = one / max(one, radius * np.sqrt(a * a + b * b + c * c))
        pz[x], py[x], px[x] = a * scale, b * scale, c * scale
    a = pz[last] + sigma * factor * (below[last] - here[last])
    b = py[last] + sigma * (under[last] - here[last])
    scale = one / max(one, radius * np.sqrt(a * a + b * b))
    pz[last], py[last] = a * scale, b * scale


@compiled
def _raise_seen_duals(
    here: Array, below: Array, under: Array, s: Array, t: Array, r: Array, pz: Array, py: Array, px: Array,
    sigma: float, factor: float, radius: float,
) -> None:  # fmt: skip
    """Like `_raise_duals`, where both sides of a difference were seen."""
    one = np.float32(1)
    for x in range(len(here)):
        e = min(x + 1, len(here) - 1)
        a = pz[x] + sigma * factor * s[x] * t[x] * (below[x] - here[x])
        b = py[x] + sigma * s[x] * r[x] * (under[x] - here[x])
        c = px[x] + sigma * s[x] * s[e] * (here[e] - here[x])
        scale = one / max(one, radius * np.sqrt(a * a + b * b + c * c))
        pz[x], py[x], px[x] = a * scale, b * scale, c * scale
