"""Specimens against closed forms."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from fibtomo.errors import InputError
from fibtomo.phantom import describe, make_specimen
from fibtomo.phantom.capped import Capped
from fibtomo.phantom.catalogue import KINDS
from fibtomo.phantom.packing import InclinedColumns, Particles, Polycrystal
from fibtomo.phantom.specimens import Layered, NanoporousMetal, Tpms


def grid(length, step):
    axis = np.arange(step / 2, length, step)
    return axis[:, None, None], axis[:, None], axis


def periodic_euler(mask):
    """Euler number of the union of closed voxels on a torus: vertices - edges + faces - cubes."""

    def joined(axes):
        out = mask
        for axis in axes:
            out = out | np.roll(out, 1, axis)
        return int(out.sum())

    edges = joined((0, 1)) + joined((0, 2)) + joined((1, 2))
    faces = joined((0,)) + joined((1,)) + joined((2,))
    return joined((0, 1, 2)) - edges + faces - int(mask.sum())


@pytest.mark.parametrize("fraction", [0.25, 0.4, 0.6])
@pytest.mark.parametrize("seed", [0, 1])
def test_nanoporous_metal_has_the_requested_fraction(fraction, seed):
    metal = NanoporousMetal(wavelength_nm=60, solid_fraction=fraction, seed=seed)
    assert metal.phase(*grid(900, 10)).mean() == pytest.approx(fraction, abs=0.012)


def test_nanoporous_metal_has_the_surface_of_a_gaussian_field():
    metal = NanoporousMetal(wavelength_nm=60, solid_fraction=0.4, seed=3)
    phase = metal.phase(*grid(600, 4))
    crossings = np.mean([np.abs(np.diff(phase.astype(int), axis=a)).mean() for a in range(3)]) / 4
    assert 2 * crossings == pytest.approx(metal.expected()["surface_density"], rel=0.04)


def test_fast_and_general_sampling_agree():
    metal = NanoporousMetal(seed=5)
    z, y, x = np.ogrid[0:30:10.0, 0:70:7.0, 0:90:9.0]
    fast = metal.level(z, y, x)
    points = [a.ravel()[::-1] for a in np.broadcast_arrays(z, y, x)]
    shuffled = np.random.default_rng(0).permutation(fast.size)
    general = metal.level(*(p[shuffled] for p in points))
    assert np.abs(fast.ravel()[::-1][shuffled] - general).max() < 1e-12
    assert metal.level(1.0, 2.0, 3.0).shape == ()


@pytest.mark.parametrize("surface", ["P", "gyroid", "diamond"])
def test_tpms_fraction_area_and_euler_number(surface):
    from skimage.measure import marching_cubes, mesh_surface_area

    n, period = 48, 96.0
    tpms = Tpms(surface=surface, period_nm=period)
    axis = np.arange(n + 1) * period / n + 0.37
    level = tpms.level(axis[:, None, None], axis[:, None], axis)
    vertices, faces, _, _ = marching_cubes(level, 0.0, spacing=(period / n,) * 3)
    expected = tpms.expected()
    assert mesh_surface_area(vertices, faces) == pytest.approx(expected["surface_density"] * period**3, rel=0.005)
    mask = level[:-1, :-1, :-1] > 0
    assert mask.mean() == pytest.approx(0.5, abs=0.002)
    assert periodic_euler(mask) == round(expected["euler_density"] * period**3)


@pytest.mark.parametrize(("surface", "fraction"), [("P", 0.585), ("gyroid", 0.596), ("diamond", 0.621)])
def test_tpms_level_sets_the_fraction(surface, fraction):
    assert Tpms(surface=surface, period_nm=100, cut=0.3).phase(*grid(100, 2)).mean() == pytest.approx(
        fraction, abs=0.004
    )


def test_lamellae_have_their_thickness_and_dip():
    layered = Layered(thickness_nm=(20, 30, 50), inclination_deg=30, azimuth_deg=0)
    y = np.arange(0, 4000, 0.5)
    share = np.bincount(layered.phase(0.0, y, 0.0), minlength=3) / y.size
    assert share == pytest.approx([0.2, 0.3, 0.5], abs=0.01)
    moved = layered.phase(100.0, y - 100 * np.tan(np.radians(30)), 0.0)
    assert (moved == layered.phase(0.0, y, 0.0)).mean() > 0.999


def test_particles_fill_their_fraction_without_overlap():
    particles = Particles(greys=(0.2, 0.8), radius_nm=100, fraction=0.3, box_nm=900, seed=2)
    assert particles.phase(*grid(900, 10)).mean() == pytest.approx(0.3, abs=0.003)
    cells, radii = particles._balls
    separation = np.abs(cells.centres[:, None] - cells.centres[None])
    separation = np.linalg.norm(np.minimum(separation, 900 - separation), axis=-1)
    np.fill_diagonal(separation, np.inf)
    assert (separation - radii[:, None] - radii[None]).min() >= 0
    with pytest.raises(InputError, match="dense"):
        Particles(greys=(0.2, 0.8), radius_nm=100, spread=0, fraction=0.4, box_nm=900).phase(0.0, 0.0, 0.0)


def test_particles_in_a_matrix_keep_its_phases():
    matrix = NanoporousMetal(wavelength_nm=200)
    both = Particles(greys=(0.2, 0.5, 0.8), radius_nm=120, matrix=matrix)
    axes = grid(400, 10)
    phase, inside = both.phase(*axes), both.depth_nm(*axes) > 0
    assert (phase[inside] == 2).all()
    assert np.array_equal(phase[~inside], matrix.phase(*axes)[~inside])
    assert np.array_equal(both.level(*axes) > 0, phase > 0)


def test_columns_lean():
    columns = InclinedColumns(lean_y_deg=5, lean_x_deg=20, fraction=0.3)
    _, y, x = grid(1500, 5)
    here, deeper = (
        columns.phase(0.0, y, x),
        columns.phase(200.0, y + 200 * np.tan(np.radians(5)), x + 200 * np.tan(np.radians(20))),
    )
    assert (here == deeper).mean() > 0.9999
    assert here.mean() == pytest.approx(0.3, abs=0.05)


def test_grains_are_the_nearest_seeds():
    crystal = Polycrystal(grain_nm=120, seed=4)
    points = np.random.default_rng(0).uniform(-3000, 3000, (4000, 3))
    cells, classes = crystal._grains
    nearest = cKDTree(cells.centres, boxsize=cells.box).query(np.mod(points, cells.box))[1]
    assert np.array_equal(crystal.grain(*points.T), nearest)
    assert np.array_equal(crystal.phase(*points.T), classes[nearest])


def test_cap_lies_above_the_surface_and_carries_marks():
    body = NanoporousMetal()
    cap = Capped(below=body, surface_nm=100, mark_spacing_nm=200, mark_width_nm=40, mark_depth_nm=30, mark_slope=0.5)
    y, x = np.arange(0, 200.0)[:, None], np.arange(0, 400.0)
    phase = cap.phase(0.0, y, x)
    assert np.array_equal(phase[100:], body.phase(0.0, y[100:], x))
    assert (phase[70:100] == 2).all()
    assert np.flatnonzero(phase[0] == 3).tolist() == [*range(40), *range(200, 240)]
    assert np.flatnonzero(cap.phase(60.0, 0.0, x) == 3).tolist() == [*range(40), *range(230, 270)]
    assert cap.greys == (*body.greys, 0.95, 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_description_rebuilds_every_kind(kind):
    specimen = make_specimen(kind)
    assert make_specimen(**describe(specimen)) == specimen


def test_nested_description():
    nested = Capped(below=Particles(greys=(0.2, 0.5, 0.8), matrix=NanoporousMetal(seed=7)), surface_nm=50)
    assert make_specimen(**describe(nested)) == nested


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("sponge", {}, "does not exist"),
        ("tpms", {"size": 3}, "'size' does not exist"),
        ("tpms", {"surface": "X"}, "P, gyroid or diamond"),
        ("tpms", {"period_nm": 0}, "above 0"),
        ("nanoporous_metal", {"solid_fraction": 1.2}, "between 0 and 1"),
        ("nanoporous_metal", {"greys": [0.2, 1.4]}, "between 0 and 1"),
        ("layered", {"thickness_nm": [10.0]}, "as many greys"),
        ("polycrystal", {"grain_nm": float("nan")}, "finite"),
    ],
)
def test_wrong_parameters_are_named(kind, values, message):
    with pytest.raises(InputError, match=message):
        make_specimen(kind, **values)
