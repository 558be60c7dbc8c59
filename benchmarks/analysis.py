"""Time segmentation, labelling, measurement and surface beside scikit-image (``python benchmarks/analysis.py``)."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu
from skimage.measure import euler_number, label, marching_cubes, regionprops_table
from timing import cpu_seconds

from fibtomo.ops.labels import full_boxes, join_components, label_objects, slab_components
from fibtomo.ops.morphometry import measure
from fibtomo.ops.objects import object_columns
from fibtomo.ops.segmentation import segment
from fibtomo.ops.surface import extract_surface


def specimen(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Grey volume and phases of a bicontinuous structure."""
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(shape, dtype=np.float32), 4)
    phases = (field > 0).astype(np.uint8)
    grey = 80 + 90 * phases + np.random.default_rng(1).normal(0, 12, shape)
    return np.clip(grey, 0, 255).astype(np.uint8), phases


def object_table(phases: np.ndarray) -> Any:
    parts = [slab_components(phases, full_boxes(phases.shape), 0, len(phases), 6)]
    return object_columns(join_components(parts, 6), (1.0, 1.0, 1.0), "nm")


def smooth(phases: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(phases.astype(np.float32), 1)


def main(shape: tuple[int, int, int]) -> None:
    grey, phases = specimen(shape)
    voxels = grey.size / 1e6
    rows: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        (
            "multi-Otsu, 3 classes",
            lambda: segment(grey, classes=3),
            lambda: np.digitize(grey, threshold_multiotsu(grey, 3)),
        ),
        ("components", lambda: label_objects(phases), lambda: label(phases, connectivity=1)),
        ("object table", lambda: object_table(phases), lambda: regionprops_table(label(phases, connectivity=1))),
        ("measure, all quantities", lambda: measure(phases, 5.0), lambda: [euler_number(phases, c) for c in (1, 3)]),
        ("surface", lambda: extract_surface(phases, 5.0), lambda: marching_cubes(smooth(phases), 0.5)),
    ]
    print(f"{'CPU time, ' + ' × '.join(map(str, shape)):28}{'fibtomo s':>12}{'Mvox/s':>10}{'scikit-image s':>17}")
    for name, ours, theirs in rows:
        t = cpu_seconds(ours)
        print(f"{name:28}{t:12.3f}{voxels / t:10.0f}{cpu_seconds(theirs):17.3f}")


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 160
    main((size // 2, size, size))
