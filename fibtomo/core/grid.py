"""The isotropic target grid, and where on it every source slice lies: all corrections composed into one pull-back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.crop import crop_box
from fibtomo.core.geometry import Float, Geometry
from fibtomo.core.spans import Int, line_spans
from fibtomo.core.warp import Warp
from fibtomo.errors import InputError

_TOLERANCE = 1e-6
"""Fraction of a voxel or pixel by which rounding may push a position over an edge."""

_GAP = 1.25
"""Usual steps between usable neighbours, from which on what lies between is missed."""

AXES = ("specimen", "surface")


@dataclass(frozen=True)
class Tilt:
    """A target turned about x: target slices cut through the source slices.

    Attributes
    ----------
    z_origin, row_origin
        Where target voxel (0, 0, ·) lies along the slice axis, in target voxels, and in rows of the crop.
    z_per_z, z_per_y
        Advance along the slice axis per target slice and per target row.
    row_per_z
        Advance in source rows per target slice.
    row_extent
        Rows of the crop; voxels beyond belong to the corners of the turned box and are not valid.
    """

    z_origin: float
    row_origin: float
    z_per_z: float
    z_per_y: float
    row_per_z: float
    row_extent: float


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
        (n,) position of every source slice along the slice axis, in target voxels.
    row_scale, col_scale
        Source pixels per target voxel along y and x.
    row_start, col_start
        (n,) source row and column that the corner of the crop, target voxel (·, 0, 0), reads on each slice.
    source_shape
        (rows, columns) of a source slice.
    usable
        (n,) False for bad slices, which are bridged by their neighbours.
    warp
        Displacement within the slices, added to every place that is read.
    tilt
        How the target is turned against the slices; ``None`` where target slices are parallel to them.
    bridge
        Whether voxels between the neighbours of a bad slice are shown, interpolated, or left out.
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
    warp: Warp | None = None
    tilt: Tilt | None = None
    bridge: bool = True

    @property
    def good(self) -> Int:
        """Indices of the usable source slices, ascending."""
        return np.flatnonzero(self.usable)

    @property
    def separable(self) -> bool:
        """Whether rows and columns can be interpolated one after the other, with one valid box per target slice."""
        return self.warp is None and self.tilt is None

    @property
    def row_step(self) -> float:
        """Source rows between neighbouring target voxels, whichever way the target is turned."""
        return self.row_scale if self.tilt is None else float(np.hypot(self.row_scale, self.tilt.row_per_z))

    def places(self, z0: int, z1: int) -> tuple[Float, Float]:
        """Places (z1 - z0, ny) of target rows along `z_index`, and in source rows to be added to `row_start`."""
        z, y = np.arange(z0, z1, dtype=np.float64)[:, None], np.arange(self.shape[1], dtype=np.float64)
        if self.tilt is None:
            shape = (z1 - z0, self.shape[1])
            return np.broadcast_to(z, shape), np.broadcast_to(y * self.row_scale, shape)
        t = self.tilt
        return t.z_origin + z * t.z_per_z + y * t.z_per_y, t.row_origin + z * t.row_per_z + y * self.row_scale

    def source_range(self, z0: int, z1: int, taps: int = 2) -> tuple[int, int]:
        """Source slices [a, b) that target slices [z0, z1) need with `taps` usable neighbours on either side."""
        lowest, highest = float(z0), float(z1 - 1)
        if self.tilt is not None:
            z, row = self.places(z0, z1)
            reached = z[self._reached(z, row)]
            lowest, highest = (reached.min(), reached.max()) if reached.size else (self.z_index[0],) * 2
        good = self.good
        at = self.z_index[good]
        below = int(np.searchsorted(at, lowest, side="right")) - 1
        above = int(np.searchsorted(at, highest, side="left"))
        last = len(good) - 1
        first_good = good[min(max(0, below - taps + 1), last)]
        last_good = good[max(0, min(last, above + taps - 1))]
        return int(first_good), int(last_good) + 1

    def valid_boxes(self, z0: int, z1: int) -> NDArray[np.int32]:
        """(z1 - z0, 4) rows [y0, y1) and columns [x0, x1) that the slices around each target slice all show.

        Exact where the grid is `separable`; elsewhere the smallest boxes around what `valid_spans` tells row by row.
        """
        if not self.separable:
            return _boxes_around(self.valid_spans(z0, z1))
        near = self._around(np.arange(z0, z1, dtype=np.float64))
        rows, cols = self.source_shape
        y0 = np.ceil(-self.row_start[near] / self.row_scale - _TOLERANCE).max(axis=0)
        y1 = np.floor((rows - 1 - self.row_start[near]) / self.row_scale + _TOLERANCE).min(axis=0) + 1
        x0 = np.ceil(-self.col_start[near] / self.col_scale - _TOLERANCE).max(axis=0)
        x1 = np.floor((cols - 1 - self.col_start[near]) / self.col_scale + _TOLERANCE).min(axis=0) + 1
        ny, nx = self.shape[1:]
        y0, x0 = np.clip(y0, 0, ny), np.clip(x0, 0, nx)
        boxes = np.stack([y0, np.clip(y1, y0, ny), x0, np.clip(x1, x0, nx)], axis=1).astype(np.int32)
        if not self.bridge:
            boxes[self._gap(*near)] = 0
        return boxes

    def valid_spans(self, z0: int, z1: int) -> NDArray[np.int32]:
        """(z1 - z0, ny, 2) columns [x0, x1) of each target row that the slices around it all show; (0, 0) if none."""
        ny = self.shape[1]
        if self.separable:
            y0, y1, x0, x1 = self.valid_boxes(z0, z1).T[..., None]
            y = np.arange(ny)
            return np.where(((y >= y0) & (y < y1))[..., None], np.stack([x0, x1], axis=-1), 0).astype(np.int32)
        z, row = self.places(z0, z1)
        near = self._around(z)
        if self.tilt is None:  # lines are the same for all target slices around a source slice
            slices, line = np.unique(near[..., 0], return_inverse=True)
            per_slice = self._shown(np.repeat(slices, ny), np.tile(row[0], len(slices)) if len(row) else row.ravel())
            spans = per_slice.reshape(-1, ny, 2)[line.reshape(2, -1)]
        else:
            spans = self._shown(near.ravel(), np.concatenate([row, row]).ravel()).reshape(2, *z.shape, 2)
        both = np.stack([spans[..., 0].max(axis=0), spans[..., 1].min(axis=0)], axis=-1)
        both[(both[..., 1] <= both[..., 0]) | ~self._reached(z, row)] = 0
        if not self.bridge:
            both[self.bridged(z0, z1)] = 0
        return both.astype(np.int32)

    def valid_mask(self, z0: int, z1: int) -> NDArray[np.bool_]:
        """(z1 - z0, ny, nx) True where the slices around a voxel all show it."""
        spans, x = self.valid_spans(z0, z1), np.arange(self.shape[2])
        return np.asarray((x >= spans[..., :1]) & (x < spans[..., 1:]))

    def bridged(self, z0: int, z1: int) -> NDArray[np.bool_]:
        """(z1 - z0, ny) rows of the target that are interpolated across bad slices, if they are shown at all.

        A slice that repeats the one before at the same place leaves no gap when it is not used.
        """
        lower, upper = self._around(self.places(z0, z1)[0])
        return np.asarray(self._gap(lower, upper))

    def bridged_share(self) -> float:
        """Share of the voxels shown that are interpolated across bad slices."""
        if self.usable.all() or not self.bridge:
            return 0.0
        nz = self.shape[0]
        bridged = self.bridged(0, nz)
        if self.separable:
            y0, y1, x0, x1 = self.valid_boxes(0, nz).T.astype(np.int64)
            shown, bridged = (y1 - y0) * (x1 - x0), bridged[:, 0]
        else:
            shown = np.diff(self.valid_spans(0, nz).astype(np.int64))[..., 0]
        return float(shown[bridged].sum() / max(shown.sum(), 1))

    def _gap(self, lower: Int, upper: Int) -> NDArray[np.bool_]:
        """Whether bad slices between two usable ones leave a gap."""
        usual = float(np.median(np.diff(self.z_index))) if len(self.z_index) > 1 else 1.0
        return np.asarray((upper - lower > 1) & (self.z_index[upper] - self.z_index[lower] > _GAP * usual))

    def _around(self, z: Float) -> Int:
        """(2, ...) usable slices next to positions `z` on either side."""
        good = self.good
        at, last = self.z_index[good], len(good) - 1
        upper = np.clip(np.searchsorted(at, z - _TOLERANCE, side="left"), 0, last)
        lower = np.clip(np.searchsorted(at, z + _TOLERANCE, side="right") - 1, 0, last)
        return np.stack([good[lower], good[upper]])

    def _reached(self, z: Float, row: Float) -> NDArray[np.bool_]:
        """Whether places lie between first and last slice and within the crop."""
        if self.tilt is None:
            return np.ones(z.shape, dtype=bool)
        first, last = self.z_index[self.good[[0, -1]]]
        between = (z >= first - _TOLERANCE) & (z <= last + _TOLERANCE)
        return np.asarray(between & (row >= -_TOLERANCE) & (row <= self.tilt.row_extent + _TOLERANCE))

    def _shown(self, k: Int, row: Float) -> Int:
        return line_spans(
            self.warp,
            self.source_shape,
            k,
            self.row_start[k] + row,
            self.col_start[k],
            self.col_scale,
            self.shape[2],
            _TOLERANCE * min(self.row_scale, self.col_scale, 1.0),
        )


def make_grid(
    geometry: Geometry,
    shape: tuple[int, int, int],
    shifts_px: Float | None = None,
    voxel_nm: float | tuple[float, float, float] | None = None,
    crop: str = "auto",
    bad_slices: Sequence[int] = (),
    *,
    warp: Warp | None = None,
    axes: str = "specimen",
    roi: Sequence[int] | None = None,
    bridge: bool = True,
) -> ResampleGrid:
    """Compose foreshortening, shear or measured drift, warp, slice positions and axes into one target grid.

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
        Indices of slices that must not be used; at the ends of the stack the target is cut to the first and the last
        usable one.
    warp
        Displacement within the slices, beside their motion.
    axes
        "specimen": y down the milled face, z along the milling advance; "surface": y is the depth below the sample
        surface and z runs along it, see `Geometry.surface_axes`.
    roi
        (y0, y1, x0, x1): rows [y0, y1) and columns [x0, x1) of slice 0 to which the target is cut.
    bridge
        Whether to interpolate across bad slices; otherwise nothing is shown between their neighbours.

    Raises
    ------
    InputError
        Shifts, warp or region do not fit the stack, nothing is left in common, or the surface's tilt is not known.
    """
    n, rows, cols = shape
    shifts = geometry.expected_shifts_px(n) if shifts_px is None else np.asarray(shifts_px, dtype=np.float64)
    if shifts.shape != (n, 2) or not np.all(np.isfinite(shifts)):
        raise InputError(f"shifts of shape {shifts.shape} do not give one finite (dy, dx) for each of {n} slices")
    if warp is not None and (len(warp), *warp.frame) != tuple(shape):
        raise InputError(
            f"the warp was made for {len(warp)} slices of {warp.frame[0]} x {warp.frame[1]} pixels, not for {n} slices "
            f"of {rows} x {cols}"
        )
    if axes not in AXES:
        raise InputError(f"axes = {axes!r} must be {' or '.join(AXES)}")
    usable = _usable(n, bad_slices)
    _, dy, dx = geometry.true_voxel_nm
    target = _target_voxel(geometry, voxel_nm)
    start, extent = crop_box((rows, cols), shifts, usable, warp, crop, roi)
    row_scale, col_scale = target[1] / dy, target[2] / dx
    first, last = np.flatnonzero(usable)[[0, -1]]
    z_nm = geometry.z_nm(n) - geometry.z_nm(n)[first]
    grid = ResampleGrid(
        shape=(
            int(np.floor(z_nm[last] / target[0] + _TOLERANCE)) + 1,
            int(np.floor(extent[0] / row_scale + _TOLERANCE)) + 1,
            int(np.floor(extent[1] / col_scale + _TOLERANCE)) + 1,
        ),
        voxel_nm=target,
        z_index=z_nm / target[0],
        row_scale=row_scale,
        col_scale=col_scale,
        row_start=start[0] + shifts[:, 0],
        col_start=start[1] + shifts[:, 1],
        source_shape=(rows, cols),
        usable=usable,
        warp=warp,
        bridge=bridge,
    )
    return grid if axes == "specimen" else _turned(grid, geometry, z_nm, float(extent[0]))


def _turned(grid: ResampleGrid, geometry: Geometry, z_nm: Float, row_extent: float) -> ResampleGrid:
    """`grid` on the axes of the sample surface: the smallest box there that holds all of it."""
    if geometry.sample_tilt_deg is None:
        raise InputError(
            "depth below the surface needs the tilt of the sample surface: give sample_tilt_deg (stage tilt minus "
            "pre-tilt of the holder), or axes='specimen'"
        )
    to_surface = geometry.surface_axes()
    dy = geometry.true_voxel_nm[1]
    low, high = to_surface.bounds([[0.0, 0.0, 0.0], [z_nm[grid.good[-1]], row_extent * dy, 0.0]])
    back = to_surface.inverse()
    origin_z, origin_y, _ = back(low)
    steps = back.matrix[:2, :2] * grid.voxel_nm[:2]  # nm along (slice axis, face) per target slice and row
    unit = float(np.hypot(*steps[0]))
    counts = np.floor((high - low)[:2] / grid.voxel_nm[:2] + _TOLERANCE).astype(int) + 1
    tilt = Tilt(
        z_origin=origin_z / unit,
        row_origin=origin_y / dy,
        z_per_z=steps[0, 0] / unit,
        z_per_y=steps[0, 1] / unit,
        row_per_z=steps[1, 0] / dy,
        row_extent=row_extent,
    )
    return replace(
        grid,
        shape=(int(counts[0]), int(counts[1]), grid.shape[2]),
        z_index=z_nm / unit,
        row_scale=float(steps[1, 1]) / dy,
        tilt=tilt,
    )


def _usable(n: int, bad_slices: Sequence[int]) -> NDArray[np.bool_]:
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
    return usable


def _boxes_around(spans: NDArray[np.int32]) -> NDArray[np.int32]:
    """(nz, 4) smallest boxes around spans (nz, ny, 2)."""
    some = spans[..., 1] > spans[..., 0]
    ny = spans.shape[1]
    y0 = np.where(some.any(axis=1), some.argmax(axis=1), 0)
    y1 = np.where(some.any(axis=1), ny - some[:, ::-1].argmax(axis=1), 0)
    x0 = np.where(some, spans[..., 0], np.iinfo(np.int32).max).min(axis=1)
    x1 = spans[..., 1].max(axis=1)
    return np.stack([y0, y1, np.minimum(x0, x1), x1], axis=1).astype(np.int32)


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
