"""`Drift`: where the content of every slice appears, how well that is known, and which slices must not be used."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.core.volume import Table
from fibtomo.errors import InputError

Float = NDArray[np.float64]

COLUMNS = ("slice", "file", "z_nm", "dy_px", "dx_px", "sigma", "confidence", "flags")
_BAD = "bad:"
_ALIASES = {
    "slice": ("slice", "index", "z"),
    "dy_px": ("dy_px", "dy", "y_px", "y"),
    "dx_px": ("dx_px", "dx", "x_px", "x"),
}


@dataclass(frozen=True, eq=False)
class Drift:
    """Apparent motion of a stack of n slices.

    Parameters
    ----------
    shifts_px
        (n, 2) as (dy, dx): where the content of slice k appears relative to slice 0; correcting samples slice k at
        ``p + shifts_px[k]``. Whatever motion the images show is in it, geometric shear too.
    sigma_px
        (n,) standard deviation per axis, relative to slice 0.
    confidence
        (n,) 0 (bridged, nothing measured) to 1.
    bad_slices
        Indices of slices that must not be used, ascending.
    flags
        (n,) remarks per slice, "" where there is none; those of bad slices begin with "bad:".
    identifiable
        False when only the images speak for the slow part, which inclined structure imitates.
    method
        How it was measured.
    notes
        Sentences for the report.

    Raises
    ------
    InputError
        Lengths disagree, a shift is not finite or a bad slice does not exist.

    Examples
    --------
    >>> drift = Drift([[0, 0], [0.5, -1]], bad_slices=[1])
    >>> len(drift), drift.shifts_px[1].tolist(), drift.flags[1]
    (2, [0.5, -1.0], 'bad: given')
    """

    shifts_px: Float
    sigma_px: Float = field(default_factory=lambda: np.empty(0))
    confidence: Float = field(default_factory=lambda: np.empty(0))
    bad_slices: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()
    identifiable: bool = False
    method: str = "given"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shifts = np.array(self.shifts_px, dtype=np.float64)
        if shifts.ndim != 2 or shifts.shape[1] != 2 or not np.all(np.isfinite(shifts)):
            raise InputError(f"shifts of shape {shifts.shape} are not one finite (dy, dx) per slice")
        n = len(shifts)
        sigma = np.zeros(n) if np.size(self.sigma_px) == 0 else _column(self.sigma_px, n, "sigma_px")
        confidence = np.ones(n) if np.size(self.confidence) == 0 else _column(self.confidence, n, "confidence")
        bad = tuple(sorted({int(k) for k in self.bad_slices}))
        if bad and not 0 <= bad[0] <= bad[-1] < n:
            raise InputError(f"bad slices {bad} must lie between 0 and {n - 1}")
        flags = list(self.flags) or [""] * n
        if len(flags) != n:
            raise InputError(f"{len(flags)} flags were given for {n} slices")
        for k in bad:
            if not flags[k].startswith(_BAD):
                flags[k] = "; ".join(filter(None, (f"{_BAD} given", flags[k])))
        for name, value in (
            ("shifts_px", shifts),
            ("sigma_px", sigma),
            ("confidence", confidence),
            ("bad_slices", bad),
            ("flags", tuple(flags)),
            ("notes", tuple(self.notes)),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.shifts_px)

    def to_table(self) -> Table:
        """Return the flat table that stages and ledger pass on."""
        return {
            "shifts_px": self.shifts_px,
            "sigma_px": self.sigma_px,
            "confidence": self.confidence,
            "bad_slices": list(self.bad_slices),
            "flags": list(self.flags),
            "identifiable": self.identifiable,
            "method": self.method,
            "notes": list(self.notes),
        }

    @classmethod
    def from_table(cls, table: Table) -> "Drift":
        """Rebuild from `to_table`; all but ``shifts_px`` may be missing."""
        return cls(
            shifts_px=np.asarray(table["shifts_px"]),
            sigma_px=np.asarray(table.get("sigma_px", ()), dtype=np.float64),
            confidence=np.asarray(table.get("confidence", ()), dtype=np.float64),
            bad_slices=tuple(int(k) for k in table.get("bad_slices", ())),
            flags=tuple(str(f) for f in table.get("flags", ())),
            identifiable=bool(table.get("identifiable", False)),
            method=str(table.get("method", "given")),
            notes=tuple(str(t) for t in table.get("notes", ())),
        )

    def to_csv(self, path: str | Path, files: Sequence[str] | None = None, z_nm: Sequence[float] | None = None) -> None:
        """Write one line per slice with the columns slice, file, z_nm, dy_px, dx_px, sigma, confidence, flags.

        Remarks on the whole stack stand above the header in lines that begin with ``#``. Numbers are written so
        that reading gives them back exactly.

        Parameters
        ----------
        path
            The file to write.
        files
            (n,) name of each slice's file; empty column without.
        z_nm
            (n,) position of each slice; empty column without.

        Raises
        ------
        InputError
            `files` or `z_nm` have another length.
        """
        n = len(self)
        names = [""] * n if files is None else [str(f) for f in files]
        positions = [""] * n if z_nm is None else [repr(float(z)) for z in z_nm]
        if len(names) != n or len(positions) != n:
            raise InputError(f"{len(names)} files and {len(positions)} positions were given for {n} slices")
        with Path(path).open("w", newline="", encoding="utf-8") as handle:
            handle.write(f"# method: {self.method}\n# identifiable: {'yes' if self.identifiable else 'no'}\n")
            handle.writelines(f"# note: {note}\n" for note in self.notes)
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(COLUMNS)
            for k in range(n):
                numbers = (*self.shifts_px[k], self.sigma_px[k], self.confidence[k])
                writer.writerow([k, names[k], positions[k], *(repr(float(v)) for v in numbers), self.flags[k]])

    @classmethod
    def from_csv(cls, path: str | Path) -> "Drift":
        """Read what `to_csv` wrote, or any table with a header and at least dy and dx per slice.

        Accepted names are dy_px or dy, dx_px or dx, and slice; comma, semicolon or tab separate. Slices that are
        missing from the table are interpolated and get confidence 0.

        Raises
        ------
        InputError
            The file cannot be read, has no dy and dx columns, or a value is not a number.
        """
        source = Path(path)
        try:
            lines = source.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{source}: the drift table cannot be read ({error})") from None
        remarks = [line[1:].strip() for line in lines if line.startswith("#")]
        body = [line for line in lines if line.strip() and not line.startswith("#")]
        if len(body) < 2:
            raise InputError(f"{source}: the drift table holds no slices; it needs a header and one line per slice")
        separator = next((s for s in ";\t" if s in body[0]), ",")
        rows = list(csv.DictReader(body, delimiter=separator))
        columns = _columns(rows[0], source)
        numbers = {name: _numbers(rows, key, source) for name, key in columns.items() if name not in {"file", "flags"}}
        at = numbers["slice"].astype(int) if "slice" in numbers else np.arange(len(rows))
        if len(set(at.tolist())) != len(at) or at.min() < 0:
            raise InputError(f"{source}: slice numbers must be distinct and not negative")
        n = int(at.max()) + 1
        order = np.argsort(at)
        every = np.arange(n)
        shifts = np.stack([np.interp(every, at[order], numbers[c][order]) for c in ("dy_px", "dx_px")], axis=1)
        sigma, confidence, flags = np.zeros(n), np.zeros(n), ["bridged: not in the table"] * n
        confidence[at] = numbers.get("confidence", np.ones(len(rows)))
        sigma[at] = numbers.get("sigma", np.zeros(len(rows)))
        for row, k in zip(rows, at, strict=True):
            flags[k] = (row.get("flags") or "").strip()
        said = dict(r.split(": ", 1) for r in remarks if ": " in r and not r.startswith("note"))
        return cls(
            shifts_px=shifts,
            sigma_px=sigma,
            confidence=confidence,
            bad_slices=tuple(k for k in range(n) if flags[k].startswith(_BAD)),
            flags=tuple(flags),
            identifiable=said.get("identifiable") == "yes",
            method=said.get("method", "given"),
            notes=tuple(r.removeprefix("note: ") for r in remarks if r.startswith("note: ")),
        )


def _column(values: ArrayLike, n: int, name: str) -> Float:
    column = np.array(values, dtype=np.float64)
    if column.shape != (n,):
        raise InputError(f"{name} has shape {column.shape} for {n} slices")
    return column


def _columns(first: "dict[str, str]", source: Path) -> dict[str, str]:
    """Map our column names to those of the file."""
    given = {(key or "").strip().lower(): key for key in first}
    found = {}
    for name in COLUMNS:
        key = next((given[alias] for alias in _ALIASES.get(name, (name,)) if alias in given), None)
        if key is not None:
            found[name] = key
    if "dy_px" not in found or "dx_px" not in found:
        raise InputError(f"{source}: the drift table needs columns dy_px and dx_px, it has {', '.join(given)}")
    found.pop("z_nm", None)
    return found


def _numbers(rows: "list[dict[str, str]]", key: str, source: Path) -> Float:
    try:
        return np.array([float(row[key]) for row in rows])
    except (TypeError, ValueError):
        raise InputError(f"{source}: column '{key}' of the drift table holds something that is not a number") from None
