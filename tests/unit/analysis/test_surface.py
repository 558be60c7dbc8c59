import numpy as np
import pytest
import trimesh

from fibtomo.core.mesh import Mesh
from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError
from fibtomo.ops.cube_table import triangle_table
from fibtomo.ops.surface import extract_surface

AREA = {"P": 2.35257, "gyroid": 3.09165, "diamond": 3.83802}


def closed(mesh):
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    return solid.is_watertight and solid.is_winding_consistent and solid.volume > 0


@pytest.mark.parametrize(("factor", "voxel"), [(1, (1.0, 1.0, 1.0)), (2, (1.0, 1.0, 1.0)), (1, (2.0, 1.0, 1.0))])
def test_sphere_is_closed_and_has_its_area_volume_and_place(ball, factor, voxel):
    distance = ball(20.0, voxel, 1)
    labels = (distance > 0).astype(np.uint8)
    mesh = extract_surface(labels, voxel, bin_factor=factor)
    assert closed(mesh)
    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).euler_number == 2
    assert mesh.area_nm2 == pytest.approx(4 * np.pi * 400, rel=0.015)
    assert mesh.volume_nm3 == pytest.approx(4 / 3 * np.pi * 8000, rel=0.02)
    centre = np.array(
        [
            np.average(np.arange(n), weights=labels.sum(axis=a))
            for n, a in zip(labels.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
        ]
    )
    middle = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).center_mass
    assert np.allclose(middle, (centre * voxel)[::-1], atol=0.1)


def test_grey_surface_of_a_sphere_is_nearly_exact(ball):
    mesh = extract_surface(ball(20.0, seed=2), 1.0, level=0.0)
    assert closed(mesh)
    assert mesh.area_nm2 == pytest.approx(4 * np.pi * 400, rel=0.002)


@pytest.mark.parametrize("kind", AREA)
def test_triply_periodic_surfaces_have_their_area(tpms, kind):
    n = 64
    field = tpms(kind, n).astype(np.float32)
    mesh = extract_surface(field, 1.0 / n, level=0.0)
    assert closed(mesh)
    inner = mesh.vertices[mesh.faces].mean(axis=1)
    free = np.all((inner > 0) & (inner < 1), axis=1)
    area = Mesh(mesh.vertices, mesh.faces[free]).area_nm2
    assert area == pytest.approx(AREA[kind], rel=0.005)


def test_surface_is_closed_at_the_border_and_at_outside(gaussian_field):
    labels = (gaussian_field((22, 40, 30), 2.0, 0) > 0).astype(np.uint8)
    labels[:, :6] = OUTSIDE
    mesh = extract_surface(labels, 3.0)
    assert closed(mesh)
    assert mesh.vertices.min() >= -1.51
    assert mesh.vertices[:, 2].max() <= 21.5 * 3 + 0.01
    assert mesh.vertices[:, 1].min() > 4.5 * 3
    full = extract_surface(np.ones((4, 5, 6), dtype=np.uint8), 1.0)
    assert full.vertices.min(axis=0).tolist() == [-0.5, -0.5, -0.5]
    assert full.vertices.max(axis=0).tolist() == [5.5, 4.5, 3.5]
    chamfers = 4 * (4 + 5 + 6) / 8
    assert full.volume_nm3 == pytest.approx(4 * 5 * 6 - chamfers, abs=1.0)


def test_every_noise_configuration_stays_a_closed_manifold():
    noise = np.random.default_rng(0).random((14, 15, 16)).astype(np.float32)
    for level in (0.2, 0.5, 0.8):
        assert closed(extract_surface(noise, 1.0, level=level))
    count, _ = triangle_table()
    assert count[0] == count[255] == 0
    assert count[1:255].min() >= 1


@pytest.mark.parametrize(
    "params", [{}, {"bin_factor": 2}, {"bin_factor": 3, "smooth_px": 2.0}, {"smooth_px": 0.0}, {"phase": 0}]
)
def test_stage_gives_the_same_mesh_in_every_cut(gaussian_field, run_stage, params):
    phases = (gaussian_field((23, 34, 38), 2.0, 1) > 0.2).astype(np.uint8)
    phases[:, :4] = phases[15:, 28:] = OUTSIDE
    _, whole = run_stage("mesh.surface", phases, 23, **params)
    assert closed(Mesh.from_table(whole))
    assert whole["phase"] == params.get("phase", 1)
    for thickness in (16, 7, 2, 1):
        _, part = run_stage("mesh.surface", phases, thickness, **params)
        assert np.array_equal(part["vertices"], whole["vertices"])
        assert np.array_equal(part["faces"], whole["faces"])
    direct = extract_surface(phases, (2.0, 1.0, 1.0), **params)
    assert np.array_equal(direct.vertices, whole["vertices"])


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".obj"])
def test_files_are_read_back_by_another_library(ball, tmp_path, suffix):
    mesh = extract_surface((ball(6.0) > 0).astype(np.uint8), 2.5)
    path = tmp_path / f"surface{suffix}"
    mesh.save(path)
    back = trimesh.load(path)
    assert len(back.faces) == len(mesh.faces)
    assert back.is_watertight
    assert back.area == pytest.approx(mesh.area_nm2, rel=1e-5)
    assert back.volume == pytest.approx(mesh.volume_nm3, rel=1e-4)
    assert list(tmp_path.iterdir()) == [path]


def test_vtk_file_holds_points_and_polygons(ball, tmp_path):
    mesh = extract_surface((ball(5.0) > 0).astype(np.uint8), 1.0)
    mesh.save(tmp_path / "surface.vtk")
    data = (tmp_path / "surface.vtk").read_bytes()
    at = data.index(b" float\n") + 7
    points = np.frombuffer(data, dtype=">f4", count=mesh.vertices.size, offset=at).reshape(-1, 3)
    assert np.array_equal(points, mesh.vertices)
    at = data.index(b"POLYGONS")
    at = data.index(b"\n", at) + 1
    cells = np.frombuffer(data, dtype=">i4", count=4 * len(mesh.faces), offset=at).reshape(-1, 4)
    assert (cells[:, 0] == 3).all()
    assert np.array_equal(cells[:, 1:], mesh.faces)


def test_phases_that_do_not_occur_give_an_empty_mesh(run_stage, tmp_path):
    mesh = extract_surface(np.zeros((3, 4, 5), dtype=np.uint8), 1.0, phase=1)
    assert mesh.faces.shape == (0, 3)
    assert mesh.area_nm2 == mesh.volume_nm3 == 0
    mesh.save(tmp_path / "empty.ply")
    _, table = run_stage("mesh.surface", np.zeros((1, 4, 5), dtype=np.uint8), 1)
    assert len(table["faces"]) == 0


def test_wrong_requests_are_refused(tmp_path):
    labels = np.zeros((3, 3, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="not both"):
        extract_surface(labels, 1.0, phase=1, level=0.5)
    with pytest.raises(InputError, match="finite"):
        extract_surface(np.full((3, 3, 3), np.nan), 1.0, level=0.5)
    with pytest.raises(InputError, match="not be negative"):
        extract_surface(labels, 1.0, smooth_px=-1.0)
    with pytest.raises(InputError, match=r"\.gltf"):
        extract_surface(labels, 1.0).save(tmp_path / "a.gltf")
