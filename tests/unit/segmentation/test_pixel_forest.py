"""Pixel forests: what they learn, that tiles, slabs and devices leave no trace, and what they refuse."""

import tracemalloc

import numpy as np
import pytest
import strict_cupy
from scipy import ndimage as ndi

import fibtomo
from fibtomo.errors import InputError
from fibtomo.ops import forest_recipe, forest_tiles
from fibtomo.ops.forest_recipe import Volume, measure_greys
from fibtomo.ops.forest_training import accuracy, choose
from fibtomo.ops.pixel_forest import PixelForest

SHAPE, VOXEL = (14, 72, 90), (10.0, 5.0, 5.0)
QUICK = {"trees": 15, "voxel_nm": VOXEL}


def scene(seed=0, shape=SHAPE, noise=14.0):
    """Blobs of two phases under a slope of brightness that no threshold can follow, uint8."""
    rng = np.random.default_rng(seed)
    phase = (ndi.gaussian_filter(rng.normal(size=shape), (3, 6, 6)) > 0).astype(np.uint8)
    grey = 70 + 45 * phase + 60 * np.arange(shape[1])[:, None] / shape[1] + rng.normal(0, noise, shape)
    return np.clip(grey, 0, 255).astype(np.uint8), phase


def scribble(phase, seed=0, share=0.01):
    rng = np.random.default_rng(seed + 100)
    drawn = np.zeros(phase.shape, bool)
    drawn[[3, 10]] = rng.random((2, *phase.shape[1:])) < share * len(phase) / 2
    return np.where(drawn, phase + 1, 0).astype(np.uint8)


def dice(found, truth):
    return 2 * np.sum((found == 1) & (truth == 1)) / (np.sum(found == 1) + np.sum(truth == 1))


@pytest.fixture(scope="module")
def taught():
    grey, phase = scene()
    return PixelForest.train(grey, scribble(phase), **QUICK), grey, phase


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scribbles_beat_a_threshold_where_brightness_slopes(seed):
    grey, phase = scene(seed)
    forest = PixelForest.train(grey, scribble(phase, seed), **QUICK)
    assert dice(forest.predict(grey), phase) > 0.95
    assert dice(fibtomo.segment(grey, method="otsu"), phase) < 0.85
    other, other_phase = scene(seed + 10)
    assert dice(forest.predict(other), other_phase) > 0.94


@pytest.mark.parametrize("tile", [(1, 72, 90), (5, 16, 33), (32, 128, 256)])
def test_tiles_leave_no_trace(taught, tile, monkeypatch):
    forest, grey, _ = taught
    whole = forest.probabilities(grey)
    monkeypatch.setattr(forest_recipe, "TILE", tile)
    np.testing.assert_array_equal(forest.probabilities(grey), whole)


@pytest.mark.parametrize("masked", [False, True])
def test_lazy_volumes_are_read_in_slabs_that_leave_no_trace(taught, masked, monkeypatch, tmp_path):
    import dask.array as da
    import zarr

    forest, grey, _ = taught
    boxes = np.tile([5, 60, 10, 80], (len(grey), 1)) if masked else None
    whole = forest.predict(grey, valid_boxes=boxes)
    monkeypatch.setattr(forest_tiles, "READ_BYTES", 1.0)
    monkeypatch.setattr(forest_recipe, "TILE", (4, 64, 64))
    lazy = da.from_array(grey, chunks=(5, 40, 40))
    np.testing.assert_array_equal(forest.predict(lazy, valid_boxes=boxes), whole)
    stored = zarr.create_array(str(tmp_path / "grey.zarr"), data=grey, chunks=(4, 36, 45))
    out = zarr.create_array(
        str(tmp_path / "out.zarr"), shape=grey.shape, dtype="u1", chunks=(4, 36, 45), fill_value=255
    )
    forest.predict(stored, valid_boxes=boxes, out=out)
    np.testing.assert_array_equal(out[:], whole)


