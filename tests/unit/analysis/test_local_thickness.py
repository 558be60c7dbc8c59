"""Local thickness against its definition and bodies of known thickness."""

import numpy as np
import pytest
from scipy import ndimage

from fibtomo.ops.distance import distance_transform
from fibtomo.ops.local_thickness import local_thickness


def by_definition(mask, spacing, border=False):
    """Every sphere about every voxel, painted one by one."""
    step = np.broadcast_to(1.0 if spacing is None else spacing, 3).astype(float)
    radii = distance_transform(mask, spacing, black_border=border)
    at = np.stack(np.meshgrid(*[np.arange(n) for n in mask.shape], indexing="ij"), axis=-1) * step
    out = np.zeros(mask.shape)
    for centre in np.argwhere(mask):
        radius = float(radii[tuple(centre)])
        inside = ((at - centre * step) ** 2).sum(axis=-1) < radius**2 * (1 - 4e-6)
        out[inside] = np.maximum(out[inside], 2 * radius)
    return out


@pytest.mark.parametrize("spacing", [None, 5.0, (12.5, 4.0, 5.0), (1.0, 0.3, 0.7)])
@pytest.mark.parametrize(("seed", "sigma"), [(0, 0.7), (1, 1.5), (2, 2.5)])
def test_thickness_equals_its_definition(spacing, seed, sigma):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((11, 17, 19)), sigma)
    mask = field > -0.2 * field.std()
    for border in (False, True):
        found = local_thickness(mask, spacing, black_border=border)
        np.testing.assert_allclose(found, by_definition(mask, spacing, border), rtol=1e-6)


@pytest.mark.parametrize("voxels", [3, 4, 9, 10])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_plates(axis, voxels):
    spacing = (10.0, 4.0, 6.0)
    plate = np.zeros((24, 24, 24), dtype=bool)
    np.moveaxis(plate, axis, 0)[7 : 7 + voxels] = True
    found = local_thickness(plate, spacing)
    np.testing.assert_allclose(found[plate], (voxels + voxels % 2) * spacing[axis], rtol=1e-6)
    assert not found[~plate].any()


@pytest.mark.parametrize("centre", [20.0, 20.3, 20.5])
@pytest.mark.parametrize("radius_nm", [45.0, 62.0])
def test_ball_and_cylinder_are_as_thick_as_their_diameter_to_a_voxel(centre, radius_nm):
    spacing = (10.0, 5.0, 5.0)
    z, y, x = (np.arange(n) - c for n, c in zip((20, 41, 41), (centre / 2, centre, centre), strict=True))
    flat = (y[:, None] * 5) ** 2 + (x * 5) ** 2
    ball = (z[:, None, None] * 10) ** 2 + flat < radius_nm**2
    cylinder = np.broadcast_to(flat < radius_nm**2, (20, 41, 41))
    for body, voxel in ((ball, 10.0), (cylinder, 5.0)):
        found = local_thickness(body, spacing)
        assert abs(found[body].max() - 2 * radius_nm) <= 1.05 * voxel
        assert abs(found[10, 20, 20] - 2 * radius_nm) <= 1.05 * voxel


def test_ends_of_what_can_be_said():
    assert np.all(np.isinf(local_thickness(np.ones((3, 4, 5), bool), 5.0)))
    assert not local_thickness(np.zeros((3, 4, 5), bool), 5.0).any()
    assert local_thickness(np.ones((9, 9, 9), bool), 5.0, black_border=True).max() == 50.0
