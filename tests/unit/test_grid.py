"""The target grid against brute force over voxels and slices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.errors import InputError


def seen(grid, k, j, i):
    """Whether slice k shows target row j and column i."""
    row = grid.row_start[k] + j * grid.row_scale
    col = grid.col_start[k] + i * grid.col_scale
    return -1e-5 <= row <= grid.source_shape[0] - 1 + 1e-5 and -1e-5 <= col <= grid.source_shape[1] - 1 + 1e-5


@st.composite
def grids(draw, crop=None):
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    n = draw(st.integers(2, 14))
    z = np.cumsum(rng.uniform(2, 25, n)) if draw(st.booleans()) else None
    geometry = Geometry((10.0, 5.0, 6.0), draw(st.sampled_from([52.0, 70.0, 90.0])), tracked=True, slice_z_nm=z)
    whole = draw(st.booleans())
    shifts = np.cumsum(rng.normal(scale=1.5, size=(n, 2)), axis=0)
    shifts = shifts.round() if whole else shifts
    bad = rng.choice(n, draw(st.integers(0, n - 1)), replace=False)
    voxel = draw(st.sampled_from([None, 4.0, 13.0, (20.0, 5.0, 6.0)]))
    crop = crop or draw(st.sampled_from(["all", "auto"]))
    return make_grid(geometry, (n, 30, 34), shifts, voxel, crop=crop, bad_slices=bad.tolist())


@settings(derandomize=True, max_examples=60, deadline=None)
@given(grid=grids(), taps=st.integers(1, 4))
def test_boxes_and_ranges_against_brute_force(grid, taps):
    good = grid.good
    boxes = grid.valid_boxes(0, grid.shape[0])
    for z in range(grid.shape[0]):
        below = [k for k in good if grid.z_index[k] <= z + 1e-6]
        above = [k for k in good if grid.z_index[k] >= z - 1e-6]
        around = {(below or above[:1])[-1], (above or below[-1:])[0]}
        y0, y1, x0, x1 = boxes[z]
        for j in range(grid.shape[1]):
            assert (y0 <= j < y1) == all(seen(grid, k, j, -grid.col_start[k] / grid.col_scale) for k in around)
        for i in range(grid.shape[2]):
            assert (x0 <= i < x1) == all(seen(grid, k, -grid.row_start[k] / grid.row_scale, i) for k in around)
        a, b = grid.source_range(z, z + 1, taps)
        wanted = [k for k in good if grid.z_index[k] <= z][-taps:] + [k for k in good if grid.z_index[k] >= z][:taps]
        assert a <= min(wanted)
        assert max(wanted) < b
        assert (grid.usable[a], grid.usable[b - 1]) == (True, True)
    low, high = sorted((0, grid.shape[0] // 2))
    a, b = grid.source_range(low, high + 1, taps)
    assert (a, b) == (
        min(grid.source_range(z, z + 1, taps)[0] for z in range(low, high + 1)),
        max(grid.source_range(z, z + 1, taps)[1] for z in range(low, high + 1)),
    )


@settings(derandomize=True, max_examples=40, deadline=None)
@given(grid=grids(crop="valid"))
def test_valid_crop_is_shown_by_every_usable_slice_and_could_not_be_larger(grid):
    nz, ny, nx = grid.shape
    np.testing.assert_array_equal(grid.valid_boxes(0, nz), np.tile([0, ny, 0, nx], (nz, 1)))
    for j, i in [(0, 0), (ny - 1, nx - 1)]:
        assert all(seen(grid, k, j, i) for k in grid.good)
    assert not all(seen(grid, k, ny, 0) for k in grid.good)
    assert not all(seen(grid, k, 0, nx) for k in grid.good)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(grid=grids(crop="all"))
def test_whole_crop_loses_no_voxel_of_any_usable_slice(grid):
    ny, nx = grid.shape[1:]
    assert not any(seen(grid, k, -1, i) for k in grid.good for i in range(nx))
    assert not any(seen(grid, k, ny, i) for k in grid.good for i in range(nx))
    assert not any(seen(grid, k, j, -1) for k in grid.good for j in range(ny))
    assert not any(seen(grid, k, j, nx) for k in grid.good for j in range(ny))


def test_auto_crop_keeps_everything_when_the_common_part_is_small():
    geometry = Geometry((10.0, 10.0, 10.0))
    still, moving = np.zeros((5, 2)), np.linspace(0, 1, 5)[:, None] * [12.0, 0.0]
    assert make_grid(geometry, (5, 20, 20), still).shape == (5, 20, 20)
    assert make_grid(geometry, (5, 20, 20), moving).shape == (5, 32, 20)
    assert make_grid(geometry, (5, 20, 20), moving / 2).shape == (5, 14, 20)


def test_default_target_is_the_finest_true_spacing():
    assert make_grid(Geometry((10.0, 5.0, 5.0), 52.0), (3, 9, 9)).voxel_nm == (5.0, 5.0, 5.0)
    assert make_grid(Geometry((4.0, 5.0, 5.0), 52.0), (3, 9, 9)).voxel_nm == (4.0, 4.0, 4.0)


def test_a_bad_slice_does_not_set_the_extent():
    shifts = np.zeros((5, 2))
    shifts[2] = 15
    grid = make_grid(Geometry((10.0, 10.0, 10.0)), (5, 20, 20), shifts, bad_slices=[2])
    assert grid.shape == (5, 20, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shifts_px": np.zeros((4, 2))}, "each of 5 slices"),
        ({"shifts_px": np.full((5, 2), np.nan)}, "finite"),
        ({"bad_slices": range(5)}, "all 5 slices are marked bad"),
        ({"bad_slices": [5]}, r"bad slices \[5\] do not exist"),
        ({"bad_slices": [-1]}, r"bad slices \[-1\] do not exist"),
        ({"voxel_nm": 0.0}, "positive"),
        ({"voxel_nm": (1.0, 2.0)}, "one or three"),
        ({"crop": "some"}, "must be auto, valid or all"),
        ({"shifts_px": np.arange(10.0).reshape(5, 2) * 9, "crop": "valid"}, "crop=all"),
    ],
)
def test_grids_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        make_grid(Geometry((10.0, 10.0, 10.0)), (5, 20, 20), **arguments)
