"""Refinement of a motion that is already known: every slice against the mean of those around it.

Aligning to a running template removes what a slice has of its own, jitter above all, and keeps what it shares with its
neighbours, so that the slow part of the motion stays as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import as_array
from fibtomo.core.drift import Drift
from fibtomo.core.volume import Table
from fibtomo.core.warp import Warp
from fibtomo.errors import InputError
from fibtomo.ops.refine_field import smooth_fields
from fibtomo.ops.refine_planes import Planes, SliceTiles, fit_planes
from fibtomo.ops.refine_shrink import shrunk
from fibtomo.ops.refine_tiles import REACH_SLICES, TileLattice, make_lattice, measure_tiles, neighbours
from fibtomo.ops.refine_time import fast_part, own_displacement, step_sizes

Float = NDArray[np.float64]
Model = Literal["translation", "affine", "elastic"]
MODELS: tuple[Model, ...] = ("translation", "affine", "elastic")

LARGEST_STRAIN = 0.005
"""Change of scale or shear of one slice beyond which it is not believed."""
_LEAST_STEP = 0.0005
_MOST_NODES = 33
_SLAB_SLICES = 16


@dataclass(frozen=True, eq=False)
class Refinement:
    """What is added to a motion.

    Attributes
    ----------
    shifts_px
        (n, 2) displacement (dy, dx) of the middle of every slice.
    warp
        Displacement within the slices besides; ``None`` if no slice has any.
    flags, notes
        Remarks per slice ("" where there is none), and sentences for the report.
    """

    shifts_px: Float
    warp: Warp | None
    flags: tuple[str, ...]
    notes: tuple[str, ...]

    def applied_to(self, drift: Drift) -> Drift:
        """The refined motion."""
        return replace(
            drift,
            shifts_px=drift.shifts_px + self.shifts_px,
            flags=tuple("; ".join(filter(None, pair)) for pair in zip(drift.flags, self.flags, strict=True)),
            method=f"{drift.method}, refined",
            notes=(*drift.notes, *self.notes),
        )

    def total_warp(self, frame: tuple[int, int]) -> Warp:
        """Displacement of every slice with that of its middle in it, to be used beside the motion as it was."""
        middle = Warp(self.shifts_px[:, None, None], frame)
        return middle if self.warp is None else self.warp + middle


def refine_drift(
    stack: Any, drift: Drift, *, model: Model = "affine", tile_px: int | None = None
) -> tuple[Drift, Warp | None]:
    """Refine the motion of a stack by registering each slice to the mean of two slices on either side.

    Only what changes from slice to slice is refined: the running mean over 11 slices is left as it was, because images
    do not tell slow changes of place, scale or shear from changing structure. Corrections that changing structure
    may as well explain are left out or made smaller. The stack is read once; memory holds a few slabs of 16 slices.

    Parameters
    ----------
    stack
        (z, y, x) NumPy or CuPy array, or anything with ``read(z0, z1)`` and ``spec`` (a `Stack`).
    drift
        Motion in px; its bad slices are neither used nor refined.
    model
        "translation"; "affine": scale, shear and rotation as well; "elastic": also a smooth displacement within the
        slice, or one from scan line to scan line.
    tile_px
        Side of the tiles that affine and elastic compare; ``None`` is an eighth of the slice, 64 px or more.

    Returns
    -------
    drift
        Refined motion, with flags and notes about what was found.
    warp
        Displacement within the slices, or ``None`` if none was found.

    Raises
    ------
    InputError
        Stack and drift do not fit together, the model does not exist or the tiles do not suit the slices.

    References
    ----------
    Hennies et al. 2020, Sci. Rep. 10:2004 (alignment to a median-smoothed template).

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> scene = gaussian_filter(np.random.default_rng(0).normal(size=(260, 260)), 3)
    >>> stack = np.stack([scene[2:258, 2 + (k == 8) : 258 + (k == 8)] for k in range(16)])
    >>> refined, warp = refine_drift(stack, Drift.identity(16))
    >>> refined.shifts_px[7:10, 1].round(1).tolist(), warp
    ([0.1, -0.8, 0.1], None)
    """
    stack = stack if hasattr(stack, "read") else as_array(stack)
    shape = tuple(stack.spec.shape if hasattr(stack, "read") else stack.shape)
    if len(shape) != 3 or shape[0] != len(drift):
        raise InputError(f"a drift of {len(drift)} slices does not fit a stack of shape {shape}")
    if model not in MODELS:
        raise InputError(f"model '{model}' does not exist; there are: {', '.join(MODELS)}")
    read = stack.read if hasattr(stack, "read") else lambda a, b: stack[a:b]
    n, lattice = shape[0], make_lattice((shape[1], shape[2]), tile_px)
    partials = []
    for start in range(0, n, _SLAB_SLICES):
        stop = min(n, start + _SLAB_SLICES)
        low, high = max(0, start - REACH_SLICES), min(n, stop + REACH_SLICES)
        core = (start - low, stop - low)
        partials.append(measure_tiles(read(low, high), low, core, drift.shifts_px, drift.bad_slices, lattice))
    found = combine_tiles(partials, drift, lattice, model)
    return found.applied_to(drift), found.warp


def combine_tiles(partials: Sequence[Table], drift: Drift, lattice: TileLattice, model: Model) -> Refinement:
    """Make one refinement of what `measure_tiles` left, in z order."""
    n = len(drift)
    rows = {name: np.concatenate([np.asarray(p[name]) for p in partials]) for name in partials[0]}
    bad = frozenset(drift.bad_slices)
    weights = {k: near for k in range(n) if k not in bad and (near := neighbours(k, n, bad))}
    slices = _own_tiles(rows, drift, lattice, weights)
    planes = fit_planes(slices, lattice.size)
    whole, seen = np.zeros((n, 2)), np.zeros(n, dtype=bool)
    whole[rows["whole_slice"]], seen[rows["whole_slice"]] = rows["whole_px"], rows["whole_seen"]
    middle = fast_part(own_displacement(whole, seen, weights))
    flags: list[list[str]] = [[] for _ in range(n)]
    notes: list[str] = []
    warp = None
    if model != "translation":
        strain = _believed_strain(planes, flags, notes)
        _note_steps(planes, flags, notes)
        matrices = np.concatenate([strain + np.eye(2), np.zeros((n, 2, 1))], axis=2)
        warp = Warp.from_affine(matrices, lattice.frame) if strain.any() else None
    if model == "elastic":
        rest = [_without(tiles, strain[k]) for k, tiles in enumerate(slices)]
        nodes = tuple(min(_MOST_NODES, max(4, size // lattice.step + 1)) for size in lattice.frame)
        fields = smooth_fields(rest, planes, lattice.size, lattice.frame, (nodes[0], nodes[1]))
        bent = np.isfinite(fields.middle_px)
        middle = np.where(bent, fields.middle_px, middle)
        if bent.any():
            smooth = Warp(fields.nodes_px, lattice.frame)
            warp = smooth if warp is None else warp + smooth
            notes.append(f"{int(bent.any(axis=1).sum())} of {n} slices are distorted smoothly and were straightened.")
    moved = np.stack([shrunk(middle[:, axis], planes.sigma[:, axis, 0])[0] for axis in (0, 1)], axis=1)
    moved[~seen] = 0.0
    notes.insert(0, _moved_note(moved))
    return Refinement(moved, warp, tuple("; ".join(f) for f in flags), tuple(notes))


def _own_tiles(
    rows: Table, drift: Drift, lattice: TileLattice, weights: dict[int, dict[int, float]]
) -> list[SliceTiles]:
    """Fast part of the tiles' own displacement, slice by slice."""
    own = np.zeros_like(rows["shift_px"])
    _, which = np.unique(rows["place"], axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(which.ravel()[order])) + 1) if len(own) else []:
        at = rows["slice"][members]
        first, last = int(at.min()), int(at.max())
        against, seen = np.zeros((last - first + 1, 2)), np.zeros(last - first + 1, dtype=bool)
        against[at - first], seen[at - first] = rows["shift_px"][members], rows["seen"][members]
        inside = {k - first: {d: w for d, w in weights[k].items() if first <= k + d <= last} for k in at.tolist()}
        own[members] = fast_part(own_displacement(against, seen, inside))[at - first]
    use = rows["seen"] & np.isfinite(rows["sigma_px"]).all(axis=1)
    edges = np.searchsorted(rows["slice"], np.arange(len(drift) + 1))
    found = []
    for k in range(len(drift)):
        mine = np.arange(edges[k], edges[k + 1])[use[edges[k] : edges[k + 1]]]
        middles = lattice.middles(rows["place"][mine], drift.shifts_px[k])
        found.append(SliceTiles(middles, own[mine], rows["sigma_px"][mine]))
    return found


