"""Gathers what the report shows from the folder of a run; the raw stack is shown where it is at hand."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.core.drift import Drift
from fibtomo.core.evidence import Evidence
from fibtomo.core.measurements import Measurements
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.source import SliceSource
from fibtomo.core.volume import UNKNOWN, Calibration, Sourced, Table
from fibtomo.errors import CalibrationError
from fibtomo.ops.forest_sums import summary as forest_summary
from fibtomo.pipeline.results import CURTAINS, result_array
from fibtomo.report import ReportData
from fibtomo.report.text import extent

CALIBRATION = tuple(field.name for field in fields(Calibration) if field.name != "others")
_SHOWN_WHEN_KNOWN = ("overtilt_deg", "face_tilt_deg", "sample_tilt_deg", "orientation")


def report_data(
    out: Path,
    record: dict[str, Any],
    *,
    raw: SliceSource | None = None,
    corrected: Any = None,
    mesh: Any = None,
) -> ReportData:
    """Return the content of ``report.html``.

    Parameters
    ----------
    out, record
        Folder of the run and its ``run.json``.
    raw, corrected
        Stack before, and after the corrections in the slice frame, where they are still there.
    mesh
        Surface to render.
    """
    threshold = record["tables"].get("threshold")
    drift_path, measurements_path = out / "drift.csv", out / "measurements.json"
    measured = Measurements.from_json(measurements_path) if measurements_path.is_file() else None
    objects = None if measured is None or measured.objects is None else measured.objects
    return ReportData(
        title=f"fibtomo: {record['input']['name']}",
        command=record["command"],
        created=record["started"],
        version=record["fibtomo"],
        summary=_summary(record),
        metadata=[tuple(row) for row in record["input"]["values"]],
        warnings=[*record["input"]["warnings"], *forest_notes(record["tables"])],
        assumptions=list(record["input"]["assumptions"]),
        evidence=list(record["input"].get("evidence", ())),
        drift=Drift.from_csv(drift_path) if drift_path.is_file() else None,
        refinement=record["tables"].get("refinement"),
        thickness=record["tables"].get("thickness"),
        face=record["tables"].get("face"),
        charging=record["tables"].get("charging"),
        curtains=[table for role, table in record["tables"].items() if role.startswith(CURTAINS)],
        slice_files=record["input"]["files"],
        slice_nm=record["input"]["slice_nm"],
        pixel_nm=record["input"].get("pixel_nm"),
        expected_shifts_px=_expected(raw),
        raw=raw,
        corrected=corrected,
        volume=result_array(out, "grey"),
        labels=result_array(out, "phases"),
        histogram=(np.asarray(threshold["histogram"]), np.asarray(threshold["bin_edges"])) if threshold else None,
        thresholds=[float(t) for t in threshold["thresholds"]] if threshold else None,
        threshold_sigma=threshold.get("sigma") if threshold else None,
        evened=bool(threshold and threshold.get("evened")),
        measurements=[] if measured is None else measured.rows,
        objects=None if objects is None else {name: objects[name].to_numpy() for name in objects.columns},
        mesh=mesh,
        timings=_timings(record["timings"]),
        pipeline_yaml=record["pipeline_yaml"],
        versions=record["versions"],
    )


def input_record(source: Any) -> dict[str, Any]:
    """What ``run.json`` keeps of the input: every value with its origin, warnings and assumptions."""
    spec, values = source.spec, known_values(source)
    path = getattr(source, "path", None)
    slice_nm = source.calibration.slice_nm.value
    accepted = source.calibration.others.get("accepted", UNKNOWN).value or ()
    return {
        "name": input_name(source),
        "path": str(Path(path).resolve()) if path else None,
        "fingerprint": source.fingerprint(),
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "slice_nm": slice_nm,
        "pixel_nm": source.calibration.pixel_nm.value,
        "files": slice_names(source),
        "values": [[n, as_text(v.value), v.origin, v.confidence] for n, v in values.items()],
        "warnings": list(getattr(source, "warnings", [])),
        "evidence": [_evidence_record(item) for item in getattr(source, "evidence", None) or ()],
        "assumptions": [
            f"{name} = {as_text(v.value)} is a {v.confidence} ({v.origin})"
            + (", accepted by the user" if v.confidence == "guess" and name in accepted else "")
            for name, v in values.items()
            if v and v.confidence in {"default", "guess"}
        ],
    }


def _evidence_record(item: Evidence) -> dict[str, Any]:
    numbers = {name: float(value) for name, value in item.numbers.items()}
    said = None if item.value is None else as_text(item.value)
    return {"fact": item.fact, "value": said, "text": item.text, "decisive": bool(item.decisive), "numbers": numbers}


def input_name(source: Any) -> str:
    """Name of the folder or file that was read."""
    path = getattr(source, "path", None)
    return Path(path).name if path else "array in memory"


def forest_notes(tables: dict[str, Table]) -> list[str]:
    """What to think of the phases that a pixel forest found."""
    return [note for role in ("threshold", "forest") for note in tables.get(role, {}).get("notes", ())]


def kept_tables(tables: dict[str, Table]) -> dict[str, Table]:
    """Small tables that ``run.json`` keeps."""
    kept: dict[str, Table] = {
        role: tables[role] for role in ("threshold", "grid", "thickness", "face") if role in tables
    }
    if "forest" in tables:
        kept["forest"] = forest_summary(tables["forest"])
    if "threshold" in kept:
        kept["threshold"] = {name: v for name, v in kept["threshold"].items() if name not in {"gain", "offset"}}
    drift = Drift.from_table(tables["drift"]) if "drift" in tables else None
    if drift is not None and drift.quality is not None:
        kept["drift_quality"] = drift.quality.summary() | {"undecided_px": drift.undecided_px}
    charging = tables.get("charging")
    if charging is not None:
        kept["charging"] = {name: charging[name] for name in ("notes", "pixels", "saturated", "plane_pixels", "mode")}
    warp = tables.get("warp", {})
    if "notes" in warp:
        largest = float(np.abs(np.asarray(warp["nodes_px"])).max(initial=0.0))
        kept["refinement"] = {"notes": warp["notes"], "flags": warp["flags"], "largest_px": largest}
    return kept


def known_values(source: Any) -> dict[str, Sourced]:
    """Calibration and metadata of a stack by name; what decides the voxel size also where it is unknown."""
    facts: dict[str, Sourced] = {name: getattr(source.calibration, name) for name in CALIBRATION}
    values = {name: fact for name, fact in facts.items() if fact or name not in _SHOWN_WHEN_KNOWN}
    for name, value in getattr(source, "metadata", {}).items():
        if isinstance(value, Sourced) and name not in values and not isinstance(value.value, dict):
            values[name] = value
    return values


def slice_names(source: Any) -> list[str] | None:
    """File names of the slices, where the input has one file per slice."""
    files = getattr(source, "files", None)
    if not files or len(files) != source.spec.shape[0]:
        return None
    return [Path(f).name for f in files]


def as_text(value: Any) -> str:
    """Write a metadata value for people."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list | np.ndarray):
        values = list(value)
        if len(values) > 6:
            return f"{len(values)} values, {values[0]:.6g} to {values[-1]:.6g}"
        return " × ".join(as_text(v) for v in values)
    return str(value)


