"""From what is known of an acquisition to its `Geometry`; what is not known becomes one question to the user."""

from dataclasses import replace
from typing import Any

from fibtomo.core.geometry import Geometry
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.errors import CalibrationError

COLUMN_ANGLES_DEG = {"Thermo Fisher/FEI": 52.0, "Zeiss": 54.0, "TESCAN": 55.0}
"""Angles between the columns of the commonest dual beams, as examples in questions."""

GUESSES = (
    *("pixel_nm", "slice_nm", "slice_z_nm", "column_angle_deg", "overtilt_deg", "face_tilt_deg"),
    *("tilt_corrected", "tracked"),
)
"""Facts on which lengths, areas and volumes in nm rest, by their names in `Calibration`."""

_UNIT_SCALE: dict[str, Any] = {"pixel_nm": Sourced((1.0, 1.0)), "slice_nm": Sourced(1.0), "slice_z_nm": Sourced(None)}
_OPTIONS = {
    "pixel_nm": "--voxel-nm DZ DY DX (voxel_nm)",
    "slice_nm": "--voxel-nm DZ DY DX (voxel_nm)",
    "slice_z_nm": "--voxel-nm DZ DY DX (voxel_nm)",
    "column_angle_deg": "--column-angle-deg (column_angle_deg)",
    "overtilt_deg": "--over-tilt-deg (overtilt_deg)",
    "face_tilt_deg": "--face-tilt-deg (face_tilt_deg)",
    "tilt_corrected": "--tilt-corrected yes or no (tilt_corrected)",
    "tracked": "--tracked yes or no (tracked)",
}


def missing_scale(calibration: Calibration) -> str | None:
    """Return the question to ask when the voxel size is not fully known, else ``None``."""
    if calibration.others.get("in_voxels"):
        return None
    pixel, z = calibration.pixel_nm.value, calibration.slice_nm.value or calibration.slice_z_nm.value
    if pixel and z:
        return None
    dy, dx = (f"{pixel[0]:.6g}", f"{pixel[1]:.6g}") if pixel else ("DY", "DX")
    dz = f"{calibration.slice_nm.value:.6g}" if calibration.slice_nm else "DZ"
    lacking = (
        "the pixel size and the slice thickness are"
        if not pixel and not z
        else ("the pixel size is" if not pixel else "the slice thickness is")
    )
    return (
        f"{lacking} not in the metadata: add --voxel-nm {dz} {dy} {dx} (voxel_nm=({dz}, {dy}, {dx}): slice thickness, "
        f"pixel height and width in nm), or --voxel-nm unknown to run in voxels"
    )


def unaccepted_guesses(calibration: Calibration, *, shear_from_images: bool = False) -> list[str]:
    """Names of the guessed facts that results in nm would rest on and that the user has not accepted.

    Parameters
    ----------
    calibration
        Names accepted stand in ``others["accepted"]``; a run in voxels rests on nothing.
    shear_from_images
        True when measured drift replaces the geometric shear, so that `tracked` does not matter.

    Examples
    --------
    >>> unaccepted_guesses(Calibration(slice_nm=Sourced(4.0, "notes", "guess")))
    ['slice_nm']
    """
    c = calibration
    if c.others.get("in_voxels"):
        return []
    inclined = face_angle_deg(c) != 0
    shears = inclined and not shear_from_images
    angle = inclined and (c.tilt_corrected.value is False or (shears and not c.tracked.value))
    matters = {
        "pixel_nm": True,
        "slice_nm": c.slice_z_nm.confidence not in ("given", "measured"),
        "slice_z_nm": True,
        "column_angle_deg": angle and not c.face_tilt_deg,
        "overtilt_deg": angle and not c.face_tilt_deg,
        "face_tilt_deg": angle,
        "tilt_corrected": inclined,
        "tracked": shears,
    }
    accepted = c.others.get("accepted", Sourced(())).value
    return [n for n in GUESSES if matters[n] and getattr(c, n).confidence == "guess" and n not in accepted]


