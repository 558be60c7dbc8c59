"""``fibtomo bench``: how fast each stage is here."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from fibtomo.backend.device import select_device
from fibtomo.cli import common
from fibtomo.cli.app import app
from fibtomo.cli.common import console

if TYPE_CHECKING:
    from fibtomo.core.volume import Calibration, VolumeSpec

TILE = 256
VOXEL_NM = (10.0, 5.0, 5.0)


@app.command()
def bench(
    pipeline: Annotated[str, typer.Option("-p", "--pipeline", help="Name or YAML file.")] = "default",
    settings: common.Settings = None,
    device: common.DeviceName = "auto",
    size: Annotated[int, typer.Option("--size", min=64, max=8192, help="Side of the slices, pixels.")] = 1024,
    slices: Annotated[int, typer.Option("--slices", min=4, max=256, help="Slices of the block.")] = 24,
    repeats: Annotated[int, typer.Option("--repeats", min=1, max=20, help="Rounds; the fastest counts.")] = 3,
    table: Annotated[Path | None, typer.Option("--csv", help="File for the numbers.")] = None,
) -> None:
    """Time every stage of a pipeline on one virtual block, on this machine's device.

    Moved bytes are those of the block in and out; their share is the time that a plain copy of as many bytes takes
    here, over the time of the stage. A CUDA device also shows the way to it and back.

    Example: [bold]fibtomo bench --device cuda:0 --size 2048 --csv bench.csv[/bold]
    """
    from fibtomo import api
    from fibtomo.pipeline.bench import bench as run

    config = api.prepare_pipeline(pipeline, settings or [])
    chosen = select_device(device)
    with console.status(f"milling {slices} slices of {size} × {size} pixels"):
        block, spec, known = virtual_block(slices, size)
    with console.status(f"{config.name} on {chosen.label}"):
        found = run(block, spec, config.calls, known, chosen.label, repeats)
    timings = (*found.timings, found.total(block.size))
    shown = Table("stage", "step", box=None, header_style="bold")
    for name in ("ms", "Mvox/s", "moved MB", "share of copy"):
        shown.add_column(name, justify="right")
    rows: list[dict[str, Any]] = []
    for t in timings:
        share = t.share_of(found.copy_bytes_per_s)
        numbers = f"{1e3 * t.seconds:.1f}", f"{t.mvox_per_s:.1f}", f"{t.moved_bytes / 1e6:.0f}", f"{100 * share:.2g} %"
        shown.add_row(t.stage, t.step, *numbers)
        rows.append(
            {
                "stage": t.stage,
                "step": t.step,
                "seconds": t.seconds,
                "mvox_per_s": t.mvox_per_s,
                "moved_bytes": t.moved_bytes,
                "share_of_copy": share,
                "device": chosen.name,
                "versions": chosen.versions,
                "copy_gb_per_s": found.copy_bytes_per_s / 1e9,
                "slices": slices,
                "size_px": size,
            }
        )
    console.print(shown)
    console.print(f"{chosen}; a plain copy moves {found.copy_bytes_per_s / 1e9:.1f} GB/s here", highlight=False)
    if table is not None:
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        console.print(f"numbers in {table}")


def virtual_block(slices: int, size: int) -> tuple[np.ndarray, "VolumeSpec", "Calibration"]:
    """A virtual acquisition, mirrored to the size asked for, and what is known of it."""
    from fibtomo.core.volume import Calibration, Sourced, VolumeSpec, value_range_of
    from fibtomo.phantom import acquire

    specimen = {"kind": "particles", "radius_nm": 60.0}
    tile = acquire(specimen, shape=(slices, min(size, TILE), min(size, TILE)), tracked=True, oversample=1).slices
    missing = size - tile.shape[1]
    block = np.ascontiguousarray(np.pad(tile, ((0, 0), (0, missing), (0, missing)), mode="symmetric"))
    known = Calibration(
        pixel_nm=Sourced(VOXEL_NM[1:], "virtual", "given"),
        slice_nm=Sourced(VOXEL_NM[0], "virtual", "given"),
        column_angle_deg=Sourced(52.0, "virtual", "given"),
        tilt_corrected=Sourced(False, "virtual", "given"),
        tracked=Sourced(True, "virtual", "given"),
    )
    return block, VolumeSpec(block.shape, "uint8", VOXEL_NM, value_range_of("uint8")), known
