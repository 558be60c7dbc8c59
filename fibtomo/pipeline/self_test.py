"""Self-test of a stack: reads some of its slices and its logs, and says what they tell of the acquisition."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fibtomo.core.evidence import Evidence
from fibtomo.core.geometry import Geometry
from fibtomo.core.resolve import face_angle_deg, geometry_of, missing_scale
from fibtomo.core.source import SliceSource
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.errors import FibtomoError
from fibtomo.io.logs import SliceLog
from fibtomo.ops.self_test import SliceSigns, motion_evidence, thickness_evidence, tilt_evidence

_RUNS, _RUN_SLICES = 6, 4
_FEWEST_LOGGED = 5
_SAME_RATE, _NO_RATE = 0.15, 0.1  # of the expected rate


@dataclass(frozen=True)
class SelfTest:
    """What a stack says of itself.

    Attributes
    ----------
    evidence
        One item for each fact that was looked at.
    warnings
        Sentences for the user.
    """

    evidence: tuple[Evidence, ...] = ()
    warnings: tuple[str, ...] = ()


def examine(stack: SliceSource) -> SelfTest:
    """Look at up to 24 slices of a stack, and at what was logged with them.

    Parameters
    ----------
    stack
        A `Stack`, or another source of slices with a calibration; logs are used where it has them.

    Returns
    -------
    SelfTest
        Evidence on ``tilt_corrected`` (shape of the structure in the plane), ``slice_nm`` (decay of likeness) and
        ``tracked`` (motion of the content; beam shift and stage as logged). Empty for slices that are too small.
    """
    signs = SliceSigns()
    runs = _runs(stack)
    middle = len(runs) // 2  # chooses the tiles, as the first slices may be empty
    for first, stop in runs[middle:] + runs[:middle]:
        signs.add(stack.read(first, stop))
        if signs.tiles is None:
            return SelfTest()
    c = stack.calibration
    shape = signs.isotropy()
    advance = signs.advance_px(shape) if shape is not None else None
    height, width = c.pixel_nm.value or (1.0, 1.0)
    seen_over_known = advance[0] * width / c.slice_nm.value if advance and c.pixel_nm and c.slice_nm else None
    evidence = [tilt_evidence(shape, height / width, face_angle_deg(c), seen_over_known)]
    if c.pixel_nm:
        evidence.append(thickness_evidence(advance, float(width), c.slice_nm.value))
    fixed = _fixed_field(c, evidence[0])
    if fixed is None or not fixed.face_angle_deg:
        return SelfTest(tuple(evidence))
    moved, warning = motion_evidence(signs.motion_px(), fixed.shear_px_per_slice, stack.spec.shape[0], shape)
    evidence += [moved, *_logged(getattr(stack, "logs", {}), fixed)]
    return SelfTest(tuple(evidence), (warning,) if warning else ())


def _runs(stack: SliceSource) -> list[tuple[int, int]]:
    """Ranges of consecutive good slices, spread evenly over the stack."""
    n, bad = stack.spec.shape[0], set(getattr(stack, "bad_slices", ()))
    length = min(_RUN_SLICES, n)
    starts = sorted({round(float(v)) for v in np.linspace(0, n - length, min(_RUNS, max(1, n // length)))})
    return [(k, k + length) for k in starts if bad.isdisjoint(range(k, k + length))]


def _fixed_field(c: Calibration, tilt: Evidence) -> Geometry | None:
    """Geometry of a field of view that does not follow the face; ``None`` where scale, angle or tilt are not known."""
    corrected = c.tilt_corrected.value if c.tilt_corrected.value is not None else tilt.value
    if missing_scale(c) or face_angle_deg(c) is None or corrected is None:
        return None
    try:
        return geometry_of(replace(c, tilt_corrected=Sourced(corrected), tracked=Sourced(False)))
    except FibtomoError:
        return None


def _logged(logs: dict[str, SliceLog], fixed: Geometry) -> list[Evidence]:
    """Whether beam or stage were moved with the face, by what the instrument wrote into the headers."""
    on_screen = fixed.voxel_nm[0] * float(np.sin(np.radians(fixed.face_angle_deg)))
    on_face = on_screen / float(np.cos(np.radians(fixed.face_angle_deg)))
    rates = {
        name: rate
        for name in ("beam_shift_y_nm", "stage_y_nm", "stage_z_nm")
        if (log := logs.get(name)) is not None and (rate := _rate(log)) is not None
    }
    beam = rates.get("beam_shift_y_nm")
    if beam is not None and min(abs(abs(beam) / on_screen - 1), abs(abs(beam) / on_face - 1)) < _SAME_RATE:
        text = f"the beam was shifted by {abs(beam):.3g} nm per slice, as the face moves ({on_screen:.3g} nm on screen)"
        return [Evidence("tracked", True, text, True, {"beam_shift_nm_per_slice": beam})]
    if len(rates) == len(("beam", "stage y", "stage z")) and all(
        abs(rate) < _NO_RATE * on_screen for rate in rates.values()
    ):
        text = f"neither beam nor stage were moved, while the face moves by {on_screen:.3g} nm per slice on screen"
        return [Evidence("tracked", False, text, numbers={f"{k}_per_slice": v for k, v in rates.items()})]
    return []


def _rate(log: SliceLog) -> float | None:
    """Typical change per slice, nm; ``None`` for logs that jump about or are too short."""
    if len(log.index) < _FEWEST_LOGGED:
        return None
    steps = [(b - a) / (j - i) for (i, a), (j, b) in pairwise(zip(log.index, log.value, strict=True))]
    return float(np.median(steps))
