"""Distance transform against SciPy, and where slabs may trust it."""

import numpy as np
import pytest
from scipy import ndimage

from fibtomo.errors import InputError
from fibtomo.ops.distance import distance_transform

SPACINGS = [None, (12.5, 4.0, 5.0), (1.0, 0.3, 2.7)]


def blobs(shape=(24, 45, 60), seed=0):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return field > -0.02


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("solid", [0.5, 0.01, 0.0005])
def test_distance_equals_scipy(spacing, solid):
    mask = np.random.default_rng(3).random((24, 45, 60)) >= solid
    found = distance_transform(mask, spacing)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, ndimage.distance_transform_edt(mask, sampling=spacing), rtol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_black_border_is_a_layer_of_false_voxels(spacing):
    mask = blobs()
    expected = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(distance_transform(mask, spacing, black_border=True), expected, rtol=1e-6)


def test_long_lines_lose_no_digits():
    mask = np.ones((1, 3000, 3), dtype=bool)
    mask[0, ::7, 1] = False
    mask[0, 1500:] = True
    np.testing.assert_allclose(distance_transform(mask, None), ndimage.distance_transform_edt(mask), rtol=1e-6)


def test_nothing_false_is_infinitely_far():
    mask = np.ones((4, 5, 6), dtype=np.uint8)
    assert np.all(np.isinf(distance_transform(mask, 5.0)))
    assert np.all(distance_transform(mask, 5.0, limit=12.0) == 12.0)
    assert distance_transform(mask, None, black_border=True).max() == 2
    assert not distance_transform(np.zeros_like(mask), None).any()


def test_slabs_with_a_halo_agree_up_to_the_limit():
    mask, spacing, halo = blobs((40, 30, 30)), (10.0, 5.0, 5.0), 2
    limit = (halo + 1) * spacing[0]
    whole = distance_transform(mask, spacing, limit=limit)
    assert (whole == limit).any()
    slab = distance_transform(mask[14 - halo : 22 + halo], spacing, limit=limit)
    np.testing.assert_array_equal(slab[halo:-halo], whole[14:22])


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="three axes"):
        distance_transform(np.ones((3, 3), dtype=bool), None)
    with pytest.raises(InputError, match="none of them empty"):
        distance_transform(np.ones((3, 0, 3), dtype=bool), None)
    with pytest.raises(InputError, match="limit"):
        distance_transform(np.ones((3, 3, 3), dtype=bool), None, limit=0.0)
    with pytest.raises(InputError, match="voxel_nm"):
        distance_transform(np.ones((3, 3, 3), dtype=bool), (1.0, -1.0, 1.0))
