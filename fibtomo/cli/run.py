"""``fibtomo run``, ``plan`` and ``preview``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fibtomo.backend.device import device_line
from fibtomo.cli import common
from fibtomo.cli.app import app
from fibtomo.cli.common import console, errors
from fibtomo.errors import InputError

if TYPE_CHECKING:
    from fibtomo.pipeline.config import Call

Input = Annotated[str, typer.Argument(metavar="INPUT", help="Folder or file of slices.")]
Pipeline = Annotated[str, typer.Option("-p", "--pipeline", help="Shipped pipeline or YAML file.")]

ImportShifts = Annotated[
    Path | None,
    typer.Option("--import-shifts", metavar="FILE", help="Take the drift from here: ours, CSV, Fiji, TrakEM2, ..."),
]
ShiftsAre = Annotated[
    str, typer.Option("--shifts-are", metavar="steps|cumulative", help="What the file of shifts holds.")
]


@app.command()
@common.takes_stack
def run(
    source: Input,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to make.")],
    stated: dict[str, Any],
    pipeline: Pipeline = "default",
    settings: common.Settings = None,
    import_shifts: ImportShifts = None,
    shifts_are: ShiftsAre = "auto",
    device: common.DeviceName = "auto",
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", help="Address of a Dask scheduler; gpus: one worker on each card (needs dask-cuda)."
        ),
    ] = None,
    workers: common.Workers = None,
    memory: common.Memory = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in OUT.")] = False,
    no_resume: Annotated[bool, typer.Option("--no-resume", help="Do not go on with an unfinished run.")] = False,
    keep_work: Annotated[bool, typer.Option("--keep-work", help="Keep intermediate arrays.")] = False,
    no_look: common.NoLook = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Reconstruct, segment and measure a stack of slices.

    Example: [bold]fibtomo run slices/ -o result -p nanoporous-metal[/bold]
    """
    from fibtomo import api

    config = api.prepare_pipeline(pipeline, settings or [], import_shifts, shifts_are)
    stack = api.open_input(source, config.input, stated, look=not no_look)
    if not quiet:
        _introduce(stack, config.name)
        console.print(f"device: {device_line(device)}", highlight=False)
    with common.BarObserver(quiet) as observer:
        result = api.run(
            stack,
            out,
            config,
            device=device,
            scheduler=scheduler,
            resume=not no_resume,
            overwrite=overwrite,
            workers=workers,
            memory_bytes=common.memory_bytes(memory),
            keep_work=keep_work,
            look=not no_look,
            observer=observer,
            command=common.command_line(),
        )
    if not quiet:
        _conclude(result)


def _introduce(stack: object, pipeline: str) -> None:
    from fibtomo.cli.inspect import print_beliefs

    print_beliefs(stack)
    console.print(f"pipeline [bold]{pipeline}[/bold]")


def _conclude(result: "object") -> None:
    from fibtomo.api import Run
    from fibtomo.pipeline.report_data import forest_notes
    from fibtomo.report.sections import left_out, unmeasured

    if not isinstance(result, Run):
        return
    measured = result.measurements
    if measured is not None:
        for row in measured.rows:
            if row["quantity"] == "volume_fraction":
                console.print(f"phase {row['phase']}: volume fraction {row['value']:.4f}")
    left = left_out(result.provenance["tables"].get("face"))
    if left:
        console.print(f"left out: {'; '.join(left)} (--set face.find.crop=off keeps them)")
    for note in forest_notes(result.provenance["tables"]):
        errors.print(f"warning: {note}", style="yellow", markup=False)
    drift = result.drift
    if drift is not None and len(drift.bad_slices):
        console.print(f"bad slices bridged: {', '.join(str(k) for k in drift.bad_slices)}")
    lost = [] if drift is None else unmeasured(drift)
    if lost:
        errors.print(
            f"warning: no motion could be measured for {len(lost)} of {len(drift)} slices; their place was assumed: "
            f"look at the drift curves in the report",
            style="yellow",
        )
    console.print(f"done in {result.provenance['wall_s']:.1f} s; report: [bold]{result.report_path}[/bold]")


