"""The general gather: targets turned against the slices, or slices warped in themselves.

Tables are made here for both backends. Weights depend on the voxel, so they come from a table over the position
between two samples (`fibtomo.ops._taps.phase_table`) instead of one entry per row and column.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fibtomo.backend.kernels import KernelModule, launch
from fibtomo.core.grid import ResampleGrid
from fibtomo.errors import InputError
from fibtomo.ops._taps import PHASES, Kernel, axis_taps, phase_table, slice_taps


@dataclass(frozen=True)
class WarpTables:
    """One slab of target slices; layouts as in ``kernels/resample_warped.cu``.

    `lead` and `reach` are the samples from the first tap to the one before a position, and the half width of the
    kernel, along y and x.
    """

    z_slice: Any
    z_weight: Any
    spans: Any
    start: Any
    steps: Any
    y_table: Any
    x_table: Any
    control: Any
    lead: tuple[int, int]
    reach: tuple[float, float]


def warp_tables(
    xp: Any, grid: ResampleGrid, kernel: Kernel, source_z0: int, slices: int, z0: int, z1: int
) -> WarpTables:
    """Make the tables, as `xp` arrays, of target slices [z0, z1) from `slices` source slices after `source_z0`.

    Raises
    ------
    InputError
        A slice that is needed is not among them.
    """
    good, here = grid.good, slice(source_z0, source_z0 + slices)
    z, _ = grid.places(z0, z1)
    spans = grid.valid_spans(z0, z1)
    at, z_weight = slice_taps(z.ravel(), grid.z_index[good], kernel)
    z_slice, shown = good[at] - source_z0, (spans[..., 1] > spans[..., 0]).ravel()
    needed = z_slice[shown]
    if needed.size and not 0 <= needed.min() <= needed.max() < slices:
        raise InputError(
            f"target slices {z0} to {z1} need source slices {needed.min() + source_z0} to "
            f"{needed.max() + source_z0 + 1}, but {source_z0} to {source_z0 + slices} were given"
        )
    z_slice[~shown] = 0
    tilt, warp = grid.tilt, grid.warp
    row_origin, row_per_z = (0.0, 0.0) if tilt is None else (tilt.row_origin, tilt.row_per_z)
    nodes_per_px = (0.0, 0.0) if warp is None else warp.nodes_per_px
    tables, leads = zip(*(phase_table(step, kernel) for step in (grid.row_step, grid.col_scale)), strict=True)
    widths = (max(1.0, step) if kernel.widens else 1.0 for step in (grid.row_step, grid.col_scale))
    return WarpTables(
        z_slice=xp.asarray(z_slice.reshape(*z.shape, -1).astype(np.int32)),
        z_weight=xp.asarray(z_weight.reshape(*z.shape, -1)),
        spans=xp.asarray(spans),
        start=xp.asarray(np.stack([grid.row_start[here] + row_origin, grid.col_start[here]], axis=1)),
        steps=xp.asarray(np.array([row_per_z, grid.row_scale, grid.col_scale, *nodes_per_px])),
        y_table=xp.asarray(tables[0]),
        x_table=xp.asarray(tables[1]),
        control=xp.asarray(np.zeros((0, 4, 4, 2), np.float32) if warp is None else warp.control_px[here]),
        lead=leads,
        reach=tuple(kernel.radius * width for width in widths),
    )


def gather_warped_on_device(module: KernelModule, source: Any, t: WarpTables, out: Any, z0: int, fill: float) -> None:
    """Fill `out`, whose first slice is target slice `z0`, from contiguous `source` by the CUDA gather of `module`."""
    arrays = (source, out, t.z_slice, t.z_weight, t.spans, t.start, t.steps, t.y_table, t.x_table, t.control)
    nodes = t.control.shape[1:3] if len(t.control) else (0, 0)
    counts = (
        t.z_slice.shape[-1],
        t.y_table.shape[2],
        t.x_table.shape[2],
        PHASES,
        *nodes,
        *source.shape[1:],
        *out.shape,
    )
    numbers = (int(z0), *map(int, t.lead), *map(float, t.reach), float(fill))
    launch(module, "resample_warped", out.shape, (*arrays, *counts, *numbers))


def gather_warped_on_host(
    source: Any, grid: ResampleGrid, kernel: Kernel, t: WarpTables, out: Any, z0: int, fill: float
) -> None:
    """Fill `out`, whose first slice is target slice `z0`, from contiguous `source`."""
    from fibtomo.ops._warp_cpu import gather

    if grid.warp is None:
        start = t.start[:, 1:] + np.arange(grid.shape[2]) * grid.col_scale
        x_first, x_weight = axis_taps(start, grid.source_shape[1], grid.col_scale, kernel)
    else:
        x_first, x_weight = np.zeros((0, 0), np.int32), np.zeros((0, 0, 0), np.float32)
    (y_lead, x_lead), (y_reach, x_reach) = t.lead, np.float32(t.reach)
    along_y, along_x = (t.y_table, y_lead, y_reach), (t.x_table, x_lead, x_reach)
    places = (t.z_slice, t.z_weight, t.spans, t.start, t.steps[:3], z0, along_y, along_x, t.control, t.steps[3:])
    gather(source, out, *places, x_first, x_weight, np.float32(fill))
