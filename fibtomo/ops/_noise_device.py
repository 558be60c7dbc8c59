"""Launches of ``kernels/noise.cu``: the loops behind `fibtomo.ops.noise` on a CUDA device."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.backend.kernels import C_TYPES, launch, load_kernel
from fibtomo.ops.noise import BINS_PER_OCTAVE, BLOCK_PX, GREY_BINS, OCTAVES, STEEPEST

Array = Any


def count_blocks(
    planes: Array, seen: Array | None, greys: tuple[float, float], stride: int
) -> tuple[NDArray[np.int64], int]:
    """Count blocks; as `fibtomo.ops._noise_kernels.count_blocks`, all slices in one launch; the counts on the host."""
    xp, (_, ny, nx), bins = namespace(planes), planes.shape, OCTAVES * BINS_PER_OCTAVE
    dtype = planes.dtype if planes.dtype.name in C_TYPES else np.float32
    source = xp.ascontiguousarray(planes, dtype=dtype)
    shown = () if seen is None else (xp.ascontiguousarray(seen, dtype=bool),)
    counts = xp.zeros(GREY_BINS * bins + 1, np.int32)
    low, scale = float(greys[0]), 1 / (greys[1] - greys[0])
    shares = (len(planes), (ny - BLOCK_PX) // stride + 1, (nx - BLOCK_PX) // stride + 1)
    sizes = (BLOCK_PX, stride, GREY_BINS, OCTAVES, BINS_PER_OCTAVE, *planes.shape)
    launch(
        load_kernel("noise", SOURCE_T=dtype),
        "count_blocks" if seen is None else "count_seen_blocks",
        shares,
        (source, *shown, low, float(scale), STEEPEST, *sizes, counts),
    )
    found = to_host(counts).astype(np.int64)
    return found[:-1].reshape(GREY_BINS, bins), int(found[-1])
