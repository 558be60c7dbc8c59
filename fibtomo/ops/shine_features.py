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
Core = tuple[slice, slice, slice]
TILE = (8, 256, 256)
"""Slices, rows and columns of a tile."""
BEHIND, AHEAD = 8, 16
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
BYTES_PER_VOXEL = 34.0
"""Of a tile with its surroundings, at most."""
FEATURES_TWICE = 14
"""Features of which there are two for a while."""


def slices_around() -> Range:
    """Slices before and after a slab that its features need."""
    return TILE[0] - 1 + BEHIND, TILE[0] - 1 + AHEAD


def tile_bytes(shape: Shape, rows_per_slice: float) -> float:
    """Bytes of temporaries while one tile is worked on."""
    rows = _rows_around(rows_per_slice)
    around = (BEHIND + AHEAD, 2 * rows, 2 * BESIDE)
    inner = [min(n, t) for n, t in zip(shape, TILE, strict=True)]
    window = math.prod(min(n, t + a) for n, t, a in zip(shape, TILE, around, strict=True))
    return BYTES_PER_VOXEL * window + 4.0 * (FEATURES_TWICE + len(shine_feature_names())) * math.prod(inner)


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


def shine_features(grey: Array, core: Core, light: Light, rows_per_slice: float, seen: Array | None = None) -> Array:
    """Features of some voxels of a block.

    Parameters
    ----------
    grey
        (z, y, x) block, NumPy or CuPy.
    core
        Slices, rows and columns of the block that features are wanted for.
    light, rows_per_slice, seen
        As for `wall_posterior`.

    Returns
    -------
    features
        (features, z, y, x) float32 of the core, as named by `shine_feature_names`: probabilities of a wall, as it is
        and after a slight Gaussian, their means and those of slices near by; brightness, edges and curvature of the
        slice; decay and noise of the stack.
    """
    xp, (slices, rows, columns) = namespace(grey), core
    bright = light.relative(grey)
    if seen is not None:
        bright = xp.where(seen, bright, xp.float32(0))
    wall = wall_posterior(bright, light, rows_per_slice, seen=seen)
    shape = wall[core].shape
    found = xp.empty((len(shine_feature_names()), *shape), xp.float32)
    found[0] = wall[core]
    for k, s in enumerate(SIGMAS_PX):
        mean = _in_plane(wall[slices], s, math.ceil(3 * s))
        found[2 + k] = mean[:, rows, columns]
    first = 2 + len(SIGMAS_PX)
    for k, offset in enumerate(NEIGHBOURS):
        near = xp.clip(xp.arange(slices.start, slices.stop) + offset, 0, len(wall) - 1)
        found[first + k] = wall[near, rows, columns]
    known = None if seen is None else seen[slices]
    plane = feature_bank(
        bright[slices], SIGMAS_PX, 1.0, kinds=KINDS, dimensions=2, mask=known, core=(slice(None), rows, columns)
    )
    found[first + len(NEIGHBOURS) : -2] = plane
    found[-2], found[-1] = light.decay_slices, light.noise
    del wall, plane
    soft = _in_plane(bright, CALM_PX, CALM_RADIUS)
    if seen is not None:
        soft /= xp.maximum(_in_plane(seen.astype(xp.float32), CALM_PX, CALM_RADIUS), xp.float32(1e-3))
    quiet = Light(light.black, light.white, light.decay_slices, CALM_NOISE * light.noise)
    found[1] = wall_posterior(soft, quiet, rows_per_slice, seen=seen)[core]
    return found


def _in_plane(volume: Array, sigma_px: float, radius: int) -> Array:
    """Gaussian mean within slices."""
    return ndimage(volume).gaussian_filter(volume, (0, sigma_px, sigma_px), mode="nearest", radius=(0, radius, radius))


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

    def within(self, z0: int) -> Core:
        """Where the window lies in a slab that begins at slice `z0`."""
        (a, b), rows, columns = self.window
        return slice(a - z0, b - z0), slice(*rows), slice(*columns)

    @property
    def core(self) -> Core:
        """Where the tile lies in its window."""
        z, y, x = (slice(a - w, b - w) for (a, b), (w, _) in zip(self.voxels, self.window, strict=True))
        return z, y, x


def tiles_of(shape: Shape, slices: Range, rows_per_slice: float) -> Iterator[Tile]:
    """Tiles that meet some slices of a volume.

    Examples
    --------
    >>> [(t.voxels[0], t.window[0]) for t in tiles_of((90, 4, 4), (31, 33), 0.8)]
    [((24, 32), (16, 48)), ((32, 40), (24, 56))]
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
