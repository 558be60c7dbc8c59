import numpy as np
import pytest
from scipy import ndimage

from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError, PipelineError
from fibtomo.ops.labels import label_objects, seen_boxes

RANK = {6: 1, 18: 2, 26: 3}
CHUNKS = (29, 16, 7, 3, 1)


@pytest.fixture(scope="module")
def phases(gaussian_field):
    field = gaussian_field((29, 40, 44), 1.2, 7)
    return np.digitize(field, [1.0, 1.5]).astype(np.uint8)


def scipy_labels(mask, connectivity):
    return ndimage.label(mask, ndimage.generate_binary_structure(3, RANK[connectivity]))[0]


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_numbers_equal_scipy_in_every_cut(phases, run_stage, connectivity):
    for phase in (1, 2):
        expected = scipy_labels(phases == phase, connectivity)
        assert expected.max() > 10
        assert np.array_equal(label_objects(phases == phase, connectivity=connectivity), expected)
        for thickness in CHUNKS:
            objects, table = run_stage("label.components", phases, thickness, phase=phase, connectivity=connectivity)
            assert objects.dtype == np.uint32
            assert np.array_equal(objects, expected)
            assert len(table["label"]) == expected.max()


def test_object_table_against_scipy_and_the_same_in_every_cut(phases, run_stage):
    expected = scipy_labels(phases == 2, 6)
    index = np.arange(1, expected.max() + 1)
    _, whole = run_stage("label.components", phases, 29, phase=2)
    assert np.array_equal(whole["voxels"], np.bincount(expected.ravel())[1:])
    centres = np.array(ndimage.center_of_mass(expected > 0, expected, index)) * (2.0, 1.0, 1.0)
    found = np.stack([whole[f"centroid_{a}_nm"] for a in "zyx"], axis=1)
    assert np.allclose(found, centres)
    assert np.allclose(whole["volume_nm3"], whole["voxels"] * 2.0)
    for k, box in enumerate(ndimage.find_objects(expected)):
        assert [(whole[f"bbox_{a}0"][k], whole[f"bbox_{a}1"][k]) for a in "zyx"] == [(s.start, s.stop) for s in box]
    for thickness in CHUNKS[1:]:
        _, part = run_stage("label.components", phases, thickness, phase=2)
        for name in whole["columns"]:
            assert np.array_equal(part[name], whole[name], equal_nan=name == "sphericity"), name


def test_sphere_has_its_diameter_surface_and_sphericity(ball, run_stage):
    mask = (ball(15.0, (1.5, 1.0, 1.0)) > 0).astype(np.uint8)
    _, table = run_stage("label.components", mask, 6, voxel_nm=(1.5, 1.0, 1.0))
    assert table["equivalent_diameter_nm"] == pytest.approx([30.0], rel=0.005)
    assert table["surface_nm2"] == pytest.approx([4 * np.pi * 225], rel=0.02)
    assert table["sphericity"] == pytest.approx([1.0], abs=0.02)
    assert not table["touches_border"].any()


def test_voxels_without_scale_are_named_voxels(run_stage):
    mask = np.zeros((3, 4, 4), dtype=np.uint8)
    mask[:, 0, 0] = 1
    _, table = run_stage("label.components", mask, 2, voxel_nm=None)
    assert table["volume_voxel3"].tolist() == [3.0]
    assert table["touches_border"].tolist() == [True]
    assert "volume_nm3" not in table


def test_outside_belongs_to_no_object_and_counts_as_border(run_stage):
    phases = np.zeros((4, 9, 9), dtype=np.uint8)
    phases[:, :3] = OUTSIDE
    phases[1:3, 3:5, 3:5] = 1
    phases[1:3, 6:8, 6:8] = 1
    objects, table = run_stage("label.components", phases, 3)
    assert objects.max() == 2
    assert not objects[phases == OUTSIDE].any()
    assert table["touches_border"].tolist() == [True, False]
    assert seen_boxes(phases)[0].tolist() == [3, 9, 0, 9]


@pytest.mark.parametrize("shape", [(1, 5, 6), (4, 1, 1), (3, 5, 6)])
def test_empty_and_full_phases_are_fine(run_stage, shape):
    objects, table = run_stage("label.components", np.zeros(shape, dtype=np.uint8), 2)
    assert not objects.any()
    assert len(table["label"]) == 0
    objects, table = run_stage("label.components", np.ones(shape, dtype=np.uint8), 2)
    assert (objects == 1).all()
    objects, table = run_stage("label.components", np.full(shape, OUTSIDE, dtype=np.uint8), 2)
    assert not objects.any()


def test_brightest_phase_follows_the_threshold_table(run_stage, phases):
    brightest, _ = run_stage("label.components", phases, 10, tables={"threshold": {"classes": 3}})
    assert np.array_equal(brightest, scipy_labels(phases == 2, 6))


def test_a_slab_that_was_not_counted_is_refused(run_stage, phases):
    from fibtomo.core.stage import StageContext, get_stage
    from fibtomo.core.volume import VolumeSpec

    _, table = run_stage("label.components", phases, 8)
    stage = get_stage("label.components")
    ctx = StageContext(VolumeSpec(phases.shape, "uint8"), 8, (0, 4), {"objects": table})
    with pytest.raises(PipelineError, match="slices 8 to 12"):
        stage.apply(phases[8:12], stage.params(), ctx)


def test_wrong_masks_are_refused():
    with pytest.raises(InputError, match="three"):
        label_objects(np.ones((3, 3)))
    with pytest.raises(InputError, match="connectivity = 8"):
        label_objects(np.ones((3, 3, 3)), connectivity=8)
