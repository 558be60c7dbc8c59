"""Drifts of other programs: which family of files one belongs to, and what its numbers mean.

Ours: ``shifts_px[k] = (dy, dx)`` is where the content of slice k appears, so that the corrected image samples slice k
at ``p + shifts_px[k]``. Most programs keep the opposite, what was done to the slice; each reader says which.

=============================  ==================  ==========  =======================================================
file                           numbers             kind        sign
=============================  ==================  ==========  =======================================================
``.csv``, ``.json`` of ours    dy, dx              cumulative  ours
table with a header            dy, dx by name      cumulative  ours; ``Drift.inverse()`` where the program moved slices
``.npy`` (n, 2), ``.txt``      dy, dx              cumulative  ours
``.npy`` (n, 3, 3)             x, y matrices       cumulative  ours: pystackreg and skimage keep inverse maps
MultiStackReg ``.txt``         x, y points         steps       ours: source minus target
SIFT log ``.txt``              x, y matrices       steps       opposite: from each slice onto the one before
folder of ``.xml``             x, y models         cumulative  opposite: Register Virtual Stack Slices, onto the result
TrakEM2 ``.xml``               x, y matrices       cumulative  opposite: onto the canvas
=============================  ==================  ==========  =======================================================

A SimpleITK ``TranslationTransform`` found with slice 0 as the fixed image has our sign, in (x, y) and units of the
spacing: divide by the spacing, swap, save with ``numpy.save``.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from fibtomo.core.drift import Drift
from fibtomo.core.drift_file import read_text
from fibtomo.errors import InputError
from fibtomo.io.shifts_fiji import (
    SIFT,
    STACKREG,
    read_sift_log,
    read_stackreg,
    read_trakem2,
    read_virtual_stack,
    write_stackreg,
)
from fibtomo.io.transforms import Float, Transforms, accumulated, translations

ShiftsAre = Literal["auto", "steps", "cumulative"]

_KNOWN = (
    "a table with columns dy and dx (.csv, .tsv, .json), numbers dy dx (.npy, .txt), a transformation file of "
    "MultiStackReg, a log of Linear Stack Alignment with SIFT, a folder of transforms of Register Virtual Stack "
    "Slices, or a TrakEM2 project (.xml)"
)
_BRIDGED = "bridged: not in the table"


def read_shifts(path: str | Path, *, shape: Sequence[int] | None = None, shifts_are: ShiftsAre = "auto") -> Drift:
    r"""Read an alignment made elsewhere, or a drift of ours; see this module for the formats and their signs.

    Parameters
    ----------
    path
        File, output folder of a run, or folder of transforms of Register Virtual Stack Slices.
    shape
        (slices, rows, columns) of the stack it belongs to; checked where given.
    shifts_are
        "steps" from each slice to the next, "cumulative" from slice 0, or what the format says.

    Returns
    -------
    Drift
        In pixels of the slices; of alignments that also turn or scale slices by less than half a pixel at their
        corners, the motion of the centres.

    Raises
    ------
    InputError
        The format is not known, a value is damaged, a slice stands twice or lacks, a slice is turned or scaled by
        more, or the length is not that of the stack.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "steps.csv").write_text("slice,dy,dx\n1,1,0\n2,1,-2\n")
    ...     read_shifts(Path(folder, "steps.csv"), shifts_are="steps").shifts_px.tolist()
    [[0.0, 0.0], [1.0, 0.0], [2.0, -2.0]]
    """
    source = shifts_file(path)
    if shifts_are not in ("auto", "steps", "cumulative"):
        raise InputError(f"shifts_are = {shifts_are!r} must be auto, steps or cumulative")
    if not source.exists():
        raise InputError(f"{source} does not exist; check the path of the shifts")
    n = None if shape is None else int(shape[0])
    found = _transforms(source, shifts_are)
    if found is None:
        drift = _table(source, shifts_are, n)
    else:
        shifts, notes = translations(found, None if shape is None else (int(shape[1]), int(shape[2])), source)
        drift = Drift(shifts, method=f"imported from {found.program}", notes=notes)
    if n is not None and len(drift) != n:
        failed = " (slices that SIFT could not align leave no line)" if found and "SIFT" in found.program else ""
        raise InputError(
            f"{source}: the table has {len(drift)} slices, the stack has {n}{failed}; import the alignment of this "
            f"stack"
        )
    note = f"The motion was taken from {source.name}, not measured."
    notes = drift.notes if note in drift.notes else (*drift.notes, note)
    return replace(drift, notes=notes, quality=None)  # measured on other slices, or before the file was edited


def shifts_file(path: str | Path) -> Path:
    """What a path stands for: of the output folder of a run its ``drift.csv``, else the path itself."""
    source = Path(path).expanduser()
    inside = source / "drift.csv"
    return inside if inside.is_file() else source


def write_shifts(
    drift: Drift,
    path: str | Path,
    *,
    frame: tuple[int, int] | None = None,
    files: Sequence[str] | None = None,
    z_nm: Sequence[float] | None = None,
) -> None:
    """Write a drift by the suffix of its path: ``.csv``, ``.json``, or ``.txt`` for MultiStackReg.

    Parameters
    ----------
    drift
        What to write.
    path
        The file.
    frame
        (rows, columns) of a slice, for the landmarks of MultiStackReg.
    files, z_nm
        (n,) name and position of each slice, for the first two.

    Raises
    ------
    InputError
        The suffix is another one or the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() == ".txt":
        write_stackreg(target, drift.shifts_px, frame)
    elif target.suffix.lower() in (".csv", ".json"):
        drift.save(target, files, z_nm)
    else:
        raise InputError(
            f"{target}: shifts are written as .csv, .json or .txt (for MultiStackReg), not '{target.suffix}'"
        )


