"""Doubts about a stack: warnings that ask for a fact, what its own slices say, and what has been answered."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fibtomo.core.evidence import Evidence
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.io.calibrate import with_evidence
from fibtomo.io.findings import Finding
from fibtomo.io.stack import Stack
from fibtomo.io.vendor.info import VendorInfo

_ASKED_BY = {
    "--tilt-corrected": "tilt_corrected",
    "--column-angle-deg": "column_angle_deg",
    "--voxel-nm": "pixel_nm",
}
_SURE = ("given", "measured")
_SAME_ROTATION_DEG = 5.0


def vendor_warnings(info: VendorInfo, calibration: Calibration) -> list[Finding]:
    """Return what a vendor reader warns of, without what a better source has answered by now.

    Examples
    --------
    >>> info = VendorInfo("X", warnings=["rows may not be true: give --tilt-corrected yes or no", "damaged"])
    >>> known = Calibration(tilt_corrected=Sourced(True, "project", "given"))
    >>> [finding.message for finding in vendor_warnings(info, known)]
    ['damaged']
    """
    found = [Finding("vendor", text, asks=_asked(text)) for text in info.warnings]
    return [f for f in found if not f.asks or getattr(calibration, f.asks).confidence not in _SURE]


def still_open(findings: Iterable[Finding], stated: Calibration) -> list[Finding]:
    """Return the findings that the user's statements do not settle."""
    return [f for f in findings if not f.asks or not getattr(stated, f.asks)]


def weighed(stack: Stack, evidence: Iterable[Evidence], warnings: Iterable[str] = ()) -> Stack:
    """Return `stack` with what its slices say weighed against what it was told; see `with_evidence`."""
    evidence = tuple(evidence)
    calibration, findings = with_evidence(stack.calibration, evidence)
    more = [*findings, *(Finding("self-test", text) for text in warnings)]
    problems = (*stack.problems, *more)
    return replace(stack, calibration=calibration, problems=problems, evidence=evidence, told=stack.calibration)


def unweighed(stack: Stack) -> Stack:
    """Return `stack` as it was before its slices were looked at."""
    if stack.told is None:
        return stack
    problems = tuple(f for f in stack.problems if not f.kind.startswith("evidence"))
    return replace(stack, calibration=stack.told, problems=problems, evidence=None, told=None)


def turned_scan(infos: Sequence[tuple[Path, VendorInfo]], calibration: Calibration) -> list[Finding]:
    """Say when the scan was rotated, unless the orientation is known; how the images lie is never guessed."""
    rotation = next(
        (info.metadata["scan_rotation_deg"] for _, info in infos if "scan_rotation_deg" in info.metadata), Sourced(None)
    )
    if not rotation or calibration.orientation:
        return []
    angle = float(rotation.value) % 360.0
    if min(angle, 360.0 - angle) <= _SAME_ROTATION_DEG:
        return []
    said = f"the scan was rotated by {angle:.1f}° ({rotation.origin})"
    if abs(angle - 180.0) <= _SAME_ROTATION_DEG:
        text = (
            f"{said}: the images may stand on their heads; look where the sample surface lies: at the top, say "
            f"--orientation upright, at the bottom, --orientation rotated-180 (orientation); upright is assumed"
        )
    else:
        text = (
            f"{said}: unless the stage was turned with it, rows do not run along the tilt axis; turn the images so "
            f"that the ion beam runs down the columns, then say --orientation upright (orientation)"
        )
    return [Finding("orientation", text, asks="orientation")]


def _asked(text: str) -> str:
    """Fact that a warning asks for: that of the first option it names."""
    option = re.search("|".join(_ASKED_BY), text)
    return _ASKED_BY[option.group()] if option else ""
