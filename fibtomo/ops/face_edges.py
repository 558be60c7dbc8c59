"""Layers at the four edges of the slices of a stack, each looked for where the others are not."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fibtomo.ops.face_layer import MOST_SLICES, Boundary, Float, evenly, follow_boundary
from fibtomo.ops.face_measure import StripLayout, sample_places
from fibtomo.ops.face_verdict import Verdict, judge

CAP, LEFT, RIGHT, FLOOR = "protective layer", "left wall of the trench", "right wall of the trench", "redeposition"
_SAME_GREY = 0.04  # of the specimen may have the grey of the layer
_MOST_DOUBTS = 2


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
    places_px, sigma_px, slopes
        (n,) row or column at the middle of the slice, its standard deviation, and px per px along it.
    verdict
        The signs.
    same_grey
        Fraction of the specimen that has the layer's grey.
    """

    name: str
    limits_px: Float
    boundary: Boundary
    places_px: Float
    sigma_px: Float
    slopes: Float
    verdict: Verdict
    same_grey: float

    @property
    def certain(self) -> bool:
        """Whether it may be cropped."""
        return self.verdict.likely and not self.doubts

    @property
    def likely(self) -> bool:
        """Whether it is worth a remark, and its boundary worth following."""
        return self.verdict.likely and len(self.doubts) <= _MOST_DOUBTS

    @property
    def doubts(self) -> list[str]:
        """What speaks against it, as phrases."""
        same = [f"{100 * self.same_grey:.0f} % of the specimen have its grey"] if self.same_grey > _SAME_GREY else []
        return [*self.verdict.doubts, *same]


@dataclass(frozen=True, eq=False)
class Stack:
    """Columns that `fibtomo.ops.face_measure.measure_faces` leaves, for all slices, and their motion."""

    down: NDArray[np.float16]
    across: NDArray[np.float16]
    samples: NDArray[np.float16]
    usable: NDArray[np.bool_]
    padding: NDArray[np.int64]
    shape: tuple[int, int]
    shifts_px: Float
    layers: dict[str, Layer] = field(default_factory=dict)


def find_layers(stack: Stack) -> None:
    """Look for a layer at every edge, and once more when those at the other edges are known."""
    for _ in range(2):
        for name in (CAP, FLOOR, LEFT, RIGHT):
            found = _look(stack, name)
            if found is not None:
                stack.layers[name] = found
            else:
                stack.layers.pop(name, None)
        if not any(layer.likely for layer in stack.layers.values()):
            return


def _look(stack: Stack, name: str) -> Layer | None:
    along, flipped = (0, name == FLOOR) if name in {CAP, FLOOR} else (1, name == RIGHT)
    length, width = stack.shape[along], stack.shape[1 - along]
    layout = StripLayout.of(length, width)
    profiles = (stack.down, stack.across)[along]
    first, last = _free(stack, 1 - along)
    strips = np.flatnonzero((layout.centres_px > first) & (layout.centres_px < last))
    if len(strips) < 5:
        return None
    sign, end = (-1.0, layout.points * layout.bin_px - 1.0) if flipped else (1.0, 0.0)
    beyond = _opposite(stack, along, flipped)
    used = profiles[:, :, strips].astype(np.float32)
    used[~stack.usable] = np.nan
    if beyond is not None:
        places = (np.arange(layout.points) + 0.5) * layout.bin_px - 0.5
        hidden = places > beyond if not flipped else places < beyond
        used[:, hidden] = np.nan
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
        sigma_px=boundary.sigma * layout.bin_px,
        slopes=sign * boundary.slopes,
        verdict=verdict,
        same_grey=_same_grey(stack, along, flipped, lines, layout.centres_px[strips], verdict.band * layout.bin_px),
    )


def _free(stack: Stack, axis: int) -> tuple[float, float]:
    """Range of rows (axis 0) or columns between the layers that seem to be there, on every slice."""
    first, last = -1.0, float(stack.shape[axis])
    for name in (CAP, FLOOR) if axis == 0 else (LEFT, RIGHT):
        layer = stack.layers.get(name)
        if layer is None or not layer.likely:
            continue
        if name in {CAP, LEFT}:
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
    good = np.flatnonzero(np.isfinite(lines).all(axis=1))
    good = good[evenly(len(good), MOST_SLICES)]
    if not len(good) or not inside.any():
        return 1.0
    ends = np.stack([np.interp(columns[inside], at_px, line) for line in lines[good]])
    depth = (places[None, :, None] - ends[:, None]) * (-1 if flipped else 1)
    values = samples[good][:, :, inside].astype(np.float32)
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
    beside, near = away[specimen & known], 2.5 * spread
    # a phase of this grey scatters to both sides of it, the tail of another lies on one
    return 2 * float(min(((beside <= 0) & (beside >= -near)).mean(), ((beside >= 0) & (beside <= near)).mean()))


def _centre(values: NDArray[np.float32]) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else np.nan