def question_of_guesses(calibration: Calibration, *, shear_from_images: bool = False) -> str | None:
    """Return the question to ask while results in nm would rest on guesses, else ``None``."""
    names = unaccepted_guesses(calibration, shear_from_images=shear_from_images)
    if not names:
        return None
    told = [f"{n} = {shown(getattr(calibration, n).value)} ({getattr(calibration, n).origin})" for n in names]
    choices = [text for name in names if (text := alternatives(calibration, name))]
    ways = list(dict.fromkeys(_OPTIONS[name] for name in names))
    if "tilt_corrected" in names and face_angle_deg(calibration) is None:
        ways.append("--column-angle-deg 52 (column_angle_deg) if they are not")
    accept = " ".join(f"--accept-guess {name}" for name in names)
    return (
        f"results in nm would rest on a guess: {'; '.join(told + choices)}: state it with {' and '.join(ways)}, go on "
        f"with {accept} (accept_guess={tuple(names)!r}), or --voxel-nm unknown to run in voxels"
    )


def face_angle_deg(calibration: Calibration) -> float | None:
    """γ: angle between the electron beam and the face normal, where it is known."""
    c = calibration
    if c.face_tilt_deg:
        return float(c.face_tilt_deg.value)
    if not c.column_angle_deg:
        return None
    return 90.0 - float(c.column_angle_deg.value) - float(c.overtilt_deg.value or 0.0)


def open_questions(calibration: Calibration, *, shear_from_images: bool) -> list[str]:
    """Return everything that must be answered before results in nm can be had, most basic first."""
    asked = (
        missing_scale(calibration),
        None if calibration.others.get("in_voxels") else _missing_geometry(calibration, shear_from_images),
        question_of_guesses(calibration, shear_from_images=shear_from_images),
    )
    return [question for question in asked if question]


def resolve_geometry(calibration: Calibration, *, shear_from_images: bool) -> Geometry:
    """Return the geometry of the acquisition, or ask for the one value that is missing.

    Parameters
    ----------
    calibration
        Values with origins; nothing here is guessed.
    shear_from_images
        True when measured drift will replace the geometric shear, so that `tracked` need not be known.

    Raises
    ------
    CalibrationError
        A value that changes the shape of the result is not known; the message names the option to give, and what
        each answer would make of the voxels.
    """
    c = calibration
    if c.others.get("in_voxels"):
        return Geometry((1.0, 1.0, 1.0), tilt_corrected=True, tracked=True)
    question = missing_scale(c) or _missing_geometry(c, shear_from_images)
    if question:
        raise CalibrationError(question)
    return geometry_of(c)


def geometry_of(c: Calibration) -> Geometry:
    """Geometry of a calibration whose scale is known; without an angle the face counts as normal to the beam."""
    positions, angle = c.slice_z_nm.value, c.column_angle_deg.value
    sample_tilt = None if c.sample_tilt_deg.confidence == "guess" else c.sample_tilt_deg.value
    return Geometry(
        voxel_nm=(
            float(c.slice_nm.value or _mean_step(positions)),
            float(c.pixel_nm.value[0]),
            float(c.pixel_nm.value[1]),
        ),
        column_angle_deg=90.0 if angle is None else float(angle),
        tilt_corrected=bool(c.tilt_corrected.value),
        tracked=bool(c.tracked.value),
        overtilt_deg=0.0 if angle is None else float(c.overtilt_deg.value or 0.0),
        slice_z_nm=None if positions is None else tuple(positions),
        face_tilt_deg=c.face_tilt_deg.value,
        sample_tilt_deg=sample_tilt,
    )


