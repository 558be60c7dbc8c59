"""Stage from grey volume to phase labels with a trained pixel forest."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import Table, VolumeSpec
from fibtomo.errors import PipelineError
from fibtomo.ops.forest_recipe import PLAIN, greys_of
from fibtomo.ops.forest_sums import labelled
from fibtomo.ops.histogram import Bins, condense, row_spans
from fibtomo.ops.pixel_forest import PixelForest


class ForestParams(Params):
    """Phases by a pixel forest that was trained with `fibtomo train`, for 3-D features at scales in nm."""

    model: str = Field("", description="File of the forest, model.npz.")


def _forest(p: ForestParams) -> PixelForest:
    if not p.model:
        raise PipelineError("segment.forest needs a forest: give --set segment.forest.model=model.npz (fibtomo train)")
    path = Path(p.model)
    return _loaded(str(path), path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=4)
def _loaded(path: str, _mtime_ns: int) -> PixelForest:
    return PixelForest.load(path)


def _needs(p: ForestParams, spec: VolumeSpec) -> Needs:
    if not p.model:
        return Needs()
    forest = _forest(p)
    reach = forest.recipe.reach(spec.scale, masked=True)
    return Needs(
        halo=(reach[0], reach[0]),
        bytes_per_voxel=2.0,
        fixed_bytes=forest.recipe.working_bytes(spec.scale, spec.shape, len(forest.classes)),
    )


def check(p: ForestParams, spec: VolumeSpec) -> None:
    """The forest can be read and asked about volumes like this one."""
    _forest(p).check(1, spec.scale, spec.unit)


def _spans(block: Any, ctx: StageContext) -> Any:
    valid = ctx.tables.get("valid")
    if valid is None:
        return None
    boxes = np.asarray(valid.get("spans", valid["boxes"]))[ctx.z0 : ctx.z0 + len(block)]
    return row_spans(boxes, block.shape)


def _bins(ctx: StageContext) -> Bins:
    return Bins.covering(ctx.spec.dtype, ctx.spec.value_range)


def measure(block: Any, p: ForestParams, ctx: StageContext) -> Table:
    """Histogram of the slab's own slices."""
    spans = _spans(block, ctx)
    core = ctx.core_slices
    return {"counts": _bins(ctx).count(block[core], None if spans is None else spans[core])[1:-1]}


def combine(partials: Sequence[Table], p: ForestParams, ctx: StageContext) -> Table:
    """Greys of the whole volume that become 0 and 1; the histogram for the report."""
    bins, forest = _bins(ctx), _forest(p)
    counts = sum((t["counts"] for t in partials), start=np.zeros(bins.n, dtype=np.int64))
    table, bin_edges = condense(counts, bins.edges)
    return {
        "thresholds": [],
        "sigma": [],
        "classes": len(forest.classes),
        "class_names": list(forest.classes),
        "greys": list(greys_of(counts, bins) if forest.recipe.normalised else PLAIN),
        "notes": forest.doubts_on_voxels(ctx.spec.scale),
        "histogram": table,
        "bin_edges": bin_edges,
    }


def apply(block: Any, p: ForestParams, ctx: StageContext) -> Any:
    """Ask the forest about all voxels whose neighbourhood the block holds; note what it says of each slice."""
    forest, n = _forest(p), len(block)
    halo = _needs(p, ctx.spec).halo[0]
    first = halo if ctx.z0 > 0 else 0
    last = n - halo if ctx.z0 + n < ctx.spec.shape[0] else n
    black, white = ctx.tables["threshold"]["greys"]
    greys = [(float(black), float(white))]
    labels, sums = labelled(forest, block, ctx.spec.scale, greys, _spans(block, ctx), (first, last), ctx.z0)
    ctx.notes.update(sums)
    return labels


def _out_spec(p: ForestParams, ctx: StageContext) -> VolumeSpec:
    return ctx.spec.with_(kind="phases", dtype="uint8", value_range=(0.0, len(_forest(p).classes) - 1.0))


register(
    StageDef(
        name="segment.forest",
        kind=Kind.SLAB,
        params=ForestParams,
        needs=_needs,
        apply=apply,
        measure=measure,
        combine=combine,
        out_spec=_out_spec,
        check=check,
        files=lambda p: (p.model,) if p.model else (),
        makes="phases",
        produces="threshold",
        notes="forest",
        optional=("valid",),
        citation="Breiman 2001, Mach. Learn. 45, 5",
    )
)