def test_outside_and_nan_are_255_and_touch_nothing(taught):
    forest, grey, _ = taught
    boxes = np.tile([5, 60, 10, 80], (len(grey), 1))
    labels = forest.predict(grey, valid_boxes=boxes)
    inside = np.zeros(grey.shape, bool)
    inside[:, 5:60, 10:80] = True
    assert (labels[~inside] == 255).all()
    assert labels[inside].max() == 1
    holed = np.where(inside, grey, np.nan).astype(np.float32)
    greys = forest.measure(grey)
    spoilt = np.where(inside, grey, 255).astype(np.float32)
    np.testing.assert_array_equal(
        forest.predict(holed, greys=greys), forest.predict(spoilt, greys=greys, valid_boxes=boxes)
    )
    assert (forest.probabilities(holed, greys=greys)[:, ~inside] == 0).all()


def test_on_a_card_it_says_the_same(taught):
    forest, grey, _ = taught
    boxes = np.tile([0, 72, 0, 80], (4, 1))
    expected = forest.predict(grey[:4], valid_boxes=boxes)
    with strict_cupy.installed() as cupy:
        found = forest.predict(cupy.asarray(grey[:4]), valid_boxes=boxes)
        assert isinstance(found, cupy.ndarray)
        assert np.mean(found.get() != expected) < 1e-3


@pytest.mark.parametrize("seed", [3, 4])
def test_gain_and_offset_do_not_matter_unless_greys_are_kept(seed):
    grey, phase = scene(seed)
    changed = (grey * 120.0 + 3000).astype(np.uint16)
    labels = scribble(phase, seed)
    forest = PixelForest.train(grey, labels, **QUICK)
    assert np.mean(forest.predict(changed) != forest.predict(grey)) < 0.01
    kept = PixelForest.train(grey, labels, normalise=False, **QUICK)
    assert dice(kept.predict(changed), phase) < 0.8
    assert kept.outside(changed) > 0.9


def test_scales_are_nanometres():
    grey, phase = scene(5, (14, 144, 180), noise=8)
    coarse = grey.reshape(14, 72, 2, 90, 2).mean(axis=(2, 4)).astype(np.uint8)
    forest = PixelForest.train(grey, scribble(phase, share=0.004), **QUICK)
    found = forest.predict(coarse, voxel_nm=(10.0, 10.0, 10.0))
    assert dice(found, phase[:, ::2, ::2]) > 0.92
    told = forest.doubts(coarse, (40.0, 11.0, 11.0))
    assert "times those" in told[0]


def test_strange_volumes_are_told(taught):
    forest, grey, _ = taught
    assert forest.outside(grey) < 0.03
    assert forest.doubts(grey) == []
    stripes = np.where(np.arange(90) % 8 < 4, 20, 220).astype(np.uint8) * np.ones((14, 72, 1), np.uint8)
    assert forest.outside(stripes) > 0.5
    assert "scribble on this volume" in forest.doubts(stripes)[0]


def test_channels_each_give_features():
    rng = np.random.default_rng(0)
    phase = (ndi.gaussian_filter(rng.normal(size=SHAPE), (3, 6, 6)) > 0).astype(np.uint8)
    blind, seeing = (100 + rng.normal(0, 9, SHAPE) + k * 20 * phase for k in (0, 1))
    both = np.stack([blind, seeing]).astype(np.float32)
    forest = PixelForest.train(both, scribble(phase), channels=("SE", "BSE"), **QUICK)
    assert forest.importance[0][0].startswith("BSE: ")
    assert dice(forest.predict(both), phase) > 0.95
    with pytest.raises(InputError, match=r"2 channels \(SE, BSE\), not 1"):
        forest.predict(both[0])


def test_uncertainty_is_at_the_borders(taught):
    forest, grey, phase = taught
    doubt = forest.uncertainty(grey)
    border = ndi.binary_dilation(phase, iterations=2) & ~ndi.binary_erosion(phase, iterations=2)
    assert doubt[border].mean() > 2 * doubt[~border].mean()
    assert doubt.min() >= 0
    assert doubt.max() <= 1


