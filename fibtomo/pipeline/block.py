"""One block: read a slab with its halo, run the section's stages, measure, write whole shards, sign it off."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_dtype, to_host
from fibtomo.backend.lane import HOST_WAY, Way, way_over
from fibtomo.core.source import SliceSource
from fibtomo.core.stage import Kind, StageContext
from fibtomo.core.volume import Calibration, Table, VolumeSpec
from fibtomo.errors import DeviceMemoryError
from fibtomo.io.zarr_store import write_slab
from fibtomo.pipeline.config import Call
from fibtomo.pipeline.ledger import Ledger, read_table, write_table
from fibtomo.pipeline.plan import Halo, halo_of
from fibtomo.pipeline.sections import Section

NOTES = "notes/"
_Noted = list[tuple[str, int, Table]]  # role, first slice, arrays over slices


@dataclass(frozen=True)
class SectionJob:
    """All a worker must know of a section, wherever it runs; small and picklable.

    Attributes
    ----------
    section, source, out, slab
        What to do, where to read, the spec of the result and the slices per block.
    out_dir
        Output folder of the run, seen by every worker.
    roles
        Tables that stages of this section may read.
    calibration, device
        Of the acquisition; "cpu" or "cuda:N".
    channels
        The other channels on the grid of the result, by name.
    """

    section: Section
    source: SliceSource
    out: VolumeSpec
    slab: int
    out_dir: Path
    roles: tuple[str, ...]
    calibration: Calibration
    device: str = "cpu"
    channels: dict[str, SliceSource] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of the section's folder in the ledger."""
        return f"{self.section.index:02d}"

    @property
    def starts(self) -> range:
        """First slice of every block."""
        return range(0, self.out.shape[0], self.slab)


@lru_cache(maxsize=64)
def _cached_table(path: str, _mtime_ns: int) -> Table:
    return read_table(Path(path))


def load_tables(ledger: Ledger, roles: tuple[str, ...]) -> dict[str, Table]:
    """Read the named tables; each worker keeps them until they change."""
    tables = {}
    for role in roles:
        path = ledger.table_path(role)
        if path.is_file():
            tables[role] = _cached_table(str(path), path.stat().st_mtime_ns)
    return tables


class _Clock:
    """Seconds spent by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - start


@dataclass
class _Course:
    """A block under way: the device it goes over, the time it takes, the tables it reads and what it notes."""

    way: Way
    clock: _Clock
    tables: dict[str, Table]
    noted: _Noted

    @contextmanager
    def computing(self, name: str) -> Iterator[None]:
        """Compute on the device, and let `name` have the time."""
        with self.way.working(), self.clock(name):
            yield
            self.way.settle()

    def read(self, source: SliceSource, z0: int, z1: int) -> Any:
        """Slices [z0, z1) on the device."""
        with self.clock("read"):
            block = source.read(z0, z1)
        if not self.way.remote:
            return block
        with self.clock("upload"):
            return self.way.upload(block)

    def channels_of(self, job: SectionJob, calls: tuple[Call, ...], z0: int, z1: int) -> dict[str, Any]:
        """Slices [z0, z1) of the other channels, if one of the stages sees them."""
        if not any(call.stage.sees_channels for call in calls):
            return {}
        return {name: self.read(source, z0, z1) for name, source in job.channels.items()}


def run_block(job: SectionJob, z0: int) -> int:
    """Do block `z0` of a section and sign it off in the ledger; returns the voxels done."""
    ledger = Ledger(job.out_dir)
    clock = _Clock()
    z1 = min(z0 + job.slab, job.out.shape[0])
    tables = load_tables(ledger, job.roles)
    noted: _Noted = []
    with way_over(job.device) as way:
        core, partials = _computed(job, z0, z1, _Course(way, clock, tables, noted))
    if core is not None:
        with clock("write"):
            write_slab(ledger.array_path(job.section.output or ""), z0, core)
    kept = {**partials, **_notes_of(noted, z0, z1), "seconds": clock.seconds}
    write_table(ledger.block_path(job.key, z0), kept)
    return (z1 - z0) * job.out.shape[1] * job.out.shape[2]


def _computed(job: SectionJob, z0: int, z1: int, course: _Course) -> tuple[NDArray[Any] | None, Table]:
    """What is to be written of [z0, z1), on the host, and what was measured; nothing of it stays on the device."""
    lo, block = _extended(job, z0, z1, halo_of(job.section, job.out), course)
    partials = _measure(job, block, lo, z0, z1, course)
    if not job.section.output:
        return None, partials
    with course.way.working():
        core = namespace(block).ascontiguousarray(block[z0 - lo : z1 - lo])
    if not course.way.remote:
        return core, partials
    with course.clock("download"):
        return course.way.download(core), partials


def _notes_of(noted: _Noted, z0: int, z1: int) -> Table:
    """What stages noted of slices [z0, z1); keys are "notes/role/name"."""
    pieces: dict[str, list[Any]] = {}
    for role, first, table in sorted(noted, key=lambda piece: piece[1]):
        for name, values in table.items():
            pieces.setdefault(f"{NOTES}{role}/{name}", []).append(values[max(z0 - first, 0) : max(z1 - first, 0)])
    return {key: np.concatenate(parts) for key, parts in pieces.items()}


def _extended(job: SectionJob, z0: int, z1: int, halo: Halo, course: _Course) -> tuple[int, Any]:
    """Return the block for [z0, z1) widened by the measures' halo, in the stored type, and its first slice."""
    n = job.out.shape[0]
    lo, hi = max(0, z0 - halo.measure[0]), min(n, z1 + halo.measure[1])
    return lo, _chain(job, lo, hi, halo, course)


