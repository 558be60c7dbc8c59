"""Walls and open pores of virtual stacks that no forest has seen."""

import warnings
from functools import cache

import numpy as np
import pytest

import fibtomo
from fibtomo.errors import InputError
from fibtomo.models.train_shine_through import draw, learn
from fibtomo.ops.light_decay import fit_light, sample_rays
from fibtomo.ops.shine_features import shine_feature_names, slices_around
from fibtomo.ops.shine_through import ShineForest, shipped_forest, wall_probability
from fibtomo.ops.two_stage import two_stage_threshold
from fibtomo.phantom import acquire
from tests.unit.segmentation.test_light_decay import DOWN, stack


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@cache
def segmented(seed, decay_nm, porosity=0.6):
    return fibtomo.segment(stack(seed, decay_nm, porosity).slices, shine_through=True, voxel_nm=10.0) == 1


@pytest.mark.parametrize(
    ("seed", "decay_nm", "porosity"), [(701, 90.0, 0.6), (702, 180.0, 0.5), (703, 180.0, 0.72), (704, 360.0, 0.6)]
)
def test_walls_where_back_walls_shine_through(seed, decay_nm, porosity):
    run = stack(seed, decay_nm, porosity)
    truth, found = run.truth.phase > 0, segmented(seed, decay_nm, porosity)
    otsu = fibtomo.segment(run.slices, method="otsu") == 1
    assert dice(found, truth) > 0.965
    assert abs(found.mean() - truth.mean()) < 0.01
    assert dice(otsu, truth) < 0.9
    assert abs(otsu.mean() - truth.mean()) > 0.08


def test_filled_pores_are_found_as_well():
    run = stack(505, 0.0)
    truth, found = run.truth.phase > 0, segmented(505, 0.0)
    assert dice(found, truth) > 0.99
    assert abs(found.mean() - truth.mean()) < 0.005


def test_two_stage_thresholds_lie_between_otsu_and_the_forest():
    run = stack(702, 180.0, 0.5)
    truth = run.truth.phase > 0
    otsu, two_stage = fibtomo.segment(run.slices, method="otsu") == 1, two_stage_threshold(run.slices, DOWN) == 1
    assert dice(otsu, truth) + 0.01 < dice(two_stage, truth) < dice(segmented(702, 180.0, 0.5), truth)


def test_balls_and_other_greys_and_types():
    foam = {"kind": "boolean_balls", "radius_nm": 90.0, "fraction": 0.4, "bubbles": True, "seed": 9}
    run = acquire(
        foam | {"greys": (0.35, 0.6)}, shape=(48, 64, 64), pixel_nm=10.0, slice_nm=10.0, tilt_corrected=True,
        tracked=True, seed=9, artefacts={"shine_through": {"decay_nm": 180.0}, "noise": {"electrons": 1500.0}},
        dtype="uint16", oversample=1,
    )  # fmt: skip
    truth = run.truth.phase > 0
    found = fibtomo.segment(run.slices, shine_through=True) == 1
    assert dice(found, truth) > 0.96
    signal = run.slices.astype(np.float32) / 65535
    assert (fibtomo.segment(signal, shine_through=True) == 1).sum() == pytest.approx(found.sum(), rel=1e-3)


def test_any_slab_gives_the_same_probabilities():
    volume = stack(702, 180.0, 0.5).slices
    n, (before, after) = len(volume), slices_around()
    light = fit_light([sample_rays(volume, 0, (0, n), volume.shape, DOWN)]).light
    whole = wall_probability(volume, 0, (0, n), volume.shape, light, DOWN)
    for first, last in ((0, 1), (15, 17), (31, 50), (40, 56)):
        z0, z1 = max(0, first - before), min(n, last + after)
        slab = wall_probability(volume[z0:z1], z0, (first - z0, last - z0), volume.shape, light, DOWN)
        np.testing.assert_array_equal(slab, whole[first:last])


def test_what_is_not_seen_is_outside():
    volume = stack(702, 180.0, 0.5).slices.astype(np.float32)
    volume[:, :9] = np.nan
    boxes = np.tile([0, 72, 0, 60], (len(volume), 1))
    labels = fibtomo.segment(volume, shine_through=True, valid_boxes=boxes)
    assert (labels[:, :9] == 255).all()
    assert (labels[:, :, 60:] == 255).all()
    inside = (slice(None), slice(14, None), slice(0, 54))
    assert (labels[inside] == segmented(702, 180.0, 0.5)[inside]).mean() > 0.985


def test_unlike_the_training_is_said():
    grainy = stack(706, 180.0, 0.6, noise=0.12).slices
    with pytest.warns(UserWarning, match="noise over contrast"):
        fibtomo.segment(grainy, shine_through=True)
    with pytest.warns(UserWarning, match="light runs up the face"):
        flipped = fibtomo.segment(stack(702, 180.0, 0.5).slices[:, ::-1], shine_through=True)
    assert ((flipped[:, ::-1] == 1) == segmented(702, 180.0, 0.5)).mean() > 0.995
    with pytest.warns(UserWarning, match="too small to follow light"):
        fibtomo.segment(stack(702, 180.0, 0.5).slices[:12], shine_through=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fibtomo.segment(stack(702, 180.0, 0.5).slices, shine_through=True)


def test_two_classes_and_a_column_angle():
    volume = stack(702, 180.0, 0.5).slices
    with pytest.raises(InputError, match="2 classes, not 3"):
        fibtomo.segment(volume, shine_through=True, classes=3)
    with pytest.raises(InputError, match="column_angle_deg = 0"):
        fibtomo.segment(volume, shine_through=True, column_angle_deg=0)
    with pytest.raises(InputError, match="three"):
        fibtomo.segment(volume[0], shine_through=True)


def test_files_of_forests(tmp_path):
    forest = shipped_forest()
    forest.save(tmp_path / "again.npz")
    again = ShineForest.load(tmp_path / "again.npz")
    assert again.trained == forest.trained
    for a, b in zip(again.forest.to_arrays().values(), forest.forest.to_arrays().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    (tmp_path / "text.npz").write_text("no forest")
    with pytest.raises(InputError, match=r"text\.npz is no shine-through forest"):
        ShineForest.load(tmp_path / "text.npz")
    cut = (tmp_path / "again.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(InputError, match="or is damaged"):
        ShineForest.load(tmp_path / "cut.npz")
    arrays = dict(np.load(tmp_path / "again.npz"))
    arrays["header"] = np.frombuffer(arrays["header"].tobytes().replace(b"forest 1", b"forest 9"), np.uint8)
    np.savez(tmp_path / "newer.npz", **arrays)
    with pytest.raises(InputError, match="which this version reads"):
        ShineForest.load(tmp_path / "newer.npz")


def test_the_shipped_forest_is_small_and_of_these_features():
    from fibtomo.ops.shine_through import MODEL

    assert MODEL.stat().st_size < 4e6
    assert shipped_forest().forest.features == len(shine_feature_names())


def test_lessons_are_drawn_alike_every_time():
    assert draw(5) == draw(5) != draw(6)
    lesson = learn(4)
    assert lesson.features.shape == (len(lesson.walls), len(shine_feature_names()))
    assert 0.05 < lesson.walls.mean() < 0.7
    assert lesson.rows_per_slice > 0
