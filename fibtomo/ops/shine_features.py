"""What a forest is told of voxels where back walls shine through, tile by tile.

Tiles lie on a grid that is fixed to the whole volume, each with its surroundings, so that no feature depends on how the
volume was cut into slabs.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fibtomo.backend.array import namespace, ndimage
from fibtomo.core.volume import Shape
from fibtomo.ops.features import feature_bank, feature_names
from fibtomo.ops.wall_rays import Light, wall_posterior

Array = Any
Range = tuple[int, int]
TILE = (16, 256, 256)
"""Slices, rows and columns of a tile."""
BEHIND, AHEAD = 12, 32
"""Slices before and after a tile that its rays see."""
BESIDE = 28
"""Pixels to each side of a tile that its features see."""
SIGMAS_PX = (1.0, 2.5)
KINDS = ("grey", "gaussian", "gradient", "hessian")
CALM_PX = 0.7
"""Standard deviation of the Gaussian before the second look along the rays."""
CALM_RADIUS = 2
CALM_NOISE = 0.45
"""What it leaves of the noise."""
NEIGHBOURS = (-3, -1, 1, 3)
"""Slices whose wall probabilities are features too."""
BYTES_PER_VOXEL = 60.0
"""Of the surroundings of a tile, at most."""


def slices_around() -> Range:
    """Slices before and after a slab that its features need."""
    return TILE[0] - 1 + BEHIND, TILE[0] - 1 + AHEAD


def tile_bytes(shape: Shape, rows_per_slice: float) -> float:
    """Bytes of temporaries while one tile is worked on."""
    rows = _rows_around(rows_per_slice)
    around = (BEHIND + AHEAD, 2 * rows, 2 * BESIDE)
    inner = [min(n, t) for n, t in zip(shape, TILE, strict=True)]
    window = math.prod(min(n, t + a) for n, t, a in zip(shape, TILE, around, strict=True))
    return BYTES_PER_VOXEL * window + 6.0 * len(shine_feature_names()) * math.prod(inner)


def shine_feature_names() -> list[str]:
    """Names of the features, in order.

    Examples
    --------
    >>> shine_feature_names()[:3], len(shine_feature_names())
    (['wall', 'wall, calm', 'wall 1 px'], 19)
    """
    walls = ["wall", "wall, calm", *(f"wall {s:g} px" for s in SIGMAS_PX), *(f"wall {k:+d} slices" for k in NEIGHBOURS)]
    plane = [name.replace(" nm", " px") for name in feature_names(SIGMAS_PX, kinds=KINDS, dimensions=2)]
    return [*walls, *plane, "decay", "noise"]


def shine_features(grey: Array, core: Range, light: Light, rows_per_slice: float, seen: Array | None = None) -> Array:
    """Features of some slices of a block.

    Parameters
    ----------
    grey
        (z, y, x) block, NumPy or CuPy.
    core
        Slices [start, stop) of the block that features are wanted for.
    light, rows_per_slice, seen
        As for `wall_posterior`.

    Returns
    -------
    features
        (features, stop − start, y, x) float32 as named by `shine_feature_names`: probabilities of a wall, as it is and
        after a slight Gaussian, their means and those of slices near by; brightness, edges and curvature of the slice;
        decay and noise of the stack.
    """
    xp, nd = namespace(grey), ndimage(grey)
    here = slice(*core)
    bright = light.relative(grey)
    if seen is not None:
        bright = xp.where(seen, bright, xp.float32(0))
    wall = wall_posterior(bright, light, rows_per_slice, seen=seen)
    soft = _calmed(bright)
    if seen is not None:
        soft /= xp.maximum(_calmed(seen.astype(xp.float32)), xp.float32(1e-3))
    quiet = Light(light.black, light.white, light.decay_slices, CALM_NOISE * light.noise)
    calm = wall_posterior(soft, quiet, rows_per_slice, seen=seen)[here]
    known = None if seen is None else seen[here]
    plane = feature_bank(bright[here], SIGMAS_PX, 1.0, kinds=KINDS, dimensions=2, mask=known)
    radii = [(0, *(math.ceil(3 * s),) * 2) for s in SIGMAS_PX]
    means = [
        nd.gaussian_filter(wall[here], (0, s, s), mode="nearest", radius=r)
        for s, r in zip(SIGMAS_PX, radii, strict=True)
    ]
    slices = xp.arange(*core)
    near = [wall[xp.clip(slices + k, 0, len(wall) - 1)] for k in NEIGHBOURS]
    stack = [xp.full(calm.shape, value, xp.float32) for value in (light.decay_slices, light.noise)]
    return xp.concatenate([xp.stack([wall[here], calm, *means, *near]), plane, xp.stack(stack)])


def _calmed(volume: Array) -> Array:
    sigma, radius = (0, CALM_PX, CALM_PX), (0, CALM_RADIUS, CALM_RADIUS)
    return ndimage(volume).gaussian_filter(volume, sigma, mode="nearest", radius=radius)


@dataclass(frozen=True)
class Tile:
    """A tile of a volume.

    Attributes
    ----------
    voxels
        Slices, rows and columns [start, stop) in the volume.
    window
        The same with what its features see.
    """

    voxels: tuple[Range, Range, Range]
    window: tuple[Range, Range, Range]

    def within(self, z0: int) -> tuple[slice, slice, slice]:
        """Where the window lies in a slab that begins at slice `z0`."""
        (a, b), rows, columns = self.window
        return slice(a - z0, b - z0), slice(*rows), slice(*columns)

    @property
    def core(self) -> tuple[slice, slice, slice]:
        """Where the tile lies in its window."""
        z, y, x = (slice(a - w, b - w) for (a, b), (w, _) in zip(self.voxels, self.window, strict=True))
        return z, y, x


def tiles_of(shape: Shape, slices: Range, rows_per_slice: float) -> Iterator[Tile]:
    """Tiles that meet some slices of a volume.

    Examples
    --------
    >>> [(t.voxels[0], t.window[0]) for t in tiles_of((90, 4, 4), (31, 33), 0.8)]
    [((16, 32), (4, 64)), ((32, 48), (20, 80))]
    """
    around = (BEHIND, AHEAD), (_rows_around(rows_per_slice),) * 2, (BESIDE,) * 2
    wanted = slices, (0, shape[1]), (0, shape[2])
    corners = [range(a // t * t, b, t) for (a, b), t in zip(wanted, TILE, strict=True)]
    for corner in itertools.product(*corners):
        voxels = [(a, min(a + t, n)) for a, t, n in zip(corner, TILE, shape, strict=True)]
        window = [
            (max(0, a - before), min(b + after, n))
            for (a, b), (before, after), n in zip(voxels, around, shape, strict=True)
        ]
        yield Tile((voxels[0], voxels[1], voxels[2]), (window[0], window[1], window[2]))


def _rows_around(rows_per_slice: float) -> int:
    return math.ceil((TILE[0] + AHEAD) * rows_per_slice) + BESIDE
