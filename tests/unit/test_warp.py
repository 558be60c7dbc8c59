"""Laws and constructors of warps, against closed forms and SciPy's natural splines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from fibtomo.core.warp import Warp, affine_matrices
from fibtomo.errors import InputError

FRAME = (120, 90)
N = 3


def random_warp(seed: int, size: float = 2.0, nodes: tuple[int, int] | None = None) -> Warp:
    rng = np.random.default_rng(seed)
    gy, gx = nodes or rng.integers(1, 6, 2)
    return Warp(rng.uniform(-size, size, (N, gy, gx, 2)), FRAME)


def places(seed: int, beyond: float = 0.1, count: int = 40):
    rng = np.random.default_rng(seed)
    row, col = (rng.uniform(-beyond * size, (1 + beyond) * size, count) for size in FRAME)
    return rng.integers(0, N, count), row, col


def grid_nodes(gy: int, gx: int):
    return np.meshgrid(np.linspace(0, FRAME[0] - 1, gy), np.linspace(0, FRAME[1] - 1, gx), indexing="ij")


laws = settings(derandomize=True, max_examples=25, deadline=None)
seeds = st.integers(0, 10**6)


@laws
@given(seed=seeds)
def test_nodes_are_met_and_lines_between_them_are_natural_splines(seed):
    warp = random_warp(seed, nodes=(4, 5))
    row, col = grid_nodes(4, 5)
    np.testing.assert_allclose(warp(1, row, col), warp.nodes_px[1], atol=1e-9)
    along = np.linspace(0, FRAME[1] - 1, 50)
    spline = CubicSpline(col[0], warp.nodes_px[2, 1], bc_type="natural")
    np.testing.assert_allclose(warp(2, row[1, 0], along), spline(along), atol=1e-9)


@laws
@given(seed=seeds)
def test_addition_is_a_commutative_group_with_the_identity(seed):
    a, b, c = (random_warp(seed + i, size=0.5, nodes=(4, 3)) for i in range(3))
    q = places(seed)
    np.testing.assert_allclose((a + b)(*q), a(*q) + b(*q), atol=1e-9)
    np.testing.assert_allclose((a + b)(*q), (b + a)(*q), atol=1e-9)
    np.testing.assert_allclose(((a + b) + c)(*q), (a + (b + c))(*q), atol=1e-9)
    np.testing.assert_allclose((a + Warp.identity(N, FRAME))(*q), a(*q), atol=1e-9)


@laws
@given(seed=seeds)
def test_undo_leads_back(seed):
    warp, (k, row, col) = random_warp(seed, size=4.0), places(seed)
    shift = warp(k, row, col)
    back = warp.undo(k, row + shift[:, 0], col + shift[:, 1])
    np.testing.assert_allclose(back, np.stack([row, col], axis=1), atol=1e-6)


@laws
@given(seed=seeds)
def test_bounds_and_gradient_hold_what_dense_sampling_finds(seed):
    warp = random_warp(seed, size=4.0)
    row, col = grid_nodes(61, 61)
    for k in range(N):
        shift = warp(k, row, col)
        assert np.all(warp.bounds_px[k, 0] - 1e-9 <= shift.min(axis=(0, 1)))
        assert np.all(shift.max(axis=(0, 1)) <= warp.bounds_px[k, 1] + 1e-9)
        step = 1e-4
        jacobian = np.stack([(warp(k, row + step, col) - shift), (warp(k, row, col + step) - shift)], axis=-1) / step
        steepest = np.linalg.svd(jacobian, compute_uv=False).max()
        assert 0.9 * steepest - 1e-6 <= warp.max_gradient[k] <= 1.15 * steepest + 1e-6


@laws
@given(seed=seeds)
def test_affine_displacement_is_exact_inside_and_beyond_the_frame(seed):
    rng = np.random.default_rng(seed)
    matrices = affine_matrices(
        rng.uniform(0.9, 1.1, (N, 2)), rng.uniform(-5, 5, N), rng.uniform(-0.1, 0.1, N), rng.uniform(-9, 9, (N, 2))
    )
    warp, (k, row, col) = Warp.from_affine(matrices, FRAME), places(seed, beyond=0.5)
    middle = (np.array(FRAME) - 1) / 2
    place = np.stack([row, col], axis=1)
    expected = np.einsum("mij,mj->mi", matrices[k, :, :2], place - middle) + matrices[k, :, 2] + middle
    np.testing.assert_allclose(place + warp(k, row, col), expected, atol=1e-8)


@laws
@given(seed=seeds)
def test_affine_warps_compose_as_their_matrices_do(seed):
    rng = np.random.default_rng(seed)
    first, second = (affine_matrices(rng.uniform(0.97, 1.03, N), rng.uniform(-2, 2, N)) for _ in range(2))
    joint = first.copy()
    joint[:, :, :2] = second[:, :, :2] @ first[:, :, :2]
    q = places(seed)
    one = Warp.from_affine(first, FRAME).then(Warp.from_affine(second, FRAME))
    np.testing.assert_allclose(one(*q), Warp.from_affine(joint, FRAME)(*q), atol=1e-8)


def test_matrices_of_scale_turn_and_shear():
    np.testing.assert_allclose(affine_matrices(2.0)[0, :, :2], 2 * np.eye(2))
    np.testing.assert_allclose(affine_matrices(rotation_deg=90)[0, :, :2] @ [0, 1], [1, 0], atol=1e-12)
    np.testing.assert_allclose(affine_matrices(shear=0.1)[0, :, :2] @ [10, 0], [10, 1])


def test_line_drift_moves_recorded_lines_as_told():
    knots = np.zeros((N, 5, 2))
    knots[1] = [[0, 0], [1.5, -2], [2, 1], [0.5, 3], [-1, 0]]
    warp = Warp.from_line_drift(knots, FRAME)
    spline = CubicSpline(np.linspace(0, FRAME[0] - 1, 5), knots[1], bc_type="natural")
    place = np.linspace(5, FRAME[0] - 6, 60)
    shift = warp(1, place, 33.0)
    np.testing.assert_allclose(shift, spline(place + shift[:, 0]), atol=0.003)
    np.testing.assert_allclose(warp(1, place, 3.0), warp(1, place, 80.0), atol=1e-12)
    np.testing.assert_array_equal(warp(0, place, 3.0), 0)


def test_between_nodes_the_spline_is_nearer_to_optical_distortion_than_lines():
    """A barrel field sampled at 9 x 9 nodes: the reason for splines instead of bilinear cells."""

    def barrel(row, col):
        y, x = row / FRAME[0] - 0.5, col / FRAME[1] - 0.5
        return np.stack([y, x], axis=-1) * (y * y + x * x)[..., None] * 40

    warp = Warp(barrel(*grid_nodes(9, 9))[None], FRAME)
    row, col = grid_nodes(101, 101)
    spline = np.abs(warp(0, row, col) - barrel(row, col)).max()
    u, v = row / (FRAME[0] - 1) * 8, col / (FRAME[1] - 1) * 8
    i, j = np.minimum(u.astype(int), 7), np.minimum(v.astype(int), 7)
    s, t = (u - i)[..., None], (v - j)[..., None]
    n = warp.nodes_px[0]
    lines = (1 - s) * ((1 - t) * n[i, j] + t * n[i, j + 1]) + s * ((1 - t) * n[i + 1, j] + t * n[i + 1, j + 1])
    assert spline < 0.5 * np.abs(lines - barrel(row, col)).max()
    inner = (slice(15, -15),) * 2
    assert (
        np.abs(warp(0, row, col) - barrel(row, col))[inner].max() < 0.2 * np.abs(lines - barrel(row, col))[inner].max()
    )


def test_files_come_back_and_hold_no_code(tmp_path):
    warp = random_warp(4)
    warp.save(tmp_path / "w.npz")
    back = Warp.load(tmp_path / "w.npz")
    np.testing.assert_array_equal(back.nodes_px, warp.nodes_px)
    assert back.frame == FRAME
    np.savez(tmp_path / "evil.npz", nodes_px=np.array([print], dtype=object), frame=np.array([3, 3]))
    (tmp_path / "text.npz").write_text("no zip")
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    for name in ("evil.npz", "text.npz", "other.npz", "missing.npz"):
        with pytest.raises(InputError, match=name):
            Warp.load(tmp_path / name)


def test_what_makes_no_sense_is_refused_and_the_slice_is_named():
    nodes = np.zeros((4, 2, 2, 2))
    nodes[2, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="slice 2 holds"):
        Warp(nodes, FRAME)
    nodes = np.zeros((4, 2, 2, 2))
    nodes[3, 1, :, 0] = -FRAME[0]
    with pytest.raises(InputError, match="slice 3 changes by 1 px per px"):
        Warp(nodes, FRAME)
    with pytest.raises(InputError, match="shape"):
        Warp(np.zeros((4, 2, 2)), FRAME)
    with pytest.raises(InputError, match="frame"):
        Warp(np.zeros((4, 2, 2, 2)), (0, 5))
    with pytest.raises(InputError, match="do not fit together"):
        Warp.identity(2, FRAME) + Warp.identity(3, FRAME)
    with pytest.raises(InputError, match=r"\(slices, 2, 3\)"):
        Warp.from_affine(np.eye(2), FRAME)
    with pytest.raises(InputError, match=r"\(slices, m, 2\)"):
        Warp.from_line_drift(np.zeros((3, 4)), FRAME)


@pytest.mark.parametrize("frame", [(1, 1), (1, 7), (2, 1)])
def test_frames_of_one_pixel(frame):
    warp = Warp(np.full((1, 3, 2, 2), 0.25), frame)
    np.testing.assert_allclose(warp(0, 0.0, 0.0), [0.25, 0.25])
    np.testing.assert_allclose(warp.undo(0, 0.25, 0.25), [0, 0], atol=1e-9)
