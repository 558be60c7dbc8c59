"""Forests over volumes of any size: slabs of what is read lazily, tiles of what is in memory."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace
from fibtomo.ops.features import Core, around
from fibtomo.ops.forest_inference import FlatForest, forest_probabilities
from fibtomo.ops.forest_recipe import Greys, Recipe, Volume, VoxelNm, windows
from fibtomo.ops.histogram import shown

Array = Any
READ_BYTES = 256e6
"""Greys of a lazy volume that are held at a time, as far as one tile's neighbourhood allows."""


class Answer(NamedTuple):
    """What a forest says of a window: probabilities (classes, z, y, x), features, and which voxels were seen."""

    window: Core
    probabilities: Array
    features: Array
    seen: Array | None


def answers(
    forest: FlatForest,
    recipe: Recipe,
    volume: Volume,
    voxel_nm: VoxelNm,
    greys: Sequence[Greys],
    spans: NDArray[np.int64] | None = None,
    slices: tuple[int, int] | None = None,
) -> Iterator[Answer]:
    """Ask about all voxels of some slices (all slices by default), tile by tile.

    Windows without a seen voxel are left out. `spans` (z, y, 2) are the columns [x0, x1) that rows show, or ``None``
    for all. What comes does not depend on how a volume is cut.
    """
    masked = spans is not None or np.dtype(volume.data.dtype).kind == "f"
    reach = recipe.reach(voxel_nm, masked=masked)
    for (z0, z1), lo, part in _in_memory(volume, slices or (0, volume.shape[0]), reach[0], recipe.tile()[0]):
        own = None if spans is None else spans[lo : lo + part.shape[0]]
        _, ny, nx = part.shape
        for window in windows((z0 - lo, 0, 0), (z1 - lo, ny, nx), recipe.tile()):
            block, inside = around(window, reach, part.shape)
            seen = _seen(part, block, own)
            if seen is not None and not seen[inside].any():
                continue
            features = recipe.features(part, window, voxel_nm, greys, seen)
            z = slice(window[0].start + lo, window[0].stop + lo)
            told = forest_probabilities(features, forest)
            yield Answer((z, *window[1:]), told, features, None if seen is None else seen[inside])


def _in_memory(
    volume: Volume, slices: tuple[int, int], reach: int, deep: int
) -> Iterator[tuple[tuple[int, int], int, Volume]]:
    """Slices [z0, z1) at a time, with a volume in memory that begins at a slice and holds their neighbourhood."""
    if isinstance(volume.data, np.ndarray) or volume.on_card:
        yield slices, 0, volume
        return
    n, ny, nx = volume.shape
    fits = int(READ_BYTES / max(1, volume.channels * ny * nx * np.dtype(volume.data.dtype).itemsize))
    step = max(deep, (fits - 2 * reach) // deep * deep)
    for z0 in range(*slices, step):
        z1 = min(z0 + step, slices[1])
        lo, hi = max(0, z0 - reach), min(n, z1 + reach)
        parts = [volume.part(c, (slice(lo, hi), slice(0, ny), slice(0, nx))) for c in range(volume.channels)]
        yield (z0, z1), lo, Volume(parts[0] if len(parts) == 1 else namespace(parts[0]).stack(parts))


def _seen(volume: Volume, block: Core, spans: NDArray[np.int64] | None) -> Array | None:
    """Which voxels of a block were seen (inside spans, not NaN), or ``None`` if all were."""
    seen = None
    if np.dtype(volume.data.dtype).kind == "f":
        xp = namespace(volume.data)
        for channel in range(volume.channels):
            finite = xp.isfinite(volume.part(channel, block))
            seen = finite if seen is None else seen & finite
        seen = None if seen is None or bool(seen.all()) else seen
    if spans is None:
        return seen
    z, y, x = block
    own = spans[z, y]
    if own[..., 0].max(initial=0) <= x.start and own[..., 1].min(initial=x.stop) >= x.stop:
        return seen
    inside = shown(volume.part(0, block), own - x.start)
    return inside if seen is None else seen & inside
