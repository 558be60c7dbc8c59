"""``fibtomo measure``, ``mesh``, ``export``, ``report`` and ``view``: products of a finished run or a label volume."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table as RichTable

from fibtomo.cli import common
from fibtomo.cli.app import app
from fibtomo.cli.common import console, errors
from fibtomo.core.volume import OUTSIDE, value_range_of
from fibtomo.errors import InputError

Source = Annotated[str, typer.Argument(metavar="INPUT", help="Output folder of a run, or a volume file.")]


def _volume(path: str, kind: str, voxel_nm: str | None, dataset: str | None = None) -> Any:
    """Open one array of a finished run, or any volume file taken as `kind`."""
    from fibtomo.io.open import open_stack
    from fibtomo.ops.surface import MOST_PHASES
    from fibtomo.pipeline.results import result_array

    folder = Path(path)
    if (folder / "run.json").is_file():
        array = result_array(folder, kind)
        if array is None:
            raise InputError(f"{folder} holds no {kind}: its pipeline did not make them")
        return array
    stack = open_stack(path, crop_info_bar=False, **common.stack_options(voxel_nm, dataset=dataset))
    common.refuse_guess(path, stack)
    values = np.unique(np.concatenate([np.unique(stack.read(k, k + 1)) for k in range(len(stack))]))
    if len(values) > MOST_PHASES or not np.isin(values, np.arange(256)).all():
        shown = f"{len(values)} different values from {values[0]:g} to {values[-1]:g}"
        raise InputError(f"{path} holds {shown}, which are no phase labels (0, 1, 2, ...); segment it first")
    mask = OUTSIDE in values and bool(np.isin(values, [0, OUTSIDE]).all())
    if mask:
        console.print("the mask of 0 and 255 is taken as phases 0 and 1")
    elif OUTSIDE in values:
        errors.print("warning: voxels of 255 are taken as outside the field of view", style="yellow")
    spec = stack.spec.with_(kind=kind, dtype="uint8", value_range=value_range_of("uint8"), frame="specimen")
    return _Labels(stack, spec, mask)


class _Labels:
    """A stack read as phase labels; a mask of 0 and 255 as phases 0 and 1."""

    def __init__(self, stack: Any, spec: Any, mask: bool) -> None:
        self.stack, self.spec, self.calibration, self.mask = stack, spec, stack.calibration, mask

    def read(self, z0: int, z1: int) -> Any:
        block = self.stack.read(z0, z1)
        return (block > 0).astype("u1") if self.mask else block.astype("u1", copy=False)

    def fingerprint(self) -> str:
        return str(self.stack.fingerprint())


def _call(stage: str, values: dict[str, Any]) -> Any:
    from fibtomo.core.stage import get_stage
    from fibtomo.pipeline.config import Call

    return Call(stage, get_stage(stage).params.parse(values, f"stage '{stage}'"))


def _reduced(source: Any, call: Any, memory: str | None, workers: int | None) -> dict[str, Any]:
    from fibtomo.backend.device import default_workers
    from fibtomo.pipeline.execute import DEFAULT_BUDGET
    from fibtomo.pipeline.preview import reduce_over

    budget = common.memory_bytes(memory) or DEFAULT_BUDGET
    with console.status(f"{call.name} on {'×'.join(map(str, source.spec.shape))} voxels"):
        return reduce_over(source, call, budget=budget, workers=workers or default_workers())


@app.command()
def measure(
    source: Source,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV or JSON file to write.")] = None,
    voxel_nm: common.VoxelNm = None,
    dataset: common.Dataset = None,
    memory: common.Memory = None,
    workers: common.Workers = None,
) -> None:
    """Measure the phases of a label volume: fractions, surfaces, Euler numbers, percolation.

    Example: [bold]fibtomo measure labels.tif --voxel-nm 10 10 10 -o measurements.csv[/bold]
    """
    from fibtomo.core.measurements import Measurements

    if out is not None and out.suffix not in (".csv", ".json"):
        raise InputError(f"{out}: measurements are written as .csv or .json, not '{out.suffix}'")
    volume = _volume(source, "phases", voxel_nm, dataset)
    measured = Measurements.from_table(_reduced(volume, _call("measure.phases", {}), memory, workers))
    table = RichTable("quantity", "phase", "value", "±", "unit", box=None, header_style="bold")
    for row in measured.rows:
        spread = row["uncertainty"]
        value = row["value"]
        shown = f"{value:.6g}" if isinstance(value, int | float) and value is not None else str(value)
        table.add_row(row["quantity"], str(row["phase"]), shown, "" if spread is None else f"{spread:.2g}", row["unit"])
    console.print(table)
    if out is not None:
        if out.suffix == ".json":
            measured.to_json(out)
        else:
            measured.to_csv(out)
        console.print(f"written: {out}")


@app.command()
def mesh(
    source: Source,
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: .ply, .stl, .obj or .vtk.")],
    phase: Annotated[int | None, typer.Option("--phase", help="Phase to wrap; default: the brightest.")] = None,
    voxel_nm: common.VoxelNm = None,
    dataset: common.Dataset = None,
    memory: common.Memory = None,
    workers: common.Workers = None,
) -> None:
    """Write the surface of one phase as a watertight mesh in nm.

    Example: [bold]fibtomo mesh result/ --phase 1 -o silver.stl[/bold]
    """
    from fibtomo.core.mesh import Mesh

    volume = _volume(source, "phases", voxel_nm, dataset)
    values = {} if phase is None else {"phase": phase}
    table = _reduced(volume, _call("mesh.surface", values), memory, workers)
    if not len(table["faces"]):
        raise InputError(f"{source} has no surface of phase {table['phase']}; choose another one with --phase")
    surface = Mesh.from_table(table)
    surface.save(out)
    console.print(f"phase {table['phase']}: {len(table['faces'])} triangles, {out}")


@app.command()
def export(
    source: Source,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder, .tif, .nrrd, .mha or .raw to write.")],
    what: Annotated[str, typer.Option("--what", help="volume, phases or objects of a run.")] = "volume",
    voxel_nm: common.VoxelNm = None,
    dataset: common.Dataset = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands there.")] = False,
) -> None:
    """Write a volume as TIFF, NRRD, MHA or raw with header, with its voxel size.

    Example: [bold]fibtomo export result/ --what phases -o phases.nrrd[/bold]
    """
    from fibtomo.io.export import export as write_volume
    from fibtomo.io.open import open_stack

    kinds = {"volume": "grey", "phases": "phases", "objects": "objects"}
    if what not in kinds:
        raise InputError(f"--what {what} must be volume, phases or objects")
    if (Path(source) / "run.json").is_file():
        volume = _volume(source, kinds[what], None)
    else:
        volume = open_stack(source, **common.stack_options(voxel_nm, dataset=dataset))
    write_volume(volume, out, overwrite=overwrite)
    console.print(f"written: {out}")


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of a run.")],
    source: Annotated[str | None, typer.Option("--input", help="The raw slices, for the before/after views.")] = None,
) -> None:
    """Write report.html of a finished run again.

    Example: [bold]fibtomo report result/ --input slices/[/bold]
    """
    from fibtomo.io.open import open_stack
    from fibtomo.pipeline.report_data import report_data
    from fibtomo.pipeline.results import read_record
    from fibtomo.report import write_report

    record = read_record(run_folder)
    raw = open_stack(source) if source else None
    path = write_report(run_folder / "report.html", report_data(run_folder, record, raw=raw))
    console.print(f"written: {path}")


@app.command()
def view(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Slices, or the output folder of a run.")],
) -> None:
    """Open slices or a finished run in napari.

    Example: [bold]fibtomo view result/[/bold]
    """
    from fibtomo.napari_plugin import view as show

    show(source)
