"""Second half of drift estimation: from all pairs to one trajectory with uncertainty, bad slices and remarks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.drift import Drift
from fibtomo.errors import InputError
from fibtomo.ops.drift_measure import DriftOptions, whole_offset
from fibtomo.ops.reference import blend_reference, track_reference
from fibtomo.ops.slice_quality import find_bad_slices
from fibtomo.ops.slow_motion import ExpectedMotion, replace_line, settle_line
from fibtomo.ops.trajectory import Pairs, Trajectory, solve_trajectory

Float = NDArray[np.float64]

_UNUSABLE = ("given", "blank", "repeats", "truncated")
_LOST = 0.05
_ONLY_IMAGES = (
    "Only the images speak for the slow part of the drift: inclined structure would look the same. A static reference "
    "region (reference_roi) decides."
)
_STRAIGHT_FROM_GEOMETRY = (
    "No static reference decides the slow part: its straight line is what geometry and images agree on, its bends are "
    "what the images show."
)


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
    reasons = find_bad_slices(column) if automatic else dict.fromkeys(options.bad_slices, "given")
    if reasons and not 0 <= min(reasons) <= max(reasons) < n:
        raise InputError(f"bad_slices = {tuple(reasons)} must lie between 0 and {n - 1}")
    pairs = _pairs(column, reasons)
    track = solve_trajectory(n, pairs)
    if automatic:
        reasons = dict.fromkeys(_strangers(track, pairs), "unlike its neighbours") | reasons
    usable = np.ones(n, dtype=bool)
    usable[list(reasons)] = False
    notes = [_closure_note(track, pairs)]
    walk = structure_walk(column, pairs)
    if options.reference_roi is None:
        shifts, slow_sigma, identifiable = track.shifts_px, _walk_sigma(n, *walk), False
        notes.append(_ONLY_IMAGES)
    else:
        shifts, slow_sigma, known = _referenced(track, column["patches"], options, usable, walk)
        identifiable = known >= 0.5 * usable.sum()
        notes.append(f"The static reference was found on {known} of {int(usable.sum())} usable slices.")
    if options.slow == "expected":
        for axis in (0, 1):
            shifts = replace_line(shifts, options.expected_px(n), usable, axis)
        notes.append("The straight-line part of the motion was replaced by the expected slope.")
    elif options.slow == "auto" and not identifiable:
        shifts, decided = settle_line(shifts, float(slow_sigma[-1]), usable, allowed)
        if decided:
            notes[-1:] = [*decided, _STRAIGHT_FROM_GEOMETRY]
    if track.breaks:
        notes.append(f"No trusted pair joins slices {_listed(track.breaks)} to those before; the step was assumed.")
    return Drift(
        shifts_px=shifts - shifts[0],
        sigma_px=np.sqrt((track.sigma_px**2).mean(axis=1) + slow_sigma**2),
        confidence=track.support,
        bad_slices=tuple(reasons),
        flags=_flags(n, reasons, track),
        identifiable=bool(identifiable),
        method=f"{options.method}, offsets {', '.join(map(str, options.gaps))}",
        notes=tuple(notes),
    )


def _pairs(column: Mapping[str, Any], reasons: Mapping[int, str]) -> Pairs:
    """Measured pairs; those that touch a slice without usable content weigh nothing."""
    silent = np.zeros(len(column["mean"]), dtype=bool)
    silent[[k for k, reason in reasons.items() if reason.startswith(_UNUSABLE)]] = True
    first, second = column["first"].astype(np.int64), column["second"].astype(np.int64)
    weight = np.where(silent[first] | silent[second], 0.0, column["pair_confidence"])
    return Pairs(first, second, column["shift_px"].reshape(-1, 2), column["sigma_px"].reshape(-1, 2), weight)


def structure_walk(column: Mapping[str, Any], pairs: Pairs) -> tuple[float, float]:
    """Velocity that changing structure feigns, in px per slice, and the slices over which it persists.

    A structure of length λ with N_f features in view and slices dz apart moves the correlation by 0.9 dz/√N_f per
    slice, and end to end by 0.45 √(N dz λ/N_f), which sets its memory to λ/(8 dz) slices. The coherence of
    neighbours, 1 − (2π dz/λ)²/6 for an isotropic structure, tells dz/λ.
    """
    neighbours = (pairs.second - pairs.first == 1) & (pairs.weight > 0) & (column["wavelength_px"] > 0)
    if not neighbours.any():
        return 0.0, 1.0
    wavelength = float(np.median(column["wavelength_px"][neighbours]))
    coherence = float(np.median(column["coherence"][neighbours]))
    step = np.sqrt(6 * max(1 - coherence, 1e-4)) / (2 * np.pi)
    features = max(float(np.median(column["area_px"])) / wavelength**2, 1.0)
    return 0.9 * step * wavelength / features**0.5, 1 / (8 * step)


def _walk_sigma(n: int, velocity_px: float, memory_slices: float) -> Float:
    """(n,) spread of a path whose velocity forgets itself over `memory_slices` (Ornstein-Uhlenbeck)."""
    t = np.arange(n) / memory_slices
    return velocity_px * memory_slices * np.sqrt(2 * np.maximum(t - 1 + np.exp(-t), 0))


def _referenced(
    track: Trajectory,
    patches: Any,
    options: DriftOptions,
    usable: NDArray[np.bool_],
    walk: tuple[float, float],
) -> tuple[Float, Float, int]:
    """Trajectory with its slow part from the reference, its standard deviation, and the slices that show it."""
    if options.reference_roi is None:
        raise InputError("there is no reference region")
    expected = np.array([whole_offset(k, options) for k in range(len(usable))], dtype=np.float64)
    roi, margin = options.reference_roi, options.reference_margin_px
    reference, sigma = track_reference(patches, expected, track.shifts_px, roi, margin, usable)
    shifts, slow_sigma = blend_reference(track.shifts_px, reference, sigma, *walk, breaks=track.breaks)
    return shifts, slow_sigma, int(np.isfinite(sigma).sum())


def _strangers(track: Trajectory, pairs: Pairs) -> list[int]:
    """Slices that no trusted pair reaches although one leads over them."""
    trusted = track.pair_weight * pairs.weight > 0.3
    over = np.zeros(len(track.support), dtype=bool)
    for a, b in zip(pairs.first[trusted], pairs.second[trusted], strict=True):
        over[a + 1 : b] = True
    return [int(k) for k in np.flatnonzero(over & (track.support <= _LOST))]


def _closure_note(track: Trajectory, pairs: Pairs) -> str:
    measured = pairs.weight > 0
    rejected = int((measured & (track.pair_weight == 0)).sum())
    return (
        f"{int(measured.sum())} of {len(measured)} pairs were trusted, {rejected} of them contradicted the others; "
        f"redundant pairs agree within {track.closure_px:.3f} px."
    )


def _flags(n: int, reasons: Mapping[int, str], track: Trajectory) -> tuple[str, ...]:
    flags: list[list[str]] = [[] for _ in range(n)]
    for k, reason in reasons.items():
        flags[k].append(f"bad: {reason}")
    for k in np.flatnonzero(track.support <= _LOST):
        flags[k].append("bridged")
    for k in track.breaks:
        flags[k].append("break: step assumed")
    steps = np.diff(track.shifts_px, axis=0)
    if len(steps) >= 5:
        away = np.linalg.norm(steps - np.median(steps, axis=0), axis=1)
        for k in np.flatnonzero(away > max(2.0, 6 * 1.4826 * float(np.median(away)))):
            flags[k + 1].append(f"jump of {np.hypot(*steps[k]):.1f} px")
    return tuple("; ".join(remarks) for remarks in flags)


def _listed(indices: Sequence[int], most: int = 8) -> str:
    shown = ", ".join(map(str, indices[:most]))
    return shown if len(indices) <= most else f"{shown} and {len(indices) - most} more"
