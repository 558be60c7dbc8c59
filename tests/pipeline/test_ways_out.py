"""Requests that cannot lead to a useful result are refused before work begins, with the way out that helps."""

import numpy as np
import pytest
from stage_fixtures import CALIBRATION

import fibtomo
from fibtomo.core.volume import VolumeSpec
from fibtomo.errors import BackendUnavailableError, DeviceMemoryError, InputError
from fibtomo.pipeline.budget import Machine
from fibtomo.pipeline.config import load_pipeline
from fibtomo.pipeline.plan import make_plan

RAW = VolumeSpec((200, 1024, 1024), "uint8", (10.0, 5.0, 5.0))
VOXEL = {"voxel_nm": (10, 5, 5), "column_angle_deg": 52, "tilt_corrected": False, "tracked": True}


def plan(*settings, raw=RAW, budget=1 << 30):
    return make_plan(load_pipeline("default").with_settings(list(settings)), raw, CALIBRATION, Machine(budget, 2))


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 255, (8, 40, 48), dtype=np.uint8)


def test_far_too_fine_a_voxel_is_named_with_its_size():
    with pytest.raises(DeviceMemoryError) as caught:
        plan("geometry.resample.voxel_nm=0.1")
    text = str(caught.value)
    assert "voxels of 0.1 nm make 19901 × 6491" in text
    assert "GiB" in text
    assert "--set geometry.resample.voxel_nm=5; or raise --memory" in text


def test_fine_enough_a_voxel_that_does_not_fit_asks_for_memory_alone():
    with pytest.raises(DeviceMemoryError) as caught:
        plan(raw=VolumeSpec((200, 30000, 30000), "uint8", (10.0, 5.0, 5.0)), budget=5e8)
    assert "raise --memory" in str(caught.value)
    assert "voxel_nm" not in str(caught.value)


@pytest.mark.parametrize("voxel", [100000, 6000])
def test_voxel_larger_than_the_slices_is_refused(voxel):
    with pytest.raises(InputError, match=r"slices that show 6491 × 5115 nm.*geometry\.resample\.voxel_nm=5"):
        plan(f"geometry.resample.voxel_nm={voxel}")


def test_two_voxels_across_are_still_a_volume():
    assert min(next(p.out.shape for p in plan("geometry.resample.voxel_nm=5000").sections if p.section.warp)[1:]) == 2


def test_run_with_a_voxel_larger_than_the_slices_leaves_no_folder(stack, tmp_path):
    with pytest.raises(InputError, match="take a smaller voxel"):
        fibtomo.run(stack, tmp_path / "o", settings=["geometry.resample.voxel_nm=100000"], **VOXEL)
    assert not (tmp_path / "o").exists()


def test_scheduler_that_does_not_answer_leaves_no_folder(stack, tmp_path):
    with pytest.raises(BackendUnavailableError, match="bogus"):
        fibtomo.run(stack, tmp_path / "o", "quick-look", scheduler="bogus", **VOXEL)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("segment", "highest"),
    [
        ("segment.otsu", 1),
        ("segment.multi_otsu, with: {classes: 4}", 3),
        ("segment.threshold, with: {levels: [10, 20]}", 2),
        ("segment.threshold", 1),
        ("segment.hysteresis", 1),
    ],
)
@pytest.mark.parametrize("stage", ["mesh.surface", "label.components"])
@pytest.mark.parametrize("raw", [RAW, VolumeSpec((20, 64, 64), "float32", (10.0, 5.0, 5.0), (0.0, 1.0))])
def test_phases_that_no_segmentation_makes_are_refused_while_planning(segment, highest, stage, raw):
    from fibtomo.pipeline.config import parse_pipeline

    def planned(phase):
        text = f"stages:\n- {{use: {segment}}}\n- {{use: {stage}, with: {{phase: {phase}}}}}\n"
        return make_plan(parse_pipeline(text, "t"), raw, CALIBRATION, Machine(1 << 30, 2))

    assert planned(highest).sections
    with pytest.raises(InputError, match=rf"no phase {highest + 1}: .* 0 \(darkest\) to {highest}"):
        planned(highest + 1)


def test_curtains_are_removed_from_whatever_turns_into_an_array(stack):
    expected = fibtomo.remove_curtaining(stack)
    np.testing.assert_array_equal(fibtomo.remove_curtaining(fibtomo.open_stack(stack, voxel_nm=(10, 5, 5))), expected)
    np.testing.assert_array_equal(fibtomo.remove_curtaining(stack.tolist()), expected)


def test_surface_of_grey_values_without_a_level_is_a_question(stack):
    with pytest.raises(InputError, match=r"look like grey values.*level=.*segment\(\)"):
        fibtomo.extract_surface(stack, 5.0)
    assert len(fibtomo.extract_surface(stack, 5.0, level=128).faces)
    labels = (stack > 128).astype(np.uint8)
    assert len(fibtomo.extract_surface(labels.tolist(), 5.0, smooth_px=0).faces)
