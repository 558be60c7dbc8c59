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
def sweep(
    data: Array,
    u: Array,
    ahead: Array,
    dual: Array,
    seen: Any,
    weight: float,
    along_z: float,
    steps: Array,
    z0: int,
    z1: int,
    duals: bool,
    greys: bool,
) -> None:
    """Do one iteration, or one half of it, on the slices [z0, z1).

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
        Dual step, primal step and extrapolation.
    duals, greys
        Halves to do; both in one go on one thread only.
    """
    nz, ny, nx = data.shape
    sigma, tau, theta = np.float32(steps[0]), np.float32(steps[1]), np.float32(steps[2])
    radius, factor = np.float32(1 / weight), np.float32(along_z)
    share, one = np.float32(1) / (np.float32(1) + tau), np.float32(1)
    for z in range(z0, z1):
        for y in range(ny):
            if duals:
                below, under = ahead[min(z + 1, nz - 1), y], ahead[z, min(y + 1, ny - 1)]
                here, pz, py, px = ahead[z, y], dual[0, z, y], dual[1, z, y], dual[2, z, y]
                right = here[1:]
                if seen is None:
                    for x in range(nx - 1):
                        a = pz[x] + sigma * factor * (below[x] - here[x])
                        b = py[x] + sigma * (under[x] - here[x])
                        c = px[x] + sigma * (right[x] - here[x])
                        scale = one / max(one, radius * np.sqrt(a * a + b * b + c * c))
                        pz[x], py[x], px[x] = a * scale, b * scale, c * scale
                    x = nx - 1
                    a = pz[x] + sigma * factor * (below[x] - here[x])
                    b = py[x] + sigma * (under[x] - here[x])
                    scale = one / max(one, radius * np.sqrt(a * a + b * b))
                    pz[x], py[x] = a * scale, b * scale
                else:
                    s, t, r = seen[z, y], seen[min(z + 1, nz - 1), y], seen[z, min(y + 1, ny - 1)]
                    for x in range(nx):
                        e = min(x + 1, nx - 1)
                        a = pz[x] + sigma * factor * s[x] * t[x] * (below[x] - here[x])
                        b = py[x] + sigma * s[x] * r[x] * (under[x] - here[x])
                        c = px[x] + sigma * s[x] * s[e] * (here[e] - here[x])
                        scale = one / max(one, radius * np.sqrt(a * a + b * b + c * c))
                        pz[x], py[x], px[x] = a * scale, b * scale, c * scale
            if greys:
                pz, py, px = dual[0, z, y], dual[1, z, y], dual[2, z, y]
                above, over = dual[0, max(z - 1, 0), y], dual[1, z, max(y - 1, 0)]
                top, first = np.float32(z > 0), np.float32(y > 0)
                seen_row, row, next_row = data[z, y], u[z, y], ahead[z, y]
                left = px[: nx - 1]
                flow = factor * (pz[0] - top * above[0]) + py[0] - first * over[0] + px[0]
                value = (row[0] + tau * (flow + seen_row[0])) * share
                next_row[0] = value + theta * (value - row[0])
                row[0] = value
                for x in range(1, nx):
                    flow = factor * (pz[x] - top * above[x]) + (py[x] - first * over[x]) + (px[x] - left[x - 1])
                    value = (row[x] + tau * (flow + seen_row[x])) * share
                    next_row[x] = value + theta * (value - row[x])
                    row[x] = value
