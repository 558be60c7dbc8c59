"""The resample kernels against what must come out, besides their twins."""

from dataclasses import replace

import numpy as np
import strict_cupy
from exercises.resample import case
from scipy.ndimage import map_coordinates

from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.core.warp import Warp
from fibtomo.ops.resample import resample_stack


def on_stand_in(stack, grid, method: str) -> np.ndarray:
    with strict_cupy.installed() as cupy:
        return resample_stack(cupy.asarray(stack), grid, method=method, fill=-1.0).get()


def test_kernel_equals_scipy():
    stack, grid = case("uint16", crop="valid")
    found = on_stand_in(stack, grid, "linear")
    planes = [
        map_coordinates(stack[k].astype(float), np.meshgrid(rows, cols, indexing="ij"), order=1)
        for k in grid.good
        for rows in [np.clip(grid.row_start[k] + np.arange(grid.shape[1]) * grid.row_scale, 0, 20)]
        for cols in [np.clip(grid.col_start[k] + np.arange(grid.shape[2]) * grid.col_scale, 0, 44)]
    ]
    expected = np.empty(grid.shape)
    for z in range(grid.shape[0]):
        above = int(np.searchsorted(grid.z_index[grid.good], z, side="right"))
        low, high = min(above - 1, len(planes) - 2), min(above, len(planes) - 1)
        z_low, z_high = grid.z_index[grid.good][[low, high]]
        expected[z] = ((z_high - z) * planes[low] + (z - z_low) * planes[high]) / (z_high - z_low)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_identity_is_exact():
    stack = np.random.default_rng(0).integers(0, 65535, (5, 12, 40), dtype=np.uint16)
    grid = make_grid(Geometry(voxel_nm=(3.0, 3.0, 3.0)), stack.shape)
    for same in (grid, replace(grid, warp=Warp.identity(5, (12, 40)))):
        np.testing.assert_array_equal(on_stand_in(stack, same, "cubic"), stack)


def test_voxels_outside_are_the_same_ones():
    stack, grid = case("uint8")
    found = on_stand_in(stack, grid, "cubic")
    assert np.any(found == -1)
    np.testing.assert_array_equal(found == -1, resample_stack(stack, grid, fill=-1.0) == -1)
