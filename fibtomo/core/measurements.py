"""`Measurements`: numbers with their definitions, units and uncertainties."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.core.volume import Table
from fibtomo.errors import InputError, OutputError

COLUMNS = ("quantity", "phase", "value", "unit", "uncertainty", "definition", "sampling", "threshold")
"""The last two are parts of the uncertainty, added in quadrature."""


@dataclass(frozen=True)
class Measurements:
    """What was measured on a labelled volume.

    Attributes
    ----------
    rows
        One dict for each number: quantity, phase (a label, or "0|1" for the interface of two), value, unit, uncertainty
        (one standard error, ``None`` where none is known), definition; and its parts where they are known: sampling (a
        finite volume stands for the material) and threshold (where the phases are parted).
    object_columns
        Columns of the object table by name, each of the same length, or ``None``.

    Examples
    --------
    >>> row = dict(quantity="volume_fraction", phase=1, value=0.3, unit="1", uncertainty=0.01, definition="…")
    >>> Measurements([row]).get("volume_fraction", 1)
    0.3
    """

    rows: list[dict[str, Any]]
    object_columns: dict[str, Any] | None = None

    @classmethod
    def from_table(cls, table: Table, objects: Table | None = None) -> "Measurements":
        """Build from the tables of the stages `measure.phases` and `label.components`."""
        columns = None if objects is None else {name: np.asarray(objects[name]) for name in objects["columns"]}
        return cls([{name: row.get(name) for name in COLUMNS} for row in table["rows"]], columns)

    @classmethod
    def from_json(cls, path: str | Path) -> "Measurements":
        """Read what `to_json` wrote.

        Raises
        ------
        InputError
            The file is not of that kind.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            rows = [_row(row) for row in document["rows"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} holds no measurements of fibtomo ({error})") from None
        columns = document.get("objects")
        return cls(rows, None if columns is None else {name: np.asarray(c) for name, c in columns.items()})

    def get(self, quantity: str, phase: int | str) -> float:
        """Value of one quantity of one phase.

        Raises
        ------
        InputError
            It was not measured; the message lists what was.
        """
        for row in self.rows:
            if row["quantity"] == quantity and row["phase"] == phase:
                return float("nan") if row["value"] is None else float(row["value"])
        known = sorted({f"{row['quantity']}[{row['phase']}]" for row in self.rows})
        raise InputError(f"{quantity!r} of phase {phase!r} was not measured; there are: {', '.join(known) or 'none'}")

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with the columns `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(COLUMNS))

    @property
    def objects(self) -> Any:
        """A pandas DataFrame with one row for each object, or ``None`` if objects were not labelled."""
        if self.object_columns is None:
            return None
        import pandas as pd

        return pd.DataFrame(self.object_columns)

    def to_csv(self, path: str | Path) -> None:
        """Write the rows as CSV (UTF-8)."""
        _write(path, self.to_dataframe().to_csv(index=False))

    def to_json(self, path: str | Path) -> None:
        """Write rows, and objects if there are any, as JSON; unknown numbers become null."""
        document: dict[str, Any] = {"rows": [{k: _plain(v) for k, v in row.items()} for row in self.rows]}
        if self.object_columns is not None:
            columns = self.object_columns
            document["objects"] = {name: [_plain(v) for v in np.asarray(c).tolist()] for name, c in columns.items()}
        _write(path, json.dumps(document, indent=1, ensure_ascii=False))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """All columns of a row read from a file; one that was written before the parts were known lacks them."""
    return {name: row[name] for name in COLUMNS[:-2]} | {name: row.get(name) for name in COLUMNS[-2:]}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _write(path: str | Path, text: str) -> None:
    """Write a text file so that no half-written one is ever seen."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
