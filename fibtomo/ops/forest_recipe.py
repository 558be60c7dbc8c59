"""What a pixel forest looks at: greys of the channels, their features at scales in nm, tile by tile."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fibtomo.backend.array import as_array, is_cupy, namespace
from fibtomo.errors import InputError
from fibtomo.ops.features import Core, Kind, around, feature_bank, feature_names, feature_reach
from fibtomo.ops.histogram import Bins

Array = Any
Greys = tuple[float, float]
"""Grey that becomes 0 and grey that becomes 1 before features are made."""
PLAIN: Greys = (0.0, 1.0)
"""Greys as they are."""
VoxelNm = tuple[float, float, float]
SIGMAS_PX = (0.7, 1.4, 2.8, 5.6)
"""Default scales, over the edge of a pixel."""
DEFAULT_KINDS: tuple[Kind, ...] = ("grey", "gaussian", "gradient", "laplacian", "difference", "hessian")
"""As good as all of them on noisy phases of different grey, and two thirds of their neighbourhood."""
FINEST_PX, COARSEST_PX = 0.3, 40.0
"""Scales over the smallest edge of a voxel that can be sampled, and that are worth their neighbourhood."""
QUANTILES = (0.01, 0.99)
"""Shares of the voxels below the grey that becomes 0 and below the one that becomes 1."""
TILE = (32, 128, 256)
"""Largest part of a volume whose features are held at a time."""
TILE_BYTES = 160e6
"""Memory of a tile's features, with what it takes to make them."""
NEAR_FIELDS, FAR_FIELDS = 22, 6
"""Fields of the size of a tile with its neighbourhood, and of one that is masked, that are held at a time."""
SLAB_BYTES = 64e6
"""Greys that are read at a time to count them."""


@dataclass(frozen=True)
class Recipe:
    """How features are made of a volume.

    Attributes
    ----------
    sigmas_nm
        Scales, in `unit`.
    kinds, dimensions
        See `feature_bank`.
    channels
        Names of the channels; one without a name where there is but one.
    voxel_nm
        (dz, dy, dx) of the volumes that the forest learned from.
    unit
        "nm", or "voxel" where their voxel size was unknown.
    normalised
        Whether greys are brought to a common scale first.
    """

    sigmas_nm: tuple[float, ...]
    kinds: tuple[Kind, ...]
    dimensions: int
    channels: tuple[str, ...]
    voxel_nm: VoxelNm
    unit: str
    normalised: bool

    @property
    def names(self) -> list[str]:
        """Names of the features."""
        plain = feature_names(self.sigmas_nm, kinds=self.kinds, dimensions=self.dimensions)
        if self.unit == "voxel":
            plain = [name.replace(" nm", " px") for name in plain]
        if len(self.channels) == 1:
            return plain
        return [f"{channel}: {name}" for channel in self.channels for name in plain]

    def reach(self, voxel_nm: VoxelNm, *, masked: bool) -> tuple[int, int, int]:
        """Voxels along z, y and x to either side that matter; see `feature_reach`."""
        return feature_reach(self.sigmas_nm, voxel_nm, kinds=self.kinds, dimensions=self.dimensions, masked=masked)

    def check(self, voxel_nm: VoxelNm) -> None:
        """Whether volumes of this voxel size can be looked at.

        Raises
        ------
        InputError
            A scale is too fine or too coarse for the voxels.
        """
        edge = min(voxel_nm[3 - self.dimensions :])
        low, high = FINEST_PX * edge, COARSEST_PX * edge
        wrong = [sigma for sigma in self.sigmas_nm if not low <= sigma <= high]
        if wrong:
            raise InputError(
                f"a scale of {wrong[0]:g} {self.unit} cannot be sampled with voxels of {edge:g} {self.unit} (it takes "
                f"{low:.3g} to {high:.3g}): resample the volume to about "
                f"{' × '.join(f'{v:g}' for v in self.voxel_nm)} {self.unit}, or train with other scales"
            )

    def tile(self) -> tuple[int, int, int]:
        """Shape of a tile whose features fit `TILE_BYTES`."""
        deep = int(TILE_BYTES / (4 * len(self.names) * TILE[1] * TILE[2]))
        return min(max(deep, 4), TILE[0]), TILE[1], TILE[2]

    def working_bytes(self, voxel_nm: VoxelNm, shape: Sequence[int], classes: int) -> float:
        """Bytes that the features and probabilities of a tile take, with what they are made from."""
        inner, near, far = (
            math.prod(min(n, side + 2 * r) for n, side, r in zip(shape, self.tile(), reach, strict=True))
            for reach in ((0, 0, 0), self.reach(voxel_nm, masked=False), self.reach(voxel_nm, masked=True))
        )
        kept = len(self.names) * (1 + (len(self.channels) > 1)) + 5 * classes + 4
        return 4.0 * max(kept * inner + NEAR_FIELDS * near, FAR_FIELDS * far + 3 * near)

    def features(
        self, volume: "Volume", core: Core, voxel_nm: VoxelNm, greys: Sequence[Greys], mask: Array | None = None
    ) -> Array:
        """(features, z, y, x) float32 of a window of a volume.

        `mask` tells which voxels were seen, of the window that ``around(core, …)`` gives; ``None``: all.
        """
        block, inside = around(core, self.reach(voxel_nm, masked=mask is not None), volume.shape)
        made = {"kinds": self.kinds, "dimensions": self.dimensions, "mask": mask, "core": inside}
        banks = [
            feature_bank(_scaled(volume.part(channel, block), grey), self.sigmas_nm, voxel_nm, **made)
            for channel, grey in enumerate(greys)
        ]
        return banks[0] if len(banks) == 1 else namespace(banks[0]).concatenate(banks)