def _chain(job: SectionJob, z0: int, z1: int, halo: Halo, course: _Course) -> Any:
    """Run the local stages for [z0, z1), up to the stored type; where memory runs out, in two halves."""
    before = len(course.noted)
    try:
        return _chain_once(job, z0, z1, halo, course)
    except MemoryError:
        if not course.way.remote and _whole(job, z0, z1):
            raise _too_large(job, z0) from None
    del course.noted[before:]
    course.way.trim()
    if _whole(job, z0, z1):
        return _chained_on_host(job, z0, z1, halo, course)
    middle = (z0 + z1) // 2
    parts = [_chain(job, a, b, halo, course) for a, b in ((z0, middle), (middle, z1))]
    with course.way.working():
        return namespace(parts[0]).concatenate(parts)


def _whole(job: SectionJob, z0: int, z1: int) -> bool:
    """Whether a block cannot be cut any further."""
    return z1 - z0 < 2 or any(c.stage.kind is Kind.REDUCE for c in job.section.local)


def _chained_on_host(job: SectionJob, z0: int, z1: int, halo: Halo, course: _Course) -> Any:
    """The last way out where a device is too small: its twin in main memory, which gives the same."""
    block = _chain_once(job, z0, z1, halo, replace(course, way=HOST_WAY))
    try:
        return course.way.upload(block)
    except MemoryError:
        raise _too_large(job, z0) from None


def _chain_once(job: SectionJob, z0: int, z1: int, halo: Halo, course: _Course) -> Any:
    section, n = job.section, job.out.shape[0]
    lo, hi = max(0, z0 - halo.local[0]), min(n, z1 + halo.local[1])
    spec, tables = job.source.spec, course.tables
    if section.warp is None:
        block = course.read(job.source, lo, hi)
    else:
        stage, params = section.warp.stage, section.warp.params
        ctx = StageContext(spec, 0, (0, 0), tables, job.calibration, job.out, (lo, hi))
        a, b = stage.source_range(params, ctx) if stage.source_range else (0, spec.shape[0])
        source = course.read(job.source, a, b)
        ctx = StageContext(spec, a, (0, b - a), tables, job.calibration, job.out, (lo, hi))
        with course.computing(section.warp.name):
            block = stage.apply(source, params, ctx) if stage.apply else source
        spec = job.out
    channels = course.channels_of(job, section.local, lo, hi)
    for call, role in zip(section.local, section.notes, strict=True):
        ctx = StageContext(spec, lo, (z0 - lo, z1 - lo), tables, job.calibration, channels=channels)
        with course.computing(call.name):
            block = call.stage.apply(block, call.params, ctx) if call.stage.apply else block
            notes = {name: to_host(v)[z0 - lo : z1 - lo] for name, v in ctx.notes.items()}
        if role:
            course.noted.append((role, z0, notes))
    with course.way.working():
        own = block if len(block) == z1 - z0 else block[z0 - lo : z1 - lo]
        return to_dtype(own, job.out.dtype)


