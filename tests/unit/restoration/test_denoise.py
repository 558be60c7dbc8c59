import numpy as np
import pytest
import scipy.ndimage as ndi

from fibtomo.errors import InputError
from fibtomo.ops.denoise import METHODS, denoise, gaussian, median, total_variation
from fibtomo.ops.noise import estimate_noise


@pytest.fixture(scope="module")
def noisy(make_phases):
    rng = np.random.default_rng(0)
    truth = ndi.gaussian_filter(np.where(make_phases((3, 96, 96), 30, rng), 0.65, 0.30), (0, 1, 1))
    return truth, truth + 0.08 * rng.normal(size=truth.shape)


@pytest.mark.parametrize(
    ("method", "gain_db"), [("nlm", 12), ("tv", 10), ("bilateral", 8), ("median", 6), ("gaussian", 8)]
)
def test_every_method_comes_closer_to_the_truth(noisy, method, gain_db):
    truth, seen = noisy
    out = denoise(seen, method=method)
    assert 10 * np.log10(np.mean((seen - truth) ** 2) / np.mean((out - truth) ** 2)) > gain_db


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_shape_dtype_and_input_stay(noisy, method, dtype):
    seen = (noisy[1] * (200 if dtype != "float64" else 1)).astype(dtype)
    before = seen.copy()
    for array in (seen, seen[0]):
        out = denoise(array, method=method)
        assert (out.shape, out.dtype) == (array.shape, array.dtype)
        assert np.any(out != array)
    np.testing.assert_array_equal(seen, before)


@pytest.mark.parametrize("method", ["nlm", "tv", "bilateral"])
def test_contrast_and_brightness_do_not_matter(noisy, method):
    seen = noisy[1][:1]
    out = denoise(seen, method=method)
    scaled = denoise(20 + 400 * seen, method=method)
    np.testing.assert_allclose((scaled - 20) / 400, out, atol=2e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_stays(method):
    flat = np.full((2, 24, 24), 7.0)
    np.testing.assert_allclose(denoise(flat, method=method), flat, rtol=1e-6)


@pytest.mark.parametrize("size", [(3, 1), (3, 3), (5, 3)])
def test_median_equals_scipy(noisy, size):
    size_px, size_slices = size
    seen = np.repeat(noisy[1], 2, axis=0).astype(np.float32)
    expected = ndi.median_filter(seen, (size_slices, size_px, size_px), mode="nearest")
    np.testing.assert_array_equal(median(seen, size_px, size_slices), expected)


def test_gaussian_of_a_point_is_the_closed_form():
    point = np.zeros((15, 41, 41))
    point[7, 20, 20] = 1
    out = gaussian(point, sigma_px=2.0, sigma_slices=1.0)
    z, y, x = np.ogrid[-7:8, -20:21, -20:21]
    expected = np.exp(-(z**2) / 2 - (y**2 + x**2) / 8) / ((2 * np.pi) ** 1.5 * 4)
    np.testing.assert_allclose(out, expected, atol=3e-5)


def test_total_variation_lowers_what_it_is_named_after(noisy):
    def variation(a):
        return np.abs(np.diff(a, axis=1)).sum() + np.abs(np.diff(a, axis=2)).sum()

    values = [variation(total_variation(noisy[1], strength)) for strength in (0.3, 1.0, 3.0)]
    assert variation(noisy[1]) > values[0] > values[1] > values[2]


@pytest.mark.parametrize("sigma", [0.5, 5.0, 40.0])
def test_noise_is_measured_on_structure(make_phases, sigma):
    rng = np.random.default_rng(1)
    truth = np.where(make_phases((2, 256, 256), 30, rng), 2000.0, 1000.0)
    truth = ndi.gaussian_filter(truth, (0, 2, 2))
    found = estimate_noise(truth + sigma * rng.normal(size=truth.shape))
    assert found == pytest.approx(sigma, rel=0.1 if sigma > 1 else 0.6)
    assert estimate_noise(np.full((16, 16), 3)) == pytest.approx([0])


def test_wrong_options_are_named():
    plane = np.zeros((16, 16))
    with pytest.raises(InputError, match="'mean'"):
        denoise(plane, method="mean")
    with pytest.raises(InputError, match="no option 'sigma_px'"):
        denoise(plane, method="median", sigma_px=3)
    with pytest.raises(InputError, match="odd"):
        denoise(plane, method="median", size_px=4)
    with pytest.raises(InputError, match="shape"):
        denoise(plane[0])
