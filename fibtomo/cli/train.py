"""``fibtomo train``: a pixel forest from scribbles."""

import math
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from fibtomo.cli import common
from fibtomo.cli.app import app
from fibtomo.cli.common import console, errors
from fibtomo.errors import InputError

POOR = 0.9
"""Share found right, of scribbles left out, below which more scribbles are advised."""


@app.command()
def train(
    volume: Annotated[str, typer.Argument(metavar="VOLUME", help="Output folder of a run, or a volume, or slices.")],
    labels: Annotated[
        str,
        typer.Argument(
            metavar="LABELS",
            help="Scribbles: a volume of the same shape, or labelled slices whose names end in numbers.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write, model.npz.")],
    also: Annotated[
        list[str] | None, typer.Option("--also", metavar="VOLUME=LABELS", help="One more volume with its scribbles.")
    ] = None,
    names: Annotated[
        str | None, typer.Option("--names", metavar="A,B,...", help="Names of the phases, in the order of the labels.")
    ] = None,
    scales_nm: Annotated[
        str | None,
        typer.Option("--scales-nm", metavar="A,B,...", help="Scales of the features; default: 0.7 to 5.6 px."),
    ] = None,
    kinds: Annotated[
        str | None, typer.Option("--kinds", metavar="A,B,...", help="Features; variance and structure see texture.")
    ] = None,
    dimensions: Annotated[int, typer.Option("--dimensions", min=2, max=3, help="2 looks at each slice alone.")] = 3,
    trees: Annotated[int, typer.Option("--trees", min=1, help="Number of trees.")] = 100,
    per_class: Annotated[
        int, typer.Option("--per-class", min=1, help="Most voxels learned from, of each class.")
    ] = 10000,
    keep_greys: Annotated[
        bool, typer.Option("--keep-greys", help="Take greys as they are, not relative to those of the volume.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all chance.")] = 0,
    voxel_nm: common.VoxelNm = None,
    dataset: common.Dataset = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Train a pixel forest on scribbles: 0 is not labelled, 1, 2, ... are phases (draw them in napari, save as TIFF).

    Example: [bold]fibtomo train result/ scribbles.tif -o model.npz --names pore,metal[/bold]
    """
    from fibtomo.ops.forest_recipe import DEFAULT_KINDS
    from fibtomo.ops.pixel_forest import PixelForest

    if out.suffix != ".npz":
        raise InputError(f"{out}: a pixel forest is written as .npz, not '{out.suffix}'")
    lessons = [_lesson(*pair, voxel_nm, dataset) for pair in ((volume, labels), *map(_pair, also or []))]
    with common.BarObserver(quiet) as bar:

        def progress(done: int, total: int) -> None:
            if done == 1:
                bar.begin("features around the scribbles", total, 0)
            bar.advance(0)

        with console.status("learning") if not quiet else bar:
            forest = PixelForest.train(
                [lesson[0] for lesson in lessons],
                [lesson[1] for lesson in lessons],
                voxel_nm=[lesson[2] for lesson in lessons],
                sigmas_nm=None if scales_nm is None else _numbers(scales_nm),
                kinds=DEFAULT_KINDS if kinds is None else tuple(kinds.split(",")),
                dimensions=dimensions,
                trees=trees,
                per_class=per_class,
                classes=None if names is None else names.split(","),
                normalise=not keep_greys,
                seed=seed,
                progress=progress,
            )
    forest.save(out)
    if not quiet:
        _tell(forest, out)


def _pair(text: str) -> tuple[str, str]:
    volume, found, labels = text.partition("=")
    if not found:
        raise InputError(f"--also {text} must be VOLUME=LABELS")
    return volume, labels


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"--scales-nm {text} must be lengths in nm, such as 5,10,20") from None


def _lesson(volume: str, labels: str, voxel_nm: str | None, dataset: str | None) -> tuple[Any, Any, Any]:
    """Lazy greys, lazy scribbles and voxel size."""
    from fibtomo.io.open import open_stack
    from fibtomo.io.zarr_store import open_array
    from fibtomo.pipeline.results import result_array

    stated = common.stack_options(voxel_nm, dataset=dataset)
    numbers = None
    if (Path(volume) / "run.json").is_file():
        source = result_array(Path(volume), "grey")
        if source is None:
            raise InputError(f"{volume} holds no grey volume: its pipeline did not make one")
        greys, voxel = open_array(source.path), stated.get("voxel_nm", source.spec.voxel_nm)
    else:
        stack = open_stack(volume, **stated)
        common.refuse_guess(volume, stack)
        greys, voxel, numbers = stack.data, stack.voxel_nm, stack.numbers
    scribbles = open_stack(labels, voxel_nm="unknown", crop_info_bar=False)
    return greys, _spread(scribbles, greys.shape, numbers), None if voxel == "unknown" else voxel


def _spread(scribbles: Any, shape: tuple[int, ...], numbers: tuple[int, ...] | None) -> Any:
    """Scribbles as they are, or single slices at their place in a volume of `shape`."""
    if scribbles.shape == shape or scribbles.shape[1:] != shape[1:]:
        return scribbles.data
    if len(scribbles.files) != len(scribbles):
        raise InputError(
            f"{scribbles.path} has {len(scribbles)} slices and the volume {shape[0]}: label all, or single files"
        )
    order = {number: k for k, number in enumerate(numbers or range(shape[0]))}
    places = {}
    for k, path in enumerate(scribbles.files):
        found = re.findall(r"\d+", path.stem)
        if not found or int(found[-1]) not in order:
            raise InputError(
                f"{path} does not end in the number of a slice of the volume ({min(order)} to {max(order)}): rename it"
            )
        places[order[int(found[-1])]] = k
    return _SingleSlices(scribbles, places, shape)


class _SingleSlices:
    """Some labelled slices as a volume that is 0 elsewhere."""

    def __init__(self, stack: Any, places: dict[int, int], shape: tuple[int, ...]) -> None:
        self.stack, self.places, self.shape = stack, places, shape

    def __getitem__(self, slices: slice) -> np.ndarray[Any, Any]:
        z = range(self.shape[0])[slices]
        out = np.zeros((len(z), *self.shape[1:]), self.stack.dtype)
        for place, k in self.places.items():
            if place in z:
                out[place - z.start] = self.stack.read(k, k + 1)[0]
        return out


def _tell(forest: Any, out: Path) -> None:
    table = Table("phase", "label", "name", "scribbled", "learned from", "out of bag", "left out", box=None)
    for k, (row, value) in enumerate(zip(forest.accuracies, forest.values, strict=True)):
        shares = ["-" if math.isnan(row[key]) else f"{row[key]:.1%}" for key in ("out_of_bag", "apart")]
        table.add_row(str(k), str(value), row["class"], str(row["drawn"]), str(row["used"]), *shares)
    console.print(table)
    console.print(
        "out of bag: found right by trees that did not see the voxel, though its neighbours; left out: by trees that "
        "saw nothing within some 24 voxels",
        style="dim",
    )
    most = ", ".join(f"{name} {share:.0%}" for name, share in forest.importance[:10])
    console.print(f"most important: {most}", markup=False)
    poor = [row["class"] for row in forest.accuracies if not row["apart"] >= POOR]
    if poor:
        errors.print(f"warning: {', '.join(poor)}: scribble more, at other places, near the borders", style="yellow")
    console.print(f"written: {out}; next: [bold]fibtomo run slices/ -o result2 --set segment.forest.model={out}[/bold]")
