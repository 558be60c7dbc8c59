"""Stage that smooths the borders between phases."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import OUTSIDE, Table, VolumeSpec
from fibtomo.ops.smooth_phases import Blur, handicaps, slab_samples, smoothed


class SmoothParams(Params):
    """Smooth the borders between phases; each keeps its volume (lengths in voxels where nm are unknown)."""

    sigma_nm: float | None = Field(None, gt=0, description="Sigma of the Gaussian, nm; none: the smallest voxel edge.")
    keep_volume: bool = Field(True, description="Keep the fractions of the phases.")


def _blur(p: SmoothParams, spec: VolumeSpec) -> Blur:
    return Blur(p.sigma_nm, spec.scale)


def _needs(p: SmoothParams, spec: VolumeSpec) -> Needs:
    halo = (_blur(p, spec).halo,) * 2
    phases = spec.value_range[1] + 1 if spec.value_range[1] < OUTSIDE else 3
    return Needs(halo=halo, measure_halo=halo, bytes_per_voxel=24.0 + 4 * phases)


def measure(block: Any, p: SmoothParams, ctx: StageContext) -> Table:
    """Shares of the phases around some voxels of the slab's own slices."""
    if not p.keep_volume:
        return {}
    return slab_samples(block, _blur(p, ctx.spec), ctx.core_slices, ctx.z0 + ctx.core[0], ctx.spec.shape[0])


def combine(partials: Sequence[Table], p: SmoothParams, ctx: StageContext) -> Table:
    """Handicaps with which the phases keep their volumes."""
    return {"handicaps": handicaps([t for t in partials if t])}


def apply(block: Any, p: SmoothParams, ctx: StageContext) -> Any:
    """Let the strongest phase win around every voxel."""
    return smoothed(block, _blur(p, ctx.spec), np.asarray(ctx.tables["smoothing"]["handicaps"]))


register(
    StageDef(
        name="phases.smooth",
        kind=Kind.SLAB,
        params=SmoothParams,
        needs=_needs,
        apply=apply,
        measure=measure,
        combine=combine,
        consumes="phases",
        makes="phases",
        produces="smoothing",
        citation="Merriman, Bence & Osher 1994, J. Comput. Phys. 112, 334",
    )
)
