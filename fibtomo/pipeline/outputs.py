"""What a run leaves in its folder: OME-Zarr volume, tables, surface, report and provenance."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.core.drift import Drift
from fibtomo.core.measurements import Measurements
from fibtomo.core.mesh import Mesh
from fibtomo.core.volume import Table
from fibtomo.io.ome import write_group
from fibtomo.pipeline.curtain_notes import write_curtains
from fibtomo.pipeline.execute import RunState, finish_image
from fibtomo.pipeline.ledger import write_json
from fibtomo.pipeline.progress import Observer
from fibtomo.pipeline.record import provenance
from fibtomo.pipeline.report_data import report_data, slice_names
from fibtomo.pipeline.results import VOLUME, VOLUME_SLICES
from fibtomo.pipeline.sections import FINAL_PLACES
from fibtomo.report import write_report


def write_outputs(state: RunState, observer: Observer) -> None:
    """Write everything; ``run.json`` comes last and says that all of it stands."""
    _finish_volume(state, observer)
    _write_tables(state)
    mesh = _write_mesh(state)
    record = provenance(state)
    observer.message("writing report.html")
    content = report_data(state.out, record, raw=state.source, corrected=state.arrays.get("corrected"), mesh=mesh)
    write_report(state.out / "report.html", content)
    write_json(state.out / "run.json", record)


def _finish_volume(state: RunState, observer: Observer) -> None:
    """Add pyramids and OME metadata, then move the volume out of the work folder in one rename."""
    final = {kind: a for kind, a in state.arrays.items() if kind in FINAL_PLACES}
    if not final:
        return
    label_names = [kind for kind in ("phases", "objects") if kind in final]
    for kind, array in final.items():
        finish_image(state, array, "reconstruction" if kind == "grey" else kind, observer)
    root = state.ledger.array_path(VOLUME)
    if "grey" not in final:  # labels of slices that no stage changed
        write_group(root, {})
    if label_names:
        write_group(root / "labels", {"ome": {"version": "0.5", "labels": label_names}})
    target = state.out / VOLUME
    if root != target:
        root.replace(target)
    for kind, array in final.items():
        state.arrays[kind] = replace(array, path=state.out / FINAL_PLACES[kind])


def _write_tables(state: RunState) -> None:
    out, tables = state.out, state.tables
    if "drift" in tables:
        z_nm = state.source.calibration.slice_z_nm.value
        slice_nm = state.source.calibration.slice_nm.value
        n = state.source.spec.shape[0]
        if "thickness" in tables:
            z_nm = tables["thickness"]["slice_z_nm"]
        elif z_nm is None and slice_nm:
            z_nm = list(np.arange(n) * float(slice_nm))
        Drift.from_table(tables["drift"]).to_csv(out / "drift.csv", files=slice_names(state.source), z_nm=z_nm)
    if "valid" in tables and "grey" in state.arrays:
        write_volume_slices(out / VOLUME_SLICES, tables["valid"], state.arrays["grey"].spec.scale[0])
    write_curtains(out, state.config.calls, tables, slice_names(state.source))
    if "measurements" in tables:
        measurements = Measurements.from_table(tables["measurements"], tables.get("objects"))
        measurements.to_csv(out / "measurements.csv")
        measurements.to_json(out / "measurements.json")
        if measurements.objects is not None:
            temporary = out / ".objects.csv.tmp"
            measurements.objects.to_csv(temporary, index=False)
            temporary.replace(out / "objects.csv")


def write_volume_slices(path: Path, valid: Table, z_step: float) -> None:
    """Write what each slice of the volume rests on: one row per slice.

    Columns: ``slice``; ``z_nm`` (in voxels without a scale); ``y0``, ``y1``, ``x0``, ``x1``, the rows [y0, y1) and
    columns [x0, x1) that are shown; ``interpolated``, the share of its rows that lie between neighbours of bad slices.
    """
    lines = ["slice,z_nm,y0,y1,x0,x1,interpolated"]
    for k, (box, share) in enumerate(zip(valid["boxes"], valid["bridged"], strict=True)):
        lines.append(f"{k},{k * z_step:.6g},{','.join(str(int(edge)) for edge in box)},{float(share):.4g}")
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def _write_mesh(state: RunState) -> Any:
    table = state.tables.get("mesh")
    if table is None or len(table["faces"]) == 0:
        return None
    mesh = Mesh.from_table(table)
    mesh.save(state.out / f"surface_{table['phase']}.ply")
    return mesh
