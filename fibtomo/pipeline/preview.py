"""Trying stages on a few slices in memory, exactly as a run would do them, without an output folder."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import to_dtype, to_host
from fibtomo.core.source import SliceSource
from fibtomo.core.stage import Kind, StageContext
from fibtomo.core.volume import Calibration, Table, VolumeSpec
from fibtomo.errors import InputError
from fibtomo.pipeline.budget import Machine, Memory, slab_thickness
from fibtomo.pipeline.config import Call
from fibtomo.pipeline.plan import needs_of, spec_after
from fibtomo.pipeline.sections import free_role


@dataclass(frozen=True)
class Preview:
    """A slab before and after some stages, both in memory.

    Attributes
    ----------
    before, after
        (z, y, x); the same slices unless a resample changed the grid.
    z0
        Index of the first slice of `before` in the stack.
    tables
        What the stages measured on the slab, and noted of its slices.
    out_spec
        Spec of `after`.
    """

    before: NDArray[Any]
    after: NDArray[Any]
    z0: int
    tables: dict[str, Table]
    out_spec: VolumeSpec


def preview(source: SliceSource, calls: list[Call], z: int, slices: int = 9) -> Preview:
    """Run `calls` one after another on the slab of `slices` slices around slice `z`.

    Statistics that a run takes over the whole stack (flicker, thresholds) are taken over the slab here, and of several
    channels only the main one is seen.

    Raises
    ------
    InputError
        There is no slice `z`, or a stage cannot work on what comes before it.
    """
    n = source.spec.shape[0]
    if not 0 <= z < n:
        raise InputError(f"there is no slice {z}: the stack has slices 0 to {n - 1}")
    z0 = max(0, min(z - slices // 2, n - slices))
    z1 = min(n, z0 + slices)
    before = source.read(z0, z1)
    spec = source.spec.with_(shape=before.shape, channels=())
    block: Any = before
    tables: dict[str, Table] = {}
    calibration = _of_slab(source.calibration, z0, z1)
    for call in calls:
        block, spec = _apply_whole(call, block, spec, tables, calibration)
    return Preview(before, to_host(block), z0, tables, spec)


def _of_slab(calibration: Calibration, z0: int, z1: int) -> Calibration:
    """Cut measured slice positions to the slab."""
    known = calibration.slice_z_nm
    if known.value is None:
        return calibration
    positions = known.value[z0:z1]
    return replace(calibration, slice_z_nm=replace(known, value=[z - positions[0] for z in positions]))


def _apply_whole(
    call: Call, block: Any, spec: VolumeSpec, tables: dict[str, Table], calibration: Calibration
) -> tuple[Any, VolumeSpec]:
    stage = call.stage
    n = spec.shape[0]
    if stage.consumes != spec.kind:
        raise InputError(f"stage '{call.name}' works on {stage.consumes}, but what comes before it makes {spec.kind}")
    ctx = StageContext(spec, 0, (0, n), tables, calibration)
    if stage.measure is not None and stage.combine is not None and stage.produces is not None:
        tables[stage.produces] = stage.combine([stage.measure(block, call.params, ctx)], call.params, ctx)
    if stage.apply is None:
        return block, spec
    out = spec_after(call, ctx)
    if stage.kind is Kind.WARP:
        if stage.side_tables is not None:
            tables.update(stage.side_tables(call.params, StageContext(spec, 0, (0, n), tables, calibration, out)))
        ctx = StageContext(spec, 0, (0, n), tables, calibration, out, (0, out.shape[0]))
    block = to_dtype(stage.apply(block, call.params, ctx), out.dtype)
    if stage.notes is not None:
        tables[free_role(stage.notes, tables)] = ctx.notes
    return block, out


def reduce_over(source: SliceSource, call: Call, *, budget: float, workers: int) -> Table:
    """Run one measuring stage over a whole source slab by slab, keeping only its partials.

    Parameters
    ----------
    source
        Volume of the kind the stage consumes.
    call
        A stage with measure and combine.
    budget, workers
        Bytes that `workers` slabs may take together.
    """
    from concurrent.futures import ThreadPoolExecutor

    stage, spec = call.stage, source.spec
    if stage.measure is None or stage.combine is None:
        raise InputError(f"stage '{call.name}' measures nothing")
    needs = needs_of(call, spec)
    before, after = needs.measure_halo
    voxels = float(spec.shape[1] * spec.shape[2])
    memory = Memory((needs.bytes_per_voxel + np.dtype(spec.dtype).itemsize) * voxels, 0.0, needs.measure_halo)
    machine = Machine(budget, workers)
    slab = slab_thickness([memory], spec.shape[0], machine, "the volume")

    def one(z0: int) -> Table:
        z1 = min(spec.shape[0], z0 + slab)
        a, b = max(0, z0 - before), min(spec.shape[0], z1 + after)
        ctx = StageContext(spec, a, (z0 - a, z1 - a), {}, source.calibration)
        partial: Table = stage.measure(source.read(a, b), call.params, ctx) if stage.measure else {}
        return partial

    with ThreadPoolExecutor(machine.at_once(memory, slab)) as pool:
        partials = list(pool.map(one, range(0, spec.shape[0], slab)))
    return stage.combine(partials, call.params, StageContext(spec, 0, (0, spec.shape[0]), {}, source.calibration))
