"""The record of a run on disk: which blocks are finished, what stages measured, who holds the folder.

Everything is written to a temporary name and renamed, so a killed run leaves whole files or none. Nothing is
pickled: tables are NumPy arrays plus one JSON document.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fibtomo.core.volume import Table
from fibtomo.errors import OutputError
from fibtomo.pipeline.results import VOLUME

WORK = ".fibtomo-work"
_PLAIN = "__plain__"


def write_table(path: Path, table: Table) -> None:
    """Write a table of arrays and plain values to `path` (.npz), atomically."""
    arrays = {k: v for k, v in table.items() if isinstance(v, np.ndarray)}
    plain = json.dumps({k: _plain(v) for k, v in table.items() if k not in arrays})
    arrays[_PLAIN] = np.frombuffer(plain.encode(), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    temporary.replace(path)


def read_table(path: Path) -> Table:
    """Read a table written by `write_table`."""
    with np.load(path, allow_pickle=False) as data:
        table: Table = {k: data[k] for k in data.files if k != _PLAIN}
        table.update(json.loads(bytes(data[_PLAIN]).decode()))
    return table


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document atomically."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(_plain(document), indent=1, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays inside plain structures into JSON types; NaN becomes null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


class Ledger:
    """The work folder of one run.

    Parameters
    ----------
    out
        Output folder of the run.
    volume
        Where its volume goes in the end, if not below `out`.
    """

    def __init__(self, out: Path, volume: Path | None = None) -> None:
        self.out = out
        self.volume = volume or out / VOLUME
        self.work = out / WORK

    @staticmethod
    def identity(parts: dict[str, Any]) -> str:
        """Hash what determines the result."""
        text = json.dumps(_plain(parts), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def array_path(self, name: str) -> Path:
        """Folder of the array `name`: in the work folder, or where the volume belongs once it was moved there."""
        first, _, rest = name.partition("/")
        moved = self.volume / rest if first == VOLUME else self.out / name
        return moved if moved.is_dir() else self.work / name

    def table_path(self, role: str) -> Path:
        """File of the table `role`."""
        return self.work / "tables" / f"{role}.npz"

    def block_path(self, section: str, z0: int) -> Path:
        """File that marks block `z0` of a section as finished and holds what it measured."""
        return self.work / "blocks" / section / f"{z0:08d}.npz"

    def finished(self, section: str) -> set[int]:
        """First slices of the finished blocks of a section."""
        folder = self.work / "blocks" / section
        return {int(p.stem) for p in folder.glob("*.npz")} if folder.is_dir() else set()

    def open(self, identity: str, record: dict[str, Any], *, resume: bool, overwrite: bool) -> bool:
        """Claim the folder; returns whether an earlier run is resumed.

        Raises
        ------
        OutputError
            The folder holds a finished run, or an unfinished one that differs, and `overwrite` is not set.
        """
        state = self.work / "run.json"
        if state.is_file() and resume and not overwrite:
            found = json.loads(state.read_text(encoding="utf-8"))
            if found["identity"] == identity:
                return True
            changed = [k for k in record if found["record"].get(k) != _plain(record[k])]
            raise OutputError(
                f"{self.out} holds an unfinished run with another {' and '.join(changed) or 'setting'}; give "
                f"another output folder, or --overwrite to start anew"
            )
        if not overwrite:
            if (self.out / "run.json").exists():
                raise OutputError(
                    f"{self.out} already holds a finished run; give another output folder or add --overwrite"
                )
            strangers = [p.name for p in self.out.iterdir() if p.name not in {WORK, ".fibtomo-lock"}]
            if strangers:
                raise OutputError(f"{self.out} holds {strangers[0]} and no run of fibtomo; give another output folder")
            if state.is_file():
                raise OutputError(f"{self.out} holds an unfinished run; resume it, or add --overwrite to start anew")
        self._clear()
        self.work.mkdir(parents=True)
        write_json(state, {"identity": identity, "record": record})
        return False

    def _clear(self) -> None:
        """Remove what an earlier run of fibtomo left here, and nothing else."""
        known = [
            VOLUME,
            "drift.csv",
            "volume_slices.csv",
            "measurements.csv",
            "measurements.json",
            "objects.csv",
            "report.html",
            "run.json",
        ]
        known += self._channel_volumes()
        for path in [self.work, *(self.out / name for name in known), *self._numbered()]:
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()

    def _channel_volumes(self) -> list[str]:
        """Volumes of further channels that an earlier run, finished or not, says to have made."""
        paths = (self.out / "run.json", self.work / "run.json")
        documents = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
        named = [document.get("record", document).get("channels", {}).values() for document in documents]
        return [name for names in named for name in names if Path(name).name == name]

    def _numbered(self) -> list[Path]:
        return [path for pattern in ("surface_*.ply", "curtains*.csv") for path in self.out.glob(pattern)]

    def note(self, key: str, value: Any) -> None:
        """Keep one fact of the plan (slab sizes), so that a resumed run cuts the same blocks."""
        path = self.work / "facts.json"
        facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        write_json(path, {**facts, key: value})

    def noted(self, key: str) -> Any:
        """Return a fact kept by `note`, or ``None``."""
        path = self.work / "facts.json"
        return json.loads(path.read_text(encoding="utf-8")).get(key) if path.is_file() else None

    def close(self, keep: bool) -> None:
        """Remove the work folder once the outputs stand."""
        if not keep:
            shutil.rmtree(self.work, ignore_errors=True)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the output folder for one run; the system frees it however the process ends.

    Raises
    ------
    OutputError
        The folder cannot be made or written, or another run holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / ".fibtomo-lock").open("a+")
    except OSError as error:
        raise OutputError(f"the output folder {out} cannot be written: {error.strerror or error}") from None
    with file:
        try:
            _lock(file)
        except OSError:
            raise OutputError(f"another run is writing to {out}; wait for it or give another output folder") from None
        try:
            yield
        finally:
            (out / ".fibtomo-lock").unlink(missing_ok=True)


def _lock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
