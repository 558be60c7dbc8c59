"""Phase fractions, surfaces, Euler numbers and percolation of a labelled volume, summed slab by slab.

Everything comes from cells of 2 × 2 × 2 voxels (Ohser & Mücklich 2000, Statistical Analysis of Microstructures) and
from connected components. Sums are kept for a few tiles of each slice: from their scatter over ever larger blocks
follows the sampling error (block variance, Lantuéjoul 1991, J. Microsc. 161, 387), whatever the slabs were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace, to_host
from fibtomo.backend.kernels import twin
from fibtomo.core.measurements import Measurements
from fibtomo.core.volume import OUTSIDE, Shape, Table, VoxelNm
from fibtomo.errors import InputError
from fibtomo.ops.cells import EULER, pair_weights, surface_table
from fibtomo.ops.histogram import count_bins
from fibtomo.ops.labels import Components, Connectivity, join_components, seen_boxes, slab_components
from fibtomo.ops.objects import object_columns
from fibtomo.ops.threshold_effect import Effect

TILES = 8
SLAB = 32
AXES = {"x": ("x0", "x1"), "y": ("y0", "y1"), "z": ("z0", "z1")}
DEFINITIONS = {
    "volume_fraction": "share of the seen voxels",
    "surface_density": "area of the phase's interface to all other phases per volume; Crofton formula, 13 directions",
    "interface_density": "area of the interface between two phases per volume; Crofton formula, 13 directions",
    "mean_chord": "mean intercept length 4 φ / S_V",
    "euler_density": "Euler number per volume, mean of 6- and 26-connectivity (half their difference enters the error)",
    "euler_density_6": "Euler number per volume, voxels joined by faces",
    "euler_density_26": "Euler number per volume, voxels joined by faces, edges or corners",
    "percolates": "1 if one {connectivity}-connected component touches both outer faces along {axis}",
    "percolating_fraction": "share of the phase in {connectivity}-connected components touching both faces, {axis}",
    "components": "number of {connectivity}-connected components",
    "largest_component_fraction": "share of the phase in its largest {connectivity}-connected component",
}


def measure(
    labels: Any,
    voxel_nm: float | VoxelNm | None,
    *,
    connectivity: Connectivity = 6,
    objects_phase: int | None = None,
) -> Measurements:
    """Measure every phase of a labelled volume.

    Parameters
    ----------
    labels
        (z, y, x) bool or integer phase labels 0 … 254, numpy or cupy; 255 is outside the field of view and counts for
        nothing.
    voxel_nm
        Voxel size, one number or (dz, dy, dx); ``None`` measures in voxels.
    connectivity
        Voxels that hang together: 6, 18 or 26.
    objects_phase
        Phase whose connected components are listed in ``.objects``; ``None`` for no list.

    Returns
    -------
    Measurements
        For each phase: volume_fraction, surface_density, mean_chord, euler_density (and _6, _26), percolates_x/y/z,
        percolating_fraction_x/y/z, components, largest_component_fraction; interface_density for pairs of phases.

    Raises
    ------
    InputError
        The labels are not a 3D array of phases, or the voxel size is not positive.

    References
    ----------
    Ohser & Mücklich 2000; Lang, Ohser & Hilfer 2001, J. Microsc. 203, 303; Lantuéjoul 1991, J. Microsc. 161, 387.

    Examples
    --------
    >>> laminate = np.zeros((8, 8, 8), dtype=np.uint8)
    >>> laminate[:, 4:] = 1
    >>> m = measure(laminate, 10.0)
    >>> m.get("volume_fraction", 1), m.get("percolates_x", 1), m.get("percolates_y", 1)
    (0.5, 1.0, 0.0)
    """
    phases = as_phases(labels)
    scale, unit = as_scale(voxel_nm)
    partials = []
    for z0 in range(0, len(phases), SLAB):
        depth = min(SLAB, len(phases) - z0)
        partials.append(slab_sums(phases[z0 : z0 + depth + 1], depth, z0, phases.shape, scale, connectivity))
    rows = measurement_rows(partials, scale, unit, connectivity)
    if objects_phase is None:
        return Measurements(rows)
    mask = (phases == objects_phase).astype(np.uint8)
    components = join_components(
        [slab_components(mask, seen_boxes(phases), 0, len(phases), connectivity)], connectivity
    )
    return Measurements(rows, object_columns(components, scale, unit))


def as_phases(labels: Any) -> Any:
    """Return phase labels, numpy or cupy, as uint8.

    Raises
    ------
    InputError
        Not three axes, no voxels, not integer, or labels beyond 0 … 255.
    """
    if labels.ndim != 3 or 0 in labels.shape:
        raise InputError(f"labels of shape {labels.shape} must have three axes (z, y, x), none of them empty")
    if labels.dtype.kind not in "biu":
        raise InputError(f"labels of type {labels.dtype} must be integers; segment the grey volume first")
    if labels.dtype != np.uint8 and labels.dtype.kind != "b":
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high > OUTSIDE:
            raise InputError(f"labels run from {low} to {high}; phases must lie in 0 to 254 (255: not seen)")
    return labels.astype(np.uint8, copy=False)


def phases_in(phases: Any) -> NDArray[np.int64]:
    """Return the phases that occur in uint8 labels, ascending, on the host.

    Examples
    --------
    >>> phases_in(np.array([[[3, 255, 1]]], dtype=np.uint8)).tolist()
    [1, 3]
    """
    return np.flatnonzero(to_host(count_bins(phases, [-0.5], [1.0], OUTSIDE))[0, 0, 1:-1])


def as_scale(voxel_nm: float | VoxelNm | None) -> tuple[VoxelNm, str]:
    """Return (dz, dy, dx) and its unit, "nm" or "voxel".

    Raises
    ------
    InputError
        Not one or three positive numbers.
    """
    if voxel_nm is None:
        return (1.0, 1.0, 1.0), "voxel"
    sizes = np.broadcast_to(np.asarray(voxel_nm, dtype=np.float64), 3) if np.size(voxel_nm) in {1, 3} else np.zeros(1)
    if not np.all(np.isfinite(sizes) & (sizes > 0)):
        raise InputError(f"voxel_nm = {voxel_nm} must be one or three positive lengths (dz, dy, dx) in nm")
    dz, dy, dx = (float(s) for s in sizes)
    return (dz, dy, dx), "nm"


def slab_sums(phases: Any, depth: int, z0: int, shape: Shape, scale: VoxelNm, connectivity: Connectivity) -> Table:
    """What one slab contributes to the measurements of the whole volume.

    Parameters
    ----------
    phases
        (z, y, x) uint8, numpy or cupy: the slab's own slices and, unless it is the last, the next one.
    depth, z0
        Number of own slices, and index of the first in the whole volume.
    shape, scale
        Shape of the whole volume and voxel size.
    connectivity
        Of the components that may percolate.
    """
    present = phases_in(phases)
    index = np.full(256, OUTSIDE, dtype=np.uint8)
    index[present] = np.arange(len(present))
    numbered = namespace(phases).take(like(phases, index), phases)
    counted = twin(__package__, "cell", like=phases).count_cells(
        numbered, depth, tile_edge(shape), len(present), pair_weights(scale), surface_table(scale), EULER
    )
    sums, cells, between = (to_host(part) for part in counted)
    own = phases[:depth]
    parts = slab_components(own + np.uint8(1), seen_boxes(own), z0, shape[0], connectivity)
    return {**parts, "values": present, "sums": sums, "cells": cells, "between": between}


def tile_edge(shape: Shape) -> int:
    """Edge of the square tiles in pixels."""
    return ceil(max(shape[1:]) / TILES)


def measurement_rows(
    partials: Sequence[Table],
    scale: VoxelNm,
    unit: str,
    connectivity: Connectivity,
    fraction_sigma: Sequence[float] = (),
    effect: Effect | None = None,
) -> list[dict[str, Any]]:
    """Make the table of all numbers from the sums of all slabs, in z order.

    Parameters
    ----------
    partials
        From `slab_sums`.
    scale, unit
        Voxel size and its unit.
    connectivity
        As given to `slab_sums`.
    fraction_sigma
        Standard error of each phase fraction that the segmentation's thresholds cause, if known; phases it counts are
        listed even if they do not occur.
    effect
        What they do to surface density and mean chord, if known.
    """
    values = np.unique(np.concatenate([np.arange(len(fraction_sigma)), *(t["values"] for t in partials)]).astype(int))
    sums = np.concatenate([_spread(t["sums"], t["values"], values, (3,)) for t in partials])
    between = np.concatenate([_spread(t["between"], t["values"], values, (1, 2)) for t in partials]).sum(axis=0)
    cells = np.concatenate([t["cells"] for t in partials])
    edge = ceil(max(partials[0]["plane_shape"]) / TILES)
    blocks = _Blocks(edge * scale[1] / scale[0])
    components = join_components(partials, connectivity)
    rows = []
    for k, value in enumerate(values):
        doubt = _Doubt.of(int(value), fraction_sigma, effect)
        rows += _phase_rows(int(value), sums[:, :, :, k], sums[..., 0].sum(axis=3), cells, blocks, scale, unit, doubt)
        rows += _component_rows(int(value), components, connectivity)
    n_cells = max(1, int(cells.sum()))
    for i, j in zip(*np.triu_indices(len(values), 1), strict=True):
        name = f"{values[i]}|{values[j]}"
        rows.append(_row("interface_density", name, between[i, j] / n_cells, f"{unit}^-1", None))
    return rows


def _spread(part: NDArray[Any], own: NDArray[Any], values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Place a slab's phases among those of the whole volume."""
    at = np.searchsorted(values, own)
    for axis in axes:
        shape = list(part.shape)
        shape[axis] = len(values)
        wide = np.zeros(shape, dtype=part.dtype)
        wide[(slice(None),) * axis + (at,)] = part
        part = wide
    return part


