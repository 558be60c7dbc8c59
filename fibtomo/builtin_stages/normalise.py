"""Stage that brings the greys of the outer phases to given places in the range."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.errors import PipelineError
from fibtomo.ops import normalise as ops


class NormaliseParams(Params):
    """Stretches the contrast of the whole stack with one straight line; no slice is treated apart."""

    by: Literal["phases", "quantiles"] = Field(
        "phases", description="phases: outer two phases, where they stand apart; quantiles: 2 and 98 % of all greys."
    )
    dark: float = Field(0.1, ge=0, le=1, description="Place of the dark one in the range of greys, 0 to 1.")
    bright: float = Field(0.9, ge=0, le=1, description="Place of the bright one in the range of greys, 0 to 1.")


def measure(block: Any, params: NormaliseParams, ctx: StageContext) -> Table:
    """Histogram."""
    return ops.measure_greys(block[ctx.core_slices], ctx.spec.value_range)


def combine(partials: Sequence[Table], params: NormaliseParams, ctx: StageContext) -> Table:
    """Gain and offset of the stack."""
    return ops.combine_greys(partials, ctx.spec.value_range, params.dark, params.bright, params.by == "phases")


def apply(block: Any, params: NormaliseParams, ctx: StageContext) -> Any:
    """Apply them."""
    table = ctx.tables["normalise"]
    return ops.apply_greys(block, float(table["gain"]), float(table["offset"]))


def check(params: NormaliseParams, spec: VolumeSpec) -> None:
    """The dark place must lie below the bright one."""
    if not params.dark < params.bright:
        raise PipelineError(f"intensity.normalise: dark = {params.dark} must lie below bright = {params.bright}")


def needs(params: NormaliseParams, spec: VolumeSpec) -> Needs:
    """A float32 copy and the temporaries of one slice."""
    return Needs(bytes_per_voxel=12.0)


register(
    StageDef(
        name="intensity.normalise",
        kind=Kind.SLICE,
        params=NormaliseParams,
        needs=needs,
        apply=apply,
        measure=measure,
        combine=combine,
        check=check,
        produces="normalise",
    )
)
