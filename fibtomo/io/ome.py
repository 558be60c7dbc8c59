"""OME-Zarr 0.5 metadata and pyramids of run outputs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Shape, VoxelNm

VERSION = "0.5"


def pyramid_levels(shape: Shape, wanted: int | None = None) -> int:
    """Number of levels: as `wanted`, or until the longest edge is at most 256."""
    levels = 1
    while (max(shape) > 256 and min(shape) > 1 and wanted is None) or (wanted is not None and levels < wanted):
        shape = (max(1, shape[0] // 2), max(1, shape[1] // 2), max(1, shape[2] // 2))
        levels += 1
        if max(shape) <= 1:
            break
    return levels


def halve(block: NDArray[Any], labels: bool) -> NDArray[Any]:
    """Downsample by two along each axis: mean for grey values, the first voxel of each cell for labels.

    An odd last plane, row or column joins no cell and is left out, unless it is the only one.
    """
    shape = tuple(max(1, n // 2) for n in block.shape)
    if labels:
        return np.ascontiguousarray(block[tuple(slice(0, 2 * n, 2) for n in shape)])
    steps = [2 if n > 1 else 1 for n in block.shape]
    cut = block[tuple(slice(0, n * s) for n, s in zip(shape, steps, strict=True))]
    cells = cut.reshape([v for n, s in zip(shape, steps, strict=True) for v in (n, s)])
    mean = cells.mean(axis=(1, 3, 5), dtype=np.float32)
    return np.rint(mean).astype(block.dtype) if block.dtype.kind in "iu" else mean.astype(block.dtype)


def write_group(path: Path, attributes: dict[str, Any]) -> None:
    """Write the Zarr v3 group document at `path` (the arrays below it stay as they are)."""
    path.mkdir(parents=True, exist_ok=True)
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (path / "zarr.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def multiscales(name: str, shapes: list[Shape], voxel_nm: VoxelNm | None, labels: bool) -> dict[str, Any]:
    """OME-Zarr attributes of an image (or label image) whose levels are arrays "0", "1", ...

    Level n+1 averages 2×2×2 voxels of level n, so its voxel centres lie half a fine voxel further in; labels are
    taken from the first voxel of each cell and are not displaced.
    """
    scale = voxel_nm or (1.0, 1.0, 1.0)
    axes: list[dict[str, str]] = [{"name": axis, "type": "space"} for axis in "zyx"]
    if voxel_nm:
        for axis in axes:
            axis["unit"] = "nanometer"
    datasets = []
    for level, _shape in enumerate(shapes):
        steps = [s * 2.0**level if shapes[0][a] // 2**level >= 1 else s * shapes[0][a] for a, s in enumerate(scale)]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": steps}]
        if level and not labels:
            offset = [(big - small) / 2 for big, small in zip(steps, scale, strict=True)]
            transforms.append({"type": "translation", "translation": offset})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    entry: dict[str, Any] = {"name": name, "axes": axes, "datasets": datasets}
    if not labels:
        entry["type"] = "mean"
    ome: dict[str, Any] = {"version": VERSION, "multiscales": [entry]}
    if labels:
        ome["image-label"] = {"source": {"image": "../../"}}
    return {"ome": ome}