@dataclass(frozen=True)
class _Doubt:
    """Standard errors of a phase that the thresholds cause: of its share, and relative ones; ``None`` if not known."""

    fraction: float | None
    surface: float | None = None
    chord: float | None = None

    @classmethod
    def of(cls, phase: int, fraction_sigma: Sequence[float], effect: Effect | None) -> "_Doubt":
        if phase >= len(fraction_sigma):
            return cls(None)
        if effect is None or phase >= len(effect.surface):
            return cls(float(fraction_sigma[phase]))
        return cls(float(fraction_sigma[phase]), float(effect.surface[phase]), float(effect.chord[phase]))


def _row(quantity: str, phase: int | str, value: Any, unit: str, error: float | None, **words: Any) -> dict[str, Any]:
    axis = words.get("axis")
    return {
        "quantity": f"{quantity}_{axis}" if axis else quantity,
        "phase": phase,
        "value": float(value),
        "unit": unit,
        "uncertainty": _known(error),
        "definition": DEFINITIONS[quantity].format(**words),
        "sampling": None,
        "threshold": None,
    }


def _known(error: float | None) -> float | None:
    return None if error is None or not np.isfinite(error) else float(error)


def _parted(row: dict[str, Any], threshold: float | None) -> dict[str, Any]:
    """Row whose uncertainty is all sampling, with what the thresholds add."""
    sampling, threshold = row["uncertainty"], _known(threshold)
    if not threshold:
        return {**row, "sampling": sampling}
    total = threshold if sampling is None else float(np.hypot(sampling, threshold))
    definition = f"{row['definition']}; uncertainty: sampling and doubtful voxels (threshold or forest)"
    return {**row, "uncertainty": total, "definition": definition, "sampling": sampling, "threshold": threshold}


