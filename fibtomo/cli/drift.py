"""``fibtomo drift``: look at, convert and chain drifts, of finished runs and of other programs."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fibtomo.cli.app import app
from fibtomo.cli.common import console
from fibtomo.errors import InputError


@app.command("drift")
def drift_command(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="Output folder of a run, or a file of shifts.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write: .csv, .json, or .txt for MultiStackReg.")
    ] = None,
    then: Annotated[
        Path | None, typer.Option("--then", help="Drift found on the stack once this one was corrected, to chain.")
    ] = None,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="Turn the signs: the file says what was done to the slices.")
    ] = False,
    shifts_are: Annotated[
        str, typer.Option("--shifts-are", metavar="steps|cumulative", help="What the file of shifts holds.")
    ] = "auto",
) -> None:
    """Show the drift of a run or of another program, convert it, chain it with a second one.

    Example: [bold]fibtomo drift result/ -o aligned.txt[/bold]
    """
    from fibtomo.io.shifts import write_shifts
    from fibtomo.report.alignment import quality_line

    drift, record = _read(source, shifts_are)
    if inverse:
        drift = drift.inverse()
    if then is not None:
        drift = drift.then(_read(then, "auto")[0])
    dy, dx = np.ptp(drift.shifts_px, axis=0)
    console.print(f"{len(drift)} slices, {drift.method}: they appear within {dy:.2f} px along y, {dx:.2f} px along x")
    if drift.bad_slices:
        console.print(f"bad slices: {', '.join(str(k) for k in drift.bad_slices)}")
    if drift.quality is not None:
        console.print(f"quality: {quality_line(drift, record.get('input', {}).get('pixel_nm'))}")
    for note in drift.notes:
        console.print(f"- {note}", markup=False)
    if out is not None:
        shape = record.get("input", {}).get("shape")
        labels = {name: column for name, column in record.get("labels", {}).items() if len(column) == len(drift)}
        write_shifts(drift, out, frame=tuple(shape[1:]) if shape else None, **labels)
        console.print(f"written: {out}")


def _read(source: Path, shifts_are: str) -> tuple[Any, dict[str, Any]]:
    """Drift of a run with its record, or of a file; the names and positions of the slices come along from a run."""
    from fibtomo.core.drift import Drift
    from fibtomo.core.drift_file import read_labels
    from fibtomo.io.shifts import read_shifts
    from fibtomo.pipeline.results import read_record

    if (source / "run.json").is_file():
        record, path = read_record(source), source / "drift.csv"
        if not path.is_file():
            raise InputError(f"{source} holds no drift.csv: its pipeline did not make a drift")
        return Drift.load(path), {**record, "labels": read_labels(path)}
    return read_shifts(source, shifts_are=shifts_are), {}
