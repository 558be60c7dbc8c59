"""``kernels/resample_warped.cu`` itself, executed on the CPU through the launcher that CuPy uses."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fibtomo.backend.kernels import C_TYPES
from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.core.warp import Warp
from fibtomo.ops import resample as ops
from fibtomo.ops._warped import gather_warped_on_device, warp_tables

GEOMETRY = Geometry(voxel_nm=(9.0, 5.0, 5.0), column_angle_deg=52.0, tracked=True, sample_tilt_deg=30.0)
FRAME = (21, 45)


def case(dtype: str, warped: bool, axes: str, voxel_nm: float = 5.0, n: int = 8):
    rng = np.random.default_rng(4)
    stack = rng.integers(0, 120, (n, *FRAME)).astype(dtype)
    shifts = np.cumsum(rng.normal(scale=0.8, size=(n, 2)), axis=0)
    warp = Warp(rng.uniform(-1, 1, (n, 3, 5, 2)), FRAME) if warped else None
    return stack, make_grid(GEOMETRY, stack.shape, shifts, voxel_nm, "all", (3,), warp=warp, axes=axes)


def on_device(module, stack, grid, method: str, fill: float = -1.0) -> np.ndarray:
    tables = warp_tables(np, grid, ops.find_kernel(method), 0, len(stack), 0, grid.shape[0])
    out = np.empty(grid.shape, np.float32)
    gather_warped_on_device(module, stack, tables, out, 0, fill)
    return out


@pytest.mark.parametrize(("warped", "axes"), [(True, "specimen"), (False, "surface"), (True, "surface")])
@pytest.mark.parametrize("voxel_nm", [5.0, 13.0])
@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "lanczos3"])
def test_kernel_equals_its_cpu_twin(host_kernel, method, voxel_nm, warped, axes):
    stack, grid = case("uint16", warped, axes, voxel_nm)
    found = on_device(host_kernel("resample_warped", SOURCE_T="uint16"), stack, grid, method)
    twin = ops.resample_stack(stack, grid, method=method, fill=-1.0)
    away = ~np.isclose(found, twin, rtol=1e-4, atol=2e-3)
    assert away.mean() <= (1e-3 if method == "nearest" else 0)  # places half way between two samples
    np.testing.assert_array_equal(found == -1, twin == -1)
    assert np.any(found != -1)


@pytest.mark.parametrize("dtype", C_TYPES)
def test_every_element_type(host_kernel, dtype):
    stack, grid = case(dtype, True, "surface")
    found = on_device(host_kernel("resample_warped", SOURCE_T=dtype), stack, grid, "cubic")
    np.testing.assert_allclose(found, ops.resample_stack(stack, grid, fill=-1.0), rtol=1e-4, atol=2e-3)


def test_device_arrays_take_the_kernel_slab_by_slab(host_kernel, monkeypatch):
    stack, grid = case("uint16", True, "surface", n=40)
    twin = ops.resample_stack(stack, grid)
    monkeypatch.setattr(ops, "is_cupy", lambda _array: True)
    loaded = []
    monkeypatch.setattr(ops, "load_kernel", lambda *name, **types: loaded.append(name) or host_kernel(*name, **types))
    found = ops.resample_stack(stack, grid)
    assert loaded == [("resample_warped",)] * -(-grid.shape[0] // 32)
    assert len(loaded) > 1
    np.testing.assert_allclose(found, twin, atol=2e-3)


def test_thread_order_does_not_matter(host_kernel):
    stack, grid = case("uint16", True, "surface")
    module = host_kernel("resample_warped", SOURCE_T="uint16")
    results = []
    for module.order in (0, 1, 5):
        results.append(on_device(module, stack, grid, "cubic"))
    module.order = 0
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_identity_is_exact(host_kernel):
    stack = np.random.default_rng(0).integers(0, 65535, (5, 12, 40), dtype=np.uint16)
    grid = make_grid(Geometry(voxel_nm=(3.0, 3.0, 3.0)), stack.shape)
    grid = replace(grid, warp=Warp.identity(5, (12, 40)))
    found = on_device(host_kernel("resample_warped", SOURCE_T="uint16"), stack, grid, "cubic")
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
from fibtomo.core.warp import Warp
from fibtomo.ops import resample as ops
from fibtomo.ops._warped import gather_warped_on_device, warp_tables

module = HostRawModule(kernel_source("resample_warped"), type_options(SOURCE_T="uint16"), check=True)
rng = np.random.default_rng(0)
stack = guarded(rng.integers(0, 65535, (6, 19, 37), dtype=np.uint16))
shifts = rng.normal(size=(6, 2)) * 2
geometry = Geometry((7.0, 5.0, 5.0), 52.0, tracked=True, sample_tilt_deg=30.0)
for warp in (None, Warp(rng.uniform(-1, 1, (6, 3, 4, 2)), (19, 37))):
    for method, voxel_nm in (("linear", 3.0), ("lanczos3", 11.0), ("nearest", 5.0)):
        grid = make_grid(geometry, stack.shape, shifts, voxel_nm, "all", (5,), warp=warp, axes="surface")
        tables = warp_tables(np, grid, ops.find_kernel(method), 0, 6, 0, grid.shape[0])
        tables = dataclasses.replace(tables, **{{
            f.name: guarded(getattr(tables, f.name)) for f in dataclasses.fields(tables)
            if isinstance(getattr(tables, f.name), np.ndarray) and getattr(tables, f.name).size
        }})
        found = guarded(np.empty(grid.shape, np.float32))
        gather_warped_on_device(module, stack, tables, found, 0, 0.0)
        assert np.isclose(found, ops.resample_stack(stack, grid, method=method), rtol=1e-4, atol=1.0).mean() > 0.999
print("clean")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["clean"]
