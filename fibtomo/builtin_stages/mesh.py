"""Stage from phase labels to a watertight surface."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from fibtomo.builtin_stages.label import brightest_phase, check_phase
from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import OUTSIDE, Table, VolumeSpec
from fibtomo.ops.surface import auto_bin, slab_surface, surface_halo, to_specimen, weld


class SurfaceParams(Params):
    """Watertight triangle surface of one phase, in nm."""

    phase: int | None = Field(None, ge=0, lt=OUTSIDE, description="Phase to enclose; none: the brightest.")
    smooth_px: float = Field(1.0, ge=0, le=5, description="Sigma of a Gaussian on the phase, voxels; 0: none.")
    bin_factor: int | None = Field(
        None, ge=1, le=16, description="Voxels joined into one along each axis; none: as many as bound the mesh."
    )


def _bin(p: SurfaceParams, spec: VolumeSpec) -> int:
    return p.bin_factor or auto_bin(spec.shape)


def _phase(p: SurfaceParams, ctx: StageContext) -> int:
    return brightest_phase(ctx) if p.phase is None else p.phase


def _needs(p: SurfaceParams, spec: VolumeSpec) -> Needs:
    check_phase(p.phase, spec)
    factor = _bin(p, spec)
    return Needs(measure_halo=surface_halo(p.smooth_px, factor), bytes_per_voxel=3.0 + 70.0 / factor**3)


def measure(block: Any, p: SurfaceParams, ctx: StageContext) -> Table:
    """Triangles of the cubes that start in the slab's own slices."""
    field = block == _phase(p, ctx)
    core = ctx.z0 + ctx.core[0], ctx.z0 + ctx.core[1]
    return slab_surface(field, ctx.z0, core, ctx.spec.shape, 0.5, p.smooth_px, _bin(p, ctx.spec))


def combine(partials: Sequence[Table], p: SurfaceParams, ctx: StageContext) -> Table:
    """Weld the slabs' triangles into one mesh."""
    vertices, faces = weld(partials)
    return {
        "phase": _phase(p, ctx),
        "vertices": to_specimen(vertices, _bin(p, ctx.spec), ctx.spec.scale),
        "faces": faces,
        "unit": ctx.spec.unit,
        "bin_factor": _bin(p, ctx.spec),
    }


register(
    StageDef(
        name="mesh.surface",
        kind=Kind.REDUCE,
        params=SurfaceParams,
        needs=_needs,
        measure=measure,
        combine=combine,
        consumes="phases",
        makes="phases",
        produces="mesh",
        optional=("threshold",),
        citation="Lorensen & Cline 1987, Computer Graphics 21, 163",
    )
)
