"""Launches of ``kernels/bilateral.cu``: the loops behind `fibtomo.ops.bilateral` on a CUDA device."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.errors import InputError

Array = Any
COLUMNS, ROWS, VOXELS = 32, 8, 4
"""Threads of a block, and voxels of each; ``kernels/bilateral.cu`` has the same."""
SHARED_BYTES = 48 << 10


def average_near(
    level: Array,
    grey: Array,
    seen: Array | None,
    offsets: NDArray[np.int64],
    near: NDArray[np.float32],
    tolerance: float,
    _workers: int | None,
) -> Array:
    """Bilateral mean; as `fibtomo.ops._bilateral_kernels.average_near`, `offsets` and `near` on the host.

    Raises
    ------
    InputError
        The offsets reach over more pixels than the shared memory of a block holds.
    """
    order = np.argsort(offsets[:, 0], kind="stable")
    (reach_z, reach_y, reach_x), offsets, near = np.abs(offsets).max(axis=0).tolist(), offsets[order], near[order]
    reach = max(reach_y, reach_x)
    width, height = COLUMNS + 2 * reach, ROWS * VOXELS + 2 * reach
    shared = 2 * 4 * width * height
    if shared > SHARED_BYTES:
        raise InputError(f"a bilateral filter that reaches over {reach} px does not fit a CUDA block; use NumPy arrays")
    first = np.searchsorted(offsets[:, 0], np.arange(-reach_z, reach_z + 2))
    shift = (offsets[:, 1] + reach) * width + offsets[:, 2] + reach
    tables = [like(grey, a.astype(np.int32)) for a in (first, shift)]
    out = namespace(grey).empty(grey.shape, np.float32)
    args = (*tables, like(grey, near), float(-0.5 / tolerance**2 / 1024), reach_z, reach, *grey.shape, out)
    nz, ny, nx = grey.shape
    function, sources = ("average_near", ()) if seen is None else ("average_seen_near", (seen,))
    launch(
        load_kernel("bilateral"),
        function,
        (nz, -(-ny // VOXELS), nx),
        (level, grey, *sources, *args),
        block=(COLUMNS, ROWS, 1),
        shared_bytes=shared,
    )
    return out
