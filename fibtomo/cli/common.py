"""What the commands share: options of a stack, memory sizes, progress bar, messages."""

import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from inspect import Signature, signature
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fibtomo.core.volume import ORIENTATIONS
from fibtomo.errors import CalibrationError, InputError

_TITLE = 44
"""Longest title of a progress bar, so that bar and rate stay visible on 100 columns."""

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
errors = Console(stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else 110)

_ACQUISITION = "Acquisition"


_fact = partial(typer.Option, rich_help_panel=_ACQUISITION)


VoxelNm = Annotated[
    str | None,
    _fact(
        "--voxel-nm",
        metavar="DZ DY DX",
        help="Slice thickness, pixel height and width in nm; or 'unknown' to run in voxels.",
    ),
]
Dataset = Annotated[str | None, _fact("--dataset", help="Dataset inside an HDF5 file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.PARAM=VALUE", help="Change a parameter; STAGE=off leaves a stage out."),
]
Memory = Annotated[str | None, typer.Option("--memory", help="Budget of all blocks under way, such as 2GB.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Blocks at a time.")]


NoLook = Annotated[
    bool, typer.Option("--no-look", hidden=True, help="Do not let the slices speak; they are not asked yet.")
]


def stack_options(
    voxel_nm: VoxelNm = None,
    column_angle_deg: Annotated[
        float | None, _fact("--column-angle-deg", help="Angle between the two columns.")
    ] = None,
    tilt_corrected: Annotated[
        str | None, _fact("--tilt-corrected", metavar="yes|no", help="Scan corrected the tilt.")
    ] = None,
    tracked: Annotated[
        str | None, _fact("--tracked", metavar="yes|no", help="Field of view followed the face.")
    ] = None,
    overtilt_deg: Annotated[
        float | None, _fact("--over-tilt-deg", "--overtilt-deg", help="Over-tilt of the face against the ion beam.")
    ] = None,
    face_tilt_deg: Annotated[
        float | None, _fact("--face-tilt-deg", help="Measured angle between electron beam and face normal.")
    ] = None,
    sample_tilt_deg: Annotated[
        float | None, _fact("--sample-tilt-deg", help="Tilt of the sample surface: stage tilt minus pre-tilt.")
    ] = None,
    orientation: Annotated[
        str | None,
        _fact("--orientation", metavar="HOW", help=f"How the images lie on the face: {', '.join(ORIENTATIONS)}."),
    ] = None,
    accept_guess: Annotated[
        list[str] | None, _fact("--accept-guess", metavar="NAME", help="Let a guessed fact stand, as slice_nm.")
    ] = None,
    channel: Annotated[
        str | None, _fact("--channel", help="Detector, where there are several; A+B blends two for least noise.")
    ] = None,
    companions: Annotated[
        list[str] | None,
        _fact("--with", metavar="NAME", help="Detector to carry through the same geometry; repeatable."),
    ] = None,
    dataset: Dataset = None,
    shape: Annotated[
        tuple[int, int, int] | None, _fact("--shape", metavar="Z Y X", help="Shape of raw voxels without a header.")
    ] = None,
    dtype: Annotated[str | None, _fact("--dtype", help="Type of raw voxels, as uint16.")] = None,
    pattern: Annotated[str | None, _fact("--pattern", help="Read only files named so, as '*_SE.tif'.")] = None,
    skip_bad: Annotated[bool, _fact("--skip-bad", help="Bridge slices that cannot be read.")] = False,
    keep_info_bar: Annotated[bool, _fact("--keep-info-bar", help="Do not cut the text bar off.")] = False,
) -> dict[str, Any]:
    """Turn the command-line options of a stack into keyword arguments of `open_stack`, without what was not given."""
    options = {
        "voxel_nm": _voxel(voxel_nm),
        "column_angle_deg": column_angle_deg,
        "tilt_corrected": _yes_no("--tilt-corrected", tilt_corrected),
        "tracked": _yes_no("--tracked", tracked),
        "overtilt_deg": overtilt_deg,
        "face_tilt_deg": face_tilt_deg,
        "sample_tilt_deg": sample_tilt_deg,
        "orientation": orientation,
        "accept_guess": tuple(accept_guess) if accept_guess else None,
        "channel": channel,
        "companions": tuple(companions) if companions else None,
        "dataset": dataset,
        "shape": shape,
        "dtype": dtype,
        "pattern": pattern,
        "skip_bad": True if skip_bad else None,
        "crop_info_bar": False if keep_info_bar else None,
    }
    return {k: v for k, v in options.items() if v is not None}


