"""What was read and believed, as rows for a table."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fibtomo.core.volume import Sourced
from fibtomo.io.findings import listed
from fibtomo.io.stack import Stack
from fibtomo.io.vendor.info import ProjectInfo, VendorInfo

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
    ]
    if stack.missing:
        result.append(Row("missing slices", listed(stack.missing), "file numbers", "given"))
    if stack.bad_slices:
        result.append(Row("bad slices", listed(stack.bad_slices), "files", "given"))
    result += [_row(*_name_and_unit(name, value)) for name, value in (*c.others.items(), *stack.metadata.items())]
    return result


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
