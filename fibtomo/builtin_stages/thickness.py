"""Thickness: where every slice lies along the milling direction."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from fibtomo.core.drift import Drift
from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.ops.marks import check_marks_roi
from fibtomo.ops.thickness import combine_slabs, measure_slab


class ThicknessParams(Params):
    """Estimate the thickness of every slice from how alike neighbours are, or from ruler marks."""

    method: Literal["auto", "images", "marks", "off"] = Field(
        "auto",
        description="images: decay of likeness; marks: distance of two marks, with images for the fast part; off: "
        "nominal; auto: positions that the instrument logged if there are any, else marks if a region is given, else "
        "images as far as they are better than nominal.",
    )
    marks_roi: tuple[int, int, int, int] | None = Field(
        None, description="Region y0, y1, x0, x1 in slice 0 that holds both ruler marks on every slice, px."
    )
    marks_slope: float | None = Field(
        None,
        gt=0,
        le=20,
        description="Change of the marks' distance per milling advance, nm/nm (2 tan α for a chevron of half-angle α); "
        "empty: scaled to the nominal mean thickness.",
    )
    largest_gap: int = Field(3, ge=2, le=12, description="Farthest slices that are compared, slices apart.")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.method == "marks" and self.marks_roi is None:
            raise ValueError("method = marks needs marks_roi = [y0, y1, x0, x1]: a region that holds both ruler marks")
        return self


def _needs(params: ThicknessParams, spec: VolumeSpec) -> Needs:
    if params.marks_roi is not None:
        check_marks_roi(params.marks_roi, spec.shape[1:])
    # bytes per pixel of the one slice worked on (float32 copies, a transform) and of the spectra kept
    thinnest = min(params.largest_gap + 1, spec.shape[0])
    return Needs(measure_halo=(params.largest_gap, 0), bytes_per_voxel=(20.0 + params.largest_gap) / thinnest)


def _measure(block: Any, params: ThicknessParams, ctx: StageContext) -> Table:
    shifts = Drift.from_table(ctx.tables["drift"]).shifts_px
    return measure_slab(block, ctx.z0, ctx.core, shifts, params.method, params.marks_roi, params.largest_gap)


def _combine(partials: Sequence[Table], params: ThicknessParams, ctx: StageContext) -> Table:
    stated = ctx.calibration.slice_z_nm.value
    nominal, _, pixel = ctx.spec.scale
    return combine_slabs(
        partials,
        Drift.from_table(ctx.tables["drift"]),
        float(ctx.calibration.slice_nm.value or nominal),
        params.method,
        ruler_px_per_nm=None if params.marks_slope is None else params.marks_slope / pixel,
        stated_z_nm=None if stated is None else np.asarray(stated, dtype=np.float64),
    ).to_table()


register(
    StageDef(
        name="thickness.estimate",
        kind=Kind.REDUCE,
        params=ThicknessParams,
        needs=_needs,
        measure=_measure,
        combine=_combine,
        produces="thickness",
        requires=("drift",),
        citation="Hanslovsky, Bogovic & Saalfeld 2017, Bioinformatics 33:1379",
    )
)
