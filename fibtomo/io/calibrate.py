"""One calibration out of what user, project, image tags and container say, with every contradiction named."""

import itertools
from collections.abc import Sequence
from dataclasses import fields, replace
from math import cos, radians
from typing import Any

import numpy as np

from fibtomo.core.evidence import Evidence
from fibtomo.core.resolve import face_angle_deg, outcome_if, shown
from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.io.facts import UserFacts, is_stated
from fibtomo.io.findings import Finding

_FIELDS = tuple(field.name for field in fields(Calibration) if field.name != "others")
_UNSURE = ("default", "guess", "unknown")
_TOLERANCE = 0.01
_SAME_DEG = 0.5
_SAME_STRETCH = 0.02
_ASSUMED = "taken as true spacing"
_SELF_TEST = "self-test of the slices"
_SETTLED_BY = {
    "tilt_corrected": "--tilt-corrected yes or no (tilt_corrected)",
    "tracked": "--tracked yes or no (tracked)",
    "orientation": "--orientation (orientation)",
    "slice_nm": "--voxel-nm DZ DY DX (voxel_nm)",
    "column_angle_deg": "--column-angle-deg (column_angle_deg)",
}


def merge(user: UserFacts, sources: Sequence[Calibration], *, volume: bool) -> tuple[Calibration, list[Finding]]:
    """Choose each value from the first source that knows it: user, then `sources` in order, then mere defaults.

    The pixel size is the exception: the tags of an image say how it was taken, a project only how it was planned (key
    frames, changed settings), so the last of the sure `sources` is asked first.

    Parameters
    ----------
    user
        What the user states; outranks everything.
    sources
        Project, image tags, container, in this order.
    volume
        True when the format defines its spacing as true spacing, so that nothing more is asked about the tilt.

    Raises
    ------
    InputError
        What the user states cannot be.
    """
    stated = user.calibration()
    chosen: dict[str, Any] = {}
    clashes: list[tuple[str, Sourced, Sourced]] = []
    for name in _FIELDS:
        order = reversed(sources) if name == "pixel_nm" else sources
        known = [value for c in (stated, *order) if (value := getattr(c, name))]
        sure = [value for value in known if value.confidence not in _UNSURE]
        chosen[name] = (sure or known or [UNKNOWN])[0]
        clashes += [(name, sure[0], other) for other in sure[1:] if not _agree(name, sure[0].value, other.value)]
    others: dict[str, Sourced] = {}
    for source in (*reversed(sources), stated):
        others.update(source.others)
    merged = Calibration(**chosen, others=others)
    if _ASSUMED in merged.tilt_corrected.origin and (stated.column_angle_deg or stated.face_tilt_deg):
        merged = replace(merged, tilt_corrected=UNKNOWN)
    if user.in_voxels:
        others["in_voxels"] = Sourced(True, "user: voxel size unknown", "given")
        merged = replace(merged, pixel_nm=UNKNOWN, slice_nm=UNKNOWN, slice_z_nm=UNKNOWN)
        text = "the run is in voxels: lengths, areas and volumes will have no physical unit"
        return merged, [*(_clash(merged, *c) for c in clashes), Finding("no-scale", text)]
    if user.voxel_nm is not None:
        others.pop("in_voxels", None)
    merged, findings = _true_spacing(merged, volume)
    merged, more = _stretched_twice(merged)
    return merged, [*(_clash(merged, *c) for c in clashes), *findings, *more]


def with_evidence(calibration: Calibration, evidence: Sequence[Evidence]) -> tuple[Calibration, list[Finding]]:
    """Weigh what the slices themselves say against what is known of them.

    What is not known is filled in: as "measured" where the evidence is decisive, else as a "guess" (the orientation,
    which mirrors or turns the specimen, only by decisive evidence). What is known is never changed; but where decisive
    evidence contradicts anything that the user did not state, it becomes a "guess", which must be settled or accepted.
    Why the slices cannot tell something is noted.

    Returns
    -------
    Calibration, list of Finding
        Contradictions are shown with what either answer makes of the voxels.
    """
    findings: list[Finding] = []
    for item in evidence:
        if calibration.others.get("in_voxels"):
            continue
        if item.value is None:
            findings.append(Finding("evidence", f"{item.fact}: {item.text}", "note", asks=item.fact))
            continue
        if getattr(calibration, item.fact):
            fact, finding = _compared(calibration, item)
        elif item.decisive or item.fact != "orientation":
            fact, finding = _filled_in(item)
        else:
            continue
        calibration = replace(calibration, **{item.fact: fact})
        findings.append(finding)
    return calibration, findings