def test_several_volumes_and_labels_with_gaps():
    scenes = [scene(seed) for seed in (0, 1)]
    labels = [scribble(phase).astype(np.int32) * 7 for _, phase in scenes]
    labels[1][labels[1] == 7] = 0
    forest = PixelForest.train([grey for grey, _ in scenes], labels, classes=("pore", "metal"), **QUICK)
    assert forest.values == (7, 14)
    assert forest.drawn[0] == (labels[0] == 7).sum()
    assert forest.drawn[1] == sum((part == 14).sum() for part in labels)
    assert dice(forest.predict(scenes[1][0]), scenes[1][1]) > 0.94


def test_what_it_says_of_itself(taught):
    forest, _, _ = taught
    rows = forest.accuracies
    assert [row["class"] for row in rows] == ["phase 0", "phase 1"]
    assert all(row["out_of_bag"] > 0.9 and row["apart"] > 0.8 for row in rows)
    assert forest.learned.apart.sum() == sum(forest.used)
    assert forest.learned.out_of_bag.sum() > 0.98 * sum(forest.used)  # a few are in the bag of all 15 trees
    assert sum(share for _, share in forest.importance) == pytest.approx(1)
    assert np.isnan(accuracy(np.zeros((2, 2)))).all()


def test_scribbles_on_noise_are_not_believed():
    """Voxels next to each other share their features: only scribbles left out apart tell that nothing was learned."""
    rng = np.random.default_rng(0)
    grey = ndi.gaussian_filter(rng.normal(size=SHAPE), 2).astype(np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    for k in range(24):
        z, y, x = rng.integers(0, 14), rng.integers(0, 68), rng.integers(0, 80)
        labels[z, y : y + 3, x : x + 9] = 1 + k % 2
    rows = PixelForest.train(grey, labels, **QUICK).accuracies
    assert all(row["out_of_bag"] > 0.85 for row in rows)
    assert all(row["apart"] < 0.75 for row in rows)


def test_the_same_whatever_the_slabs_of_labels(monkeypatch):
    from fibtomo.ops import forest_training
    from fibtomo.ops.forest_lessons import Lesson

    grey, phase = scene()
    lesson = Lesson(Volume.of(grey), phase + 1, VOXEL, [(0.0, 1.0)])
    whole = choose([lesson], 50, 7)
    monkeypatch.setattr(forest_training, "SLAB_BYTES", 8.0)
    parts = choose([lesson], 50, 7)
    assert whole.drawn == parts.drawn == {1: int((phase == 0).sum()), 2: int((phase == 1).sum())}
    for label in (1, 2):
        rows = [{tuple(p) for p in found.places[found.labels == label].tolist()} for found in (whole, parts)]
        assert rows[0] == rows[1]
        assert len(rows[0]) == 50


class Recorder:
    """A lazy volume that counts the voxels asked of it."""

    def __init__(self, data):
        self.data_, self.shape, self.dtype, self.asked = data, data.shape, data.dtype, 0

    def __getitem__(self, key):
        part = self.data_[key]
        self.asked += part.size
        return part


def test_features_are_made_around_the_scribbles_only():
    grey, phase = scene(0, (60, 200, 220))
    labels = np.zeros(phase.shape, np.uint8)
    labels[30, 100, 60:90] = phase[30, 100, 60:90] + 1
    recorder = Recorder(grey)
    PixelForest.train(recorder, labels, normalise=False, **QUICK)
    reach = np.array([10, 18, 18])
    assert recorder.asked <= 2 * np.prod(2 * reach + [1, 1, 30])


class Endless:
    """Slices made when they are asked for."""

    def __init__(self, n):
        self.shape, self.dtype = (n, 64, 96), np.dtype(np.uint8)
        self.plane = scene()[0][0, :64]
        self.plane = np.pad(self.plane, ((0, 0), (0, 6)), mode="edge")

    def __getitem__(self, key):
        z, y, x = key
        return np.repeat(self.plane[None, y, x], len(range(self.shape[0])[z]), axis=0)


class Sink:
    def __init__(self):
        self.voxels = 0

    def __setitem__(self, key, value):
        self.voxels += value.size


def test_memory_does_not_grow_with_the_stack(taught, monkeypatch):
    forest, _, _ = taught
    monkeypatch.setattr(forest_tiles, "READ_BYTES", 3e5)
    monkeypatch.setattr(forest_recipe, "TILE", (8, 64, 64))
    peaks = []
    for n in (60, 240):
        volume, sink = Endless(n), Sink()
        tracemalloc.start()
        forest.predict(volume, out=sink)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sink.voxels == np.prod(volume.shape)
    assert peaks[1] < 1.1 * peaks[0]


def test_greys_are_those_of_the_inner_range():
    grey = np.full((2, 50, 50), 100, np.uint8)
    grey[0] = 50
    grey[:, :25] = 0
    black, white = measure_greys(Volume.of(grey))[0]
    assert 49.5 <= black <= 50.5
    assert 99.5 <= white <= 100.5
    floats = np.linspace(-3.0, 5.0, 8000, dtype=np.float32).reshape(20, 20, 20)
    np.testing.assert_allclose(measure_greys(Volume.of(floats))[0], (-2.92, 4.92), atol=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(SHAPE, int)}, "two classes or more.*hold none"),
        ({"labels": np.ones(SHAPE, int)}, "hold only 1"),
        ({"labels": np.zeros((3, 4, 5), int)}, "must have the shape of their volume"),
        ({"labels": np.full(SHAPE, 0.5)}, "whole numbers"),
        ({"labels": np.full(SHAPE, -1)}, "whole numbers"),
        ({"labels": np.arange(np.prod(SHAPE)).reshape(SHAPE)}, "no scribbles"),
        ({"volume": np.zeros((4, 5))}, r"\(z, y, x\)"),
        ({"voxel_nm": (10, -5, 5)}, "positive"),
        ({"sigmas_nm": [0.9]}, "cannot be sampled"),
        ({"sigmas_nm": [5.0, 900.0]}, "cannot be sampled"),
        ({"classes": ["a"]}, "1 names were given for 2 classes"),
        ({"channels": ["a", "b"]}, "1 channels need"),
        ({"trees": 0}, "must be positive"),
        ({"seed": -1}, "not negative"),
        ({"kinds": ("colour",)}, "no features"),
    ],
)
def test_what_cannot_be_learned_from(change, message):
    grey, phase = scene()
    given = {"volume": grey, "labels": scribble(phase), **QUICK, **change}
    with pytest.raises(InputError, match=message):
        PixelForest.train(given.pop("volume"), given.pop("labels"), **given)


def test_units_must_agree(taught):
    forest, grey, phase = taught
    with pytest.raises(InputError, match="cannot be sampled with voxels of 50 nm"):
        forest.predict(grey, voxel_nm=50.0)
    plain = PixelForest.train(grey, scribble(phase), trees=3)
    assert plain.recipe.unit == "voxel"
    with pytest.raises(InputError, match="learned in voxel and the volume is in nm"):
        plain.predict(grey, voxel_nm=5.0)


def test_segment_takes_a_forest_or_its_file(taught, tmp_path):
    forest, grey, _ = taught
    forest.save(tmp_path / "model.npz")
    found = fibtomo.segment(grey, method="forest", forest=tmp_path / "model.npz", voxel_nm=VOXEL)
    np.testing.assert_array_equal(found, forest.predict(grey))
    np.testing.assert_array_equal(fibtomo.segment(grey, method="forest", forest=forest), found)
    with pytest.raises(InputError, match="needs forest="):
        fibtomo.segment(grey, method="forest")
