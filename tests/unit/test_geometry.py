"""The geometry against the projection written out in vectors, the reference table, and brute force."""

from math import atan, cos, degrees, radians, sin, tan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.errors import InputError
from fibtomo.ops.resample import resample

# column angle: y factor, rows per slice as scanned, rows per slice tilt-corrected (pixel 5 nm, slice 10 nm)
TABLE = {
    52: (1.26902, 1.2313, 1.5626),
    53: (1.25214, 1.2036, 1.5071),
    54: (1.23607, 1.1756, 1.4531),
    55: (1.22077, 1.1472, 1.4004),
    58: (1.17918, 1.0598, 1.2497),
    90: (1.0, 0.0, 0.0),
}


def project(x_nm, y_nm, z_nm, column_angle_deg, pixel_nm, tilt_corrected, overtilt_deg=0.0):
    """Column and row where a point of the face at z appears, from the directions of beam and face.

    The electron beam comes down the screen normal; the face's y axis (along the ion beam) and its normal lie in the
    plane of both beams, the normal tilted by gamma from the electron beam.
    """
    gamma = radians(90 - column_angle_deg - overtilt_deg)
    down_screen = np.array([0.0, 1.0, 0.0])
    along_ion_beam = np.array([0.0, cos(gamma), -sin(gamma)])
    into_material = np.array([0.0, -sin(gamma), -cos(gamma)])
    point = y_nm * along_ion_beam + z_nm * into_material
    scan = cos(gamma) if tilt_corrected else 1.0
    return x_nm / pixel_nm, float(point @ down_screen) / (pixel_nm * scan)


@pytest.mark.parametrize(("angle", "expected"), TABLE.items())
def test_reference_table(angle, expected):
    as_scanned = Geometry((10.0, 5.0, 5.0), angle)
    corrected = Geometry((10.0, 5.0, 5.0), angle, tilt_corrected=True)
    assert as_scanned.y_factor == pytest.approx(expected[0], abs=5e-6)
    assert as_scanned.y_factor == pytest.approx(1 / sin(radians(angle)), rel=1e-12)
    assert corrected.y_factor == 1
    assert as_scanned.shear_px_per_slice == pytest.approx(expected[1], abs=5e-5)
    assert corrected.shear_px_per_slice == pytest.approx(expected[2], abs=5e-5)
    assert Geometry((10.0, 5.0, 5.0), angle, tracked=True).shear_px_per_slice == 0


def test_a_thousand_slices_drift_by_1231_rows():
    shifts = Geometry((10.0, 5.0, 5.0), 52.0).expected_shifts_px(1001)
    assert shifts[-1, 0] == pytest.approx(-1231.3, abs=0.05)
    assert shifts[-1, 0] * 5.0 == pytest.approx(-6157, abs=1)
    assert not shifts[0].any()
    assert not shifts[:, 1].any()


def test_overtilt_of_two_degrees_changes_the_scale_by_sin54_over_sin52():
    ratio = Geometry((10.0, 5.0, 5.0), 52.0).y_factor / Geometry((10.0, 5.0, 5.0), 52.0, overtilt_deg=2.0).y_factor
    assert ratio == pytest.approx(1.0267, abs=5e-5)
    assert ratio == pytest.approx(sin(radians(54)) / sin(radians(52)), rel=1e-12)


@pytest.mark.parametrize("tilt_corrected", [False, True])
@pytest.mark.parametrize("angle", [52.0, 54.0, 70.0, 90.0])
def test_round_trip_from_specimen_to_slice_and_back(angle, tilt_corrected):
    geometry = Geometry((12.0, 4.0, 4.0), angle, tilt_corrected, overtilt_deg=0.0)
    shifts = geometry.expected_shifts_px(30)
    rng = np.random.default_rng(0)
    for k in rng.integers(0, 30, 50):
        x, y = rng.uniform(-5e3, 5e3, 2)
        col, row = project(x, y, 12.0 * k, angle, 4.0, tilt_corrected)
        assert (col - shifts[k, 1]) * 4.0 == pytest.approx(x, abs=1e-9)
        assert (row - shifts[k, 0]) * geometry.true_voxel_nm[1] == pytest.approx(y, abs=1e-9)


