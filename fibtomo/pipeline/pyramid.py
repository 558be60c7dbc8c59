"""Coarser levels of the final arrays, block by block, so that viewers open large volumes at once."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fibtomo.core.volume import Shape
from fibtomo.io.ome import halve, pyramid_levels
from fibtomo.io.zarr_store import create_array, open_array, write_slab
from fibtomo.pipeline.ledger import Ledger, write_table
from fibtomo.pipeline.progress import Observer
from fibtomo.pipeline.scheduler import run_tasks


@dataclass(frozen=True)
class LevelJob:
    """Make one level of a pyramid from the one below it."""

    out_dir: Path
    key: str
    fine: Path
    coarse: Path
    slab: int
    depth: int
    labels: bool


def halve_block(job: LevelJob, z0: int) -> int:
    """Write slices [z0, z0 + slab) of the coarser level."""
    array = open_array(job.fine)
    z1 = min(z0 + job.slab, job.depth)
    stop = 2 * z1 if array.shape[0] > 1 else 1
    block = halve(array[2 * z0 : stop], job.labels)
    write_slab(job.coarse, z0, block)
    write_table(Ledger(job.out_dir).block_path(job.key, z0), {})
    return int(block.size)


def build_pyramid(
    ledger: Ledger,
    base: Path,
    *,
    labels: bool,
    levels: int | None,
    scheduler: str | None,
    workers: int,
    observer: Observer,
) -> list[Shape]:
    """Write the levels "1", "2", ... beside level "0" at `base`; returns the shapes of all levels."""
    array = open_array(base)
    slab = int((array.shards or array.chunks)[0])
    shapes: list[Shape] = [array.shape]
    dtype = str(array.dtype)
    for level in range(1, pyramid_levels(array.shape, levels)):
        z, y, x = shapes[-1]
        shape = (max(1, z // 2), max(1, y // 2), max(1, x // 2))
        name = "-".join(base.parent.relative_to(ledger.work if ledger.work in base.parents else ledger.out).parts)
        key = f"pyramid-{name}-{level}"
        coarse = base.parent / str(level)
        job = LevelJob(ledger.out, key, base.parent / str(level - 1), coarse, slab, shape[0], labels)
        done = ledger.finished(key)
        if not done:
            create_array(coarse, shape, dtype, slab)
        starts = range(0, shape[0], slab)
        observer.begin(f"pyramid level {level} of {base.parent.name}", len(starts), len(done))
        todo = [z0 for z0 in starts if z0 not in done]
        run_tasks(partial(halve_block, job), todo, scheduler=scheduler, workers=workers, observer=observer)
        observer.end()
        shapes.append(shape)
    return shapes
