"""Least total variation at a given distance from the data, in three dimensions."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.backend.kernels import twin
from fibtomo.ops._tiles import over_tiles
from fibtomo.ops.noise import NoiseModel, estimate_noise_model

Array = Any
FIRST_STEP = 0.5
"""Of the primal variable; for data whose noise has standard deviation 1."""
CONVEXITY = 0.5
"""By how much steps adapt; up to 1, less is safer."""
REACH = (6, 0.3)
"""Voxels, and voxels per iteration, beyond which no change moves a grey by 1e-4 of the noise."""
WEIGHTS = tuple(float(w) for w in np.geomspace(0.15, 2.5, 8))
PROBE_PX = 192
"""Side of the window on which weights are tried."""


def total_variation(
    planes: Array,
    strength: float = 0.7,
    iterations: int = 40,
    along_z: float | None = None,
    residual: float | None = None,
    *,
    aspect: float = 1.0,
    noise: NoiseModel | None = None,
    mask: Array | None = None,
) -> Array:
    """Image of least total variation at a given distance from the data (Rudin, Osher and Fatemi); float32.

    The greys are stabilised first, so that dark and bright phases are smoothed by the same number of standard
    deviations, and restored without bias. Solved by the accelerated primal-dual method of Chambolle and Pock, on the
    CUDA device where `planes` lie, or on one thread.

    Parameters
    ----------
    planes
        (z, y, x) grey values, NumPy or CuPy.
    strength
        Weight of the total variation, in units of the noise.
    iterations
        Fixed number of iterations.
    along_z
        Factor of the differences along z; ``None`` takes 1 / `aspect`, 0 filters slice by slice.
    residual
        Chooses the weight so that what is removed has this rms, in units of the noise. 1 is the discrepancy principle,
        which smooths too much; 0.9 came closest to the truth on virtual specimens.
    aspect
        Distance of slices over pixel size.
    noise
        Noise of the whole volume; ``None`` estimates it from `planes`.
    mask
        Same shape and place as `planes`; false voxels neither change nor count.

    References
    ----------
    L. Rudin, S. Osher, E. Fatemi, Physica D 60 (1992) 259, doi:10.1016/0167-2789(92)90242-F.
    A. Chambolle, T. Pock, J. Math. Imaging Vis. 40 (2011) 120, doi:10.1007/s10851-010-0251-1.
    """
    noise = noise or estimate_noise_model(planes, mask)
    if noise.silent:
        return planes.astype(np.float32)
    factor = _factor(len(planes), along_z, aspect)
    weight = strength if residual is None else weight_for([probe(planes, factor, iterations, mask, noise)], residual)

    def filtered(part: Array, shown: Any) -> Array:
        return noise.restore(minimise(noise.stabilise(part), weight, factor, iterations, shown))

    return over_tiles(filtered, planes, mask, reach_of(iterations))


def reach_of(iterations: int) -> int:
    """Voxels to either side of which a grey takes notice."""
    return min(iterations, math.ceil(REACH[0] + REACH[1] * iterations))


def reach_slices(iterations: int, along_z: float | None = None) -> int:
    """The same along z."""
    return 0 if along_z == 0 else reach_of(iterations)


def minimise(
    data: Array,
    weight: float,
    along_z: float = 1.0,
    iterations: int = 40,
    seen: Array | None = None,
) -> Array:
    """Minimise half the squared distance to `data` plus `weight` times the isotropic total variation.

    Parameters
    ----------
    data
        (z, y, x) values, NumPy or CuPy.
    weight
        Weight of the total variation.
    along_z
        Factor of differences along z.
    iterations
        Fixed number of iterations.
    seen
        (z, y, x) bool; across the rim of what was seen no difference counts.

    Examples
    --------
    >>> step = np.where(np.arange(40) < 20, 0.0, 10.0).reshape(1, 1, 40)
    >>> u = minimise(step, weight=4.0, iterations=400)
    >>> [round(float(v), 1) for v in u[0, 0, [0, -1]]]
    [0.2, 9.8]
    """
    xp = namespace(data)
    values = xp.ascontiguousarray(data, dtype=np.float32)
    shown = None if seen is None else xp.ascontiguousarray(seen, dtype=np.float32)
    if shown is not None:
        values = xp.where(shown > 0, values, np.float32(0))
    u, ahead = values.copy(), values.copy()
    dual = xp.zeros((3, *values.shape), np.float32)
    square, tau, steps = 4.0 * (2 + along_z**2), FIRST_STEP, []
    for _ in range(iterations):
        theta = 1 / math.sqrt(1 + 2 * CONVEXITY * tau)
        steps.append((1 / (square * tau), tau, theta))
        tau *= theta
    loops = twin(__package__, "tv", like=values)
    loops.iterate(values, u, ahead, dual, shown, weight, along_z, np.array(steps, np.float32).reshape(-1, 3))
    return u


def _factor(slices: int, along_z: float | None, aspect: float) -> float:
    if slices == 1:
        return 0.0
    return 1 / aspect if along_z is None else along_z


def probe(
    planes: Array, along_z: float, iterations: int, seen: Array | None = None, noise: NoiseModel | None = None
) -> NDArray[np.float64]:
    """Squares that the weights `WEIGHTS` remove from the middle half of some slices, in units of the noise.

    Parameters
    ----------
    planes
        (z, y, x) grey values, NumPy or CuPy; of the plane only a window in the middle is looked at.
    along_z, iterations
        As for `minimise`.
    seen
        (z, y, x) bool, in the same place.
    noise
        Of the whole volume; ``None`` estimates it from the window.

    Returns
    -------
    numpy.ndarray
        (weights + 1,) voxels and sums of squares.
    """
    ny, nx = planes.shape[1:]
    y0, x0 = max(0, ny - PROBE_PX) // 2, max(0, nx - PROBE_PX) // 2
    window = (slice(None), slice(y0, y0 + PROBE_PX), slice(x0, x0 + PROBE_PX))
    part, shown = planes[window], None if seen is None else seen[window]
    if min(part.shape[1:]) < 6 or (shown is not None and not shown.any()):
        return np.zeros(len(WEIGHTS) + 1)
    noise = noise or estimate_noise_model(part, shown)
    if noise.silent:
        return np.zeros(len(WEIGHTS) + 1)
    xp, level = namespace(part), noise.stabilise(part)
    rim = len(level) // 4 if along_z else 0
    inside = slice(rim, len(level) - rim)
    counted = xp.ones(level.shape, dtype=bool) if shown is None else shown
    sums = [counted[inside].sum(dtype=np.float64)]
    for weight in WEIGHTS:
        removed = (minimise(level, weight, along_z, iterations, shown) - level)[inside]
        sums.append((xp.where(counted[inside], removed, np.float32(0)).astype(np.float64) ** 2).sum())
    return to_host(xp.stack(sums))


def weight_for(probes: list[NDArray[np.float64]], residual: float) -> float:
    """Weight at which the rms of what is removed is `residual`, from the sums of several `probe`."""
    sums = np.sum(probes, axis=0)
    if sums[0] == 0:
        return WEIGHTS[0]
    rms = np.maximum.accumulate(np.sqrt(sums[1:] / sums[0]))
    return float(np.exp(np.interp(residual, rms, np.log(WEIGHTS))))
