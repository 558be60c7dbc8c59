"""Stages from grey volume to phase labels."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.errors import InputError
from fibtomo.ops.grey_field import Cells, GreyField, cells_for, coarse_bins
from fibtomo.ops.grey_field_fit import fit_field
from fibtomo.ops.grey_levels import Levels, Method, find_levels, fixed_levels
from fibtomo.ops.histogram import Bins, Counts, Edges, condense
from fibtomo.ops.segmentation import digitise, hysteresis, smooth, smoothing_halo
from fibtomo.ops.threshold_effect import note_effect


class SegmentParams(Params):
    """Phases by thresholds on the grey value."""

    smooth_px: float = Field(0.0, ge=0, le=5, description="Sigma of a Gaussian before thresholding, voxels; 0: none.")


class AutomaticParams(SegmentParams):
    """Phases by thresholds that the histogram tells."""

    follow_slices: int = Field(
        0,
        ge=0,
        le=1001,
        description="Thresholds follow the grey of the phases along z, seen over so many slices; 0: the same on all.",
    )


class OtsuParams(AutomaticParams):
    """Two phases by Otsu's threshold on the histogram of the whole volume."""


class ClassesParams(SegmentParams):
    """Two to five phases."""

    classes: int = Field(2, ge=2, le=5, description="Number of phases, ordered by grey value.")


class MultiOtsuParams(AutomaticParams, ClassesParams):
    """Two to five phases by multi-level Otsu thresholds on the histogram of the whole volume."""


class GmmParams(AutomaticParams, ClassesParams):
    """Two to five phases, rare ones too, by a Gaussian mixture with voxels between phases, fitted to the histogram."""


class LocalParams(ClassesParams):
    """Two to five phases by thresholds that follow brightness where it changes slowly from place to place."""

    window_nm: float | None = Field(
        None,
        gt=0,
        description="Edge of the windows, nm; they should hold several features. None: a third of the plane.",
    )


class ThresholdParams(SegmentParams):
    """Phases between fixed grey levels."""

    levels: tuple[float, ...] = Field(
        (), max_length=20, description="Ascending grey levels between the phases; none: the middle of the value range."
    )

    @field_validator("levels")
    @classmethod
    def _ascending(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in pairwise(levels)):
            raise ValueError("grey levels must ascend")
        return levels


class HysteresisParams(AutomaticParams):
    """Two phases: clearly bright voxels, grown into the doubtful ones that touch them."""

    low: float | None = Field(None, description="Lower grey level; none: bright has odds of 0.6 to 1.")
    high: float | None = Field(None, description="Upper grey level; none: bright has odds of 20 to 1.")
    reach_px: int = Field(8, ge=0, le=32, description="Steps between face neighbours that the growth may take.")


def _halo(p: SegmentParams) -> int:
    return smoothing_halo(p.smooth_px)


def _cells(p: SegmentParams, spec: VolumeSpec) -> Cells | None:
    """Cells in which brightness may change; ``None`` if the volume is taken as one."""
    follow = p.follow_slices if isinstance(p, AutomaticParams) else 0
    window = p.window_nm if isinstance(p, LocalParams) else None
    return cells_for(_METHODS[type(p)], spec.shape, spec.scale, window, follow)


def _needs(p: SegmentParams, spec: VolumeSpec) -> Needs:
    halo = _halo(p)
    grown = halo + p.reach_px if isinstance(p, HysteresisParams) else halo
    cells = _cells(p, spec)
    return Needs(
        halo=(grown, grown),
        measure_halo=(halo, halo),
        bytes_per_voxel=(28.0 if halo else 10.0) + (8.0 if cells else 0.0),
        fixed_bytes=40.0 * spec.shape[1] * spec.shape[2] + (cells.bytes(_bins(p, spec)) if cells else 0.0),
    )


def _classes(p: SegmentParams) -> int:
    """Number of phases, known before the thresholds are."""
    if isinstance(p, ClassesParams):
        return p.classes
    return len(p.levels or (None,)) + 1 if isinstance(p, ThresholdParams) else 2


def _out_spec(p: SegmentParams, ctx: StageContext) -> VolumeSpec:
    return ctx.spec.with_(kind="phases", dtype="uint8", value_range=(0.0, _classes(p) - 1.0))


def _boxes(block: Any, ctx: StageContext) -> Any:
    """What the block's slices show, as boxes or row by row, or ``None`` if every voxel was seen."""
    return ctx.shown(len(block))


def _bins(p: SegmentParams, spec: VolumeSpec) -> Bins:
    bins = Bins.covering(spec.dtype, spec.value_range)
    return coarse_bins(bins) if _cells(p, spec) else bins


