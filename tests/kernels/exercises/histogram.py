"""Exercises of ``kernels/histogram.cu``."""

import functools

import numpy as np

from fibtomo.backend.kernels import C_TYPES
from fibtomo.ops.flicker import measure_flicker
from fibtomo.ops.histogram import Bins, count_bins, row_spans
from fibtomo.ops.normalise import measure_greys
from fibtomo.ops.shading import measure_shading

TOLERANCE = {"rtol": 0, "atol": 0}
BOXES = np.array([[3, 68, 2, 40], [0, 70, 0, 45], [0, 0, 0, 0]])


def cases():
    for dtype in (*C_TYPES, "float64", "int32", "bool"):
        yield f"bins-{dtype}", functools.partial(bins, dtype)
    for dtype in C_TYPES:
        yield f"patches-{dtype}", functools.partial(patches, dtype)
        yield f"restoration-{dtype}", functools.partial(restoration, dtype)


def greys(dtype: str) -> np.ndarray:
    """Two phases with noise, a saturated and an empty region; what is not finite in floats."""
    rng = np.random.default_rng(2)
    grey = np.where(rng.random((3, 70, 45)) < 0.4, 60, 150) + rng.normal(0, 15, (3, 70, 45))
    grey[:, :6], grey[1, :, 40:] = 0, 255
    volume = np.clip(grey, 0, 255).astype(dtype)
    if volume.dtype.kind == "f":
        volume[2, 0, :3] = np.nan, np.inf, -np.inf
    return volume


def bins(dtype: str, put):
    """As segmentation counts: many bins or few, all or what the slices show."""
    volume = put(greys(dtype))
    spans = np.sort(np.random.default_rng(3).integers(0, 46, (3, 70, 2)), axis=2)
    found = {}
    for low, high in ((0.0, 255.0), (30.0, 140.0), (-1e5, 1e5)):
        for name, boxes in (("all", None), ("boxes", BOXES), ("spans", spans)):
            counts = Bins.covering(dtype, (low, high)).count(volume, boxes)
            found[f"{name} {low:g} to {high:g}"] = put(counts)
    return found


def patches(dtype: str, put):
    """Slices apart, each in bins of its own, over rectangles that overlap."""
    volume = put(greys(dtype))
    start, width = np.array([10.5, 20.5, 30.5]), np.array([1.0, 2.0, 3.0])
    boxes = np.array([[0, 30, 0, 20], [5, 70, 3, 45], [2, 2, 0, 3]])
    spans = row_spans(BOXES, volume.shape)
    return {str(n): count_bins(volume, start, width, n, spans, boxes) for n in (64, 9000)}


def restoration(dtype: str, put):
    """What evening out of brightness counts."""
    volume = np.nan_to_num(greys(dtype), posinf=255.0, neginf=0.0)
    flicker, grey, shading = (
        measure_flicker(put(volume), 1),
        measure_greys(put(volume), (0.0, 255.0)),
        measure_shading(put(volume), (0.0, 255.0)),
    )
    return {
        **{f"flicker {name}": put(flicker[name]) for name in ("counts", "low", "width", "pairs")},
        "normalise": put(grey["counts"]),
        **{f"shading {name}": put(shading[name]) for name in ("counts", "pixels")},
    }
