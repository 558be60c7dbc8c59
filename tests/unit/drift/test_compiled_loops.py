"""The compiled loops over pixels and rings give what the plain array expressions give."""

import numpy as np
import pytest

from fibtomo.ops import slice_pixels
from fibtomo.ops.correlation import ring_moments
from fibtomo.ops.spectra import make_band, slice_spectrum

IMAGE = np.random.default_rng(0).integers(0, 60000, (130, 97)).astype(np.uint16)
IMAGE[:5], IMAGE[:, -3:] = 7, 9


def plain(image):
    """Big-endian numbers, which the loops leave to NumPy."""
    return image.astype(image.dtype.newbyteorder(">"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_pixels_are_counted_as_by_numpy(dtype):
    image = IMAGE.astype(dtype)
    other = np.where(IMAGE % 3 == 0, image, image[::-1])
    np.testing.assert_allclose(slice_pixels.binned(image, 4), slice_pixels.binned(plain(image), 4), rtol=1e-5)
    for lines, same in zip(slice_pixels.varying_lines(image), slice_pixels.varying_lines(plain(image)), strict=True):
        np.testing.assert_array_equal(lines, same)
    share = slice_pixels.repeated_share(image, other)
    assert share == slice_pixels.repeated_share(plain(image), other)
    assert 0.3 < share < 0.6
    copied = np.where(np.arange(130)[:, None] < 60, image // 2 + 3, image[::-1])
    rows = slice_pixels.repeated_rows(image, copied, 2)
    assert rows == slice_pixels.repeated_rows(plain(image), copied, 2)
    assert 0.3 < rows < 0.6
    windows = np.linspace(0, 1, 130), np.linspace(1, 0, 97)
    for seen, same in zip(
        slice_pixels.windowed(image, *windows), slice_pixels.windowed(plain(image), *windows), strict=True
    ):
        np.testing.assert_allclose(seen, same, rtol=1e-4)


def test_moments_are_sums_over_rings():
    band = make_band(IMAGE.shape)
    a, b = (slice_spectrum(image, band) for image in (IMAGE, np.roll(IMAGE, (2, -1), (0, 1))))
    cross, shift = a.values.conj() * b.values, np.array([2.0, -1.0])
    y, x = (2 * np.pi * f for f in (band.freq_y[:, None], band.freq_x))
    turned = cross * np.exp(1j * (y * shift[0] + x * shift[1]))
    parts = (
        turned.real,
        -turned.imag * y,
        -turned.imag * x,
        turned.real * y**2,
        turned.real * y * x,
        turned.real * x**2,
    )
    expected = np.array([np.bincount(band.ring.ravel(), part.ravel())[: band.rings] for part in parts])
    np.testing.assert_allclose(ring_moments(cross, shift, band), expected, atol=1e-4 * np.abs(expected).max())


def test_spectrum_is_that_of_the_flattened_windowed_slice():
    """The trends are taken off in the spectrum; doing so before the transform gives the same."""
    y, x = np.mgrid[-1:1:128j, -1:1:160j]
    scene = np.random.default_rng(1).normal(size=(128, 160))
    band = make_band(scene.shape)
    flat, tilted = (slice_spectrum(scene + trend, band).values for trend in (0.0, 50 + 20 * y - 30 * y**2 + 40 * x))
    assert np.abs(flat - tilted).max() < 1e-3 * np.abs(flat).max()
