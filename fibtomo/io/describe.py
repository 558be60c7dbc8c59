"""What was read and believed, as rows for a table."""

from dataclasses import replace
from math import radians, tan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fibtomo.core.geometry import Geometry
from fibtomo.core.resolve import face_angle_deg, geometry_of, missing_scale
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.io.findings import listed
from fibtomo.io.stack import Stack
from fibtomo.io.vendor.info import ProjectInfo, VendorInfo

_CONFIDENCES = ("given", "measured", "default", "guess", "unknown")
_PROJECT_FILES = {".emxml", ".a3d-setup", ".dat"}
_SIDECARS = {".hdr", ".txt"}

_UNITS = {"kv": "kV", "na": "nA", "pa": "Pa", "mm": "mm", "um": "µm", "nm": "nm", "deg": "°", "us": "µs", "s": "s"}


class Row(NamedTuple):
    """One line of ``fibtomo info``."""

    name: str
    value: str
    origin: str
    confidence: str


def describe(stack: Stack) -> list[Row]:
    """Return what is known of a stack, most important first; an unknown value says so.

    Returns
    -------
    list of Row
        Name, value with unit, origin, confidence.
    """
    c = stack.calibration
    n, rows, columns = stack.shape
    files = stack.files
    span = files[0].name if len(files) == 1 else f"{files[0].name} … {files[-1].name}"
    result = [
        Row("files", f"{len(files)}: {span}", str(stack.path), "given"),
        Row("shape", f"{n} slice{'s' * (n != 1)} × {rows} rows × {columns} columns", "files", "given"),
        Row("type", stack.dtype.name, "files", "given"),
    ]
    if len(stack.channels) > 1:
        result.append(Row("channels", f"{', '.join(stack.channels)} (read: {stack.channel_name})", "files", "given"))
    result += [
        _row("pixel (dy × dx)", c.pixel_nm, "nm"),
        _row("slice thickness", c.slice_nm, "nm"),
        _row("slice positions", c.slice_z_nm, "nm")
        if c.slice_z_nm
        else Row("slice positions", "evenly spaced", "", ""),
        _row("column angle", c.column_angle_deg, "°"),
        _row("tilt corrected", c.tilt_corrected),
        _row("tracked", c.tracked),
        *(_row(name, fact, "°") for name, fact in _rarely_said(c) if fact),
        _row("orientation", c.orientation) if c.orientation else Row("orientation", "upright", "assumed", "default"),
    ]
    if stack.missing:
        result.append(Row("missing slices", listed(stack.missing), "file numbers", "given"))
    if stack.bad_slices:
        result.append(Row("bad slices", listed(stack.bad_slices), "files", "given"))
    result += [_row(*_name_and_unit(name, value)) for name, value in (*c.others.items(), *stack.metadata.items())]
    return result


def consequences(calibration: Calibration) -> list[Row]:
    """Return what the facts amount to: face angle, y factor, true voxel, shear, and what another answer would make.

    Returns
    -------
    list of Row
        Origin names the facts it rests on, confidence is that of the weakest; empty for a run in voxels.
    """
    c = calibration
    if c.others.get("in_voxels") or not (c.pixel_nm or c.column_angle_deg or c.face_tilt_deg):
        return []
    scaled = not missing_scale(c)
    if not scaled:
        c = replace(c, pixel_nm=Sourced((1.0, 1.0)), slice_nm=Sourced(1.0), slice_z_nm=Sourced(None))
    face = face_angle_deg(c)
    assumed_flat = face is None and bool(c.tilt_corrected.value)
    if face is None and not assumed_flat:
        return [Row("face angle", "unknown", "column angle", "unknown")]
    angle = c.face_tilt_deg or c.column_angle_deg
    rows = [] if face is None else [Row("face angle", f"{face:.5g}°", _face_origin(c), angle.confidence)]
    corrected = c.tilt_corrected
    answers = (True, False) if corrected.value is None else (bool(corrected.value),)
    made = {a: geometry_of(replace(c, tilt_corrected=Sourced(a))) for a in answers}
    tilt = (corrected, angle) if face else (corrected,)
    factors = {a: f"{g.y_factor:.6g}" for a, g in made.items()}
    voxels = {a: " × ".join(f"{v:.5g}" for v in g.true_voxel_nm) + " nm" for a, g in made.items()}
    rows.append(Row("y factor", _if(factors, corrected), "face angle, tilt correction", _weakest(*tilt)))
    if not scaled:
        return rows
    rests = _weakest(c.pixel_nm, c.slice_nm, *tilt)
    rows.append(Row("true voxel (dz × dy × dx)", _if(voxels, corrected), "pixel, slice thickness, y factor", rests))
    if face:
        shears = {a: _shear(replace(g, tracked=False)) for a, g in made.items()}
        how = {True: "none: the field of view follows the face"}.get(c.tracked.value, _if(shears, corrected))
        if c.tracked.value is None:
            how += ", if the field of view is fixed; none if it follows the face"
        rows.append(Row("shear between slices", how, "face angle, tracked", _weakest(angle, c.tracked)))
    if face and corrected.value is not None:
        other = geometry_of(replace(c, tilt_corrected=Sourced(not corrected.value)))
        told = " × ".join(f"{v:.5g}" for v in other.true_voxel_nm)
        ratio = other.y_factor / made[bool(corrected.value)].y_factor
        question = "were the rows not tilt-corrected" if corrected.value else "were the rows tilt-corrected"
        rows.append(Row(question, f"voxel {told} nm, volumes × {ratio:.4g}, {_shear(other)}", "", ""))
    return rows


