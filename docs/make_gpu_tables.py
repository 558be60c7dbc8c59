"""Fill the tables of ``docs/gpu.md``: kernels as compiled and executed here, and the model of times on cards.

Needs what the kernel tests need (cupy with NVRTC, g++), but no card.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / "tests"), str(REPO / "tests/kernels")]

import strict_cupy
from exercises import NAMES, compare, exercises_of, on_device, on_host
from resources import ARCHITECTURES, compiled, macros_of, nvrtc_of, variants
from strict_cupy import card

from fibtomo.backend.kernels import kernel_source, type_options
from fibtomo.cli.bench import virtual_block
from fibtomo.pipeline.bench import steps_of
from fibtomo.pipeline.config import load_pipeline

PAGE = Path(__file__).with_name("gpu.md")
SIDES = {"default": (192, 320), "nanoporous-metal": (96, 144)}
"""Two sizes of slices, from which what grows with the pixels is told; the CPU takes long over non-local means."""
SLICES = 12
LAUNCH_S, SYNC_S = 5e-6, 20e-6
OF_PEAK = 0.6
"""Part of the peak rates that well-written kernels reach; a guess, to be replaced by `fibtomo bench`."""


@dataclass(frozen=True)
class CardModel:
    """Peak rates of a card, from its data sheet."""

    name: str
    bytes_per_s: float
    flops: float


CARDS = (CardModel("H100 SXM class", 3.35e12, 67e12), CardModel("laptop class (RTX 4070)", 0.256e12, 15.6e12))


def kernel_rows() -> list[str]:
    """One row for each kernel."""
    nvrtc = nvrtc_of()
    resources: dict[tuple[str, str], dict[str, list]] = {}
    for name, dtype in variants():
        options = type_options(**dict.fromkeys(macros_of(name), dtype))
        for arch in ARCHITECTURES:
            for entry, takes in compiled(nvrtc, kernel_source(name), arch, options).items():
                resources.setdefault((name, entry), {}).setdefault(arch, []).append(takes)
    errors, equal = {}, {}
    for name in NAMES:
        errors[name], equal[name] = 0.0, True
        for _, run in exercises_of(name).cases():
            expected, found = on_host(run), []
            for order in (0, 1, 7):
                with strict_cupy.installed(order=order):
                    found.append(on_device(run))
            errors[name] = max(errors[name], compare(found[0], expected, exercises_of(name).TOLERANCE))
            equal[name] &= all(np.array_equal(f[k], v, equal_nan=True) for f in found[1:] for k, v in found[0].items())
    rows = []
    for (name, entry), archs in sorted(resources.items()):
        registers = " / ".join(str(max(t.registers for t in archs[a])) for a in ARCHITECTURES)
        spilled = max(t.spilled for a in ARCHITECTURES for t in archs[a])
        shared = max(t.shared for a in ARCHITECTURES for t in archs[a])
        types = max(len(archs[a]) for a in ARCHITECTURES)
        rows.append(
            f"| `{name}.cu` | `{entry}` | {types} × {len(ARCHITECTURES)} | {registers} | {spilled} | {shared} | "
            f"{errors[name]:.1e} | {'yes' if equal[name] else 'NO'} |"
        )
    return rows


@dataclass
class Work:
    """What one step does on a card, for a block."""

    voxels: int
    traffic: float
    operations: int
    waits: int
    launches: dict[str, int]


def stage_work(pipeline: str, side: int) -> dict[tuple[str, str], Work]:
    """Count on the stand-in what every step of a pipeline does with a block of `SLICES` slices."""
    block, spec, calibration = virtual_block(SLICES, side)
    found = {}
    with strict_cupy.installed() as cupy:
        for step in steps_of(load_pipeline(pipeline).calls, cupy.asarray(block), spec, calibration):
            c = card()
            before = c.traffic_bytes, c.operations, c.counts["to_host"]
            c.counts = type(c.counts)({"to_host": before[2]})
            made = step.run()
            launches = {k[7:]: v for k, v in c.counts.items() if k.startswith("launch ")}
            found[step.call.name, step.name] = Work(
                step.voxels,
                c.traffic_bytes - before[0],
                c.operations - before[1],
                c.counts["to_host"] - before[2],
                launches,
            )
            step.done(made)
    return found


def stage_rows(pipeline: str) -> list[str]:
    """Model of each step for slices of 2048 × 2048: what grows with the pixels, and what is done once a slice."""
    small, large = (stage_work(pipeline, side) for side in SIDES[pipeline])
    rows, totals = [], [0.0] * len(CARDS)
    raw = SLICES * 2048**2
    for key, work in large.items():
        per_voxel = max(0.0, (work.traffic - small[key].traffic) / (work.voxels - small[key].voxels))
        voxels = work.voxels * 2048**2 / SIDES[pipeline][1] ** 2
        cells = []
        for k, model in enumerate(CARDS):
            flops = sum(FLOPS.get(entry, 0.0) for entry in work.launches) * voxels
            seconds = max(per_voxel * voxels / model.bytes_per_s, flops / model.flops) / OF_PEAK
            seconds += work.operations * LAUNCH_S + work.waits * SYNC_S
            totals[k] += seconds
            cells.append(f"{1e3 * seconds / SLICES:.2f} | {raw / seconds / 1e6:.0f}")
        rows.append(
            f"| {key[0]} | {key[1]} | {per_voxel:.0f} | {work.operations / SLICES:.0f} | {work.waits / SLICES:.0f} | "
            f"{' | '.join(cells)} |"
        )
    sums = " | ".join(f"{1e3 * t / SLICES:.1f} | {raw / t / 1e6:.0f}" for t in totals)
    return [*rows, f"| **all** | | | | | {sums} |"]


def kernel_model_rows() -> list[str]:
    """Time of each kernel with a known cost, nanoseconds a voxel."""
    rows = []
    for entry, (moved, flops, of) in COSTS.items():
        cells = [1e9 * max(moved / c.bytes_per_s, flops / c.flops) / OF_PEAK for c in CARDS]
        bound = ["memory" if moved / c.bytes_per_s > flops / c.flops else "arithmetic" for c in CARDS]
        numbers = " | ".join(f"{t:.2g} ({1 / t:.3g} G/s, {b})" for t, b in zip(cells, bound, strict=True))
        rows.append(f"| `{entry}` | {of} | {moved:g} | {flops:g} | {numbers} |")
    return rows


def fill(text: str, name: str, rows: list[str]) -> str:
    """Replace the rows between the marks of a table."""
    mark = re.compile(rf"(<!-- {name}: begin -->\n(?:[^\n]*\n){{2}})(.*?)(<!-- {name}: end -->)", re.DOTALL)
    return mark.sub(lambda m: m[1] + "".join(row + "\n" for row in rows) + m[3], text)


OFFSETS = 225
"""Places that the default non-local means compare with, 10 nm slices and 5 nm pixels."""
WORD = 10.0
"""A word from shared memory or the first cache, in floating-point operations."""
COSTS: dict[str, tuple[float, float, str]] = {
    "resample": (1 + 4, 168 + 88 * WORD, "target voxel, uint8, cubic, 4 slices"),
    "resample_warped": (1 + 4, 1256 + 128 * WORD, "target voxel, uint8, cubic, warped"),
    "gradients": (12, 75, "pixel"),
    "band_steps": (13, 20, "pixel"),
    "smoothed": (8.5, 40, "pixel"),
    "pure_labels": (5, 40, "pixel"),
    "class_sums": (10, 4, "pixel, two phases"),
    "scaled_by_grey": (12, 6, "pixel"),
    "split_rows": (8, 16, "pixel, db4"),
    "clip_gradients": (32, 30, "pixel and iteration"),
    "split_step": (48, 40, "pixel and iteration"),
    "ring_moments": (12, 30, "frequency in the band"),
    "derivative_features": (24 * 1.4 + 24, 20 * 13 + 190, "voxel and scale, 13 taps"),
    "tensor_features": (24 * 1.4 + 12, 12 * 13 + 180, "voxel and scale, 13 taps"),
    "mean_votes": (4 * 20 + 8, 6 * 100 * 12, "voxel, 20 features, 100 trees of depth 12"),
    "average_cubes": (12, OFFSETS * (17 + 6 * WORD), "voxel, reach 4 px and 2 slices"),
    "average_squares": (12, OFFSETS * (14 + 4.5 * WORD), "voxel, second comparison"),
    "raise_duals": (28, 20, "voxel and iteration"),
    "lower_greys": (28, 12, "voxel and iteration"),
    "count_bins": (1, 25, "pixel, uint8"),
    "label_tiles": (5, 60, "voxel"),
    "number_voxels": (8, 5, "voxel"),
    "component_statistics": (6, 50, "voxel"),
    "count_cells": (2, 40, "voxel"),
    "edt_rows": (5, 22, "voxel"),
    "edt_axis": (8, 5 * 20, "voxel and axis, 20 voxels deep"),
    "half_sweep": (17, 2 * 11, "voxel and half sweep, in double"),
}
"""Bytes and floating-point operations of kernels by entry, per voxel of what is named; from reading their sources."""
FLOPS = {entry: flops for entry, (_, flops, _) in COSTS.items()}


def main() -> None:
    """Fill all tables."""
    text = PAGE.read_text()
    for name, rows in (
        ("kernels", kernel_rows()),
        ("kernel model", kernel_model_rows()),
        ("default", stage_rows("default")),
        ("nanoporous-metal", stage_rows("nanoporous-metal")),
    ):
        text = fill(text, name, rows)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
