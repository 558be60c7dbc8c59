"""Second half of drift estimation: from all pairs to one trajectory with uncertainty, bad slices and remarks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.drift import OPEN, Drift
from fibtomo.errors import CalibrationError, InputError
from fibtomo.ops.drift_hand import check_hand, level_breaks, pin
from fibtomo.ops.drift_measure import DriftOptions, whole_offset
from fibtomo.ops.drift_quality import drift_quality
from fibtomo.ops.loop_scatter import widened_by_loops
from fibtomo.ops.parallax import find_parallax, suspected_parallax
from fibtomo.ops.reference import track_reference
from fibtomo.ops.reference_blend import blend_reference
from fibtomo.ops.slice_quality import find_bad_slices
from fibtomo.ops.slice_steps import RESCANNED, describe_steps, find_rescanned, pair_change
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

_UNUSABLE = ("given", "blank", "repeats", "truncated", "unlike")
_ODD = 0.6  # change over one slice against that over two: at most 0.36 on sound phantoms
_ODD_FLOOR = 0.02
_ODD_EDGE = 2.0  # likeness lost to what leaves and enters the frame, per share of it; a rich edge counts double
_LEAST_ALIKE = 0.5
_LOST = 0.05
_BLIND_PX = 1.0  # a reference that tells a shift no better says nothing
_SLOW_PART = {"keep": "kept", "geometry": "geometry", "remove": "removed"}
ONLY_IMAGES = (
    "Only the images speak for the slow part of the drift: inclined structure would look the same. A static reference "
    "region (reference_roi) decides."
)
_STRAIGHT_FROM_GEOMETRY = (
    "No static reference decides the slow part: its straight line is what geometry and images agree on, its bends are "
    "what the images show beyond what changing structure explains."
)
_NEAR_PEAK = 0.35  # distance from the expected shift, in distances to the next peak, up to which it is meant
_LATTICE_TRUST = 0.7
_SURE = 0.5  # confidence from which a shift counts in a lattice that is not the nearest to the expected one
_MOSTLY = 0.5  # share of neighbouring pairs that show a lattice, from which on the specimen is one
_JUMP = 4.7  # medians of the lengths of the steps: 5.5 standard deviations in the plane
_LEAST_MEASURED = 0.1  # fraction of the steps from which on the images have a say in the mean motion


def combine_slabs(
    partials: Sequence[Mapping[str, Any]], options: DriftOptions, allowed: Sequence[ExpectedMotion] = ()
) -> Drift:
    """Solve for the trajectory from what `measure_slab` left, in z order; `allowed` is what geometry allows.

    Raises
    ------
    InputError
        A slice given as bad does not exist, or the reference region is in no usable slice.
    """
    column = {name: np.concatenate([np.asarray(p[name]) for p in partials]) for name in partials[0]}
    n = len(column["mean"])
    automatic = options.bad_slices == "auto"
    check_hand(n, options.overrides, options.also_bad, options.breaks)
    reasons = find_bad_slices(column) if automatic else dict.fromkeys(options.bad_slices, "given")
    if automatic and options.method == "correlation":
        reasons = dict.fromkeys(_odd_ones(column), "unlike its neighbours") | reasons
        again = find_rescanned(pair_change(column, np.isin(np.arange(n), list(reasons))))
        reasons |= dict.fromkeys(again, RESCANNED)
    reasons |= dict.fromkeys(options.also_bad, "given")
    if reasons and not 0 <= min(reasons) <= max(reasons) < n:
        raise InputError(f"bad_slices = {tuple(reasons)} must lie between 0 and {n - 1}")
    known = options.slope_px_per_slice != (0.0, 0.0) or not allowed
    motions = [m.shifts_px for m in allowed] + [options.expected_px(n)] * known
    pairs, periodic = _pairs(column, reasons, motions)
    pairs = widened_by_loops(pairs)
    # a static reference tells the jumps itself
    levelled = level_breaks(
        n, pairs, column["pair_confidence"], options.breaks if options.reference_roi is None else ()
    )
    pairs = levelled.pairs
    track = solve_trajectory(n, pairs)
    if automatic:
        reasons = dict(sorted((dict.fromkeys(_strangers(track, pairs), "unlike its neighbours") | reasons).items()))
    usable = np.ones(n, dtype=bool)
    usable[list(reasons)] = False
    remarks, steps = describe_steps(column, reasons, track.shifts_px) if options.method == "correlation" else ({}, [])
    walk = measure_walk(column, pairs)
    notes = [_pairs_note(track, pairs, periodic)]
    slow_sigma, identifiable = walk.sigma_px(n), False
    if track.measured.sum() < max(2, _LEAST_MEASURED * (n - 1)):
        motion = _assumed_motion(allowed)
        track = solve_trajectory(n, pairs, None if motion is None else motion.shifts_px)
        shifts = track.shifts_px
        notes.append(_unmeasured_note(track, motion))
    else:
        parallax = find_parallax(column["dark_px"], max((m.behind_px for m in allowed), default=0.0))
        seen = _gaps_filled(track)
        real = real_line_sigma(seen, walk.seen)
        lines = judge_line(seen, _end_sigmas(walk, track), usable, allowed, parallax, (real[0], real[1]))
        expected = lines[0].expected if lines else None
        if not track.measured.all() and expected is not None:
            track = solve_trajectory(n, pairs, expected.shifts_px)
        shifts = track.shifts_px
        notes.append(ONLY_IMAGES)
        if options.slow in ("auto", "reference"):
            shifts, bends = without_walk(shifts, walk.seen)
            shifts = take_lines(shifts, lines, usable)
            slow_sigma = np.hypot(bends, _line_sigma(n, max([slow_sigma[-1], *(m.sigma_px for m in lines)]), lines))
            suspected = 0.0 if allowed else suspected_parallax(column["dark_px"])
            if suspected:
                slow_sigma = np.hypot(slow_sigma, suspected * np.arange(n))
                notes.append(_parallax_note(suspected))
            agreed = bool(lines) and all(line.agrees for line in lines)
            notes[1:2] = [*(line.text(n) for line in lines), _STRAIGHT_FROM_GEOMETRY if agreed else ONLY_IMAGES]
    if options.reference_roi is not None:
        shifts, slow_sigma, identifiable, note = _with_reference(
            shifts, slow_sigma, track, column["patches"], options, usable
        )
        notes = [note for note in notes if note != ONLY_IMAGES or not identifiable] + [note]
    if options.slow in ("geometry", "remove"):
        expected = _expected_slow(options, allowed, n)
        shifts, slow_sigma = replace_slow(shifts, expected, usable), PLAUSIBLE_DRIFT_PX / 3 * np.arange(n)
        by = f"what geometry expects ({expected[-1, 0]:.1f}, {expected[-1, 1]:.1f} px)" if expected.any() else "none"
        identifiable, notes = False, [notes[0], f"The slow part of the motion was replaced by {by}, as asked for."]
    if track.breaks:
        notes.append(f"No trusted pair joins slices {_listed(track.breaks)} to those before; the step was assumed.")
    notes += steps
    shifts = shifts - shifts[0] + levelled.jumps_px
    sigma, confidence = np.sqrt((track.sigma_px**2).mean(axis=1) + slow_sigma**2), track.support
    if options.overrides:
        pinned = [k for k, _, _ in options.overrides]
        shifts, sigma = pin(shifts, sigma, track, options.overrides, options.overrides_move)
        confidence = np.where(np.isin(np.arange(n), pinned), 1.0, confidence)
        notes.append(f"The places of slices {_listed(pinned)} were given by hand.")
    return Drift(
        shifts_px=shifts,
        sigma_px=sigma,
        confidence=confidence,
        bad_slices=tuple(reasons),
        flags=_flags(n, reasons, track, options, levelled.sizes_px, set(pairs.second[periodic].tolist()), remarks),
        identifiable=bool(identifiable),
        slow_part=_SLOW_PART.get(options.slow, "reference" if identifiable else OPEN),
        method=f"{options.method}, offsets {', '.join(map(str, options.gaps))}",
        notes=tuple(notes),
        quality=drift_quality(pairs, track, shifts, column),
    )


def _pairs(
    column: Mapping[str, Any], reasons: Mapping[int, str], motions: Sequence[Float]
) -> tuple[Pairs, NDArray[np.bool_]]:
    """Measured pairs, and which of them geometry lifted out of a lattice of equally good shifts.

    Pairs that touch a slice without usable content weigh nothing.
    """
    silent = np.zeros(len(column["mean"]), dtype=bool)
    silent[[k for k, reason in reasons.items() if reason.startswith(_UNUSABLE)]] = True
    first, second = column["first"].astype(np.int64), column["second"].astype(np.int64)
    shift, confidence = column["shift_px"].reshape(-1, 2), column["pair_confidence"]
    away = [np.linalg.norm(shift - (motion[second] - motion[first]), axis=1) for motion in motions]
    period = np.linalg.norm(column["rival_px"], axis=1)
    neighbours = second - first == 1
    nearest = (np.min(away, axis=0) < _NEAR_PEAK * period) & neighbours
    periodic = np.where(nearest, _LATTICE_TRUST * column["periodic_confidence"], 0.0)
    lattice = np.mean((periodic > confidence)[neighbours]) > _MOSTLY
    trusted = np.maximum(confidence, periodic)
    if lattice:
        # over more than one slice the whole lattice changes and takes the peak with it
        trusted *= neighbours & (nearest | (confidence >= _SURE))
    # a trace of confidence would still pass for a measurement where no other pair contradicts it
    weight = np.where(silent[first] | silent[second] | (trusted < _LOST), 0.0, trusted)
    return Pairs(first, second, shift, column["sigma_px"].reshape(-1, 2), weight), (periodic > confidence) & (
        weight > 0
    )


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
    shifts: Float,
    slow_sigma: Float,
    track: Trajectory,
    patches: Any,
    options: DriftOptions,
    usable: NDArray[np.bool_],
) -> tuple[Float, Float, bool, str]:
    """Take every axis along which the reference is seen on most slices from there.

    Returns
    -------
    shifts_px, slow_sigma_px
        (n, 2) motion and (n,) standard deviation of its slow part.
    identifiable
        Whether both axes were decided.
    note
        Sentences for the report.
    """
    if options.reference_roi is None:
        return shifts, slow_sigma, False, ""
    expected = np.array([whole_offset(k, options) for k in range(len(usable))], dtype=np.float64)
    roi, margin = options.reference_roi, options.reference_margin_px
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
        return shifts, slow_sigma, False, f"{note} That is too few: it was left out."
    if blind:
        letters = " and ".join("yx"[axis] for axis in blind)
        note += f" It has no edges that tell the motion along {letters}: there only the images speak."
    axes = np.flatnonzero(decided)
    shifts = shifts.copy()
    shifts[:, axes] = blend.shifts_px[:, axes]
    own = blend.sigma_px[:, axes].max(axis=1)
    for axis in axes:
        note += (
            f" Along {'yx'[axis]} its place scatters by {blend.noise_px[axis]:.2f} px, and the images had drifted away "
            f"from it by {abs(blend.lean_px[axis]):.1f} px over the stack."
        )
    return shifts, own if decided.all() else np.maximum(own, slow_sigma), bool(decided.all()), note


def _odd_ones(column: Mapping[str, Any]) -> list[int]:
    """Slices less like both neighbours than these are like each other."""
    ends = list(zip(column["first"].tolist(), column["second"].tolist(), strict=True))
    alike = dict(zip(ends, column["coherence"].tolist(), strict=True))
    side = np.sqrt(np.maximum(column["area_px"], 1.0))[column["second"]]
    lost = np.abs(column["shift_px"].reshape(-1, 2)).sum(axis=1) / side
    excused = np.where(column["pair_confidence"] >= _SURE, _ODD_EDGE * lost, 0.0)
    nearly = dict(zip(ends, (column["coherence"] + excused).tolist(), strict=True))
    odd = []
    for k in range(1, len(column["mean"]) - 1):
        across = alike.get((k - 1, k + 1), 0.0)
        if across < _LEAST_ALIKE:
            continue
        change = 1 - max(nearly[k - 1, k], nearly[k, k + 1])
        if change > _ODD * (1 - across + _ODD_FLOOR):
            odd.append(k)
    return odd


def _strangers(track: Trajectory, pairs: Pairs) -> list[int]:
    """Slices that no trusted pair reaches although one leads over them."""
    trusted = track.pair_weight * pairs.weight > 0.3
    over = np.zeros(len(track.support), dtype=bool)
    for a, b in zip(pairs.first[trusted], pairs.second[trusted], strict=True):
        over[a + 1 : b] = True
    return [int(k) for k in np.flatnonzero(over & (track.support <= _LOST))]


def _gaps_filled(track: Trajectory) -> Float:
    """The path with every step that was assumed replaced by the median of those that were measured."""
    steps = np.diff(track.shifts_px, axis=0)
    steps[~track.measured] = np.median(steps[track.measured], axis=0)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


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


def _pairs_note(track: Trajectory, pairs: Pairs, periodic: NDArray[np.bool_]) -> str:
    measured = pairs.weight > 0
    rejected = int((measured & (track.pair_weight == 0)).sum())
    text = f"{int(measured.sum())} of {len(measured)} pairs were trusted, {rejected} of them contradicted the others."
    if periodic.any():
        text += (
            f" In {int(periodic.sum())} of them the structure is periodic and several shifts fit equally well: the one "
            f"nearest to the expected motion was taken, so that a jump by a whole period would be missed."
        )
    return text


def _flags(
    n: int,
    reasons: Mapping[int, str],
    track: Trajectory,
    options: DriftOptions,
    jumps: Mapping[int, float | None],
    periodic: set[int],
    remarks: Mapping[int, Sequence[str]],
) -> tuple[str, ...]:
    flags: list[list[str]] = [[] for _ in range(n)]
    for k, reason in reasons.items():
        flags[k].append(f"bad: {reason}")
    for k in np.flatnonzero(track.support <= _LOST):
        flags[k].append("bridged")
    for k in track.breaks:
        if k not in jumps:
            flags[k].append("break: step assumed")
    for k, size in jumps.items():
        flags[k].append("break: jump not measured, step assumed" if size is None else f"break: jump of {size:.1f} px")
    for k, _, _ in options.overrides:
        flags[k].append("pinned")
    steps = np.diff(track.shifts_px, axis=0)
    if len(steps) >= 5:
        away = np.linalg.norm(steps - np.median(steps, axis=0), axis=1)
        for k in np.flatnonzero(away > max(2.0, _JUMP * float(np.median(away)))):
            more = ", or whole periods of the lattice more or less" if k + 1 in periodic else ""
            flags[k + 1].append(f"jump of {np.hypot(*steps[k]):.1f} px{more}")
    for k, texts in remarks.items():
        flags[k].extend(texts)
    return tuple("; ".join(remarks) for remarks in flags)


def _listed(indices: Sequence[int], most: int = 8) -> str:
    shown = ", ".join(map(str, indices[:most]))
    return shown if len(indices) <= most else f"{shown} and {len(indices) - most} more"
