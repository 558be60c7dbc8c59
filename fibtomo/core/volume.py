"""`VolumeSpec`: what is known of a volume before a voxel of it is read."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Shape = tuple[int, int, int]
VoxelNm = tuple[float, float, float]

OUTSIDE = 255
"""Phase label of voxels that no slice shows (outside the field of view)."""


@dataclass(frozen=True)
class Channel:
    """Another channel on the grid of a volume: its name, stored NumPy type and range of greys."""

    name: str
    dtype: str
    value_range: tuple[float, float]


@dataclass(frozen=True)
class VolumeSpec:
    """Shape, type and scale of a (z, y, x) volume.

    Parameters
    ----------
    shape
        Slices, rows, columns.
    dtype
        Name of the stored NumPy type.
    voxel_nm
        Spacing (dz, dy, dx); ``None`` runs in voxels (``--voxel-nm unknown``).
    value_range
        Smallest and largest grey value that can occur; sets histogram bins.
    frame
        "slice" (stored image rows and columns) or "specimen" (true to scale, isotropic, sheared back).
    kind
        "grey", "phases" (labels ordered by grey, `OUTSIDE` where nothing was seen) or "objects".
    channels
        The other channels that are carried along on the same grid.
    """

    shape: Shape
    dtype: str
    voxel_nm: VoxelNm | None = None
    value_range: tuple[float, float] = (0.0, 255.0)
    frame: str = "slice"
    kind: str = "grey"
    channels: tuple[Channel, ...] = ()

    @property
    def scale(self) -> VoxelNm:
        """Voxel size in nm, or (1, 1, 1) when the run is in voxels."""
        return self.voxel_nm or (1.0, 1.0, 1.0)

    @property
    def unit(self) -> str:
        """Length unit of `scale`: "nm" or "voxel"."""
        return "nm" if self.voxel_nm else "voxel"

    @property
    def slice_bytes(self) -> int:
        """Bytes of one stored slice."""
        return self.shape[1] * self.shape[2] * np.dtype(self.dtype).itemsize

    def with_(self, **changes: Any) -> "VolumeSpec":
        """Return a copy with `changes`."""
        return replace(self, **changes)


def value_range_of(dtype: "np.dtype[Any] | str") -> tuple[float, float]:
    """Range of an integer type; (0, 1) for floats (the convention of image libraries)."""
    dt = np.dtype(dtype)
    if dt.kind in "iu":
        info = np.iinfo(dt)
        return float(info.min), float(info.max)
    return 0.0, 1.0


Table = dict[str, Any]
"""What a REDUCE stage leaves for later stages: names to numbers, strings, lists or NumPy arrays."""


@dataclass(frozen=True)
class Sourced:
    """A value with the place it came from.

    Parameters
    ----------
    value
        The value itself; ``None`` when unknown.
    origin
        For people: "user", "project ProjectData.dat", "tag 34682 [Scan] PixelWidth", "vendor default", ...
    confidence
        "given" (user or instrument), "measured", "default", "guess" or "unknown".
    """

    value: Any
    origin: str = "unknown"
    confidence: str = "unknown"

    def __bool__(self) -> bool:
        """Whether the value is known at all."""
        return self.value is not None


UNKNOWN = Sourced(None)

ORIENTATIONS = {
    "upright": (False, False),
    "rotated-180": (True, True),
    "flipped-rows": (True, False),
    "flipped-columns": (False, True),
}
"""How stored images can lie on the face: whether their rows, and whether their columns, run backwards."""


@dataclass(frozen=True)
class Calibration:
    """Everything the geometry needs to know of an acquisition, each value with its origin.

    Attributes
    ----------
    pixel_nm
        (dy, dx) of the stored image as scanned (no foreshortening applied).
    slice_nm
        Nominal slice thickness.
    slice_z_nm
        Per-slice position along the milling direction, (n,) ascending from 0, when measured.
    column_angle_deg
        Angle between the electron and the ion column.
    tilt_corrected
        True when the scan generator (or the user's spacing) already holds the true y scale.
    tracked
        True when the field of view followed the face, so that no shear appears between slices.
    overtilt_deg
        Milling over-tilt of the face against the ion axis.
    face_tilt_deg
        Angle between the electron beam and the face normal, where it was measured; replaces what the column angle and
        the over-tilt say.
    sample_tilt_deg
        Inclination of the sample surface: stage tilt minus signed pre-tilt of the holder.
    orientation
        How stored rows and columns lie on the face: "upright", "rotated-180", "flipped-rows" or "flipped-columns".
    others
        Further facts by name.
    """

    pixel_nm: Sourced = UNKNOWN
    slice_nm: Sourced = UNKNOWN
    slice_z_nm: Sourced = UNKNOWN
    column_angle_deg: Sourced = UNKNOWN
    tilt_corrected: Sourced = UNKNOWN
    tracked: Sourced = UNKNOWN
    overtilt_deg: Sourced = UNKNOWN
    face_tilt_deg: Sourced = UNKNOWN
    sample_tilt_deg: Sourced = UNKNOWN
    orientation: Sourced = UNKNOWN
    others: dict[str, Sourced] = field(default_factory=dict)
