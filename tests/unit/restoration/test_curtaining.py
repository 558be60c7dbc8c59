import numpy as np
import pytest
from skimage.metrics import structural_similarity

from fibtomo.errors import InputError
from fibtomo.ops.curtaining import find_curtains, remove_curtaining
from fibtomo.ops.stripe_direction import stripe_slope


def psnr(image, truth):
    return 10 * np.log10(1 / np.mean((image - truth) ** 2))


@pytest.mark.parametrize("angle_deg", [0.0, 4.0, -7.0])
@pytest.mark.parametrize(("rms", "gain_db"), [(0.03, 4.0), (0.08, 4.5)])
def test_curtains_of_any_lean_are_removed(make_face, rms, angle_deg, gain_db):
    for seed in range(2):
        face = make_face(rms, angle_deg, seed)
        out = remove_curtaining(face.striped)
        assert psnr(out, face.clean) > psnr(face.striped, face.clean) + gain_db
        before, after = (structural_similarity(v, face.clean, data_range=1.0) for v in (face.striped, out))
        assert after > before + 0.02


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.12])
def test_slices_without_curtains_come_back_bit_identical(make_face, noise):
    for seed in range(4):
        clean = make_face(0.0, seed=seed, noise=noise).clean
        np.testing.assert_array_equal(remove_curtaining(clean), clean)


def test_no_harm_to_other_stripe_free_content(make_phases):
    rng = np.random.default_rng(3)
    noise = 0.03 * rng.normal(size=(256, 256))
    fine = np.where(make_phases((256, 256), 12, rng), 0.65, 0.30)
    sparse = np.where(make_phases((256, 256), 40, rng, 1.2), 0.65, 0.30)
    shaded = np.where(make_phases((256, 256), 40, rng), 0.65, 0.30) * np.linspace(1, 0.75, 256)[:, None]
    y, x = np.mgrid[:256, :256]
    slanted = np.where(np.sin((x + y) * 2 * np.pi / 45) > 0, 0.65, 0.30)
    upright = np.where(np.sin(x * 2 * np.pi / 45) > 0, 0.65, 0.30)
    smooth = 0.5 + 0.1 * np.sin(y / 17) * np.cos(x / 23)
    for truth in (fine, sparse, shaded, slanted, upright, smooth, np.full((256, 256), 0.5)):
        out = remove_curtaining(truth + noise)
        assert psnr(out, truth) > psnr(truth + noise, truth) - 0.1


def test_what_is_removed_is_curtain_and_not_structure(make_face):
    face = make_face(0.05, seed=5)
    out, removed = remove_curtaining(face.striped, return_curtain=True)
    np.testing.assert_allclose(out, face.striped - removed, atol=1e-6)
    assert np.corrcoef(removed.ravel(), face.curtain.ravel())[0, 1] > 0.8
    assert abs(np.corrcoef(removed.ravel(), face.phase.ravel())[0, 1]) < 0.05


def test_the_direction_is_found(make_face):
    for angle in (-10.0, -2.0, 0.0, 5.5):
        slope = stripe_slope(make_face(0.05, angle, seed=1, size=320).striped)
        assert np.degrees(np.arctan(slope)) == pytest.approx(angle, abs=0.3)


def test_a_plane_without_direction_has_slope_zero(make_face):
    assert stripe_slope(make_face(0.0, seed=2).clean) == 0


def test_brightness_and_contrast_of_the_image_do_not_matter(make_face):
    striped = make_face(0.05, 3.0, seed=1).striped.astype(np.float64)
    out = remove_curtaining(striped)
    scaled = remove_curtaining(1000 + 5000 * striped)
    np.testing.assert_allclose((scaled - 1000) / 5000, out, atol=2e-4)
    inverted = remove_curtaining(-striped)
    np.testing.assert_allclose(-inverted, out, atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_shape_and_dtype_stay_and_integers_do_not_wrap(make_face, dtype, ndim):
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    scale = 0.9 * info.max if info else 1.0
    array = np.clip(make_face(0.08, size=128).striped * 1.3 * scale, info.min if info else None, scale)
    array = array.astype(dtype) if ndim == 2 else array.astype(dtype)[None].repeat(2, axis=0)
    before = array.copy()
    out, removed = remove_curtaining(array, return_curtain=True)
    np.testing.assert_array_equal(array, before)
    assert (out.dtype, out.shape, removed.shape) == (array.dtype, array.shape, array.shape)
    assert np.any(out != array)
    assert np.abs(out.astype(float) - array.astype(float)).max() <= np.abs(removed).max() + 1


def test_strength_scales_what_is_removed(make_face):
    striped = make_face(0.05).striped
    whole = remove_curtaining(striped, return_curtain=True)[1]
    half = remove_curtaining(striped, strength=0.5, return_curtain=True)[1]
    np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-6)
    np.testing.assert_array_equal(remove_curtaining(striped, strength=0.0), striped)


def test_each_slice_is_judged_alone(make_face):
    striped, clean = make_face(0.06, seed=1).striped, make_face(0.0, seed=2).clean
    out = remove_curtaining(np.stack([clean, striped, clean]))
    np.testing.assert_array_equal(out[0], clean)
    np.testing.assert_array_equal(out[1], remove_curtaining(striped))


def test_wavelet_filter_is_gated_too(make_face):
    face = make_face(0.08, seed=1, size=320)
    out = remove_curtaining(face.striped, method="wavelet_fft")
    assert psnr(out, face.clean) > psnr(face.striped, face.clean) + 1
    np.testing.assert_array_equal(remove_curtaining(face.clean, method="wavelet_fft"), face.clean)


def test_columnar_structure_is_not_taken_for_curtains():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:512, :512]
    for period in (60, 25):
        wander = 0.4 * period * np.sin(2 * np.pi * (y / (5 * period) + x / 500))
        columns = 0.5 + 0.1 * np.sin(2 * np.pi * (x + wander) / period)
        out = remove_curtaining(columns + 0.02 * rng.normal(size=x.shape))
        assert np.std(out - columns) < 1.02 * 0.02


def test_index_rises_with_the_curtains(make_face):
    index = [find_curtains(make_face(a).striped, "auto", 0.0, 20.0, 60.0).index for a in (0.0, 0.02, 0.08)]
    assert index[0] <= 1 < index[1] < index[2]


@pytest.mark.parametrize("shape", [(5, 7), (40, 33), (33, 300), (257, 64)])
def test_odd_and_small_planes(shape):
    rng = np.random.default_rng(0)
    plane = rng.normal(size=shape)
    assert remove_curtaining(plane).shape == shape
    assert np.isfinite(remove_curtaining(plane + 9 * rng.normal(size=shape[1]), angle_deg=3.0)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "fft"}, "method 'fft'"),
        ({"angle_deg": 80}, "angle_deg = 80"),
        ({"angle_deg": "steep"}, "angle_deg = 'steep'"),
        ({"strength": 2}, "strength = 2"),
        ({"length_px": 0}, "length_px = 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        remove_curtaining(np.zeros((64, 64)), **options)
    with pytest.raises(InputError, match="shape"):
        remove_curtaining(np.zeros(64))


def test_real_curtains(shared_data):
    import tifffile

    crop = tifffile.imread(shared_data / "curtaining" / "pyvsnr_fib_sem_sample.tif")[900:1324, 900:1400]
    out, removed = remove_curtaining(crop, return_curtain=True)
    before, after = (find_curtains(v, "auto", 2.1, 20.0, 60.0).index for v in (crop, out))
    assert before > 10
    assert after < 0.2 * before
    assert removed.std() < 0.5 * crop.std()
