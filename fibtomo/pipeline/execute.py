"""From a checked pipeline and a stack to the finished output folder, resumable at every block."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import fibtomo
from fibtomo.core.resolve import missing_scale, question_of_guesses
from fibtomo.core.source import SliceSource
from fibtomo.core.stage import Kind, StageContext
from fibtomo.core.volume import Table
from fibtomo.errors import CalibrationError, InputError
from fibtomo.io.ome import multiscales, write_group
from fibtomo.io.zarr_store import ZarrSource, create_array, use_fast_codecs
from fibtomo.pipeline.block import SectionJob, combine_section, run_block, seconds_of
from fibtomo.pipeline.budget import Machine
from fibtomo.pipeline.channels import bad_slices, carried, grey_stages, roles_given, volume_name
from fibtomo.pipeline.config import PipelineConfig
from fibtomo.pipeline.ledger import Ledger, locked, read_table, write_table
from fibtomo.pipeline.plan import Plan, PlannedSection, Resolver, make_plan
from fibtomo.pipeline.progress import Observer, SilentObserver
from fibtomo.pipeline.pyramid import build_pyramid
from fibtomo.pipeline.report_data import CALIBRATION
from fibtomo.pipeline.results import VOLUME
from fibtomo.pipeline.scheduler import answering, run_tasks
from fibtomo.pipeline.sections import INPUT, Section, build_sections

DEFAULT_BUDGET = 3 << 29


@dataclass(frozen=True)
class RunOptions:
    """How, not what: none of this changes the result.

    Attributes
    ----------
    device
        "cpu" or "cuda:N".
    device_name, device_versions
        For the record.
    scheduler
        Address of a Dask scheduler, or "gpus" for one worker on each card of this machine; ``None`` uses threads.
    workers, budget
        Blocks at a time, and the bytes they may take together where they are computed.
    host_budget
        Bytes of main memory that blocks may take before and after a CUDA device.
    resume, overwrite, keep_work
        Go on with an unfinished run; replace a finished one; keep intermediate arrays.
    command
        The command line to repeat the run.
    """

    device: str = "cpu"
    device_name: str = "CPU"
    device_versions: str = ""
    scheduler: str | None = None
    workers: int = 2
    budget: float = DEFAULT_BUDGET
    host_budget: float = float("inf")
    resume: bool = True
    overwrite: bool = False
    keep_work: bool = False
    command: str = ""

    @property
    def machine(self) -> Machine:
        """For the planner."""
        return Machine(self.budget, self.workers, self.device != "cpu", self.host_budget)


@dataclass
class RunState:
    """What a run has made, for the writers of outputs.

    Attributes
    ----------
    out, config, source, options
        As given.
    arrays
        Final arrays by kind ("grey", "phases", "objects"); "corrected" is the last grey array in the slice frame.
    tables
        Tables by role.
    files
        Hash of what each file holds that a parameter names.
    timings
        (what, seconds over all workers, voxels).
    resumed, started, wall_s
        Of this process.
    channel
        Name of the channel, where it is not the main one.
    channels
        Volumes of the other channels by name, once they were made.
    """

    out: Path
    config: PipelineConfig
    source: SliceSource
    options: RunOptions
    ledger: Ledger
    arrays: dict[str, ZarrSource] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    timings: list[tuple[str, float, int]] = field(default_factory=list)
    resumed: bool = False
    started: str = ""
    wall_s: float = 0.0
    channel: str = ""
    channels: dict[str, SliceSource] = field(default_factory=dict)


Finish = Callable[[RunState, Observer], None]


def preflight(config: PipelineConfig, source: SliceSource, options: RunOptions) -> Plan:
    """Check everything that can be checked before work begins; returns the plan.

    Raises
    ------
    CalibrationError, PipelineError, DeviceMemoryError
        What stands in the way, in one sentence.
    """
    question = missing_scale(source.calibration) or question_of_guesses(
        source.calibration, shear_from_images=_shear_from_images(config)
    )
    if question:
        raise CalibrationError(question)
    for call in config.calls:
        if call.stage.kind is Kind.WARP:  # what follows sees another grid
            break
        if call.stage.check is not None:
            call.stage.check(call.params, source.spec)
    plan = make_plan(config, source.spec, source.calibration, options.machine)
    for name, other in carried(source).items():
        greys, tables = grey_stages(config), [c.stage.produces for c in config.calls if c.stage.produces]
        given = roles_given(greys, tables)
        more = make_plan(greys, other.spec, other.calibration, options.machine, given, name)
        plan = replace(plan, sections=plan.sections + more.sections)
    return plan


def _shear_from_images(config: PipelineConfig) -> bool:
    """Whether measured drift replaces the shear that follows from the acquisition."""
    drift = any(call.stage.produces == "drift" for call in config.calls)
    return drift and all(getattr(call.params, "shear", "auto") != "geometry" for call in config.calls)


def execute(
    config: PipelineConfig,
    source: SliceSource,
    out: Path,
    options: RunOptions,
    finish: Finish,
    observer: Observer | None = None,
) -> RunState:
    """Run a pipeline over a stack into the folder `out`.

    Parameters
    ----------
    config, source, options
        What, on what, how.
    out
        Output folder; claimed for the duration of the run.
    finish
        Writes the outputs from the finished `RunState`.
    observer
        Told of progress.

    Raises
    ------
    FibtomoError
        See `preflight` and `Ledger.open`; finished blocks are always kept.
    """
    watcher: Observer = observer or SilentObserver()
    preflight(config, source, options)
    files = _files(config)
    use_fast_codecs()
    with answering(options.scheduler) as scheduler, locked(out):
        options = replace(options, scheduler=scheduler)
        ledger = Ledger(out)
        record = {
            "input": source.fingerprint(),
            "calibration": _calibration_record(source),
            "pipeline": {k: v for k, v in config.to_dict().items() if k != "summary"},
            "version": fibtomo.__version__,
        }
        channels = {name: volume_name(name) for name in carried(source)}
        if channels:
            record["channels"] = channels
        if files:
            record["file among the parameters"] = files
        started = datetime.now(UTC).isoformat(timespec="seconds")
        state = RunState(out, config, source, options, ledger, files=files, started=started)
        start = perf_counter()
        state.resumed = ledger.open(Ledger.identity(record), record, resume=options.resume, overwrite=options.overwrite)
        if state.resumed:
            watcher.message("resuming the unfinished run found in the output folder")
        _run_sections(state, watcher)
        _carry(state, watcher)
        state.wall_s = perf_counter() - start
        finish(state, watcher)
        ledger.close(keep=options.keep_work)
    return state


def _files(config: PipelineConfig) -> dict[str, str]:
    """Hash of what each file holds that a parameter names; of a folder, of all files in it.

    Raises
    ------
    InputError
        A file cannot be read.
    """
    found = {}
    for call in config.calls:
        for name in call.stage.files(call.params) if call.stage.files else ():
            path = Path(name).expanduser()
            digest = hashlib.sha256()
            try:
                for part in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
                    digest.update(part.read_bytes())
            except OSError as error:
                raise InputError(f"{call.name}: {path} cannot be read ({error.strerror or error})") from None
            found[name] = digest.hexdigest()
    return found


def _calibration_record(source: SliceSource) -> dict[str, Any]:
    c = source.calibration
    return {name: getattr(c, name).value for name in CALIBRATION}


def _run_sections(state: RunState, observer: Observer) -> None:
    sections = build_sections(state.config, tuple(state.tables), state.channel)
    source, options = state.source, state.options
    resolver = Resolver(sections, source.spec, source.calibration, options.machine)
    noted = state.ledger.noted("slabs") or {}
    resolver.slabs.update({int(grid): int(slab) for grid, slab in noted.items()})
    sources: dict[str, SliceSource] = {INPUT: source}
    _add_tables(state, {"input": {"bad_slices": bad_slices(source)}})
    for section in sections:
        if section.sees_channels:
            _carry(state, observer)
        planned = resolver.resolve(section, state.tables)
        state.ledger.note("slabs", {str(k): v for k, v in resolver.slabs.items()})
        job = SectionJob(
            section=section,
            source=sources[section.source],
            out=planned.out,
            slab=planned.slab,
            out_dir=state.out,
            roles=tuple(state.tables),
            calibration=source.calibration,
            device=options.device,
            channels=state.channels,
        )
        _add_tables(state, _side_tables(job, planned, state.tables))
        job = replace(job, roles=tuple(state.tables))
        made = _output_of(state, section, planned)
        _run_section(state, job, planned.workers, observer)
        if made is not None and section.output:
            sources[section.output] = made
            state.arrays[section.kind] = made
            if section.kind == "grey" and made.spec.frame == "slice":
                state.arrays["corrected"] = made


def _carry(state: RunState, observer: Observer) -> None:
    """Take every other channel through the geometry of this one, unless that is done."""
    for name, source in carried(state.source).items():
        if name not in state.channels:
            state.channels[name] = _carried(state, name, source, observer)


def _carried(state: RunState, name: str, source: SliceSource, observer: Observer) -> SliceSource:
    """Volume of another channel: a run within the run, with a ledger of its own; the slices if nothing changes them."""
    config, place = grey_stages(state.config), state.out / volume_name(name)
    folder = state.ledger.work / "channels" / place.stem
    inner = RunState(folder, config, source, state.options, Ledger(folder, place), channel=name)
    inner.ledger.work.mkdir(parents=True, exist_ok=True)
    _add_tables(inner, {role: state.tables[role] for role in roles_given(config, state.tables)})
    _run_sections(inner, observer)
    if "grey" not in inner.arrays:
        return source
    state.timings += [(f"{name}: {what}", seconds, voxels) for what, seconds, voxels in inner.timings]
    array = inner.arrays["grey"]
    if not place.is_dir():
        finish_image(inner, array, name, observer)
        inner.ledger.array_path(VOLUME).replace(place)
    return replace(array, path=place / "0")


def finish_image(state: RunState, array: ZarrSource, name: str, observer: Observer) -> None:
    """Make an OME-Zarr image of the array "0" of a folder: the coarser levels beside it, and the metadata."""
    labels = array.spec.kind != "grey"
    shapes = build_pyramid(
        state.ledger,
        array.path,
        labels=labels,
        levels=state.config.output.pyramid_levels,
        scheduler=state.options.scheduler,
        workers=state.options.workers,
        observer=observer,
    )
    write_group(array.path.parent, multiscales(name, shapes, array.spec.voxel_nm, labels=labels))


def _side_tables(job: SectionJob, planned: PlannedSection, tables: dict[str, Table]) -> dict[str, Table]:
    call = job.section.warp
    if call is None or call.stage.side_tables is None:
        return {}
    ctx = StageContext(planned.source, 0, (0, 0), tables, job.calibration, planned.out)
    return call.stage.side_tables(call.params, ctx)


def _add_tables(state: RunState, tables: dict[str, Table]) -> None:
    for role, table in tables.items():
        path = state.ledger.table_path(role)
        if not path.is_file():
            write_table(path, table)
        state.tables[role] = read_table(path)


def _output_of(state: RunState, section: Section, planned: PlannedSection) -> ZarrSource | None:
    """Create the section's array unless a resumed run has begun it."""
    if section.output is None:
        return None
    path = state.ledger.array_path(section.output)
    if not state.ledger.finished(f"{section.index:02d}"):
        create_array(path, planned.out.shape, planned.out.dtype, planned.slab)
    return ZarrSource(path, planned.out, state.source.calibration)


def _run_section(state: RunState, job: SectionJob, workers: int, observer: Observer) -> None:
    done = state.ledger.finished(job.key)
    todo = [z0 for z0 in job.starts if z0 not in done]
    observer.begin(job.section.title, len(job.starts), len(done))
    run_tasks(
        partial(run_block, job),
        todo,
        scheduler=state.options.scheduler,
        workers=workers,
        observer=observer,
        device=job.device,
    )
    roles = [c.stage.produces for c in job.section.measures if c.stage.produces]
    roles += [role for role in job.section.notes if role]
    if not all(state.ledger.table_path(role).is_file() for role in roles):
        for role, table in combine_section(job).items():
            write_table(state.ledger.table_path(role), table)
    for role in roles:
        state.tables[role] = read_table(state.ledger.table_path(role))
    voxels = int(np.prod([float(n) for n in job.out.shape]))
    state.timings += [(name, seconds, voxels) for name, seconds in seconds_of(job).items()]
    observer.end()