def _expected(raw: SliceSource | None) -> Any:
    """Motion that the geometry alone predicts, if it is fully known."""
    if raw is None:
        return None
    try:
        geometry = resolve_geometry(raw.calibration, shear_from_images=False)
    except CalibrationError:
        return None
    return geometry.expected_shifts_px(raw.spec.shape[0])


def _summary(record: dict[str, Any]) -> list[tuple[str, str]]:
    n, rows, cols = record["input"]["shape"]
    summary = [("Raw stack", f"{n} slices of {rows} × {cols} px, {record['input']['dtype']}")]
    volume = record["volume"]
    if volume:
        z, y, x = volume["shape"]
        summary.append(("Reconstruction", f"{z} × {y} × {x} voxels (z, y, x)"))
        voxel = volume["voxel_nm"]
        if voxel:
            summary.append(("Voxel", " × ".join(f"{e:.4g}" for e in voxel) + " nm"))
            cubic_um = float(np.prod([n * e for n, e in zip((z, y, x), voxel, strict=True)])) * 1e-9
            summary.append(("Volume", f"{cubic_um:.4g} µm³"))
        else:
            summary.append(("Voxel", "not calibrated: all lengths are in voxels"))
        summary += _field_of_view(record)
        if record.get("channels"):
            summary.append(("Further channels", ", ".join(f"{n} ({f})" for n, f in record["channels"].items())))
        share = float((record["tables"].get("grid") or {}).get("bridged_share", 0.0))
        if share > 0:
            summary.append(("Interpolated across bad slices", f"{100 * share:.2g} % of the volume"))
    summary += _light(record)
    forest = record["tables"].get("forest")
    if forest:
        summary.append(("Mean uncertainty of the forest", f"{forest['mean_uncertainty']:.3f} (0 sure, 1 all alike)"))
    return [*summary, ("Device", record["device"]["name"]), ("Wall time", f"{record['wall_s']:.1f} s")]


def _light(record: dict[str, Any]) -> list[tuple[str, str]]:
    """How light fades in open pores, where a stage has followed it."""
    decay = (record["tables"].get("threshold") or {}).get("decay")
    if decay is None:
        return []
    unit = "nm" if record["volume"]["voxel_nm"] else "slices"
    seen = f"walls behind the face fade to 37 % over {decay:.3g} {unit}" if decay else "no walls behind the face seen"
    return [("Light in pores", seen)]


def _field_of_view(record: dict[str, Any]) -> list[tuple[str, str]]:
    """How the reconstruction compares with what one slice shows, where both lie on the same axes."""
    grid, volume = record["tables"].get("grid"), record["volume"]
    if not grid or grid.get("axes", "specimen") != "specimen":
        return []
    step = volume["voxel_nm"] or (1.0, 1.0, 1.0)
    unit = "nm" if volume["voxel_nm"] else "voxel"
    _, rows, cols = record["input"]["shape"]
    shown = rows / grid["row_scale"] * step[1], cols / grid["col_scale"] * step[2]
    kept = tuple(n * d for n, d in zip(volume["shape"][1:], step[1:], strict=True))
    kept_text, shown_text = (extent(lengths, (1.0, 1.0), unit) for lengths in (kept, shown))
    larger = any(k > s + d for k, s, d in zip(kept, shown, step[1:], strict=True))
    words = (
        f"{kept_text} (x, y); one slice shows {shown_text}" if larger else f"{kept_text} of {shown_text} (x, y) kept"
    )
    return [("Field of view", words)]


def _timings(entries: list[dict[str, Any]]) -> list[tuple[str, float, float | None]]:
    total: dict[str, tuple[float, int]] = {}
    for entry in entries:
        s, v = total.get(entry["what"], (0.0, 0))
        total[entry["what"]] = (s + entry["seconds"], v + entry["voxels"])
    return [(name, s, v / s / 1e6 if s > 0 else None) for name, (s, v) in total.items()]
