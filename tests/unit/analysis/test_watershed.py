"""Objects that touch: known numbers, every cut the same, and the definition itself voxel by voxel."""

from itertools import product

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score

from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError
from fibtomo.ops.flood import Flood
from fibtomo.ops.labels import label_objects
from fibtomo.ops.watershed import watershed_from_markers
from fibtomo.phantom.touching import touching_balls

CUTS = (40, 17, 6, 2, 1)


def field(seed, shape=(40, 36, 44), sigma=2.0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)


def by_definition(mask, scale, h, connectivity):
    """The spanning forest cut at deep passes, straight from the definition; small masks with whole squared edges."""
    distance = ndimage.distance_transform_edt(mask, sampling=scale)
    square = np.rint(distance**2).astype(int)
    index = np.arange(mask.size).reshape(mask.shape)
    rank = {tuple(v): (square[tuple(v)], -index[tuple(v)]) for v in np.argwhere(mask)}
    reach = {6: 1, 18: 2, 26: 3}[connectivity]
    edges = []
    for v in rank:
        for step in product((-1, 0, 1), repeat=3):
            u = tuple(np.add(v, step))
            if 0 < np.abs(step).sum() <= reach and u in rank and rank[u] > rank[v]:
                slope = (distance[u] - distance[v]) / np.linalg.norm(np.multiply(step, scale))
                edges.append((rank[v], slope, rank[u], v, u))
    parent, peak, kept = {v: v for v in rank}, dict(rank), {v: v for v in rank}

    def root(tree, v):
        while tree[v] != v:
            v = tree[v]
        return v

    for low, _, _, v, u in sorted(edges, reverse=True):
        a, b = root(parent, v), root(parent, u)
        if a == b:
            continue
        if min(peak[a], peak[b])[0] ** 0.5 - low[0] ** 0.5 < h:
            kept[root(kept, v)] = root(kept, u)
        parent[a] = b
        peak[b] = max(peak[a], peak[b])
    labels, numbers = np.zeros(mask.shape, int), {}
    for v in map(tuple, np.argwhere(mask)):
        labels[v] = numbers.setdefault(root(kept, v), len(numbers) + 1)
    return labels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("scale", "connectivity", "h"), [((1, 1, 1), 6, 0.8), ((1, 1, 1), 26, 0.4), ((2, 1, 1), 18, 0.6)]
)
def test_objects_are_those_of_the_definition(seed, scale, connectivity, h):
    mask = field(seed, (12, 13, 14), 1.2) > 0
    expected = by_definition(mask, scale, h, connectivity)
    found = label_objects(mask, split="watershed", voxel_nm=scale, h_nm=h, connectivity=connectivity)
    assert expected.max() > ndimage.label(mask)[1] + 3
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("voxel_nm", "h_nm", "connectivity"),
    [((1.0, 1.0, 1.0), 0.9, 26), ((2.3, 1.0, 1.1), 0.7, 6), ((0.8, 1.7, 1.0), 0.1, 18), (None, 3.0, 26)],
)
def test_every_cut_gives_the_same_objects_and_table(run_stage, voxel_nm, h_nm, connectivity):
    phases = (field(5) > 0).astype(np.uint8)
    phases[:, :5] = OUTSIDE
    given = {"voxel_nm": voxel_nm, "h_nm": h_nm, "largest_nm": 6.0, "connectivity": connectivity}
    whole, table = run_stage("label.watershed", phases, 40, **given)
    assert len(table["label"]) == whole.max() > 1
    for thickness in CUTS[1:]:
        part, part_table = run_stage("label.watershed", phases, thickness, **given)
        np.testing.assert_array_equal(part, whole)
        for name in table["columns"]:
            np.testing.assert_array_equal(part_table[name], table[name], err_msg=name)


