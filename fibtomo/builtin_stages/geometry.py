"""The one resample: every correction of place, and the target's axes and voxel size, composed into one map."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from fibtomo.core.geometry import Float
from fibtomo.core.grid import ResampleGrid, make_grid
from fibtomo.core.params import Params
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.core.warp import Warp
from fibtomo.errors import InputError
from fibtomo.ops import resample as ops

_APART = 1e-6
"""Least distance of slices, of the mean one, that counts as a distance."""


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
    axes: Literal["specimen", "surface"] = Field(
        "specimen",
        description="specimen: y down the milled face; surface: y is the depth below the sample surface (needs its "
        "tilt).",
    )
    roi: Literal["auto", "off"] | tuple[int, int, int, int] = Field(
        "auto",
        description="Part to keep: [y0, y1, x0, x1] in rows and columns of slice 0; auto: the face that was found.",
    )
    warp: str | None = Field(
        None,
        description="Displacement within the slices: .npz with nodes_px (slices, gy, gx, 2) and frame, both in px.",
    )
    across_bad: Literal["interpolate", "leave out"] = Field(
        "interpolate",
        description="What lies between the neighbours of bad slices: interpolate it along z, or leave it out, so that "
        "it is neither shown nor segmented nor measured.",
    )
    fill: float = Field(0.0, description="Grey value of voxels that no slice shows.")


def grid_of(params: ResampleParams, ctx: StageContext) -> ResampleGrid:
    """Return the target grid that parameters, calibration and the tables of earlier stages lead to."""
    drift = None if params.shear == "geometry" else ctx.tables.get("drift")
    geometry = resolve_geometry(ctx.calibration, shear_from_images=drift is not None)
    bad = {int(k) for role in ("input", "drift") for k in ctx.tables.get(role, {}).get("bad_slices", [])}
    thickness = ctx.tables.get("thickness")
    if thickness is not None:
        positions = _ascending(np.asarray(thickness["slice_z_nm"], dtype=np.float64), geometry.voxel_nm[0])
        if ctx.spec.voxel_nm is None:  # in voxels, the mean slice is the unit
            positions *= (len(positions) - 1) / positions[-1]
        geometry = replace(geometry, slice_z_nm=tuple(positions))
        bad |= {int(k) for k in thickness.get("doubled", [])}
    return make_grid(
        geometry,
        ctx.spec.shape,
        None if drift is None else drift["shifts_px"],
        None if ctx.spec.voxel_nm is None else params.voxel_nm,
        params.crop,
        sorted(bad),
        warp=_warp(params, ctx),
        axes=params.axes,
        roi=_roi(params, ctx),
        bridge=params.across_bad == "interpolate",
    )


def _ascending(z_nm: Float, step_nm: float) -> Float:
    """Positions with slices on the same place a hair apart; those marked as doubled are left out anyway."""
    least = np.arange(len(z_nm)) * _APART * step_nm
    return np.maximum.accumulate(z_nm - least) + least


def _warp(params: ResampleParams, ctx: StageContext) -> Warp | None:
    if params.warp is not None:
        path = Path(params.warp)
        if not path.is_file():
            raise InputError(f"geometry.resample.warp: there is no file {path}")
        return _loaded(path, path.stat().st_mtime_ns)
    table = ctx.tables.get("warp")
    return None if table is None else Warp(np.asarray(table["nodes_px"]), ctx.spec.shape[1:])


@lru_cache(maxsize=2)
def _loaded(path: Path, _mtime_ns: int) -> Warp:
    return Warp.load(path)


def _roi(params: ResampleParams, ctx: StageContext) -> tuple[int, ...] | None:
    if not isinstance(params.roi, str):
        return params.roi
    face = ctx.tables.get("face", {}) if params.roi == "auto" else {}
    return tuple(int(v) for v in face["box_px"]) if face.get("crop") else None


def _out_spec(params: ResampleParams, ctx: StageContext) -> VolumeSpec:
    grid = grid_of(params, ctx)
    voxel = grid.voxel_nm if ctx.spec.voxel_nm is not None else None
    return ctx.spec.with_(shape=grid.shape, voxel_nm=voxel, frame="specimen")


def _source_range(params: ResampleParams, ctx: StageContext) -> tuple[int, int]:
    return ops.source_range(grid_of(params, ctx), *ctx.out_z, params.method)


def _side_tables(params: ResampleParams, ctx: StageContext) -> dict[str, Table]:
    grid = grid_of(params, ctx)
    bridged = grid.bridged(0, grid.shape[0]).mean(axis=1)
    valid: Table = {"boxes": grid.valid_boxes(0, grid.shape[0]), "bridged": bridged}
    placed: Table = {
        "z_index": grid.z_index,
        "row_start": grid.row_start,
        "col_start": grid.col_start,
        "row_scale": grid.row_scale,
        "col_scale": grid.col_scale,
        "axes": params.axes,
        "bridged_share": grid.bridged_share(),
    }
    if not grid.separable:
        valid["spans"] = grid.valid_spans(0, grid.shape[0])
    return {"valid": valid, "grid": placed}


def _apply(block: Any, params: ResampleParams, ctx: StageContext) -> Any:
    return ops.resample_slab(block, grid_of(params, ctx), ctx.z0, *ctx.out_z, method=params.method, fill=params.fill)


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
        files=lambda p: () if p.warp is None else (p.warp,),
        optional=("drift", "thickness", "face", "warp"),
        version=3,
        citation="Keys 1981, IEEE Trans. ASSP 29:1153",
    )
)