def _filled_in(item: Evidence) -> tuple[Sourced, Finding]:
    """What only the slices tell; images that will be turned on reading are worth a warning."""
    fact = Sourced(item.value, _SELF_TEST, "measured" if item.decisive else "guess")
    text = f"{item.fact}: {shown(item.value)} follows from the slices themselves: {item.text}"
    return fact, Finding("evidence", text, "warning" if item.fact == "orientation" else "note", asks=item.fact)


def _compared(calibration: Calibration, item: Evidence) -> tuple[Sourced, Finding]:
    """What is known beside what the slices tell; doubted where they are sure of the contrary."""
    known: Sourced = getattr(calibration, item.fact)
    head, said = f"{item.fact}: {shown(known.value)} ({known.origin})", shown(item.value)
    if _agree(item.fact, known.value, item.value, _slack(item)):
        return known, Finding("evidence", f"{head} agrees with the slices: {item.text}", "note")
    why = f"{item.text}{_either(calibration, item)}"
    if is_stated(known) or not item.decisive:
        text = f"{head} is used, but the slices speak for {said}: {why}"
        return known, Finding("evidence-contradiction", text, "warning" if item.decisive else "note", asks=item.fact)
    text = f"{head} contradicts the slices, which say {said}: {why}; settle it with {_SETTLED_BY[item.fact]}"
    doubted = replace(known, origin=f"{known.origin}, contradicted by the slices", confidence="guess")
    return doubted, Finding("evidence-contradiction", text, asks=item.fact)


def _either(calibration: Calibration, item: Evidence) -> str:
    """What the known value and the evidence make of the voxels, side by side."""
    known: Sourced = getattr(calibration, item.fact)
    if item.fact == "orientation":
        return ""
    told = [
        f"{shown(value)}: {text}"
        for value in (known.value, item.value)
        if (text := outcome_if(calibration, item.fact, value))
    ]
    return f" ({'; '.join(told)})" if told else ""


def _slack(item: Evidence) -> float:
    """Difference that is still agreement: 2°, a tenth of a length, or twice the stated error."""
    if not isinstance(item.value, int | float) or not item.value:
        return 0.0
    sigma = item.numbers.get(f"{item.fact}_sigma", 0.0)
    return max(2.0, 2 * sigma) if item.fact.endswith("_deg") else max(0.1, 2 * sigma / abs(item.value))


def slice_positions(
    calibration: Calibration,
    n_slices: int,
    numbers: Sequence[int] | None,
    step: int,
    files_z_nm: Sequence[float] | None,
) -> tuple[Calibration, list[Finding]]:
    """Add the slice positions that file names hold, or that follow from gaps in their numbers.

    Parameters
    ----------
    calibration
        May hold measured positions already, which stay.
    n_slices
        Number of slices; a single one has no positions.
    numbers, step
        Slice numbers and their usual step.
    files_z_nm
        Positions from the file names.
    """
    measured = calibration.slice_z_nm
    if n_slices < 2:
        return replace(calibration, slice_z_nm=UNKNOWN), []
    if measured:
        return _with_positions(calibration, measured)
    if files_z_nm is not None:
        return _with_positions(calibration, Sourced(tuple(files_z_nm), "z in the file names", "measured"))
    if numbers is None or not _has_gap(numbers, step) or not calibration.slice_nm:
        return calibration, []
    nominal = calibration.slice_nm
    z = tuple((n - numbers[0]) / step * float(nominal.value) for n in numbers)
    origin = f"slice numbers × {nominal.value:g} nm ({nominal.origin})"
    return replace(calibration, slice_z_nm=Sourced(z, origin, "default")), []


def selected(calibration: Calibration, n_slices: int, chosen: range) -> Calibration:
    """Return the calibration of the slices `chosen` out of `n_slices`."""
    positions, nominal = calibration.slice_z_nm, calibration.slice_nm
    if positions and len(positions.value) == n_slices:
        part = [positions.value[k] for k in chosen]
        positions = replace(positions, value=tuple(z - part[0] for z in part))
    if nominal and chosen.step != 1:
        nominal = replace(
            nominal, value=nominal.value * chosen.step, origin=f"{nominal.origin}, every {chosen.step}th slice"
        )
    return replace(calibration, slice_z_nm=positions, slice_nm=nominal)