def takes_stack(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `stack_options`; they reach it as one dictionary, its argument `stated`."""
    theirs = signature(stack_options).parameters

    @wraps(command)
    def with_options(**values: Any) -> None:
        stated = stack_options(**{name: values.pop(name) for name in theirs})
        command(**values, stated=stated)

    own = [p for name, p in signature(command).parameters.items() if name != "stated"]
    parameters = [*own, *theirs.values()]
    with_options.__signature__ = Signature(parameters)
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def refuse_guess(path: str, stack: Any) -> None:
    """Refuse a stack whose voxel size is only a guess.

    Raises
    ------
    CalibrationError
        It is.
    """
    for fact in (stack.calibration.pixel_nm, stack.calibration.slice_nm):
        if fact.confidence == "guess":
            raise CalibrationError(
                f"the voxel size of {path} is only a guess ({fact.origin}): give --voxel-nm DZ DY DX, or --voxel-nm "
                f"unknown to work in voxels"
            )


def _voxel(text: str | None) -> tuple[float, ...] | str | None:
    if text is None or text == "unknown":
        return text
    try:
        values = tuple(float(t) for t in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or min(values) <= 0:
        raise InputError(
            f"--voxel-nm {text.replace(',', ' ')} must be three positive lengths DZ DY DX in nm, or 'unknown'"
        )
    return values


def _yes_no(option: str, text: str | None) -> bool | None:
    if text is None:
        return None
    known = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
    if text.lower() not in known:
        raise InputError(f"{option} {text} must be yes or no")
    return known[text.lower()]


def memory_bytes(text: str | None) -> float | None:
    """Read sizes such as "2GB", "800 MiB" or "1.5e9"."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9.eE+]+)\s*([kKmMgGtT]?)(i?)[bB]?\s*", text)
    try:
        value = float(match.group(1)) if match else 0.0
    except ValueError:
        value = 0.0
    if not match or value <= 0:
        raise InputError(f"--memory {text} must be a size such as 2GB or 800MiB")
    base = 1024 if match.group(3) else 1000
    return value * base ** " kmgt".index(match.group(2).lower() or " ")


def join_voxel_arguments(argv: list[str]) -> list[str]:
    """Make ``--voxel-nm 10 5 5`` one argument, ``--voxel-nm=10,5,5``, as option parsers want it."""
    joined: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--voxel-nm":
            numbers: list[str] = []
            while rest and len(numbers) < 3 and _is_number(rest[0]):
                numbers.append(rest.pop(0))
            if numbers:
                word = f"--voxel-nm={','.join(numbers)}"
        joined.append(word)
    return joined


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def command_line() -> str:
    """The command as typed, fit to be pasted into a shell."""
    return shlex.join(["fibtomo", *sys.argv[1:]])


@dataclass
class BarObserver:
    """Shows one progress bar per section, with rate and time left."""

    quiet: bool = False
    voxels: float = 0.0
    progress: Progress = field(init=False)
    task: TaskID | None = None

    def __post_init__(self) -> None:
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=errors,
            disable=self.quiet,
        )

    def __enter__(self) -> "BarObserver":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, title: str, total: int, done: int) -> None:
        """Start a bar."""
        self.voxels = 0.0
        short = title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"
        self.task = self.progress.add_task(short, total=total, completed=done, rate="")

    def advance(self, voxels: int) -> None:
        """Move the bar by one block."""
        if self.task is None:
            return
        self.voxels += voxels
        elapsed = self.progress.tasks[-1].elapsed or 0.0
        rate = f"{self.voxels / elapsed / 1e6:.0f} Mvox/s" if elapsed > 0 else ""
        self.progress.update(self.task, advance=1, rate=rate)

    def end(self) -> None:
        """Leave the finished bar standing."""
        self.task = None

    def message(self, text: str) -> None:
        """Print a line above the bars."""
        if not self.quiet:
            self.progress.console.print(f"  {text}")

    def cancelled(self) -> bool:
        """Ctrl-C is how the terminal cancels."""
        return False
