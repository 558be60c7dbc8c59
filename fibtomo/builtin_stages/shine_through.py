"""Stage from grey volume to walls and open pores, where back walls shine through."""

from collections.abc import Sequence
from math import radians, tan
from typing import Any

import numpy as np
from pydantic import Field

from fibtomo.backend.array import namespace
from fibtomo.core.params import Params
from fibtomo.core.resolve import face_angle_deg
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import OUTSIDE, Table, VolumeSpec
from fibtomo.errors import InputError, PipelineError
from fibtomo.ops.forest_sums import sums_of
from fibtomo.ops.histogram import Bins, condense, row_spans, shown
from fibtomo.ops.light_decay import LAGS, fit_light, sample_rays
from fibtomo.ops.shine_features import Core, slices_around, tile_bytes
from fibtomo.ops.shine_through import shipped_forest, wall_probability
from fibtomo.ops.wall_rays import Light

FINEST = 0.75
"""Least voxel along z over the slice thickness that counts as not interpolated."""
STEEPEST = 2.0
"""Rows per slice that memory is planned for."""


class ShineThroughParams(Params):
    """Walls (1) and open pores (0) where back walls shine through: a forest on what the rays of light say."""

    column_angle_deg: float | None = Field(
        None, gt=0, lt=90, description="Angle between the columns; empty: the acquisition's."
    )


def _rows_per_slice(p: ShineThroughParams, ctx: StageContext) -> float:
    """Rows that light runs down for every slice it goes deeper."""
    if ctx.tables.get("grid", {}).get("axes", "specimen") != "specimen":
        raise PipelineError(
            "segment.shine_through needs rows that run down the face: set geometry.resample.axes=specimen"
        )
    dz, dy, _ = ctx.spec.scale
    if p.column_angle_deg is not None:
        return dz / dy / tan(radians(p.column_angle_deg))
    face_deg = face_angle_deg(ctx.calibration)
    if face_deg is None:
        raise PipelineError(
            "segment.shine_through must know where light comes from: give --column-angle-deg, or "
            "--set segment.shine_through.column_angle_deg=52"
        )
    return dz / dy * tan(radians(face_deg))


def _needs(p: ShineThroughParams, spec: VolumeSpec) -> Needs:
    forest = sum(a.nbytes for a in shipped_forest().forest.to_arrays().values())
    return Needs(
        halo=slices_around(),
        measure_halo=(0, LAGS[-1]),
        bytes_per_voxel=8.0,
        halo_bytes_per_voxel=1.0,
        fixed_bytes=forest + tile_bytes(spec.shape, STEEPEST) + 48.0 * spec.shape[1] * spec.shape[2],
    )


def check(p: ShineThroughParams, spec: VolumeSpec) -> None:
    """Rays can be followed in true geometry only."""
    if spec.frame != "specimen":
        raise InputError("segment.shine_through follows light through the specimen: put it after geometry.resample")


def _seen(block: Any, ctx: StageContext) -> Any:
    boxes = ctx.shown(len(block))
    return None if boxes is None else shown(block, row_spans(boxes, block.shape))


def _bins(ctx: StageContext) -> Bins:
    return Bins.covering(ctx.spec.dtype, ctx.spec.value_range)


def measure(block: Any, p: ShineThroughParams, ctx: StageContext) -> Table:
    """Greys along rays that begin in the slab's own slices, and its histogram."""
    boxes, core = ctx.shown(len(block)), ctx.core_slices
    counts = _bins(ctx).count(block[core], None if boxes is None else boxes[core])[1:-1]
    rays = sample_rays(block, ctx.z0, ctx.core, ctx.spec.shape, _rows_per_slice(p, ctx), _seen(block, ctx))
    return {"counts": counts, **rays}


def combine(partials: Sequence[Table], p: ShineThroughParams, ctx: StageContext) -> Table:
    """Light of the whole volume, and what of it is unlike all that the forest knows."""
    fit, bins = fit_light(partials), _bins(ctx)
    counts = sum((t["counts"] for t in partials), start=np.zeros(bins.n, dtype=np.int64))
    table, bin_edges = condense(counts, bins.edges)
    light = fit.light
    return {
        "thresholds": [],
        "sigma": [],
        "classes": 2,
        "class_names": ["pore", "wall"],
        "light": [light.black, light.white, light.decay_slices, light.noise],
        "upwards": fit.upwards,
        "decay": light.decay_slices * ctx.spec.scale[0],
        "notes": [*shipped_forest().doubts(fit, _rows_per_slice(p, ctx)), *_interpolated(ctx)],
        "histogram": table,
        "bin_edges": bin_edges,
    }


def _interpolated(ctx: StageContext) -> list[str]:
    """What to think of voxels finer than the slices that were milled."""
    milled_nm, voxel_nm = ctx.calibration.slice_nm.value, ctx.spec.voxel_nm
    if not milled_nm or voxel_nm is None or voxel_nm[0] >= FINEST * milled_nm:
        return []
    doubt = (
        f"slices of {milled_nm:g} nm were interpolated to {voxel_nm[0]:g} nm, which the forest for open pores does not "
        f"know: walls come out too thin; set geometry.resample.voxel_nm={milled_nm:g}"
    )
    return [doubt]


def apply(block: Any, p: ShineThroughParams, ctx: StageContext) -> Any:
    """Ask the forest about all slices whose neighbourhood the block holds; note what it says of each."""
    xp, (before, after), n = namespace(block), slices_around(), len(block)
    first = before if ctx.z0 > 0 else 0
    last = n - after if ctx.z0 + n < ctx.spec.shape[0] else n
    core, table, boxes = slice(first, last), ctx.tables["threshold"], ctx.shown(n)
    spans = None if boxes is None else row_spans(boxes, block.shape)

    def seen(window: Core) -> Any:
        slices, rows, columns = window
        return shown(block[window], spans[slices, rows] - columns.start)

    light, upwards, rows = Light(*table["light"]), bool(table["upwards"]), _rows_per_slice(p, ctx)
    known = None if spans is None else seen
    walls = wall_probability(block, ctx.z0, (first, last), ctx.spec.shape, light, rows, upwards=upwards, seen=known)
    labels = xp.full(block.shape, OUTSIDE, xp.uint8)
    labels[core] = walls > 0.5
    sums = []
    for k in range(first, last):  # slice by slice, for the memory
        here, wall = slice(k, k + 1), walls[k - first : k - first + 1]
        mask = None if spans is None else shown(wall, spans[here])
        if mask is not None:
            labels[here][~mask] = OUTSIDE
        sums.append(sums_of(xp.stack([1 - wall, wall]), labels[here], mask))
    for name in sums[0] if sums else ():
        values = np.concatenate([s[name] for s in sums])
        ctx.notes[name] = np.zeros((n, *values.shape[1:]))
        ctx.notes[name][core] = values
    return labels


def _out_spec(p: ShineThroughParams, ctx: StageContext) -> VolumeSpec:
    _rows_per_slice(p, ctx)  # refuses what it lacks while the run is planned
    return ctx.spec.with_(kind="phases", dtype="uint8", value_range=(0.0, 1.0))


register(
    StageDef(
        name="segment.shine_through",
        kind=Kind.SLAB,
        params=ShineThroughParams,
        needs=_needs,
        apply=apply,
        measure=measure,
        combine=combine,
        out_spec=_out_spec,
        check=check,
        makes="phases",
        produces="threshold",
        notes="forest",
        apart=True,
        optional=("valid", "grid"),
        citation="Salzer et al. 2012, Mater. Charact. 69, 115; Breiman 2001, Mach. Learn. 45, 5",
    )
)