def test_faces_between_parts_joined_later_are_not_surface(run_stage):
    """A single object, whatever its slabs could not tell, has the surface of its mask."""
    ball = (touching_balls(1, (33, 33, 33), 14.0) > 0).astype(np.uint8)
    surfaces = {name: run_stage(name, ball, 3)[1]["surface_nm2"] for name in ("label.components", "label.watershed")}
    assert len(surfaces["label.watershed"]) == 1
    np.testing.assert_array_equal(surfaces["label.components"], surfaces["label.watershed"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("shape", "voxel_nm", "spread", "overlap"),
    [
        ((64, 64, 64), (1.0, 1.0, 1.0), 0.0, 0.1),
        ((64, 64, 64), (1.0, 1.0, 1.0), 0.25, 0.08),
        ((32, 64, 64), (2.0, 1.0, 1.0), 0.2, 0.08),
    ],
)
def test_touching_balls_are_told_apart(seed, shape, voxel_nm, spread, overlap):
    truth = touching_balls(60, shape, 7.0, voxel_nm=voxel_nm, spread=spread, overlap=overlap, seed=seed)
    mask = truth > 0
    assert ndimage.label(mask)[1] < 30
    found = label_objects(mask, split="watershed", voxel_nm=voxel_nm)
    assert found.max() == pytest.approx(60, rel=0.02)
    assert adjusted_rand_score(truth[mask], found[mask]) > 0.965
    both = np.zeros((61, found.max() + 1))
    np.add.at(both, (truth[mask], found[mask]), 1)
    union = both.sum(1)[1:, None] + both.sum(0)[None, 1:] - both[1:, 1:]
    assert np.median((both[1:, 1:] / union).max(axis=1)) > 0.96


def test_agrees_with_scikit_image():
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    mask = touching_balls(60, (64, 64, 64), 7.0, spread=0.2, seed=4) > 0
    distance = ndimage.distance_transform_edt(mask)
    seeds, count = ndimage.label(h_maxima(distance, 0.87), np.ones((3, 3, 3)))
    theirs = watershed(-distance, seeds, mask=mask, connectivity=3)
    ours = label_objects(mask, split="watershed", h_nm=0.87)
    assert abs(int(ours.max()) - count) <= 1
    assert adjusted_rand_score(theirs[mask], ours[mask]) > 0.97


def test_two_balls_split_at_their_neck_until_h_exceeds_its_depth():
    z, y, x = np.ogrid[:25, :25, :45]
    mask = np.zeros((25, 25, 45), bool)
    for centre in (13, 31):
        mask |= (z - 12) ** 2 + (y - 12) ** 2 + (x - centre) ** 2 <= 121
    found = label_objects(mask, split="watershed", h_nm=3.0)
    assert np.unique(found[:, :, :22]).tolist() == [0, 1]
    assert np.unique(found[:, :, 23:]).tolist() == [0, 2]
    assert label_objects(mask, split="watershed", h_nm=6.0).max() == 1
    assert label_objects(mask, split="watershed", h_nm=3.0, largest_nm=4.0).max() == 1


def test_field_of_view_is_no_surface(run_stage):
    """A ball cut by what was not seen keeps one peak; nothing outside has an object."""
    phases = (touching_balls(1, (30, 30, 30), 13.0) > 0).astype(np.uint8)
    phases[:, :12] = OUTSIDE
    objects, table = run_stage("label.watershed", phases, 7)
    assert objects.max() == 1
    assert not objects[phases == OUTSIDE].any()
    assert table["touches_border"].all()


def test_small_objects_are_left_out(run_stage):
    phases = (touching_balls(20, (30, 40, 40), 6.0, spread=0.4, seed=1) > 0).astype(np.uint8)
    every, table = run_stage("label.watershed", phases, 7)
    least = float(np.median(table["volume_nm3"]))
    objects, kept = run_stage("label.watershed", phases, 7, min_volume_nm3=least)
    stays = table["volume_nm3"] >= least
    assert 0 < stays.sum() < len(stays)
    np.testing.assert_array_equal(kept["volume_nm3"], table["volume_nm3"][stays])
    np.testing.assert_array_equal(objects > 0, np.concatenate([[False], stays])[every])


@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (10.0, 5.0, 5.0), (7.3, 4.7, 4.7), (1.0, 3.0, 2.0)])
def test_edges_as_whole_squares_are_close(scale):
    unit, squares = Flood(26, scale).grid
    np.testing.assert_allclose(np.sqrt(squares) * unit, scale, rtol=2e-3)
    assert Flood(26, scale).square_limit <= 2**18


def test_what_cannot_be_is_refused():
    mask = np.ones((3, 3, 3), bool)
    for given in ({"h_nm": 0.0}, {"h_nm": -1.0}, {"largest_nm": 0.0}, {"largest_nm": 1e4}, {"connectivity": 8}):
        with pytest.raises(InputError):
            label_objects(mask, split="watershed", **given)
    with pytest.raises(InputError, match="split = 'knife'"):
        label_objects(mask, split="knife")
    assert label_objects(np.zeros((0, 3, 3)), split="watershed").shape == (0, 3, 3)
    assert label_objects(np.zeros((4, 3, 3)), split="watershed").max() == 0
    assert label_objects(np.ones((4, 3, 3)), split="watershed").max() == 1


def test_markers_flood_a_landscape():
    crest = np.zeros((3, 8, 9))
    crest[:, :, 4] = 5
    markers = np.zeros(crest.shape, int)
    markers[1, 1, 1], markers[1, 1, 7] = 3, 8
    labels = watershed_from_markers(crest, markers)
    assert (labels[:, :, :4] == 3).all()
    assert (labels[:, :, 5:] == 8).all()
    inside = np.ones(crest.shape, bool)
    inside[0] = False
    assert not watershed_from_markers(crest, markers, inside)[0].any()
    with pytest.raises(InputError, match="no marker"):
        watershed_from_markers(crest, markers * 0)
    with pytest.raises(InputError, match="shape"):
        watershed_from_markers(crest, markers[1:])
