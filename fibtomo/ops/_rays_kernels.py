"""Loops behind `fibtomo.ops.wall_rays` on the CPU. Imported lazily: numba takes a while to load."""

from typing import Any

import numpy as np
from numba import njit

from fibtomo.backend.threads import map_ranges

Array = Any
compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
RAYS = 8
"""Rows of rays of one call."""


def wall_probability(levels: Array, field: Array, table: Array, rows: Array, leave: float, arrive: float) -> Array:
    """Probability (z, y, x) float32 of a wall at each voxel, from all of its ray.

    Parameters
    ----------
    levels
        (z, y, x) uint8, rows of `table`.
    field
        (z, y, x) float32, log odds of a wall for other reasons.
    table
        (256, depths + 1) float32, likelihood of each level at each distance to the next wall; the last one is far.
    rows
        (z,) int32 ascending: a ray that meets slice 0 at row r meets slice z at r + rows[z].
    leave, arrive
        Probabilities that a wall ends, and that a pore ends, from one slice to the next.
    """
    out = np.empty(levels.shape, np.float32)
    args = (levels, field, table, rows, np.float32(leave), np.float32(arrive), out)
    map_ranges(lambda a, b: _rays(*args, a - int(rows[-1]), b - int(rows[-1])), levels.shape[1] + int(rows[-1]), RAYS)
    return out


@compiled
def _scaled(moved: Array, here: Array, far: int) -> float:
    """Scale `moved` to a sum of 1 into `here`; the logarithm of its sum."""
    total = np.float32(0)
    for d in range(far + 1):
        total += moved[d]
    for d in range(far + 1):
        here[d] = moved[d] / total
    return np.log(total)


@compiled
def _rays(
    levels: Array, field: Array, table: Array, rows: Array, leave: float, arrive: float, out: Array,
    first: int, last: int,
) -> None:  # fmt: skip
    depth, height, width = levels.shape
    far = table.shape[1] - 1
    here, moved = np.empty(far + 1, np.float32), np.empty(far + 1, np.float32)
    one = np.float32(1)
    for r in range(first, last):
        front = 0
        while front < depth and r + rows[front] < 0:
            front += 1
        back = depth
        while back > front and r + rows[back - 1] >= height:
            back -= 1
        for x in range(width):
            scale = np.float32(0)
            for z in range(back - 1, front - 1, -1):
                y = r + rows[z]
                likely = table[levels[z, y, x]]
                odds = np.exp(field[z, y, x])
                if z == back - 1:
                    share = leave / (leave + arrive) * arrive
                    moved[0] = likely[0] * odds * arrive / (leave + arrive)
                    for d in range(1, far):
                        moved[d] = likely[d] * share
                        share *= one - arrive
                    moved[far] = likely[far] * share / arrive
                else:
                    pore = np.float32(0)
                    for d in range(1, far + 1):
                        pore += here[d]
                    moved[0] = likely[0] * odds * ((one - leave) * here[0] + arrive * pore)
                    moved[1] = likely[1] * leave * here[0]
                    for d in range(2, far + 1):
                        moved[d] = likely[d] * (one - arrive) * here[d - 1]
                    moved[far] += likely[far] * (one - arrive) * here[far]
                scale += _scaled(moved, here, far)
                out[z, y, x] = scale + np.log(here[0])
            whole = scale
            scale = np.float32(0)
            for d in range(far + 1):
                here[d] = one
            for z in range(front, back):
                y = r + rows[z]
                out[z, y, x] = min(one, np.exp(out[z, y, x] + scale + np.log(here[0]) - whole))
                likely = table[levels[z, y, x]]
                wall = likely[0] * np.exp(field[z, y, x]) * here[0]
                moved[0] = (one - leave) * wall + leave * likely[1] * here[1]
                for d in range(1, far):
                    moved[d] = arrive * wall + (one - arrive) * likely[d + 1] * here[d + 1]
                moved[far] = arrive * wall + (one - arrive) * likely[far] * here[far]
                scale += _scaled(moved, here, far)
