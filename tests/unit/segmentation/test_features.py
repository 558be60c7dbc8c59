"""Features against closed forms, and against convolution and eigenvalues of SciPy and NumPy in double precision."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from fibtomo.errors import InputError
from fibtomo.ops.features import INNER, KINDS, feature_bank, feature_names, feature_reach, kernels

VOXEL = (9.0, 5.0, 4.0)
SIGMAS = (7.0, 16.0)


@pytest.fixture(scope="module")
def volume():
    noise = np.random.default_rng(0).normal(size=(22, 40, 70))
    return (ndi.gaussian_filter(noise, 1) * 400 + 100).astype(np.float32)


def derivative(values, weights, orders):
    out = values.astype(float)
    for axis, order in enumerate(orders):
        out = ndi.correlate1d(out, weights[axis][order].astype(float), axis=axis, mode="nearest")
    return out


def eigenvalues(entries):
    """Largest first, of the symmetric matrix of fields ``entries(i, j)``."""
    matrix = np.stack([np.stack([entries(i, j) for j in entries.axes], -1) for i in entries.axes], -1)
    return np.linalg.eigvalsh(matrix)[..., ::-1]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_all_features_are_those_of_double_precision(volume, dimensions):
    bank = dict(zip(feature_names(SIGMAS, dimensions=dimensions), feature_bank(volume, SIGMAS, VOXEL,
                dimensions=dimensions), strict=True))  # fmt: skip
    axes = range(3 - dimensions, 3)
    finer = volume.astype(float)
    np.testing.assert_array_equal(bank["grey"], volume)
    for sigma in SIGMAS:
        broad, narrow = kernels(sigma, VOXEL, dimensions), kernels(INNER * sigma, VOXEL, dimensions)
        unit = np.eye(3, dtype=int)
        mean = derivative(volume, broad, (0, 0, 0))
        slope = {i: derivative(volume, broad, unit[i]) for i in axes}
        steep = {i: derivative(volume, narrow, unit[i]) for i in axes}

        def second(i, j, weights=broad, unit=unit):
            return derivative(volume, weights, unit[i] + unit[j])

        def tensor(i, j, steep=steep, weights=broad):
            return derivative(steep[i] * steep[j], weights, (0, 0, 0))

        second.axes = tensor.axes = axes
        expected = {
            "gaussian": mean,
            "gradient": np.sqrt(sum(g**2 for g in slope.values())),
            "laplacian": sum(second(i, i) for i in axes),
            "difference": finer - mean,
            "variance": derivative((volume - mean) ** 2, broad, (0, 0, 0)),
        }
        for kind, field in (("hessian", eigenvalues(second)), ("structure", eigenvalues(tensor))):
            expected |= {f"{kind} {k + 1}": field[..., k] for k in range(dimensions)}
        for kind, field in expected.items():
            np.testing.assert_allclose(bank[f"{kind} {sigma:g} nm"], field, atol=2e-6 * abs(field).max(), err_msg=kind)
        finer = mean


def test_gaussians_are_those_of_scipy(volume):
    sigmas = [SIGMAS[1] / step for step in VOXEL]
    ours = feature_bank(volume, SIGMAS[1:], VOXEL, kinds=("gaussian", "gradient"))
    smooth = ndi.gaussian_filter(volume, sigmas, mode="nearest", truncate=4)
    steep = ndi.gaussian_gradient_magnitude(volume, sigmas, mode="nearest", truncate=4)
    np.testing.assert_allclose(ours[0], smooth, atol=0.02 * np.ptp(smooth))
    assert np.corrcoef(ours[1].ravel(), steep.ravel())[0, 1] > 0.9  # SciPy's is per voxel, whatever its size


def test_features_of_a_parabola_are_exact_on_voxels_of_any_shape():
    z, y, x = (step * (np.arange(n) - n // 2) for step, n in zip(VOXEL, (23, 31, 37), strict=True))
    scene = 2 * z[:, None, None] ** 2 - y[:, None] ** 2 + 0.5 * x**2
    bank = feature_bank(scene, [10.0], VOXEL, kinds=("gradient", "laplacian", "hessian"))
    middle = bank[:, 11, 15, 18]
    np.testing.assert_allclose(middle[1:] / 10.0**2, [3, 4, 1, -2], rtol=1e-4)
    assert abs(middle[0]) < 1e-2
    ramp = feature_bank(3 * x + np.zeros(scene.shape), [10.0], VOXEL, kinds=("gradient", "structure"))
    np.testing.assert_allclose(ramp[:, 11, 15, 18], [30, (3 * 5) ** 2, 0, 0], atol=1e-3)


def test_eigenvalues_of_hard_matrices_lose_no_digits():
    from fibtomo.ops._eigen_kernels import WIDTH, eigenvalues_3

    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(WIDTH, 3, 3)))[0]
    gap = 10.0 ** -rng.uniform(2, 9, WIDTH)
    values = np.stack([rng.normal(size=WIDTH)] * 3, -1)
    values[:, 2] -= gap
    values[::2, 1] = values[::2, 0] = rng.normal(size=WIDTH // 2)
    values[1::4] = 0
    values *= 10.0 ** rng.uniform(-8, 9, (WIDTH, 1))
    matrix = ((turn * values[:, None]) @ turn.transpose(0, 2, 1)).astype(np.float32)
    work = np.zeros((10, WIDTH), np.float32)
    places = {2: (0, 0), 4: (0, 1), 5: (1, 1), 7: (0, 2), 8: (1, 2), 9: (2, 2)}
    for row, (i, j) in places.items():
        work[row] = np.maximum(matrix[:, i, j], matrix[:, j, i])
        matrix[:, i, j] = matrix[:, j, i] = work[row]
    eigenvalues_3(work.reshape(-1), WIDTH)
    exact = np.linalg.eigvalsh(matrix.astype(float))[:, ::-1].T
    assert np.all(np.abs(work[[2, 4, 5]] - exact) <= 1e-6 * np.abs(exact).max(axis=0))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dimensions", "kinds"), [(3, KINDS), (2, KINDS), (3, ("gaussian",)), (3, ("structure",))])
def test_a_block_with_its_halo_gives_the_features_of_the_whole(dimensions, kinds, masked):
    rng = np.random.default_rng(1)
    whole = rng.normal(size=(40, 44, 41)).astype(np.float32)
    mask = ndi.gaussian_filter(rng.normal(size=whole.shape), 2) > -0.05 if masked else None
    reach = feature_reach([4.0], 5.0, kinds=kinds, dimensions=dimensions, masked=masked)
    block = [slice(max(0, 19 - r), 20 + r) for r in reach]
    block[2] = slice(max(0, 18 - reach[2]), 21 + reach[2])
    options = {"kinds": kinds, "dimensions": dimensions}
    full = feature_bank(whole, [4.0], 5.0, mask=mask, **options)
    cut = tuple(block)
    part = feature_bank(whole[cut], [4.0], 5.0, mask=None if mask is None else mask[cut], **options)
    z, y, x = (c - s.start for c, s in zip((19, 19, 18), block, strict=True))
    np.testing.assert_allclose(part[:, z, y, x : x + 3], full[:, 19, 19, 18:21], rtol=1e-5, atol=1e-5)


def test_masked_voxels_touch_no_other():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(9, 20, 31)).astype(np.float32)
    mask = np.ones(volume.shape, bool)
    mask[:, :, 20:] = mask[3:6, 4:9, 2:5] = False
    spoilt = np.where(mask, volume, np.nan)
    bank = feature_bank(spoilt, [1.0, 2.0], 1.0, mask=mask)
    assert np.isfinite(bank).all()
    assert not bank[:, ~mask].any()
    flat = feature_bank(np.where(mask, 7, 1000), [1.0, 2.0], 1.0, kinds=("gaussian", "gradient"), mask=mask)
    np.testing.assert_allclose(flat[:, mask], np.tile([[7], [0]], (2, mask.sum())), atol=1e-4)


def test_kinds_do_not_depend_on_what_else_is_asked_for(volume):
    names, bank = feature_names(SIGMAS), feature_bank(volume[:8], SIGMAS, VOXEL)
    for kind in KINDS:
        alone = feature_bank(volume[:8], SIGMAS, VOXEL, kinds=(kind,))
        among = bank[[k for k, name in enumerate(names) if name.startswith(kind)]]
        np.testing.assert_allclose(alone, among, rtol=1e-5, atol=1e-4, err_msg=kind)


@pytest.mark.parametrize("wrong", [
    {"sigmas_nm": []}, {"sigmas_nm": [2, 1]}, {"sigmas_nm": [0, 1]}, {"voxel_nm": 0}, {"dimensions": 4},
    {"kinds": ("edge",)}, {"kinds": ()}, {"volume": np.zeros((3, 3))}, {"volume": np.zeros((2, 2, 2), complex)},
    {"mask": np.ones((1, 1, 1), bool)},
])  # fmt: skip
def test_what_cannot_be_used_is_refused(wrong):
    with pytest.raises(InputError):
        feature_bank(**{"volume": np.zeros((3, 4, 5)), "sigmas_nm": [1], "voxel_nm": 1} | wrong)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "core",
    [
        (slice(0, 22), slice(0, 40), slice(0, 70)),
        (slice(7, 8), slice(11, 30), slice(20, 65)),
        (slice(16, 22), slice(0, 9), slice(3, 5)),
    ],
)
def test_a_window_has_the_features_of_the_whole_bit_for_bit(volume, dimensions, masked, core):
    mask = np.random.default_rng(1).random(volume.shape) > 0.2 if masked else None
    made = {"dimensions": dimensions, "mask": mask}
    whole = feature_bank(volume, SIGMAS, VOXEL, **made)
    np.testing.assert_array_equal(feature_bank(volume, SIGMAS, VOXEL, **made, core=core), whole[:, *core])


def test_a_block_with_its_reach_has_the_features_of_the_whole_bit_for_bit(volume):
    core = (slice(9, 11), slice(18, 21), slice(33, 36))
    reach = feature_reach([3.0], VOXEL)
    block = tuple(slice(max(0, w.start - r), w.stop + r) for w, r in zip(core, reach, strict=True))
    inside = tuple(slice(w.start - b.start, w.stop - b.start) for w, b in zip(core, block, strict=True))
    whole = feature_bank(volume, [3.0], VOXEL, core=core)
    np.testing.assert_array_equal(feature_bank(volume[block], [3.0], VOXEL, core=inside), whole)