@pytest.mark.parametrize("tilt_corrected", [False, True])
def test_grid_reads_each_slice_where_the_projection_puts_the_voxel(tilt_corrected):
    geometry = Geometry((10.0, 5.0, 5.0), 52.0, tilt_corrected, slice_z_nm=[0.0, 9.0, 22.0, 30.0, 43.0])
    grid = make_grid(geometry, (5, 60, 50), voxel_nm=7.0, crop="all")
    for k, z_nm in enumerate(geometry.z_nm(5)):
        assert grid.z_index[k] * 7.0 == pytest.approx(z_nm)
        for j in (0, 13, grid.shape[1] - 1):
            _, row = project(0, j * 7.0, z_nm, 52.0, 5.0, tilt_corrected)
            _, origin = project(0, 0, 0, 52.0, 5.0, tilt_corrected)
            start = grid.row_start[0]
            assert grid.row_start[k] + j * grid.row_scale == pytest.approx(start + row - origin, abs=1e-9)


@pytest.mark.parametrize("theta", [52.0, 54.0])
def test_horizontal_surface_appears_inclined_by_the_complement_of_the_column_angle(theta):
    """The end-to-end test of the reference: a surface flat under the electron beam, reconstructed."""
    geometry = Geometry((10.0, 5.0, 5.0), theta)
    n, rows = 40, 160
    surface_row = 100.0  # a horizontal surface stays at one height of the fixed screen
    stack = np.zeros((n, rows, 8), np.float32)
    stack[:, int(surface_row) :] = 1
    volume = resample(stack, geometry, voxel_nm=5.0, crop="all", fill=np.nan, method="linear")
    heights = []
    for plane in volume:
        column = plane[:, 4]
        edge = np.flatnonzero((column[:-1] < 0.5) & (column[1:] >= 0.5))
        heights.append(edge[0] + (0.5 - column[edge[0]]) / (column[edge[0] + 1] - column[edge[0]]))
    slope = degrees(atan(np.polyfit(np.arange(len(heights)), heights, 1)[0]))
    assert slope == pytest.approx(90 - theta, abs=0.2)


def test_surface_slopes_of_the_reference():
    geometry = Geometry((10.0, 10.0, 10.0), 52.0)
    rows_per_pixel_of_z = geometry.shear_px_per_slice
    assert degrees(atan(rows_per_pixel_of_z)) == pytest.approx(31.6, abs=0.05)
    assert degrees(atan(rows_per_pixel_of_z * geometry.y_factor)) == pytest.approx(38.0, abs=1e-9)
    assert rows_per_pixel_of_z * geometry.y_factor == pytest.approx(tan(radians(38)), rel=1e-12)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voxel_nm": (10.0, 5.0, 0.0)}, "positive lengths"),
        ({"voxel_nm": (10.0, 5.0)}, "positive lengths"),
        ({"voxel_nm": (1.0, 1.0, 1.0), "column_angle_deg": 0.907571}, "between 20 and 90"),
        ({"voxel_nm": (1.0, 1.0, 1.0), "column_angle_deg": 89.0, "overtilt_deg": 3.0}, "turn the face away"),
        ({"voxel_nm": (1.0, 1.0, 1.0), "slice_z_nm": [0.0, 2.0, 2.0]}, "strictly ascending"),
    ],
)
def test_geometries_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Geometry(**arguments)


def test_slice_positions_must_fit_the_stack():
    with pytest.raises(InputError, match="3 slice positions were given for 4 slices"):
        Geometry((1.0, 1.0, 1.0), slice_z_nm=[0, 1, 2]).z_nm(4)
