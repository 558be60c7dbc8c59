"""Table of numbered objects: sizes, places, surfaces, and how many each stands for."""

import numpy as np
from numpy.typing import NDArray

from fibtomo.core.volume import Table, VoxelNm
from fibtomo.ops.labels import Components


def object_columns(found: Components, scale: VoxelNm, unit: str) -> Table:
    """Columns of the object table, one row per object.

    Parameters
    ----------
    found
        The objects.
    scale, unit
        (dz, dy, dx) and the name of its unit ("nm" or "voxel"), which closes the column names.

    Returns
    -------
    columns
        label, voxels, volume, equivalent diameter, centroid, bounding box (slices, rows, columns, half open), surface
        (2/3 of the voxel faces, unbiased over orientations), sphericity, touches_border, border_weight
        (`border_weights`).
    """
    dz, dy, dx = scale
    voxels = found.column("voxels")
    count = np.maximum(voxels, 1)
    volume = voxels * (dz * dy * dx)
    area = [found.column(f"faces_{a}") * f for a, f in (("z", dy * dx), ("y", dz * dx), ("x", dz * dy))]
    surface = 2.0 / 3.0 * np.sum(area, axis=0)
    sphericity = np.full(len(voxels), np.nan)
    np.divide(np.cbrt(36 * np.pi * volume**2), surface, out=sphericity, where=surface > 0)
    columns: Table = {
        "label": np.arange(1, len(voxels) + 1),
        "voxels": voxels,
        f"volume_{unit}3": volume,
        f"equivalent_diameter_{unit}": np.cbrt(6 * volume / np.pi),
    }
    for axis, step in zip("zyx", scale, strict=True):
        columns[f"centroid_{axis}_{unit}"] = found.column(f"sum_{axis}") / count * step
    for axis in "zyx":
        columns[f"bbox_{axis}0"] = found.column(f"bbox_{axis}0")
        columns[f"bbox_{axis}1"] = found.column(f"bbox_{axis}1")
    columns[f"surface_{unit}2"] = surface
    columns["sphericity"] = sphericity
    columns["touches_border"] = found.column("touches") != 0
    columns["border_weight"] = border_weights(found)
    return columns


def border_weights(found: Components) -> NDArray[np.float64]:
    """How many objects of the specimen each one stands for: sums over it are free of the loss at the border.

    A large object is less often seen whole than a small one. An object that touches no border has the weight of the
    seen voxels over the number of places, by whole voxels, where its bounding box would touch none; the others have 0.

    Miles 1974, in Stochastic Geometry, 202; Lantuéjoul 1980, Mikroskopie 37, 11.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    y0, y1, x0, x1 = found.boxes.T
    size = {axis: found.column(f"bbox_{axis}1") - found.column(f"bbox_{axis}0") for axis in "zyx"}
    whole = found.column("touches") == 0
    seen = float(((y1 - y0) * (x1 - x0)).sum())
    weights = np.zeros(len(whole))
    for depth in np.unique(size["z"][whole]):
        at = np.flatnonzero(whole & (size["z"] == depth))
        first = slice(1 + depth // 2, len(y0) - 1 - (depth - 1) // 2)
        lows = [maximum_filter1d(v, depth)[first] for v in (y0, x0)]
        highs = [minimum_filter1d(v, depth)[first] for v in (y1, x1)]
        room = [(high - low - 1)[:, None] for low, high in zip(lows, highs, strict=True)]
        places = np.maximum(room[0] - size["y"][at], 0) * np.maximum(room[1] - size["x"][at], 0)
        weights[at] = seen / places.sum(axis=0)
    return weights
