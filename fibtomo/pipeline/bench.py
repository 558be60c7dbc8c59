"""How fast each stage is on a device, beside how fast the device can move memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_dtype
from fibtomo.backend.lane import Way, way_over
from fibtomo.core.stage import Apply, Combine, Kind, StageContext
from fibtomo.core.volume import Calibration, Table, VolumeSpec
from fibtomo.pipeline.config import Call
from fibtomo.pipeline.plan import spec_after

COPIED_BYTES = 256 << 20


@dataclass(frozen=True)
class Timing:
    """One step of a stage on one block.

    Attributes
    ----------
    stage, step
        Name, and "measure" or "apply"; "upload" and "download" for the block itself.
    seconds
        The shortest of several, everything waited for.
    voxels
        Of the block that came in.
    moved_bytes
        Block in and block out: the least that must be moved.
    """

    stage: str
    step: str
    seconds: float
    voxels: int
    moved_bytes: float

    @property
    def mvox_per_s(self) -> float:
        """Million voxels of the block per second."""
        return self.voxels / self.seconds / 1e6

    def share_of(self, bytes_per_s: float) -> float:
        """Part of the time that moving the block alone would take."""
        return self.moved_bytes / bytes_per_s / self.seconds


@dataclass(frozen=True)
class Bench:
    """Timings of a pipeline, and bytes per second of a plain copy where it ran (read and written)."""

    timings: tuple[Timing, ...]
    copy_bytes_per_s: float

    def total(self, voxels: int) -> Timing:
        """All steps together, for the voxels of the raw block."""
        steps = [t for t in self.timings if t.step not in {"upload", "download"}]
        return Timing("all stages", "", sum(t.seconds for t in steps), voxels, sum(t.moved_bytes for t in steps))


def bench(
    block: NDArray[Any],
    spec: VolumeSpec,
    calls: Sequence[Call],
    calibration: Calibration,
    device: str = "cpu",
    repeats: int = 3,
) -> Bench:
    """Run `calls` one after another on a whole block in memory and time each.

    Parameters
    ----------
    block, spec
        (z, y, x) raw slices, and what they are.
    calls, calibration
        Stages with parameters; scale and angles.
    device
        "cpu" or "cuda:N".
    repeats
        Each step runs once unseen, so that compilers have done their work, and then this often.
    """
    with way_over(device) as way:
        timings, here = [], block
        seconds, there = _fastest(way, repeats, lambda: way.upload(here))
        if way.remote:
            timings.append(Timing("block", "upload", seconds, block.size, block.nbytes))
        for step in steps_of(calls, there, spec, calibration):
            seconds, made = _fastest(way, repeats, step.run)
            step.done(made)
            timings.append(Timing(step.call.name, step.name, seconds, step.voxels, step.moved_bytes(made)))
            there = step.block if step.name == "measure" else made
        if way.remote:
            seconds, _ = _fastest(way, repeats, lambda: way.download(there))
            timings.append(Timing("block", "download", seconds, int(there.size), there.nbytes))
        copy = _copy_rate(way, repeats)
    return Bench(tuple(timings), copy)


@dataclass
class Step:
    """Measure or apply of one stage, ready to run; `done` must be told what `run` made before the next is asked for."""

    call: Call
    name: str
    block: Any
    run: Callable[[], Any]
    done: Callable[[Any], None]

    @property
    def voxels(self) -> int:
        """Of the block that comes in."""
        return int(np.prod([float(n) for n in self.block.shape]))

    def moved_bytes(self, made: Any) -> float:
        """Of the block that comes in and, if there is one, that goes out."""
        return float(self.block.nbytes + (made.nbytes if self.name == "apply" else 0))


def steps_of(calls: Sequence[Call], block: Any, spec: VolumeSpec, calibration: Calibration) -> Iterator[Step]:
    """Measure and apply of each stage, each given what the one before made."""
    tables: dict[str, Table] = {}
    current = [block]
    for call in calls:
        stage, n = call.stage, spec.shape[0]
        ctx = StageContext(spec, 0, (0, n), tables, calibration)
        block = current[0]
        if stage.measure is not None and stage.combine is not None and stage.produces is not None:
            keep = partial(_keep, tables, stage.produces, stage.combine, call.params, ctx)
            yield Step(call, "measure", block, partial(stage.measure, block, call.params, ctx), keep)
        if stage.apply is None:
            continue
        out = spec_after(call, ctx)
        if stage.kind is Kind.WARP:
            ctx = StageContext(spec, 0, (0, n), tables, calibration, out, (0, out.shape[0]))
            if stage.side_tables is not None:
                tables.update(stage.side_tables(call.params, ctx))
        run = partial(_stored, out.dtype, stage.apply, block, call.params, ctx)
        yield Step(call, "apply", block, run, partial(current.__setitem__, 0))
        spec = out


def _keep(tables: dict[str, Table], role: str, combine: Combine, params: Any, ctx: StageContext, made: Table) -> None:
    tables[role] = combine([made], params, ctx)


def _stored(dtype: str, apply: Apply, block: Any, params: Any, ctx: StageContext) -> Any:
    return to_dtype(apply(block, params, ctx), dtype)


def _fastest(way: Way, repeats: int, run: Callable[[], Any]) -> tuple[float, Any]:
    best, made = float("inf"), None
    for k in range(repeats + 1):
        made = None
        start = perf_counter()
        with way.working():
            made = run()
        if k:
            best = min(best, perf_counter() - start)
    return best, made


def _copy_rate(way: Way, repeats: int) -> float:
    source = way.upload(np.zeros(COPIED_BYTES // 4, np.float32))
    with way.working():
        target = namespace(source).empty_like(source)

    def copy() -> None:
        target[...] = source

    return 2 * COPIED_BYTES / _fastest(way, repeats, copy)[0]
