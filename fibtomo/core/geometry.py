"""Frames and scales of slice-and-view: from the slices as stored to the true-to-scale specimen.

Slice frame: rows and columns as stored. Specimen frame: x right, y down the milled face (along the ion beam),
z the milling advance, in nm. With the column angle θ, over-tilt β and γ = 90° − θ − β, a point (x, y, z) appears
on slice k at

    column = x / p                                   + shift_x[k]
    row    = y · cosγ / (p·T)                        + shift_y[k]

where T = cosγ if the scan corrects the tilt and 1 if not, and the apparent motion is
shift_y[k] = −z[k] · sinγ / (p·T) + drift (no sinγ term when the field of view tracks the face).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin, tan

import numpy as np
from numpy.typing import NDArray

from fibtomo.errors import InputError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """How one acquisition projects the specimen onto its slices.

    Parameters
    ----------
    voxel_nm
        (dz, dy, dx): nominal slice thickness and pixel size of the stored image *as scanned*.
    column_angle_deg
        Angle between electron and ion column; 90 means the electron beam meets the face at right angles.
    tilt_corrected
        True if stored rows already have true scale (scan tilt correction, or a spacing given as true).
    tracked
        True if the field of view followed the face, so that slices show no shear.
    overtilt_deg
        Milling over-tilt β of the face against the ion axis.
    slice_z_nm
        Measured positions of the slices, ascending; replaces ``k * dz``.

    Raises
    ------
    InputError
        A length is not positive, an angle makes no sense, or slice positions do not ascend.

    Examples
    --------
    >>> g = Geometry(voxel_nm=(10.0, 5.0, 5.0), column_angle_deg=52.0, tilt_corrected=False, tracked=False)
    >>> round(g.y_factor, 5), round(g.shear_px_per_slice, 4)
    (1.26902, 1.2313)
    """

    voxel_nm: tuple[float, float, float]
    column_angle_deg: float = 90.0
    tilt_corrected: bool = False
    tracked: bool = False
    overtilt_deg: float = 0.0
    slice_z_nm: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if np.shape(self.voxel_nm) != (3,) or not all(np.isfinite(v) and v > 0 for v in self.voxel_nm):
            raise InputError(f"voxel_nm = {self.voxel_nm} must be three positive lengths (dz, dy, dx) in nm")
        if not 20 <= self.column_angle_deg <= 90:
            raise InputError(f"column_angle_deg = {self.column_angle_deg} must lie between 20 and 90 degrees")
        if not 0 <= self.face_angle_deg < 70:
            raise InputError(
                f"column angle {self.column_angle_deg} and over-tilt {self.overtilt_deg} turn the face away from the "
                f"electron beam"
            )
        if self.slice_z_nm is not None:
            z = tuple(float(v) for v in self.slice_z_nm)
            object.__setattr__(self, "slice_z_nm", z)
            if not np.all(np.isfinite(z)) or (len(z) > 1 and np.any(np.diff(z) <= 0)):
                raise InputError("slice_z_nm must be finite and strictly ascending")

    @property
    def face_angle_deg(self) -> float:
        """γ: angle between the electron beam and the face normal."""
        return 90.0 - self.column_angle_deg - self.overtilt_deg

    @property
    def y_factor(self) -> float:
        """True length along y per stored row, in units of the scanned pixel (1/sinθ, or 1 if corrected)."""
        return 1.0 if self.tilt_corrected else 1.0 / cos(radians(self.face_angle_deg))

    @property
    def true_voxel_nm(self) -> tuple[float, float, float]:
        """(dz, dy, dx) of the aligned but not resampled stack."""
        dz, dy, dx = self.voxel_nm
        return dz, dy * self.y_factor, dx

    @property
    def shear_px_per_slice(self) -> float:
        """Rows by which the content rises per slice of nominal thickness when the field of view is fixed."""
        return self.shear_px_per_nm * self.voxel_nm[0]

    @property
    def shear_px_per_nm(self) -> float:
        """Rows by which the content rises per nm of milling advance when the field of view is fixed."""
        gamma = radians(self.face_angle_deg)
        per_row = tan(gamma) if self.tilt_corrected else sin(gamma)
        return 0.0 if self.tracked else per_row / self.voxel_nm[1]

    def z_nm(self, n_slices: int) -> Float:
        """Positions (n_slices,) of the slices along the milling direction, first slice at 0.

        Raises
        ------
        InputError
            `slice_z_nm` has another length.
        """
        if self.slice_z_nm is None:
            return np.arange(n_slices, dtype=np.float64) * self.voxel_nm[0]
        if len(self.slice_z_nm) != n_slices:
            raise InputError(f"{len(self.slice_z_nm)} slice positions were given for {n_slices} slices")
        z = np.asarray(self.slice_z_nm, dtype=np.float64)
        return np.asarray(z - z[0])

    def expected_shifts_px(self, n_slices: int) -> Float:
        """Apparent motion (n_slices, 2) as (dy, dx) that the geometry alone causes, slice 0 at rest."""
        shifts = np.zeros((n_slices, 2))
        shifts[:, 0] = -self.z_nm(n_slices) * self.shear_px_per_nm
        return shifts
