"""Stage from phase labels to numbered objects, split where they only touch."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from fibtomo.backend.array import like
from fibtomo.builtin_stages.label import check_phase, numbers_of_slab, objects_table, phase_of
from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import OUTSIDE, Table, VolumeSpec
from fibtomo.ops.basins import join_basins, slab_basins, slab_partial
from fibtomo.ops.flood import LOOK_AHEAD, Flood
from fibtomo.ops.labels import apply_lut, seen_boxes, without_small


class WatershedParams(Params):
    """Numbered objects: one phase, split where parts only touch (lengths in voxels where nm are unknown)."""

    phase: int | None = Field(None, ge=0, lt=OUTSIDE, description="Phase to label; none: the brightest.")
    connectivity: Literal[6, 18, 26] = Field(26, description="Voxels that hang together: 6 face, 18 edge, 26 corner.")
    h_nm: float | None = Field(
        None,
        gt=0,
        description="How much deeper than its neck the smaller of two touching objects must be, nm; none: half a voxel "
        "diagonal. Larger: fewer objects.",
    )
    largest_nm: float | None = Field(
        None,
        gt=0,
        description="Largest radius at which necks are told from bulk, nm; none: 32 voxel edges. Costs this much more "
        "of the stack on either side of each slab.",
    )
    min_volume_nm3: float = Field(0.0, ge=0, description="Smaller objects are left out, nm³.")


def _flood(p: WatershedParams, spec: VolumeSpec) -> Flood:
    return Flood(p.connectivity, spec.scale, p.h_nm, p.largest_nm)


def _needs(p: WatershedParams, spec: VolumeSpec) -> Needs:
    check_phase(p.phase, spec)
    flood = _flood(p, spec)
    halo = (flood.halo,) * 2
    distances = 8.0 * flood.tile_share(spec.shape[1])
    ahead = 10.0 * 2 * (LOOK_AHEAD + 1) * spec.shape[1] * spec.shape[2]
    return Needs(halo, halo, 16.0 + distances, ahead, halo_bytes_per_voxel=distances)


def measure(block: Any, p: WatershedParams, ctx: StageContext) -> Table:
    """Objects of the slab's own slices as far as they can be told."""
    found = slab_basins(block, phase_of(p.phase, ctx), ctx.core, ctx.z0, _flood(p, ctx.spec))
    return slab_partial(found, seen_boxes(block[ctx.core_slices]), ctx.z0 + ctx.core[0], ctx.spec.shape[0])


def combine(partials: Sequence[Table], p: WatershedParams, ctx: StageContext) -> Table:
    """Global numbers for every slab's labels, and the object table."""
    found = join_basins(partials, _flood(p, ctx.spec))
    return objects_table(without_small(found, p.min_volume_nm3 / float(np.prod(ctx.spec.scale))), ctx.spec)


def apply(block: Any, p: WatershedParams, ctx: StageContext) -> Any:
    """Split the slab again and give its labels their global numbers."""
    numbers = numbers_of_slab("label.watershed", ctx)
    found = slab_basins(block, phase_of(p.phase, ctx), ctx.core, ctx.z0, _flood(p, ctx.spec))
    return like(block, apply_lut(found.labels, numbers))


register(
    StageDef(
        name="label.watershed",
        kind=Kind.REDUCE,
        params=WatershedParams,
        needs=_needs,
        apply=apply,
        measure=measure,
        combine=combine,
        consumes="phases",
        makes="objects",
        produces="objects",
        optional=("threshold",),
        apart=True,
        citation="Grimaud 1992, Proc. SPIE 1769, 292; Cousty et al. 2009, IEEE Trans. PAMI 31, 1362",
    )
)
