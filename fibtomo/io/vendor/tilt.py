"""Column angles by default, and the question whether stored rows are already true to scale."""

from fibtomo.core.volume import UNKNOWN, Sourced

_SAME_DEG = 0.5
_OVERTILT_DEG = 3.0


def default_column_angle(angle_deg: float, vendor: str) -> Sourced:
    """Angle between the columns of all dual beams of a vendor."""
    return Sourced(angle_deg, f"{vendor} default", "default")


def no_ion_column(instrument: str) -> str:
    """Warning for an instrument that is no dual beam."""
    return f"no ion column is known for {instrument}, so the column angle is unknown: give --column-angle-deg"


def judge_tilt_correction(
    is_on: Sourced, angle_deg: Sourced, column_angle_deg: Sourced, stage_tilt_deg: Sourced = UNKNOWN
) -> tuple[Sourced, list[str]]:
    """Whether the scan generator stretched the rows to the true scale of the milled face.

    Only the switch and the correction angle count: stored pixel heights never show the correction, and dynamic
    focus does not change the scale. The sign of the angle is a convention of the instrument. Rows are true when the
    angle is that of the face, 90° − column angle (over-tilted by at most 3°); any other angle, zero included,
    leaves the question open.

    Parameters
    ----------
    is_on
        The switch.
    angle_deg
        Correction angle.
    column_angle_deg
        Angle between the columns.
    stage_tilt_deg
        Shown in the warning only.

    Returns
    -------
    tuple
        True, False or an unknown value with the origin of the switch, and warnings.
    """
    if not is_on:
        return UNKNOWN, []
    if not is_on.value:
        return is_on, []
    correction = f"{is_on.origin}: tilt correction is on with " + (
        f"angle {angle_deg.value:.2f}°" if angle_deg else "no angle"
    )
    if stage_tilt_deg:
        correction += f" at stage tilt {stage_tilt_deg.value:.2f}°"
    question = "whether rows are true to scale cannot be told: give --tilt-corrected yes or no"
    undecided = Sourced(None, is_on.origin, "unknown")
    if not angle_deg or abs(angle_deg.value) < _SAME_DEG:
        return undecided, [f"{correction}; {question}"]
    if not column_angle_deg:
        return undecided, [f"{correction}, and the column angle is unknown; {question}"]
    face_deg = 90.0 - column_angle_deg.value
    off_deg = abs(abs(angle_deg.value) - face_deg)
    if off_deg > _OVERTILT_DEG:
        return undecided, [f"{correction}, but the face lies at {face_deg:.1f}°; {question}"]
    if off_deg > _SAME_DEG:
        return is_on, [f"{correction}, {off_deg:.1f}° off the face at {face_deg:.1f}°; rows are taken as true to scale"]
    return is_on, []