@dataclass(frozen=True)
class Volume:
    """Greys (z, y, x) or (c, z, y, x) of anything that gives parts as arrays: NumPy, CuPy, dask, Zarr, HDF5."""

    data: Any

    @classmethod
    def of(cls, data: Any) -> "Volume":
        """Take an array, or a `Stack`.

        Raises
        ------
        InputError
            It has not three or four axes, or holds no numbers.
        """
        if not hasattr(data, "__getitem__") and hasattr(data, "data"):
            data = data.data
        if not (hasattr(data, "shape") and hasattr(data, "dtype")):
            data = as_array(data)
        if len(data.shape) not in (3, 4) or np.dtype(data.dtype).kind not in "uif":
            raise InputError(
                f"a pixel forest needs a (z, y, x) or (c, z, y, x) volume of numbers, not {data.dtype} of shape "
                f"{tuple(data.shape)}"
            )
        return cls(data)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        z, y, x = self.data.shape[-3:]
        return int(z), int(y), int(x)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return 1 if len(self.data.shape) == 3 else int(self.data.shape[0])

    @property
    def on_card(self) -> bool:
        """Whether it is a CuPy array."""
        return is_cupy(self.data)

    def part(self, channel: int, window: Core) -> Array:
        """Greys of one channel."""
        return as_array(self.data[window if len(self.data.shape) == 3 else (channel, *window)])


def default_sigmas(voxel_nm: VoxelNm) -> tuple[float, ...]:
    """Scales of 0.7, 1.4, 2.8 and 5.6 edges of a pixel, which is what holds structures of 2 to 20 pixels.

    Examples
    --------
    >>> default_sigmas((20.0, 5.0, 5.0))
    (3.5, 7.0, 14.0, 28.0)
    """
    edge = math.sqrt(voxel_nm[1] * voxel_nm[2])
    return tuple(float(f"{sigma * edge:.3g}") for sigma in SIGMAS_PX)


def windows(first: Sequence[int], last: Sequence[int], step: Sequence[int]) -> Iterator[Core]:
    """Parts of at most `step` that cover a box.

    Examples
    --------
    >>> [w[0] for w in windows((1, 0, 0), (6, 2, 2), (3, 9, 9))]
    [slice(1, 4, None), slice(4, 6, None)]
    """
    for z in range(first[0], last[0], step[0]):
        for y in range(first[1], last[1], step[1]):
            for x in range(first[2], last[2], step[2]):
                ends = (min(a + b, c) for a, b, c in zip((z, y, x), step, last, strict=True))
                z1, y1, x1 = ends
                yield slice(z, z1), slice(y, y1), slice(x, x1)


def measure_greys(volume: Volume) -> list[Greys]:
    """1 and 99 % of the greys of each channel; the ends of the range (padding, saturation) do not count."""
    _, ny, nx = volume.shape
    deep = max(1, int(SLAB_BYTES / max(1, ny * nx * np.dtype(volume.data.dtype).itemsize)))
    slabs = list(windows((0, 0, 0), volume.shape, (deep, ny, nx)))
    found = []
    for channel in range(volume.channels):
        bins = Bins.covering(volume.data.dtype, _range(volume, channel, slabs))
        counts = sum((bins.count(volume.part(channel, w)) for w in slabs), np.zeros(bins.n + 2, np.int64))
        found.append(greys_of(counts[1:-1], bins))
    return found


def greys_of(counts: Array, bins: Bins) -> Greys:
    """Greys that become 0 and 1, of a histogram.

    Examples
    --------
    >>> counts = np.bincount([0, 0, 50, 100, 125, 150, 255], minlength=256)
    >>> greys_of(counts, Bins.covering("uint8", (0, 255)))
    (49.54, 150.46)
    """
    inner = np.asarray(counts, dtype=np.float64).copy()
    inner[[0, -1]] = 0
    if np.count_nonzero(inner) < 2:
        inner = np.asarray(counts, dtype=np.float64)
    total = inner.sum()
    if not total:
        return 0.0, 1.0
    share = np.cumsum(inner) / total
    black, white = (_quantile(share, q, bins) for q in QUANTILES)
    return black, max(white, black + 1e-6 * max(abs(black), 1e-6))


def _quantile(share: Array, q: float, bins: Bins) -> float:
    k = int(np.searchsorted(share, q))
    below = float(share[k - 1]) if k else 0.0
    return bins.start + bins.width * (k + (q - below) / (float(share[k]) - below))


def _range(volume: Volume, channel: int, slabs: Sequence[Core]) -> tuple[float, float]:
    dtype = np.dtype(volume.data.dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        info = np.iinfo(dtype)
        return float(info.min), float(info.max)
    lows, highs = [], []
    for window in slabs:
        part = volume.part(channel, window)
        xp = namespace(part)
        finite = part[xp.isfinite(part)]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        raise InputError("the volume holds no finite grey value")
    return min(lows), max(highs)


def _scaled(part: Array, greys: Greys) -> Array:
    xp = namespace(part)
    black, white = greys
    if greys == PLAIN:
        return part
    return (part.astype(xp.float32) - xp.float32(black)) * xp.float32(1 / (white - black))
