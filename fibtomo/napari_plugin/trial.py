"""Trying one stage on the slab around a slice: computing it, and how it looks in napari."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fibtomo.core.volume import Table, VoxelNm
from fibtomo.io.open import open_stack
from fibtomo.io.stack import Stack
from fibtomo.napari_plugin.layers import LayerTuple, contrast, display_scale, label_style, placed, surface_layer
from fibtomo.pipeline.config import Call
from fibtomo.pipeline.preview import Preview, preview
from fibtomo.pipeline.results import CURTAINS
from fibtomo.report.curtains import slice_line


@dataclass(frozen=True)
class Trial:
    """A stage tried on a few slices.

    Attributes
    ----------
    call
        The stage with its parameters.
    slab, z0
        The slices, and the number of the first of them.
    before, after
        What came into the stage and what came out.
    z
        The slice in view.
    """

    call: Call
    slab: Stack
    z0: int
    before: Preview
    after: Preview
    z: int


def try_last(stack: Stack, calls: Sequence[Call], z: int, slices: int) -> Trial:
    """Run `calls` on the slab of `slices` slices around slice `z`; the last one is the stage on trial.

    Raises
    ------
    FibtomoError
        A stage cannot work on what comes before it, or a fact about the acquisition is missing.
    """
    n = len(stack)
    z0 = max(0, min(z - slices // 2, n - slices))
    slab = open_stack(stack, slices=(z0, min(n, z0 + slices)))
    before = preview(slab, list(calls[:-1]), 0, len(slab))
    after = preview(slab, list(calls), 0, len(slab))
    return Trial(calls[-1], slab, z0, before, after, z)


def trial_layers(trial: Trial) -> list[LayerTuple]:
    """Layers "<stage> before", "after" and "removed"; a stage that only measures shows its surface, if any."""
    name, before, after = trial.call.name, trial.before, trial.after
    if trial.call.stage.apply is None:
        mesh = after.tables.get("mesh")
        if mesh is None:
            return []
        data, options, kind = surface_layer(mesh["vertices"], mesh["faces"], _place(after, trial))
        return [(data, {**options, "name": f"{name} after", "visible": True}, kind)]
    limits = contrast(before.after, before.out_spec.value_range)
    layers = [_volume_layer(f"{name} before", before, trial, limits)]
    if _comparable(before, after):
        removed = before.after.astype(np.float32) - after.after
        reach = max(abs(v) for v in contrast(removed, (-1.0, 1.0)))
        options = {**_place(after, trial), "name": f"{name} removed", "visible": False}
        layers.append((removed, {**options, "contrast_limits": (-reach, reach)}, "image"))
    else:
        limits = contrast(after.after[after.after != 0], limits)
    layers.append(_volume_layer(f"{name} after", after, trial, limits))
    return layers


def _comparable(before: Preview, after: Preview) -> bool:
    one, two = before.out_spec, after.out_spec
    return one.kind == two.kind == "grey" and one.shape == two.shape and one.frame == two.frame


def _volume_layer(name: str, made: Preview, trial: Trial, limits: tuple[float, float]) -> LayerTuple:
    options = {**_place(made, trial), "name": name}
    if made.out_spec.kind == "grey":
        return made.after, {**options, "contrast_limits": limits}, "image"
    return made.after, {**options, **label_style(made.out_spec.kind), "visible": True}, "labels"


def _place(made: Preview, trial: Trial) -> dict[str, Any]:
    """Where the slab lies over the raw slices: by its first slice, which a resample moves within the plane."""
    scale, unit = display_scale(trial.slab)
    origin: VoxelNm = (trial.z0 * scale[0], 0.0, 0.0)
    grid = made.tables.get("grid")
    if made.out_spec.frame == "specimen" and grid is not None:
        origin = (origin[0], float(grid["row_start"][0]) * scale[1], float(grid["col_start"][0]) * scale[2])
        scale = made.out_spec.scale
    return {**placed(scale, unit, origin), "metadata": {}}


def trial_sentence(trial: Trial) -> str:
    """Tell in one line what was tried and what the stage measured."""
    last = trial.z0 + len(trial.slab) - 1
    where = f"{trial.call.name} on slices {trial.z0} to {last}"
    found = _findings(trial.after.tables.get(trial.call.stage.produces or "", {})) or _noted(trial)
    return f"{where}: {found}" if found else where


def _noted(trial: Trial) -> str:
    """What the stage noted of the slice in view, and on how many others it found the same."""
    noted = [name for name in trial.after.tables if name not in trial.before.tables and name.startswith(CURTAINS)]
    if trial.call.stage.notes != CURTAINS or not noted:
        return ""
    table = trial.after.tables[noted[-1]]
    many, n = int(np.sum(np.asarray(table["index"]) > 1)), len(table["index"])
    return f"{slice_line(table, trial.z - trial.z0, trial.z)} (curtains on {many} of the {n} slices)"


def _findings(table: Table) -> str:
    if "shifts_px" in table:
        shifts = np.asarray(table["shifts_px"])
        dy, dx = np.ptp(shifts, axis=0)
        return f"the slices move by {dy:.1f} rows and {dx:.1f} columns"
    if "thresholds" in table:
        return "grey levels " + ", ".join(f"{v:.4g}" for v in table["thresholds"])
    if "faces" in table:
        return f"{len(table['faces'])} triangles"
    shares = [row for row in table.get("rows", ()) if row["quantity"] == "volume_fraction"]
    if shares:
        return "volume fractions " + ", ".join(f"{r['value']:.3f} (phase {r['phase']})" for r in shares)
    return ""
