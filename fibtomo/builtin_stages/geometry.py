"""The one resample: drift, shear, foreshortening, slice positions and target voxel size composed into one map."""

from typing import Any, Literal

from pydantic import Field

from fibtomo.core.grid import ResampleGrid, make_grid
from fibtomo.core.params import Params
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.ops import resample as ops


class ResampleParams(Params):
    """Resample the slices once into an isotropic, true-to-scale volume."""

    voxel_nm: float | None = Field(
        None, gt=0, description="Edge of the cubic target voxel, nm; empty takes the finest true spacing."
    )
    method: Literal["linear", "cubic", "lanczos3"] = Field("cubic", description="Interpolation kernel; cubic is Keys'.")
    crop: Literal["auto", "valid", "all"] = Field(
        "auto",
        description="valid: only what every slice shows; all: everything; auto: valid unless half would be lost.",
    )
    shear: Literal["auto", "images", "geometry"] = Field(
        "auto", description="Where the motion between slices comes from; auto: measured drift if there is any."
    )


def grid_of(params: ResampleParams, ctx: StageContext) -> ResampleGrid:
    """Return the target grid that parameters, calibration and drift table lead to."""
    drift = None if params.shear == "geometry" else ctx.tables.get("drift")
    geometry = resolve_geometry(ctx.calibration, shear_from_images=drift is not None)
    voxel = params.voxel_nm
    if ctx.spec.voxel_nm is None:
        voxel = None
    bad = {int(k) for role in ("input", "drift") for k in ctx.tables.get(role, {}).get("bad_slices", [])}
    shifts = None if drift is None else drift["shifts_px"]
    return make_grid(geometry, ctx.spec.shape, shifts, voxel, params.crop, sorted(bad))


def _out_spec(params: ResampleParams, ctx: StageContext) -> VolumeSpec:
    grid = grid_of(params, ctx)
    voxel = grid.voxel_nm if ctx.spec.voxel_nm is not None else None
    return ctx.spec.with_(shape=grid.shape, voxel_nm=voxel, frame="specimen")


def _source_range(params: ResampleParams, ctx: StageContext) -> tuple[int, int]:
    grid = grid_of(params, ctx)
    return grid.source_range(*ctx.out_z, taps=ops.taps_needed(grid, params.method))


def _side_tables(params: ResampleParams, ctx: StageContext) -> dict[str, Table]:
    grid = grid_of(params, ctx)
    return {
        "valid": {"boxes": grid.valid_boxes(0, grid.shape[0])},
        "grid": {
            "z_index": grid.z_index,
            "row_start": grid.row_start,
            "col_start": grid.col_start,
            "row_scale": grid.row_scale,
            "col_scale": grid.col_scale,
        },
    }


def _apply(block: Any, params: ResampleParams, ctx: StageContext) -> Any:
    return ops.resample_slab(block, grid_of(params, ctx), ctx.z0, *ctx.out_z, method=params.method)


register(
    StageDef(
        name="geometry.resample",
        kind=Kind.WARP,
        params=ResampleParams,
        needs=lambda _p, _s: Needs(bytes_per_voxel=12.0),
        apply=_apply,
        out_spec=_out_spec,
        source_range=_source_range,
        side_tables=_side_tables,
        optional=("drift",),
        citation="Keys 1981, IEEE Trans. ASSP 29:1153",
    )
)
