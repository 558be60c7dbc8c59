"""Phases by a network, tile by tile on a grid that belongs to the volume, so that no cut into blocks shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace, to_host
from fibtomo.core.volume import OUTSIDE, Shape
from fibtomo.errors import InputError

Array = Any
Index = NDArray[np.int64]
Score = Callable[[NDArray[np.float32]], NDArray[Any]]
SOLID_TILE, PLANE_TILE = (16, 128, 128), (1, 256, 256)


@dataclass(frozen=True)
class Tiling:
    """How a network sees a volume.

    Attributes
    ----------
    tile, halo
        Voxels (z, y, x) that one run labels, and voxels around them that it sees.
    channels
        Volumes that go in together.
    planes
        Whether the network takes planes, its channels being the neighbouring slices of each volume.
    """

    tile: Shape
    halo: Shape
    channels: int = 1
    planes: bool = False

    @property
    def seen(self) -> Shape:
        """Voxels that one run reads."""
        z, y, x = (t + 2 * h for t, h in zip(self.tile, self.halo, strict=True))
        return z, y, x

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the network's input."""
        z, y, x = self.seen
        return (1, self.channels * z, y, x) if self.planes else (1, self.channels, z, y, x)

    @property
    def reach(self) -> int:
        """Neighbouring slices that a slab of any place and thickness needs on either side."""
        return self.tile[0] - 1 + self.halo[0]

    def core_of(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Scores (classes, z, y, x) of the tile itself; a network may have left the halo out already.

        Raises
        ------
        InputError
            The scores belong to neither the tile nor what was seen.
        """
        small, large = ((1, *s[1:]) if self.planes else s for s in (self.tile, self.seen))
        if scores.ndim == len(self.input_shape):
            inner = scores[0][:, None] if self.planes else scores[0]
            if inner.shape[1:] == small:
                return inner
            if inner.shape[1:] == large:
                first = [0 if self.planes else self.halo[0], *self.halo[1:]]
                return inner[(slice(None), *(slice(f, f + t) for f, t in zip(first, self.tile, strict=True)))]
        raise InputError(
            f"the network makes {_text(scores.shape)} of {_text(self.input_shape)}, "
            f"which is neither what it saw nor the tile of {_text(self.tile)}: choose tile_px so that "
            f"tile_px + 2 halo_px is a multiple of what the network divides by, such as 16 or 32"
        )


def tiling_of(
    shape: Sequence[int | None], tile_px: Shape | None, halo_px: Shape, volumes: int = 1, name: str = "the network"
) -> Tiling:
    """Fit tiles to the input of a network.

    Parameters
    ----------
    shape
        Sizes of its input, (n, c, y, x) or (n, c, z, y, x); ``None`` where any will do.
    tile_px, halo_px
        Voxels (z, y, x) to label in one run, ``None`` for what fits; voxels around them to see. A network of planes
        takes one slice at a time and as many neighbours as it has channels.
    volumes
        Volumes that go in together.
    name
        Of the network, for messages.

    Raises
    ------
    InputError
        The network takes no such input.

    Examples
    --------
    >>> tiling_of((None, 1, None, None, None), (8, 64, 64), (4, 16, 16)).input_shape
    (1, 1, 16, 96, 96)
    >>> tiling_of((1, 5, 96, 96), None, (0, 16, 16)).tile, tiling_of((1, 5, 96, 96), None, (0, 16, 16)).reach
    ((1, 64, 64), 2)
    """
    if len(shape) not in (4, 5):
        raise InputError(f"{name} takes {len(shape)} axes; it must take (n, c, y, x) or (n, c, z, y, x)")
    batch, channels, *space = shape
    if batch not in (None, 1):
        raise InputError(f"{name} takes {batch} tiles at a time: export it for one, or with a dynamic batch axis")
    planes = len(shape) == 4
    if planes:
        z_halo = _neighbours(channels, volumes, name)
        tile_px = None if tile_px is None else (1, *tile_px[1:])
        halo_px, space = (z_halo, *halo_px[1:]), [2 * z_halo + 1, *space]
    elif channels not in (None, volumes):
        raise InputError(f"{name} takes {channels} channels, and {volumes} go in: name the others with --with")
    default = PLANE_TILE if planes else SOLID_TILE
    fitting = [d if s is None else s - 2 * h for s, d, h in zip(space, default, halo_px, strict=True)]
    z, y, x = tile_px or fitting
    tiling = Tiling((z, y, x), halo_px, volumes, planes)
    wrong = min(z, y, x) < 1 or any(s not in (None, seen) for s, seen in zip(space, tiling.seen, strict=True))
    if wrong:
        wanted = " × ".join("any" if s is None else str(s) for s in space)
        raise InputError(
            f"{name} takes {wanted} voxels (z, y, x), not {_text(tiling.tile)} with {_text(halo_px)} around them: "
            f"leave tile_px out, take a smaller halo_px, or export it with dynamic axes"
        )
    return tiling


def _text(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes))


def _neighbours(channels: int | None, volumes: int, name: str) -> int:
    """Slices on either side that a network of planes sees."""
    slices = volumes if channels is None else channels
    if slices % volumes or slices // volumes % 2 == 0:
        raise InputError(
            f"{name} takes {slices} channels, which are not an odd number of slices of {volumes} volume(s) each"
        )
    return slices // volumes // 2


def label_tiles(
    volumes: Sequence[Array],
    z0: int,
    depth: int,
    tiling: Tiling,
    score: Score,
    decide: Callable[[NDArray[Any]], NDArray[np.uint8]],
    straight: Sequence[Sequence[float]],
    spans: NDArray[np.integer[Any]] | None = None,
) -> Array:
    """Label slices [z0, z0 + n) of a volume; what lies beyond its faces is its mirror image.

    Parameters
    ----------
    volumes
        One or more (n, y, x) arrays of one shape, NumPy or CuPy. Slices within `Tiling.reach` of the first and last,
        where the volume goes on, come back as 255.
    depth
        Slices of the whole volume.
    tiling
        Tiles; they start at the volume's first voxel, whatever `z0` is.
    score
        The network: input of `Tiling.input_shape` to scores.
    decide
        Scores (classes, z, y, x) to phases (z, y, x).
    straight
        Greys (a, b) of each volume that become 0 and 1 for the network.
    spans
        (n, y, 2) columns [x0, x1) of each row that are shown; the rest, and NaN, enters as 0 and becomes 255.

    Returns
    -------
    Array
        (n, y, x) uint8, the same kind of array.

    Examples
    --------
    >>> grey = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    >>> bright = lambda tile: tile[0, :1][None]
    >>> phases = lambda scores: (scores[0] > 5).astype(np.uint8)
    >>> label_tiles([grey], 0, 3, Tiling((2, 2, 2), (0, 0, 0)), bright, phases, [(0.0, 1.0)]).ravel().tolist()
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    """
    first = volumes[0]
    out = namespace(first).full(first.shape, OUTSIDE, dtype=np.uint8)
    sizes = (depth, *first.shape[1:])
    deep, *flat = tiling.tile
    below = range(-(-z0 // deep) * deep, min(depth, z0 + len(first)), deep)
    for corner in product(below, *(range(0, size, tile) for size, tile in zip(sizes[1:], flat, strict=True))):
        index = [_mirrored(c, t, h, s) for c, t, h, s in zip(corner, tiling.tile, tiling.halo, sizes, strict=True)]
        index[0] -= z0
        if index[0].min() < 0 or index[0].max() >= len(first):
            continue
        shown = np.isfinite(_taken(first, index)) & _within(index, spans)
        tile = np.stack([_levelled(_taken(v, index), ends, shown) for v, ends in zip(volumes, straight, strict=True)])
        phases = decide(tiling.core_of(score(tile.reshape(tiling.input_shape))))
        inner = tuple(slice(h, h + t) for h, t in zip(tiling.halo, tiling.tile, strict=True))
        phases = np.where(shown[inner], phases, np.uint8(OUTSIDE))
        z, y, x = corner[0] - z0, *corner[1:]
        target = out[z : z + tiling.tile[0], y : y + tiling.tile[1], x : x + tiling.tile[2]]
        target[:] = like(out, phases[tuple(slice(0, n) for n in target.shape)])
    return out


def _mirrored(start: int, tile: int, halo: int, size: int) -> Index:
    """Places along an axis of a tile with its halo, reflected at both ends of the volume."""
    period = max(2 * size - 2, 1)
    place = np.arange(start - halo, start + tile + halo) % period
    return np.where(place < size, place, period - place)


def _taken(volume: Array, index: Sequence[Index]) -> NDArray[Any]:
    """The voxels of a tile, on the host."""
    low = [int(i.min()) for i in index]
    part = volume[tuple(slice(a, int(i.max()) + 1) for a, i in zip(low, index, strict=True))]
    return to_host(part)[np.ix_(*(i - a for a, i in zip(low, index, strict=True)))]


def _within(index: Sequence[Index], spans: NDArray[np.integer[Any]] | None) -> NDArray[np.bool_] | np.bool_:
    """Whether the voxels of a tile are shown."""
    if spans is None:
        return np.bool_(True)
    z, y, x = index
    ends = spans[np.ix_(z, y)]
    return (x >= ends[..., :1]) & (x < ends[..., 1:])


def _levelled(grey: NDArray[Any], ends: Sequence[float], shown: NDArray[np.bool_]) -> NDArray[np.float32]:
    zero, one = (np.float32(end) for end in ends)
    level = (grey.astype(np.float32) - zero) / (one - zero)
    return np.where(shown, level, np.float32(0))
