"""The slow part of a motion, and how well it is known: who is asked, and what each of them decides.

Images tell it only up to the walk that changing structure feigns. Geometry knows the straight line of what stands
still, a static region both axes; and the user may have said which of them to believe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import CalibrationError, InputError
from fibtomo.ops.drift_measure import DriftOptions, whole_offset
from fibtomo.ops.parallax import find_parallax, suspected_parallax
from fibtomo.ops.reference import Roi, track_reference
from fibtomo.ops.reference_blend import blend_reference
from fibtomo.ops.slow_motion import (
    PLAUSIBLE_DRIFT_PX,
    AxisLine,
    ExpectedMotion,
    judge_line,
    replace_slow,
    take_lines,
    told_by_bends,
)
from fibtomo.ops.structure_walk import Walks, measure_walk, real_line_sigma, without_walk
from fibtomo.ops.trajectory import Pairs, Trajectory, solve_trajectory

Float = NDArray[np.float64]

ONLY_IMAGES = (
    "Only the images speak for the slow part of the drift: inclined structure would look the same. A static reference "
    "region (reference_roi) decides."
)
_STRAIGHT_FROM_GEOMETRY = (
    "No static reference decides the slow part: its straight line is what geometry and images agree on, its bends are "
    "what the images show beyond what changing structure explains."
)
_BLIND_PX = 1.0  # a reference that tells a shift no better says nothing
_LEAST_MEASURED = 0.1  # fraction of the steps from which on the images have a say in the mean motion
_COLUMNS = (
    "Hardly anything changes through the stack (columns, channels): all of the steady motion that the images show may "
    "be the lean of the structure."
)
_FEWEST_PAIRS = 6
_ALIKE, _GROWS, _NOTHING = (
    0.2,
    1.7,
    1e-3,
)  # change from slice to slice; where structure changes, over two 3 to 4 times it
_MOSTLY = 0.5  # of the usable slices must show the reference


@dataclass(frozen=True, eq=False)
class Decision:
    """A motion whose slow part was decided.

    Attributes
    ----------
    track
        The solution, with what was not measured filled in.
    shifts_px, sigma_px
        (n, 2) motion, and (n,) standard deviation of its slow part.
    notes
        Sentences for the report.
    identifiable
        Whether a static reference decided both axes.
    unchanging
        Whether hardly anything changes through the stack.
    """

    track: Trajectory
    shifts_px: Float
    sigma_px: Float
    notes: tuple[str, ...]
    identifiable: bool = False
    unchanging: bool = False


def decide_slow(
    column: Mapping[str, Any],
    pairs: Pairs,
    track: Trajectory,
    usable: NDArray[np.bool_],
    options: DriftOptions,
    allowed: Sequence[ExpectedMotion],
) -> Decision:
    """Decide the slow part of a motion by the best witness there is, or by what was asked for.

    Parameters
    ----------
    column
        What `measure_slab` left of the whole stack.
    pairs, track
        Pairs with their weights, and the motion that explains them.
    usable
        (n,) False for bad slices.
    options
        How drift is to be solved.
    allowed
        Motions that geometry allows.

    Raises
    ------
    CalibrationError
        Geometry is needed, and allows several motions.
    InputError
        A reference is insisted on, and not seen.
    """
    n = len(usable)
    walk = measure_walk(column, pairs)
    if track.measured.sum() < max(2, _LEAST_MEASURED * (n - 1)):
        motion = _assumed_motion(allowed)
        track = solve_trajectory(n, pairs, None if motion is None else motion.shifts_px)
        decided = Decision(track, track.shifts_px, walk.sigma_px(n), (_unmeasured_note(track, motion),))
    else:
        decided = _by_images(column, pairs, track, usable, options, allowed, walk)
    if options.reference_roi is not None:
        decided = _with_reference(decided, options.reference_roi, column["patches"], options, usable)
    if options.slow in ("geometry", "remove"):
        expected = _expected_slow(options, allowed, n)
        by = f"what geometry expects ({expected[-1, 0]:.1f}, {expected[-1, 1]:.1f} px)" if expected.any() else "none"
        note = f"The slow part of the motion was replaced by {by}, as asked for."
        shifts, sigma = replace_slow(decided.shifts_px, expected, usable), PLAUSIBLE_DRIFT_PX / 3 * np.arange(n)
        decided = Decision(decided.track, shifts, sigma, (note,))
    return decided


def _by_images(
    column: Mapping[str, Any],
    pairs: Pairs,
    track: Trajectory,
    usable: NDArray[np.bool_],
    options: DriftOptions,
    allowed: Sequence[ExpectedMotion],
    walk: Walks,
) -> Decision:
    """Without a reference: bends as the images show them, the straight line weighed against geometry."""
    n, sigma = len(usable), walk.sigma_px(len(usable))
    parallax = find_parallax(column["dark_px"], max((m.behind_px for m in allowed), default=0.0))
    seen = _gaps_filled(track)
    real = real_line_sigma(seen, walk.seen)
    lines = judge_line(seen, _end_sigmas(walk, track), usable, allowed, parallax, (real[0], real[1]))
    expected = lines[0].expected if lines else None
    if not track.measured.all() and expected is not None:
        track = solve_trajectory(n, pairs, expected.shifts_px)
    notes: list[str] = []
    unchanging = _unchanging(column, pairs)
    if unchanging:
        line = np.abs([np.polyfit(np.arange(n)[usable], seen[usable, axis], 1)[0] for axis in (0, 1)])
        sigma = np.hypot(sigma, line.max() * np.arange(n))
        notes.append(_COLUMNS)
    if options.slow not in ("auto", "reference"):
        return Decision(track, track.shifts_px, sigma, (*notes, ONLY_IMAGES), unchanging=unchanging)
    shifts, bends = without_walk(track.shifts_px, walk.seen)
    shifts = take_lines(shifts, lines, usable)
    sigma = np.hypot(bends, _line_sigma(n, max([sigma[-1], *(line.sigma_px for line in lines)]), lines))
    agreed = bool(lines) and all(line.agrees for line in lines)
    notes += [*(line.text(n) for line in lines), _STRAIGHT_FROM_GEOMETRY if agreed else ONLY_IMAGES]
    suspected = 0.0 if allowed else suspected_parallax(column["dark_px"])
    if suspected:
        sigma = np.hypot(sigma, suspected * np.arange(n))
        notes.append(_parallax_note(suspected))
    return Decision(track, shifts, sigma, tuple(notes), unchanging=unchanging)


def _assumed_motion(allowed: Sequence[ExpectedMotion]) -> ExpectedMotion | None:
    """What to assume of the motion when the images do not show it.

    Raises
    ------
    CalibrationError
        Geometry allows several motions.
    """
    distinct = {tuple(np.round(motion.shifts_px[-1], 6)): motion for motion in allowed}
    if len(distinct) > 1:
        raise CalibrationError(
            "the motion of the slices is to be taken from geometry (asked for, or no two slices are alike enough to "
            "measure it: too little structure, lamellae or too thick slices), but it is not known whether the field of "
            "view followed the face: add --tracked yes or --tracked no (Python: tracked=True or False)"
        )
    return next(iter(distinct.values()), None)


def _expected_slow(options: DriftOptions, allowed: Sequence[ExpectedMotion], n: int) -> Float:
    """(n, 2) motion that takes the place of the slow part: none, what geometry allows, or the slope given."""
    if options.slow == "remove":
        return np.zeros((n, 2))
    motion = _assumed_motion(allowed)
    return options.expected_px(n) if motion is None else motion.shifts_px


def _with_reference(
    images: Decision, roi: Roi, patches: Any, options: DriftOptions, usable: NDArray[np.bool_]
) -> Decision:
    """Take every axis along which the reference region is seen on most slices from there."""
    margin, track = options.reference_margin_px, images.track
    expected = np.array([whole_offset(k, options) for k in range(len(usable))], dtype=np.float64)
    places, sigma = track_reference(patches, expected, track.shifts_px, roi, margin, usable)
    found = np.isfinite(sigma).all(axis=1)
    blind = [axis for axis in (0, 1) if found.any() and np.median(sigma[found, axis]) > _BLIND_PX]
    sigma[:, blind] = np.inf
    blend = blend_reference(track.shifts_px, places, sigma, track.breaks)
    seen = blend.used.sum(axis=0)
    decided = seen >= _MOSTLY * usable.sum()
    told = [f"along {letter} on {count}" for letter, count in zip("yx", seen, strict=True)]
    note = f"The static reference was found {' and '.join(told)} of {int(usable.sum())} usable slices."
    if not decided.any():
        if options.slow == "reference":
            raise InputError(f"drift: slow = reference, but reference_roi = {roi} does not tell. {note}")
        return replace(images, notes=(*images.notes, f"{note} That is too few: it was left out."))
    if blind:
        letters = " and ".join("yx"[axis] for axis in blind)
        note += f" It has no edges that tell the motion along {letters}: there only the images speak."
    axes = np.flatnonzero(decided)
    shifts = images.shifts_px.copy()
    shifts[:, axes] = blend.shifts_px[:, axes]
    own = blend.sigma_px[:, axes].max(axis=1)
    for axis in axes:
        note += (
            f" Along {'yx'[axis]} its place scatters by {blend.noise_px[axis]:.2f} px, and the images had drifted away "
            f"from it by {abs(blend.lean_px[axis]):.1f} px over the stack."
        )
    if not decided.all():
        return replace(images, shifts_px=shifts, sigma_px=np.maximum(own, images.sigma_px), notes=(*images.notes, note))
    notes = (*(text for text in images.notes if text != ONLY_IMAGES), note)
    return Decision(track, shifts, own, notes, identifiable=True)


def _gaps_filled(track: Trajectory) -> Float:
    """The path with every step that was assumed replaced by the median of those that were measured."""
    steps = np.diff(track.shifts_px, axis=0)
    steps[~track.measured] = np.median(steps[track.measured], axis=0)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def _unchanging(column: Mapping[str, Any], pairs: Pairs) -> bool:
    """Whether slices two apart are as alike as neighbours: columns or channels through the whole stack."""
    trusted = pairs.weight > 0
    near, far = (1 - column["coherence"][trusted & (pairs.second - pairs.first == gap)] for gap in (1, 2))
    if min(len(near), len(far)) < _FEWEST_PAIRS:
        return False
    once, twice = float(np.median(near)), float(np.median(far))
    return once < _ALIKE and twice < _GROWS * once + _NOTHING


def _end_sigmas(walk: Walks, track: Trajectory) -> list[float]:
    """Spread of the last slice against the first by both estimates, had all of the stack been like its measured part.

    They are off by a factor of three at times, each in its own direction; few slices see little of the walk.
    """
    measured = int(track.measured.sum())
    seen, rule = (float(one.sigma_px(measured + 1)[-1]) for one in (walk.seen, walk.rule))
    told = told_by_bends(len(track.measured) + 1)
    return [spread * len(track.measured) / measured for spread in (seen**told * rule ** (1 - told), rule)]


def _line_sigma(n: int, end_sigma: float, lines: Sequence[AxisLine]) -> Float:
    """(n,) standard deviation of the straight line: where geometry gave it, real drift is what it may lack."""
    real = PLAUSIBLE_DRIFT_PX / 3 * (n - 1)
    if lines and all(line.agrees for line in lines):
        end_sigma = end_sigma * real / max(np.hypot(end_sigma, real), 1e-12)
    return end_sigma * np.arange(n) / max(n - 1, 1)


def _unmeasured_note(track: Trajectory, motion: ExpectedMotion | None) -> str:
    share = f"Only {int(track.measured.sum())} of {len(track.measured)} steps between slices could be measured"
    if motion is None:
        return f"{share} and no geometry says how the slices move: no motion was assumed elsewhere."
    return f"{share}; the others were taken from geometry ({motion.name}), so that drift and jitter remain in them."


def _parallax_note(apart: float) -> str:
    return (
        f"Dark and bright parts move apart by {apart:.2f} rows per slice: light from behind the face may feign as much "
        f"drift. With the column angle known (column_angle_deg) it is taken off."
    )