def _missing_geometry(c: Calibration, shear_from_images: bool) -> str | None:
    """Return the question about angles, tilt correction or tracking, if one is open."""
    face, corrected, tracked = face_angle_deg(c), c.tilt_corrected.value, c.tracked.value
    if face is None and corrected is None:
        return (
            "neither the column angle nor the tilt correction is known: add --column-angle-deg 52 and --tilt-corrected "
            "yes or no (column_angle_deg, tilt_corrected), or --column-angle-deg 90 if the electron beam meets the "
            "face at right angles"
        )
    if face is None and corrected is False:
        return (
            "the images are not tilt-corrected and the column angle is unknown: add --column-angle-deg 52 "
            f"(column_angle_deg; {angles(c)})"
        )
    if face and corrected is None:
        return (
            f"the metadata do not decide whether the scan corrected the tilt: add --tilt-corrected yes or "
            f"--tilt-corrected no (tilt_corrected; {alternatives(c, 'tilt_corrected')})"
        )
    if shear_from_images or face == 0:
        return None
    if face is None:
        assumed = c.tilt_corrected.confidence in ("default", "guess")
        if tracked or (tracked is None and assumed):
            return None
        return (
            "without drift estimation the shear between slices follows from the column angle, which is unknown: add "
            "--column-angle-deg 52 (column_angle_deg), or --tracked yes if the field of view followed the face"
        )
    if tracked is None:
        return (
            "without drift estimation the shear between slices follows from the acquisition: add --tracked yes if the "
            f"field of view followed the face, else --tracked no (tracked; {alternatives(c, 'tracked')})"
        )
    return None


def alternatives(calibration: Calibration, name: str) -> str:
    """What each answer to a yes-or-no fact makes of the voxels: "yes: voxel ...; no: voxel ..."."""
    if name not in ("tilt_corrected", "tracked"):
        return ""
    told = {answer: outcome_if(calibration, name, answer) for answer in (True, False)}
    return "; ".join(f"{shown(answer)}: {text}" for answer, text in told.items() if text)


def angles(calibration: Calibration) -> str:
    """What the commonest column angles make of the voxels."""
    told = (
        f"{vendor} {angle:g}: {outcome_if(calibration, 'column_angle_deg', angle)}"
        for vendor, angle in COLUMN_ANGLES_DEG.items()
    )
    return "; ".join(told)


def outcome(calibration: Calibration) -> str:
    """True voxel and shear that a calibration leads to, for people; empty where they do not follow.

    Without a scale it is the factor of the rows. An uncorrected tilt at an unknown angle is shown at 52°.

    Examples
    --------
    >>> told = {"pixel_nm": (5.0, 5.0), "slice_nm": 10.0, "column_angle_deg": 52.0, "tilt_corrected": False}
    >>> outcome(Calibration(**{name: Sourced(value) for name, value in told.items()}))
    'voxel 10 × 6.345 × 5 nm, shear 1.231 px per slice unless tracked'
    """
    c = calibration
    if c.others.get("in_voxels") or c.tilt_corrected.value is None:
        return ""
    at = ""
    if face_angle_deg(c) is None and not c.tilt_corrected.value:
        c, at = replace(c, column_angle_deg=Sourced(52.0)), " at a column angle of 52°"
    if missing_scale(c):
        return f"rows × {geometry_of(replace(c, **_UNIT_SCALE)).y_factor:.5g}{at}"
    geometry = geometry_of(c)
    text = f"voxel {' × '.join(f'{v:.4g}' for v in geometry.true_voxel_nm)} nm{at}"
    if geometry.face_angle_deg:
        shear = replace(geometry, tracked=False).shear_px_per_slice
        fixed = f"shear {shear:.4g} px per slice"
        text += {True: ", no shear", False: f", {fixed}"}.get(c.tracked.value, f", {fixed} unless tracked")
    return text


def outcome_if(calibration: Calibration, name: str, value: object) -> str:
    """What `outcome` would be, were the fact `name` this `value`."""
    changed: dict[str, Any] = {name: Sourced(value)}
    return outcome(replace(calibration, **changed))


def shown(value: object) -> str:
    """A fact for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | int):
        return f"{value:.6g}"
    if isinstance(value, tuple | list):
        if len(value) > 4:
            return f"{shown(value[0])} … {shown(value[-1])} ({len(value)} values)"
        return " × ".join(shown(v) for v in value)
    return str(value)


def _mean_step(positions: "list[float]") -> float:
    if len(positions) < 2:
        raise CalibrationError("one slice position gives no thickness: add --voxel-nm DZ DY DX (voxel_nm)")
    return float(positions[-1] - positions[0]) / (len(positions) - 1)
