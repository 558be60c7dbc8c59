"""``fibtomo info``, ``pipelines`` and ``stages``: what was read and believed, and what there is."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from fibtomo.cli import common
from fibtomo.cli.app import app
from fibtomo.cli.common import console, errors


@app.command()
def info(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Folder or file of slices.")],
    voxel_nm: common.VoxelNm = None,
    column_angle_deg: common.ColumnAngle = None,
    tilt_corrected: common.TiltCorrected = None,
    tracked: common.Tracked = None,
    channel: common.Channel = None,
    dataset: common.Dataset = None,
    skip_bad: common.SkipBad = False,
    pattern: common.Pattern = None,
    keep_info_bar: common.KeepInfoBar = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what was read from a stack, where each value comes from, and what is missing.

    Example: [bold]fibtomo info slices/[/bold]
    """
    from fibtomo.core.resolve import resolve_geometry
    from fibtomo.errors import CalibrationError
    from fibtomo.io.describe import describe, describe_facts
    from fibtomo.io.open import open_stack

    options = common.stack_options(
        voxel_nm, column_angle_deg, tilt_corrected, tracked, channel, dataset, skip_bad, pattern, keep_info_bar
    )
    alone = describe_facts(Path(source))
    if alone is not None:
        _print_values(*alone, as_json)
        return
    stack = open_stack(source, **options)
    _print_values(describe(stack), list(stack.warnings), as_json)
    if as_json:
        return
    try:
        geometry = resolve_geometry(stack.calibration, shear_from_images=True)
    except CalibrationError as question:
        errors.print(f"to run this stack: {question}", style="yellow", markup=False)
        return
    if stack.voxel_nm is not None:
        true = " × ".join(f"{v:.5g}" for v in geometry.true_voxel_nm)
        console.print(f"true spacing on the face (dz × dy × dx): {true} nm; y factor {geometry.y_factor:.5f}")


def _print_values(rows: list[Any], warnings: list[str], as_json: bool) -> None:
    if as_json:
        document = [dict(zip(("name", "value", "origin", "confidence"), map(str, row), strict=True)) for row in rows]
        print(json.dumps({"values": document, "warnings": warnings}, indent=1))  # noqa: T201
        return
    table = Table("what", "value", "origin", "confidence", box=None, header_style="bold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)
    for text in warnings:
        errors.print(f"warning: {text}", style="yellow", markup=False)


def print_beliefs(stack: Any) -> None:
    """Print the few values that decide the result, with their origins."""
    from fibtomo.pipeline.report_data import CALIBRATION, as_text, input_name

    spec, c = stack.spec, stack.calibration
    n, rows, cols = spec.shape
    console.print(f"[bold]{input_name(stack)}[/bold]: {n} slices of {rows} × {cols} px, {spec.dtype}")
    for name in CALIBRATION:
        value = getattr(c, name)
        if value:
            console.print(f"  {name} = {as_text(value.value)}  ({value.origin}, {value.confidence})", markup=False)
    for text in getattr(stack, "warnings", []):
        errors.print(f"warning: {text}", style="yellow", markup=False)


@app.command()
def pipelines(
    action: Annotated[str | None, typer.Argument(metavar="[show]", help="'show' prints one pipeline.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Pipeline to print.")] = None,
) -> None:
    """List the shipped pipelines, or print one as YAML with every parameter.

    Example: [bold]fibtomo pipelines show battery-electrode > mine.yaml[/bold]
    """
    from fibtomo.pipeline import config

    wanted = _shown(action, name, "pipelines")
    if wanted:
        print(config.load_pipeline(wanted).to_yaml(), end="")  # noqa: T201 - YAML for a file
        return
    table = Table("pipeline", "what it is for", box=None, header_style="bold")
    for key, summary in config.pipelines().items():
        table.add_row(key, summary)
    console.print(table)


@app.command()
def stages(
    action: Annotated[str | None, typer.Argument(metavar="[show]", help="'show' prints one stage.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Stage to print.")] = None,
) -> None:
    """List the stages, or print one with its parameters.

    Example: [bold]fibtomo stages show drift.estimate[/bold]
    """
    from fibtomo.core.stage import get_stage, stage_names

    wanted = _shown(action, name, "stages")
    if not wanted:
        table = Table("stage", "kind", "from", "to", "summary", box=None, header_style="bold")
        for key in stage_names():
            s = get_stage(key)
            table.add_row(key, s.kind.value, s.consumes, s.makes if s.apply else f"table {s.produces}", s.summary)
        console.print(table)
        return
    stage = get_stage(wanted)
    console.print(f"[bold]{stage.name}[/bold] ({stage.kind.value}): {stage.summary}")
    if stage.citation:
        console.print(f"method: {stage.citation}", markup=False)
    table = Table("parameter", "default", "what", box=None, header_style="bold")
    for key, field in stage.params.model_fields.items():
        table.add_row(key, str(field.default), field.description or "")
    console.print(table)


def _shown(action: str | None, name: str | None, command: str) -> str | None:
    if action is None:
        return None
    if action != "show":
        name = action
    if name is None:
        raise typer.BadParameter(f"name what to show: fibtomo {command} show NAME")
    return name