def _with_positions(calibration: Calibration, positions: Sourced) -> tuple[Calibration, list[Finding]]:
    z = np.asarray(positions.value, dtype=np.float64)
    if len(z) > 1 and not (np.isfinite(z).all() and (np.diff(z) > 0).all()):
        k = int(np.flatnonzero(~(np.diff(z) > 0))[0])
        text = (
            f"slice positions from {positions.origin} do not ascend (slices {k} and {k + 1}: {z[k]:g} and {z[k + 1]:g} "
            f"nm); equal spacing is used instead"
        )
        return replace(calibration, slice_z_nm=UNKNOWN), [Finding("slice-positions", text)]
    findings = []
    nominal = calibration.slice_nm
    if len(z) > 1:
        median = float(np.median(np.diff(z)))
        if not nominal:
            nominal = Sourced(median, f"median step of {positions.origin}", "measured")
        elif not _agree("slice_nm", median, nominal.value, 0.1):
            text = (
                f"slice thickness: {nominal.value:g} nm ({nominal.origin}), but the positions from {positions.origin} "
                f"have a median step of {median:g} nm; the positions are used"
            )
            findings.append(Finding("contradiction", text))
    z_nm = replace(positions, value=tuple(float(v) for v in z - z[0]))
    return replace(calibration, slice_nm=nominal, slice_z_nm=z_nm), findings


def _true_spacing(merged: Calibration, volume: bool) -> tuple[Calibration, list[Finding]]:
    """Take a voxel size as the true spacing where it was stated as one and nothing tells of a tilted face.

    The stack itself may still contradict it; see `with_evidence`.
    """
    nothing_told = not (merged.tilt_corrected or merged.column_angle_deg or merged.face_tilt_deg)
    if not (nothing_told and merged.pixel_nm and merged.slice_nm):
        return merged, []
    if is_stated(merged.pixel_nm):
        assumed = Sourced(True, f"voxel size of the user {_ASSUMED}", "default")
        whose = "the given voxel size is taken as the true one"
    elif volume:
        assumed = Sourced(True, f"{merged.pixel_nm.origin} {_ASSUMED}", "default")
        whose = f"the voxel size in the file ({merged.pixel_nm.origin}) is taken as the true one"
    else:
        return merged, []
    text = (
        f"{whose}: y is not stretched for the tilt; if the rows are as scanned on a tilted face, say "
        f"--tilt-corrected no --column-angle-deg 52 (tilt_corrected=False, column_angle_deg=52)"
    )
    return replace(merged, tilt_corrected=assumed), [Finding("tilt-assumed", text, asks="tilt_corrected")]


def _stretched_twice(merged: Calibration) -> tuple[Calibration, list[Finding]]:
    """Doubt that rows are as scanned where the user's pixels are already taller by just the factor of the tilt."""
    pixel, corrected, face = merged.pixel_nm, merged.tilt_corrected, face_angle_deg(merged)
    if not (is_stated(pixel) and face and corrected.value is False) or is_stated(corrected):
        return merged, []
    dy, dx = pixel.value
    if abs(dy / dx * cos(radians(face)) - 1) > _SAME_STRETCH:
        return merged, []
    doubted = Sourced(False, f"{corrected.origin}, contradicted by the stated pixel height", "guess")
    text = (
        f"the stated pixel height is {dy / dx:.3f} × the width, just the factor of the tilt, but rows are not "
        f"corrected according to {corrected.origin}: stretching them again would make the voxels too tall; say "
        f"--tilt-corrected yes if {dy:g} nm is true to scale, or give the pixel height as scanned"
    )
    return replace(merged, tilt_corrected=doubted), [Finding("contradiction", text, asks="tilt_corrected")]


def _clash(merged: Calibration, name: str, used: Sourced, other: Sourced) -> Finding:
    """Two sure sources that differ, with what each makes of the voxels."""
    told = [outcome_if(merged, name, value) for value in (used.value, other.value)]
    pair = f" ({shown(used.value)}: {told[0]}; {shown(other.value)}: {told[1]})" if all(told) else ""
    text = (
        f"{name}: {shown(used.value)} ({used.origin}) is used, but {other.origin} says {shown(other.value)}"
        f"{pair if len(set(told)) > 1 else ''}; check which is right"
    )
    return Finding("contradiction", text)


def _agree(name: str, a: Any, b: Any, tolerance: float | None = None) -> bool:
    if isinstance(a, bool | str) or isinstance(b, bool | str):
        return bool(a == b)
    one, two = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.shape != two.shape:
        return False
    if name.endswith("_deg"):
        return bool(np.allclose(one, two, rtol=0, atol=_SAME_DEG if tolerance is None else tolerance))
    return bool(np.allclose(one, two, rtol=_TOLERANCE if tolerance is None else tolerance, atol=0))


def _has_gap(numbers: Sequence[int], step: int) -> bool:
    return any(b - a != step for a, b in itertools.pairwise(numbers))
