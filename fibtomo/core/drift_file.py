"""Drift as a file: the CSV and JSON that `Drift` writes, and any table with a header and one row per slice."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.drift_quality import COLUMNS as QUALITY_COLUMNS
from fibtomo.core.volume import Table
from fibtomo.errors import InputError

Float = NDArray[np.float64]

COLUMNS = ("slice", "file", "z_nm", "dy_px", "dx_px", "sigma", "confidence", "flags")
BAD = "bad:"
OPEN, UNCHANGING = "open", "unchanging"
FORMAT = "fibtomo drift"
_ALIASES = {
    "slice": ("slice", "index", "z"),
    "dy_px": ("dy_px", "dy", "y_px", "y"),
    "dx_px": ("dx_px", "dx", "x_px", "x"),
}
_TEXTS = ("file", "flags")


def write_csv(path: Path, table: Table, files: Sequence[str], z_nm: Sequence[float | None]) -> None:
    """Write the table of a `Drift` as CSV, remarks on the whole stack above the header."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        handle.write(f"# method: {table['method']}\n# identifiable: {'yes' if table['identifiable'] else 'no'}\n")
        handle.write(f"# slow part: {table['slow_part']}\n")
        handle.writelines(f"# note: {note}\n" for note in table["notes"])
        if table["quality"]:
            handle.write(f"# quality: {json.dumps(_quality_head(table))}\n")
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(_names(table))
        for row in _rows(table, files, z_nm):
            writer.writerow(["" if v is None else repr(v) if isinstance(v, float) else v for v in row])


def write_json(path: Path, table: Table, files: Sequence[str], z_nm: Sequence[float | None]) -> None:
    """Write the table of a `Drift` as JSON, one object per slice."""
    slices = [dict(zip(_names(table), row, strict=True)) for row in _rows(table, files, z_nm)]
    head = {
        "format": FORMAT,
        "method": table["method"],
        "identifiable": table["identifiable"],
        "slow_part": table["slow_part"],
        "notes": table["notes"],
    }
    if table["quality"]:
        head["quality"] = _quality_head(table)
    lines = ",\n".join(f"  {json.dumps(s, ensure_ascii=False)}" for s in slices)
    start = json.dumps(head, indent=1, ensure_ascii=False)[:-2]
    path.write_text(f'{start},\n "slices": [\n{lines}\n ]\n}}\n', encoding="utf-8")


def _rows(table: Table, files: Sequence[str], z_nm: Sequence[float | None]) -> list[list[Any]]:
    shifts, sigma, confidence = table["shifts_px"], table["sigma_px"], table["confidence"]
    quality = [table["quality"][name] for name in QUALITY_COLUMNS] if table["quality"] else []
    return [
        [k, files[k], z_nm[k], float(dy), float(dx), float(sigma[k]), float(confidence[k]), table["flags"][k]]
        + [None if np.isnan(column[k]) else float(column[k]) for column in quality]
        for k, (dy, dx) in enumerate(shifts)
    ]


def _names(table: Table) -> tuple[str, ...]:
    return COLUMNS + (QUALITY_COLUMNS if table["quality"] else ())


def _quality_head(table: Table) -> Table:
    return {name: value for name, value in table["quality"].items() if name not in QUALITY_COLUMNS}


def read_table(path: Path) -> Table:
    """Read a drift file, CSV or JSON by its suffix, as the flat table of a `Drift`.

    Slices that are missing from it are interpolated and get confidence 0.

    Raises
    ------
    InputError
        The file cannot be read, lacks dy and dx, a value is not a finite number or a slice stands twice.
    """
    rows, head = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    columns = read_columns(rows, path)
    at = columns["slice"].astype(np.int64)
    n = int(at.max()) + 1
    order, every = np.argsort(at), np.arange(n)
    shifts = [np.interp(every, at[order], columns[c][order]) for c in ("dy_px", "dx_px")]
    sigma, confidence, flags = np.zeros(n), np.zeros(n), ["bridged: not in the table"] * n
    confidence[at] = columns.get("confidence", np.ones(len(rows)))
    sigma[at] = columns.get("sigma", np.zeros(len(rows)))
    for row, k in zip(rows, at, strict=True):
        flags[k] = str(row.get("flags") or "").strip()
    quality = head.pop("quality")
    if isinstance(quality, Mapping):
        head["quality"] = dict(quality) | {name: _where_known(rows, name, at, path) for name in QUALITY_COLUMNS}
    bad = [k for k in range(n) if flags[k].startswith(BAD)]
    return {
        "shifts_px": np.stack(shifts, axis=1),
        "sigma_px": sigma,
        "confidence": confidence,
        "bad_slices": bad,
        "flags": flags,
        **head,
    }


def read_overrides(path: Path) -> tuple[tuple[int, float, float], ...]:
    """Read a table of pinned slices: a header and columns slice, dy_px and dx_px, CSV or JSON.

    Raises
    ------
    InputError
        As `read_table`, or there is no column slice.
    """
    rows, _ = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    columns = read_columns(rows, path, numbered=True)
    triples = zip(columns["slice"], columns["dy_px"], columns["dx_px"], strict=True)
    return tuple((int(k), float(dy), float(dx)) for k, dy, dx in triples)


