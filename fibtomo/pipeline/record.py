"""What ``run.json`` says of a run: input, pipeline, versions, device, timings."""

import platform
import sys
from typing import Any

import fibtomo
from fibtomo.pipeline.channels import volume_name
from fibtomo.pipeline.curtain_notes import kept_curtains
from fibtomo.pipeline.execute import RunState
from fibtomo.pipeline.report_data import input_record, kept_tables


def provenance(state: RunState) -> dict[str, Any]:
    """Everything needed to say how a result came about, for ``run.json``."""
    o, volume = state.options, state.arrays.get("grey")
    return {
        "fibtomo": fibtomo.__version__,
        "status": "finished",
        "started": state.started,
        "wall_s": round(state.wall_s, 2),
        "resumed": state.resumed,
        "command": o.command or " ".join(sys.argv),
        "input": input_record(state.source),
        "pipeline": state.config.to_dict(),
        "pipeline_yaml": state.config.to_yaml(),
        "files": state.files,
        "volume": {"shape": list(volume.spec.shape), "voxel_nm": volume.spec.voxel_nm} if volume else None,
        "channels": {n: volume_name(n) for n in state.channels if (state.out / volume_name(n)).is_dir()},
        "tables": kept_tables(state.tables) | kept_curtains(state.config.calls, state.tables),
        "device": {
            "kind": o.device,
            "name": o.device_name,
            "versions": o.device_versions,
            "workers": o.workers,
            "budget_bytes": o.budget,
            "scheduler": o.scheduler,
        },
        "platform": platform.platform(),
        "versions": _versions(),
        "slabs": state.ledger.noted("slabs"),
        "timings": [{"what": n, "seconds": round(s, 3), "voxels": v} for n, s, v in state.timings],
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "fibtomo": fibtomo.__version__}
    for name in (
        "numpy",
        "scipy",
        "scikit-image",
        "SimpleITK",
        "zarr",
        "zarrs",
        "dask",
        "numba",
        "cupy-cuda12x",
        "cupy-cuda13x",
        "onnxruntime",
        "onnxruntime-gpu",
    ):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
