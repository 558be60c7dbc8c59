"""``kernels/resample.cu`` itself, executed on the CPU through the launcher that CuPy uses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from fibtomo.backend.kernels import C_TYPES
from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.ops import resample as ops

GEOMETRY = Geometry(voxel_nm=(9.0, 5.0, 5.0), column_angle_deg=52.0, tracked=True)


def case(dtype: str, voxel_nm: float = 5.0, crop: str = "all", n: int = 8):
    rng = np.random.default_rng(4)
    stack = rng.integers(0, 120, (n, 21, 45)).astype(dtype)
    shifts = np.cumsum(rng.normal(scale=0.8, size=(n, 2)), axis=0)
    return stack, make_grid(GEOMETRY, stack.shape, shifts, voxel_nm, crop=crop, bad_slices=(3,))


def on_device(module, stack, grid, method: str, fill: float = -1.0) -> np.ndarray:
    tables = ops.slab_tables(np, grid, ops.find_kernel(method), 0, len(stack), 0, grid.shape[0])
    out = np.empty(grid.shape, np.float32)
    ops.gather_on_device(module, stack, tables, out, fill)
    return out


@pytest.mark.parametrize("voxel_nm", [5.0, 13.0])
@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "lanczos3"])
@pytest.mark.parametrize("dtype", C_TYPES)
def test_kernel_equals_its_cpu_twin(host_kernel, dtype, method, voxel_nm):
    stack, grid = case(dtype, voxel_nm)
    found = on_device(host_kernel("resample", SOURCE_T=dtype), stack, grid, method)
    twin = ops.resample_stack(stack, grid, method=method, fill=-1.0)
    np.testing.assert_allclose(found, twin, rtol=1e-5, atol=1e-5 * 120)
    np.testing.assert_array_equal(found == -1, twin == -1)


def test_kernel_equals_scipy(host_kernel):
    stack, grid = case("uint16", crop="valid")
    found = on_device(host_kernel("resample", SOURCE_T="uint16"), stack, grid, "linear")
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


def test_device_arrays_take_the_kernel_slab_by_slab(host_kernel, monkeypatch):
    stack, grid = case("uint16", n=40)
    twin = ops.resample_stack(stack, grid)
    monkeypatch.setattr(ops, "is_cupy", lambda _array: True)
    loaded = []
    monkeypatch.setattr(ops, "load_kernel", lambda *name, **types: loaded.append(types) or host_kernel(*name, **types))
    found = ops.resample_stack(stack, grid)
    assert loaded == [{"SOURCE_T": np.uint16}] * -(-grid.shape[0] // 32)
    assert len(loaded) > 1
    np.testing.assert_allclose(found, twin, atol=1e-3)


def test_thread_order_does_not_matter(host_kernel):
    stack, grid = case("uint16")
    module = host_kernel("resample", SOURCE_T="uint16")
    results = []
    for module.order in (0, 1, 5):
        results.append(on_device(module, stack, grid, "cubic"))
    module.order = 0
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_identity_is_exact(host_kernel):
    stack = np.random.default_rng(0).integers(0, 65535, (5, 12, 40), dtype=np.uint16)
    grid = make_grid(Geometry(voxel_nm=(3.0, 3.0, 3.0)), stack.shape)
    found = on_device(host_kernel("resample", SOURCE_T="uint16"), stack, grid, "cubic")
    np.testing.assert_array_equal(found, stack)


def test_kernel_has_no_undefined_operation_and_stays_inside_its_arrays():
    """UBSan and guard pages behind every array, in a process that they may kill."""
    repo, here = Path(__file__).parents[2], Path(__file__).parent
    code = f"""
import dataclasses, sys
sys.path[:0] = [{str(here)!r}, {str(repo)!r}]
import numpy as np
from cuda_on_host import HostRawModule, guarded
from fibtomo.backend.kernels import kernel_source, type_options
from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.ops import resample as ops

module = HostRawModule(kernel_source("resample"), type_options(SOURCE_T="uint16"), check=True)
stack = guarded(np.random.default_rng(0).integers(0, 65535, (6, 19, 37), dtype=np.uint16))
shifts = np.random.default_rng(1).normal(size=(6, 2)) * 2
for method in ("linear", "lanczos3"):
    for voxel_nm in (3.0, 11.0):
        grid = make_grid(Geometry((7.0, 5.0, 5.0)), stack.shape, shifts, voxel_nm, crop="all", bad_slices=(5,))
        tables = ops.slab_tables(np, grid, ops.find_kernel(method), 0, 6, 0, grid.shape[0])
        tables = ops.SlabTables(**{{f.name: guarded(getattr(tables, f.name)) for f in dataclasses.fields(tables)}})
        found = guarded(np.empty(grid.shape, np.float32))
        ops.gather_on_device(module, stack, tables, found, 0.0)
        assert np.allclose(found, ops.resample_stack(stack, grid, method=method), rtol=1e-5, atol=0.6)
print("clean")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["clean"]
