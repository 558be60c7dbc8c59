"""Frames and scales of slice-and-view: from the slices as stored to the true-to-scale specimen.

Slice frame: rows and columns as stored. Specimen frame: x right, y down the milled face (along the ion beam),
z the milling advance away from the viewer, in nm; right-handed. With the column angle θ, over-tilt β and
γ = 90° − θ − β (or γ as measured), a point (x, y, z) appears on slice k at

    column = x / p                                   + shift_x[k]
    row    = y · cosγ / (p·T)                        + shift_y[k]

where T = cosγ if the scan corrects the tilt and 1 if not, and the apparent motion is
shift_y[k] = −z[k] · sinγ / (p·T) + drift (no sinγ term when the field of view tracks the face).
``docs/geometry.md`` draws the frames and derives all this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, degrees, isfinite, pi, radians, sin, tan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fibtomo.core.maps import Affine, as_points
from fibtomo.errors import InputError

Float = NDArray[np.float64]

STEEPEST_FACE_DEG = 80.0
"""Beyond this angle between beam and face normal a row covers more than five pixels of face."""


@dataclass(frozen=True)
class Geometry:
    """How one acquisition projects the specimen onto its slices.

    Parameters
    ----------
    voxel_nm
        (dz, dy, dx): nominal slice thickness and pixel size of the stored image *as scanned*.
    column_angle_deg
        Angle θ between electron and ion column; 90 means the electron beam meets the face at right angles
        (orthogonal columns, spin mill, broad ion beam, planar polishing). It is not the stage tilt.
    tilt_corrected
        True if stored rows already have true scale (scan tilt correction, or a spacing given as true).
    tracked
        True if the field of view followed the face, so that slices show no shear.
    overtilt_deg
        Milling over-tilt β of the face against the ion axis; with a rocking polish the mean of its incidences.
    slice_z_nm
        Measured positions of the slices, ascending; replaces ``k * dz``.
    face_tilt_deg
        Angle γ between electron beam and face normal as measured, at most 80; replaces 90° − θ − β where the stage
        moves between milling and imaging.
    sample_tilt_deg
        Tilt φ of the sample surface out of the horizontal, towards the ion column, while imaging: stage tilt minus
        signed pre-tilt of the holder. ``None`` takes the surface as normal to the milled face.

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
    face_tilt_deg: float | None = None
    sample_tilt_deg: float | None = None

    def __post_init__(self) -> None:
        if np.shape(self.voxel_nm) != (3,) or not all(np.isfinite(v) and v > 0 for v in self.voxel_nm):
            raise InputError(f"voxel_nm = {self.voxel_nm} must be three positive lengths (dz, dy, dx) in nm")
        dz, dy, dx = (float(v) for v in self.voxel_nm)
        object.__setattr__(self, "voxel_nm", (dz, dy, dx))
        self._check_angles()
        if self.slice_z_nm is not None:
            z = tuple(float(v) for v in self.slice_z_nm)
            object.__setattr__(self, "slice_z_nm", z)
            if not np.all(np.isfinite(z)) or (len(z) > 1 and np.any(np.diff(z) <= 0)):
                raise InputError("slice_z_nm must be finite and strictly ascending")

    def _check_angles(self) -> None:
        angle = self.column_angle_deg
        if not 20 <= angle <= 90:
            hint = f" ({angle:.6g} rad is {degrees(angle):.2f})" if 0.35 <= angle <= pi / 2 else ""
            raise InputError(f"column_angle_deg = {angle} must lie between 20 and 90 degrees{hint}")
        if self.face_tilt_deg is not None and not 0 <= self.face_tilt_deg <= STEEPEST_FACE_DEG:
            raise InputError(
                f"face_tilt_deg = {self.face_tilt_deg} must lie between 0 and {STEEPEST_FACE_DEG:.0f} degrees: it is "
                f"the angle between the electron beam and the normal of the face, 90 minus that to the face itself"
            )
        if not isfinite(self.overtilt_deg) or not 0 <= self.face_angle_deg <= STEEPEST_FACE_DEG:
            raise InputError(
                f"column angle {angle} and over-tilt {self.overtilt_deg} turn the face away from the electron beam: "
                f"give an over-tilt of a few degrees, or the measured angle as face_tilt_deg"
            )
        if self.sample_tilt_deg is not None and not -90 <= self.sample_tilt_deg <= 90:
            raise InputError(
                f"sample_tilt_deg = {self.sample_tilt_deg} must lie between -90 and 90 degrees (stage tilt minus "
                f"pre-tilt of the holder)"
            )

    @property
    def face_angle_deg(self) -> float:
        """γ: angle between the electron beam and the face normal."""
        if self.face_tilt_deg is not None:
            return float(self.face_tilt_deg)
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

    def to_stack(self, points_nm: ArrayLike, shifts_px: ArrayLike | None = None) -> Float:
        """Forward map: where specimen points appear in the stack as stored.

        Parameters
        ----------
        points_nm
            (..., 3) places (z, y, x), nm; (0, 0, 0) is row 0, column 0 of slice 0 at rest.
        shifts_px
            (n, 2) apparent motion (dy, dx) of every slice, shear included; ``None`` takes the geometry's own. Between
            slices it is interpolated, beyond the stack the drift stands still.

        Returns
        -------
        ndarray
            (..., 3) fractional slice, row and column.

        Raises
        ------
        InputError
            Points or shifts have another shape, or the shifts do not fit the slice positions.

        Examples
        --------
        >>> g = Geometry((10.0, 5.0, 5.0), column_angle_deg=52.0)
        >>> g.to_stack([1000.0, 0.0, 0.0]).round(2) + 0.0
        array([ 100.  , -123.13,    0.  ])
        """
        z, y, x = np.moveaxis(as_points(points_nm), -1, 0)
        k = self._slice_of(z)
        shift_y, shift_x = self._shifts_at(k, z, shifts_px)
        _, dy, dx = self.true_voxel_nm
        return np.stack([k, y / dy + shift_y, x / dx + shift_x], axis=-1)

    def to_specimen(self, indices: ArrayLike, shifts_px: ArrayLike | None = None) -> Float:
        """Inverse map: where in the specimen (z, y, x), nm, a fractional (slice, row, column) lies.

        Parameters
        ----------
        indices
            (..., 3) fractional slice, row and column.
        shifts_px
            As for `to_stack`, which this undoes.

        Raises
        ------
        InputError
            Indices or shifts have another shape, or the shifts do not fit the slice positions.

        Examples
        --------
        >>> g = Geometry((10.0, 5.0, 5.0), column_angle_deg=52.0)
        >>> g.to_specimen([100.0, 0.0, 0.0]).round(1)
        array([1000. ,  781.3,    0. ])
        """
        k, row, col = np.moveaxis(as_points(indices), -1, 0)
        z = self._position_of(k)
        shift_y, shift_x = self._shifts_at(k, z, shifts_px)
        _, dy, dx = self.true_voxel_nm
        return np.stack([z, (row - shift_y) * dy, (col - shift_x) * dx], axis=-1)

    def _slice_of(self, z: Float) -> Float:
        """Fractional slice at depth z; beyond measured positions in nominal steps."""
        dz = self.voxel_nm[0]
        if self.slice_z_nm is None:
            return np.asarray(z / dz)
        known = self.z_nm(len(self.slice_z_nm))
        inside = np.interp(z, known, np.arange(len(known)))
        return np.asarray(inside + (z - np.clip(z, known[0], known[-1])) / dz)

    def _position_of(self, k: Float) -> Float:
        """Depth of a fractional slice, nm."""
        dz = self.voxel_nm[0]
        if self.slice_z_nm is None:
            return np.asarray(k * dz)
        known = self.z_nm(len(self.slice_z_nm))
        inside = np.interp(k, np.arange(len(known)), known)
        return np.asarray(inside + (k - np.clip(k, 0, len(known) - 1)) * dz)

    def _shifts_at(self, k: Float, z: Float, shifts_px: ArrayLike | None) -> tuple[Float, Float]:
        """Apparent motion (dy, dx) at fractional slices `k` of depth `z`."""
        rise = -z * self.shear_px_per_nm
        if shifts_px is None:
            return rise, np.zeros_like(rise)
        shifts = np.asarray(shifts_px, dtype=np.float64)
        if shifts.ndim != 2 or shifts.shape[1] != 2 or not len(shifts) or not np.isfinite(shifts).all():
            raise InputError(f"shifts_px of shape {shifts.shape} must give one finite (dy, dx) for each slice")
        drift_y, drift_x = (shifts - self.expected_shifts_px(len(shifts))).T
        at = np.arange(len(shifts))
        return rise + np.interp(k, at, drift_y), np.interp(k, at, drift_x)

    def stack_to_specimen(self) -> Affine:
        """`to_specimen` as one affine map, for evenly spaced slices without drift.

        Raises
        ------
        InputError
            The slice positions are measured one by one; `to_specimen` takes them into account.
        """
        if self.slice_z_nm is not None:
            raise InputError("slices at measured positions are not evenly spaced: use to_specimen(), slice by slice")
        return Affine.scaling(self.true_voxel_nm) @ Affine.shear_y_along_z(self.shear_px_per_slice)

    def surface_axes(self) -> Affine:
        """Turn of the specimen frame about x onto the sample surface.

        In the new frame y is the depth below the surface along its inward normal, z the advance along the surface,
        and x as before. The angle is 90° − γ − φ, which is θ − φ without over-tilt: nothing turns where the surface
        was normal to the ion beam (φ = θ), and the whole column angle where it lay flat under the electron beam
        (φ = 0).

        Examples
        --------
        >>> g = Geometry((10.0, 5.0, 5.0), column_angle_deg=52.0, sample_tilt_deg=0.0)
        >>> g.surface_axes()([100.0, 0.0, 0.0]).round(2)  # milling on also leads deeper
        array([61.57, 78.8 ,  0.  ])
        """
        if self.sample_tilt_deg is None:
            return Affine.identity()
        return Affine.rotation_about_x(90.0 - self.face_angle_deg - self.sample_tilt_deg)

    @property
    def wd_nm_per_slice(self) -> float:
        """Growth of the working distance per nominal slice when neither stage nor focus follow the face, nm."""
        return self.voxel_nm[0] * cos(radians(self.face_angle_deg))

    @property
    def screen_shift_nm_per_slice(self) -> float:
        """Rise of the face in the image plane per nominal slice, nm; a beam or stage shift that tracks undoes it."""
        return self.voxel_nm[0] * sin(radians(self.face_angle_deg))

    @property
    def parallax_nm_per_slice(self) -> float:
        """Flow down the face (+y), per nominal slice, of structures that shine through from behind it, nm."""
        return self.voxel_nm[0] * tan(radians(self.face_angle_deg))

    @property
    def focus_slope(self) -> float:
        """Growth of the working distance per length down the screen (dynamic focus): cotθ without over-tilt."""
        return tan(radians(self.face_angle_deg))

    def magnification_error(self, n_slices: int, wd_nm: float) -> float:
        """Relative error ΔM/M after `n_slices` if magnification is not linked to the growing working distance.

        Examples
        --------
        >>> round(100 * Geometry((10.0, 5.0, 5.0), 52.0).magnification_error(1000, wd_nm=4e6), 3)
        0.197
        """
        if not wd_nm > 0:
            raise InputError(f"wd_nm = {wd_nm} must be a positive working distance in nm")
        return n_slices * self.wd_nm_per_slice / wd_nm

    def refocus_slices(self, aperture_mrad: float) -> float:
        """Slices until the face has left the depth of focus 2p/α, α the beam's convergence half angle.

        Examples
        --------
        >>> round(Geometry((10.0, 5.0, 5.0), 52.0).refocus_slices(aperture_mrad=8.0))
        159
        """
        if not aperture_mrad > 0:
            raise InputError(f"aperture_mrad = {aperture_mrad} must be a positive angle in mrad")
        depth_of_focus_nm = 2 * self.voxel_nm[2] / (aperture_mrad * 1e-3)
        return depth_of_focus_nm / self.wd_nm_per_slice
