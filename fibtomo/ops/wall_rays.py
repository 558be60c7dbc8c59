"""Walls behind open pores: where along the electron beam the first wall lies, judged from a whole ray at once."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array, namespace, ndimage
from fibtomo.backend.kernels import twin
from fibtomo.errors import InputError

Array = Any
DARKEST, BRIGHTEST = -0.5, 1.5
"""Range of relative brightness that is told apart in `LEVELS` steps; below and above it makes no difference."""
LEVELS = 255
UNSEEN = 255
"""Level of voxels that nothing is known of."""
LEAST_FAR, MOST_FAR = 8, 64
"""Slices to a wall that are told apart, at least and at most."""
FAR_DECAYS = 3.0
DOUBT = 0.01
"""Least likelihood of any brightness: rims, texture and faults are not in the model."""
LEAST_SIGMA = 0.02
WALL_SLICES, PORE_SLICES = 10.0, 14.0
"""Mean lengths of walls and pores along a ray that are expected before anything is seen."""
COUPLING = 8.0
"""Log odds that a neighbourhood which is all wall adds."""
NEIGHBOURHOOD = (1.0, 1.5, 1.5)
"""Standard deviations, voxels, of the neighbourhood."""
NEIGHBOURS = tuple(math.ceil(3 * s) for s in NEIGHBOURHOOD)


@dataclass(frozen=True)
class Light:
    """How bright walls and pores are.

    Parameters
    ----------
    black, white
        Grey of a pore without end and of a wall in the face.
    decay_slices
        Depth in slices at which a wall behind the face has lost 63 % of its brightness; 0 where pores are filled.
    noise
        Standard deviation of the grey of a voxel over `white` − `black`.
    """

    black: float
    white: float
    decay_slices: float
    noise: float

    def __post_init__(self) -> None:
        if not self.white > self.black or self.decay_slices < 0 or self.noise < 0:
            raise InputError(
                f"walls of grey {self.white:g} must be brighter than pores of grey {self.black:g}, "
                f"and decay_slices = {self.decay_slices:g} and noise = {self.noise:g} not negative"
            )

    def relative(self, grey: Array) -> Array:
        """Brightness, float32: 0 in a pore without end, 1 in a wall."""
        xp = namespace(grey)
        return (grey.astype(xp.float32) - xp.float32(self.black)) * xp.float32(1 / (self.white - self.black))


def wall_posterior(
    brightness: Array, light: Light, rows_per_slice: float, *, seen: Array | None = None, rounds: int = 2
) -> Array:
    """Probability that a voxel is wall, given all voxels of its ray and its neighbours' probabilities.

    A ray that leaves the face runs `rows_per_slice` rows down for every slice it goes deeper. In a wall it shows 1; in
    a pore it shows exp(−t / decay) of the first wall it will meet, t slices ahead. The distances along a ray form a
    Markov chain (0 in a wall, else one more than in the slice behind), whose two passes give every voxel its exact
    probability. Neighbours are joined by passing their mean probability on as prior odds (mean field).

    Parameters
    ----------
    brightness
        (z, y, x) float32 as from `Light.relative`, NumPy or CuPy; z advances with milling, y runs down the face.
    light
        What to expect.
    rows_per_slice
        Cotangent of the column angle times dz / dy.
    seen
        Same shape; false where nothing is known.
    rounds
        Passes; every one after the first hears the neighbours.

    Returns
    -------
    probability
        (z, y, x) float32, the same kind of array.

    Raises
    ------
    InputError
        The volume is not three-dimensional or the rays run upwards.

    References
    ----------
    L. R. Rabiner, Proc. IEEE 77 (1989) 257, doi:10.1109/5.18626 (forward and backward pass); M. Salzer et al., Mater.
    Charact. 69 (2012) 115 (structures end where they are seen last).

    Examples
    --------
    A wall of two slices behind five of a pore that brightens towards it:

    >>> light = Light(black=0.0, white=1.0, decay_slices=3.0, noise=0.05)
    >>> depth = np.array([5, 4, 3, 2, 1, 0.5, 0.5])
    >>> ray = np.exp(-(depth - 0.5) / 3.0).astype(np.float32).reshape(7, 1, 1)
    >>> (wall_posterior(ray, light, rows_per_slice=0.0) > 0.5).astype(int).ravel().tolist()
    [0, 0, 0, 0, 0, 1, 1]
    """
    brightness = as_array(brightness)
    if brightness.ndim != 3 or not 0 <= rows_per_slice < math.inf:
        raise InputError(
            f"rays need a (z, y, x) volume, not {brightness.ndim} axes, and rows_per_slice = {rows_per_slice} from 0 up"
        )
    xp, nd = namespace(brightness), ndimage(brightness)
    levels = _levels(brightness, seen)
    table = expected_levels(light)
    rows = np.rint(np.arange(len(brightness)) * rows_per_slice).astype(np.int32)
    loops = twin(__package__, "rays", like=brightness)
    field = xp.zeros(brightness.shape, xp.float32)
    for _ in range(rounds):
        wall = loops.wall_probability(levels, field, table, rows, 1 / WALL_SLICES, 1 / PORE_SLICES)
        smooth = nd.gaussian_filter(wall, NEIGHBOURHOOD, mode="nearest", radius=NEIGHBOURS)
        field = COUPLING * (2 * smooth - 1)
    return wall


def _levels(brightness: Array, seen: Array | None) -> Array:
    xp = namespace(brightness)
    step = xp.float32(LEVELS / (BRIGHTEST - DARKEST))
    levels = xp.clip((brightness - xp.float32(DARKEST)) * step, 0, LEVELS - 1).astype(xp.uint8)
    if seen is not None:
        levels[~seen] = UNSEEN
    return levels


def expected_levels(light: Light) -> NDArray[np.float32]:
    """Likelihood (256, distances) of every level at each distance to the next wall, the last row of what is unseen.

    Brightness above a wall's and below an endless pore's is as likely as theirs: rims and shadows are no evidence.

    Examples
    --------
    >>> expected_levels(Light(0.0, 1.0, decay_slices=5.0, noise=0.05)).shape
    (256, 16)
    """
    far = min(MOST_FAR, max(LEAST_FAR, math.ceil(FAR_DECAYS * light.decay_slices)))
    sigma = math.hypot(light.noise, LEAST_SIGMA)
    level = DARKEST + (np.arange(LEVELS)[:, None] + 0.5) * (BRIGHTEST - DARKEST) / LEVELS
    distance = np.arange(4 * far + 1)
    # half a slice: the wall lies somewhere between the last slice of the pore and the first of the wall
    shown = np.exp(-np.maximum(distance - 0.5, 0) / light.decay_slices) if light.decay_slices else 1.0 * (distance == 0)
    likely = np.exp(-0.5 * ((np.clip(level, shown[-1], 1) - shown) / sigma) ** 2)
    table = np.ones((256, far + 1))
    table[:LEVELS, :far] = likely[:, :far]
    table[:LEVELS, far] = likely[:, far:].mean(axis=1) if light.decay_slices else likely[:, far]
    dark = level[:, 0] < shown[far]
    table[:LEVELS, far][dark] = np.maximum(table[:LEVELS, far], likely[:, -1])[dark]
    return ((1 - DOUBT) * table + DOUBT).astype(np.float32)
