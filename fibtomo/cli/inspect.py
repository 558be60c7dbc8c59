"""``fibtomo info``, ``pipelines`` and ``stages``: what was read and believed, and what there is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from fibtomo.cli import common
from fibtomo.cli.app import app
from fibtomo.cli.common import console, errors
from fibtomo.io.findings import Finding

_CLASHES = ("contradiction", "evidence-contradiction")


@app.command()
@common.takes_stack
def info(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Folder or file of slices.")],
    stated: dict[str, Any],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    no_look: common.NoLook = False,
) -> None:
    """Print what was read from a stack, where each value comes from, what it amounts to, and what is missing.

    Example: [bold]fibtomo info slices/[/bold]
    """
    from fibtomo import api
    from fibtomo.core.resolve import open_questions
    from fibtomo.io.describe import consequences, describe, describe_facts
    from fibtomo.pipeline.config import InputConfig

    alone = describe_facts(Path(source))
    if alone is not None:
        _print_values(alone[0], [], [Finding("vendor", text) for text in alone[1]], [], as_json)
        return
    stack = api.open_input(source, InputConfig(), stated, look=not no_look)
    questions = open_questions(stack.calibration, shear_from_images=True)
    _print_values(describe(stack), consequences(stack.calibration), stack.problems, questions, as_json)


def _print_values(
    facts: Sequence[Any], led_to: Sequence[Any], findings: Sequence[Finding], questions: Sequence[str], as_json: bool
) -> None:
    clashes = [f.message for f in findings if f.kind in _CLASHES and f.severity == "warning"]
    warnings = [f.message for f in findings if f.kind not in _CLASHES and f.severity == "warning"]
    seen = [f.message for f in findings if f.kind.startswith("evidence") and f.severity == "note"]
    if as_json:
        document = {
            "values": [row._asdict() for row in facts],
            "consequences": [row._asdict() for row in led_to],
            "contradictions": clashes,
            "evidence": seen,
            "warnings": warnings,
            "questions": questions,
        }
        typer.echo(json.dumps(document, indent=1))
        return
    for title, rows in (("what", facts), ("what it amounts to", led_to)):
        if rows:
            table = Table(title, "value", "from", "confidence", box=None, header_style="bold")
            for row in rows:
                table.add_row(*(escape(str(cell)) for cell in row))
            console.print(table)
    for text in seen:
        console.print(f"slices: {text}", markup=False)
    for kind, texts in (("contradiction", clashes), ("warning", warnings)):
        for text in texts:
            errors.print(f"{kind}: {text}", style="yellow", markup=False)
    for question in questions:
        errors.print(f"to run this stack: {question}", style="yellow", markup=False)


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
