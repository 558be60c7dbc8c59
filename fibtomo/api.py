"""The one call behind command line, napari and scripts, and the result it returns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fibtomo.backend.device import default_workers, select_device
from fibtomo.backend.memory import host_memory
from fibtomo.core.drift import Drift
from fibtomo.core.measurements import Measurements
from fibtomo.core.source import SliceSource
from fibtomo.core.stage import StageDef, get_stage, stage_names
from fibtomo.errors import DeviceMemoryError, InputError
from fibtomo.io.doubts import weighed
from fibtomo.io.facts import is_stated
from fibtomo.io.open import open_stack
from fibtomo.io.stack import Stack
from fibtomo.pipeline.blended import blended
from fibtomo.pipeline.config import InputConfig, PipelineConfig, load_pipeline
from fibtomo.pipeline.execute import DEFAULT_BUDGET, RunOptions, execute, preflight
from fibtomo.pipeline.outputs import write_outputs
from fibtomo.pipeline.plan import Plan
from fibtomo.pipeline.progress import Observer
from fibtomo.pipeline.results import VOLUME, read_record, voxel_of
from fibtomo.pipeline.scheduler import THREADS_OF_A_CARD
from fibtomo.pipeline.self_test import examine

MOST_OF_MEMORY = 0.6
SHARE_OF_DEVICE = 0.8
"""Share of the free memory that blocks may take when nobody set a budget."""


@dataclass(frozen=True)
class Run:
    """A finished run, read lazily from its folder.

    Parameters
    ----------
    path
        The output folder.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        read_record(self.path)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Content of ``run.json``."""
        return read_record(self.path)

    @property
    def volume(self) -> Any:
        """Reconstructed grey volume (z, y, x) as a lazy dask array."""
        return self._array("0")

    @property
    def labels(self) -> Any:
        """Phase labels (z, y, x), uint8, as a lazy dask array; 255 lies outside the field of view."""
        return self._array("labels/phases/0")

    @property
    def objects(self) -> Any:
        """Object labels (z, y, x), uint32, as a lazy dask array."""
        return self._array("labels/objects/0")

    @property
    def channels(self) -> dict[str, Any]:
        """Further channels (z, y, x) that the run carried along, by name, as lazy dask arrays on the volume's grid."""
        import dask.array as da

        volumes = self.provenance.get("channels", {})
        return {name: da.from_zarr(str(self.path / folder / "0")) for name, folder in volumes.items()}

    @cached_property
    def voxel_nm(self) -> tuple[float, float, float] | None:
        """(dz, dy, dx) of the volume; ``None`` if the run was in voxels."""
        return voxel_of(self.path)

    @property
    def drift(self) -> Drift | None:
        """Estimated drift, if the pipeline estimated one."""
        path = self.path / "drift.csv"
        return Drift.from_csv(path) if path.is_file() else None

    @property
    def measurements(self) -> Measurements | None:
        """Measurements and object table, if the pipeline measured."""
        path = self.path / "measurements.json"
        return Measurements.from_json(path) if path.is_file() else None

    @property
    def report_path(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def surface_paths(self) -> list[Path]:
        """Surface meshes."""
        return sorted(self.path.glob("surface_*.ply"))

    def _array(self, name: str) -> Any:
        path = self.path / VOLUME / name
        if not path.is_dir():
            raise InputError(f"{self.path} has no {VOLUME}/{name}: its pipeline did not make it")
        import dask.array as da

        return da.from_zarr(str(path))


def run(
    input: str | Path | SliceSource | Any,  # noqa: A002 - the public name
    output: str | Path,
    pipeline: str | Path | PipelineConfig = "default",
    *,
    device: str = "auto",
    scheduler: str | None = None,
    resume: bool = True,
    overwrite: bool = False,
    settings: Sequence[str] = (),
    import_shifts: str | Path | None = None,
    shifts_are: str = "auto",
    workers: int | None = None,
    memory_bytes: float | None = None,
    keep_work: bool = False,
    look: bool = True,
    observer: Observer | None = None,
    command: str = "",
    **overrides: Any,
) -> Run:
    """Reconstruct, segment and measure a stack of slices into a folder.

    Parameters
    ----------
    input
        Folder or file of slices (see `open_stack`), a `Stack`, or a (z, y, x) array.
    output
        Folder to make; see ``README.md`` for what stands in it afterwards.
    pipeline
        Name of a shipped pipeline, path of a YAML file, or a `PipelineConfig`.
    device
        "auto", "cpu", "cuda" or "cuda:N".
    scheduler
        Address of a Dask scheduler; by default threads of this process.
    resume, overwrite
        Go on with an unfinished run found in `output`; replace a finished one.
    settings
        Changes to the pipeline, each ``"stage.param=value"``.
    import_shifts, shifts_are
        File with the drift, which is then not measured, and whether it holds "steps" or "cumulative" shifts; see
        `fibtomo.io.shifts.read_shifts`.
    workers, memory_bytes
        Blocks at a time, and the bytes they may take together (default 1.5 GiB, or what the widest slices need; on a
        CUDA device four fifths of its free memory).
    keep_work
        Keep intermediate arrays.
    look
        Let the slices themselves speak for or against what is known of their scale; see `look_at`.
    observer
        Told of progress; may cancel.
    command
        Command line for the record.
    **overrides
        Passed to `open_stack`: ``voxel_nm``, ``column_angle_deg``, ``tilt_corrected``, ``tracked``,
        ``accept_guess``, ...

    Returns
    -------
    Run
        The results, read lazily from `output`.

    Raises
    ------
    FibtomoError
        One sentence that says what is wrong and what to do; finished blocks are kept.
    """
    config = prepare_pipeline(pipeline, settings, import_shifts, shifts_are)
    source = open_input(input, config.input, overrides, look=look)
    options = make_options(device, scheduler, workers, memory_bytes, resume, overwrite, keep_work, command)
    if memory_bytes is None:
        options = enough_memory(config, source, options)
    out = Path(output)
    execute(config, source, out, options, write_outputs, observer)
    return Run(out)


def plan(
    input: str | Path | SliceSource | Any,  # noqa: A002 - the public name
    pipeline: str | Path | PipelineConfig = "default",
    *,
    device: str = "auto",
    settings: Sequence[str] = (),
    workers: int | None = None,
    memory_bytes: float | None = None,
    look: bool = True,
    **overrides: Any,
) -> Plan:
    """Return what `run` would do: sections, slabs and memory; raises what `run` would raise before work."""
    config = prepare_pipeline(pipeline, settings)
    source = open_input(input, config.input, overrides, look=look)
    options = make_options(device, None, workers, memory_bytes)
    if memory_bytes is None:
        options = enough_memory(config, source, options)
    return preflight(config, source, options)


def prepare_pipeline(
    pipeline: str | Path | PipelineConfig,
    settings: Sequence[str] = (),
    import_shifts: str | Path | None = None,
    shifts_are: str = "auto",
) -> PipelineConfig:
    """Load a pipeline, take its drift from a file if one is given, and apply ``stage.param=value`` settings."""
    config = pipeline if isinstance(pipeline, PipelineConfig) else load_pipeline(pipeline)
    if import_shifts is not None:
        config = config.with_drift_from(import_shifts, shifts_are)
    elif shifts_are != "auto":
        raise InputError(f"shifts_are = {shifts_are} says how to read a file of shifts: give --import-shifts as well")
    return config.with_settings([settings] if isinstance(settings, str) else list(settings))


def open_input(source: Any, stated: InputConfig, overrides: dict[str, Any], *, look: bool = False) -> Any:
    """Open the input of a run; what the caller says, now or of an open stack, outranks what the pipeline file says.

    An open stack stays with its channel. Guesses that either of them accepts are accepted. A channel "A+B" is the
    `blended` one. With `look`, see `look_at`.
    """
    facts = {k: v for k, v in stated.model_dump().items() if v is not None and not _said_before(source, k)}
    accepted = (*facts.get("accept_guess", ()), *_names(overrides.get("accept_guess") or ()))
    facts.update({k: v for k, v in overrides.items() if v is not None})
    if accepted:
        facts["accept_guess"] = accepted
    first, blend, second = str(facts.get("channel") or "").partition("+")
    if blend:
        facts["channel"] = first
    opened = source if isinstance(source, SliceSource) and not facts else open_stack(source, **facts)
    if blend and isinstance(opened, Stack):
        opened = blended(opened, second)
    return look_at(opened) if look and isinstance(opened, Stack) else opened


def look_at(stack: Stack) -> Stack:
    """Return `stack` with what its own slices say of tilt, tracking and thickness weighed against what is known.

    Reads up to 24 slices, once; a stack that was looked at, or that has no scale, comes back as it is. `run`, ``info``
    and the napari panel do this by themselves. What was seen stands in `Stack.evidence` and, where it filled a gap or
    contradicts anything, in `Stack.calibration` and `Stack.warnings`.

    Examples
    --------
    >>> from fibtomo.phantom import acquire
    >>> spheres = {"kind": "particles", "radius_nm": 40.0}
    >>> slices = acquire(spheres, shape=(12, 192, 192), artefacts="none", oversample=1).slices
    >>> stack = look_at(open_stack(slices, voxel_nm=(10, 5, 5), column_angle_deg=52))
    >>> stack.tilt_corrected, stack.calibration.tilt_corrected.origin
    (False, 'self-test of the slices')
    """
    if stack.evidence is not None or stack.calibration.others.get("in_voxels"):
        return stack
    found = examine(stack)
    return weighed(stack, found.evidence, found.warnings)


def _said_before(source: Any, name: str) -> bool:
    """Whether the user stated a fact when a stack was opened."""
    if not isinstance(source, Stack):
        return False
    known = source.calibration
    if name == "voxel_nm":
        return bool(known.others.get("in_voxels")) or is_stated(known.pixel_nm) or is_stated(known.slice_nm)
    if name in ("channel", "companions"):
        return name == "channel" or bool(source.companions)
    return name != "accept_guess" and is_stated(getattr(known, name))


def _names(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names


def make_options(
    device: str,
    scheduler: str | None,
    workers: int | None,
    memory_bytes: float | None,
    resume: bool = True,
    overwrite: bool = False,
    keep_work: bool = False,
    command: str = "",
) -> RunOptions:
    """Settle device, workers and memory budget."""
    chosen = select_device(device)
    on_card = chosen.kind != "cpu"
    return RunOptions(
        device=chosen.label,
        device_name=chosen.name,
        device_versions=chosen.versions,
        scheduler=scheduler,
        workers=workers or (max(THREADS_OF_A_CARD, default_workers()) if on_card else default_workers()),
        budget=memory_bytes or (SHARE_OF_DEVICE * chosen.free_bytes if on_card else DEFAULT_BUDGET),
        host_budget=MOST_OF_MEMORY * host_memory()[0] if on_card else float("inf"),
        resume=resume,
        overwrite=overwrite,
        keep_work=keep_work,
        command=command,
    )


def enough_memory(config: PipelineConfig, source: SliceSource, options: RunOptions) -> RunOptions:
    """Raise the default budget to what the widest slices need, as long as the machine has it to spare.

    On a CUDA device the default is most of its free memory already.
    """
    if options.device != "cpu":
        preflight(config, source, options)
        return options
    spare = MOST_OF_MEMORY * host_memory()[0]
    while True:
        try:
            preflight(config, source, options)
        except DeviceMemoryError as error:
            wanted = 2 * (error.needed_bytes or float("inf"))
            if options.budget >= spare or (error.needed_bytes or float("inf")) > spare:
                raise
            options = replace(options, budget=min(wanted, spare))
        else:
            return options


def stages() -> dict[str, StageDef]:
    """All registered stages by name."""
    return {name: get_stage(name) for name in stage_names()}