def _measure(job: SectionJob, block: Any, lo: int, z0: int, z1: int, course: _Course) -> Table:
    """Let every REDUCE stage look at its own halo around [z0, z1); keys are "index/part/name"."""
    partials: Table = {}
    for index, call in enumerate(job.section.measures):
        if call.stage.kind is Kind.WARP:
            continue
        for part, partial in enumerate(_measured(job, call, block, lo, z0, z1, course)):
            partials.update({f"{index}/{part}/{key}": value for key, value in partial.items()})
    return partials


def _measured(job: SectionJob, call: Call, block: Any, lo: int, z0: int, z1: int, course: _Course) -> list[Table]:
    """What a stage measures of [z0, z1); where memory runs out, of its halves, or on the host what cannot be cut."""
    stage, n = call.stage, job.out.shape[0]
    if stage.measure is None:
        return []
    before, after = stage.needs(call.params, job.out).measure_halo
    a, b = max(0, z0 - before), min(n, z1 + after)
    ctx = StageContext(job.out, a, (z0 - a, z1 - a), course.tables, job.calibration)
    try:
        seen = replace(ctx, channels=course.channels_of(job, (call,), a, b))
        with course.computing(call.name):
            return [stage.measure(block[a - lo : b - lo], call.params, seen)]
    except MemoryError:
        whole = z1 - z0 < 2 or stage.apply is not None
        if whole and not course.way.remote:
            raise _too_large(job, z0) from None
    course.way.trim()
    if whole:
        host = course.way.download(block[a - lo : b - lo])
        seen = replace(ctx, channels=replace(course, way=HOST_WAY).channels_of(job, (call,), a, b))
        with course.clock(call.name):
            return [stage.measure(host, call.params, seen)]
    middle = (z0 + z1) // 2
    halves = ((z0, middle), (middle, z1))
    return [p for start, stop in halves for p in _measured(job, call, block, lo, start, stop, course)]


def _too_large(job: SectionJob, z0: int) -> DeviceMemoryError:
    way_out = "lower --workers" if job.device == "cpu" else "take a smaller --memory or --device cpu"
    return DeviceMemoryError(
        f"slice {z0} of section '{job.section.title}' does not fit into the memory of {job.device}: {way_out}"
    )


def combine_section(job: SectionJob) -> dict[str, Table]:
    """Combine the partials of a finished section, in z order, into one table per measuring stage."""
    ledger = Ledger(job.out_dir)
    blocks = [read_table(ledger.block_path(job.key, z0)) for z0 in job.starts]
    tables = load_tables(ledger, job.roles)
    noted: dict[str, Table] = {role: {} for role in job.section.notes if role}
    for key in (k for k in blocks[0] if k.startswith(NOTES)):
        _, role, name = key.split("/")
        noted[role][name] = np.concatenate([b[key] for b in blocks])
    made: dict[str, Table] = {}
    for index, call in enumerate(job.section.measures):
        partials = [part for block in blocks for part in _parts_of(block, index)]
        stage = call.stage
        if stage.combine is None or stage.produces is None:
            continue
        ctx = StageContext(job.out, 0, (0, job.out.shape[0]), {**tables, **noted, **made}, job.calibration)
        made[stage.produces] = stage.combine(partials, call.params, ctx)
    made.update(noted)
    return made


def _parts_of(block: Table, index: int) -> list[Table]:
    """What measure `index` found in a block: one table, or several in z order."""
    parts: dict[int, Table] = {}
    for key, value in block.items():
        measure, _, rest = key.partition("/")
        if measure == str(index):
            part, _, name = rest.partition("/")
            parts.setdefault(int(part), {})[name] = value
    return [parts[k] for k in sorted(parts)]


def seconds_of(job: SectionJob) -> dict[str, float]:
    """Seconds by stage (and read, write), summed over the blocks of a section."""
    total: dict[str, float] = {}
    for z0 in job.starts:
        for name, value in read_table(Ledger(job.out_dir).block_path(job.key, z0))["seconds"].items():
            total[name] = total.get(name, 0.0) + value
    return total
