"""Refinement: jitter goes, the slow part and undistorted slices stay, and signs and axes are those of `Warp`."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, uniform_filter1d

from fibtomo.core.drift import Drift
from fibtomo.core.stage import StageContext, get_stage
from fibtomo.core.volume import VolumeSpec
from fibtomo.core.warp import Warp, affine_matrices
from fibtomo.errors import InputError
from fibtomo.ops.refine import combine_tiles, refine_drift
from fibtomo.ops.refine_field import smooth_fields
from fibtomo.ops.refine_planes import SliceTiles, fit_planes
from fibtomo.ops.refine_shrink import shrunk
from fibtomo.ops.refine_tiles import make_lattice, measure_tiles, template_weights
from fibtomo.ops.refine_time import fast_part, own_displacement, step_sizes

N, FRAME = 24, (256, 256)
ODD = 12
"""The slice that is distorted."""


@pytest.fixture(scope="module")
def still(lab):
    """Slices of a slowly changing structure that does not move."""
    return lab.Waves(3, shape=FRAME, waves=120).stack(np.zeros((N, 2)), dz_px=0.6)


def tiles_of(stack, start, stop):
    """Table of slices [start, stop), with the halo that a run gives them."""
    low, high = max(0, start - 2), min(N, stop + 2)
    return measure_tiles(stack[low:high], low, (start - low, stop - low), np.zeros((N, 2)), (), make_lattice(FRAME))


@pytest.fixture(scope="module")
def measured(still):
    """Refinement and warp of the still slices, or of the same with one slice replaced."""
    around = ODD - 2, ODD + 3
    sound = [tiles_of(still, *ends) for ends in ((0, around[0]), around, (around[1], N))]

    def combined(model, replaced=None):
        tables = list(sound)
        if replaced is not None:
            tables[1] = tiles_of(np.concatenate([still[:ODD], replaced[None], still[ODD + 1 :]]), *around)
        found = combine_tiles(tables, Drift.identity(N), make_lattice(FRAME), model)
        return found, found.total_warp(FRAME)

    return combined


def seen_through(image, warp):
    """The slice as it is recorded if it is displaced by slice 0 of `warp`."""
    row, col = np.meshgrid(*(np.arange(n, dtype=float) for n in FRAME), indexing="ij")
    places = warp.undo(0, row, col)
    return map_coordinates(image.astype(float), [places[..., 0], places[..., 1]], order=3, mode="nearest")


def test_jitter_goes_and_the_slow_part_stays(still, lab):
    jitter = 0.4 * np.random.default_rng(0).normal(size=(N, 2))
    jitter -= jitter[0]
    given = Drift(jitter)
    refined, warp = refine_drift(still, given, tile_px=96)
    assert warp is None
    before, after = (np.sqrt((lab.high_frequency(d.shifts_px) ** 2).sum(axis=1).mean()) for d in (given, refined))
    assert after < 0.45 * before
    change = refined.shifts_px - given.shifts_px
    slow = uniform_filter1d(change, 11, axis=0, mode="nearest")
    assert np.sqrt((slow**2).sum(axis=1).mean()) < 0.2 * np.sqrt((change**2).sum(axis=1).mean())
    assert refined.shifts_px[0].tolist() == [0.0, 0.0]


def test_a_slice_out_of_line_is_moved_the_right_way(measured, still):
    found, _ = measured("translation", np.roll(still[ODD], 3, axis=1))  # its content appears 3 px to the right
    shifts = found.applied_to(Drift.identity(N)).shifts_px
    assert shifts[ODD, 1] == pytest.approx(3.0, abs=0.8)
    assert abs(shifts[ODD, 0]) < 0.1
    assert np.abs(np.delete(shifts, ODD, axis=0)).max() < 0.5


def test_sound_slices_are_left_alone(measured):
    for model in ("translation", "affine", "elastic"):
        _, warp = measured(model)
        corners = warp(np.arange(N)[:, None], np.array([0, 0, 255, 255]), np.array([0, 255, 0, 255]))
        assert np.linalg.norm(corners, axis=-1).max() < 0.05


def test_affine_distortion_is_found_with_its_sign(measured, still):
    true = Warp.from_affine(affine_matrices(scale=[[1.004, 1.0]], shear=-0.004), FRAME)
    found, warp = measured("affine", seen_through(still[ODD], true))
    corners = np.array([0, 0, 255, 255]), np.array([0, 255, 0, 255])
    wanted, seen = true(0, *corners), warp(ODD, *corners)
    assert np.abs(wanted).max() > 0.5
    assert np.linalg.norm(seen - wanted, axis=-1).max() < 0.4 * np.linalg.norm(wanted, axis=-1).max()
    assert np.linalg.norm(warp(ODD + 3, *corners), axis=-1).max() < 0.1
    assert any("scaled, sheared or turned" in note for note in found.notes)


def test_distortion_beyond_the_cap_is_flagged_and_not_applied(measured, still):
    found, _ = measured("affine", seen_through(still[ODD], Warp.from_affine(affine_matrices(scale=1.012), FRAME)))
    assert "too much to be believed" in found.flags[ODD]
    assert found.warp is None or np.abs(found.warp(ODD, 0.0, 0.0)).max() < 0.05


def test_line_drift_is_straightened(measured, still):
    knots = np.zeros((1, 5, 2))
    knots[0, :, 1] = 0, 2, 0, -2, 0
    true = Warp.from_line_drift(knots, FRAME)
    _, warp = measured("elastic", seen_through(still[ODD], true))
    rows = np.arange(24.0, 232.0)
    wanted, seen = (w(k, rows, 100.0)[:, 1] for w, k in ((true, 0), (warp, ODD)))
    assert np.std(wanted - seen) < 0.5 * np.std(wanted)
    assert np.corrcoef(wanted, seen)[0, 1] > 0.85
    assert np.abs(warp(np.delete(np.arange(N), ODD), 60.0, 100.0)).max() < 0.3 * np.abs(seen).max()


def test_any_slab_gives_the_whole(still):
    stage = get_stage("drift.refine")
    params, spec = stage.params(model="affine", tile_px=96), VolumeSpec((10, *FRAME), "uint8", (10.0, 5.0, 5.0))
    stack = still[:10].copy()
    drift = Drift(np.cumsum(np.full((10, 2), 0.7), axis=0) - 0.7, bad_slices=[4]).to_table()
    tables = []
    for slab in (10, 3):
        partials = []
        for start in range(0, 10, slab):
            low, stop = max(0, start - 2), min(10, start + slab)
            ctx = StageContext(spec, low, (start - low, stop - low), {"drift": drift})
            partials.append(stage.measure(stack[low : min(10, stop + 2)], params, ctx))
        tables.append(stage.combine(partials, params, StageContext(spec, 0, (0, 10), {"drift": drift})))
    np.testing.assert_array_equal(tables[0]["nodes_px"], tables[1]["nodes_px"])


def test_tiles_follow_the_specimen():
    lattice = make_lattice((320, 400))
    assert lattice.corner((1, 2), np.array([0.0, 0.0])) == (32, 72)
    assert lattice.corner((1, 2), np.array([10.3, -5.6])) == (42, 66)
    for shift in ([0, 0], [10.3, -5.6], [-700.0, 333.3]):
        corners = np.array([lattice.corner(p, np.array(shift)) for p in lattice.places(np.array(shift))])
        assert corners.min() >= 0
        assert (corners.max(axis=0) + 64 <= (320, 400)).all()
        assert len(corners) >= 64
    middles = lattice.middles(np.array([[0, 0]]), np.zeros(2))
    np.testing.assert_allclose(middles, [[31.5 - 159.5, 8 + 31.5 - 199.5]])


def test_template_lies_on_the_slice():
    for before, after in (([1, 2], [1, 2]), ([1], [1, 2]), ([2], [1])):
        weights = template_weights(before, after)
        assert sum(weights.values()) == pytest.approx(1)
        assert sum(d * w for d, w in weights.items()) == pytest.approx(0)
    assert template_weights([], [1, 2]) == {}


def test_own_displacement_undoes_the_template():
    rng = np.random.default_rng(1)
    own = rng.normal(size=(60, 2))
    weights = {k: template_weights([1, 2], [1, 2]) for k in range(2, 58)}
    against = np.array([own[k] - sum(w * own[k + d] for d, w in weights.get(k, {}).items()) for k in range(60)])
    found = own_displacement(against, np.isin(np.arange(60), list(weights)), weights)
    left = fast_part(found - own)[5:-5]
    assert left.std() < 0.3 * fast_part(against - own)[5:-5].std()


def test_noise_is_shrunk_away_and_signal_is_kept():
    rng = np.random.default_rng(2)
    assert np.abs(shrunk(rng.normal(size=200), np.ones(200))[0]).max() < 0.3
    true = 6 * rng.normal(size=200)
    value, sigma = shrunk(true + rng.normal(size=200), np.ones(200))
    assert np.std(value - true) < 1.5
    assert np.all(sigma > 0)
    assert shrunk(np.array([5.0]), np.array([np.inf]))[0][0] == 0.0


def test_stated_deviation_of_planes_is_true():
    rng = np.random.default_rng(4)
    middle = np.stack(np.meshgrid(*2 * [np.arange(-112.0, 113.0, 32)], indexing="ij"), axis=-1).reshape(-1, 2)
    apart = np.abs(middle[:, None] - middle[None])
    root = np.linalg.cholesky(np.clip(1 - apart / 64, 0, None).prod(axis=-1) ** 2)
    slices = [SliceTiles(middle, root @ rng.normal(0, 0.2, (64, 2)), np.full((64, 2), 0.1)) for _ in range(40)]
    found = fit_planes(slices, 64)
    assert np.all(np.abs(found.values.std(axis=0) / np.median(found.sigma, axis=0) - 1) < 0.35)
    assert not smooth_fields(slices, found, 64, FRAME, (9, 9)).nodes_px.any()


def test_smooth_field_is_taken_where_tiles_foretell_it():
    rng = np.random.default_rng(6)
    middle = np.stack(np.meshgrid(*2 * [np.arange(-224.0, 225.0, 32)], indexing="ij"), axis=-1).reshape(-1, 2)
    waves = np.sin(middle / 90).prod(axis=1)  # 565 px long
    shift = 0.3 * rng.normal(size=(12, len(middle), 2))
    shift[5, :, 0] += 1.5 * waves
    slices = [SliceTiles(middle, s, np.ones_like(middle)) for s in shift]
    found = smooth_fields(slices, fit_planes(slices, 64), 64, (512, 512), (17, 17))
    row, col = np.meshgrid(*2 * [np.linspace(-255.5, 255.5, 17)], indexing="ij")
    left = found.nodes_px[5, :, :, 0] - 1.5 * np.sin(row / 90) * np.sin(col / 90)
    assert np.std(left[2:-2, 2:-2]) < 0.25
    assert not np.delete(found.nodes_px, 5, axis=0).any()
    assert not found.nodes_px[5, :, :, 1].any()


def test_step_of_magnification_is_told():
    scale = np.where(np.arange(80) < 33, 0.0, -0.002) + 2e-4 * np.random.default_rng(5).normal(size=80)
    assert [k for k, _ in step_sizes(fast_part(scale), 5e-4)] == [33]
    assert step_sizes(fast_part(scale - scale), 5e-4) == []


def test_wrong_calls_are_refused(still):
    with pytest.raises(InputError, match="drift of 3 slices"):
        refine_drift(still, Drift.identity(3))
    with pytest.raises(InputError, match="does not exist"):
        refine_drift(still, Drift.identity(N), model="rigid")
    with pytest.raises(InputError, match=r"drift\.refine=off"):
        refine_drift(still, Drift.identity(N), tile_px=400)
