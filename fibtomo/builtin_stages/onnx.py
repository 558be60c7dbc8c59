"""Stage that lets a network of the user's own tell the phases."""

from collections.abc import Sequence
from math import log
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fibtomo.backend.onnx import Trial, files_of, load_network, try_network
from fibtomo.core.params import Params
from fibtomo.core.stage import Kind, Needs, StageContext, StageDef, register
from fibtomo.core.volume import OUTSIDE, Table, VolumeSpec
from fibtomo.errors import InputError
from fibtomo.ops.histogram import Bins, condense, row_spans
from fibtomo.ops.onnx_tiles import Tiling, label_tiles, tiling_of

Edge = Annotated[int, Field(ge=1, le=4096)]
Reach = Annotated[int, Field(ge=0, le=512)]


class OnnxParams(Params):
    """Phases by a network of your own from an ONNX file, tile by tile (pip install 'fibtomo[onnx]')."""

    model: str = Field(
        description="ONNX file; its input is (n, c, y, x) with c neighbouring slices, or (n, c, z, y, x)."
    )
    tile_px: tuple[Edge, Edge, Edge] | None = Field(
        None, description="Voxels (z, y, x) to label in one run; empty: what the model's input fits, or 16 × 128 × 128."
    )
    halo_px: tuple[Reach, Reach, Reach] = Field(
        (8, 16, 16), description="Voxels (z, y, x) to see around a tile: the reach of the network."
    )
    normalise: Literal["none", "zscore", "minmax"] | tuple[float, Annotated[float, Field(gt=0)]] = Field(
        "zscore",
        description="Greys by those of the whole volume: zscore: mean 0, deviation 1; minmax: 0 to 1; or a mean and a "
        "deviation.",
    )
    channels: Literal["all", "main"] = Field(
        "all", description="Channels of the stack that go in, the main one first: all that are carried, or it alone."
    )
    single: Literal["probability", "logit"] = Field(
        "probability",
        description="What a network with one output channel gives; several are classes, the largest wins.",
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="Probability above which a single channel is phase 1.")


def inputs(p: OnnxParams, spec: VolumeSpec) -> list[Bins]:
    """Bins of the greys of each volume that goes in."""
    greys = [(spec.dtype, spec.value_range), *((c.dtype, c.value_range) for c in spec.channels)]
    return [Bins.covering(*grey) for grey in (greys if p.channels == "all" else greys[:1])]


def tiling(p: OnnxParams, spec: VolumeSpec) -> Tiling:
    """Tiles that the model takes."""
    volumes = len(inputs(p, spec))
    return tiling_of(load_network(p.model).shape, p.tile_px, p.halo_px, volumes, f"segment.onnx: {p.model}")


def trial(p: OnnxParams, spec: VolumeSpec) -> Trial:
    """One run of the model, checked."""
    tiles = tiling(p, spec)
    tried = try_network(p.model, tiles.input_shape)
    tiles.core_of(np.empty(tried.shape, np.bool_))
    if tried.shape[1] > OUTSIDE:
        raise InputError(f"segment.onnx: {p.model} tells {tried.shape[1]} classes; there can be {OUTSIDE} at most")
    return tried


def needs(p: OnnxParams, spec: VolumeSpec) -> Needs:
    """Labels beside the block, and all layers of the network for one tile."""
    reach = tiling(p, spec).reach
    return Needs(halo=(reach, reach), bytes_per_voxel=10.0, fixed_bytes=trial(p, spec).bytes)


def out_spec(p: OnnxParams, ctx: StageContext) -> VolumeSpec:
    """As many phases as the model tells."""
    classes = max(2, trial(p, ctx.spec).shape[1])
    return ctx.spec.with_(kind="phases", dtype="uint8", value_range=(0.0, classes - 1.0))


def measure(block: Any, p: OnnxParams, ctx: StageContext) -> Table:
    """Histogram of the slab's own slices, for each volume that goes in."""
    boxes = ctx.shown(len(block))
    core = None if boxes is None else boxes[ctx.core_slices]
    volumes = zip(inputs(p, ctx.spec), (block, *ctx.channels.values()), strict=False)
    return {f"counts_{k}": bins.count(volume[ctx.core_slices], core)[1:-1] for k, (bins, volume) in enumerate(volumes)}


def combine(partials: Sequence[Table], p: OnnxParams, ctx: StageContext) -> Table:
    """Greys of each volume that are 0 and 1 to the network; histogram of the main channel for the report."""
    volumes, levels = inputs(p, ctx.spec), []
    counted = [np.sum([t[f"counts_{k}"] for t in partials], axis=0) for k in range(len(volumes))]
    for counts, bins in zip(counted, volumes, strict=True):
        given = isinstance(p.normalise, tuple)
        zero, scale = p.normalise if given else _statistics(counts, bins, p.normalise)
        levels.append((zero, zero + scale))
    histogram, bin_edges = condense(counted[0], volumes[0].edges)
    return {
        "thresholds": [],
        "sigma": [],
        "classes": max(2, trial(p, ctx.spec).shape[1]),
        "levels": np.array(levels, dtype=np.float64),
        "histogram": histogram,
        "bin_edges": bin_edges,
    }


def _statistics(counts: NDArray[np.int64], bins: Bins, how: str) -> tuple[float, float]:
    """Grey that becomes 0, and its distance to the one that becomes 1."""
    occupied = np.flatnonzero(counts)
    if how == "none" or not len(occupied):
        return 0.0, 1.0
    greys = bins.edges[:-1] + bins.width / 2
    if how == "minmax":
        low, high = greys[occupied[[0, -1]]]
        return float(low), float(high - low) or 1.0
    mean = float(counts @ greys / counts.sum())
    return mean, float(np.sqrt(counts @ (greys - mean) ** 2 / counts.sum())) or 1.0


def apply(block: Any, p: OnnxParams, ctx: StageContext) -> Any:
    """Label the block's tiles."""
    network = load_network(p.model, block)
    boxes, levels = ctx.shown(len(block)), ctx.tables["threshold"]["levels"]
    return label_tiles(
        [block, *ctx.channels.values()][: len(levels)],
        ctx.z0,
        ctx.spec.shape[0],
        tiling(p, ctx.spec),
        network,
        lambda scores: _decided(scores, p),
        levels,
        None if boxes is None else row_spans(boxes, block.shape),
    )


def _decided(scores: NDArray[Any], p: OnnxParams) -> NDArray[np.uint8]:
    """Phase of each voxel; of equal classes the first."""
    if len(scores) > 1:
        return scores.argmax(axis=0).astype(np.uint8)
    limit = p.threshold if p.single == "probability" else log(p.threshold / (1 - p.threshold))
    return (scores[0] > limit).astype(np.uint8)


register(
    StageDef(
        name="segment.onnx",
        kind=Kind.SLAB,
        params=OnnxParams,
        needs=needs,
        apply=apply,
        measure=measure,
        combine=combine,
        out_spec=out_spec,
        files=lambda p: files_of(p.model),
        makes="phases",
        produces="threshold",
        optional=("valid",),
        sees_channels=True,
    )
)
