"""Pictures' worth of voxels from volumes of any size: whole slices singly, sections and small grids by stride."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Shape, VolumeSpec, VoxelNm, value_range_of

MAX_EDGE = 900
"""Most samples a view has along an edge."""
_SLAB_BYTES = 32 << 20
_DENSE = 2.0
"""Up to this spacing of the wanted slices whole slabs are read; above it, one slice at a time."""


@dataclass(frozen=True)
class Volume:
    """A volume on disk or in memory, read a few slices at a time.

    Built by `open_volume` from a `SliceSource` or from anything with ``shape`` and slicing (NumPy, Zarr, Dask).
    """

    spec: VolumeSpec
    source: Any

    def read(self, z0: int, z1: int) -> NDArray[Any]:
        """Return slices [z0, z1) as a NumPy array."""
        part = self.source.read(z0, z1) if hasattr(self.source, "read") else self.source[z0:z1]
        return np.asarray(part)

    def slice_at(self, z: int) -> NDArray[Any]:
        """Return slice `z` as a (y, x) array."""
        return self.read(z, z + 1)[0]

    def planes(self, wanted: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (position in `wanted`, slice) for ascending slice numbers, holding one slab at a time."""
        if len(wanted) == 0:
            return
        spacing = (wanted[-1] - wanted[0] + 1) / len(wanted)
        depth = max(1, _SLAB_BYTES // max(1, self.spec.slice_bytes)) if spacing <= _DENSE else 1
        position = 0
        while position < len(wanted):
            z0 = int(wanted[position])
            stop = int(np.searchsorted(wanted, z0 + depth))
            slab = self.read(z0, int(wanted[stop - 1]) + 1)
            for i in range(position, stop):
                yield i, slab[int(wanted[i]) - z0]
            position = stop


def open_volume(source: Any, kind: str = "grey") -> Volume:
    """Wrap a `SliceSource` or a sliceable array; an array without a ``spec`` has no scale."""
    spec = getattr(source, "spec", None)
    if spec is None:
        spec = VolumeSpec(tuple(source.shape), str(source.dtype), None, value_range_of(source.dtype), kind=kind)
    return Volume(spec, source)


@dataclass(frozen=True)
class Views:
    """Three orthogonal sections and a small grid, all taken in one pass.

    Attributes
    ----------
    xy, xz, yz
        (y, x), (z, x) and (z, y) samples.
    grid
        (z, y, x) samples for the 3-D rendering; empty if none was asked for.
    spacing
        (dz, dy, dx) of the sections, in `unit`.
    grid_spacing
        (dz, dy, dx) of `grid`, in `unit`, such that the grid is as large as the volume.
    at
        Slice, row and column through which the sections were cut.
    strides
        Voxels per sample of the sections (z, y, x).
    """

    xy: NDArray[Any]
    xz: NDArray[Any]
    yz: NDArray[Any]
    grid: NDArray[Any]
    spacing: VoxelNm
    grid_spacing: VoxelNm
    at: tuple[int, int, int]
    strides: tuple[int, int, int]
    unit: str


def take_views(volume: Volume, grid_edge: int | None = None, max_slices: int = 400) -> Views:
    """Cut the three central sections and, if asked, a grid of about `grid_edge` samples along the longest edge.

    Of longer stacks `max_slices` evenly spaced slices are looked at, so that a picture costs the same for any length.
    """
    shape, scale = volume.spec.shape, volume.spec.scale
    at = shape[0] // 2, shape[1] // 2, shape[2] // 2
    strides = (-(-shape[0] // max_slices), -(-shape[1] // MAX_EDGE), -(-shape[2] // MAX_EDGE))
    grid_strides = _grid_strides(shape, scale, grid_edge) if grid_edge else shape
    wanted = np.arange(0, shape[0], strides[0])
    if grid_edge:
        wanted = np.union1d(wanted, np.arange(0, shape[0], grid_strides[0]))
    xz: list[NDArray[Any]] = []
    yz: list[NDArray[Any]] = []
    grid: list[NDArray[Any]] = []
    for i, plane in volume.planes(wanted):
        z = int(wanted[i])
        if z % strides[0] == 0:
            xz.append(plane[at[1], :: strides[2]].copy())
            yz.append(plane[:: strides[1], at[2]].copy())
        if grid_edge and z % grid_strides[0] == 0:
            grid.append(plane[:: grid_strides[1], :: grid_strides[2]].copy())
    thin = tuple(-(-n // s) for n, s in zip(shape, grid_strides, strict=True))
    return Views(
        xy=volume.slice_at(at[0])[:: strides[1], :: strides[2]],
        xz=np.stack(xz),
        yz=np.stack(yz),
        grid=np.stack(grid) if grid else np.zeros((0, 0, 0), volume.spec.dtype),
        spacing=_times(scale, strides),
        grid_spacing=(shape[0] * scale[0] / thin[0], shape[1] * scale[1] / thin[1], shape[2] * scale[2] / thin[2]),
        at=at,
        strides=strides,
        unit=volume.spec.unit,
    )


def _grid_strides(shape: Shape, scale: VoxelNm, edge: int) -> tuple[int, int, int]:
    step = max(n * d for n, d in zip(shape, scale, strict=True)) / edge
    z, y, x = (max(1, round(step / d)) for d in scale)
    return z, y, x


def _times(scale: VoxelNm, strides: tuple[int, int, int]) -> VoxelNm:
    return scale[0] * strides[0], scale[1] * strides[1], scale[2] * strides[2]
