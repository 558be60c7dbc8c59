"""VSNR, general stripe remover, wedge and tuned wavelet-FFT, each behind the gate of `remove_curtaining`."""

import warnings

import numpy as np
import pytest
import scipy.fft

from fibtomo.ops import curtain_general
from fibtomo.ops.curtain_filters import FILTERS, named_stripes
from fibtomo.ops.curtain_parts import cosines, frame_spans, inside_weight
from fibtomo.ops.curtain_tv import LAPLACE_SCALE, SplitStripes
from fibtomo.ops.curtain_wavelet import tuned_wavelet_stripes
from fibtomo.ops.curtain_wedge import wedge_of, wedge_stripes
from fibtomo.ops.curtaining import find_curtains, remove_curtaining
from fibtomo.ops.stripe_frame import in_stripe_frame
from fibtomo.ops.stripes import stripe_field

NAMES = sorted(FILTERS)
GAIN_DB = {  # over the input, at curtains of 0.03 and 0.08: least seen on six faces of 256 px, less a margin
    "vsnr": (2.5, 4.0),
    "general": (2.5, 4.0),
    "wedge": (2.0, 3.0),
    "wavelet_fft": (1.5, 3.0),
}
each = pytest.mark.parametrize("method", NAMES)


def fixed_munch(plane, wavelet, levels, sigma_rows):
    """Stripes by the filter of the paper with settings chosen by hand."""
    import pywt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # levels too many for the size
        coefficients = pywt.wavedec2(plane, wavelet, level=levels, mode="symmetric")
    stripes = [np.zeros_like(coefficients[0])]
    for _, upright, _ in coefficients[1:]:
        cycles = np.arange(len(upright) // 2 + 1)
        keep = np.exp(-(cycles**2) / (2 * sigma_rows**2))[:, None]
        stripes.append((None, np.fft.irfft(np.fft.rfft(upright, axis=0) * keep, n=len(upright), axis=0), None))
    return pywt.waverec2(stripes, wavelet, mode="symmetric")[: plane.shape[0], : plane.shape[1]]


def psnr(image, truth):
    return 10 * np.log10(1 / np.mean((image - truth) ** 2))


@each
@pytest.mark.parametrize(("angle_deg", "seed"), [(0.0, 0), (0.0, 1), (4.0, 2), (4.0, 3), (-7.0, 4)])
@pytest.mark.parametrize("strong", [False, True])
def test_curtains_of_any_lean_are_removed_and_no_structure(make_face, method, angle_deg, seed, strong):
    face = make_face(0.08 if strong else 0.03, angle_deg, seed)
    out, removed = remove_curtaining(face.striped, method=method, return_curtain=True)
    assert psnr(out, face.clean) > psnr(face.striped, face.clean) + GAIN_DB[method][strong]
    assert abs(np.corrcoef(removed.ravel(), face.phase.ravel())[0, 1]) < 0.1
    assert np.corrcoef(removed.ravel(), face.curtain.ravel())[0, 1] > 0.7


@each
def test_slices_without_curtains_come_back_bit_identical(make_face, method):
    for seed in range(2):
        clean = make_face(0.0, seed=seed).clean
        np.testing.assert_array_equal(remove_curtaining(clean, method=method), clean)


@each
def test_weak_curtains_are_not_made_worse(make_face, method):
    for seed, rms in ((0, 0.005), (1, 0.01), (2, 0.01)):
        face = make_face(rms, seed=seed)
        out = remove_curtaining(face.striped, method=method)
        assert psnr(out, face.clean) > psnr(face.striped, face.clean) - 0.1


@each
def test_what_the_gate_does_not_let_pass_is_hardly_touched(make_face, method):
    """The filters themselves, on faces without curtains: what they would take is far below noise."""
    clean = make_face(0.0, seed=3).clean
    assert named_stripes(clean, 0.0, method, 20.0, 60.0).std() < 0.5 * 0.03


@each
def test_barely_conspicuous_curtains_are_taken_in_part(make_face, method):
    face = next(f for a in np.arange(0.004, 0.02, 0.0005) if 1.1 < index_of(f := make_face(a).striped) < 1.9)
    share = index_of(face) - 1
    removed = remove_curtaining(face, method=method, angle_deg=0.0, return_curtain=True)[1]
    np.testing.assert_allclose(removed, share * named_stripes(face, 0.0, method, 20.0, 60.0), atol=1e-6)


def index_of(plane):
    return stripe_field(plane).plain_index


@each
def test_brightness_contrast_and_sign_do_not_matter(make_face, method):
    striped = make_face(0.05, seed=1).striped
    found = named_stripes(striped, 0.0, method, 20.0, 60.0)
    scaled = named_stripes(1000 + 5000 * striped.astype(np.float64), 0.0, method, 20.0, 60.0)
    np.testing.assert_allclose(scaled / 5000, found, atol=0.03 * found.std())
    np.testing.assert_allclose(named_stripes(-striped, 0.0, method, 20.0, 60.0), -found, atol=0.03 * found.std())


@each
def test_mirrored_planes_give_mirrored_stripes(make_face, method):
    striped = make_face(0.05, seed=2).striped
    found = FILTERS[method](striped)
    for flip in (np.s_[::-1], np.s_[:, ::-1]):
        other = FILTERS[method](np.ascontiguousarray(striped[flip]))[flip]
        assert np.std(other - found) < 0.3 * found.std()  # differences look forward, wavelets have a grid


@each
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float64"])
def test_shape_and_dtype_stay_and_integers_do_not_wrap(make_face, method, dtype):
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    scale = 0.9 * info.max if info else 1.0
    array = np.clip(make_face(0.08, size=128).striped * 1.3 * scale, info.min if info else None, scale).astype(dtype)
    out, removed = remove_curtaining(array, method=method, return_curtain=True)
    assert (out.dtype, out.shape, removed.dtype, removed.shape) == (array.dtype, (128, 128), np.float32, (128, 128))
    assert np.any(out != array)
    assert np.abs(out.astype(float) - array.astype(float)).max() <= np.abs(removed).max() + 1


@each
@pytest.mark.parametrize("shape", [(32, 32), (33, 300), (257, 64), (40, 41)])
def test_planes_of_any_shape(method, shape):
    rng = np.random.default_rng(0)
    stripes = 5 * rng.normal(size=shape[1]) * np.ones(shape)
    noisy = stripes + rng.normal(size=shape)
    found = named_stripes(noisy, 0.0, method, 20.0, 60.0)
    assert (found.shape, found.dtype) == (shape, np.float32)
    assert np.std(found - stripes) < 0.7 * np.std(stripes)
    leaning = named_stripes(noisy, 0.05, method, 20.0, 60.0)
    assert leaning.shape == shape
    assert np.isfinite(leaning).all()


@each
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (8, 9), (8, 200), (200, 8)])
def test_tiny_planes(method, shape):
    rng = np.random.default_rng(0)
    found = named_stripes(rng.normal(size=shape), 0.1, method, 20.0, 60.0)
    assert found.shape == shape
    assert np.isfinite(found).all()
    plane = rng.normal(size=shape)
    np.testing.assert_array_equal(remove_curtaining(plane, method=method), plane)


