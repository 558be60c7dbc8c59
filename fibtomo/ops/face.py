"""The face of the specimen on the slices: without padding, protective layer, trench walls and redeposited material."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Table
from fibtomo.ops.face_layer import Boundary, Verdict, follow_boundary, judge
from fibtomo.ops.face_measure import StripLayout, sample_places

Float = NDArray[np.float64]

_CAP, _LEFT, _RIGHT, _FLOOR = "protective layer", "left wall of the trench", "right wall of the trench", "redeposition"
_LEAST_FACE = 0.2  # of the rows and columns must remain
_MOST_WANDER = 0.15  # of the rows, by which a layer may wander in the aligned stack
_SAME_GREY = 0.06  # of the specimen may have the grey of the layer
_TRUNCATED = 0.1  # of a slice more padding than usual
_FEW = 0.05


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer found at one edge.

    Attributes
    ----------
    name
        What it is taken for.
    limits_px
        (n, 2) least and greatest row or column of its boundary on each slice, NaN where not found.
    boundary
        The boundary in points of the profiles, counted from that edge.
    places_px, slopes
        (n,) row or column at the middle of the slice, and px per px along it.
    verdict
        The signs.
    same_grey
        Fraction of the specimen that has the layer's grey.
    """

    name: str
    limits_px: Float
    boundary: Boundary
    places_px: Float
    slopes: Float
    verdict: Verdict
    same_grey: float

    @property
    def certain(self) -> bool:
        """Whether it may be cropped."""
        return self.verdict.certain and self.same_grey <= _SAME_GREY

    @property
    def doubts(self) -> str:
        """What speaks against it, for people."""
        grey = f"{100 * self.same_grey:.0f} % of the specimen have its grey" if self.same_grey > _SAME_GREY else ""
        return "; ".join(filter(None, [*self.verdict.doubts, grey]))


@dataclass(frozen=True, eq=False)
class Stack:
    """Columns that `fibtomo.ops.face_measure.measure_faces` leaves, for all slices, and their motion."""

    down: NDArray[np.float32]
    across: NDArray[np.float32]
    samples: NDArray[np.float32]
    usable: NDArray[np.bool_]
    padding: NDArray[np.int64]
    shape: tuple[int, int]
    shifts_px: Float
    layers: dict[str, Layer] = field(default_factory=dict)


