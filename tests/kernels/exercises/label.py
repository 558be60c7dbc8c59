"""Exercises of ``kernels/label.cu``."""

import functools

import numpy as np
from scipy.ndimage import gaussian_filter

from fibtomo.core.volume import OUTSIDE
from fibtomo.ops.labels import apply_lut, join_components, label_objects, label_slab, seen_boxes, slab_components

TOLERANCE = {"rtol": 0, "atol": 0}
SHAPES = {"tiles": (10, 19, 67), "thin": (1, 9, 130), "voxel": (1, 1, 1)}


def cases():
    for connectivity in (6, 18, 26):
        yield f"noise-{connectivity}", functools.partial(objects, "noise", "tiles", connectivity)
        yield f"slabs-{connectivity}", functools.partial(slabs, 1.2, (13, 11, 60), connectivity)
    yield "dust", functools.partial(slabs, 0.0, (13, 9, 140), 6)
    yield "spiral-6", functools.partial(objects, "spiral", "tiles", 6)
    for shape in ("thin", "voxel"):
        for kind in ("noise", "empty", "full"):
            yield f"{kind}-{shape}", functools.partial(objects, kind, shape, 6)


def mask(kind: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Voxels of objects; a spiral is one long thin object that winds through many tiles."""
    rng = np.random.default_rng(3)
    if kind == "noise":
        return rng.random(shape) < 0.4
    if kind == "spiral":
        wound = np.zeros(shape, dtype=bool)
        wound[::2, ::2] = True
        wound[::4, 1::4, -1] = wound[::4, 3::4, 0] = True
        wound[1::4, -1, -1] = wound[3::4, 0, 0] = True
        return wound
    return np.full(shape, kind == "full")


def objects(kind: str, shape: str, connectivity: int, put):
    return {"objects": label_objects(put(mask(kind, SHAPES[shape])), connectivity=connectivity)}


def slabs(sigma: float, shape: tuple[int, int, int], connectivity: int, put):
    """Classes in slabs, of which not all was seen: tables of the whole and its numbers."""
    grey = gaussian_filter(np.random.default_rng(5).standard_normal(shape), sigma)
    phases = np.digitize(grey, np.quantile(grey, [0.4, 0.7])).astype(np.uint8)
    phases[:6, :4] = phases[3:9, :, 50:53] = phases[3:7, :, :7] = phases[10] = OUTSIDE
    partials, numbers = [], []
    for start, stop in ((0, 9), (9, 10), (10, 13)):
        part = put(phases[start:stop])
        classes = part + np.uint8(1)
        partials.append(slab_components(classes, seen_boxes(part), start, len(phases), connectivity))
        numbers.append(label_slab(classes, connectivity)[0])
    found = join_components(partials, connectivity)
    luts = [found.lut[a:b] for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)]
    joined = {f"slab{k}": apply_lut(n, lut) for k, (n, lut) in enumerate(zip(numbers, luts, strict=True))}
    return {**joined, "statistics": put(found.statistics), "classes": put(found.classes)}
