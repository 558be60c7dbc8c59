"""The geometry against the projection written out in vectors, the reference table, and brute force."""

from math import atan, cos, degrees, radians, sin, tan

import numpy as np
import pytest

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