def _phase_rows(
    phase: int,
    sums: NDArray[np.float64],
    seen: NDArray[np.float64],
    cells: NDArray[np.int64],
    blocks: "_Blocks",
    scale: VoxelNm,
    unit: str,
    doubt: _Doubt,
) -> list[dict[str, Any]]:
    """Numbers of one phase from its sums (z, tiles, tiles, 4)."""
    fraction, fraction_error = blocks.ratio(sums[..., 0], seen)
    surface, surface_error = blocks.ratio(sums[..., 1], cells)
    cell_volume = 8.0 * np.prod(scale)
    euler = [blocks.ratio(sums[..., c] / cell_volume, cells) for c in (2, 3)]
    mean, mean_error = blocks.ratio((sums[..., 2] + sums[..., 3]) / (2 * cell_volume), cells)
    chord = 4 * fraction / surface if surface > 0 else np.nan
    chord_error = chord * np.hypot(fraction_error / fraction, surface_error / surface) if surface > 0 else None
    return [
        _parted(_row("volume_fraction", phase, fraction, "1", fraction_error), doubt.fraction),
        _parted(_row("surface_density", phase, surface, f"{unit}^-1", surface_error), _times(surface, doubt.surface)),
        _parted(_row("mean_chord", phase, chord, unit, chord_error), _times(chord, doubt.chord)),
        _row("euler_density", phase, mean, f"{unit}^-3", float(np.hypot(mean_error, (euler[0][0] - euler[1][0]) / 2))),
        _row("euler_density_6", phase, euler[0][0], f"{unit}^-3", euler[0][1]),
        _row("euler_density_26", phase, euler[1][0], f"{unit}^-3", euler[1][1]),
    ]


