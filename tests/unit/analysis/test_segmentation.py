import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops.segmentation import hysteresis, segment

METHODS = [f"segment.{name}" for name in ("otsu", "multi_otsu", "gmm", "local", "hysteresis", "threshold")]


def grey_of(field, seed=0, dtype=np.uint8):
    grey = np.where(field > 0.4, 170, 80) + np.random.default_rng(seed).normal(0, 12, field.shape)
    return np.clip(grey * (257 if dtype == np.uint16 else 1), 0, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_two_phases_are_found_again(gaussian_field, dtype):
    field = gaussian_field((24, 64, 64), 3.0, 1)
    labels = segment(grey_of(field, dtype=dtype))
    truth = field > 0.4
    dice = 2 * np.sum((labels == 1) & truth) / (np.sum(labels == 1) + truth.sum())
    assert labels.dtype == np.uint8
    assert dice > 0.999


def test_float_volume_with_any_offset(gaussian_field):
    field = gaussian_field((8, 40, 40), 3.0, 2)
    labels = segment(1000 + 1e-3 * grey_of(field).astype(np.float32), method="otsu")
    assert np.mean((labels == 1) == (field > 0.4)) > 0.999


def test_smoothing_rescues_a_noisy_volume(gaussian_field):
    field = gaussian_field((24, 64, 64), 5.0, 3)
    noisy = np.clip(grey_of(field) + np.random.default_rng(1).normal(0, 50, field.shape), 0, 255).astype(np.uint8)
    plain, smooth = (np.mean((segment(noisy, smooth_px=s) == 1) == (field > 0.4)) for s in (0.0, 1.2))
    assert smooth > 0.95 > plain


def test_hysteresis_takes_doubtful_voxels_only_beside_sure_ones():
    volume = np.zeros((3, 20, 20), dtype=np.uint8)
    volume[1, 5, 3:9] = 100
    volume[1, 5, 3] = 200
    volume[1, 15, 3:9] = 100
    labels = hysteresis(volume, (50, 150), reach_px=8)
    assert labels[1, 5, 3:9].all()
    assert labels.sum() == 6
    assert hysteresis(volume, (50, 150), reach_px=2).sum() == 3


def test_outside_is_marked_and_left_out_of_the_threshold(gaussian_field):
    field = gaussian_field((6, 48, 48), 3.0, 4)
    grey = grey_of(field)
    boxes = np.tile([4, 40, 0, 44], (6, 1))
    masked = grey.copy()
    masked[:, :4] = masked[:, 40:] = 0
    masked[:, :, 44:] = 255
    labels, expected = segment(masked, valid_boxes=boxes), segment(grey[:, 4:40, :44])
    assert np.array_equal(labels[:, 4:40, :44], expected)
    assert (labels[:, :4] == 255).all()
    assert (labels[:, :, 44:] == 255).all()
    holes = grey.astype(np.float32)
    holes[:, :4] = np.nan
    assert (segment(holes, smooth_px=1.0)[:, :4] == 255).all()


def test_unusable_requests_say_what_to_do():
    volume = np.zeros((2, 4, 4), dtype=np.uint8)
    for wrong, match in [
        ({"method": "forest"}, "needs forest="),
        ({"shine_through": True}, "no place of the volume"),
        ({"shine_through": True, "classes": 3}, "2 classes, not 3"),
        ({"method": "magic"}, "must be one of otsu"),
        ({"method": "threshold"}, "needs thresholds"),
        ({"method": "hysteresis", "thresholds": (1.0, 2.0, 3.0)}, "two thresholds"),
        ({"classes": 1}, "2 or more"),
        ({"method": "threshold", "thresholds": (5.0, 1.0)}, "ascending"),
    ]:
        with pytest.raises(InputError, match=match):
            segment(volume, **wrong)


def test_constant_and_single_slice_volumes_are_one_phase():
    assert not segment(np.full((1, 5, 5), 9, dtype=np.uint8), classes=3).any()
    assert not segment(np.full((2, 5, 5), 0.25, dtype=np.float32)).any()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("smooth_px", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_slabs_give_the_labels_of_the_whole(gaussian_field, run_stage, name, smooth_px, dtype):
    grey = grey_of(gaussian_field((23, 30, 34), 2.0, 5), dtype=dtype)
    boxes = np.tile([2, 28, 1, 34], (23, 1)).astype(np.int32)
    boxes[:, 3] -= np.arange(23) % 4
    tables = {"valid": {"boxes": boxes}}
    options = {"window_nm": 30.0} if name == "segment.local" else {}
    whole, table = run_stage(name, grey, 23, tables=tables, smooth_px=smooth_px, **options)
    assert set(np.unique(whole)) == {0, 1, 255}
    for thickness in (1, 5, 8, 16):
        labels, part_table = run_stage(name, grey, thickness, tables=tables, smooth_px=smooth_px, **options)
        assert np.array_equal(labels, whole)
        assert part_table["thresholds"] == table["thresholds"]
        assert np.array_equal(part_table["histogram"], table["histogram"])


def test_stage_and_function_agree(gaussian_field, run_stage):
    grey = grey_of(gaussian_field((12, 40, 40), 3.0, 6))
    labels, table = run_stage("segment.multi_otsu", grey, 5, classes=3)
    assert np.array_equal(labels, segment(grey, classes=3))
    assert len(table["bin_edges"]) == len(table["histogram"]) + 1
    assert len(table["sigma"]) == 2
    assert len(table["fraction_sigma"]) == table["classes"] == 3


def test_grey_values_beyond_the_stated_range_are_an_error(run_stage):
    with pytest.raises(InputError, match="value range"):
        run_stage("segment.otsu", np.full((2, 4, 4), 3000.0, dtype=np.float32), 1)


def test_hysteresis_levels_in_the_wrong_order_are_an_error(run_stage):
    with pytest.raises(InputError, match="lies above"):
        run_stage("segment.hysteresis", np.zeros((2, 4, 4), dtype=np.uint8), 1, low=90, high=10)
