"""Drift, shear, foreshortening and slice positions undone in one interpolation of the raw slices.

Resampling once instead of once per correction keeps noise and resolution as they were recorded. Each target voxel
is a weighted sum over a few slices around it, each sampled at its own sub-pixel place; kernels and edges are described
in `fibtomo.ops._taps`, the map itself in `fibtomo.core.grid.ResampleGrid`. Where rows and columns are straight on every
slice they are interpolated one after the other; `fibtomo.ops._warped` does the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np

from fibtomo.backend.array import is_cupy, like, namespace, to_dtype
from fibtomo.backend.kernels import C_TYPES, KernelModule, launch, load_kernel
from fibtomo.backend.threads import map_ranges
from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import ResampleGrid, make_grid
from fibtomo.core.resolve import resolve_geometry
from fibtomo.core.warp import Warp
from fibtomo.errors import InputError
from fibtomo.ops._taps import KERNELS, Kernel, axis_taps, slice_taps, slices_per_step
from fibtomo.ops._warped import gather_warped_on_device, gather_warped_on_host, warp_tables

_SLAB = 32
"""Target slices per task: enough to share source lines between them, few enough to stay in cache."""


@dataclass(frozen=True)
class SlabTables:
    """Taps of one slab of target slices; layouts as in ``kernels/resample.cu``."""

    z_slice: Any
    z_weight: Any
    box: Any
    y_first: Any
    y_weight: Any
    x_first: Any
    x_weight: Any


def taps_needed(grid: ResampleGrid, method: str = "cubic") -> int:
    """Usable slices that `method` needs on either side of any target position, for `ResampleGrid.source_range`."""
    kernel = find_kernel(method)
    at = grid.z_index[grid.good]
    # turned targets cross the slices anywhere: the density of slices is largest where one enters or leaves its window
    places = np.arange(grid.shape[0]) if grid.tilt is None else np.concatenate([at, at - 0.5, at + 0.5])
    scale = slices_per_step(places.astype(np.float64), at, kernel)
    return max(1, ceil(kernel.radius * float(scale.max(initial=1.0))))


def source_range(grid: ResampleGrid, z0: int, z1: int, method: str = "cubic") -> tuple[int, int]:
    """Source slices [a, b) that `resample_slab` needs to make target slices [z0, z1)."""
    return grid.source_range(z0, z1, taps_needed(grid, method))


def resample_slab(
    source: Any, grid: ResampleGrid, source_z0: int, z0: int, z1: int, *, method: str = "cubic", fill: float = 0.0
) -> Any:
    """Make target slices [z0, z1) of `grid`.

    Parameters
    ----------
    source
        (slices, rows, columns) NumPy or CuPy array: slices from `source_z0` on, at least those of `source_range`;
        uint8, uint16, int16 or float32.
    grid
        The map from target voxels to source pixels.
    source_z0
        Index in the stack of the first slice of `source`.
    z0, z1
        Target slices to make.
    method
        "cubic" (Keys, a = -1/2), "linear", "lanczos3", or "nearest" for labels. Where the target is coarser than
        the source, the first three are widened against aliasing.
    fill
        Value of voxels that the slices around them do not show (outside `ResampleGrid.valid_spans`).

    Returns
    -------
    array
        (z1 - z0, ny, nx) float32, of the same kind as `source`; slabs put together equal the whole bit for bit.

    Raises
    ------
    InputError
        `source` lacks a needed slice, or has another frame size or an unsupported type; the method is unknown.

    Examples
    --------
    >>> stack = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    >>> grid = make_grid(Geometry(voxel_nm=(10.0, 10.0, 10.0)), stack.shape, voxel_nm=5.0)
    >>> resample_slab(stack[:2], grid, 0, 1, 2, method="linear").shape
    (1, 7, 9)
    """
    out = namespace(source).empty((z1 - z0, *grid.shape[1:]), dtype=np.float32)
    _resample_into(out, source, grid, source_z0, z0, method, fill)
    return out


def resample_stack(
    array: Any, grid: ResampleGrid, *, method: str = "cubic", fill: float = 0.0, workers: int | None = None
) -> Any:
    """Resample a whole (z, y, x) array in memory onto `grid`, slab by slab over `workers` threads.

    Returns
    -------
    array
        Float32 array of `grid.shape`, of the same kind as `array`.

    Raises
    ------
    InputError
        As `resample_slab`.
    """
    out = namespace(array).empty(grid.shape, dtype=np.float32)
    _fill_slabs(out, lambda a, b: array[a:b], grid, method, fill, 1 if is_cupy(array) else workers)
    return out


def resample(
    stack: Any,
    geometry: Geometry | None = None,
    drift: Any = None,
    voxel_nm: float | tuple[float, float, float] | None = None,
    *,
    method: str = "cubic",
    crop: str = "auto",
    warp: Warp | None = None,
    axes: str = "specimen",
    roi: Sequence[int] | None = None,
    across_bad: Literal["interpolate", "leave out"] = "interpolate",
    fill: float = 0.0,
    return_valid: bool = False,
    workers: int | None = None,
) -> Any:
    """Resample a stack to true scale in the specimen frame, with one interpolation.

    Parameters
    ----------
    stack
        (z, y, x) array (NumPy or CuPy), or a source with ``read(z0, z1)`` and ``spec`` such as `open_stack` gives.
    geometry
        How the slices were projected; ``None`` takes it from the calibration of the stack.
    drift
        (n, 2) apparent motion (dy, dx) in pixels with the shear included, or an object with ``shifts_px`` and
        perhaps ``bad_slices``; ``None`` takes the motion that the geometry expects.
    voxel_nm
        Target voxel; ``None`` takes the finest of the three true spacings, isotropic.
    method
        "cubic", "linear", "lanczos3", or "nearest" for labels.
    crop
        "valid", "all" or "auto", see `fibtomo.core.grid.make_grid`.
    warp
        Displacement within the slices, composed into the same interpolation.
    axes
        "specimen" (y down the milled face) or "surface" (y is the depth below the sample surface).
    roi
        (y0, y1, x0, x1): rows [y0, y1) and columns [x0, x1) of slice 0 to cut to.
    across_bad
        "interpolate" what lies between the neighbours of bad slices, or "leave out": not shown, so not valid.
    fill
        Value of voxels that the slices around them do not show; nothing is ever made up there.
    return_valid
        Return the mask of voxels that are shown as well.
    workers
        Threads; ``None`` takes all cores.

    Returns
    -------
    array
        (z, y, x) volume, rounded to the input's type; float input gives float32. With `return_valid` a pair of the
        volume and a bool array of its shape.

    Raises
    ------
    InputError
        Shifts, warp, region, method, fill or element type do not fit.
    CalibrationError
        Without `geometry`: a value that changes the shape of the result is not known.

    References
    ----------
    Keys 1981, IEEE Trans. ASSP 29, 1153 (cubic); Duchon 1979, J. Appl. Meteorol. 18, 1016 (Lanczos).

    Examples
    --------
    >>> stack = np.full((4, 20, 30), 7, np.uint8)
    >>> volume = resample(stack, Geometry(voxel_nm=(10.0, 5.0, 5.0), column_angle_deg=52.0, tracked=True))
    >>> volume.shape, volume.dtype, int(volume.min())
    ((7, 25, 30), dtype('uint8'), 7)
    """
    whole = None if hasattr(stack, "read") else namespace(stack).asarray(stack)
    shape, dtype = (stack.spec.shape, np.dtype(stack.spec.dtype)) if whole is None else (whole.shape, whole.dtype)
    if len(shape) != 3:
        raise InputError(f"a stack has the axes (z, y, x), not the shape {tuple(shape)}")
    shifts, bad = getattr(drift, "shifts_px", drift), getattr(drift, "bad_slices", None)
    left_out = {int(k) for listed in (bad, getattr(stack, "bad_slices", None)) if listed is not None for k in listed}
    if geometry is None:
        geometry = _geometry_of(stack, shear_from_images=drift is not None)
    if across_bad not in {"interpolate", "leave out"}:
        raise InputError(f"across_bad = {across_bad!r} must be 'interpolate' or 'leave out'")
    region: dict[str, Any] = {"warp": warp, "axes": axes, "roi": roi, "bridge": across_bad == "interpolate"}
    grid = make_grid(geometry, tuple(shape), shifts, voxel_nm, crop, sorted(left_out), **region)
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max:
        raise InputError(
            f"fill = {fill} does not fit {dtype} voxels; give one that does, or convert the stack to float32"
        )
    read: Callable[[int, int], Any] = stack.read if whole is None else lambda a, b: whole[a:b]
    out = namespace(whole).empty(grid.shape, dtype=np.float32 if dtype.kind == "f" else dtype)
    _fill_slabs(out, lambda a, b: _gatherable(read(a, b)), grid, method, fill, 1 if is_cupy(out) else workers)
    return (out, like(out, grid.valid_mask(0, grid.shape[0]))) if return_valid else out


def _geometry_of(stack: Any, *, shear_from_images: bool) -> Geometry:
    calibration = getattr(stack, "calibration", None)
    if calibration is None:
        raise InputError("an array does not tell how it was acquired: give geometry=Geometry(...), or open_stack(...)")
    return resolve_geometry(calibration, shear_from_images=shear_from_images)


def _fill_slabs(
    out: Any, read: Callable[[int, int], Any], grid: ResampleGrid, method: str, fill: float, workers: int | None
) -> None:
    taps = taps_needed(grid, method)

    def fill_slab(z0: int, z1: int) -> None:
        a, b = grid.source_range(z0, z1, taps)
        if out.dtype == np.float32:
            _resample_into(out[z0:z1], read(a, b), grid, a, z0, method, fill)
        else:
            out[z0:z1] = to_dtype(resample_slab(read(a, b), grid, a, z0, z1, method=method, fill=fill), out.dtype)

    map_ranges(fill_slab, grid.shape[0], _SLAB, workers)


def _resample_into(
    out: Any, source: Any, grid: ResampleGrid, source_z0: int, z0: int, method: str, fill: float
) -> None:
    """Make target slices from `z0` on in contiguous float32 `out`, see `resample_slab`."""
    if source.dtype.name not in C_TYPES:
        raise InputError(f"resampling takes {', '.join(C_TYPES)} slices, not {source.dtype.name}; convert them first")
    if source.ndim != 3 or tuple(source.shape[1:]) != tuple(grid.source_shape):
        raise InputError(f"slices of shape {source.shape} do not fit a grid made for slices of {grid.source_shape}")
    xp = namespace(source)
    source = xp.ascontiguousarray(source)
    kernel, slabs = find_kernel(method), (source_z0, len(source), z0, z0 + len(out))
    on_device = is_cupy(source)
    if grid.separable:
        tables = slab_tables(xp, grid, kernel, *slabs)
        if on_device:
            gather_on_device(load_kernel("resample", SOURCE_T=source.dtype), source, tables, out, fill)
        else:
            _gather_on_host(source, tables, out, fill)
    else:
        general = warp_tables(xp, grid, kernel, *slabs)
        if on_device:
            module = load_kernel("resample_warped", SOURCE_T=source.dtype)
            gather_warped_on_device(module, source, general, out, z0, fill)
        else:
            gather_warped_on_host(source, grid, kernel, general, out, z0, fill)


def _gatherable(slices: Any) -> Any:
    """`slices` in a type the gather takes, without loss of what float32 can hold."""
    if slices.dtype.kind == "f":
        return slices.astype(np.float32, copy=False)
    if slices.dtype.kind == "b":
        return slices.view(np.uint8)
    return slices.astype(slices.dtype.newbyteorder("="), copy=False)


def find_kernel(method: str) -> Kernel:
    """Return the kernel called `method`; `InputError` if there is none."""
    try:
        return KERNELS[method]
    except KeyError:
        raise InputError(f"resampling method '{method}' must be one of {', '.join(KERNELS)}") from None


def slab_tables(
    xp: Any, grid: ResampleGrid, kernel: Kernel, source_z0: int, slices: int, z0: int, z1: int
) -> SlabTables:
    """Make the taps, as `xp` arrays, of target slices [z0, z1) from `slices` source slices after `source_z0`."""
    good = grid.good
    at, z_weight = slice_taps(np.arange(z0, z1, dtype=np.float64), grid.z_index[good], kernel)
    z_slice = good[at] - source_z0
    if z_slice.size and not 0 <= z_slice.min() <= z_slice.max() < slices:
        raise InputError(
            f"target slices {z0} to {z1} need source slices {z_slice.min() + source_z0} to "
            f"{z_slice.max() + source_z0 + 1}, but {source_z0} to {source_z0 + slices} were given"
        )
    here = slice(source_z0, source_z0 + slices)
    axes = [
        axis_taps(xp.asarray(start[here])[:, None] + xp.arange(length) * scale, count, scale, kernel)
        for start, scale, length, count in (
            (grid.row_start, grid.row_scale, grid.shape[1], grid.source_shape[0]),
            (grid.col_start, grid.col_scale, grid.shape[2], grid.source_shape[1]),
        )
    ]
    boxes = xp.asarray(grid.valid_boxes(z0, z1))
    return SlabTables(xp.asarray(z_slice.astype(np.int32)), xp.asarray(z_weight), boxes, *axes[0], *axes[1])


def gather_on_device(module: KernelModule, source: Any, tables: SlabTables, out: Any, fill: float) -> None:
    """Fill `out` from contiguous `source` by the CUDA gather of `module`."""
    t = tables
    arrays = (source, out, t.z_slice, t.z_weight, t.box, t.y_first, t.y_weight, t.x_first, t.x_weight)
    counts = (t.z_slice.shape[1], t.y_weight.shape[1], t.x_weight.shape[1], *source.shape[1:], *out.shape)
    launch(module, "resample", out.shape, (*arrays, *counts, float(fill)))


def _gather_on_host(source: Any, tables: SlabTables, out: Any, fill: float) -> None:
    from fibtomo.ops._resample_cpu import gather

    t = tables
    rows_used = np.zeros((len(source), 2), dtype=np.int32)
    rows_used[:, 0] = out.shape[1]
    z = np.nonzero(t.z_weight)[0]
    used = t.z_slice[t.z_weight != 0]
    np.minimum.at(rows_used[:, 0], used, t.box[z, 0])
    np.maximum.at(rows_used[:, 1], used, t.box[z, 1])
    taps = (t.z_slice, t.z_weight, t.box, t.y_first, t.y_weight, t.x_first, t.x_weight)
    gather(source, out, *taps, rows_used, np.float32(fill))
