"""Column angles by default, and the question whether stored rows are already true to scale."""

from fibtomo.core.volume import UNKNOWN, Sourced

_SAME_DEG = 0.5
_OVERTILT_DEG = 3.0
_ON_STAGE_DEG = 3.0


def default_column_angle(angle_deg: float, vendor: str) -> Sourced:
    """Angle between the columns of all dual beams of a vendor."""
    return Sourced(angle_deg, f"{vendor} default", "default")


def no_ion_column(instrument: str) -> str:
    """Warning for an instrument that is no dual beam."""
    return (
        f"no ion column is known for {instrument}, so the column angle is unknown: "
        "give --column-angle-deg (column_angle_deg)"
    )


def read_column_angle(angle_deg: Sourced, default: Sourced) -> Sourced:
    """Angle between the columns that an instrument states, or the default where it states none that can be."""
    return angle_deg if angle_deg and 20 <= angle_deg.value <= 90 else default


def sample_tilt(stage_tilt_deg: Sourced, column_angle_deg: Sourced, pre_tilt_deg: Sourced = UNKNOWN) -> Sourced:
    """Tilt of the sample surface out of the horizontal: stage tilt minus signed pre-tilt of the holder.

    Holders are rarely noted (one of 36° pre-tilt reads a stage tilt of 16° where a flat one reads 52°), and no header
    explains the sign of a pre-tilt. A sum is believed only where it lays the surface normal to the ion beam, as
    slice-and-view does; anything else is for the user to say. The stage tilt never stands for the column angle.

    Examples
    --------
    >>> told = [Sourced(a, f"stage at {a:g}", "given") for a in (52.0, 16.0)]
    >>> [sample_tilt(stage, Sourced(52.0), Sourced(36.0)).value for stage in told], sample_tilt(told[1], Sourced(52.0))
    ([None, 52.0], Sourced(value=None, origin='unknown', confidence='unknown'))
    """
    if not (stage_tilt_deg and column_angle_deg):
        return UNKNOWN
    stage, pre = float(stage_tilt_deg.value), float(pre_tilt_deg.value or 0.0)
    for tilt, sign in ((stage - pre, "−"), (stage + pre, "+")):
        if abs(tilt - column_angle_deg.value) <= _ON_STAGE_DEG:
            origin = stage_tilt_deg.origin + (f" {sign} {pre_tilt_deg.origin}" if pre else ", holder taken as flat")
            return Sourced(round(tilt, 6), origin, "default")
    return UNKNOWN


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
    question = "whether rows are true to scale cannot be told: give --tilt-corrected yes or no (tilt_corrected)"
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
