"""Stage from phase labels to numbers with definitions and uncertainties."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import OUTSIDE, Table, VolumeSpec
from fibtomo.ops._cell_device import counting_bytes
from fibtomo.ops.forest_sums import fraction_sigma
from fibtomo.ops.morphometry import SLAB, TILES, as_phases, measurement_rows, slab_sums
from fibtomo.ops.threshold_effect import Effect


class PhasesParams(Params):
    """Volume fractions, surfaces, Euler numbers and percolation of every phase, with uncertainties."""

    connectivity: Literal[6, 18, 26] = Field(6, description="Voxels that hang together: 6 face, 18 edge, 26 corner.")


def _needs(p: PhasesParams, spec: VolumeSpec) -> Needs:
    n_phases = int(min(spec.value_range[1], OUTSIDE - 1)) + 1
    return Needs(measure_halo=(0, 1), bytes_per_voxel=14.0, fixed_bytes=counting_bytes(SLAB, (TILES, TILES), n_phases))


def measure(block: Any, p: PhasesParams, ctx: StageContext) -> Table:
    """Sums over the slab's own slices; the next one closes its cells."""
    start, stop = ctx.core
    phases = as_phases(block[start : stop + 1])
    return slab_sums(phases, stop - start, ctx.z0 + start, ctx.spec.shape, ctx.spec.scale, p.connectivity)


def combine(partials: Sequence[Table], p: PhasesParams, ctx: StageContext) -> Table:
    """One row for each quantity and phase."""
    sigma = ctx.tables.get("threshold", {}).get("fraction_sigma", ())
    if "forest" in ctx.tables:
        sigma = fraction_sigma(ctx.tables["forest"])
    noted = ctx.tables.get("threshold_effect")
    effect = Effect.from_notes(noted) if noted else None
    return {"rows": measurement_rows(partials, ctx.spec.scale, ctx.spec.unit, p.connectivity, sigma, effect)}


register(
    StageDef(
        name="measure.phases",
        kind=Kind.REDUCE,
        params=PhasesParams,
        needs=_needs,
        measure=measure,
        combine=combine,
        consumes="phases",
        makes="phases",
        produces="measurements",
        optional=("threshold",),
        late=("forest", "threshold_effect"),
        version=2,
        citation="Ohser & Mücklich 2000, Statistical Analysis of Microstructures in Materials Science",
    )
)
