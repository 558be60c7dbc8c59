"""Launches of ``kernels/nlm.cu``: the loops behind `fibtomo.ops.nlm` on a CUDA device."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import launch, load_kernel
from fibtomo.errors import InputError

Array = Any
Box = tuple[int, int, int]
LANES, DEPTH, ROWS, CHUNK = 32, 2, 4, 9
"""Threads of a warp, voxels of a thread along z and y, offsets along x served together: as in the kernel."""
SHARED_BYTES = (48 << 10) - 128
CUBE, SQUARE = (1, 1, 1), (0, 1, 1)
"""Surroundings that have kernels of their own."""


def average_alike(
    level: Array,
    grey: Array,
    seen: Array | None,
    offsets: NDArray[np.int64],
    radius: Box,
    falloff: float,
    core: tuple[int, int],
    _workers: int | None,
) -> Array:
    """One pass; as `fibtomo.ops._nlm_kernels.average_alike`, `offsets` on the host.

    Raises
    ------
    InputError
        The surroundings do not fit the shared memory of a block.
    """
    xp, void = namespace(grey), np.float32(np.nan)
    warps, chunk_y = _layout(radius, int(np.abs(offsets[:, 1]).max(initial=0)))
    sections, entries = _tables(np.concatenate([offsets, -offsets]), chunk_y)
    out = grey.copy()
    if seen is not None:
        level, grey = xp.where(seen, level, void), xp.where(seen, grey, void)
    padded = xp.ascontiguousarray(xp.pad(level, [(r, r) for r in radius], mode="symmetric"))
    (nz, ny, nx), (start, stop) = grey.shape, core
    reach = np.abs(offsets).max(axis=0, initial=0).tolist()
    rows = ROWS * warps + chunk_y - 1
    blocks = ((stop - start + DEPTH - 1) // DEPTH, -(-ny // ROWS), LANES * -(-nx // (LANES - 2 * radius[2])))
    kernels = ["average_cubes" if radius == CUBE else "average_squares" if radius == SQUARE else "average_boxes"]
    if seen is not None:
        kernels.append("average_seen_boxes")
    args = (like(grey, sections), like(grey, entries), out, float(1 + falloff / 8), float(-falloff / 16))
    for kernel in kernels:
        launch(
            load_kernel("nlm"),
            kernel,
            blocks,
            (padded, grey, *args, len(sections) - 1, chunk_y, *radius, *reach, start, stop, nz, ny, nx),
            block=(LANES, warps, 1),
            shared_bytes=_bytes(rows, radius),
        )
    return out


def _bytes(rows: int, radius: Box) -> int:
    """Shared memory of a block, for the levels and greys of `rows` rows."""
    return 4 * (LANES + CHUNK - 1) * ((rows + 2 * radius[1]) * (DEPTH + 2 * radius[0]) + rows * DEPTH)


def _layout(radius: Box, reach_y: int) -> tuple[int, int]:
    """Warps of a block, and offsets along y served together: those that bring least into shared memory per offset."""
    fitting = [
        (_bytes(rows, radius) / (warps * chunk), warps, chunk)
        for warps in (1, 2, 4, 8)
        for chunk in range(1, 2 * reach_y + 2)
        for rows in [ROWS * warps + chunk - 1]
        if _bytes(rows, radius) <= SHARED_BYTES
    ]
    if not fitting or 2 * radius[2] >= LANES:
        raise InputError(f"surroundings of half sides {radius} do not fit a CUDA block; use NumPy arrays")
    return min(fitting)[1:]


def _tables(offsets: NDArray[np.int64], chunk_y: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sections of offsets whose targets lie in shared memory together, and the offsets within, as the kernel has them.

    Examples
    --------
    >>> sections, entries = _tables(np.array([[0, 0, 1], [0, 0, -1], [1, 2, 0]]), chunk_y=1)
    >>> sections.tolist(), entries.tolist()
    ([[0, 0, -1, 0], [1, 2, -1, 2], [0, 0, 0, 3]], [[0, 0], [0, 2], [0, 1]])
    """
    least, steps = offsets.min(axis=0, initial=0), np.array([1, chunk_y, CHUNK])
    corner = (offsets - least) // steps * steps + least
    order = np.lexsort((*offsets.T[::-1], *corner.T[::-1]))
    corner, inside = corner[order], (offsets - corner)[order, 1:]
    places, first = np.unique(corner, axis=0, return_index=True)
    sections = np.zeros((len(places) + 1, 4), np.int32)
    sections[:-1, :3], sections[:-1, 3], sections[-1, 3] = places, first, len(offsets)
    return sections, np.ascontiguousarray(inside, dtype=np.int32)
