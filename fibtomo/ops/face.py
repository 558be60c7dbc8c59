"""The face of the specimen on the slices: without padding, protective layer, trench walls and redeposited material."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Table
from fibtomo.ops.face_edges import CAP, FLOOR, LEFT, RIGHT, Stack, find_layers
from fibtomo.ops.face_layer import LEAST_SLICES

Float = NDArray[np.float64]

LEFT_OUT = ", left out"
"""End of the notes on what is left out."""
_LEAST_FACE = 0.2  # of the rows and columns must remain,
_LEAST_SHOWN = 0.5  # and this much of what a slice shows inside its padding
_MOST_WANDER = 0.15  # of the rows, by which a layer may wander in the aligned stack
_TRUNCATED = 0.1  # of a slice more padding than usual
_FEW = 0.05
_LINES = ("rows", "columns")
_AXIS_AND_NEAR = {CAP: (0, True), FLOOR: (0, False), LEFT: (1, True), RIGHT: (1, False)}


@dataclass(frozen=True)
class Finding:
    """Something at one side of the slices that is no specimen, or may be none.

    Attributes
    ----------
    side
        0 to 3: top, bottom, left, right.
    limit
        First line of the face (top, left) or the line after its last (bottom, right), on slice 0.
    place, what
        Where, and what it is taken for.
    doubts
        Why it is kept; empty if it is left out.
    """

    side: int
    limit: float
    place: str
    what: str
    doubts: str = ""


def find_face(
    measured: Table,
    shape: tuple[int, int],
    shifts_px: Float | None = None,
    margin_px: tuple[float, float] = (3.0, 3.0),
    bad_slices: Sequence[int] = (),
    leave_out: bool = True,
) -> Table:
    """Find the box of rows and columns that shows specimen and nothing else on every slice.

    A layer at an edge is left out only if all signs agree: it is quiet where the specimen is structured, its
    boundary is straight on practically every slice and moves smoothly, the specimen changes through the stack and
    the layer does not, nothing in the specimen is as quiet over such a width, and its grey occurs nowhere in the
    specimen. A coating of a substance of its own meets all this too; no image tells it from a protective layer.

    Parameters
    ----------
    measured
        Columns of all slices from `measure_faces`.
    shape
        Rows and columns of the slices.
    shifts_px
        (n, 2) motion of the slices (dy, dx) as in `Drift`; ``None`` if it is not known.
    margin_px
        Rows and columns kept away from a layer.
    bad_slices
        Indices of slices to leave out of account.
    leave_out
        Whether to leave out what is found, or only to tell of it.

    Returns
    -------
    Table
        ``box_px`` [y0, y1, x0, x1] as rows and columns of slice 0, may reach beyond it where other slices do;
        ``crop`` 1 if it leaves something out; ``padding_px`` [top, bottom, left, right]; ``surface_row_px``,
        ``surface_sigma_px``, ``surface_confidence`` (n,) row of the surface at the middle column as stored, NaN where
        not found, its standard deviation, and 0 to 1; ``surface_slope`` rows per column; ``wall_column_px``,
        ``wall_sigma_px`` (n,) mean column of the trench walls;
        ``notes`` sentences.
    """
    n = len(measured["padding"])
    shifts = np.zeros((n, 2)) if shifts_px is None else np.asarray(shifts_px, dtype=np.float64)
    stack = Stack(
        down=np.asarray(measured["down"]),
        across=np.asarray(measured["across"]),
        samples=np.asarray(measured["samples"]),
        usable=~np.isin(np.arange(n), np.asarray(bad_slices, dtype=np.int64)),
        padding=np.asarray(measured["padding"]),
        shape=shape,
        shifts_px=shifts,
    )
    find_layers(stack)
    return _table(stack, margin_px, leave_out)


def _whole(stack: Stack) -> list[int]:
    """Rows and columns of slice 0 between which any slice shows something."""
    low, high = -stack.shifts_px.max(axis=0), np.array(stack.shape) - stack.shifts_px.min(axis=0)
    low, high = np.floor(low + 1e-6).astype(int), np.ceil(high - 1e-6).astype(int)
    return [int(low[0]), int(high[0]), int(low[1]), int(high[1])]


def _within(box: Sequence[int], findings: Sequence[Finding]) -> list[int]:
    """The box less all that is left out."""
    inner = list(box)
    for found in findings:
        if not found.doubts:
            limit = int(np.ceil(found.limit)) if found.side % 2 == 0 else int(np.floor(found.limit))
            inner[found.side] = (max if found.side % 2 == 0 else min)(inner[found.side], limit)
    return inner


def _sentence(found: Finding, left_out: bool, wanted: bool) -> str:
    if found.doubts:
        return f"{found.place}: perhaps {found.what}, kept ({found.doubts})"
    if not left_out:
        return f"{found.place}: {found.what}, kept, as " + ("too little would remain" if wanted else "was asked")
    return f"{found.place}: {found.what}{LEFT_OUT}"


def _leave_out(stack: Stack, padded: list[Finding], layers: list[Finding]) -> tuple[list[int], list[Finding]]:
    """Choose a box that leaves enough, with what it leaves out: padding and layers, or layers alone.

    Padding of slices that were moved far against each other covers much that most of them show.
    """
    whole = _whole(stack)
    edges = np.median(stack.padding[stack.usable], axis=0) if stack.usable.any() else np.zeros(4)
    shown = np.array(stack.shape) - [edges[0] + edges[1], edges[2] + edges[3]]
    for chosen, least in ((padded + layers, _LEAST_SHOWN * shown), (layers, np.full(2, -np.inf))):
        unpadded = np.diff(np.reshape(_within(whole, padded), (2, 2))).ravel()
        box = _within(whole, chosen)
        size = np.diff(np.reshape(box, (2, 2))).ravel()
        if (size >= _LEAST_FACE * np.array(stack.shape)).all() and (unpadded >= least).all():
            return box, chosen
    return whole, []


def _place(axis: int, near: bool, edge: float, length: int) -> str:
    return f"{_LINES[axis]} 0–{edge:.0f}" if near else f"{_LINES[axis]} {edge:.0f}–{length - 1}"


def _layers(stack: Stack, margin_px: tuple[float, float]) -> Iterator[Finding]:
    for name, (axis, near) in _AXIS_AND_NEAR.items():
        layer = stack.layers.get(name)
        if layer is None or not layer.likely:
            continue
        shifts, length = stack.shifts_px[:, axis], stack.shape[axis]
        middle = layer.places_px - shifts
        wander = float(np.nanmax(middle) - np.nanmin(middle))
        limits = layer.limits_px - shifts[:, None]
        edge = float(np.nanmax(limits)) if near else float(np.nanmin(limits))
        doubts = list(layer.doubts)
        if wander > _MOST_WANDER * length:
            doubts.append(f"it wanders by {wander:.0f} {_LINES[axis]} in the aligned stack")
        yield Finding(
            side=2 * axis + (not near),
            limit=edge + margin_px[axis] if near else edge - margin_px[axis] + 1,
            place=_place(axis, near, edge, length),
            what=name,
            doubts="; ".join(doubts),
        )


def _padding(stack: Stack) -> Iterator[tuple[int, Finding]]:
    """Constant lines that slices lack at each side; truncated slices, if there are few, do not count."""
    seen = stack.usable & (stack.padding[:, [0, 2]].sum(axis=1) < sum(stack.shape))
    for side in range(4) if seen.any() else ():
        axis, near = side // 2, side % 2 == 0
        width, length = stack.padding[:, side], stack.shape[axis]
        odd = seen & (width > np.median(width[seen]) + _TRUNCATED * length)
        use = (seen & ~odd if odd.sum() <= max(1, _FEW * len(width)) else seen) & (width > 0)
        if not use.any():
            continue
        most = int(width[use].max())
        limit = (width if near else width - length)[use] + (-1 if near else 1) * stack.shifts_px[use, axis]
        place = _place(axis, near, most - 1 if near else length - most, length)
        yield most, Finding(side, float(limit.max()) * (1 if near else -1), place, f"padding, constant {_LINES[axis]}")


def _table(stack: Stack, margin_px: tuple[float, float], wanted: bool) -> Table:
    n = len(stack.padding)
    padded, layers = list(_padding(stack)), list(_layers(stack, margin_px))
    whole = _whole(stack)
    box, chosen = _leave_out(stack, [found for _, found in padded], layers) if wanted else (whole, [])
    notes = [_sentence(found, found in chosen, wanted) for found in [found for _, found in padded] + layers]
    if n < LEAST_SLICES:
        notes.append(f"fewer than {LEAST_SLICES} slices do not tell a layer from specimen")
    padding = [0, 0, 0, 0]
    for most, found in padded:
        padding[found.side] = most
    cap = stack.layers.get(CAP)
    columns, column_sigma = _walls(stack)
    table = {
        "box_px": box,
        "crop": int(box != whole),
        "padding_px": padding,
        "notes": notes,
        "wall_column_px": columns,
        "wall_sigma_px": column_sigma,
    }
    if cap is None or not cap.likely:
        nowhere = np.full(n, np.nan)
        return table | {
            "surface_row_px": nowhere,
            "surface_sigma_px": nowhere,
            "surface_confidence": np.zeros(n),
            "surface_slope": 0.0,
        }
    return table | {
        "surface_row_px": cap.places_px,
        "surface_sigma_px": cap.sigma_px,
        "surface_confidence": cap.boundary.agreement * (0.5 if cap.doubts else 1.0),
        "surface_slope": float(np.nanmedian(cap.slopes)),
    }


def _walls(stack: Stack) -> tuple[Float, Float]:
    """(n,) mean column of the trench walls and its standard deviation; NaN where they are not all seen."""
    n = len(stack.padding)
    walls = [layer for name in (LEFT, RIGHT) if (layer := stack.layers.get(name)) is not None and layer.likely]
    if not walls:
        return np.full(n, np.nan), np.full(n, np.nan)
    variance = np.sum([wall.sigma_px**2 for wall in walls], axis=0)
    return np.mean([wall.places_px for wall in walls], axis=0), np.sqrt(variance) / len(walls)
