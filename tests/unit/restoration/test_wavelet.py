"""The wavelet transform against PyWavelets."""

import numpy as np
import pytest
import pywt

from fibtomo.errors import InputError
from fibtomo.ops.wavelet import dwt2, idwt2


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym8", "bior3.9", "rbio4.4", "coif17", "dmey"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (33, 50), (128, 97)])
def test_both_ways_equal_pywavelets(wavelet, shape):
    plane = np.random.default_rng(0).normal(size=shape)
    expected, (along_y, along_x, both) = pywt.dwt2(plane, wavelet, mode="symmetric")
    found, details = dwt2(plane, wavelet)
    for one, two in zip((found, *details), (expected, along_y, along_x, both), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, two, atol=1e-5)
    back = idwt2(found, details, wavelet)
    np.testing.assert_allclose(back, pywt.idwt2((expected, (along_y, along_x, both)), wavelet), atol=1e-5)
    if wavelet != "dmey":  # the discrete Meyer wavelet is an approximation
        np.testing.assert_allclose(back[: shape[0], : shape[1]], plane, atol=1e-5)


def test_impossible_arrays_and_names_are_refused():
    with pytest.raises(InputError, match="shape"):
        dwt2(np.zeros(5))
    with pytest.raises(InputError, match="shape"):
        dwt2(np.zeros((0, 5)))
    with pytest.raises(InputError, match="nonsense"):
        dwt2(np.zeros((5, 5)), "nonsense")
    approximation, details = dwt2(np.zeros((9, 9)))
    with pytest.raises(InputError, match="shapes"):
        idwt2(approximation[1:], details)
    with pytest.raises(InputError, match="shapes"):
        idwt2(approximation[:2], tuple(d[:2] for d in details))
