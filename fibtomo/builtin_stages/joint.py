"""Stage that tells phases by two channels at once."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.errors import InputError
from fibtomo.ops.histogram import Bins, condense, row_spans
from fibtomo.ops.joint_phases import count_joint, joint_bins, joint_table, label_joint, phases_of_cells


class JointParams(Params):
    """Phases as clusters of two channels (`--with`): Gaussians in their joint histogram."""

    classes: int = Field(3, ge=2, le=8, description="Number of phases, ordered by the grey of the main channel.")
    other: str = Field("", description="Name of the second channel; empty: the first of those carried along.")


def _second(p: JointParams, spec: VolumeSpec) -> int | None:
    """Which of the channels carried along is the second; ``None`` where the main one is alone."""
    names = [c.name.casefold() for c in spec.channels]
    if not p.other:
        return 0 if names else None
    if p.other.casefold() not in names:
        carried = ", ".join(c.name for c in spec.channels) or "none"
        raise InputError(f"segment.joint: channel '{p.other}' is not carried along (there are: {carried}); add --with")
    return names.index(p.other.casefold())


def _bins(p: JointParams, spec: VolumeSpec) -> list[Bins]:
    """Of both channels; of the main one alone, a second of one bin that holds everything."""
    second = _second(p, spec)
    main = joint_bins(spec.dtype, spec.value_range)
    if second is None:
        return [main, Bins(spec.value_range[0] - 0.5, spec.value_range[1] - spec.value_range[0] + 1.0, 1)]
    other = spec.channels[second]
    return [main, joint_bins(other.dtype, other.value_range)]


def _volumes(block: Any, p: JointParams, ctx: StageContext) -> list[Any]:
    second = _second(p, ctx.spec)
    return [block, block if second is None else ctx.channels[ctx.spec.channels[second].name]]


def _spans(block: Any, ctx: StageContext) -> Any:
    boxes = ctx.shown(len(block))
    return None if boxes is None else row_spans(boxes, block.shape)


def needs(p: JointParams, spec: VolumeSpec) -> Needs:
    """Labels; one slice at a time is looked up, and every pair of bins counted."""
    first, second = _bins(p, spec)
    return Needs(bytes_per_voxel=2.0, fixed_bytes=48.0 * spec.shape[1] * spec.shape[2] + 32.0 * first.n * second.n)


def measure(block: Any, p: JointParams, ctx: StageContext) -> Table:
    """Joint histogram of the slab's own slices."""
    core, spans = ctx.core_slices, _spans(block, ctx)
    volumes = [volume[core] for volume in _volumes(block, p, ctx)]
    return count_joint(volumes, _bins(p, ctx.spec), None if spans is None else spans[core])


def combine(partials: Sequence[Table], p: JointParams, ctx: StageContext) -> Table:
    """Clusters; histogram of the main channel for the report."""
    bins = _bins(p, ctx.spec)
    found = joint_table(partials, bins, p.classes)
    histogram, bin_edges = condense(found.pop("counts"), bins[0].edges)
    more = {"thresholds": [], "sigma": [], "classes": p.classes, "histogram": histogram, "bin_edges": bin_edges}
    return {**found, **more}


def apply(block: Any, p: JointParams, ctx: StageContext) -> Any:
    """Look the phases up."""
    bins = _bins(p, ctx.spec)
    phases = phases_of_cells(ctx.tables["threshold"], bins)
    return label_joint(_volumes(block, p, ctx), bins, phases, _spans(block, ctx))


register(
    StageDef(
        name="segment.joint",
        kind=Kind.SLAB,
        params=JointParams,
        needs=needs,
        apply=apply,
        measure=measure,
        combine=combine,
        out_spec=lambda p, ctx: ctx.spec.with_(kind="phases", dtype="uint8", value_range=(0.0, p.classes - 1.0)),
        makes="phases",
        produces="threshold",
        optional=("valid",),
        sees_channels=True,
        citation="Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1, doi:10.1111/j.2517-6161.1977.tb01600.x",
    )
)