@app.command()
@common.takes_stack
def plan(
    source: Input,
    stated: dict[str, Any],
    pipeline: Pipeline = "default",
    settings: common.Settings = None,
    import_shifts: ImportShifts = None,
    shifts_are: ShiftsAre = "auto",
    device: common.DeviceName = "auto",
    workers: common.Workers = None,
    memory: common.Memory = None,
    no_look: common.NoLook = False,
) -> None:
    """Print the sections, slabs and memory of a run without doing it.

    Example: [bold]fibtomo plan slices/ -p nanoporous-metal --memory 4GB[/bold]
    """
    from fibtomo import api

    made = api.plan(
        source,
        api.prepare_pipeline(pipeline, settings or [], import_shifts, shifts_are),
        device=device,
        workers=workers,
        memory_bytes=common.memory_bytes(memory),
        look=not no_look,
        **stated,
    )
    table = Table("#", "section", "output z×y×x", "type", "slab", "halo", "blocks", "at once", "peak MiB", box=None)
    for p in made.sections:
        shape = "×".join(str(n) for n in p.out.shape) if p.section.output else "table only"
        halo = f"{p.halo[0]}+{p.halo[1]}"
        peak = f"{p.peak_bytes / 2**20:.0f}"
        dtype = p.out.dtype if p.section.output else ""
        numbers = [str(n) for n in (p.slab, halo, p.blocks, p.workers, peak)]
        table.add_row(str(p.section.index), p.section.title, shape, dtype, *numbers)
    console.print(table)
    finds = any(call.name == "face.find" for p in made.sections for call in p.section.measures)
    console.print(
        f"budget {made.machine.budget / 2**20:.0f} MiB for up to {made.machine.workers} blocks at once; "
        f"arrays written: {made.stored_bytes / 1e9:.3g} GB before compression. "
        f"The final size follows from the measured drift{', and from what face.find leaves out' if finds else ''}."
    )


@app.command()
@common.takes_stack
def preview(
    source: Input,
    stated: dict[str, Any],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG file to write.")] = Path("preview.png"),
    stage: Annotated[str, typer.Option("--stage", help="Stage to try; with its default parameters or --set.")] = "",
    pipeline: Pipeline = "default",
    slice_index: Annotated[
        int | None, typer.Option("--slice", help="Slice, -1 is the last; default: the middle.")
    ] = None,
    settings: common.Settings = None,
) -> None:
    """Write a PNG of one slice before and after, with what was taken away.

    Without --stage, every stage of the pipeline that works on single slices is applied.

    Example: [bold]fibtomo preview slices/ --stage curtain.remove --slice 40 -o curtain.png[/bold]
    """
    from fibtomo import api
    from fibtomo.core.stage import Kind
    from fibtomo.io.open import open_stack
    from fibtomo.pipeline.preview import preview as make_preview
    from fibtomo.pipeline.results import CURTAINS
    from fibtomo.report.curtains import slice_line
    from fibtomo.report.pictures import before_after, overlay, save_png, stretch

    stack = open_stack(source, **stated)
    if stage:
        calls = [_stage_alone(stage, settings or [])]
    else:
        chosen = api.prepare_pipeline(pipeline, settings or []).calls
        calls = []
        for call in chosen:
            if call.stage.kind is Kind.WARP:
                break
            if call.stage.apply is not None:
                calls.append(call)
    n = stack.spec.shape[0]
    z = n // 2 if slice_index is None else slice_index + n * (-n <= slice_index < 0)
    made = make_preview(stack, calls, z)
    names = " + ".join(c.name for c in calls) or "nothing"
    before, after = made.before[z - made.z0], made.after[min(z - made.z0, len(made.after) - 1)]
    if made.out_spec.kind != "grey":
        after = overlay(stretch(before), after)
    voxel = stack.spec.voxel_nm
    pixel = voxel[1:] if voxel and after.shape[:2] == before.shape else None
    removed = "removed" if len(calls) < 2 else "before minus after of all"
    save_png(out, before_after(before, after, titles=("before", names, removed), voxel_nm=pixel))
    for role, notes in made.tables.items():
        if role.startswith(CURTAINS) and len(notes["index"]) == len(made.before):
            console.print(slice_line(notes, z - made.z0, z))
    console.print(f"{names} on slice {z}: {out}")


def _stage_alone(name: str, settings: list[str]) -> "Call":
    """Call of a stage that a preview can show, with its default parameters changed by `settings`."""
    from fibtomo.core.stage import get_stage, stage_names
    from fibtomo.pipeline.config import Call, PipelineConfig

    stage = get_stage(name)
    if stage.consumes != "grey" or stage.apply is None:
        shown = [n for n in stage_names() if get_stage(n).consumes == "grey" and get_stage(n).apply is not None]
        raise InputError(f"--stage {name} has no picture before and after; there are {', '.join(shown)}")
    alone = PipelineConfig(name, "", (Call(name, stage.params.parse({}, f"stage '{name}'")),))
    return alone.with_settings(settings).calls[0]
