"""The fused resample against closed forms and against an interpolation written out as dense matrices."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.core.volume import VolumeSpec
from fibtomo.errors import InputError
from fibtomo.ops.resample import resample, resample_slab, resample_stack, source_range, taps_needed

METHODS = ["nearest", "linear", "cubic", "lanczos3"]
DTYPES = ["uint8", "uint16", "int16", "float32"]
CUBE = Geometry(voxel_nm=(10.0, 10.0, 10.0))


def noise(shape=(9, 14, 17), dtype="uint16", seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, endpoint=True, dtype=dtype)


def drifting(n: int, seed: int = 0, step: float = 0.6) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(scale=step, size=(n, 2)), axis=0)


def inside(grid) -> np.ndarray:
    mask = np.zeros(grid.shape, bool)
    for z, (y0, y1, x0, x1) in enumerate(grid.valid_boxes(0, grid.shape[0])):
        mask[z, y0:y1, x0:x1] = True
    return mask


def ramp(shape, geometry, shifts) -> np.ndarray:
    """A linear function of specimen coordinates as the slices show it."""
    z = geometry.z_nm(shape[0])[:, None, None]
    y = np.arange(shape[1])[None, :, None] - shifts[:, 0, None, None]
    x = np.arange(shape[2])[None, None, :] - shifts[:, 1, None, None]
    return (0.7 * z + 3.0 * y - 2.0 * x).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_identity_grid_returns_the_input_bit_for_bit(dtype, method):
    stack = noise(dtype=dtype)
    out = resample_stack(stack, make_grid(CUBE, stack.shape), method=method)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, stack.astype(np.float32))


@pytest.mark.parametrize("voxel_nm", [0.1, 0.3, 7.7, 1 / 3])
def test_identity_survives_lengths_that_binary_cannot_hold(voxel_nm):
    stack = noise()
    geometry = Geometry(voxel_nm=(voxel_nm,) * 3)
    np.testing.assert_array_equal(resample(stack, geometry, drifting(9).round() * 0 + 0.1), stack)


@pytest.mark.parametrize("method", METHODS)
def test_whole_pixel_drift_is_undone_exactly(method):
    rng = np.random.default_rng(3)
    shifts = rng.integers(-3, 4, (9, 2))
    scene = noise((9, 30, 33))
    stack = np.stack([scene[k, 8 - dy : 24 - dy, 8 - dx : 26 - dx] for k, (dy, dx) in enumerate(shifts)])
    grid = make_grid(CUBE, stack.shape, shifts)
    dy, dx = shifts.min(axis=0)
    expected = scene[:, 8 - dy :, 8 - dx :][:, : grid.shape[1], : grid.shape[2]]
    np.testing.assert_array_equal(resample_stack(stack, grid, method=method), expected)


@pytest.mark.parametrize("method", ["linear", "cubic", "lanczos3"])
@pytest.mark.parametrize("voxel_nm", [None, 3.3, (4.0, 11.0, 6.0), 23.0])
def test_linear_ramps_are_exact_whatever_spacing_drift_and_target(method, voxel_nm):
    rng = np.random.default_rng(5)
    geometry = Geometry(
        (10.0, 5.0, 5.0), 52.0, tracked=True, slice_z_nm=np.cumsum(rng.uniform(6, 14, 20)), tilt_corrected=True
    )
    shifts = drifting(20, seed=1)
    stack = ramp((20, 40, 44), geometry, shifts)
    grid = make_grid(geometry, stack.shape, shifts, voxel_nm)
    z, y, x = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
    origin = grid.row_start[0] - shifts[0, 0], grid.col_start[0] - shifts[0, 1]
    expected = 0.7 * z * grid.voxel_nm[0] + 3 * (y * grid.row_scale + origin[0]) - 2 * (x * grid.col_scale + origin[1])
    np.testing.assert_allclose(resample_stack(stack, grid, method=method), expected, atol=2e-4)


def test_linear_equals_scipy_slice_by_slice():
    stack, shifts = noise((6, 30, 34), "float32"), drifting(6)
    geometry = Geometry(voxel_nm=(8.0, 5.0, 5.0), column_angle_deg=54.0, tracked=True)
    grid = make_grid(geometry, stack.shape, shifts, 5.0)
    out = resample_stack(stack, grid, method="linear")
    for z in range(grid.shape[0]):
        k = min(int(z / 1.6), 4)
        at = [
            map_coordinates(stack[j].astype(float), np.stack(np.meshgrid(rows, cols, indexing="ij")), order=1)
            for j in (k, k + 1)
            for rows in [np.clip(grid.row_start[j] + np.arange(grid.shape[1]) * grid.row_scale, 0, 29)]
            for cols in [np.clip(grid.col_start[j] + np.arange(grid.shape[2]), 0, 33)]
        ]
        part = z / 1.6 - k
        np.testing.assert_allclose(out[z], (1 - part) * at[0] + part * at[1], atol=2e-6)


def keys(t: np.ndarray) -> np.ndarray:
    t = np.abs(t)
    return np.where(t < 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0))


def lanczos3(t: np.ndarray) -> np.ndarray:
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


@pytest.mark.parametrize(("method", "kernel", "tolerance"), [("cubic", keys, 1e-5), ("lanczos3", lanczos3, 0.03)])
def test_interior_equals_the_kernel_written_out_as_dense_matrices(method, kernel, tolerance):
    stack, shifts = noise((14, 24, 28), "float32"), drifting(14, step=0.4)
    grid = make_grid(CUBE, stack.shape, shifts, (7.0, 8.0, 9.0))

    def matrix(position, count):
        weights = kernel(position[:, None] - np.arange(count))
        return weights / weights.sum(axis=1, keepdims=True)

    planes = np.stack(
        [
            matrix(grid.row_start[k] + np.arange(grid.shape[1]) * grid.row_scale, 24)
            @ stack[k]
            @ matrix(grid.col_start[k] + np.arange(grid.shape[2]) * grid.col_scale, 28).T
            for k in range(14)
        ]
    )
    dense = np.tensordot(matrix(np.arange(grid.shape[0]) * 0.7, 14), planes, axes=1)
    core = (slice(5, -5), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(resample_stack(stack, grid, method=method)[core], dense[core], atol=tolerance)


def test_uneven_slices_are_interpolated_better_by_the_cubic_than_by_lines():
    errors = {"linear": [], "cubic": []}
    for seed in range(5):
        z_nm = np.cumsum(10 * np.clip(np.random.default_rng(seed).normal(1, 0.15, 60), 0.5, 2))
        wave = np.sin(2 * np.pi * (z_nm - z_nm[0]) / 100)
        stack = np.broadcast_to(wave[:, None, None], (60, 4, 4)).astype(np.float32)
        geometry = Geometry((10.0, 10.0, 10.0), slice_z_nm=z_nm)
        for method, found in errors.items():
            volume = resample(stack, geometry, voxel_nm=(4.0, 10.0, 10.0), method=method)
            found.append(np.std(volume[:, 1, 1] - np.sin(2 * np.pi * np.arange(len(volume)) * 4 / 100)))
    assert max(errors["cubic"]) < 0.3 * min(errors["linear"])
    assert max(errors["cubic"]) < 0.005


def test_bad_slices_are_bridged_and_never_read():
    geometry, shifts = CUBE, drifting(12, step=0.2)
    stack = ramp((12, 20, 22), geometry, shifts)
    spoilt = stack.copy()
    spoilt[[0, 5, 6]] = np.nan
    grid = make_grid(geometry, stack.shape, shifts, bad_slices=(0, 5, 6))
    out = resample_stack(spoilt, grid)
    assert np.all(np.isfinite(out))
    every = resample_stack(stack, replace(grid, usable=np.ones(12, dtype=bool)))
    np.testing.assert_allclose(out, every, atol=1e-4)
    assert grid.shape[0] == 11  # nothing is made up before the first usable slice


def test_what_lies_between_the_neighbours_of_bad_slices_is_counted_or_left_out():
    bad = (0, 5, 6, 11)
    grid = make_grid(CUBE, (12, 20, 22), np.zeros((12, 2)), (5.0, 10.0, 10.0), bad_slices=bad)
    bridged = np.flatnonzero(grid.bridged(0, grid.shape[0])[:, 0])
    assert (bridged * 5 + 10).tolist() == [45, 50, 55, 60, 65]  # nm, between slices 4 and 7
    assert grid.bridged_share() == pytest.approx(5 / grid.shape[0])
    left_out = make_grid(CUBE, (12, 20, 22), np.zeros((12, 2)), (5.0, 10.0, 10.0), bad_slices=bad, bridge=False)
    shown = left_out.valid_mask(0, grid.shape[0]).any(axis=(1, 2))
    assert np.flatnonzero(~shown).tolist() == bridged.tolist()
    stack = np.full((12, 20, 22), 7.0, dtype=np.float32)
    assert (resample_stack(stack, left_out, fill=-1.0)[bridged] == -1).all()


def test_a_slice_that_repeats_the_place_of_another_leaves_no_gap():
    z_nm = tuple(np.r_[0:50:10, 40:90:10] + np.arange(10) * 1e-6)
    grid = make_grid(Geometry((10.0, 10.0, 10.0), slice_z_nm=z_nm), (10, 20, 22), np.zeros((10, 2)), bad_slices=[5])
    assert not grid.bridged(0, grid.shape[0]).any()


@pytest.mark.parametrize("method", ["linear", "cubic", "lanczos3"])
def test_shrinking_averages_instead_of_aliasing(method):
    """White noise shrunk threefold along each axis loses about its 27-fold variance; picked samples would keep it."""
    stack = noise((36, 60, 66), "float32")
    small = resample_stack(stack, make_grid(CUBE, stack.shape, voxel_nm=30.0), method=method)
    assert small.shape == (12, 20, 22)
    assert small[2:-2, 2:-2, 2:-2].var() < 1.5 / 27
    nearest = resample_stack(stack, make_grid(CUBE, stack.shape, voxel_nm=30.0), method="nearest")
    np.testing.assert_array_equal(nearest, stack[::3, ::3, ::3])


def test_voxels_that_no_slice_shows_are_filled():
    stack = noise((6, 20, 24), "float32") + 10
    shifts = np.linspace(0, 1, 6)[:, None] * [9.0, -7.0]
    grid = make_grid(CUBE, stack.shape, shifts, 6.0, crop="all")
    out = resample_stack(stack, grid, fill=-5.0)
    np.testing.assert_array_equal(out == -5, ~inside(grid))
    assert 0.2 < inside(grid).mean() < 0.95


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    method=st.sampled_from(METHODS),
    crop=st.sampled_from(["valid", "all"]),
    voxel=st.sampled_from([3.0, 10.0, 17.0, (25.0, 10.0, 8.0)]),
    slab=st.integers(1, 9),
)
def test_slabs_put_together_equal_the_whole_bit_for_bit(seed, method, crop, voxel, slab):
    rng = np.random.default_rng(seed)
    n = 16
    geometry = Geometry((10.0, 10.0, 10.0), 60.0, tracked=True, slice_z_nm=np.cumsum(rng.uniform(3, 20, n)))
    stack, shifts = noise((n, 15, 18), "uint16", seed), drifting(n, seed)
    bad = tuple(rng.choice(n, 3, replace=False))
    grid = make_grid(geometry, stack.shape, shifts, voxel, crop=crop, bad_slices=bad)
    whole = resample_slab(stack, grid, 0, 0, grid.shape[0], method=method, fill=7)
    for z0 in range(0, grid.shape[0], slab):
        z1 = min(z0 + slab, grid.shape[0])
        a, b = source_range(grid, z0, z1, method)
        np.testing.assert_array_equal(
            resample_slab(stack[a:b].copy(), grid, a, z0, z1, method=method, fill=7), whole[z0:z1]
        )
    np.testing.assert_array_equal(resample_stack(stack, grid, method=method, fill=7, workers=2), whole)


def test_source_range_is_no_wider_than_the_kernel():
    grid = make_grid(CUBE, (40, 8, 8), voxel_nm=10.0)
    assert [taps_needed(grid, m) for m in METHODS] == [1, 1, 2, 3]
    assert source_range(grid, 10, 12, "cubic") == (9, 13)
    coarse = make_grid(CUBE, (40, 8, 8), voxel_nm=30.0)
    assert [taps_needed(coarse, m) for m in METHODS] == [1, 3, 6, 9]


def test_public_function_keeps_type_rounds_and_leaves_the_input_alone():
    stack = noise((6, 20, 20), "uint8")
    before = stack.copy()
    geometry = Geometry((10.0, 5.0, 5.0), 52.0)
    out = resample(stack, geometry, SimpleNamespace(shifts_px=drifting(6), bad_slices=np.array([2])), method="lanczos3")
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(stack, before)
    grid = make_grid(geometry, stack.shape, drifting(6), bad_slices=[2])
    expected = np.clip(np.rint(resample_stack(stack, grid, method="lanczos3")), 0, 255)
    np.testing.assert_array_equal(out, expected)


def test_public_function_reads_a_source_slab_by_slab():
    stack = noise((90, 12, 12))
    reads = []

    def read(z0, z1):
        reads.append(z1 - z0)
        return stack[z0:z1]

    source = SimpleNamespace(spec=VolumeSpec(stack.shape, "uint16"), read=read)
    np.testing.assert_array_equal(resample(source, CUBE, workers=1), stack)
    assert max(reads) < 40


@pytest.mark.parametrize("dtype", ["float64", "float16", ">u2", "bool"])
def test_public_function_takes_other_types_that_float32_can_hold(dtype):
    stack = (noise((4, 10, 10)) % 2).astype(dtype)
    out = resample(stack, CUBE, method="nearest")
    np.testing.assert_array_equal(out, stack)
    assert out.dtype == ("float32" if dtype.startswith("float") else np.dtype(dtype))


def test_single_slice_and_tiny_images_work():
    for shape in [(1, 5, 5), (3, 1, 6), (2, 2, 2)]:
        stack = noise(shape)
        np.testing.assert_array_equal(resample(stack, CUBE, crop="all"), stack)


def test_what_cannot_be_done_is_said():
    stack = noise()
    grid = make_grid(CUBE, stack.shape)
    with pytest.raises(InputError, match="'spline' must be one of nearest, linear"):
        resample_stack(stack, grid, method="spline")
    with pytest.raises(InputError, match="need source slices 3 to 8, but 4 to 8 were given"):
        resample_slab(stack[4:8], grid, 4, 3, 8, method="nearest")
    with pytest.raises(InputError, match="not int64"):
        resample(stack.astype(np.int64), CUBE)
    with pytest.raises(InputError, match="do not fit a grid"):
        resample_stack(stack[:, 1:], grid)
    with pytest.raises(InputError, match="axes"):
        resample(stack[0], CUBE)
