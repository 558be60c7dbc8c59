"""The geometry against the projection written out in vectors, the reference table, and brute force."""

from math import atan, cos, degrees, radians, sin, tan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fibtomo.core.geometry import Geometry
from fibtomo.core.grid import make_grid
from fibtomo.errors import InputError

PROPERTIES = settings(derandomize=True, max_examples=150, deadline=None)

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


@st.composite
def acquisitions(draw, even=False):
    """A geometry of any kind and, perhaps, measured shifts."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n = draw(st.integers(1, 12))
    positions = None if even or draw(st.booleans()) else tuple(np.cumsum(rng.uniform(2, 25, n)))
    geometry = Geometry(
        voxel_nm=(draw(st.floats(1, 50)), draw(st.floats(1, 20)), draw(st.floats(1, 20))),
        column_angle_deg=draw(st.sampled_from([45.0, 52.0, 53.0, 54.0, 55.0, 58.0, 86.0])),
        tilt_corrected=draw(st.booleans()),
        tracked=draw(st.booleans()),
        overtilt_deg=draw(st.floats(-3, 4)),
        slice_z_nm=positions,
        face_tilt_deg=draw(st.one_of(st.none(), st.floats(0, 80))),
        sample_tilt_deg=draw(st.one_of(st.none(), st.floats(-20, 60))),
    )
    shifts = np.cumsum(rng.normal(scale=3, size=(n, 2)), axis=0) if not even and draw(st.booleans()) else None
    return geometry, shifts


triples = st.tuples(*[st.floats(-5e3, 5e3)] * 3)


@PROPERTIES
@given(acquisition=acquisitions(), point=triples)
def test_round_trip_from_specimen_to_stack_and_back(acquisition, point):
    geometry, shifts = acquisition
    there = geometry.to_stack(point, shifts)
    np.testing.assert_allclose(geometry.to_specimen(there, shifts), point, rtol=0, atol=1e-9)
    index = np.asarray(point) / 100
    back = geometry.to_specimen(index, shifts)
    np.testing.assert_allclose(geometry.to_stack(back, shifts), index, rtol=0, atol=1e-9)


@PROPERTIES
@given(acquisition=acquisitions(even=True), point=triples)
def test_forward_map_is_the_projection_by_vectors(acquisition, point):
    geometry, _ = acquisition
    dz, dy, dx = geometry.voxel_nm
    z, y, x = point
    k, row, column = geometry.to_stack(point)
    seen_column, seen_row = project(x, y, z, 90 - geometry.face_angle_deg, dy, geometry.tilt_corrected)
    followed = project(0, 0, z, 90 - geometry.face_angle_deg, dy, geometry.tilt_corrected)[1]
    assert (k, column) == pytest.approx((z / dz, seen_column * dy / dx))
    assert row == pytest.approx(seen_row - (followed if geometry.tracked else 0), abs=1e-9)


@PROPERTIES
@given(acquisition=acquisitions(even=True), index=triples)
def test_even_stack_is_one_affine_map_that_keeps_handedness(acquisition, index):
    geometry, _ = acquisition
    whole = geometry.stack_to_specimen()
    np.testing.assert_allclose(whole(index), geometry.to_specimen(index), rtol=1e-12, atol=1e-7)
    np.testing.assert_allclose(whole.inverse()(whole(index)), index, atol=1e-8)
    assert whole.volume_factor == pytest.approx(np.prod(geometry.true_voxel_nm))


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("tilt_corrected", [False, True])
@pytest.mark.parametrize("positions", [None, (0.0, 9.0, 22.0, 30.0, 43.0)])
def test_target_grid_reads_where_the_maps_say(tilt_corrected, tracked, positions):
    geometry = Geometry((10.0, 5.0, 6.0), 52.0, tilt_corrected, tracked, slice_z_nm=positions)
    drift = np.array([[0, 0], [0.4, -1], [1.3, 0.2], [-0.7, 2], [2, 1]]) + geometry.expected_shifts_px(5)
    for shifts in (None, drift):
        grid = make_grid(geometry, (5, 60, 50), shifts, voxel_nm=7.0, crop="all")
        origin = geometry.to_specimen([0.0, grid.row_start[0], grid.col_start[0]], shifts)
        for k in range(5):
            for j, i in [(0, 0), (13, 4), (grid.shape[1] - 1, grid.shape[2] - 1)]:
                place = origin + 7.0 * np.array([grid.z_index[k], j, i])
                row, column = grid.row_start[k] + j * grid.row_scale, grid.col_start[k] + i * grid.col_scale
                np.testing.assert_allclose(geometry.to_stack(place, shifts), [k, row, column], atol=1e-9)
                if shifts is None and positions is None:
                    np.testing.assert_allclose(geometry.stack_to_specimen()([k, row, column]), place, atol=1e-9)


def test_between_slices_the_drift_is_interpolated_and_beyond_the_stack_it_stands_still():
    geometry = Geometry((10.0, 5.0, 5.0), 52.0, slice_z_nm=(100.0, 110.0, 130.0))
    shifts = geometry.expected_shifts_px(3) + np.array([[0, 0], [4, 2], [4, 8]])
    at = geometry.to_stack([[5.0, 0, 0], [20.0, 0, 0], [45.0, 0, 0], [-10.0, 0, 0]], shifts)
    np.testing.assert_allclose(at[:, 0], [0.5, 1.5, 3.5, -1.0])
    np.testing.assert_allclose(at[:, 2], [1, 5, 8, 0])
    np.testing.assert_allclose(at[:, 1], [2, 4, 4, 0] - np.array([5, 20, 45, -10]) * geometry.shear_px_per_nm)


def test_vectors_of_the_reference():
    raw = Geometry((10.0, 5.0, 5.0), 52.0)
    top_edge = raw.to_stack([10_000.0, 0.0, 0.0])
    assert top_edge[1] == pytest.approx(-1231.3, abs=0.05)
    assert -top_edge[1] * 5.0 / 1000 == pytest.approx(6.157, abs=5e-4)
    assert 1000 * raw.screen_shift_nm_per_slice / 1000 == pytest.approx(6.157, abs=5e-4)
    assert 1000 * raw.wd_nm_per_slice / 1000 == pytest.approx(7.880, abs=5e-4)
    error = raw.magnification_error(1000, wd_nm=4e6)
    assert 100 * error == pytest.approx(0.197, abs=5e-4)
    assert error * 2048 == pytest.approx(4.0, abs=0.05)
    assert raw.refocus_slices(aperture_mrad=8.0) == pytest.approx(159, abs=0.5)
    assert raw.focus_slope == pytest.approx(0.78129, abs=5e-6)
    depth_um = 10.0
    assert raw.focus_slope * depth_um / raw.y_factor == pytest.approx(6.16, abs=5e-3)
    assert raw.parallax_nm_per_slice == pytest.approx(7.8129, abs=5e-5)
    assert 100 * (1 - 1 / raw.y_factor) == pytest.approx(21.2, abs=0.05)
    assert 100 * (raw.y_factor - 1) == pytest.approx(26.9, abs=0.05)


def test_surface_slopes_of_the_reference():
    """A surface normal to the ion beam (y = 0) climbs through slices whose shear has not been undone."""
    geometry = Geometry((10.0, 10.0, 10.0), 52.0)
    z = np.array([0.0, 1000.0])
    rows = geometry.to_stack(np.stack([z, 0 * z, 0 * z], axis=1))[:, 1]
    slope = -np.diff(rows)[0] * 10.0 / 1000
    assert degrees(atan(slope)) == pytest.approx(31.6, abs=0.05)
    assert degrees(atan(slope * geometry.y_factor)) == pytest.approx(38.0, abs=1e-9)
    wall = geometry.to_stack([[500.0, 0.0, 0.0], [500.0, 900.0, 0.0]])
    assert wall[0, 0] == wall[1, 0] == 50


def test_what_shines_through_flows_down_the_face_until_it_is_cut():
    geometry = Geometry((10.0, 5.0, 5.0), 52.0)
    gamma = radians(geometry.face_angle_deg)
    beam = np.array([cos(gamma), sin(gamma)])  # (z, y) of the electron beam
    buried = np.array([400.0, 1000.0])
    heights = []
    for k in range(3):
        behind = buried[0] - 10.0 * k
        heights.append((buried - beam * behind / beam[0])[1])
    np.testing.assert_allclose(np.diff(heights), geometry.parallax_nm_per_slice)
    assert heights[0] == pytest.approx(1000 - 400 / tan(radians(52)))


@pytest.mark.parametrize("overtilt", [0.0, 2.0])
@pytest.mark.parametrize("sample_tilt", [0.0, 17.0, 52.0, -10.0])
def test_surface_axes_measure_depth_along_the_inward_normal(sample_tilt, overtilt):
    geometry = Geometry((10.0, 5.0, 5.0), 52.0, overtilt_deg=overtilt, sample_tilt_deg=sample_tilt)
    gamma, phi = radians(38 - overtilt), radians(sample_tilt)
    along_face = np.array([cos(gamma), -sin(gamma)])  # on screen downwards, and upwards against the electron beam
    into_material = np.array([-sin(gamma), -cos(gamma)])
    inward = np.array([sin(phi), -cos(phi)])
    rng = np.random.default_rng(1)
    for z, y, x in rng.uniform(-1e3, 1e3, (20, 3)):
        lab = y * along_face + z * into_material
        new = geometry.surface_axes()([z, y, x])
        assert new[1] == pytest.approx(lab @ inward, abs=1e-9)
        assert new[2] == x
    assert geometry.surface_axes().volume_factor == pytest.approx(1)


def test_surface_axes_turn_nothing_where_the_surface_is_normal_to_the_face():
    point = [3.0, 4.0, 5.0]
    assert Geometry((1, 1, 1), 52.0).surface_axes()(point).tolist() == point
    for tilt, pre_tilt in [(52, 0), (16, -36)]:  # a plain stub, and a holder of 36 degrees that reads StageT = 16
        geometry = Geometry((1, 1, 1), 52.0, sample_tilt_deg=tilt - pre_tilt)
        np.testing.assert_allclose(geometry.surface_axes()(point), point)


def test_planar_polishing_has_depth_along_the_milling_advance():
    polish = Geometry((10.0, 5.0, 5.0), 90.0, sample_tilt_deg=0.0)
    np.testing.assert_allclose(polish.surface_axes()([7.0, 0.0, 0.0]), [0, 7, 0], atol=1e-12)


def test_measured_face_angle_replaces_column_and_overtilt():
    """Static EBSD: the stage turns the face to 70 degrees before it is imaged."""
    ebsd = Geometry((10.0, 1.0, 1.0), 52.0, overtilt_deg=2.0, tracked=True, face_tilt_deg=70.0)
    assert ebsd.true_voxel_nm == pytest.approx((10.0, 2.924, 1.0), abs=5e-4)
    assert ebsd.face_angle_deg == 70
    assert Geometry((10.0, 5.0, 5.0), 52.0, face_tilt_deg=38.0).y_factor == Geometry((10.0, 5.0, 5.0), 52.0).y_factor


def test_orthogonal_columns_spin_mill_and_broad_beam_show_the_face_as_it_is():
    for geometry in (Geometry((10.0, 5.0, 5.0), 90.0), Geometry((10.0, 5.0, 5.0), 52.0, face_tilt_deg=0.0)):
        assert geometry.true_voxel_nm == (10.0, 5.0, 5.0)
        assert geometry.shear_px_per_slice == geometry.focus_slope == geometry.parallax_nm_per_slice == 0
        assert geometry.wd_nm_per_slice == 10


def test_rocking_polish_takes_the_mean_of_its_incidences():
    """Faces cut at β − 6 and β + 6 degrees meet the beam, on average, at 38 − β."""
    geometry = Geometry((10.0, 5.0, 5.0), 52.0, overtilt_deg=np.mean([1.5 - 6, 1.5 + 6]))
    assert geometry.face_angle_deg == 36.5


def test_stage_stepped_back_leaves_slices_without_shear():
    geometry = Geometry((10.0, 5.0, 5.0), 52.0, tracked=True)
    np.testing.assert_array_equal(geometry.to_stack([1000.0, 0.0, 0.0]), [100, 0, 0])
    assert geometry.y_factor == pytest.approx(1.26902, abs=5e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voxel_nm": (10.0, 5.0, 0.0)}, "positive lengths"),
        ({"voxel_nm": (10.0, 5.0)}, "positive lengths"),
        (
            {"voxel_nm": (1.0, 1.0, 1.0), "column_angle_deg": 0.907571},
            r"between 20 and 90 degrees \(0.907571 rad is 52.00\)",
        ),
        ({"voxel_nm": (1.0, 1.0, 1.0), "column_angle_deg": 12.0}, "between 20 and 90 degrees$"),
        ({"voxel_nm": (1.0, 1.0, 1.0), "column_angle_deg": float("nan")}, "between 20 and 90"),
        ({"voxel_nm": (1.0, 1.0, 1.0), "face_tilt_deg": 85.0}, "between 0 and 80 degrees"),
        ({"voxel_nm": (1.0, 1.0, 1.0), "overtilt_deg": float("nan")}, "turn the face away"),
        ({"voxel_nm": (1.0, 1.0, 1.0), "sample_tilt_deg": 120.0}, "stage tilt minus pre-tilt"),
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


def test_maps_refuse_what_does_not_fit():
    geometry = Geometry((1.0, 1.0, 1.0), slice_z_nm=[0, 1, 2])
    with pytest.raises(InputError, match="3 slice positions were given for 4 slices"):
        geometry.to_stack([0.0, 0.0, 0.0], np.zeros((4, 2)))
    with pytest.raises(InputError, match="one finite"):
        geometry.to_stack([0.0, 0.0, 0.0], np.zeros(4))
    with pytest.raises(InputError, match="last axis"):
        geometry.to_specimen([0.0, 0.0])
    with pytest.raises(InputError, match="to_specimen"):
        geometry.stack_to_specimen()
    with pytest.raises(InputError, match="positive working distance"):
        geometry.magnification_error(10, wd_nm=0.0)
    with pytest.raises(InputError, match="positive angle"):
        geometry.refocus_slices(0.0)