def _transforms(source: Path, shifts_are: ShiftsAre) -> Transforms | None:
    """What a file of transforms holds; ``None`` if it is a table of numbers."""
    steps = None if shifts_are == "auto" else shifts_are == "steps"
    found = None
    if source.is_dir():
        if not list(source.glob("*.xml")):
            raise InputError(f"{source} holds no .xml transforms; shifts are read from {_KNOWN}")
        found = read_virtual_stack(source)
    elif source.suffix.lower() == ".npy":
        matrices = _array(source)
        if matrices.ndim != 3:
            return None
        found = Transforms(matrices[:, :2], "pystackreg")
    elif source.suffix.lower() == ".xml":
        head = source.read_bytes()[:200_000]
        if b"t2_patch" not in head and b"trakem2" not in head:
            way = (
                "give the folder that holds them all" if b"iict_transform" in head else f"shifts are read from {_KNOWN}"
            )
            raise InputError(f"{source} is no TrakEM2 project; {way}")
        found = read_trakem2(source)
    elif source.suffix.lower() not in (".csv", ".tsv", ".json"):
        text = read_text(source)
        if text.lstrip().startswith(STACKREG):
            return read_stackreg(source, steps=steps)
        return read_sift_log(source, steps=steps is not False) if SIFT in text else None
    if found is not None and steps:
        found = replace(found, pulls=accumulated(list(found.pulls[1:])))
    return found


def _array(source: Path) -> Float:
    try:
        values = np.asarray(np.load(source, allow_pickle=False), dtype=np.float64)
    except (OSError, ValueError, TypeError):
        raise InputError(f"{source} is no array of numbers that numpy.save wrote") from None
    if values.ndim not in (2, 3) or values.shape[1:] not in ((2,), (3, 3)) or not len(values):
        raise InputError(f"{source}: an array of shape {values.shape} is neither (slices, 2) shifts nor (slices, 3, 3)")
    if not np.isfinite(values).all():
        raise InputError(f"{source} holds numbers that are not finite")
    return values


def _table(source: Path, shifts_are: ShiftsAre, n: int | None) -> Drift:
    if source.suffix.lower() == ".npy":
        drift = Drift(_array(source))
    elif source.suffix.lower() in (".csv", ".tsv", ".json") or _has_header(source):
        drift = Drift.load(source)
    else:
        drift = Drift(_bare_numbers(source))
    if shifts_are != "steps":
        return drift
    steps = drift.shifts_px
    lacking = [k for k in range(1, len(drift)) if drift.flags[k] == _BRIDGED]
    if lacking:
        raise InputError(
            f"{source}: the step to slice {lacking[0]} is not in the table, so that no later place is known"
        )
    if n is not None and len(steps) == n - 1 and drift.flags[0] != _BRIDGED:
        steps = np.concatenate([steps[:1], steps])
    total = np.cumsum(steps, axis=0)
    return Drift(total - total[0], method=drift.method, bad_slices=drift.bad_slices, notes=drift.notes)


def _has_header(source: Path) -> bool:
    first = next((line for line in read_text(source).splitlines() if line.strip() and line[0] != "#"), "")
    return {"dy", "dy_px", "y", "y_px"} & set(first.lower().replace(";", ",").replace("\t", ",").split(",")) != set()


def _bare_numbers(source: Path) -> Float:
    """Lines of two numbers, dy and dx."""
    values = []
    for i, line in enumerate(read_text(source).splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if not words:
            continue
        try:
            dy, dx = (float(word) for word in words)
        except ValueError:
            shown = f"'{line.strip()[:60]}'"
            raise InputError(
                f"{source}, line {i}: {shown} are not two numbers dy dx; shifts are read from {_KNOWN}"
            ) from None
        values.append((dy, dx))
    if not values or not np.isfinite(values).all():
        raise InputError(f"{source} holds no finite shifts; they are read from {_KNOWN}")
    return np.array(values)