def _rarely_said(c: Calibration) -> tuple[tuple[str, Sourced], ...]:
    return ("over-tilt", c.overtilt_deg), ("face tilt", c.face_tilt_deg), ("sample tilt", c.sample_tilt_deg)


def _face_origin(c: Calibration) -> str:
    if c.face_tilt_deg:
        return f"{c.face_tilt_deg.origin}, as measured"
    return "90° − column angle" + (" − over-tilt" if c.overtilt_deg else "")


def _if(told: dict[bool, str], corrected: Sourced) -> str:
    """One value, or one for each answer while the tilt correction is not known."""
    if corrected.value is not None or len(set(told.values())) == 1:
        return next(iter(told.values()))
    return f"{told[True]} if tilt-corrected, {told[False]} if not"


def _shear(geometry: Geometry) -> str:
    per_slice_nm = geometry.voxel_nm[0] * tan(radians(geometry.face_angle_deg))
    return (
        f"{geometry.shear_px_per_slice:.5g} px = {per_slice_nm:.4g} nm per slice"
        if not geometry.tracked
        else "no shear"
    )


def _weakest(*facts: Sourced) -> str:
    """Lowest confidence among `facts`."""
    return max((fact.confidence for fact in facts), key=_CONFIDENCES.index)


def describe_facts(path: Path) -> tuple[list[Row], list[str]] | None:
    """Return rows and warnings of a file that holds metadata but no image: a project or a sidecar.

    Returns
    -------
    tuple or None
        ``None`` when the file is neither.
    """
    from fibtomo.io.vendor import read_vendor
    from fibtomo.io.vendor.asv import read_asv_project
    from fibtomo.io.vendor.atlas import read_atlas_project

    facts: VendorInfo | ProjectInfo | None = None
    if path.suffix.lower() in _PROJECT_FILES:
        projects = (reader(path.parent) for reader in (read_asv_project, read_atlas_project))
        facts = next((p for p in projects if p is not None and p.path == path), None)
    elif path.suffix.lower() in _SIDECARS:
        facts = read_vendor(path)
    if facts is None:
        return None
    c = facts.calibration
    rows = [
        Row("vendor", facts.vendor, path.name, "given"),
        _row("pixel (dy × dx)", c.pixel_nm, "nm"),
        _row("slice thickness", c.slice_nm, "nm"),
        _row("column angle", c.column_angle_deg, "°"),
        _row("tilt corrected", c.tilt_corrected),
        _row("tracked", c.tracked),
    ]
    return rows + [_row(*_name_and_unit(n, v)) for n, v in facts.metadata.items()], list(facts.warnings)


def _name_and_unit(name: str, value: Sourced) -> tuple[str, Sourced, str]:
    """Split "high_voltage_kv" into "high voltage" and "kV"."""
    words = name.split("_")
    unit = _UNITS.get(words[-1], "") if len(words) > 1 else ""
    return " ".join(words[:-1] if unit else words), value, unit


def _row(name: str, value: Sourced, unit: str = "") -> Row:
    if not value:
        return Row(name, "unknown", "", "unknown")
    return Row(name, _text(value.value, f" {unit}" if unit else ""), value.origin, value.confidence)


def _text(value: Any, unit: str = "") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}{unit}"
    if isinstance(value, (tuple, list)):
        if len(value) > 4:
            return f"{_text(value[0])} … {_text(value[-1])}{unit} ({len(value)} values)"
        joint = ", " if any(isinstance(v, str) for v in value) else " × "
        return joint.join(_text(v) for v in value) + unit
    return f"{value}{unit}"
