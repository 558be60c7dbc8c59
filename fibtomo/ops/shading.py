"""Uneven brightness over the plane, read off the grey of the phases and not off where they are.

One map serves the whole stack. Histograms of the cells of the plane (narrow towards the left and right edge, where the
shadow of a trench wall falls off) are laid over each other: phases keep their grey, their proportions are free in every
cell. The map is a polynomial, found first as the one that makes the histogram of all cells sharpest (least entropy:
Likar et al., IEEE Trans. Med. Imaging 20 (2001) 1398, doi:10.1109/42.974934) and then by expectation-maximisation, with
exponential shadows at the sides where they stand out. Cells that show something else (protective layer, wall) fit no
phase and have no say.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import like, namespace, ndimage, to_host
from fibtomo.core.volume import Table
from fibtomo.ops.grey_modes import Float
from fibtomo.ops.padding import inside_padding
from fibtomo.ops.shading_field import Cells, n4_pays
from fibtomo.ops.shading_fit import fit_shading

Array = Any
ROWS = 16
"""Cells along y."""
EDGE_PX = 4
"""Width of the cells at the left and right edge; they widen by a quarter each, inwards."""
BINS = 512
"""Most grey bins that are kept."""
FINE_BINS = 2048
"""Bins over the range of greys that can occur."""
MAP_SIDE = 64
"""Side of the map of mean grey that N4 sees, and of the smooth part of the correction."""


def column_cells(nx: int) -> NDArray[np.int64]:
    """Edges (cells + 1,) of the cells along x.

    Examples
    --------
    >>> column_cells(64).tolist()
    [0, 4, 9, 15, 23, 32, 41, 49, 55, 60, 64]
    """
    edges, width = [0.0], float(EDGE_PX)
    while edges[-1] + width < nx / 2:
        edges.append(edges[-1] + width)
        width *= 1.25
    left = np.rint(np.array(edges)).astype(np.int64)
    middle = [nx // 2] if nx // 2 - left[-1] >= EDGE_PX else []
    return np.unique(np.concatenate([left, middle, nx - left])).astype(np.int64)


def measure_shading(planes: Array, value_range: tuple[float, float]) -> Table:
    """Histograms of the cells of the plane and grey sums for N4, over slices, padding left out.

    Returns
    -------
    Table
        ``counts`` (cells, bins) over the bins that hold anything, from bin ``first``, ``merge`` fine bins each;
        ``total`` and ``pixels`` (64, 64); ``shape`` of the plane.
    """
    xp = namespace(planes)
    _, ny, nx = planes.shape
    low, width = _fine_bins(planes.dtype, value_range)
    edges = column_cells(nx)
    row = xp.arange(ny) * ROWS // ny
    column = like(planes, np.searchsorted(edges, np.arange(nx), side="right") - 1)
    columns = len(edges) - 1
    cell = (row[:, None] * columns + column) * FINE_BINS
    y, x = xp.arange(ny) * MAP_SIDE // ny, xp.arange(nx) * MAP_SIDE // nx
    patch = y[:, None] * MAP_SIDE + x
    counts = xp.zeros(ROWS * columns * FINE_BINS, xp.int32)
    total, pixels = xp.zeros(MAP_SIDE * MAP_SIDE), xp.zeros(MAP_SIDE * MAP_SIDE, xp.int64)
    for plane in planes:
        inside = inside_padding(plane)
        grey = plane[inside].astype(xp.float32)
        bins = xp.floor((grey - low) / width).astype(xp.int64)
        known = (bins > 0) & (bins < FINE_BINS - 1)  # what is saturated tells nothing
        place = (cell[inside] + bins)[known]
        counts += xp.bincount(place, minlength=counts.size).astype(xp.int32)
        here = patch[inside].ravel()
        total += xp.bincount(here, weights=grey.ravel().astype(xp.float64), minlength=total.size)
        pixels += xp.bincount(here, minlength=total.size)
    return {
        **_packed(to_host(counts).reshape(-1, FINE_BINS), 0, 1),
        "total": to_host(total).reshape(MAP_SIDE, MAP_SIDE),
        "pixels": to_host(pixels).reshape(MAP_SIDE, MAP_SIDE),
        "shape": [ny, nx],
        "low": low,
        "width": width,
    }


def histogram_bytes(nx: int) -> float:
    """Bytes that the histograms of slices of `nx` columns take while they are made."""
    return 16.0 * ROWS * (len(column_cells(nx)) - 1) * FINE_BINS


def _fine_bins(dtype: Any, value_range: tuple[float, float]) -> tuple[float, float]:
    """Lower edge and width of the `FINE_BINS` bins; of whole greys, the same number in each."""
    low, high = value_range
    span = max(high - low, 1e-30)
    if np.dtype(dtype).kind in "iu":
        return float(np.floor(low)) - 0.5, float(np.ceil((span + 1) / FINE_BINS))
    return low - span / FINE_BINS, span * (1 + 3 / FINE_BINS) / FINE_BINS


def _packed(counts: NDArray[Any], first: int, merge: int) -> Table:
    """Counts with empty ends cut off and fine bins joined, in powers of two, until `BINS` hold all."""
    filled = np.flatnonzero(counts.any(axis=0))
    start, stop = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 1)
    start, stop = first + start * merge, first + stop * merge
    step = merge
    while stop - start // step * step > BINS * step:
        step *= 2
    begin = start // step * step
    bins = -(-(stop - begin) // step)
    inside = counts[:, (start - first) // merge : (stop - first) // merge]
    before = (start - begin) // merge
    wide = np.pad(inside, ((0, 0), (before, bins * (step // merge) - before - inside.shape[1])))
    joined = wide.reshape(len(counts), bins, step // merge).sum(axis=2)
    small = np.uint16 if joined.max(initial=0) < 2**16 else np.int64
    return {"counts": joined.astype(small), "first": begin, "merge": step}


def _summed(partials: Sequence[Table]) -> Table:
    """Counts of all slabs on common bins."""
    merge = max(int(p["merge"]) for p in partials)
    begin = min(int(p["first"]) for p in partials) // merge * merge
    stop = max(int(p["first"]) + np.asarray(p["counts"]).shape[1] * int(p["merge"]) for p in partials)
    total = np.zeros((len(partials[0]["counts"]), -(-(stop - begin) // merge)), np.int64)
    for p in partials:
        part, step = np.asarray(p["counts"]), int(p["merge"])
        at = (int(p["first"]) + step * np.arange(part.shape[1]) - begin) // merge
        np.add.at(total.T, at, part.T)
    return _packed(total, begin, merge)


def combine_shading(partials: Sequence[Table], method: str = "polynomial", order: int = 2) -> Table:
    """What evens out the plane.

    Returns
    -------
    Table
        ``correction`` (64, 64): factor over the plane; ``columns`` (columns,): a second one along x for shadows of
        walls; ``black``: grey about which both act, far below all greys where shading is an offset. Both are 1 where
        no shading stands out.
    """
    ny, nx = (int(n) for n in partials[0]["shape"])
    packed = _summed(partials)
    cells = _cells(packed, (ny, nx), float(partials[0]["low"]), float(partials[0]["width"]))
    columns, black = np.ones(nx), 0.0
    if method == "n4":
        pixels = np.maximum(sum(p["pixels"] for p in partials), 1)
        gain = _n4_gain(sum(p["total"] for p in partials) / pixels)
        y, x = (cells.y.mean(axis=1) / ny * MAP_SIDE).astype(int), (cells.x.mean(axis=1) / nx * MAP_SIDE).astype(int)
        if not n4_pays(cells, np.log(gain[y, x])):
            gain = np.ones_like(gain)
    else:
        field = fit_shading(cells, order)
        smooth = field.with_terms((0.0, 0.0), field.values[: (field.order + 1) * (field.order + 2) // 2])
        at = (np.arange(MAP_SIDE) + 0.5) / MAP_SIDE
        gain = np.exp(smooth.at(np.repeat(at * ny, MAP_SIDE), np.tile(at * nx, MAP_SIDE), (ny, nx)))
        gain = gain.reshape(MAP_SIDE, MAP_SIDE)
        middle = np.full(nx, 0.5 * ny)
        x = np.arange(nx) + 0.5
        columns = np.exp(smooth.at(middle, x, (ny, nx)) - field.at(middle, x, (ny, nx)))
        black = field.black
    return {"correction": _mean_one(1 / gain), "columns": _mean_one(columns), "black": black}


def _mean_one(factor: Float) -> Float:
    return factor / factor.mean()


def _cells(packed: Table, shape: tuple[int, int], low: float, width: float) -> Cells:
    ny, nx = shape
    rows = -(-np.arange(ROWS + 1) * ny // ROWS).astype(np.float64)  # row r belongs to cell r * ROWS // ny
    cols = column_cells(nx).astype(np.float64)
    y = np.repeat(np.stack([rows[:-1], rows[1:]], axis=1), len(cols) - 1, axis=0)
    x = np.tile(np.stack([cols[:-1], cols[1:]], axis=1), (ROWS, 1))
    start = low + width * int(packed["first"])
    return Cells(np.asarray(packed["counts"], dtype=np.float64), start, width * int(packed["merge"]), y, x, shape)


def _n4_gain(mean: Float) -> Float:
    """Bias field (64, 64) of N4 on the mean of the stack."""
    import SimpleITK

    floor = 1e-3 * max(float(mean.max()), 1e-30)
    image = SimpleITK.GetImageFromArray(np.maximum(mean, floor).astype(np.float32))
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50, 50])
    n4.SetNumberOfControlPoints([4, 4])
    n4.Execute(image, SimpleITK.Image(image.GetSize(), SimpleITK.sitkUInt8) + 1)
    return np.exp(SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).astype(np.float64))


def apply_shading(planes: Array, correction: Float, columns: Float | None = None, black: float = 0.0) -> Array:
    """Return slices with the shading undone as float32; padding stays as it is.

    Parameters
    ----------
    planes
        (z, y, x) slices.
    correction, columns, black
        As `combine_shading` gives them; the map is interpolated to the plane.
    """
    xp, nd = namespace(planes), ndimage(planes)
    if np.all(correction == 1) and (columns is None or np.all(columns == 1)):
        return planes.astype(xp.float32)
    axes = [(xp.arange(n) + 0.5) * (MAP_SIDE / n) - 0.5 for n in planes.shape[1:]]
    grid = xp.stack(xp.meshgrid(*axes, indexing="ij"))
    factor = nd.map_coordinates(like(planes, correction), grid, order=1, mode="nearest")
    factor = (factor if columns is None else factor * like(planes, columns)).astype(xp.float32)
    out = planes.astype(xp.float32)
    for plane in out:
        inside = inside_padding(plane)
        plane[inside] = (plane[inside] - np.float32(black)) * factor[inside] + np.float32(black)
    return out
