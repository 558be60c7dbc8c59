"""Diffusion against closed forms, hand-solved networks and a direct solver."""

import numpy as np
import pytest
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from fibtomo.errors import InputError
from fibtomo.ops.diffusion import diffusion_field

SPACINGS = [None, (12.5, 4.0, 5.0)]


def solved_directly(mask, spacing):
    """Flux along z over that of the full volume, by a sparse direct solver."""
    step = np.broadcast_to(1.0 if spacing is None else spacing, 3)
    index = np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, -1)
    n = int(mask.sum())
    matrix, source = sparse.lil_matrix((n, n)), np.zeros(n)
    for axis in range(3):
        pairs = np.moveaxis(index, axis, 0)
        for i, j in zip(pairs[:-1].ravel(), pairs[1:].ravel(), strict=True):
            if min(i, j) >= 0:
                g = (step[0] / step[axis]) ** 2
                matrix[i, i] += g
                matrix[j, j] += g
                matrix[i, j] -= g
                matrix[j, i] -= g
    for wall, level in ((index[0], 0.0), (index[-1], 1.0)):
        for i in wall[wall >= 0]:
            matrix[i, i] += 2
            source[i] += 2 * level
    inside = np.full(mask.shape, np.nan)
    inside[mask] = spsolve(matrix.tocsc(), source)
    return inside, 2 * np.nansum(inside[0]) * len(mask) / mask[0].size


@pytest.mark.parametrize("axis", ["z", "y", "x"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_straight_channels_have_tortuosity_one(axis, spacing):
    mask = np.zeros((12, 13, 14), dtype=bool)
    np.moveaxis(mask, "zyx".index(axis), 0)[:, 3:6, ::2] = True
    found = diffusion_field(mask, axis, spacing)
    assert found.tortuosity_factor == pytest.approx(1, abs=1e-6)
    n = mask.shape["zyx".index(axis)]
    profile = np.moveaxis(found.field, "zyx".index(axis), 0)[:, 3, 0]
    np.testing.assert_allclose(profile, (np.arange(n) + 0.5) / n, rtol=1e-6)


def test_laminate_conducts_along_its_layers_only():
    layers = np.zeros((9, 10, 8), dtype=bool)
    layers[:, ::3] = True
    for axis, expected in (("z", 1.0), ("x", 1.0), ("y", np.inf)):
        found = diffusion_field(layers, axis, (10.0, 5.0, 5.0))
        assert found.tortuosity_factor == pytest.approx(expected)
    assert found.relative_diffusivity == found.percolating_fraction == 0
    assert np.all(np.isnan(found.field))
    assert found.fraction == pytest.approx(0.4)


def test_serpentine_and_straight_path_in_parallel():
    mask = np.zeros((9, 8, 3), dtype=bool)
    mask[:, 7, 1] = True  # resistance 9
    mask[:3, 1, 1] = mask[2, 1:5, 1] = mask[2:7, 4, 1] = mask[6, 1:5, 1] = mask[6:, 1, 1] = True  # 15 voxels in a row
    found = diffusion_field(mask, "z", 5.0, tolerance=1e-5)
    conductance = 1 / 9 + 1 / 15
    assert found.relative_diffusivity == pytest.approx(conductance * 9 / 24, rel=1e-4)
    assert found.tortuosity_factor == pytest.approx(24 / 216 / (conductance * 9 / 24), rel=1e-4)


def test_dead_ends_and_islands_take_no_part_in_the_flux():
    mask = np.zeros((10, 9, 9), dtype=bool)
    mask[:, 2:4, 2:4] = True
    mask[4, 4:7, 3] = True  # dead end
    mask[2:5, 8, 8] = True  # island
    found = diffusion_field(mask, "z", None, tolerance=1e-6)
    assert found.relative_diffusivity == pytest.approx(4 / 81, rel=1e-4)
    assert found.fraction == pytest.approx(46 / 810)
    assert found.percolating_fraction == pytest.approx(43 / 810)
    assert np.all(np.isnan(found.field[2:5, 8, 8]))
    np.testing.assert_allclose(found.field[4, 4:7, 3], found.field[4, 3, 3], rtol=1e-4)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", [0, 1])
def test_field_equals_a_direct_solution(seed, spacing):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((10, 12, 11)), 1.5)
    mask = noise > np.quantile(noise, 0.35)
    found = diffusion_field(mask, "z", spacing, tolerance=1e-7)
    assert found.converged
    expected, diffusivity = solved_directly(~np.isnan(found.field), spacing)
    np.testing.assert_allclose(found.field, expected, atol=1e-6)
    assert found.relative_diffusivity == pytest.approx(diffusivity, rel=1e-7)


def test_it_says_when_it_has_not_converged():
    noise = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((24, 24, 24)), 2)
    found = diffusion_field(noise > 0, "z", None, max_iterations=4)
    assert found.sweeps == 4
    assert not found.converged
    assert found.flux_mismatch > 1e-3


def test_flux_settles_to_many_digits():
    noise = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((48, 24, 24)), 3)
    found = diffusion_field(noise > -0.03, "z", None, tolerance=1e-8)
    assert found.converged


@pytest.mark.slow
def test_insulating_spheres_follow_maxwell():
    n, fraction = 96, 0.1
    radius = n * (3 * fraction / (4 * np.pi)) ** (1 / 3)
    z, y, x = np.ogrid[:n, :n, :n]
    centre = (n - 1) / 2
    mask = (z - centre) ** 2 + (y - centre) ** 2 + (x - centre) ** 2 >= radius**2
    found = diffusion_field(mask, "y", 5.0)
    f = 1 - mask.mean()
    assert found.tortuosity_factor == pytest.approx(1 + f / 2, rel=0.01)
    assert found.flux_mismatch <= 1e-3


def test_wrong_input_is_refused():
    mask = np.ones((3, 3, 3), dtype=bool)
    with pytest.raises(InputError, match="axis"):
        diffusion_field(mask, "w", None)
    with pytest.raises(InputError, match="tolerance"):
        diffusion_field(mask, "z", None, tolerance=0)
