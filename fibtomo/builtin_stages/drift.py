"""Drift: how far every slice has moved, measured on the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from fibtomo.core.drift import Drift
from fibtomo.core.drift_file import read_overrides
from fibtomo.core.params import Params
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.errors import CalibrationError, PipelineError
from fibtomo.io.shifts import read_shifts, shifts_file
from fibtomo.ops.drift import motions_allowed
from fibtomo.ops.drift_anchor import anchor_to_face, anchor_to_thumbnails
from fibtomo.ops.drift_combine import combine_slabs
from fibtomo.ops.drift_hand import Override, check_hand
from fibtomo.ops.drift_measure import DriftOptions, Slow, measure_slab
from fibtomo.ops.itk_registration import Metric
from fibtomo.ops.reference import check_roi, patch_binning
from fibtomo.ops.spectra import binning_of
from fibtomo.ops.static_region import measure_static, thumbnail_binning


class EstimateParams(Params):
    """Measure the drift of the slices by correlating each with those before it."""

    method: Literal["correlation", "itk"] = Field(
        "correlation", description="correlation: band-limited, coherence-weighted; itk: SimpleITK, from there."
    )
    itk_metric: Metric = Field("mutual_information", description="What itk makes as large or as small as it can.")
    offsets: Literal["auto"] | tuple[int, ...] = Field(
        "auto",
        description="Slice distances over which pairs are measured; auto: 1 and 2 (1 for itk), and up to 4 over gaps.",
    )
    max_shift_px: float | None = Field(
        None, gt=0, description="Largest motion between two slices, px; empty: a third of the slice."
    )
    band_cycles_per_px: tuple[float, float] | None = Field(
        None, description="Lowest and highest spatial frequency used, cycles/px; empty: as far as the slices agree."
    )
    reference_roi: tuple[int, int, int, int] | None = Field(
        None,
        description="Static region y0, y1, x0, x1 in slice 0, px (fiducial, coating); sets the slow part.",
    )
    reference_margin_px: int = Field(
        32, ge=0, le=512, description="How far the static region may stray from where geometry expects it, px."
    )
    slope_px_per_slice: tuple[float, float] | None = Field(
        None, description="Expected motion (dy, dx) per slice, px; empty: from the geometry where it is known."
    )
    bad_slices: Literal["auto"] | tuple[int, ...] = Field(
        "auto", description="Slices not to use, counted from 0; auto: blank, truncated, repeated, blurred, odd ones."
    )
    also_bad: tuple[int, ...] = Field((), description="Slices not to use, counted from 0, beside those of bad_slices.")
    breaks: tuple[int, ...] = Field(
        (),
        description="First slices of new segments, counted from 0 (run restarted, field of view moved): the jump there "
        "is looked for as far as the slices allow, kept out of the slow part, and flagged where it cannot be measured.",
    )
    overrides: str | tuple[tuple[int, float, float], ...] | None = Field(
        None,
        description="Slices whose place is known: [[slice, dy, dx], ...] in px, relative to slice 0, or a table (CSV, "
        "JSON) with these columns; the motion passes through them exactly.",
    )
    overrides_move: Literal["neighbours", "alone"] = Field(
        "neighbours",
        description="neighbours: the slices between and after those of overrides follow, bent by the least likely "
        "steps; alone: only those slices move.",
    )
    slow: Slow = Field(
        "auto",
        description="Where the slow part of the motion comes from. auto: its straight line from the geometry where one "
        "motion that it allows is clearly the likeliest and agrees with the images, its bends from the images less "
        "what changing structure explains; keep: as the images show it; reference: the static region, or an error; "
        "geometry: the expected motion; remove: none. Only after auto does drift.anchor look for what stands still.",
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.offsets != "auto" and (1 not in self.offsets or not all(1 <= o <= 16 for o in self.offsets)):
            raise ValueError(f"offsets {self.offsets} must lie between 1 and 16 and contain 1")
        if self.band_cycles_per_px is not None:
            low, high = self.band_cycles_per_px
            if not 0 <= low < high <= 0.5:
                raise ValueError(f"band_cycles_per_px {self.band_cycles_per_px} must ascend between 0 and 0.5")
        return self


def _options(params: EstimateParams, ctx: StageContext, overrides: tuple[Override, ...] = ()) -> DriftOptions:
    values = params.model_dump(exclude={"overrides"})
    slope = values.pop("slope_px_per_slice")
    return DriftOptions(**values, overrides=overrides, slope_px_per_slice=slope or _geometric_slope(ctx))


def _overrides(params: EstimateParams) -> tuple[Override, ...]:
    return read_overrides(Path(params.overrides)) if isinstance(params.overrides, str) else params.overrides or ()


def _check(params: EstimateParams, spec: VolumeSpec) -> None:
    check_hand(spec.shape[0], _overrides(params), params.also_bad, params.breaks)
    if params.slow == "reference" and params.reference_roi is None:
        raise PipelineError(
            "drift.estimate: slow = reference needs reference_roi; to insist on what drift.anchor finds by itself, "
            "keep slow = auto and set drift.anchor.required = true"
        )


def _geometric_slope(ctx: StageContext) -> tuple[float, float]:
    """Rows and columns per slice that the geometry predicts; none where it is not known."""
    try:
        geometry = resolve_geometry(ctx.calibration, shear_from_images=False)
    except CalibrationError:
        return 0.0, 0.0
    return -geometry.shear_px_per_slice, 0.0


def _needs(params: EstimateParams, spec: VolumeSpec) -> Needs:
    options = DriftOptions(method=params.method, offsets=params.offsets)
    patch = 0.0
    if params.reference_roi is not None:
        check_roi(params.reference_roi, spec.shape[1:])
        y0, y1, x0, x1 = params.reference_roi
        margin, b = 2 * params.reference_margin_px, patch_binning(params.reference_roi, params.reference_margin_px)
        patch = 2.0 * (y1 - y0 + margin) * (x1 - x0 + margin) / b**2 / (spec.shape[1] * spec.shape[2])
    # bytes per pixel of the one slice worked on (float32 copies, a transform) and of the cropped spectra kept;
    # a block is never thinner than the pairs it holds
    size = 14.0 / binning_of(spec.shape[1:]) ** 2 if params.method == "correlation" else 48.0
    working = 1.0 + size + 2.0 * options.gaps[-1]
    thinnest = min(options.halo + 1, spec.shape[0])
    return Needs(measure_halo=(options.halo, 0), bytes_per_voxel=working / thinnest + patch)


def _measure(block: Any, params: EstimateParams, ctx: StageContext) -> Table:
    return measure_slab(block, ctx.z0, ctx.core, _options(params, ctx))


def _combine(partials: Sequence[Table], params: EstimateParams, ctx: StageContext) -> Table:
    by_hand = params.slow == "geometry" and params.slope_px_per_slice is not None
    allowed = [] if by_hand else motions_allowed(ctx.calibration, ctx.spec.shape[0])
    if params.slow == "geometry" and not (by_hand or allowed):
        raise PipelineError(
            "drift.estimate: slow = geometry needs an expected slope; give slope_px_per_slice or the geometry "
            "(--voxel-nm, --column-angle-deg, --tilt-corrected, --tracked)"
        )
    return combine_slabs(partials, _options(params, ctx, _overrides(params)), allowed).to_table()


register(
    StageDef(
        name="drift.estimate",
        kind=Kind.REDUCE,
        params=EstimateParams,
        needs=_needs,
        measure=_measure,
        combine=_combine,
        check=_check,
        files=lambda p: (p.overrides,) if isinstance(p.overrides, str) else (),
        produces="drift",
        citation="Hannan & Thomson 1973, J. Am. Stat. Assoc. 68:173",
    )
)


class ImportParams(Params):
    """Take the drift from a file instead of measuring it: one of ours, or an alignment of another program."""

    path: str = Field(
        description="Output folder or drift.csv of a run, a table with dy and dx, .npy, or an alignment of Fiji or "
        "TrakEM2; the formats stand in docs/drift.md."
    )
    shifts_are: Literal["auto", "steps", "cumulative"] = Field(
        "auto",
        description="steps: from each slice to the next; cumulative: from slice 0; auto: what the format says, "
        "cumulative for tables.",
    )
    also_bad: tuple[int, ...] = Field((), description="Slices not to use, counted from 0, beside those of the file.")


def _given(params: ImportParams, spec: VolumeSpec) -> Drift:
    drift = read_shifts(params.path, shape=spec.shape, shifts_are=params.shifts_are)
    check_hand(len(drift), (), params.also_bad, ())
    return drift.without(params.also_bad)


def _check_given(params: ImportParams, spec: VolumeSpec) -> None:
    _given(params, spec)


register(
    StageDef(
        name="drift.import",
        kind=Kind.REDUCE,
        params=ImportParams,
        needs=lambda _p, _s: Needs(bytes_per_voxel=1.0),
        measure=lambda _block, _params, _ctx: {},
        combine=lambda _partials, params, ctx: _given(params, ctx.spec).to_table(),
        check=_check_given,
        files=lambda p: (str(shifts_file(p.path)),),
        produces="drift",
    )
)


class AnchorParams(Params):
    """Take the slow part of the motion from what stands still: a static region, or edges that `face.find` saw."""

    region: Literal["auto", "off"] = Field(
        "auto",
        description="auto: look for a region that stays the same on every slice while the specimen changes (mark on "
        "the protective layer or beside the face), unless a reference region, places given by hand or `slow` have "
        "decided; off: do not.",
    )
    edges: Literal["auto", "off"] = Field(
        "auto",
        description="auto: where no such region is found, sample surface for y, trench walls for x; off: leave the "
        "edges alone.",
    )
    required: bool = Field(False, description="Stop where nothing static is found, instead of going on without.")


def _thumbnails(block: Any, params: AnchorParams, ctx: StageContext) -> Table:
    return measure_static(block[ctx.core_slices]) if params.region == "auto" else {}


def _anchored(partials: Sequence[Table], params: AnchorParams, ctx: StageContext) -> Table:
    drift = Drift.from_table(ctx.tables["drift"])
    found = drift
    if params.region == "auto":
        thumbs = np.concatenate([p["thumbnails"] for p in partials])
        found = anchor_to_thumbnails(drift, thumbs, ctx.spec.shape[1:])
    if found is drift and params.edges == "auto":
        found = anchor_to_face(drift, ctx.tables.get("face", {}))
    if found is drift and params.required and not drift.identifiable:
        raise PipelineError(
            "drift.anchor: nothing static was found in view, and required = true; give drift.estimate.reference_roi or "
            "go on without (--set drift.anchor.required=false)"
        )
    return found.to_table()


register(
    StageDef(
        name="drift.anchor",
        kind=Kind.REDUCE,
        params=AnchorParams,
        needs=lambda _p, spec: Needs(bytes_per_voxel=1.0 + 10.0 / thumbnail_binning(spec.shape[1:]) ** 2),
        measure=_thumbnails,
        combine=_anchored,
        produces="drift",
        refines=True,
        late=("drift", "face"),
        citation="Yuan, Van De Moortèle & Epicier 2021, Ultramicroscopy 228:113265",
        version=2,
    )
)