def find_face(
    measured: Table,
    shape: tuple[int, int],
    shifts_px: Float | None = None,
    margin_px: tuple[float, float] = (3.0, 3.0),
    bad_slices: Sequence[int] = (),
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

    Returns
    -------
    Table
        ``box_px`` [y0, y1, x0, x1] as rows and columns of slice 0, may reach beyond it where other slices do;
        ``crop`` 1 if it leaves something out; ``padding_px`` [top, bottom, left, right]; ``surface_row_px``,
        ``surface_sigma_px``, ``surface_confidence`` (n,) row of the surface at the middle column as stored, NaN where
        not found; ``surface_slope`` rows per column; ``layers`` one dictionary for each layer that was found;
        ``notes`` sentences.
    """
    n = len(measured["padding"])
    shifts = np.zeros((n, 2)) if shifts_px is None else np.asarray(shifts_px, dtype=np.float64)
    void = np.isin(np.arange(n), np.asarray(bad_slices, dtype=np.int64))[:, None, None]
    down, across, samples = (
        np.where(void, np.float32(np.nan), np.asarray(measured[name], dtype=np.float32))
        for name in ("down", "across", "samples")
    )
    stack = Stack(
        down=down,
        across=across,
        samples=samples,
        usable=~void[:, 0, 0],
        padding=np.asarray(measured["padding"]),
        shape=shape,
        shifts_px=shifts,
    )
    find_layers(stack)
    return _table(stack, margin_px)


def find_layers(stack: Stack) -> None:
    """Look for a layer at every edge, and once more when those at the other edges are known."""
    for name in 2 * (_CAP, _FLOOR, _LEFT, _RIGHT):
        found = _look(stack, name)
        if found is not None:
            stack.layers[name] = found
        else:
            stack.layers.pop(name, None)


def _look(stack: Stack, name: str) -> Layer | None:
    along, flipped = (0, name == _FLOOR) if name in {_CAP, _FLOOR} else (1, name == _RIGHT)
    length, width = stack.shape[along], stack.shape[1 - along]
    layout = StripLayout.of(length, width)
    profiles = (stack.down, stack.across)[along]
    first, last = _free(stack, 1 - along)
    strips = np.flatnonzero((layout.centres_px > first) & (layout.centres_px < last))
    if len(strips) < 5:
        return None
    sign, end = (-1.0, layout.points * layout.bin_px - 1.0) if flipped else (1.0, 0.0)
    beyond = _opposite(stack, along, flipped)
    used = profiles[:, :, strips]
    if beyond is not None:
        places = (np.arange(layout.points) + 0.5) * layout.bin_px - 0.5
        hidden = places > beyond if not flipped else places < beyond
        used = np.where(hidden[:, None], np.float32(np.nan), used)
    if flipped:
        used = used[:, ::-1]
    across = (layout.centres_px[strips] - (width - 1) / 2) / layout.bin_px
    boundary = follow_boundary(used, sign * stack.shifts_px[:, along] / layout.bin_px, across)
    if boundary is None:
        return None
    verdict = judge(used, boundary)

    def pixels(points: Float) -> Float:
        return np.asarray(end + sign * ((points + 0.5) * layout.bin_px - 0.5))

    lines = pixels(boundary.places[:, None] + boundary.shape)
    middle = float(np.interp(0.0, across, boundary.shape))
    return Layer(
        name=name,
        limits_px=np.stack([lines.min(axis=1), lines.max(axis=1)], axis=1),
        boundary=boundary,
        places_px=pixels(boundary.places + middle),
        slopes=sign * boundary.slopes,
        verdict=verdict,
        same_grey=_same_grey(stack, along, flipped, lines, layout.centres_px[strips], verdict.band * layout.bin_px),
    )


def _free(stack: Stack, axis: int) -> tuple[float, float]:
    """Range of rows (axis 0) or columns between the layers that seem to be there, on every slice."""
    first, last = -1.0, float(stack.shape[axis])
    for name in (_CAP, _FLOOR) if axis == 0 else (_LEFT, _RIGHT):
        layer = stack.layers.get(name)
        if layer is None or not layer.verdict.likely:
            continue
        if name in {_CAP, _LEFT}:
            first = float(np.nanmax(layer.limits_px)) + 3
        else:
            last = float(np.nanmin(layer.limits_px)) - 3
    return first, last


def _opposite(stack: Stack, axis: int, flipped: bool) -> float | None:
    """Where a layer at the opposite edge begins, if there is one."""
    first, last = _free(stack, axis)
    limit = first if flipped else last
    return limit if 0 < limit < stack.shape[axis] - 1 else None


def _same_grey(stack: Stack, along: int, flipped: bool, lines: Float, at_px: Float, band_px: float) -> float:
    """Fraction of the specimen's samples that have the grey of the layer."""
    samples = stack.samples if along == 0 else stack.samples.transpose(0, 2, 1)
    places = sample_places(stack.shape[along]) + 1.0
    columns = sample_places(stack.shape[1 - along]) + 1.0
    inside = (columns >= at_px[0]) & (columns <= at_px[-1])
    good = np.isfinite(lines).all(axis=1)
    if not good.any() or not inside.any():
        return 1.0
    ends = np.stack([np.interp(columns[inside], at_px, line) for line in lines[good]])
    depth = (places[None, :, None] - ends[:, None]) * (-1 if flipped else 1)
    values = samples[good][:, :, inside]
    layer, specimen = (depth < -3) & (depth > -3 - max(band_px, 3)), depth > 4
    opposite = _opposite(stack, along, flipped)
    if opposite is not None:
        specimen &= ((places > opposite) if flipped else (places < opposite))[None, :, None]
    if layer.sum() < 20 or not specimen.any():
        return 1.0
    grey = np.array([_centre(v[where]) for v, where in zip(values, layer, strict=True)])
    away = values - grey[:, None, None]
    known = np.isfinite(away)
    if not (layer & known).any() or not (specimen & known).any():
        return 1.0
    spread = 1.4826 * float(np.median(np.abs(away[layer & known])))
    return float((np.abs(away[specimen & known]) <= 2.5 * spread).mean())


def _centre(values: NDArray[np.float32]) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else np.nan


def _table(stack: Stack, margin_px: tuple[float, float]) -> Table:
    n = len(stack.padding)
    shifts, (rows, cols) = stack.shifts_px, stack.shape
    whole = [-shifts[:, 0].max(), rows - shifts[:, 0].min(), -shifts[:, 1].max(), cols - shifts[:, 1].min()]
    box = [float(np.floor(v + 1e-6)) if i % 2 == 0 else float(np.ceil(v - 1e-6)) for i, v in enumerate(whole)]
    notes: list[str] = []
    padding = _cut_padding(stack, box, notes)
    cut = any(padding)
    for name in (_CAP, _FLOOR, _LEFT, _RIGHT):
        layer = stack.layers.get(name)
        if layer is None or not layer.verdict.likely:
            continue
        axis = 0 if name in {_CAP, _FLOOR} else 1
        limit = layer.limits_px - shifts[:, axis, None]
        middle = layer.places_px - shifts[:, axis]
        wander = float(np.nanmax(middle) - np.nanmin(middle))
        near = name in {_CAP, _LEFT}
        edge = float(np.nanmax(limit)) if near else float(np.nanmin(limit))
        lines = ("rows", "columns")[axis]
        place = f"{lines} 0–{edge:.0f}" if near else f"{lines} {edge:.0f}–{stack.shape[axis] - 1}"
        if layer.certain and wander <= _MOST_WANDER * stack.shape[axis]:
            side = 2 * axis + (0 if near else 1)
            inner = np.ceil(edge + margin_px[axis]) if near else np.floor(edge - margin_px[axis]) + 1
            box[side] = max(box[side], inner) if near else min(box[side], inner)
            cut = True
            notes.append(f"{place}: {name}, left out")
        elif layer.certain:
            notes.append(f"{place}: {name}, kept, for it wanders by {wander:.0f} {lines} in the aligned stack")
        else:
            notes.append(f"{place}: perhaps a {name}, kept ({layer.doubts})")
    least = _LEAST_FACE * np.array([rows, cols])
    if box[1] - box[0] < least[0] or box[3] - box[2] < least[1]:
        notes.append("so little would remain that nothing is left out")
        cut = False
    cap = stack.layers.get(_CAP)
    cap = cap if cap is not None and cap.verdict.likely else None
    void = np.full(n, np.nan)
    return {
        "box_px": [int(v) for v in box],
        "crop": int(cut),
        "padding_px": padding,
        "surface_row_px": void if cap is None else cap.places_px,
        "surface_sigma_px": void if cap is None else cap.boundary.sigma,
        "surface_confidence": np.zeros(n) if cap is None else cap.boundary.agreement * (1.0 if cap.certain else 0.5),
        "surface_slope": float("nan") if cap is None else float(np.nanmedian(cap.slopes)),
        "notes": notes,
    }


def _cut_padding(stack: Stack, box: list[float], notes: list[str]) -> list[int]:
    """Take constant lines off the box; returns how many lines at each side practically all slices lack."""
    rows, cols = stack.shape
    lengths = (rows, rows, cols, cols)
    common = [0, 0, 0, 0]
    seen = stack.usable & (stack.padding[:, [0, 2]].sum(axis=1) < rows + cols)
    if not seen.any():
        return common
    for side, length in enumerate(lengths):
        width = stack.padding[:, side]
        odd = seen & (width > np.median(width[seen]) + _TRUNCATED * length)
        use = seen & ~odd if odd.sum() <= max(1, _FEW * len(width)) else seen
        shown = int(width[use].max())
        if not shown:
            continue
        axis, near = side // 2, side % 2 == 0
        move = stack.shifts_px[:, axis]
        if near:
            box[side] = max(box[side], float(np.ceil((width - move)[use & (width > 0)].max())))
        else:
            box[side] = min(box[side], float(np.floor((length - width - move)[use & (width > 0)].min())))
        common[side] = shown
        lines = ("rows", "columns")[axis]
        edge = f"{lines} 0–{shown - 1}" if near else f"{lines} {length - shown}–{length - 1}"
        notes.append(f"{edge}: padding (up to {shown} constant {lines}), left out")
    return common
