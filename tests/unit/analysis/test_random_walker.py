"""Random walks from confident voxels, against known phases."""

import numpy as np
import pytest
from scipy import ndimage

from fibtomo.errors import InputError
from fibtomo.ops.random_walker import UNDECIDED, confident_markers, segment_random_walker
from fibtomo.ops.segmentation import segment


def specimen(seed, noise, levels=(0.0,), shape=(16, 32, 32)):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 3, mode="wrap")
    phases = np.digitize(field / field.std(), levels).astype(np.uint8)
    grey = 60.0 + 60.0 * phases + rng.normal(0, noise, shape)
    return phases, np.clip(np.rint(grey), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_decided_by_the_neighbours(seed):
    phases, grey = specimen(seed, 18.0)
    walked, cut = segment_random_walker(grey), segment(grey)
    assert np.mean(walked != phases) < 0.5 * np.mean(cut != phases)


def test_three_phases_and_the_anisotropic_grid():
    phases, grey = specimen(1, 8.0, (-0.6, 0.6))
    markers = confident_markers(grey, 3)
    decided = markers != UNDECIDED
    assert 0.4 < decided.mean() < 0.99
    assert np.mean(markers[decided] == phases[decided]) > 0.98
    walked = segment_random_walker(grey, classes=3, voxel_nm=(2.0, 1.0, 1.0))
    assert set(np.unique(walked)) == {0, 1, 2}
    np.testing.assert_array_equal(walked[decided], markers[decided])


def test_given_markers_keep_their_numbers():
    grey = np.zeros((4, 6, 10))
    grey[:, :, 6:] = 100.0
    markers = np.full(grey.shape, UNDECIDED, np.uint8)
    markers[1, 2, 1], markers[1, 2, 8] = 4, 2
    walked = segment_random_walker(grey, markers)
    np.testing.assert_array_equal(walked, np.where(grey > 0, 2, 4))
    full = np.where(grey > 0, 3, 1).astype(np.uint8)
    np.testing.assert_array_equal(segment_random_walker(grey, full), full)


def test_what_cannot_be_is_refused():
    grey = np.arange(27.0).reshape(3, 3, 3)
    with pytest.raises(InputError, match="beta"):
        segment_random_walker(grey, np.zeros(grey.shape, np.uint8), beta=0)
    with pytest.raises(InputError, match="1 phase"):
        segment_random_walker(grey, np.zeros(grey.shape, np.uint8))
    with pytest.raises(InputError, match="three axes"):
        segment_random_walker(grey, np.zeros((3, 3), np.uint8))
    with pytest.raises(InputError, match="classes = 5"):
        segment_random_walker(grey, classes=5)