@each
def test_planes_without_anything_in_them(method):
    y, x = np.mgrid[:96, :128].astype(np.float32)
    assert np.abs(named_stripes(np.full((96, 128), 7.0), 0.0, method, 20.0, 60.0)).max() < 1e-4
    shaded = named_stripes(100 + y, 0.0, method, 20.0, 60.0)
    assert np.abs(shaded).max() < 0.005 * np.ptp(y)
    for plane in (np.full((96, 128), 7.0), 100 + y, 100 + x, 100 + x + y):
        np.testing.assert_array_equal(remove_curtaining(plane, method=method), plane)


@each
def test_a_sine_across_is_found_whole_and_one_along_not_at_all(method):
    rng = np.random.default_rng(1)
    wave = np.sin(2 * np.pi * np.arange(256) / 12)
    noise = 0.2 * rng.normal(size=(256, 256))
    found = named_stripes(wave + noise, 0.0, method, 20.0, 60.0)
    assert np.std(found - wave) < 0.2 * np.std(wave)
    across = named_stripes(np.ascontiguousarray((wave + noise.T).T), 0.0, method, 20.0, 60.0)
    assert across.std() < 0.2 * np.std(wave)


@each
def test_the_rim_of_the_plane_does_not_ring(make_face, method):
    """The plane's ends do not meet, and the stripes grow from top to bottom."""
    squares = np.zeros(2)
    rim = np.ones((256, 256), bool)
    rim[8:-8, 8:-8] = False
    for seed in range(2):
        face = make_face(0.05, seed=seed)
        shade = np.linspace(0, 0.3, 256) + np.linspace(0, 0.2, 256)[:, None]
        error = named_stripes(face.striped + shade, 0.0, method, 20.0, 60.0) - face.curtain
        squares += [np.mean(error[rim] ** 2), np.mean(error[~rim] ** 2)]
    assert squares[0] < 3 * squares[1]


