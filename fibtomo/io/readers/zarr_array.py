"""Zarr arrays (v2, v3) and OME-Zarr images."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.core.volume import Calibration, Sourced
from fibtomo.errors import StackError
from fibtomo.io.findings import listed
from fibtomo.io.readers.base import Opened, VolumeReader, layouts
from fibtomo.io.units import length_nm

_MARKS = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class ZarrReader(VolumeReader):
    """Slices of one array of a Zarr store."""

    @contextmanager
    def array(self) -> Iterator[Any]:
        """Open the array."""
        import zarr

        yield zarr.open_array(str(self.path), mode="r")

    def stamp(self) -> str:
        """Names, sizes and times of the array's files."""
        lines = []
        for folder, _, names in os.walk(self.path):
            for name in names:
                stat = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  many small files
                lines.append(f"{os.path.relpath(folder, self.path)}/{name}:{stat.st_size}:{stat.st_mtime_ns}")
        return "\n".join(sorted(lines))


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def open_zarr(path: Path, dataset: str | None = None) -> Opened:
    """Open a Zarr array, the full resolution of an OME-Zarr image, or the array named `dataset` in a group.

    Raises
    ------
    StackError
        The store holds no image, or several and none was named.
    """
    import zarr

    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Array):
        return _array(path, node, Calibration(), None, [])
    if dataset is not None:
        return open_zarr(_member(path, dataset))
    multiscales = _ome(node).get("multiscales")
    if multiscales:
        return _image(path, node, multiscales[0])
    images = [name for name, group in node.groups() if _ome(group).get("multiscales")]
    arrays = [name for name, array in node.arrays() if array.ndim >= 3]
    candidates = images or arrays
    if len(candidates) == 1:
        return open_zarr(path / candidates[0])
    if not candidates:
        raise StackError(f"{path} is a Zarr group without an image or a 3-D array in it")
    raise StackError(f"{path} holds several arrays; choose one with --dataset NAME: {listed(sorted(candidates), 8)}")


def _member(path: Path, dataset: str) -> Path:
    target = path / dataset.strip("/")
    if not is_zarr(target):
        raise StackError(f"{path}: there is no array or group '{dataset}' in this Zarr store")
    return target


def _ome(node: Any) -> dict[str, Any]:
    """OME attributes, whether under "ome" (0.5) or at the top (0.4)."""
    attributes = dict(node.attrs)
    return dict(attributes.get("ome", attributes))


def _image(path: Path, group: Any, multiscale: dict[str, Any]) -> Opened:
    full = multiscale["datasets"][0]
    axes = multiscale.get("axes") or [{"name": a, "type": "space"} for a in "tczyx"]
    axes = [{"name": a} if isinstance(a, str) else a for a in axes]
    letters = "".join(str(a["name"])[0] for a in axes)
    scale = np.ones(len(axes))
    for level in (multiscale, full):
        for transform in level.get("coordinateTransformations", []):
            if transform.get("type") == "scale":
                scale = scale * np.asarray(transform["scale"], dtype=np.float64)
    step = {str(a["name"])[0]: length_nm(float(s), a.get("unit")) for a, s in zip(axes, scale, strict=True)}
    origin = "OME-Zarr scale"
    dz, dy, dx = (step.get(a) for a in "zyx")
    calibration = Calibration(
        pixel_nm=Sourced((dy, dx), origin, "given") if dy and dx else Sourced(None),
        slice_nm=Sourced(dz, origin, "given") if dz else Sourced(None),
    )
    names = [str(c.get("label", "")) for c in _ome(group).get("omero", {}).get("channels", [])]
    array = group[full["path"]]
    return _array(path / full["path"], array, calibration, letters if len(letters) == array.ndim else None, names)


def _array(path: Path, array: Any, calibration: Calibration, axes: str | None, names: list[str]) -> Opened:
    channels = layouts(array.shape, axes or _dimension_names(array), names, str(path))
    thick = (getattr(array, "shards", None) or array.chunks)[next(iter(channels.values())).order[0] or 0]
    readers = {n: ZarrReader(path, layout, np.dtype(array.dtype).str, thick) for n, layout in channels.items()}
    return Opened(readers, calibration=calibration)


def _dimension_names(array: Any) -> str | None:
    names = getattr(array.metadata, "dimension_names", None)
    letters = "".join(n[0] for n in names if n) if names else ""
    return letters if len(letters) == array.ndim and {"y", "x"} <= set(letters) else None