def _believed_strain(planes: Planes, flags: list[list[str]], notes: list[str]) -> Float:
    """(n, 2, 2) change of (dy, dx) per row and per column as far as it is significant; none beyond the cap."""
    strain = np.zeros((len(planes.values), 2, 2))
    for axis in (0, 1):
        for along in (0, 1):
            strain[:, axis, along], _ = shrunk(planes.values[:, axis, 1 + along], planes.sigma[:, axis, 1 + along])
    beyond = np.abs(strain).max(axis=(1, 2)) > LARGEST_STRAIN
    for k in np.flatnonzero(beyond):
        flags[k].append(f"scale or shear off by {100 * np.abs(strain[k]).max():.2f} %: too much to be believed")
    strain[beyond] = 0.0
    changed = strain.any(axis=(1, 2))
    if changed.any():
        size = 100 * np.sqrt((strain[changed] ** 2).mean(axis=0))
        notes.append(
            f"{int(changed.sum())} of {len(strain)} slices were scaled, sheared or turned against their neighbours: "
            f"scale y {size[0, 0]:.3f} %, x {size[1, 1]:.3f} %; shear of x {size[1, 0]:.3f} %, of y {size[0, 1]:.3f} % "
            f"rms. Slow changes of these are not told from structure and stay."
        )
    return strain


def _note_steps(planes: Planes, flags: list[list[str]], notes: list[str]) -> None:
    """Tell of lasting steps of magnification, as after refocusing; they are not taken out."""
    found = []
    scale = (planes.values[:, 0, 1] + planes.values[:, 1, 2]) / 2
    for k, size in step_sizes(scale, _LEAST_STEP):
        flags[k].append(f"magnification step of {100 * size:+.2f} %")
        found.append(k)
    if found:
        listed = ", ".join(map(str, found))
        notes.append(f"The magnification changes lastingly at slice {listed}: refocused or restarted there?")


def _without(tiles: SliceTiles, strain: Float) -> SliceTiles:
    """Tiles less what an affine displacement explains."""
    return replace(tiles, shift_px=tiles.shift_px - tiles.middle_px @ strain.T)


def _moved_note(moved: Float) -> str:
    many = int(moved.any(axis=1).sum())
    if not many:
        return "Refinement found no jitter beyond what changing structure explains."
    size = np.sqrt((moved[moved.any(axis=1)] ** 2).sum(axis=1).mean())
    return f"Refinement moved {many} of {len(moved)} slices by {size:.2f} px rms against their neighbours."
