import numpy as np
import pytest
import scipy.ndimage as ndi

from fibtomo.errors import InputError
from fibtomo.ops.noise import NoiseModel, count_blocks, estimate_noise, estimate_noise_model, fit_counts
from fibtomo.phantom.artefacts import Noise
from fibtomo.phantom.effects import detect


@pytest.fixture(scope="module")
def signal(make_phases):
    """Two phases of signal 0.3 and 0.7 with edges a pixel wide."""
    rng = np.random.default_rng(0)
    return ndi.gaussian_filter(np.where(make_phases((4, 160, 160), 34, rng), 0.7, 0.3), (0, 0.8, 0.8))


def expected_sigma(grey, electrons, read):
    return np.sqrt(grey / electrons + read**2)


@pytest.mark.parametrize("sigma", [0.5, 5.0, 40.0])
def test_noise_is_measured_on_structure(make_phases, sigma):
    rng = np.random.default_rng(1)
    truth = np.where(make_phases((2, 256, 256), 30, rng), 2000.0, 1000.0)
    truth = ndi.gaussian_filter(truth, (0, 2, 2))
    found = estimate_noise(truth + sigma * rng.normal(size=truth.shape))
    assert found == pytest.approx(sigma, rel=0.1 if sigma > 1 else 0.6)
    assert estimate_noise(np.full((16, 16), 3)) == pytest.approx([0])


@pytest.mark.parametrize(("electrons", "read"), [(20, 0.02), (60, 0.02), (200, 0.01), (200, 0.0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_counting_noise_is_found_phase_by_phase(signal, electrons, read, seed):
    model = estimate_noise_model(detect(signal, Noise(electrons=electrons, read=read), np.random.default_rng(seed)))
    greys = np.array([0.3, 0.7])
    np.testing.assert_allclose(model.sigma(greys), expected_sigma(greys, electrons, read), rtol=0.05)
    assert model.gain == pytest.approx(1 / electrons, rel=0.2)


def test_stored_integers_and_their_offset(signal):
    seen = detect(signal, Noise(electrons=50, read=0.02), np.random.default_rng(0))
    stored = np.clip(np.rint(30 + 200 * seen), 0, 255).astype(np.uint8)
    model = estimate_noise_model(stored)
    for grey in (0.3, 0.7):
        assert model.sigma(30 + 200 * grey) == pytest.approx(200 * expected_sigma(grey, 50, 0.02), rel=0.07)
    inverted = estimate_noise_model(255 - stored)
    assert inverted.gain == pytest.approx(-model.gain, rel=0.05)
    assert inverted.sigma(255 - 170) == pytest.approx(model.sigma(170), rel=0.03)


def test_uniform_noise_has_no_slope(signal):
    model = estimate_noise_model(signal + 0.05 * np.random.default_rng(0).normal(size=signal.shape))
    assert model.gain == 0
    assert model.typical_sigma == pytest.approx(0.05, rel=0.06)


def test_the_whole_variance_of_correlated_noise_is_found(signal):
    noise = ndi.gaussian_filter(np.random.default_rng(0).normal(size=signal.shape), (0, 0.6, 0.6))
    noise *= 0.05 / noise.std()
    assert estimate_noise_model(signal + noise).typical_sigma == pytest.approx(0.05, rel=0.08)
    assert estimate_noise(signal + noise).max() < 0.035  # what the Laplacian makes of it


def test_void_and_masked_pixels_do_not_count(signal):
    rng = np.random.default_rng(0)
    seen = signal + 0.05 * rng.normal(size=signal.shape)
    without = estimate_noise_model(seen[:, :, 40:]).typical_sigma
    void = seen.copy()
    void[:, :, :40] = np.nan
    assert estimate_noise_model(void).typical_sigma == pytest.approx(without, rel=0.02)
    wild = seen.copy()
    wild[:, :, :40] = rng.normal(0.3, 0.2, wild[:, :, :40].shape)
    mask = np.ones(seen.shape, dtype=bool)
    mask[:, :, :40] = False
    assert estimate_noise_model(wild, mask).typical_sigma == pytest.approx(without, rel=0.02)


def test_counts_of_slabs_add_up(signal):
    seen = detect(signal, Noise(electrons=60, read=0.02), np.random.default_rng(0))
    whole, missed = count_blocks(seen, (-0.5, 1.5))
    assert missed == 0
    assert count_blocks(seen, (-0.5, 0.5))[1] > 1000
    parts = sum(count_blocks(seen[z : z + 1], (-0.5, 1.5))[0] for z in range(len(seen)))
    np.testing.assert_array_equal(whole, parts)
    assert fit_counts(whole, (-0.5, 1.5)).sigma(0.5) == pytest.approx(expected_sigma(0.5, 60, 0.02), rel=0.07)


@pytest.mark.parametrize(
    "array", [np.full((2, 32, 32), 7.0), np.full((2, 32, 32), np.nan), np.arange(1024.0).reshape(32, 32)]
)
def test_no_noise_no_model(array):
    model = estimate_noise_model(array)
    assert model.silent
    assert model.typical_sigma == 0


def test_few_blocks_still_give_a_level():
    seen = np.random.default_rng(0).normal(100, 5, (1, 24, 24))
    assert estimate_noise_model(seen).typical_sigma == pytest.approx(5, rel=0.2)


def test_slices_without_a_block_are_refused():
    with pytest.raises(InputError, match="6 × 6"):
        estimate_noise_model(np.zeros((3, 5, 40)))


@pytest.mark.parametrize("gain", [0.5, -0.5])
@pytest.mark.parametrize("electrons", [3, 10, 100])
def test_stabilised_noise_is_one_and_the_way_back_unbiased(gain, electrons):
    rng = np.random.default_rng(electrons)
    read, offset = 0.7, 40.0
    model = NoiseModel(gain, read**2 - gain * offset, (offset - 200, offset + 200))
    seen = offset + gain * rng.poisson(electrons, 400000) + rng.normal(0, read, 400000)
    level = model.stabilise(seen)
    mean = offset + gain * electrons
    assert level.std() == pytest.approx(1, abs=0.05)
    assert model.restore(level.mean(dtype=np.float64)) == pytest.approx(mean, abs=0.02)
    if electrons == 3:  # the algebraic inverse is off by more than ten times that
        algebraic = gain * ((level.mean(dtype=np.float64) / 2) ** 2 - 3 / 8) - model.variance_at_zero / gain
        assert abs(algebraic - mean) > 0.1


def test_stabilising_keeps_the_order_of_greys():
    greys = np.linspace(0, 255, 512)
    for model in (NoiseModel(0.5, 3.0, (0, 255)), NoiseModel(-0.5, 140.0, (0, 255)), NoiseModel.uniform(3.0)):
        level = model.stabilise(greys)
        assert np.all(np.diff(level) > 0)
        bright = greys if model.gain >= 0 else 255 - greys
        inside = bright > 20
        np.testing.assert_allclose(model.restore(level)[inside], greys[inside], atol=0.2)


def test_tables_hold_all_of_it():
    model = NoiseModel(0.1, -2.0, (30.0, 200.0))
    assert NoiseModel.from_table(model.to_table()) == model
