"""From what is known of an acquisition to its `Geometry`; what is not known becomes one question to the user."""

from fibtomo.core.geometry import Geometry
from fibtomo.core.volume import Calibration
from fibtomo.errors import CalibrationError


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
        f"{lacking} not in the metadata: add --voxel-nm {dz} {dy} {dx} (slice thickness, pixel height and width in "
        f"nm), or --voxel-nm unknown to run in voxels"
    )


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
        A value that changes the shape of the result is not known; the message names the option to give.
    """
    c = calibration
    if c.others.get("in_voxels"):
        return Geometry((1.0, 1.0, 1.0), tilt_corrected=True, tracked=True)
    question = missing_scale(c)
    if question:
        raise CalibrationError(question)
    positions = c.slice_z_nm.value
    slice_nm = c.slice_nm.value or _mean_step(positions)
    angle, corrected, tracked = c.column_angle_deg.value, c.tilt_corrected.value, c.tracked.value
    if corrected is None and angle is not None and angle < 90:
        raise CalibrationError(
            f"the metadata do not decide whether the scan corrected the tilt (y scale {1:.3f} or "
            f"{Geometry((1, 1, 1), angle).y_factor:.3f}): add --tilt-corrected yes or --tilt-corrected no"
        )
    if angle is None and corrected is False:
        raise CalibrationError(
            "the images are not tilt-corrected and the column angle is unknown: add --column-angle-deg 52"
        )
    if angle is None and corrected is None:
        raise CalibrationError(
            "neither the column angle nor the tilt correction is known: add --column-angle-deg 52 and --tilt-corrected "
            "yes or no (or --column-angle-deg 90 if the electron beam meets the face at right angles)"
        )
    if tracked is None and not shear_from_images and angle is not None and angle < 90:
        raise CalibrationError(
            "without drift estimation the shear between slices follows from the acquisition: add --tracked yes if the "
            "field of view followed the face, else --tracked no"
        )
    return Geometry(
        voxel_nm=(float(slice_nm), float(c.pixel_nm.value[0]), float(c.pixel_nm.value[1])),
        column_angle_deg=90.0 if angle is None else float(angle),
        tilt_corrected=bool(corrected),
        tracked=bool(tracked),
        slice_z_nm=None if positions is None else tuple(positions),
    )


def _mean_step(positions: "list[float]") -> float:
    if len(positions) < 2:
        raise CalibrationError("one slice position gives no thickness: add --voxel-nm DZ DY DX")
    return float(positions[-1] - positions[0]) / (len(positions) - 1)
