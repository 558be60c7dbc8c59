"""Warped slices and turned targets against closed forms, SciPy, brute force, and chains of resamplings."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import Tilt, make_grid
from fibtomo.core.volume import Calibration, Sourced
from fibtomo.core.warp import Warp, affine_matrices
from fibtomo.errors import CalibrationError, InputError
from fibtomo.ops.resample import resample, resample_slab, resample_stack, source_range

METHODS = ["nearest", "linear", "cubic", "lanczos3"]
CUBE = Geometry(voxel_nm=(10.0, 10.0, 10.0))
LEANING = Geometry((10.0, 8.0, 8.0), 52.0, tracked=True, sample_tilt_deg=30.0)


def noise(shape, dtype="float32", seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * 30 + 100).astype(dtype)


def wavy(n: int, frame, size: float = 1.5, seed: int = 0, nodes=(4, 5)) -> Warp:
    return Warp(np.random.default_rng(seed).uniform(-size, size, (n, *nodes, 2)), frame)


def drifting(n: int, seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(scale=0.6, size=(n, 2)), axis=0)


def general(grid, *, turned: bool):
    """The same grid, made to take the general gather."""
    if turned:
        return replace(grid, tilt=Tilt(0.0, 0.0, 1.0, 0.0, 1e-300, np.inf))
    return replace(grid, warp=Warp.identity(len(grid.usable), grid.source_shape))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("voxel_nm", [None, 7.3, 25.0])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_general_gather_equals_the_separable_one(dtype, method, voxel_nm, turned):
    rng = np.random.default_rng(1)
    geometry = Geometry((10.0, 5.0, 5.0), 60.0, tracked=True, slice_z_nm=np.cumsum(rng.uniform(3, 20, 9)))
    stack = noise((9, 19, 23), dtype)
    grid = make_grid(geometry, stack.shape, drifting(9), voxel_nm, crop="all", bad_slices=[4])
    plain = resample_stack(stack, grid, method=method, fill=-3)
    found = resample_stack(stack, general(grid, turned=turned), method=method, fill=-3)
    np.testing.assert_allclose(
        found, plain, atol=(2e-3 if method == "linear" else 3e-6) * stack.max()
    )  # tents have a kink
    np.testing.assert_array_equal(found == -3, plain == -3)


@pytest.mark.parametrize(("method", "order"), [("linear", 1), ("nearest", 0)])
def test_warped_slices_equal_scipy(method, order):
    stack = noise((5, 40, 44))
    warp, shifts = wavy(5, (40, 44)), drifting(5)
    grid = make_grid(CUBE, stack.shape, shifts, crop="valid", warp=warp)
    found = resample_stack(stack, grid, method=method, fill=np.nan)
    y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in grid.shape[1:]), indexing="ij")
    for k in range(5):
        place = np.stack([grid.row_start[k] + y, grid.col_start[k] + x])
        place += np.moveaxis(warp(k, *place), -1, 0)
        clear = np.all(np.abs(place % 1 - 0.5) > 1e-4, axis=0) | (order == 1)
        expected = map_coordinates(stack[k].astype(float), place, order=order, mode="nearest")
        seen = np.isfinite(found[k]) & clear
        assert seen.mean() > 0.9
        np.testing.assert_allclose(found[k][seen], expected[seen], atol=1e-3)


@pytest.mark.parametrize("method", ["linear", "cubic", "lanczos3"])
@pytest.mark.parametrize("axes", ["specimen", "surface"])
def test_ramps_in_the_specimen_come_out_exact(method, axes):
    """A linear function of specimen coordinates, seen through drift, a warp and uneven slices, on either axes."""
    n, frame = 24, (50, 44)
    rng = np.random.default_rng(3)
    geometry = replace(LEANING, slice_z_nm=tuple(np.cumsum(rng.uniform(6, 14, n))))
    matrices = affine_matrices(rng.uniform(0.99, 1.01, n), rng.uniform(-1, 1, n), rng.uniform(-0.01, 0.01, n))
    shifts, warp = drifting(n), Warp.from_affine(matrices, frame)
    row, col = np.meshgrid(*map(np.arange, frame), indexing="ij")
    _, dy, dx = geometry.true_voxel_nm
    stack = np.empty((n, *frame), np.float32)
    for k in range(n):
        place = warp.undo(k, row, col)
        y, x = (place[..., 0] - shifts[k, 0]) * dy, (place[..., 1] - shifts[k, 1]) * dx
        stack[k] = 0.7 * geometry.z_nm(n)[k] + 0.4 * y - 0.3 * x
    grid = make_grid(geometry, stack.shape, shifts, 6.0, "valid", warp=warp, axes=axes)
    found, seen = resample_stack(stack, grid, method=method, fill=np.nan), grid.valid_mask(0, grid.shape[0])
    np.testing.assert_array_equal(np.isfinite(found), seen)
    z, y, x = np.meshgrid(*(np.arange(s) * 6.0 for s in grid.shape), indexing="ij")
    if axes == "surface":
        t = grid.tilt
        back = geometry.surface_axes().inverse().matrix
        z, y = (
            back[0, 0] * z + back[0, 1] * y + t.z_origin * 6.0,
            back[1, 0] * z + back[1, 1] * y + t.row_origin * dy,
        )
    expected = (
        0.7 * z
        + 0.4 * (y + (grid.row_start[0] - shifts[0, 0]) * dy)
        - 0.3 * (x + (grid.col_start[0] - shifts[0, 1]) * dx)
    )
    assert seen.mean() > 0.3
    np.testing.assert_allclose(found[seen], expected[seen], atol=2e-3)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    method=st.sampled_from(METHODS),
    axes=st.sampled_from(["specimen", "surface"]),
    warped=st.booleans(),
    voxel=st.sampled_from([5.0, 10.0, 17.0, (25.0, 10.0, 8.0)]),
    crop=st.sampled_from(["valid", "all"]),
    slab=st.integers(1, 9),
)
def test_slabs_put_together_equal_the_whole_bit_for_bit(seed, method, axes, warped, voxel, crop, slab):
    rng = np.random.default_rng(seed)
    n, frame = 14, (19, 23)
    geometry = replace(LEANING, slice_z_nm=tuple(np.cumsum(rng.uniform(3, 20, n))))
    stack, bad = noise((n, *frame), "uint16", seed), rng.choice(n, 3, replace=False)
    warp = wavy(n, frame, 0.8, seed) if warped else None
    grid = make_grid(geometry, stack.shape, drifting(n, seed), voxel, crop, bad, warp=warp, axes=axes)
    whole = resample_slab(stack, grid, 0, 0, grid.shape[0], method=method, fill=7)
    for z0 in range(0, grid.shape[0], slab):
        z1 = min(z0 + slab, grid.shape[0])
        a, b = source_range(grid, z0, z1, method)
        np.testing.assert_array_equal(
            resample_slab(stack[a:b].copy(), grid, a, z0, z1, method=method, fill=7), whole[z0:z1]
        )
    np.testing.assert_array_equal(resample_stack(stack, grid, method=method, fill=7, workers=2), whole)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), axes=st.sampled_from(["specimen", "surface"]), size=st.floats(0.1, 1.0))
def test_no_voxel_is_made_from_outside_the_frame(seed, axes, size):
    """Brute force: each valid voxel lies inside the frame of both usable slices around it, and few others do."""
    n, frame = 9, (26, 24)
    rng = np.random.default_rng(seed)
    warp, bad = wavy(n, frame, size, seed), [int(rng.integers(1, n))]
    grid = make_grid(LEANING, (n, *frame), drifting(n, seed), 7.0, "all", bad, warp=warp, axes=axes)
    seen = grid.valid_mask(0, grid.shape[0])
    z, row = grid.places(0, grid.shape[0])
    col = np.arange(grid.shape[2]) * grid.col_scale
    at = grid.z_index[grid.good]
    inside = np.ones(grid.shape, bool)
    for side in ("left", "right"):
        near = np.searchsorted(at, z - 1e-6 if side == "left" else z + 1e-6, side=side) - (side == "right")
        k = grid.good[np.clip(near, 0, len(at) - 1)][..., None]
        r, c = np.broadcast_arrays(grid.row_start[k] + row[..., None], grid.col_start[k] + col)
        shift = warp(np.broadcast_to(k, r.shape), r, c)
        for place, size_px in ((r + shift[..., 0], frame[0]), (c + shift[..., 1], frame[1])):
            inside &= (place > -1e-4) & (place < size_px - 1 + 1e-4)
    if axes == "surface":
        inside &= ((row >= -1e-4) & (row <= grid.tilt.row_extent + 1e-4))[..., None]
        inside &= ((z >= at[0] - 1e-4) & (z <= at[-1] + 1e-4))[..., None]
    assert not np.any(seen & ~inside)
    assert (inside & ~seen).sum() <= 0.03 * inside.sum()


def test_nothing_of_slices_that_a_slab_does_not_need_is_read():
    stack = noise((60, 20, 20))
    grid = make_grid(replace(LEANING, sample_tilt_deg=45.0), stack.shape, voxel_nm=8.0, axes="surface")
    for z0 in range(0, grid.shape[0], 8):
        z1 = min(z0 + 8, grid.shape[0])
        a, b = source_range(grid, z0, z1, "linear")
        z, _ = grid.places(z0, z1)
        shown = z[np.ptp(grid.valid_spans(z0, z1), axis=-1) > 0]
        assert a >= np.floor(shown.min() * 0.8) - 1
        assert b <= np.ceil(shown.max() * 0.8) + 2


def test_surface_axes_lay_the_surface_flat():
    """A surface inclined by 90 - column angle in the specimen (sample flat under the electron beam) becomes a plane."""
    geometry = Geometry((6.0, 6.0, 6.0), 52.0, tilt_corrected=True, tracked=True, sample_tilt_deg=0.0)
    n, frame = 80, (110, 12)
    z, y = np.arange(n)[:, None] * 6.0, np.arange(frame[0]) * 6.0
    depth = y * np.cos(np.radians(52)) + z * np.sin(np.radians(52)) - 300
    stack = np.broadcast_to(np.where(depth < 0, 0, 200)[..., None], (n, *frame)).astype(np.uint8)
    volume, seen = resample(stack, geometry, axes="surface", fill=77, return_valid=True)
    np.testing.assert_array_equal(volume[~seen], 77)
    deep = volume > 100
    rows = [np.flatnonzero(deep[z, :, 5] & seen[z, :, 5]) for z in range(len(volume))]
    above = [np.flatnonzero(~deep[z, :, 5] & seen[z, :, 5]) for z in range(len(volume))]
    first = [r[0] for r, a in zip(rows, above, strict=True) if len(r) and len(a)]
    assert len(first) > 40
    assert np.ptp(first) <= 1


def test_surface_axes_without_a_tilt_to_turn_are_the_specimen_axes():
    stack = noise((8, 20, 22), "uint8")
    upright = replace(LEANING, sample_tilt_deg=52.0)
    np.testing.assert_array_equal(resample(stack, upright, axes="surface"), resample(stack, upright))


def chirp(row, col):
    """Siemens star: the nearer to the middle, the finer."""
    return 0.5 + 0.5 * np.cos(36 * np.arctan2(row, col))


def test_one_interpolation_keeps_noise_and_contrast_that_three_lose():
    """Shift, then stretch, then unwarp, against all in one: noise keeps its strength and the star its contrast."""
    n, frame = 3, (160, 160)
    geometry = Geometry((10.0, 10.0, 10.0), 60.0, tracked=True)
    shifts = np.array([[0.0, 0.0], [0.4, 0.3], [-0.3, 0.45]])
    warp = Warp.from_affine(affine_matrices(rotation_deg=[0.3, -0.4, 0.5], shift_px=[[0.3, 0.2]] * n), frame)
    rows, cols = np.meshgrid(*(np.arange(s, dtype=float) for s in frame), indexing="ij")
    middle = 79.5

    def chained(stack, method):
        still = np.zeros((n, 2))
        out = resample(stack, CUBE, still, warp=warp, method=method, crop="all")
        out = resample(out, CUBE, shifts, method=method, crop="all")
        return resample(out, geometry, np.zeros((n, 2)), method=method, crop="all")

    star = np.stack([chirp(q[..., 0] - shifts[k, 0] - middle, q[..., 1] - shifts[k, 1] - middle)
                     for k in range(n) for q in [warp.undo(k, rows, cols)]]).astype(np.float32)  # fmt: skip
    white = np.random.default_rng(0).normal(size=(n, *frame)).astype(np.float32)
    for method in ("linear", "cubic"):
        once = {
            name: resample(s, geometry, shifts, warp=warp, method=method) for name, s in (("n", white), ("s", star))
        }
        thrice = {name: chained(s, method) for name, s in (("n", white), ("s", star))}
        core = (slice(None), slice(40, -40), slice(40, -40))
        kept, lost = once["n"][core].std(), thrice["n"][core].std()
        single = resample(white, geometry, shifts, method=method)[core].std()
        assert kept == pytest.approx(single, rel=0.06)  # the warp costs no noise of its own
        assert lost < (0.75 if method == "linear" else 0.93) * kept
        assert thrice["s"][core].std() < 0.99 * once["s"][core].std()


@pytest.mark.parametrize("axes", ["specimen", "surface"])
def test_shrinking_averages_instead_of_aliasing(axes):
    stack = noise((48, 60, 66)) - 100
    geometry = replace(CUBE, column_angle_deg=80.0, tilt_corrected=True, tracked=True, sample_tilt_deg=50.0)
    warp = Warp.from_affine(affine_matrices(rotation_deg=np.full(48, 2.0)), (60, 66))
    volume, seen = resample(stack, geometry, None, 30.0, method="cubic", warp=warp, axes=axes, return_valid=True)
    assert volume[seen].var() < 2.5 / 27 * stack.var()
    picked, _ = resample(stack, geometry, None, 30.0, method="nearest", warp=warp, axes=axes, return_valid=True)
    assert picked[seen].var() > 0.8 * stack.var()


def test_region_of_slice_zero_is_cut_out_exactly():
    stack = noise((5, 30, 40), "uint16")
    shifts = np.zeros((5, 2))
    shifts[1:] = [3.0, -2.0]
    volume = resample(stack, CUBE, shifts, roi=(4, 20, 5, 33))
    assert volume.shape == (5, 16, 28)
    np.testing.assert_array_equal(volume[0], stack[0, 4:20, 5:33])
    np.testing.assert_array_equal(volume[3], stack[3, 7:23, 3:31])
    with pytest.raises(InputError, match="holds nothing"):
        resample(stack, CUBE, shifts, roi=(50, 60, 0, 5))
    with pytest.raises(InputError, match="y0 < y1"):
        resample(stack, CUBE, shifts, roi=(5, 5, 0, 5))


def test_a_stack_brings_its_own_geometry_and_bad_slices():
    stack = noise((6, 20, 20), "uint8")
    known = Calibration(
        pixel_nm=Sourced((5.0, 5.0)),
        slice_nm=Sourced(10.0),
        column_angle_deg=Sourced(52.0),
        tilt_corrected=Sourced(False),
        tracked=Sourced(True),
    )
    source = SimpleNamespace(
        spec=SimpleNamespace(shape=stack.shape, dtype="uint8"), read=lambda a, b: stack[a:b], calibration=known
    )
    geometry = Geometry((10.0, 5.0, 5.0), 52.0, tracked=True)
    np.testing.assert_array_equal(resample(source), resample(stack, geometry))
    source.bad_slices = [3]
    expected = resample(stack, geometry, SimpleNamespace(shifts_px=np.zeros((6, 2)), bad_slices=[3]))
    np.testing.assert_array_equal(resample(source), expected)
    source.calibration = replace(known, tilt_corrected=Sourced(None))
    with pytest.raises(CalibrationError, match="tilt"):
        resample(source)
    with pytest.raises(InputError, match="geometry="):
        resample(stack)


def test_gaps_and_slices_on_one_place():
    z = [0.0, 10.0, 10.0 + 1e-5, 20.0, 400.0, 410.0]
    stack = np.arange(6, dtype=np.float32)[:, None, None] * np.ones((6, 8, 8), np.float32)
    geometry = Geometry((10.0, 10.0, 10.0), slice_z_nm=z)
    for method in METHODS:
        volume = resample(stack, geometry, method=method, voxel_nm=10.0)
        assert volume.shape[0] == 42
        assert np.all(np.isfinite(volume))
        assert -1 < volume.min() <= volume.max() < 6


def test_drift_beyond_the_frame_keeps_each_slice_at_its_place():
    stack = noise((3, 12, 12), "uint8")
    shifts = np.array([[0.0, 0.0], [0.0, -30.0], [0.0, -60.0]])
    volume, seen = resample(stack, CUBE, shifts, return_valid=True)
    assert volume.shape == (3, 12, 72)
    for k in range(3):
        np.testing.assert_array_equal(volume[k, :, 30 * k : 30 * k + 12], stack[k])
        assert seen[k].sum() == 144
        assert not volume[k][~seen[k]].any()


@pytest.mark.parametrize("shape", [(1, 9, 9), (4, 1, 7), (4, 7, 1), (3, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("axes", ["specimen", "surface"])
def test_single_slices_and_frames_of_one_pixel(shape, axes):
    stack = noise(shape, "uint8")
    geometry = replace(CUBE, tracked=True, tilt_corrected=True, sample_tilt_deg=90.0)
    for warp in (None, Warp.identity(shape[0], shape[1:])):
        np.testing.assert_array_equal(resample(stack, geometry, warp=warp, axes=axes), stack)


def test_what_cannot_be_done_is_said():
    stack = noise((4, 10, 12), "uint8")
    with pytest.raises(InputError, match=r"made for 3 slices of 10 x 12 pixels, not for 4 slices"):
        resample(stack, CUBE, warp=Warp.identity(3, (10, 12)))
    with pytest.raises(InputError, match="sample_tilt_deg"):
        resample(stack, CUBE, axes="surface")
    with pytest.raises(InputError, match="specimen or surface"):
        resample(stack, CUBE, axes="sample")
    with pytest.raises(InputError, match="does not fit uint8"):
        resample(stack, CUBE, fill=-1)
    with pytest.raises(InputError, match="does not fit uint8"):
        resample(stack, CUBE, fill=np.nan)
    grid = make_grid(LEANING, stack.shape, axes="surface")
    with pytest.raises(InputError, match="need source slices"):
        resample_slab(stack[:1], grid, 0, 0, grid.shape[0])
