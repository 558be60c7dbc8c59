"""One calibration out of what user, project, image tags and container say, with every contradiction named."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fibtomo.core.volume import UNKNOWN, Calibration, Sourced
from fibtomo.errors import InputError
from fibtomo.io.findings import Finding

_FIELDS = ("pixel_nm", "slice_nm", "slice_z_nm", "column_angle_deg", "tilt_corrected", "tracked")
_UNSURE = ("default", "guess", "unknown")
_TOLERANCE = 0.01


@dataclass(frozen=True)
class UserFacts:
    """What the user states about the acquisition; None where nothing is stated."""

    voxel_nm: Sequence[float | None] | Literal["unknown"] | None = None
    column_angle_deg: float | None = None
    tilt_corrected: bool | None = None
    tracked: bool | None = None

    @property
    def in_voxels(self) -> bool:
        """Whether the user wants to run without a scale."""
        return self.voxel_nm == "unknown"

    def calibration(self) -> Calibration:
        """As values with their origin.

        Raises
        ------
        InputError
            The voxel size is not three positive lengths, or the angle makes no sense.
        """
        pixel, step = UNKNOWN, UNKNOWN
        if self.voxel_nm is not None and not self.in_voxels:
            dz, dy, dx = _three_lengths(self.voxel_nm)
            step = Sourced(dz, "user", "given") if dz else UNKNOWN
            pixel = Sourced((dy, dx), "user", "given") if dy and dx else UNKNOWN
        angle = self.column_angle_deg
        if angle is not None and not 20 <= angle <= 90:
            raise InputError(f"column_angle_deg = {angle} must lie between 20 and 90 degrees")
        return Calibration(
            pixel_nm=pixel,
            slice_nm=step,
            column_angle_deg=_stated(None if angle is None else float(angle)),
            tilt_corrected=_stated(self.tilt_corrected),
            tracked=_stated(self.tracked),
        )


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
    findings: list[Finding] = []
    chosen: dict[str, Any] = {}
    for name in _FIELDS:
        order = reversed(sources) if name == "pixel_nm" else sources
        known = [value for c in (stated, *order) if (value := getattr(c, name))]
        sure = [value for value in known if value.confidence not in _UNSURE]
        chosen[name] = (sure or known or [UNKNOWN])[0]
        findings += [_contradiction(name, sure[0], v) for v in sure[1:] if not _agree(sure[0].value, v.value)]
    others: dict[str, Sourced] = {}
    for source in reversed(sources):
        others.update(source.others)
    merged = Calibration(**chosen, others=others)
    if user.in_voxels:
        others["in_voxels"] = Sourced(True, "user: voxel size unknown", "given")
        merged = replace(merged, pixel_nm=UNKNOWN, slice_nm=UNKNOWN, slice_z_nm=UNKNOWN)
        text = "the run is in voxels: lengths, areas and volumes will have no physical unit"
        return merged, [*findings, Finding("no-scale", text)]
    return _true_spacing(merged, user, findings, volume)


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
        elif not _agree(median, nominal.value, 0.1):
            text = (
                f"slice thickness: {nominal.value:g} nm ({nominal.origin}), but the positions from {positions.origin} "
                f"have a median step of {median:g} nm; the positions are used"
            )
            findings.append(Finding("contradiction", text))
    z_nm = replace(positions, value=tuple(float(v) for v in z - z[0]))
    return replace(calibration, slice_nm=nominal, slice_z_nm=z_nm), findings


def _true_spacing(
    merged: Calibration, user: UserFacts, findings: list[Finding], volume: bool
) -> tuple[Calibration, list[Finding]]:
    """Take a spacing as true where nobody says anything about tilt and it was stated as a voxel size."""
    tilt_known = merged.tilt_corrected or (
        merged.column_angle_deg and merged.column_angle_deg.confidence not in _UNSURE
    )
    scale = merged.pixel_nm and merged.slice_nm
    if tilt_known or not scale:
        return merged, findings
    if user.voxel_nm is not None:
        assumed = Sourced(True, "voxel size of the user taken as true spacing", "given")
        whose = "the given voxel size is taken as the true one"
    elif volume:
        assumed = Sourced(True, f"{merged.pixel_nm.origin} taken as true spacing", "default")
        whose = f"the voxel size in the file ({merged.pixel_nm.origin}) is taken as the true one"
    else:
        return merged, findings
    text = (
        f"{whose}: y is not stretched for the tilt; if the rows are as scanned on a tilted face, say "
        f"--tilt-corrected no --column-angle-deg 52"
    )
    return replace(merged, tilt_corrected=assumed), [*findings, Finding("tilt-assumed", text)]


def _contradiction(name: str, chosen: Sourced, other: Sourced) -> Finding:
    text = (
        f"{name}: {_shown(chosen.value)} ({chosen.origin}) is used, but {other.origin} says {_shown(other.value)}; "
        f"check which is right"
    )
    return Finding("contradiction", text)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    values = np.atleast_1d(np.asarray(value))
    if len(values) > 4:
        return f"{values[0]:g} … {values[-1]:g} ({len(values)} values)"
    return " × ".join(f"{v:.6g}" for v in values)


def _agree(a: Any, b: Any, tolerance: float = _TOLERANCE) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return bool(a) == bool(b)
    one, two = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return one.shape == two.shape and bool(np.allclose(one, two, rtol=tolerance, atol=0))


def _has_gap(numbers: Sequence[int], step: int) -> bool:
    return any(b - a != step for a, b in itertools.pairwise(numbers))


def _stated(value: Any) -> Sourced:
    return UNKNOWN if value is None else Sourced(value, "user", "given")


def _three_lengths(voxel_nm: Any) -> tuple[float | None, ...]:
    try:
        values = tuple(None if v is None else float(v) for v in voxel_nm)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or any(v is not None and not (np.isfinite(v) and v > 0) for v in values):
        raise InputError(
            f"voxel_nm = {voxel_nm!r} must be three positive lengths in nm (slice thickness, pixel height and width), "
            f"as in --voxel-nm 10 5 5, or 'unknown'"
        )
    return values