def measure(block: Any, p: SegmentParams, ctx: StageContext) -> Table:
    """Histogram of the slab's own slices, or of each cell in them, with what its range misses at both ends."""
    boxes = _boxes(block, ctx)
    core = smooth(block, p.smooth_px, boxes)[ctx.core_slices]
    seen = None if boxes is None else boxes[ctx.core_slices]
    cells, bins = _cells(p, ctx.spec), _bins(p, ctx.spec)
    if cells is None:
        return {"counts": bins.count(core, seen)}
    return cells.count(core, ctx.z0 + ctx.core[0], bins, seen)


def combine(partials: Sequence[Table], p: SegmentParams, ctx: StageContext) -> Table:
    """Thresholds of the summed histogram, with their uncertainty."""
    cells, bins = _cells(p, ctx.spec), _bins(p, ctx.spec)
    counts = np.sum([t["counts"] for t in partials], axis=0) if cells is None else cells.add(partials)
    missed = int(counts[..., 0].sum() + counts[..., -1].sum())
    if missed > 0.01 * counts.sum():
        raise InputError(
            f"{missed} voxels lie outside the value range {ctx.spec.value_range}: state the true range of grey values"
        )
    counts, edges, field = counts[..., 1:-1], bins.edges, {}
    if cells is not None:
        found, counts, edges = fit_field(counts, bins, cells, _classes(p))
        field = {**found.to_table(), "evened": not found.plain}
    levels = _levels(counts, edges, p, ctx)
    table, bin_edges = condense(counts, edges)
    return {
        "thresholds": levels.thresholds.tolist(),
        "sigma": levels.sigma.tolist(),
        "classes": _classes(p),
        "fraction_sigma": levels.fraction_sigma.tolist(),
        "histogram": table,
        "bin_edges": bin_edges,
        **field,
    }


def _levels(counts: Counts, edges: Edges, p: SegmentParams, ctx: StageContext) -> Levels:
    if isinstance(p, ThresholdParams):
        return fixed_levels(p.levels or (sum(ctx.spec.value_range) / 2,))
    pair = (p.low, p.high) if isinstance(p, HysteresisParams) else (None, None)
    return find_levels(_METHODS[type(p)], counts, edges, _classes(p), pair)


def apply(block: Any, p: SegmentParams, ctx: StageContext) -> Any:
    """Label the block with the thresholds of the whole volume."""
    boxes = _boxes(block, ctx)
    grey = smooth(block, p.smooth_px, boxes)
    table, cells = ctx.tables["threshold"], _cells(p, ctx.spec)
    if cells is not None:
        grey = GreyField.from_table(cells, table).evened(grey, ctx.z0)
    levels = tuple(table["thresholds"])
    if isinstance(p, HysteresisParams):
        return hysteresis(grey, (levels[0], levels[1]), p.reach_px, boxes)
    ctx.notes.update(note_effect(grey, ctx.z0, levels, table["sigma"], boxes))
    return digitise(grey, levels, boxes)


_METHODS: dict[type[SegmentParams], Method] = {
    OtsuParams: "otsu",
    MultiOtsuParams: "multi_otsu",
    GmmParams: "gmm",
    LocalParams: "local",
    ThresholdParams: "threshold",
    HysteresisParams: "hysteresis",
}


def _register(params: type[SegmentParams], citation: str) -> None:
    register(
        StageDef(
            name=f"segment.{_METHODS[params]}",
            kind=Kind.SLAB,
            version=2,
            params=params,
            needs=_needs,
            apply=apply,
            measure=measure,
            combine=combine,
            out_spec=_out_spec,
            makes="phases",
            produces="threshold",
            optional=("valid",),
            notes=None if params is HysteresisParams else "threshold_effect",
            citation=citation,
        )
    )


_register(OtsuParams, "Otsu 1979, IEEE Trans. SMC 9, 62")
_register(MultiOtsuParams, "Liao, Chen & Chung 2001, J. Inf. Sci. Eng. 17, 713")
_register(GmmParams, "Santago & Gage 1993, IEEE Trans. Med. Imaging 12, 566, doi:10.1109/42.241885")
_register(LocalParams, "Chow & Kaneko 1972, Comput. Biomed. Res. 5, 388, doi:10.1016/0010-4809(72)90070-5")
_register(ThresholdParams, "")
_register(HysteresisParams, "Canny 1986, IEEE Trans. PAMI 8, 679, doi:10.1109/TPAMI.1986.4767851")
