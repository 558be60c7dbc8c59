"""The ray-caster against bodies whose picture is known."""

import numpy as np
import pytest

from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError
from fibtomo.report.frame import Camera, Frame
from fibtomo.report.pictures import phase_rgb
from fibtomo.report.render import render_grey, render_labels
from fibtomo.report.voxelise import voxelise


def ball(shape, spacing, radius):
    centre = [n * d / 2 for n, d in zip(shape, spacing, strict=True)]
    axes = [(np.arange(n) + 0.5) * d - c for n, d, c in zip(shape, spacing, centre, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (z**2 + y**2 + x**2 < radius**2).astype(np.uint8)


def solid_pixels(picture):
    """Pixels of the body: coloured, unlike the grey lines and letters."""
    rgb = picture[..., :3].astype(int)
    return (picture[..., 3] > 127) & (rgb.max(axis=2) - rgb.min(axis=2) > 20)


@pytest.mark.parametrize("spacing", [(10.0, 10.0, 10.0), (20.0, 10.0, 10.0), (10.0, 10.0, 25.0)])
def test_a_ball_is_a_disc_of_its_size_whatever_the_sampling(spacing):
    edge, radius = 640.0, 220.0
    shape = tuple(round(edge / d) for d in spacing)
    picture = render_labels(ball(shape, spacing, radius), spacing, width_px=400)
    frame = Frame.around(np.full(3, edge), Camera().axes, 400)
    seen = solid_pixels(picture)
    assert seen.sum() * frame.per_px**2 == pytest.approx(np.pi * radius**2, rel=0.05)
    rows, cols = np.nonzero(seen)
    expected = frame.place(np.full(3, edge / 2), Camera().axes)
    assert (cols.mean(), rows.mean()) == pytest.approx(expected, abs=3)


def test_light_comes_from_above():
    picture = render_labels(ball((48,) * 3, (1.0,) * 3, 18.0), width_px=300)
    rows, _ = np.nonzero(solid_pixels(picture))
    brightness = picture[..., :3].sum(axis=2)[solid_pixels(picture)]
    assert brightness[rows < np.median(rows)].mean() > 1.2 * brightness[rows > np.median(rows)].mean()


def test_hidden_and_unseen_phases_are_not_drawn():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:10] = OUTSIDE
    assert not solid_pixels(render_labels(labels, width_px=200)).any()
    assert solid_pixels(render_labels(labels, hidden=(), width_px=200)).any()


def test_phases_have_their_colours():
    labels = np.ones((20, 20, 20), np.uint8)
    labels[:, 10:] = 2
    picture = render_labels(labels, width_px=300)
    hues = picture[solid_pixels(picture)][:, :3].astype(float)
    hues -= hues.mean(axis=1, keepdims=True)
    hues /= np.linalg.norm(hues, axis=1, keepdims=True)
    for phase in (1, 2):
        hue = np.array(phase_rgb(phase)) - np.mean(phase_rgb(phase))
        match = (hues @ hue) / np.linalg.norm(hue) > 0.98
        assert 0.25 < match.mean() < 0.75


def test_the_front_face_shows_the_first_slice():
    """z = 0 is seen in front: its picture is on the left of the nearest edge, x running to the right."""
    volume = np.full((30, 30, 30), 100, np.uint8)
    volume[0, :, :10] = 255
    volume[-1] = 0
    picture = render_grey(volume, width_px=600)
    frame = Frame.around(np.full(3, 30.0), Camera().axes, 600)
    grey = [
        int(picture[round(row), round(col), 0])
        for col, row in (
            frame.place(np.array(p), Camera().axes) for p in ((0, 15.0, 4.0), (0, 15.0, 20.0), (29.4, 15.0, 30.0))
        )
    ]
    assert grey[0] > grey[1] > grey[2]


def test_camera_axes_are_orthonormal():
    axes = Camera(yaw_deg=12.0, pitch_deg=50.0).axes
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 90.0, float("nan")])
def test_a_view_along_a_face_is_refused(angle):
    with pytest.raises(InputError, match="between 1 and 89"):
        Camera(yaw_deg=angle)


@pytest.mark.parametrize("shape", [(5, 5), (0, 4, 4)])
def test_no_volume_is_refused(shape):
    with pytest.raises(InputError, match="no \\(z, y, x\\) volume"):
        render_labels(np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="no \\(z, y, x\\) volume"):
        render_grey(np.zeros(shape))


@pytest.mark.parametrize("flip", [False, True])
def test_voxelise_fills_a_tetrahedron(flip):
    corners = np.array([[3.0, 1.0, 2.0], [93.0, 1.0, 2.0], [3.0, 61.0, 2.0], [3.0, 1.0, 82.0]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    solid, size = voxelise(corners, faces[:, ::-1] if flip else faces, 90)
    assert size == 1.0
    assert solid.shape == (80, 60, 90)
    z, y, x = np.indices(solid.shape) + 0.5
    depth = 1 - x / 90 - y / 60 - z / 80
    clear = np.abs(depth) > 1e-6
    np.testing.assert_array_equal(solid[clear], (depth > 0)[clear])


def test_voxelise_fills_a_closed_surface():
    measure = pytest.importorskip("skimage.measure")
    body = np.pad(ball((40, 40, 40), (1.0,) * 3, 15.0), 2).astype(np.float32)
    vertices, faces, _, _ = measure.marching_cubes(body, 0.5)
    solid, size = voxelise(vertices[:, ::-1], faces, 60)
    assert solid.sum() * size**3 == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.03)


def test_voxelise_refuses_a_flat_mesh():
    with pytest.raises(InputError, match="without volume"):
        voxelise(np.eye(3) * [1, 1, 0], np.array([[0, 1, 2]]))
