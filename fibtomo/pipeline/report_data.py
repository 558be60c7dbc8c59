"""Gathers what the report shows from a finished run."""

from typing import Any

import numpy as np

from fibtomo.core.drift import Drift
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.volume import Sourced
from fibtomo.errors import CalibrationError
from fibtomo.pipeline.execute import RunState
from fibtomo.report import ReportData


def report_data(state: RunState, record: dict[str, Any], mesh: Any) -> ReportData:
    """Return the content of ``report.html`` for a finished run."""
    tables, source = state.tables, state.source
    threshold = tables.get("threshold")
    objects = tables.get("objects")
    drift = Drift.from_table(tables["drift"]) if "drift" in tables else None
    from fibtomo.pipeline.outputs import slice_names

    return ReportData(
        title=f"fibtomo: {getattr(source, 'name', None) or 'reconstruction'}",
        command=record["command"],
        created=record["started"],
        version=record["fibtomo"],
        summary=_summary(state),
        metadata=[(name, _text(v.value), v.origin, v.confidence) for name, v in known_values(source).items()],
        warnings=list(getattr(source, "warnings", [])),
        assumptions=assumptions(source),
        drift=drift,
        slice_files=slice_names(source),
        slice_nm=source.calibration.slice_nm.value,
        expected_shifts_px=_expected(state),
        raw=source,
        corrected=state.arrays.get("corrected"),
        volume=state.arrays.get("grey"),
        labels=state.arrays.get("phases"),
        histogram=(threshold["histogram"], threshold["bin_edges"]) if threshold else None,
        thresholds=[float(t) for t in threshold["thresholds"]] if threshold else None,
        threshold_sigma=threshold.get("sigma") if threshold else None,
        measurements=list(tables["measurements"]["rows"]) if "measurements" in tables else [],
        objects={k: v for k, v in objects.items() if k != "lut"} if objects else None,
        mesh=mesh,
        timings=_timings(state),
        pipeline_yaml=state.config.to_yaml(),
        versions=record["versions"],
    )


def known_values(source: Any) -> dict[str, Sourced]:
    """Calibration and metadata of a stack by name, unknown values included."""
    c = source.calibration
    values = {name: getattr(c, name) for name in ("pixel_nm", "slice_nm", "slice_z_nm", "column_angle_deg", "tilt_corrected", "tracked")}
    values.update({k: v for k, v in getattr(source, "metadata", {}).items() if isinstance(v, Sourced) and k not in values and k != "raw"})
    return values


def assumptions(source: Any) -> list[str]:
    """Sentences about every value that is not given or measured."""
    found = []
    for name, value in known_values(source).items():
        if value and value.confidence in {"default", "guess"}:
            found.append(f"{name} = {_text(value.value)} is a {value.confidence} ({value.origin})")
    return found


def _text(value: Any) -> str:
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
        return " × ".join(_text(v) for v in values)
    return str(value)


def _expected(state: RunState) -> Any:
    spec = state.source.spec
    try:
        geometry = resolve_geometry(state.source.calibration, spec, shear_from_images=False)
    except CalibrationError:
        return None
    return geometry.expected_shifts_px(spec.shape[0])


def _summary(state: RunState) -> list[tuple[str, str]]:
    raw = state.source.spec
    rows = [("Raw stack", f"{raw.shape[0]} slices of {raw.shape[1]} × {raw.shape[2]} px, {raw.dtype}")]
    volume = state.arrays.get("grey")
    if volume is not None:
        z, y, x = volume.spec.shape
        rows.append(("Reconstruction", f"{z} × {y} × {x} voxels (z, y, x)"))
        if volume.spec.voxel_nm:
            v = volume.spec.voxel_nm
            rows.append(("Voxel", " × ".join(f"{e:.4g}" for e in v) + " nm"))
            cubic_um = float(np.prod([n * e for n, e in zip((z, y, x), v, strict=True)])) * 1e-9
            rows.append(("Volume", f"{cubic_um:.4g} µm³"))
        else:
            rows.append(("Voxel", "not calibrated: all lengths are in voxels"))
    rows.append(("Device", state.options.device_name))
    rows.append(("Wall time", f"{state.wall_s:.1f} s"))
    return rows


def _timings(state: RunState) -> list[tuple[str, float, float]]:
    total: dict[str, tuple[float, int]] = {}
    for name, seconds, voxels in state.timings:
        s, v = total.get(name, (0.0, 0))
        total[name] = (s + seconds, v + voxels)
    return [(name, s, v / s / 1e6 if s > 0 else 0.0) for name, (s, v) in total.items()]
