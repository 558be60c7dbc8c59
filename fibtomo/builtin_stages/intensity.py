"""Stages that even out brightness along the stack and across the plane."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.ops import flicker, shading


class FlickerParams(Params):
    """Brings the grey of the phases of each slice to their running median along the stack."""

    window_slices: int = Field(101, ge=3, le=100000, description="Window of the running median, slices, from 3.")
    max_change: float = Field(
        0.5, gt=0, le=4, description="Largest relative change of contrast; slices beyond are left alone."
    )


class ShadingParams(Params):
    """Evens out shading across the plane with one map for the whole stack."""

    method: Literal["polynomial", "n4"] = Field(
        "polynomial",
        description="polynomial: gain or offset of the phases, and side shadows; n4: N4 bias field (SimpleITK).",
    )
    order: int = Field(2, ge=1, le=4, description="Order of the polynomial, 1 to 4.")


def measure_flicker(block: Any, params: FlickerParams, ctx: StageContext) -> Table:
    """Histogram of each slice."""
    first, stop = ctx.core
    before = min(first, max(flicker.LAGS))
    return flicker.measure_flicker(block[first - before : stop], before)


def combine_flicker(partials: Sequence[Table], params: FlickerParams, ctx: StageContext) -> Table:
    """Gain and offset of each slice."""
    return flicker.combine_flicker(partials, params.window_slices, params.max_change)


def apply_flicker(block: Any, params: FlickerParams, ctx: StageContext) -> Any:
    """Gain and offset of the block's slices."""
    table, part = ctx.tables["flicker"], slice(ctx.z0, ctx.z0 + block.shape[0])
    return flicker.apply_flicker(block, table["gain"][part], table["offset"][part])


def measure_shading(block: Any, params: ShadingParams, ctx: StageContext) -> Table:
    """Histograms and sums over the plane."""
    return shading.measure_shading(block[ctx.core_slices], ctx.spec.value_range)


def combine_shading(partials: Sequence[Table], params: ShadingParams, ctx: StageContext) -> Table:
    """Correction map of the plane."""
    return shading.combine_shading(partials, params.method, params.order)


def apply_shading(block: Any, params: ShadingParams, ctx: StageContext) -> Any:
    """Multiply by the map."""
    return shading.apply_shading(block, **ctx.tables["shading"])


def needs(params: Params, spec: VolumeSpec) -> Needs:
    """A float32 copy and the temporaries of one slice."""
    return Needs(bytes_per_voxel=12.0)


def flicker_needs(params: Params, spec: VolumeSpec) -> Needs:
    """Beside it, the slices before the slab to compare with."""
    return Needs(measure_halo=(max(flicker.LAGS), 0), bytes_per_voxel=12.0)


def shading_needs(params: Params, spec: VolumeSpec) -> Needs:
    """Beside it, the histograms of all cells, and what one slice takes to be sorted into them."""
    _, ny, nx = spec.shape
    return Needs(bytes_per_voxel=12.0, fixed_bytes=shading.histogram_bytes(nx) + 72.0 * ny * nx)


register(
    StageDef(
        name="intensity.flicker",
        kind=Kind.SLICE,
        version=2,
        params=FlickerParams,
        needs=flicker_needs,
        apply=apply_flicker,
        measure=measure_flicker,
        combine=combine_flicker,
        produces="flicker",
        citation="Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1, doi:10.1111/j.2517-6161.1977.tb01600.x",
    )
)
register(
    StageDef(
        name="intensity.shading",
        kind=Kind.SLICE,
        version=2,
        params=ShadingParams,
        needs=shading_needs,
        apply=apply_shading,
        measure=measure_shading,
        combine=combine_shading,
        produces="shading",
        citation="Likar et al., IEEE Trans. Med. Imaging 20 (2001) 1398, doi:10.1109/42.974934 (sharpest greys); "
        "Tustison et al., IEEE Trans. Med. Imaging 29 (2010) 1310, doi:10.1109/TMI.2010.2046908 (n4)",
    )
)
