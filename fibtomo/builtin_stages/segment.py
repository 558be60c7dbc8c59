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
from fibtomo.ops.histogram import Bins, condense
from fibtomo.ops.segmentation import digitise, hysteresis, smooth, smoothing_halo
from fibtomo.ops.thresholds import class_fractions, fraction_sigma, multi_otsu, threshold_sigma


class SegmentParams(Params):
    """Phases by thresholds on the grey value."""

    smooth_px: float = Field(0.0, ge=0, le=5, description="Sigma of a Gaussian before thresholding, voxels; 0: none.")


class OtsuParams(SegmentParams):
    """Two phases by Otsu's threshold on the histogram of the whole volume."""


class MultiOtsuParams(SegmentParams):
    """Two to five phases by multi-level Otsu thresholds on the histogram of the whole volume."""

    classes: int = Field(2, ge=2, le=5, description="Number of phases, ordered by grey value.")


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


class HysteresisParams(SegmentParams):
    """Two phases: clearly bright voxels, grown into the doubtful ones that touch them."""

    low: float | None = Field(None, description="Lower grey level; none: lower of the two 3-class Otsu levels.")
    high: float | None = Field(None, description="Upper grey level; none: upper of the two 3-class Otsu levels.")
    reach_px: int = Field(8, ge=0, le=32, description="Steps between face neighbours that the growth may take.")


def _halo(p: SegmentParams) -> int:
    return smoothing_halo(p.smooth_px)


def _needs(p: SegmentParams, spec: VolumeSpec) -> Needs:
    halo = _halo(p)
    grown = halo + p.reach_px if isinstance(p, HysteresisParams) else halo
    return Needs(halo=(grown, grown), measure_halo=(halo, halo), bytes_per_voxel=28.0 if halo else 10.0)


def _classes(p: SegmentParams) -> int:
    """Number of phases, known before the thresholds are."""
    if isinstance(p, MultiOtsuParams):
        return p.classes
    return len(p.levels or (None,)) + 1 if isinstance(p, ThresholdParams) else 2


def _out_spec(p: SegmentParams, ctx: StageContext) -> VolumeSpec:
    return ctx.spec.with_(kind="phases", dtype="uint8", value_range=(0.0, _classes(p) - 1.0))


def _boxes(block: Any, ctx: StageContext) -> Any:
    """What the block's slices show, as boxes or row by row, or ``None`` if every voxel was seen."""
    return ctx.shown(len(block))


def _bins(ctx: StageContext) -> Bins:
    return Bins.covering(ctx.spec.dtype, ctx.spec.value_range)


def measure(block: Any, p: SegmentParams, ctx: StageContext) -> Table:
    """Histogram of the slab's own slices, and how many voxels its range misses."""
    boxes = _boxes(block, ctx)
    core = smooth(block, p.smooth_px, boxes)[ctx.core_slices]
    counts = _bins(ctx).count(core, None if boxes is None else boxes[ctx.core_slices])
    return {"counts": counts[1:-1], "missed": int(counts[0] + counts[-1])}


def combine(partials: Sequence[Table], p: SegmentParams, ctx: StageContext) -> Table:
    """Thresholds of the summed histogram, with their uncertainty."""
    counts = sum((t["counts"] for t in partials), start=np.zeros(_bins(ctx).n, dtype=np.int64))
    missed = sum(t["missed"] for t in partials)
    if missed > 0.01 * (missed + counts.sum()):
        raise InputError(
            f"{missed} voxels lie outside the value range {ctx.spec.value_range}: state the true range of grey values"
        )
    edges = _bins(ctx).edges
    thresholds = _thresholds(counts, edges, p, ctx)
    fixed = isinstance(p, ThresholdParams)
    sigma = np.zeros(len(thresholds)) if fixed else threshold_sigma(counts, edges, thresholds)
    fractions, errors = class_fractions(counts, edges, thresholds), fraction_sigma(counts, edges, thresholds, sigma)
    if isinstance(p, HysteresisParams):
        doubtful = fractions[1] / 2
        errors = np.array([doubtful, doubtful])
    table, bin_edges = condense(counts, edges)
    return {
        "thresholds": thresholds.tolist(),
        "sigma": sigma.tolist(),
        "classes": 2 if isinstance(p, HysteresisParams) else len(thresholds) + 1,
        "fraction_sigma": errors.tolist(),
        "histogram": table,
        "bin_edges": bin_edges,
    }


def _thresholds(counts: Any, edges: Any, p: SegmentParams, ctx: StageContext) -> Any:
    if isinstance(p, ThresholdParams):
        return np.array(p.levels or (sum(ctx.spec.value_range) / 2,), dtype=np.float64)
    if isinstance(p, HysteresisParams):
        low, high = (None, None) if None not in (p.low, p.high) else multi_otsu(counts, edges, 3)
        pair = (low if p.low is None else p.low, high if p.high is None else p.high)
        if pair[0] > pair[1]:
            raise InputError(f"segment.hysteresis: the lower level {pair[0]:g} lies above the upper level {pair[1]:g}")
        return np.array(pair, dtype=np.float64)
    return multi_otsu(counts, edges, p.classes if isinstance(p, MultiOtsuParams) else 2)


def apply(block: Any, p: SegmentParams, ctx: StageContext) -> Any:
    """Label the block with the thresholds of the whole volume."""
    boxes = _boxes(block, ctx)
    grey = smooth(block, p.smooth_px, boxes)
    levels = tuple(ctx.tables["threshold"]["thresholds"])
    if isinstance(p, HysteresisParams):
        return hysteresis(grey, (levels[0], levels[1]), p.reach_px, boxes)
    return digitise(grey, levels, boxes)


def _register(name: str, params: type[SegmentParams], citation: str) -> None:
    register(
        StageDef(
            name=name,
            kind=Kind.SLAB,
            params=params,
            needs=_needs,
            apply=apply,
            measure=measure,
            combine=combine,
            out_spec=_out_spec,
            makes="phases",
            produces="threshold",
            optional=("valid",),
            citation=citation,
        )
    )


_register("segment.otsu", OtsuParams, "Otsu 1979, IEEE Trans. SMC 9, 62")
_register("segment.multi_otsu", MultiOtsuParams, "Liao, Chen & Chung 2001, J. Inf. Sci. Eng. 17, 713")
_register("segment.threshold", ThresholdParams, "")
_register("segment.hysteresis", HysteresisParams, "Canny 1986, IEEE Trans. PAMI 8, 679")