def test_the_wedge_keeps_all_other_coefficients(make_face):
    striped = make_face(0.08, seed=3).striped
    found = wedge_stripes(striped)
    spectrum = scipy.fft.dctn(found.astype(np.float64), norm="ortho")
    wedge = wedge_of(striped.shape, 20.0, 60.0)
    assert np.abs(spectrum[~wedge]).max() < 1e-4 * np.abs(spectrum).max()
    assert 0.001 < wedge.mean() < 0.05
    assert not wedge[:, 0].any()


def energy(split, power, limit):
    """What `SplitStripes.step` makes small, over the noise: Σ w |∇(u0 - s)| / b + ½ Σ ŝ² / P."""
    rest = (split.grey - split.stripes).astype(np.float64)
    rise, fall = np.zeros_like(rest), np.zeros_like(rest)
    rise[:, :-1], fall[:-1, :-1] = np.diff(rest, axis=1), np.diff(rest, axis=0)[:, :-1]
    variation = (np.hypot(rise, fall) * limit).sum() / (LAPLACE_SCALE * split.noise)
    return variation + 0.5 * (split.spectrum.astype(np.float64) ** 2 / power).sum()


def test_the_split_reaches_the_least_energy(make_face):
    striped = make_face(0.08, seed=1, size=128).striped
    split = SplitStripes(striped, None, 6)
    power, ones = np.full((6, 128), 300 * split.noise**2), np.ones((128, 128), np.float32)
    trace = [energy(split, power, ones)]
    for _ in range(3):
        split.step(power, 10)
        trace.append(energy(split, power, ones))
    assert trace[1] < 0.95 * trace[0]
    split.step(power, 400)
    least = energy(split, power, ones)
    assert trace[3] < least + 0.01 * (trace[0] - least)
    rng = np.random.default_rng(0)
    best = split.spectrum.copy()
    for size in (0.3, 1.0):  # no direction goes down from there
        split.spectrum = best + size * split.noise * rng.normal(size=best.shape).astype(np.float32)
        split.stripes = cosines(128, 6).T @ scipy.fft.idct(split.spectrum, axis=1, norm="ortho")
        assert energy(split, power, ones) > least


def test_the_split_takes_free_stripes_whole():
    """Least total variation of a lone wave that may be taken, whatever its height, is none."""
    stripes = (3 * np.cos(np.pi * 20 * (np.arange(128) + 0.5) / 128) * np.ones((96, 1))).astype(np.float32)
    split = SplitStripes(stripes, None, 4)
    split.step(np.full((4, 128), np.inf), 200)
    np.testing.assert_allclose(split.stripes - split.stripes.mean(), stripes - stripes.mean(), atol=0.02)


def test_the_general_energy_falls(make_face):
    striped = make_face(0.08, seed=1, size=128).striped
    before = general_energy(striped, np.zeros_like(striped))
    trace = [general_energy(striped, plain_general(striped, rounds)) for rounds in (30, 100, 400)]
    assert trace[0] < before
    assert trace[2] < trace[1] + 1e-4 * before < trace[0] + 2e-4 * before