def read_columns(rows: "list[dict[str, Any]]", source: Path, *, numbered: bool = False) -> dict[str, Float]:
    """Columns of numbers under our names; ``slice`` counts from 0 where the table has none, unless `numbered`.

    Raises
    ------
    InputError
        See `read_table`.
    """
    names = _columns(rows[0], source)
    if numbered and "slice" not in names:
        raise InputError(f"{source}: the table needs a column slice, it has {', '.join(names.values())}")
    columns = {name: _numbers(rows, key, source) for name, key in names.items() if name not in _TEXTS}
    at = columns.setdefault("slice", np.arange(len(rows), dtype=np.float64))
    odd = at[(at < 0) | (at != np.round(at))]
    if len(odd):
        raise InputError(f"{source}: slice {odd[0]:g} does not exist; slices are whole numbers counted from 0")
    values, counts = np.unique(at, return_counts=True)
    if len(values) < len(at):
        raise InputError(f"{source}: slice {values[counts > 1][0]:.0f} stands twice; keep one row for each slice")
    return columns


def _csv_rows(source: Path) -> "tuple[list[dict[str, Any]], Table]":
    lines = read_text(source).splitlines()
    remarks = [line[1:].strip() for line in lines if line.startswith("#")]
    body = [line for line in lines if line.strip() and not line.startswith("#")]
    if len(body) < 2:
        raise InputError(f"{source}: the drift table holds no slices; it needs a header and one line per slice")
    separator = next((s for s in ";\t" if s in body[0]), ",")
    rows: list[dict[str, Any]] = list(csv.DictReader(body, delimiter=separator))
    said = dict(r.split(": ", 1) for r in remarks if ": " in r and not r.startswith("note"))
    return rows, {
        "identifiable": said.get("identifiable") == "yes",
        "slow_part": said.get("slow part", OPEN),
        "method": said.get("method", "given"),
        "notes": [r.removeprefix("note: ") for r in remarks if r.startswith("note: ")],
        "quality": _parsed(said.get("quality", "null"), source),
    }


def _json_rows(source: Path) -> "tuple[list[dict[str, Any]], Table]":
    try:
        document = json.loads(read_text(source))
    except json.JSONDecodeError as error:
        raise InputError(f"{source}, line {error.lineno}: this is not valid JSON: {error.msg}") from None
    rows = document.get("slices") if isinstance(document, Mapping) else document
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(
            f'{source}: the drift holds no slices; it needs "slices": [{{"slice": 0, "dy_px": 0.0, "dx_px": 0.0}}, ...]'
        )
    head = document if isinstance(document, Mapping) else {}
    return [dict(row) for row in rows], {
        "identifiable": bool(head.get("identifiable", False)),
        "slow_part": str(head.get("slow_part", OPEN)),
        "method": str(head.get("method", "given")),
        "notes": [str(note) for note in head.get("notes", ())],
        "quality": head.get("quality"),
    }


def _parsed(text: str, source: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{source}: the remark on the quality is not valid JSON: {error.msg}") from None


def read_text(source: Path) -> str:
    """Text of a small file.

    Raises
    ------
    InputError
        It cannot be read as text.
    """
    try:
        return source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"{source}: the drift table cannot be read ({reason})") from None


def _columns(first: Mapping[str, Any], source: Path) -> dict[str, str]:
    """Map our column names to those of the file."""
    given = {str(key or "").strip().lower(): key for key in first}
    found = {}
    for name in COLUMNS:
        key = next((given[alias] for alias in _ALIASES.get(name, (name,)) if alias in given), None)
        if key is not None:
            found[name] = key
    if "dy_px" not in found or "dx_px" not in found:
        raise InputError(f"{source}: the drift table needs columns dy_px and dx_px, it has {', '.join(given)}")
    found.pop("z_nm", None)
    return found


def _numbers(rows: Sequence[Mapping[str, Any]], key: str, source: Path) -> Float:
    values = np.empty(len(rows))
    for i, row in enumerate(rows):
        try:
            values[i] = float(row[key])
        except (KeyError, TypeError, ValueError):
            said = row.get(key)
            what = "nothing" if said in (None, "") else f"'{said}'"
            where = f"row {i + 1} of column '{key}'"
            raise InputError(f"{source}: {where} of the drift table holds {what}, which is not a number") from None
    if key not in ("sigma", "confidence") and not np.isfinite(values).all():
        raise InputError(f"{source}: column '{key}' of the drift table holds a number that is not finite")
    return values


def _where_known(rows: Sequence[Mapping[str, Any]], key: str, at: NDArray[np.int64], source: Path) -> Float:
    """Column over all slices, NaN where the file says nothing."""
    column = np.full(int(at.max()) + 1, np.nan)
    told = [i for i, row in enumerate(rows) if row.get(key) not in (None, "")]
    column[at[told]] = _numbers([rows[i] for i in told], key, source)
    return column


def read_labels(path: Path) -> dict[str, Any]:
    """Names and positions of the slices in a drift file, as keywords of `Drift.save`; without what is not there."""
    rows, _ = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    files = [str(row.get("file") or "") for row in rows]
    z_nm: list[Any] = [row.get("z_nm") for row in rows]
    labels: dict[str, Any] = {"files": files} if any(files) else {}
    known = not any(z in (None, "") for z in z_nm)
    return labels | ({"z_nm": [float(z) for z in z_nm]} if known else {})
