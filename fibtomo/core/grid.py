"""The isotropic target grid, and where on it every source slice lies: all corrections composed into one pull-back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.geometry import Float, Geometry
from fibtomo.errors import InputError

_TOLERANCE = 1e-6
"""Fraction of a voxel or pixel by which rounding may push a position over an edge."""


@dataclass(frozen=True)
class ResampleGrid:
    """The isotropic target grid and where each source slice lies on it.

    Attributes
    ----------
    shape
        (z, y, x) of the target.
    voxel_nm
        Target voxel (dz, dy, dx).
    z_index
        (n,) position of every source slice along the target z axis, in target voxels.
    row_scale, col_scale
        Source pixels per target voxel.
    row_start, col_start
        (n,) source row and column that target voxel (·, 0, 0) reads on each slice.
    source_shape
        (rows, columns) of a source slice.
    usable
        (n,) False for bad slices, which are bridged by their neighbours.
    """

    shape: tuple[int, int, int]
    voxel_nm: tuple[float, float, float]
    z_index: Float
    row_scale: float
    col_scale: float
    row_start: Float
    col_start: Float
    source_shape: tuple[int, int]
    usable: NDArray[np.bool_]

    @property
    def good(self) -> NDArray[np.int64]:
        """Indices of the usable source slices, ascending."""
        return np.flatnonzero(self.usable)

    def source_range(self, z0: int, z1: int, taps: int = 2) -> tuple[int, int]:
        """Source slices [a, b) that target slices [z0, z1) need with `taps` usable neighbours on either side."""
        good = self.good
        z = self.z_index[good]
        below = int(np.searchsorted(z, z0, side="right")) - 1
        above = int(np.searchsorted(z, z1 - 1, side="left"))
        last = len(good) - 1
        first_good = good[min(max(0, below - taps + 1), last)]
        last_good = good[max(0, min(last, above + taps - 1))]
        return int(first_good), int(last_good) + 1

    def valid_boxes(self, z0: int, z1: int) -> NDArray[np.int32]:
        """(z1 - z0, 4) rows [y0, y1) and columns [x0, x1) that the slices around each target slice all show."""
        good = self.good
        z, last = np.arange(z0, z1, dtype=np.float64), len(good) - 1
        upper = np.clip(np.searchsorted(self.z_index[good], z - _TOLERANCE, side="left"), 0, last)
        lower = np.clip(np.searchsorted(self.z_index[good], z + _TOLERANCE, side="right") - 1, 0, last)
        near = np.stack([good[lower], good[upper]])
        rows, cols = self.source_shape
        y0 = np.ceil(-self.row_start[near] / self.row_scale - _TOLERANCE).max(axis=0)
        y1 = np.floor((rows - 1 - self.row_start[near]) / self.row_scale + _TOLERANCE).min(axis=0) + 1
        x0 = np.ceil(-self.col_start[near] / self.col_scale - _TOLERANCE).max(axis=0)
        x1 = np.floor((cols - 1 - self.col_start[near]) / self.col_scale + _TOLERANCE).min(axis=0) + 1
        ny, nx = self.shape[1:]
        y0, x0 = np.clip(y0, 0, ny), np.clip(x0, 0, nx)
        return np.stack([y0, np.clip(y1, y0, ny), x0, np.clip(x1, x0, nx)], axis=1).astype(np.int32)


def make_grid(
    geometry: Geometry,
    shape: tuple[int, int, int],
    shifts_px: Float | None = None,
    voxel_nm: float | tuple[float, float, float] | None = None,
    crop: str = "auto",
    bad_slices: Sequence[int] = (),
) -> ResampleGrid:
    """Compose foreshortening, shear or measured drift, and slice positions into one target grid.

    Parameters
    ----------
    geometry
        The projection; its shear is used only where `shifts_px` is not given.
    shape
        (slices, rows, columns) of the source stack.
    shifts_px
        (n, 2) measured apparent motion (dy, dx), shear included; ``None`` takes the geometry's own.
    voxel_nm
        Target voxel; ``None`` takes the finest of the three true spacings, isotropic.
    crop
        "valid": only what every slice shows; "all": everything any slice shows; "auto": "valid" unless that
        would lose more than half of the rows or columns.
    bad_slices
        Indices of slices that must not be used.

    Raises
    ------
    InputError
        The shifts do not fit the stack, or nothing is left in common.
    """
    n, rows, cols = shape
    shifts = geometry.expected_shifts_px(n) if shifts_px is None else np.asarray(shifts_px, dtype=np.float64)
    if shifts.shape != (n, 2) or not np.all(np.isfinite(shifts)):
        raise InputError(f"shifts of shape {shifts.shape} do not give one finite (dy, dx) for each of {n} slices")
    usable = np.ones(n, dtype=bool)
    bad = np.asarray(bad_slices, dtype=np.int64).reshape(-1)
    if np.any((bad < 0) | (bad >= n)):
        raise InputError(f"bad slices {bad[(bad < 0) | (bad >= n)].tolist()} do not exist in a stack of {n} slices")
    usable[bad] = False
    if not usable.any():
        raise InputError(
            f"all {n} slices are marked bad (blank, repeated or blurred): look at them, or leave out what marked them "
            f"with --set drift.estimate=off"
        )
    _, dy, dx = geometry.true_voxel_nm
    target = _target_voxel(geometry, voxel_nm)
    row_scale, col_scale = target[1] / dy, target[2] / dx
    lowest, highest = shifts[usable].min(axis=0), shifts[usable].max(axis=0)
    spread = highest - lowest
    common = rows - 1 - spread[0], cols - 1 - spread[1]
    if crop not in {"auto", "valid", "all"}:
        raise InputError(f"crop = {crop!r} must be auto, valid or all")
    if crop == "auto":
        crop = "valid" if common[0] >= 0.5 * (rows - 1) and common[1] >= 0.5 * (cols - 1) else "all"
    if crop == "valid" and min(common) < 1:
        raise InputError(
            f"the slices move by {spread[0]:.0f} rows and {spread[1]:.0f} columns and share no "
            f"common area; set geometry.resample.crop=all to keep everything"
        )
    start = -lowest if crop == "valid" else -highest
    extent = common if crop == "valid" else (rows - 1 + spread[0], cols - 1 + spread[1])
    z = geometry.z_nm(n) / target[0]
    out_shape = (
        int(np.floor(z[-1] + _TOLERANCE)) + 1,
        int(np.floor(extent[0] / row_scale + _TOLERANCE)) + 1,
        int(np.floor(extent[1] / col_scale + _TOLERANCE)) + 1,
    )
    return ResampleGrid(
        shape=out_shape,
        voxel_nm=target,
        z_index=z,
        row_scale=row_scale,
        col_scale=col_scale,
        row_start=start[0] + shifts[:, 0],
        col_start=start[1] + shifts[:, 1],
        source_shape=(rows, cols),
        usable=usable,
    )


def _target_voxel(
    geometry: Geometry, voxel_nm: float | tuple[float, float, float] | None
) -> tuple[float, float, float]:
    if voxel_nm is None:
        finest = min(geometry.true_voxel_nm)
        return finest, finest, finest
    voxel = (voxel_nm,) * 3 if isinstance(voxel_nm, int | float) else tuple(voxel_nm)
    if len(voxel) != 3 or not all(np.isfinite(v) and v > 0 for v in voxel):
        raise InputError(f"target voxel {voxel_nm} must be one or three positive lengths in nm")
    return float(voxel[0]), float(voxel[1]), float(voxel[2])
