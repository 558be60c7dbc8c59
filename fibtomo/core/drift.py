"""`Drift`: where the content of every slice appears, how well that is known, and which slices must not be used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.core.drift_file import BAD, COLUMNS, OPEN, read_table, write_csv, write_json
from fibtomo.core.drift_quality import DriftQuality
from fibtomo.core.volume import Table
from fibtomo.errors import InputError

__all__ = ["COLUMNS", "Drift"]

Float = NDArray[np.float64]

_IDENTITY = "none"


@dataclass(frozen=True, eq=False)
class Drift:
    """Apparent motion of a stack of n slices.

    It can be saved, edited, loaded, chained and undone. Laws, for drifts ``a, b, c`` of the same n slices and
    ``e = Drift.identity(n)``, up to rounding:

    - ``a.then(b).then(c)`` is ``a.then(b.then(c))``
    - ``e.then(a)`` and ``a.then(e)`` are ``a``
    - ``a.then(a.inverse())`` moves nothing
    - ``Drift.load(path)`` after ``a.save(path)`` is ``a``, exactly

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
    quality
        How well it aligns the slices, where it was measured.
    slow_part
        Where the slow part comes from: "open" while only the images speak for it and something static may still decide
        it, "unchanging" where hardly anything changes through the stack, so that a mark may, but no edge of the face;
        else "reference", "geometry", "removed" or "kept" (as asked for).

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
    quality: DriftQuality | None = None
    slow_part: str = OPEN

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
        flags = [_one_line(flag) for flag in self.flags] or [""] * n
        if len(flags) != n:
            raise InputError(f"{len(flags)} flags were given for {n} slices")
        if self.quality is not None and len(self.quality) != n:
            raise InputError(f"the quality of {len(self.quality)} slices was given for {n} slices")
        for k in bad:
            if not flags[k].startswith(BAD):
                flags[k] = "; ".join(filter(None, (f"{BAD} given", flags[k])))
        for name, value in (
            ("shifts_px", shifts),
            ("sigma_px", sigma),
            ("confidence", confidence),
            ("bad_slices", bad),
            ("flags", tuple(flags)),
            ("notes", tuple(_one_line(note) for note in self.notes)),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.shifts_px)

    @property
    def undecided_px(self) -> float:
        """Standard deviation per axis, in pixels, of the last slice that was measured: what is left undecided there.

        Examples
        --------
        >>> Drift([[0, 0], [1, 0], [2, 0]], [0.0, 0.1, 9.0], confidence=[1, 1, 0]).undecided_px
        0.1
        """
        known = np.flatnonzero(self.confidence > 0)
        return float(self.sigma_px[known[-1]]) if len(known) else float(self.sigma_px[-1])

    @classmethod
    def identity(cls, n: int) -> "Drift":
        """No motion of n slices, known exactly."""
        return cls(np.zeros((n, 2)), identifiable=True, method=_IDENTITY)

    def then(self, finer: "Drift") -> "Drift":
        """Chain with the drift that was found on the stack as this one corrects it.

        Sampling at ``p + finer`` what was sampled at ``p + self`` reads the raw slice at ``p + self + finer``, once.

        Parameters
        ----------
        finer
            Drift of the same slices in the corrected stack.

        Returns
        -------
        Drift
            Standard deviations are added as independent, confidence is the lesser, bad slices are those of either.
            The quality is that of the finer one; it is lost where one of the two moves slices and was not measured.

        Raises
        ------
        InputError
            The lengths differ.

        Examples
        --------
        >>> coarse, fine = Drift([[0, 0], [4, -2]]), Drift([[0, 0], [0.25, 0.5]])
        >>> coarse.then(fine).shifts_px[1].tolist()
        [4.25, -1.5]
        """
        if len(self) != len(finer):
            raise InputError(f"a drift of {len(self)} slices cannot be followed by one of {len(finer)} slices")
        return Drift(
            shifts_px=self.shifts_px + finer.shifts_px,
            sigma_px=np.hypot(self.sigma_px, finer.sigma_px),
            confidence=np.minimum(self.confidence, finer.confidence),
            bad_slices=self.bad_slices + finer.bad_slices,
            flags=tuple(_joined(a, b) for a, b in zip(self.flags, finer.flags, strict=True)),
            identifiable=self.identifiable and finer.identifiable,
            slow_part=", ".join(sorted({*self.slow_part.split(", "), *finer.slow_part.split(", ")} - {OPEN})) or OPEN,
            method=", then ".join(m for m in (self.method, finer.method) if m != _IDENTITY) or _IDENTITY,
            notes=tuple(dict.fromkeys(self.notes + finer.notes)),
            quality=self._quality_then(finer),
        )

    def _quality_then(self, finer: "Drift") -> DriftQuality | None:
        if _IDENTITY in (self.method, finer.method):
            return finer.quality if self.quality is None else self.quality
        if self.quality is None or finer.quality is None:
            return None
        return self.quality.then(finer.quality)

    def inverse(self) -> "Drift":
        """The opposite motion, for tables that hold what was done to the slices instead of where they appear."""
        return replace(self, shifts_px=-self.shifts_px)

    def without(self, slices: Sequence[int]) -> "Drift":
        """The same motion with more slices marked bad.

        Raises
        ------
        InputError
            A slice does not exist.
        """
        return replace(self, bad_slices=self.bad_slices + tuple(int(k) for k in slices))

    def to_table(self) -> Table:
        """Return the flat table that stages and ledger pass on."""
        return {
            "shifts_px": self.shifts_px,
            "sigma_px": self.sigma_px,
            "confidence": self.confidence,
            "bad_slices": list(self.bad_slices),
            "flags": list(self.flags),
            "identifiable": self.identifiable,
            "slow_part": self.slow_part,
            "method": self.method,
            "notes": list(self.notes),
            "quality": None if self.quality is None else self.quality.to_table(),
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
            slow_part=str(table.get("slow_part", OPEN)),
            method=str(table.get("method", "given")),
            notes=tuple(str(t) for t in table.get("notes", ())),
            quality=DriftQuality.from_table(table["quality"]) if table.get("quality") else None,
        )

    def save(self, path: str | Path, files: Sequence[str] | None = None, z_nm: Sequence[float] | None = None) -> None:
        """Write to a file by its suffix: ``.csv`` (see `to_csv`) or ``.json``; both give the same drift back exactly.

        Parameters
        ----------
        path
            The file to write.
        files, z_nm
            (n,) name of each slice's file and its position; left empty without.

        Raises
        ------
        InputError
            The suffix is another one, the file cannot be written, or `files` or `z_nm` have another length.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Drift([[0, 0], [0.1, -1]]).save(f"{folder}/mine.json")
        ...     Drift.load(f"{folder}/mine.json").shifts_px[1].tolist()
        [0.1, -1.0]
        """
        target = Path(path)
        writer = {".csv": write_csv, ".json": write_json}.get(target.suffix.lower())
        if writer is None:
            raise InputError(f"{target}: a drift is written as .csv or .json, not '{target.suffix}'")
        self._write(writer, target, files, z_nm)

    def _write(
        self,
        writer: Callable[[Path, Table, Sequence[str], Sequence[float | None]], None],
        target: Path,
        files: Sequence[str] | None,
        z_nm: Sequence[float] | None,
    ) -> None:
        n = len(self)
        names = [""] * n if files is None else [str(f) for f in files]
        positions = [None] * n if z_nm is None else [float(z) for z in z_nm]
        if len(names) != n or len(positions) != n:
            raise InputError(f"{len(names)} files and {len(positions)} positions were given for {n} slices")
        try:
            writer(target, self.to_table(), names, positions)
        except OSError as error:
            raise InputError(f"{target} cannot be written: {error.strerror or error}") from None

    @classmethod
    def load(cls, path: str | Path) -> "Drift":
        """Read what `save` wrote, or any table (CSV or JSON by the suffix) with at least dy and dx per slice.

        Accepted names are dy_px or dy, dx_px or dx, and slice; comma, semicolon or tab separate. Slices that are
        missing from the table are interpolated and get confidence 0. Alignments of other programs:
        `fibtomo.io.shifts.read_shifts`.

        Raises
        ------
        InputError
            The file cannot be read, has no dy and dx, or a value is not a number.
        """
        return cls.from_table(read_table(Path(path)))

    def to_csv(self, path: str | Path, files: Sequence[str] | None = None, z_nm: Sequence[float] | None = None) -> None:
        """Write one line per slice with the columns slice, file, z_nm, dy_px, dx_px, sigma, confidence, flags.

        Where the quality is known, left_out_px, ncc_before and ncc_after follow, empty where a slice lacks them.
        Remarks on the whole stack stand above the header in lines that begin with ``#``. Numbers are written so
        that reading gives them back exactly.
        """
        self._write(write_csv, Path(path), files, z_nm)

    @classmethod
    def from_csv(cls, path: str | Path) -> "Drift":
        """Read a table as `load` does."""
        return cls.load(path)


def _column(values: ArrayLike, n: int, name: str) -> Float:
    column = np.array(values, dtype=np.float64)
    if column.shape != (n,):
        raise InputError(f"{name} has shape {column.shape} for {n} slices")
    return column


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _joined(first: str, second: str) -> str:
    """Remarks of both, each once; what makes a slice bad stands first."""
    remarks = dict.fromkeys(r for text in (first, second) for r in text.split("; ") if r)
    return "; ".join(sorted(remarks, key=lambda r: not r.startswith(BAD)))
