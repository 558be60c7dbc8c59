"""Reading back what a run left in its folder."""

import json
from pathlib import Path
from typing import Any

from fibtomo.core.volume import Calibration, VolumeSpec, VoxelNm, value_range_of
from fibtomo.errors import InputError
from fibtomo.io.zarr_store import ZarrSource, open_array
from fibtomo.pipeline.sections import FINAL_PLACES

VOLUME = "volume.ome.zarr"
CHANNEL_VOLUMES = "volume_{}.ome.zarr"
"""Folder of each channel that was carried along, by its name in letters that every file system takes."""
VOLUME_SLICES = "volume_slices.csv"
CURTAINS = "curtains"
"""Role of the notes of ``curtain.remove``, and stem of the file that keeps them."""


def read_record(out: Path) -> dict[str, Any]:
    """Return ``run.json`` of a finished run.

    Raises
    ------
    InputError
        There is no finished run in `out`.
    """
    path = out / "run.json"
    if not path.is_file():
        raise InputError(f"{out} holds no finished run of fibtomo (run.json is missing)")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def voxel_of(out: Path) -> VoxelNm | None:
    """Voxel size of a run's arrays; ``None`` when the run was in voxels or left none."""
    place = next((p for p in FINAL_PLACES.values() if (out / p).is_dir()), None)
    if place is None:
        return None
    document = json.loads((out / place).parent.joinpath("zarr.json").read_text(encoding="utf-8"))
    entry = document["attributes"]["ome"]["multiscales"][0]
    if "unit" not in entry["axes"][0]:
        return None
    z, y, x = entry["datasets"][0]["coordinateTransformations"][0]["scale"]
    return float(z), float(y), float(x)


def result_array(out: Path, kind: str) -> ZarrSource | None:
    """Return the final array of a kind ("grey", "phases", "objects") at full resolution, if the run made it."""
    path = out / FINAL_PLACES[kind]
    if not path.is_dir():
        return None
    array = open_array(path)
    dtype = str(array.dtype)
    spec = VolumeSpec(array.shape, dtype, voxel_of(out), value_range_of(dtype), "specimen", kind)
    return ZarrSource(path, spec, Calibration())
