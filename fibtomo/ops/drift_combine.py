"""Second half of drift estimation: from all pairs to one trajectory with uncertainty, bad slices and remarks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.drift import Drift
from fibtomo.core.drift_file import OPEN, UNCHANGING
from fibtomo.errors import InputError
from fibtomo.ops.drift_hand import check_hand, level_breaks, pin
from fibtomo.ops.drift_measure import DriftOptions
from fibtomo.ops.drift_quality import drift_quality
from fibtomo.ops.drift_slow import Decision, decide_slow
from fibtomo.ops.loop_scatter import widened_by_loops
from fibtomo.ops.slice_quality import find_bad_slices
from fibtomo.ops.slice_steps import RESCANNED, describe_steps, find_rescanned, pair_change
from fibtomo.ops.slow_motion import ExpectedMotion
from fibtomo.ops.trajectory import Pairs, Trajectory, solve_trajectory

Float = NDArray[np.float64]

_UNUSABLE = ("given", "blank", "repeats", "truncated", "unlike")
_ODD = 0.6  # change over one slice against that over two: at most 0.36 on sound phantoms
_ODD_FLOOR = 0.02
_ODD_EDGE = 2.0  # likeness lost to what leaves and enters the frame, per share of it; a rich edge counts double
_LEAST_ALIKE = 0.5
_LOST = 0.05
_SLOW_PART = {"keep": "kept", "geometry": "geometry", "remove": "removed"}
_NEAR_PEAK = 0.35  # distance from the expected shift, in distances to the next peak, up to which it is meant
_LATTICE_TRUST = 0.7
_SURE = 0.5  # confidence from which a shift counts in a lattice that is not the nearest to the expected one
_MOSTLY = 0.5  # share of neighbouring pairs that show a lattice, from which on the specimen is one
_JUMP = 4.7  # medians of the lengths of the steps: 5.5 standard deviations in the plane


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
    reasons = _bad_slices(column, options)
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
    slow = decide_slow(column, pairs, track, usable, options, allowed)
    track, shifts = slow.track, slow.shifts_px
    notes = [_pairs_note(track, pairs, periodic), *slow.notes]
    if track.breaks:
        notes.append(f"No trusted pair joins slices {_listed(track.breaks)} to those before; the step was assumed.")
    notes += steps
    shifts = shifts - shifts[0] + levelled.jumps_px
    sigma, confidence = np.sqrt((track.sigma_px**2).mean(axis=1) + slow.sigma_px**2), track.support
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
        identifiable=slow.identifiable,
        slow_part=_SLOW_PART.get(options.slow) or _witness(slow),
        method=f"{options.method}, offsets {', '.join(map(str, options.gaps))}",
        notes=tuple(notes),
        quality=drift_quality(pairs, track, shifts, column),
    )


def _witness(slow: Decision) -> str:
    return "reference" if slow.identifiable else UNCHANGING if slow.unchanging else OPEN


def _bad_slices(column: Mapping[str, Any], options: DriftOptions) -> dict[int, str]:
    """Slices not to use, and why."""
    n = len(column["mean"])
    if options.bad_slices == "auto":
        reasons = find_bad_slices(column)
        if options.method == "correlation":
            reasons = dict.fromkeys(_odd_ones(column), "unlike its neighbours") | reasons
            again = find_rescanned(pair_change(column, np.isin(np.arange(n), list(reasons))))
            reasons |= dict.fromkeys(again, RESCANNED)
    else:
        reasons = dict.fromkeys(options.bad_slices, "given")
    reasons |= dict.fromkeys(options.also_bad, "given")
    if reasons and not 0 <= min(reasons) <= max(reasons) < n:
        raise InputError(f"bad_slices = {tuple(reasons)} must lie between 0 and {n - 1}")
    return reasons


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
