"""Stage that cleans phase labels by physical size."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fibtomo.builtin_stages.label import check_phase, numbers_of_slab
from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import OUTSIDE, Table, VolumeSpec
from fibtomo.errors import InputError
from fibtomo.ops.clean import CleanRule, apply_clean, cleaned, slab_regions


class CleanParams(Params):
    """Clean phases by physical size: small islands go to what surrounds them, holes are filled (voxels if no nm)."""

    min_volume_nm3: tuple[float, ...] = Field(
        (),
        max_length=20,
        description="Smaller islands go, nm³: one number for all phases, or one for each from phase 0.",
    )
    min_diameter_nm: tuple[float, ...] = Field(
        (),
        max_length=20,
        description="The same as the diameter of a ball of that volume, nm; where both are given the larger counts.",
    )
    fill_holes: Literal["none", "enclosed", "slice"] = Field(
        "none", description="enclosed: what a phase surrounds in 3D; slice: what it surrounds in a slice."
    )
    fill_phases: tuple[int, ...] = Field((), max_length=20, description="Phases whose holes are filled, in this order.")
    max_hole_nm3: float | None = Field(None, gt=0, description="Largest enclosed hole to fill, nm³; none: any.")
    connectivity: Literal[6, 18, 26] = Field(6, description="Voxels that hang together: 6 face, 18 edge, 26 corner.")
    keep_border: bool = Field(True, description="Keep islands that touch the border: their true size is not known.")


def _rule(p: CleanParams) -> CleanRule:
    return CleanRule(**p.model_dump())


def _needs(p: CleanParams, spec: VolumeSpec) -> Needs:
    if any(v < 0 for v in (*p.min_volume_nm3, *p.min_diameter_nm)):
        raise InputError("phases.clean: min_volume_nm3 and min_diameter_nm must not be negative")
    if p.fill_holes != "none" and not p.fill_phases:
        raise InputError(f"phases.clean: fill_holes = {p.fill_holes} needs fill_phases, such as fill_phases=[1]")
    for phase in p.fill_phases:
        check_phase(phase, spec)
    if spec.kind == "phases" and spec.value_range[1] < OUTSIDE:
        _rule(p).least_volumes(int(spec.value_range[1]) + 1)
    return Needs(bytes_per_voxel=14.0)


def measure(block: Any, p: CleanParams, ctx: StageContext) -> Table:
    """Regions of the slab's own slices."""
    return slab_regions(block[ctx.core_slices], _rule(p), ctx.z0 + ctx.core[0], ctx.spec.shape[0])


def combine(partials: Sequence[Table], p: CleanParams, ctx: StageContext) -> Table:
    """Return the new phase of every region."""
    return cleaned(partials, _rule(p), ctx.spec.scale)


def apply(block: Any, p: CleanParams, ctx: StageContext) -> Any:
    """Label the slab again and give its regions their new phases."""
    return apply_clean(block, _rule(p), numbers_of_slab("phases.clean", ctx, "clean"))


register(
    StageDef(
        name="phases.clean",
        kind=Kind.REDUCE,
        params=CleanParams,
        needs=_needs,
        apply=apply,
        measure=measure,
        combine=combine,
        consumes="phases",
        makes="phases",
        produces="clean",
        citation="Soille 2003, Morphological Image Analysis, 2nd ed., Springer (area opening, fill-holes)",
    )
)
