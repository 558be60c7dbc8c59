"""What a run keeps of the notes of ``curtain.remove``: a part of ``run.json``, and a table for a spreadsheet."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.core.stage import Kind
from fibtomo.core.volume import Table
from fibtomo.pipeline.config import Call
from fibtomo.pipeline.results import CURTAINS
from fibtomo.pipeline.sections import free_role

COLUMNS = {
    "index": "index",
    "angle_deg": "angle_deg",
    "second_angle_deg": "second_angle_deg",
    "removed_rms": "removed_rms_grey",
    "damage_rms": "damage_rms_grey",
    "structure_loss": "structure_loss",
    "structure_r": "structure_r",
}
"""Arrays of the table, with the names of their columns in the file."""
DIGITS = 4


def kept_curtains(calls: Sequence[Call], tables: dict[str, Table]) -> dict[str, Table]:
    """Return what ``run.json`` keeps of each removal of curtains: its table in four digits, and what it was made on.

    Parameters
    ----------
    calls
        The stages of the pipeline.
    tables
        Tables of the run by role.

    Returns
    -------
    dict
        By role: the arrays of the table, ``frame`` ("slice" or, after a resample, "specimen") and ``stages``, the names
        of those that change the slices before they are resampled.
    """
    names = [call.name for call in _before_resample(calls) if call.stage.apply is not None]
    kept: dict[str, Table] = {}
    for role, frame in _passes(calls).items():
        if COLUMNS.keys() <= tables.get(role, {}).keys():
            values: dict[str, Any] = {name: _rounded(tables[role][name]) for name in COLUMNS}
            kept[role] = {**values, "frame": frame, "stages": names}
    return kept


def write_curtains(out: Path, calls: Sequence[Call], tables: dict[str, Table], files: Sequence[str] | None) -> None:
    """Write ``curtains.csv`` (of a second removal ``curtains_2.csv``) to the folder `out`: one row per slice.

    Columns: ``slice``; ``file``, where slices are files and were not resampled before; ``index``, above 1 where there
    are curtains; ``angle_deg`` and ``second_angle_deg``, empty where there is none; ``removed_rms_grey``,
    ``damage_rms_grey``, ``structure_loss``, ``structure_r`` as `fibtomo.ops.curtain_quality.curtain_quality` has them.
    """
    for role, table in kept_curtains(calls, tables).items():
        n = len(table["index"])
        known = files if table["frame"] == "slice" and files is not None and len(files) == n else [""] * n
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["slice", "file", *COLUMNS.values()])
        for k, row in enumerate(zip(*(table[name] for name in COLUMNS), strict=True)):
            writer.writerow([k, known[k], *("" if np.isnan(v) else f"{v:.{DIGITS}g}" for v in row)])
        temporary = out / f".{role}.csv.tmp"
        temporary.write_text(text.getvalue(), encoding="utf-8")
        temporary.replace(out / f"{role}.csv")


def _passes(calls: Sequence[Call]) -> dict[str, str]:
    """Role and frame of each removal of curtains, in order."""
    frames: dict[str, str] = {}
    early = len(_before_resample(calls))
    for k, call in enumerate(calls):
        if call.stage.notes == CURTAINS:
            frames[free_role(CURTAINS, frames)] = "slice" if k < early else "specimen"
    return frames


def _before_resample(calls: Sequence[Call]) -> Sequence[Call]:
    first = next((k for k, call in enumerate(calls) if call.stage.kind is Kind.WARP), len(calls))
    return calls[:first]


def _rounded(values: Any) -> list[float]:
    return [float(f"{v:.{DIGITS}g}") for v in np.asarray(values, dtype=np.float64)]
