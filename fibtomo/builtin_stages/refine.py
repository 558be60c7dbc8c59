"""Refinement of the drift: what every slice has of its own, against the mean of its neighbours."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fibtomo.core.drift import Drift
from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.ops.refine import combine_tiles
from fibtomo.ops.refine_tiles import REACH_SLICES, TileLattice, make_lattice, measure_tiles


class RefineParams(Params):
    """Refine the drift, or what an alignment made before has left, by registering each slice to its neighbours."""

    model: Literal["translation", "affine", "elastic"] = Field(
        "affine",
        description="translation: jitter; affine: scale, shear and rotation of single slices as well; elastic: also "
        "smooth displacement within a slice, and from scan line to scan line.",
    )
    tile_px: int | None = Field(
        None, ge=32, description="Side of the tiles compared, px; empty: an eighth of the slice, at least 64."
    )


def _lattice(params: RefineParams, spec: VolumeSpec) -> TileLattice:
    return make_lattice((spec.shape[1], spec.shape[2]), params.tile_px)


def _drift(ctx: StageContext) -> Drift:
    table = ctx.tables.get("drift")
    return Drift.identity(ctx.spec.shape[0]) if table is None else Drift.from_table(table)


def _needs(params: RefineParams, spec: VolumeSpec) -> Needs:
    _lattice(params, spec)
    # the cropped spectra of overlapping tiles and of the whole, of all slices that make a template
    slices = 2 * REACH_SLICES + 1
    return Needs(measure_halo=(REACH_SLICES, REACH_SLICES), bytes_per_voxel=11.0 * slices / min(slices, spec.shape[0]))


def _measure(block: Any, params: RefineParams, ctx: StageContext) -> Table:
    drift = _drift(ctx)
    return measure_tiles(block, ctx.z0, ctx.core, drift.shifts_px, drift.bad_slices, _lattice(params, ctx.spec))


def _combine(partials: Sequence[Table], params: RefineParams, ctx: StageContext) -> Table:
    lattice = _lattice(params, ctx.spec)
    found = combine_tiles(partials, _drift(ctx), lattice, params.model)
    table = found.total_warp(lattice.frame).to_table()
    return {**table, "flags": list(found.flags), "notes": list(found.notes)}


register(
    StageDef(
        name="drift.refine",
        kind=Kind.REDUCE,
        params=RefineParams,
        needs=_needs,
        measure=_measure,
        combine=_combine,
        produces="warp",
        optional=("drift",),
        citation="Hennies et al. 2020, Sci. Rep. 10:2004",
    )
)
