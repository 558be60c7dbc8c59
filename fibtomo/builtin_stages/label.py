"""Stage from phase labels to numbered objects."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import OUTSIDE, Table, VolumeSpec
from fibtomo.errors import InputError, PipelineError
from fibtomo.ops.labels import (
    Components,
    apply_lut,
    join_components,
    label_slab,
    seen_boxes,
    slab_components,
)
from fibtomo.ops.objects import object_columns


class ComponentsParams(Params):
    """Numbered objects: the connected components of one phase, with a table of their sizes and places."""

    phase: int | None = Field(None, ge=0, lt=OUTSIDE, description="Phase to label; none: the brightest.")
    connectivity: Literal[6, 18, 26] = Field(6, description="Voxels that hang together: 6 face, 18 edge, 26 corner.")


def check_phase(phase: int | None, spec: VolumeSpec) -> None:
    """Refuse a phase that the segmentation cannot make, while the run is planned."""
    highest = int(spec.value_range[1])
    if spec.kind == "phases" and phase is not None and phase > highest:
        raise InputError(f"there is no phase {phase}: the segmentation makes phases 0 (darkest) to {highest}")


def _needs(p: ComponentsParams, spec: VolumeSpec) -> Needs:
    check_phase(p.phase, spec)
    return Needs(bytes_per_voxel=12.0)


def brightest_phase(ctx: StageContext) -> int:
    """Number of the brightest phase as far as the tables tell; 1 otherwise."""
    return int(ctx.tables.get("threshold", {}).get("classes", 2)) - 1


def phase_of(phase: int | None, ctx: StageContext) -> int:
    """Return `phase`, or the brightest if none is named."""
    return brightest_phase(ctx) if phase is None else phase


def _classes(phases: Any, p: ComponentsParams, ctx: StageContext) -> Any:
    return (phases == phase_of(p.phase, ctx)).astype(np.uint8)


def measure(block: Any, p: ComponentsParams, ctx: StageContext) -> Table:
    """Components of the slab's own slices."""
    phases = block[ctx.core_slices]
    z0, nz = ctx.z0 + ctx.core[0], ctx.spec.shape[0]
    return slab_components(_classes(phases, p, ctx), seen_boxes(phases), z0, nz, p.connectivity)


def combine(partials: Sequence[Table], p: ComponentsParams, ctx: StageContext) -> Table:
    """Global numbers for every slab's labels, and the object table."""
    return objects_table(join_components(partials, p.connectivity), ctx.spec)


def objects_table(found: Components, spec: VolumeSpec) -> Table:
    """Object table, and what `numbers_of_slab` needs."""
    columns = object_columns(found, spec.scale, spec.unit)
    return {
        **columns,
        "columns": list(columns),
        "slab_starts": found.starts,
        "offsets": found.offsets,
        "lut": found.lut,
    }


def numbers_of_slab(stage: str, ctx: StageContext, role: str = "objects") -> Any:
    """Return what the local labels of the slab at work become."""
    table = ctx.tables[role]
    starts = np.asarray(table["slab_starts"])
    z0, z1 = (ctx.z0 + c for c in ctx.core)
    k = int(np.searchsorted(starts, z0))
    if k >= len(starts) - 1 or starts[k] != z0 or starts[k + 1] != z1:
        raise PipelineError(
            f"{stage}: slices {z0} to {z1} are not one of the slabs that were counted: no stage after it may need "
            "neighbouring slices"
        )
    return np.asarray(table["lut"])[table["offsets"][k] : table["offsets"][k + 1]]


def apply(block: Any, p: ComponentsParams, ctx: StageContext) -> Any:
    """Label the slab again and give its labels their global numbers."""
    numbers = numbers_of_slab("label.components", ctx)
    labels, _ = label_slab(_classes(block, p, ctx), p.connectivity)
    return apply_lut(labels, numbers)


register(
    StageDef(
        name="label.components",
        kind=Kind.REDUCE,
        params=ComponentsParams,
        needs=_needs,
        apply=apply,
        measure=measure,
        combine=combine,
        consumes="phases",
        makes="objects",
        produces="objects",
        optional=("threshold",),
        citation="Rosenfeld & Pfaltz 1966, J. ACM 13, 471",
    )
)
