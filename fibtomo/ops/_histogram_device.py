"""Launch of ``kernels/histogram.cu``: the loop of `fibtomo.ops._histogram_kernels` for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import C_TYPES, launch, load_kernel

STRIP = 64
"""Rows that a block counts, as in ``kernels/histogram.cu``."""
WARPS = 8
SHARED_COUNTERS = 8192
"""Counters that fit shared memory; more bins are counted in global memory."""


def count_bins(volume: Any, start: Any, width: Any, n: int, spans: Any, patches: Any) -> Any:
    """Count the pixels of rectangles in bins, on the device; see `fibtomo.ops._histogram_kernels.count_bins`."""
    xp = namespace(volume)
    if volume.dtype.name not in C_TYPES:  # types without a kernel: the number of the bin in place of the grey
        low, step = (like(volume, v)[:, None, None] for v in (start, width))
        volume = xp.clip(xp.floor((volume - low) / step), -1, n).astype(xp.float32)
        start, width = np.zeros_like(start), np.ones_like(width)
    elif volume.dtype.kind in "iu":
        start = np.ceil(start)
    counts = xp.zeros((len(start), len(patches), n + 2), dtype=xp.int64)
    strips = -(-int((patches[:, 1] - patches[:, 0]).max(initial=0)) // STRIP)
    copies = min(WARPS, SHARED_COUNTERS // (n + 2))
    launch(
        load_kernel("histogram", SOURCE_T=volume.dtype),
        "count_bins",
        (len(volume), len(patches) * WARPS, strips * 32),
        (
            *(xp.ascontiguousarray(volume), counts),
            *(like(volume, v.astype(np.float32)) for v in (start, width)),
            *(like(volume, v.astype(np.int32)) for v in (spans, patches)),
            *(int(spans.size > 0), copies, n, len(start), *volume.shape[1:]),
        ),
        shared_bytes=copies * (n + 2) * 4,
    )
    return counts
