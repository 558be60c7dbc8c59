"""Zarr v3 arrays that are written a slab at a time: one task, whole shards, no locks."""

import importlib.util
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from fibtomo.core.volume import Calibration, Shape, VolumeSpec

CHUNK_YX = 128
SHARD_YX = 1024


def use_fast_codecs() -> bool:
    """Switch to the Rust codec pipeline when `zarrs` is installed; returns whether it is."""
    if importlib.util.find_spec("zarrs") is None or os.environ.get("FIBTOMO_NO_ZARRS"):
        return False
    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": 2})
    return True


def shard_shape(shape: Shape, slab: int) -> tuple[Shape, Shape]:
    """Return (chunk, shard) shapes whose z extent lets slabs of `slab` slices be written whole.

    Shards are as thick as a slab; chunks are its largest power of two up to 32.
    """
    chunk_z = 1
    while chunk_z < 32 and slab % (chunk_z * 2) == 0:
        chunk_z *= 2
    chunk = (chunk_z, min(CHUNK_YX, shape[1]), min(CHUNK_YX, shape[2]))
    shard = (slab, _round_up(min(SHARD_YX, shape[1]), chunk[1]), _round_up(min(SHARD_YX, shape[2]), chunk[2]))
    return chunk, shard


def _round_up(n: int, step: int) -> int:
    return -(-n // step) * step


def create_array(path: Path, shape: Shape, dtype: str, slab: int, attributes: dict[str, Any] | None = None) -> None:
    """Create (or replace) an empty array at `path` for slabs of `slab` slices."""
    chunk, shard = shard_shape(shape, slab)
    zarr.create_array(
        store=str(path),
        shape=shape,
        dtype=dtype,
        chunks=chunk,
        shards=shard,
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        fill_value=0,
        dimension_names=("z", "y", "x"),
        attributes=attributes or {},
        overwrite=True,
    )


def open_array(path: Path) -> Any:
    """Open the array at `path` for reading."""
    return zarr.open_array(str(path), mode="r")


def write_slab(path: Path, z0: int, block: NDArray[Any]) -> None:
    """Write `block` at slices [z0, z0 + len(block)); `z0` must start a shard."""
    array = zarr.open_array(str(path), mode="r+")
    shard_z = (array.shards or array.chunks)[0]
    if z0 % shard_z or (z0 + len(block) != array.shape[0] and len(block) % shard_z):
        raise ValueError(f"slab [{z0}, {z0 + len(block)}) does not cover whole shards of {shard_z} slices")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*zarrs.*")
        array[z0 : z0 + len(block)] = block


@dataclass(frozen=True)
class ZarrSource:
    """A `SliceSource` over a Zarr array on disk; opened anew wherever it is unpickled."""

    path: Path
    spec: VolumeSpec
    calibration: Calibration

    def read(self, z0: int, z1: int) -> NDArray[Any]:
        """Return slices [z0, z1)."""
        return np.asarray(open_array(self.path)[z0:z1])

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read any part lazily, like the array itself."""
        return np.asarray(open_array(self.path)[key])

    @property
    def shape(self) -> Shape:
        """Slices, rows, columns."""
        return self.spec.shape

    def fingerprint(self) -> str:
        """Path and shape; the arrays of a run never change once written."""
        return f"{self.path}:{self.spec.shape}"