def _times(value: float, relative: float | None) -> float | None:
    return None if relative is None else value * relative


def _component_rows(phase: int, found: Components, connectivity: int) -> list[dict[str, Any]]:
    mine = found.classes == phase + 1
    voxels = found.column("voxels")[mine]
    total = max(1, int(voxels.sum()))
    words = {"connectivity": connectivity}
    rows = []
    for axis, (start, end) in AXES.items():
        through = (found.touches(start) & found.touches(end))[mine]
        rows.append(_row("percolates", phase, through.any(), "1", None, axis=axis, **words))
        share = voxels[through].sum() / total
        rows.append(_row("percolating_fraction", phase, share, "1", None, axis=axis, **words))
    rows.append(_row("components", phase, len(voxels), "1", None, **words))
    share = voxels.max(initial=0) / total
    rows.append(_row("largest_component_fraction", phase, share, "1", None, **words))
    return rows


class _Blocks:
    """Groups tiles of slices into ever larger, nearly cubic blocks.

    Parameters
    ----------
    slices_per_tile
        Slices as thick as a tile is wide.
    """

    MIN_BLOCKS = 8

    def __init__(self, slices_per_tile: float) -> None:
        self.slices_per_tile = slices_per_tile

    def ratio(self, part: NDArray[Any], whole: NDArray[Any]) -> tuple[float, float]:
        """Return Σ part / Σ whole and its standard error: the largest that blocks of any size give.

        Blocks smaller than the structure underestimate the error, so the largest estimate counts; sizes that leave
        fewer than eight blocks are not asked.
        """
        total = float(whole.sum())
        if total == 0:
            return 0.0, float("nan")
        value = float(part.sum()) / total
        error = float("nan")
        for size in (1, 2, 4):
            depth = max(1, round(size * self.slices_per_tile))
            a, b = (_grouped(v, (depth, size, size)) for v in (part, whole))
            filled = b > 0
            n = int(filled.sum())
            if n >= self.MIN_BLOCKS:
                scatter = np.sqrt(n / (n - 1) * np.sum((a - value * b)[filled] ** 2)) / total
                error = float(np.fmax(error, scatter))
        return value, error


def _grouped(values: NDArray[Any], block: tuple[int, int, int]) -> NDArray[Any]:
    for axis, step in enumerate(block):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], step), axis=axis)
    return values
