"""Launches of ``kernels/cells.cu``: the loop of `fibtomo.ops._cell_kernels` for CuPy arrays."""

from typing import Any

import numpy as np

from fibtomo.backend.array import like, namespace
from fibtomo.backend.kernels import launch, load_kernel

CONFIGURATIONS = 256
STRIP = 64
"""Rows that a block counts, as in ``kernels/cells.cu``."""
SHARED_PAIRS = 32
"""Pairs of phases whose configurations fit shared memory."""
SPLIT_PAIRS = 128
"""Pairs of phases above which cells of two phases are no longer counted apart: the table would outgrow the volume."""
TABLE_BYTES = 2**21
"""Size of the tables above which slices are counted in several launches."""


def _slice_bytes(tiles: tuple[int, int], n_phases: int) -> int:
    """Bytes of the tables of one slice."""
    pairs = n_phases * (n_phases - 1) // 2
    return 4 * (tiles[0] * tiles[1] * CONFIGURATIONS * (_split(n_phases) + n_phases) + 28 * pairs)


def counting_bytes(depth: int, tiles: tuple[int, int], n_phases: int) -> float:
    """Bytes that counting takes beside the labels: tables, as whole numbers and while they are weighed, and sums."""
    each = _slice_bytes(tiles, n_phases)
    sums = 8 * n_phases * (4 * tiles[0] * tiles[1] + n_phases)
    return 3.0 * each * min(depth, max(1, TABLE_BYTES // each)) + 3.0 * sums * depth


def count_cells(
    phases: Any, depth: int, tile_px: int, n_phases: int, pair_weight: Any, surface: Any, euler: Any
) -> tuple[Any, Any, Any]:
    """Sum voxels, surface and Euler numbers over tiles, on the device; see `fibtomo.ops._cell_kernels.count_cells`.

    Whole numbers are counted and weighed afterwards, so the sums agree with those of the loop up to rounding and do not
    depend on the order of threads.
    """
    xp, (_, ny, nx) = namespace(phases), phases.shape
    tiles = -(-ny // tile_px), -(-nx // tile_px)
    sums = xp.zeros((depth, *tiles, n_phases, 4))
    cells = xp.zeros((depth, *tiles), dtype=xp.int64)
    between = xp.zeros((depth, n_phases, n_phases))
    if n_phases == 0:
        return sums, cells, between
    lower, higher = np.triu_indices(n_phases, 1)
    weights = [like(phases, w) for w in (np.stack([surface, *euler], axis=1), pair_weight)]
    sides = (lower, higher) if _split(n_phases) else ()
    members = [like(phases, (np.arange(n_phases)[:, None] == side).astype(np.float64)) for side in sides]
    step = max(1, TABLE_BYTES // _slice_bytes(tiles, n_phases))
    for z0 in range(0, depth, step):
        part = slice(z0, min(z0 + step, depth))
        voxels, whole, two, many, unlike = _counted(phases, z0, part.stop - z0, tile_px, n_phases)
        sums[part, ..., 0], cells[part] = voxels, whole
        sums[part, ..., 1:] = _weighed(many, weights[0])
        if n_phases == 1:
            continue
        pairs = _weighed(unlike, weights[1])
        if members:
            sums[part, ..., 1:] += members[0] @ _weighed(two, weights[0])
            sums[part, ..., 1:] += members[1] @ _weighed(two, weights[0][::-1])  # the other corners
            pairs += _weighed(two.sum(axis=(1, 2)), weights[0][:, 0])
        between[part, like(phases, lower), like(phases, higher)] = pairs
    return sums, cells, between


def _weighed(counts: Any, weights: Any) -> Any:
    return counts.astype(np.float64) @ weights


def _split(n_phases: int) -> int:
    """Number of pairs of phases that have a table of configurations each."""
    pairs = n_phases * (n_phases - 1) // 2
    return pairs if pairs <= SPLIT_PAIRS else 0


def _counted(phases: Any, z0: int, depth: int, tile_px: int, n_phases: int) -> list[Any]:
    """Tables of `depth` slices from `z0` on, as in ``kernels/cells.cu``."""
    xp, (slices, ny, nx) = namespace(phases), phases.shape
    tiles = -(-ny // tile_px), -(-nx // tile_px)
    pairs, split = n_phases * (n_phases - 1) // 2, _split(n_phases)
    shared = split if split <= SHARED_PAIRS else 0
    strips = -(-tile_px // STRIP)
    shapes = [
        (depth, *tiles, n_phases),
        (depth, *tiles),
        (depth, *tiles, split, CONFIGURATIONS),
        (depth, *tiles, n_phases, CONFIGURATIONS),
        (depth, pairs, 28),
    ]
    tables = [xp.zeros(shape, dtype=xp.uint32) for shape in shapes]
    launch(
        load_kernel("cells"),
        "count_cells",
        (depth, tiles[0] * strips * 8, tiles[1] * 32),
        (
            *(xp.ascontiguousarray(phases), *tables),
            *(int(split > 0), shared, n_phases, pairs, tile_px, strips, *tiles, z0, slices, ny, nx),
        ),
        shared_bytes=shared * CONFIGURATIONS * 4,
    )
    return tables