def plain_general(grey, iterations):
    from fibtomo.ops._curtain_kernels import split_step

    grey = grey - np.median(grey)
    fields = np.zeros((5, *grey.shape), np.float32)
    limit = np.full(grey.shape, curtain_general.VARIATION, np.float32)
    for _ in range(iterations):
        fields = split_step(grey, fields, limit, 0.05, 1 / (0.05 * 12), curtain_general.SPARSITY)
    return fields[0]


def general_energy(grey, stripes):
    rest = (grey - stripes).astype(np.float64)
    rise, fall = np.zeros_like(rest), np.zeros_like(rest)
    rise[:, :-1], fall[:-1, :-1] = np.diff(rest, axis=1), np.diff(rest, axis=0)[:, :-1]
    size = curtain_general.SPARSITY * np.abs(stripes).sum() + np.abs(np.diff(stripes.astype(np.float64), axis=0)).sum()
    return curtain_general.VARIATION * np.hypot(rise, fall).sum() + size


@each
def test_wide_stripes_stay_where_that_is_asked(method):
    rng = np.random.default_rng(0)
    wide = np.sin(2 * np.pi * np.arange(256) / 128) * np.ones((256, 1))
    noisy = (wide + 0.2 * rng.normal(size=(256, 256))).astype(np.float32)
    taken = [np.mean(FILTERS[method](noisy, width_px=w) * wide) / np.mean(wide**2) for w in (4.0, 120.0)]
    assert taken[0] < 0.1
    if method != "wavelet_fft":  # its coarsest level depends on the size of the plane
        assert taken[1] > 0.7


def test_tuned_wavelets_do_better_than_any_fixed_width(make_face):
    for seed in range(2):
        face = make_face(0.05, seed=seed)
        fixed = [
            face.striped - fixed_munch(face.striped, w, n, s)
            for w in ("db4", "db10")
            for n in (2, 3, 4)
            for s in (1.0, 2.0, 4.0)
        ]
        tuned = face.striped - tuned_wavelet_stripes(face.striped)
        assert psnr(tuned, face.clean) > max(psnr(v, face.clean) for v in fixed) + 0.5


@pytest.mark.parametrize("slope", [0.1, -0.07, 0.0])
def test_spans_are_the_pixels_of_the_plane(slope):
    seen = []
    in_stripe_frame(np.ones((60, 50), np.float32), slope, lambda u: seen.append(u.shape) or u)
    spans = frame_spans(seen[0], 50, slope)
    assert (spans[:, 1] - spans[:, 0] >= 49).all()
    ramp = np.tile(np.arange(50, dtype=np.float32), (60, 1))
    planes = []
    in_stripe_frame(ramp, slope, lambda u: planes.append(u) or u)
    for row, (first, end) in zip(planes[0], spans, strict=True):  # held outside, rising inside
        assert np.all(np.diff(row[first + 9 : end - 9]) > 0.5)
        assert np.all(np.abs(np.diff(row[: max(first - 9, 1)])) < 0.1)
    weight = inside_weight(np.random.default_rng(0).normal(size=seen[0]).astype(np.float32), spans)
    assert weight.sum() == pytest.approx(60 * 49, rel=0.05)


@each
def test_clipped_ground_does_not_blind_the_filters(make_face, method):
    """Most of the plane is vacuum at grey 0: no noise there, and no curtains."""
    face = make_face(0.08, seed=1)
    vacuum = np.arange(256)[:, None] > 100 + np.zeros(256)
    seen, clean = (np.where(vacuum, 0, v) for v in (face.striped, face.clean))
    out = seen - named_stripes(seen, 0.0, method, 20.0, 60.0)
    assert not out[104:].any()
    milled = np.s_[:80]
    assert psnr(out[milled], clean[milled]) > psnr(seen[milled], clean[milled]) + 2


@each
def test_real_curtains(shared_data, method):
    import tifffile

    crop = tifffile.imread(shared_data / "curtaining" / "pyvsnr_fib_sem_sample.tif")[900:1324, 900:1400]
    out, removed = remove_curtaining(crop, method=method, return_curtain=True)
    before, after = (find_curtains(v, "auto", 2.1, 20.0, 60.0).index for v in (crop, out))
    assert before > 10
    assert after < 0.2 * before
    assert removed.std() < 0.5 * crop.std()
