"""Stage that finds, tells and repairs charging tails and line faults."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.ops import charging as ops


class ChargingParams(Params):
    """Finds charging tails, rows that jump in brightness and dead lines; repairs and reports them."""

    mode: Literal["repair", "mask-only"] = Field(
        "repair", description="repair: repairs and reports what is found; mask-only: reports it, changes nothing."
    )
    tails: bool = Field(True, description="Whether tails beside bright inclusions are looked for.")


def measure(block: Any, params: ChargingParams, ctx: StageContext) -> Table:
    """Faults of the slices of a slab."""
    return ops.find_faults(block, ctx.core, ctx.z0, tails=params.tails)


def combine(partials: Sequence[Table], params: ChargingParams, ctx: StageContext) -> Table:
    """Faults of all slices, and what they amount to."""
    found = ops.combine_faults(partials, ctx.spec.shape[1:])
    return {**found, "mode": params.mode, "notes": ops.fault_notes(found, repaired=params.mode == "repair")}


def apply(block: Any, params: ChargingParams, ctx: StageContext) -> Any:
    """Repair what was found."""
    if params.mode != "repair":
        return block
    return ops.apply_repairs(block, ctx.tables["charging"]["faults"], ctx.z0)


def needs(params: ChargingParams, spec: VolumeSpec) -> Needs:
    """One neighbour on either side to tell layers from faults; temporaries of one slice."""
    return Needs(measure_halo=(1, 1), bytes_per_voxel=24.0)


register(
    StageDef(
        name="intensity.charging",
        kind=Kind.SLICE,
        version=2,
        params=ChargingParams,
        needs=needs,
        apply=apply,
        measure=measure,
        combine=combine,
        produces="charging",
    )
)
