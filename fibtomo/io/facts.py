"""What the user states about an acquisition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fibtomo.core.geometry import Geometry
from fibtomo.core.resolve import GUESSES
from fibtomo.core.volume import ORIENTATIONS, UNKNOWN, Calibration, Sourced
from fibtomo.errors import InputError

USER = "user"
_TYPICAL_ANGLE_DEG = 52.0


@dataclass(frozen=True)
class UserFacts:
    """Facts by the names of `open_stack`; None where nothing is stated."""

    voxel_nm: Sequence[float | None] | Literal["unknown"] | None = None
    column_angle_deg: float | None = None
    tilt_corrected: bool | None = None
    tracked: bool | None = None
    overtilt_deg: float | None = None
    face_tilt_deg: float | None = None
    sample_tilt_deg: float | None = None
    orientation: str | None = None
    accept_guess: str | Sequence[str] = ()

    @property
    def in_voxels(self) -> bool:
        """Whether the user wants to run without a scale."""
        return isinstance(self.voxel_nm, str) and self.voxel_nm == "unknown"

    def calibration(self) -> Calibration:
        """As values with their origin.

        Raises
        ------
        InputError
            The voxel size is not three positive lengths, an angle makes no sense, or a word is not known.
        """
        pixel, step = UNKNOWN, UNKNOWN
        if self.voxel_nm is not None and not self.in_voxels:
            dz, dy, dx = _three_lengths(self.voxel_nm)
            step = _stated(dz)
            pixel = _stated((dy, dx)) if dy and dx else UNKNOWN
        angle, overtilt, face, sample = (
            None if value is None else float(value)
            for value in (self.column_angle_deg, self.overtilt_deg, self.face_tilt_deg, self.sample_tilt_deg)
        )
        theta = _TYPICAL_ANGLE_DEG if angle is None else angle
        Geometry((1, 1, 1), theta, False, False, overtilt or 0.0, None, face, sample)
        if self.orientation is not None and self.orientation not in ORIENTATIONS:
            raise InputError(f"orientation = {self.orientation!r} must be one of {', '.join(ORIENTATIONS)}")
        accepted = self.accepted
        return Calibration(
            pixel_nm=pixel,
            slice_nm=step,
            column_angle_deg=_stated(angle),
            tilt_corrected=_stated(_yes_or_no("tilt_corrected", self.tilt_corrected)),
            tracked=_stated(_yes_or_no("tracked", self.tracked)),
            overtilt_deg=_stated(overtilt),
            face_tilt_deg=_stated(face),
            sample_tilt_deg=_stated(sample),
            orientation=_stated(self.orientation),
            others={"accepted": _stated(accepted)} if accepted else {},
        )

    @property
    def accepted(self) -> tuple[str, ...]:
        """Names of the guesses that may stand.

        Raises
        ------
        InputError
            A name is none of the facts that can be guessed.
        """
        names = (self.accept_guess,) if isinstance(self.accept_guess, str) else tuple(self.accept_guess)
        for name in names:
            if name not in GUESSES:
                raise InputError(
                    f"--accept-guess {name} (accept_guess={name!r}) is no fact that can be guessed; there are "
                    f"{', '.join(GUESSES)}"
                )
        return names


def is_stated(fact: Sourced) -> bool:
    """Whether the user said so, in as many words."""
    return fact.confidence == "given" and fact.origin.startswith(USER)


def _stated(value: Any) -> Sourced:
    return UNKNOWN if value is None else Sourced(value, USER, "given")


def _yes_or_no(name: str, value: Any) -> bool | None:
    """Refuse texts: "no" would count as true."""
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    raise InputError(f"{name} = {value!r} must be True, False or None")


def _three_lengths(voxel_nm: Any) -> tuple[float | None, ...]:
    try:
        values = tuple(None if v is None else float(v) for v in voxel_nm)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or any(v is not None and not (np.isfinite(v) and v > 0) for v in values):
        one = isinstance(voxel_nm, int | float) and voxel_nm > 0
        cube = f"; if they are all the same: voxel_nm=({voxel_nm:g}, {voxel_nm:g}, {voxel_nm:g})" if one else ""
        raise InputError(
            f"voxel_nm = {voxel_nm!r} must be three positive lengths in nm (slice thickness, pixel height and width), "
            f"as in --voxel-nm 10 5 5, or 'unknown'{cube}"
        )
    return values
