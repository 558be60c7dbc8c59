"""``fibtomo sample``: writes a virtual acquisition with its ground truth."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fibtomo.cli.app import app
from fibtomo.cli.common import console
from fibtomo.errors import InputError, OutputError


@app.command()
def sample(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Sample; without it they are listed.")] = None,
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Folder to make.")] = None,
    size: Annotated[str, typer.Option("--size", help="tiny, small, medium or large.")] = "medium",
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives another specimen.")] = 0,
) -> None:
    """Write a sample acquisition: slices as a microscope writes them, and the truth behind them.

    Example: [bold]fibtomo sample nanoporous-silver slices/[/bold]
    """
    from fibtomo import phantom

    known = phantom.samples()
    if name is None:
        table = Table("sample", "what it is", box=None, header_style="bold")
        for key, text in known.items():
            table.add_row(key, text)
        console.print(table)
        return
    if name not in known:
        raise InputError(f"there is no sample '{name}'; there are {', '.join(known)}")
    if folder is None:
        raise InputError(f"name the folder to write to: fibtomo sample {name} DIR")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists and is not an empty folder; give another one")
    with console.status(f"milling {name}"):
        phantom.write_sample(name, folder, size=size, seed=seed)
    slices = sum(1 for _ in folder.glob("*.tif"))
    console.print(f"{slices} slices in {folder}, ground truth in {folder / 'ground_truth'}")
    console.print(f"next: fibtomo run {folder} -o {folder}-result")
