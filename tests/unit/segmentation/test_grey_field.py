import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops.grey_field import Cells, GreyField
from fibtomo.ops.histogram import Bins
from fibtomo.ops.segmentation import segment

RAMP = np.linspace(1, 0.5, 72)
DRIFT = np.linspace(1.25, 0.75, 20)[:, None, None]


def test_cells_count_the_same_in_every_cut():
    grey = np.random.default_rng(0).integers(0, 9, (11, 13, 17)).astype(np.uint8)
    bins, cells = Bins.covering("uint8", (0, 8)), Cells((11, 13, 17), (4, 5, 6), (3, 3, 3))
    boxes = np.tile([1, 12, 2, 17], (11, 1))
    whole = cells.add([cells.count(grey, 0, bins, boxes)])
    for slab in (1, 3, 5):
        parts = [cells.count(grey[a : a + slab], a, bins, boxes[a : a + slab]) for a in range(0, 11, slab)]
        assert np.array_equal(cells.add(parts), whole)
    assert whole.shape == (3, 3, 3, 11)
    assert whole.sum() == 11 * 11 * 15


def test_a_field_is_linear_between_the_centres_of_cells():
    cells = Cells((4, 6, 6), (2, 3, 2), (1, 1, 1))
    z, y, x = (np.arange(n) for n in cells.grid)
    plane = 1.0 + z[:, None, None] + 10.0 * y[:, None] + 100.0 * x
    field = GreyField(cells, np.full(cells.grid, 2.0), plane)
    evened = field.evened(np.zeros((2, 6, 6), np.uint8), 1)
    place = [
        np.clip(n, 0, len(c) - 1)
        for n, c in ((np.array([0.25, 0.75]), z), ((np.arange(6) - 1) / 3, y), ((np.arange(6) - 0.5) / 2, x))
    ]
    expected = 1 + place[0][:, None, None] + 10 * place[1][:, None] + 100 * place[2]
    np.testing.assert_allclose(evened, -expected / 2, rtol=1e-6)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("shares", "loss"), [((0.6, 0.4), 0.03), ((0.9, 0.1), 0.08)])
def test_windows_follow_shading(specimen, dice, seed, shares, loss):
    scene = specimen(seed, shares)
    shaded = scene.seen(RAMP)
    local = dice(segment(shaded, method="local", window_nm=36), scene.labels)
    assert local > dice(segment(shaded), scene.labels) + 0.05
    assert local > dice((shaded / RAMP > 120).astype(int), scene.labels) - loss


@pytest.mark.parametrize(("method", "seed"), [("otsu", 0), ("gmm", 1), ("hysteresis", 2)])
def test_slices_follow_drift_along_the_stack(specimen, dice, seed, method):
    scene = specimen(seed, noise=8.0)
    drifting, even = scene.seen(DRIFT), scene.seen()
    followed = dice(segment(drifting, method=method, follow_slices=3), scene.labels)
    assert followed > dice(segment(drifting, method=method), scene.labels) + 0.01
    assert followed > dice(segment(even, method=method), scene.labels) - 0.01


def test_slices_follow_jitter(specimen, dice):
    scene = specimen(5, noise=8.0)
    jitter = np.random.default_rng(0).uniform(0.8, 1.2, (20, 1, 1))
    alone = dice(segment(scene.seen(jitter), method="gmm", follow_slices=1), scene.labels)
    assert alone > dice(segment(scene.seen(), method="gmm"), scene.labels) - 0.005
    assert alone > dice(segment(scene.seen(jitter), method="gmm"), scene.labels) + 0.01


@pytest.mark.parametrize("options", [{"method": "local", "window_nm": 24}, {"method": "gmm", "follow_slices": 1}])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_done_where_nothing_changes(specimen, seed, options):
    grey = specimen(seed).seen()
    assert np.mean(segment(grey, **options) != segment(grey, method="gmm")) < 2e-3


@pytest.mark.parametrize("seed", range(2))
def test_slices_that_lack_a_phase_are_not_stretched(specimen, seed):
    scene = specimen(seed)
    grey, empty = scene.seen(DRIFT), slice(8, 13)
    noise = np.random.default_rng(seed).normal(0, 10, grey[empty].shape)
    grey[empty] = np.clip(80 * DRIFT[empty] + noise, 0, 255)
    labels = segment(grey, method="gmm", follow_slices=1)
    assert np.mean(labels[empty] == 1) < 0.002


def test_only_what_the_slices_show_counts(specimen, dice):
    scene = specimen(3)
    grey = scene.seen(RAMP)
    boxes = np.tile([8, 64, 10, 60], (20, 1))
    masked = grey.copy()
    masked[:, :8] = masked[:, 64:] = 0
    masked[:, :, :10] = 255
    masked[:, :, 60:] = 0
    labels = segment(masked, method="local", window_nm=24, valid_boxes=boxes)
    assert dice(labels[:, 8:64, 10:60], scene.labels[:, 8:64, 10:60]) > 0.93
    assert (labels[:, :8] == 255).all()


def test_windows_must_hold_something():
    with pytest.raises(InputError, match="window_nm = 20"):
        segment(np.zeros((9, 30, 30), np.uint8), method="local", window_nm=20, voxel_nm=10)
    labels = segment(np.zeros((1, 12, 12), np.uint8), method="local")
    assert not labels.any()
