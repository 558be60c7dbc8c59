"""Islands and holes judged by their whole size, in nm, wherever the volume is cut."""

import numpy as np
import pytest
from scipy import ndimage

from fibtomo.core.volume import OUTSIDE
from fibtomo.errors import InputError
from fibtomo.ops.clean import clean_phases

CUTS = (30, 11, 4, 2, 1)


def grains(seed, levels=(0.0,), shape=(30, 32, 34), sigma=1.0):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return np.digitize(field / field.std(), levels).astype(np.uint8)


def inner_islands(mask, least):
    """Voxels of components smaller than `least` that touch no border."""
    labels, n = ndimage.label(mask)
    rim = np.ones(mask.shape, bool)
    rim[1:-1, 1:-1, 1:-1] = False
    size = np.bincount(labels.ravel(), minlength=n + 1)
    small = size < least
    small[np.unique(labels[rim])] = False
    small[0] = False
    return small[labels]


@pytest.mark.parametrize("seed", range(3))
def test_two_phases_lose_their_small_islands(seed):
    phases = grains(seed, (0.5,), sigma=0.8)
    island = [inner_islands(phases == p, 40) for p in (0, 1)]
    assert min(i.any() for i in island)
    scale = (3.0, 2.0, 2.0)
    for phase in (0, 1):
        expected = np.where(island[phase], 1 - phase, phases)
        least = tuple(40 * 12.0 * (p == phase) for p in (0, 1))
        np.testing.assert_array_equal(clean_phases(phases, scale, min_volume_nm3=least), expected)
        diameters = tuple(np.cbrt(6 / np.pi * v - 1e-6 * (v > 0)) for v in least)
        np.testing.assert_array_equal(clean_phases(phases, scale, min_diameter_nm=diameters), expected)
        np.testing.assert_array_equal(clean_phases(phases, None, min_volume_nm3=np.divide(least, 12)), expected)
    np.testing.assert_array_equal(clean_phases(phases, None), phases)


@pytest.mark.parametrize("seed", range(3))
def test_enclosed_holes_are_those_of_scipy(seed):
    phases = grains(seed, (-0.9,))
    found = clean_phases(phases, 5.0, fill_holes="enclosed", fill_phases=(1,))
    expected = ndimage.binary_fill_holes(phases == 1)
    assert expected.sum() > (phases == 1).sum() + 20
    np.testing.assert_array_equal(found, expected)
    small = clean_phases(phases, 5.0, fill_holes="enclosed", fill_phases=(1,), max_hole_nm3=10 * 125.0)
    np.testing.assert_array_equal(small, phases | inner_islands(phases == 0, 11))


def test_slice_holes_are_those_of_scipy():
    phases = grains(3, (-0.4,))
    found = clean_phases(phases, None, fill_holes="slice", fill_phases=(1,))
    np.testing.assert_array_equal(found, np.stack([ndimage.binary_fill_holes(p) for p in phases == 1]))


def test_a_hole_may_hold_several_phases():
    phases = np.zeros((9, 9, 9), np.uint8)
    phases[1:8, 1:8, 1:8] = 2
    phases[3:6, 3:6, 3:6] = 0
    phases[4, 4, 4] = 1
    found = clean_phases(phases, None, fill_holes="enclosed", fill_phases=(2,))
    assert (found[1:8, 1:8, 1:8] == 2).all()
    assert not found[0].any()


def test_an_island_takes_the_phase_of_its_largest_contact_in_nm():
    """One voxel between phases 0 below and above (large faces across z) and phase 2 at its four sides."""
    phases = np.full((7, 7, 7), 2, np.uint8)
    phases[:3] = phases[4:] = 0
    phases[3, 3, 3] = 1
    flat, tall = (1.0, 4.0, 4.0), (4.0, 1.0, 1.0)
    assert clean_phases(phases, flat, min_volume_nm3=(0.0, 20.0, 0.0))[3, 3, 3] == 0
    assert clean_phases(phases, tall, min_volume_nm3=(0.0, 20.0, 0.0))[3, 3, 3] == 2


def test_nested_islands_follow_from_outside_in():
    phases = np.zeros((9, 9, 9), np.uint8)
    phases[2:7, 2:7, 2:7] = 1
    phases[3:6, 3:6, 3:6] = 2
    assert not clean_phases(phases, None, min_volume_nm3=(0.0, 100.0, 100.0)).any()
    kept = clean_phases(phases, None, min_volume_nm3=(0.0, 100.0, 10.0))
    np.testing.assert_array_equal(kept == 2, phases == 2)
    assert not (kept == 1).any()


def test_what_may_go_on_beyond_the_border_stays(run_stage):
    phases = np.zeros((8, 9, 9), np.uint8)
    phases[0, 4, 4] = phases[4, 4, 4] = phases[4, 3, 7] = 1
    phases[4, 2, 7] = OUTSIDE
    found, table = run_stage("phases.clean", phases, 3, voxel_nm=None, min_volume_nm3=[5.0])
    assert found[0, 4, 4] == found[4, 3, 7] == 1
    assert found[4, 4, 4] == 0
    assert found[4, 2, 7] == OUTSIDE
    assert (table["islands"], table["voxels"]) == (1, 1)
    found, _ = run_stage("phases.clean", phases, 3, voxel_nm=None, min_volume_nm3=[5.0], keep_border=False)
    assert not found[phases != OUTSIDE].any()
    hole = np.ones((5, 5, 5), np.uint8)
    hole[2, 2, 2:] = 0
    found, _ = run_stage("phases.clean", hole, 2, fill_holes="enclosed", fill_phases=[1])
    np.testing.assert_array_equal(found, hole)


@pytest.mark.parametrize("connectivity", [6, 26])
def test_every_cut_gives_the_same(run_stage, connectivity):
    phases = grains(8, (-0.8, 0.5), sigma=0.8)
    phases[:, :3] = OUTSIDE
    given = {
        "min_volume_nm3": [60.0, 30.0, 90.0], "min_diameter_nm": [4.0], "fill_holes": "enclosed",
        "fill_phases": [1, 0], "max_hole_nm3": 900.0, "connectivity": connectivity,
    }  # fmt: skip
    whole, table = run_stage("phases.clean", phases, CUTS[0], **given)
    assert table["islands"] > 5
    assert table["holes"] > 0
    assert table["voxels"] == np.count_nonzero(whole != phases)
    for thickness in CUTS[1:]:
        part, part_table = run_stage("phases.clean", phases, thickness, **given)
        np.testing.assert_array_equal(part, whole)
        assert [part_table[k] for k in ("islands", "holes", "voxels")] == [
            table[k] for k in ("islands", "holes", "voxels")
        ]
    given = {**given, "fill_holes": "slice"}
    whole, _ = run_stage("phases.clean", phases, CUTS[0], **given)
    np.testing.assert_array_equal(run_stage("phases.clean", phases, 4, **given)[0], whole)


def test_what_cannot_be_is_refused(run_stage):
    phases = grains(0)
    with pytest.raises(InputError, match="2 numbers for 3 phases"):
        clean_phases(grains(0, (0.0, 0.5)), None, min_volume_nm3=(1.0, 2.0))
    with pytest.raises(InputError, match="three axes"):
        clean_phases(phases[0], None)
    with pytest.raises(InputError, match="fill_phases"):
        run_stage("phases.clean", phases, 5, fill_holes="slice")
    with pytest.raises(InputError, match="negative"):
        run_stage("phases.clean", phases, 5, min_volume_nm3=[-1.0])
