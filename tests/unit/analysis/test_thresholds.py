from itertools import combinations, pairwise

import numpy as np
import pytest
from skimage.filters import threshold_multiotsu

from fibtomo.errors import InputError
from fibtomo.ops.histogram import Bins, condense
from fibtomo.ops.thresholds import multi_otsu


def mixture(seed, dtype=np.uint8, gain=1.0):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(m, s, n) for m, s, n in ((60, 15, 5000), (120, 12, 3000), (190, 20, 4000))]
    return (np.clip(np.concatenate(parts), 0, 255) * gain).astype(dtype).reshape(10, 20, 60)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_multi_otsu_separates_as_scikit_image_does(seed, classes):
    volume = mixture(seed)
    bins = Bins.covering(volume.dtype, (0, 255))
    ours = multi_otsu(bins.count(volume)[1:-1], bins.edges, classes)
    assert np.floor(ours).tolist() == threshold_multiotsu(volume, classes, nbins=256).tolist()


def test_five_classes_reach_the_exhaustive_optimum():
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 50, 16)
    edges = np.arange(17.0)

    def within(cuts):
        bounds = [0, *cuts, 16]
        centre = edges[:-1] + 0.5
        total = 0.0
        for a, b in pairwise(bounds):
            w = counts[a:b].sum()
            if w:
                mean = np.average(centre[a:b], weights=counts[a:b])
                total += np.sum(counts[a:b] * (centre[a:b] - mean) ** 2)
        return total

    best = min(within(cuts) for cuts in combinations(range(1, 16), 4))
    found = multi_otsu(counts, edges, 5)
    assert within([int(np.ceil(t)) for t in found]) == pytest.approx(best)


def test_sixteen_bit_thresholds_scale_with_the_grey_values():
    eight, sixteen = mixture(1), mixture(1, np.uint16, 257.0)
    small, large = Bins.covering(np.uint8, (0, 255)), Bins.covering(np.uint16, (0, 65535))
    assert large.n == 65536
    a = multi_otsu(small.count(eight)[1:-1], small.edges, 3)
    b = multi_otsu(large.count(sixteen)[1:-1], large.edges, 3) / 257
    assert np.abs(a - b).max() < 1.5


def test_few_grey_levels_leave_classes_empty():
    counts = np.array([0, 7, 0, 0, 5, 0])
    assert multi_otsu(counts, np.arange(7.0), 4).tolist() == [3.0, 5.0, 5.0]
    assert multi_otsu(np.array([0, 3, 0]), np.arange(4.0), 2).tolist() == [2.0]


def test_empty_histogram_is_refused():
    with pytest.raises(InputError, match="empty"):
        multi_otsu(np.zeros(4, dtype=np.int64), np.arange(5.0), 2)


def test_histogram_counts_add_up_and_ignore_boxes_and_nan():
    volume = np.array([[[1, 2], [3, 300]], [[np.nan, -4], [2, 2]]], dtype=np.float32)
    bins = Bins.covering(np.uint8, (0, 255))
    counts = bins.count(volume)
    assert counts.sum() == 7
    assert counts[0] == 1
    assert counts[-1] == 1
    assert counts[1 + 2] == 3
    assert bins.count(volume, np.array([[0, 1, 0, 2], [1, 2, 1, 2]])).sum() == 3


def test_wide_integers_share_bins_without_loss():
    volume = np.array([[[-(2**31), 0, 2**31 - 1]]], dtype=np.int32)
    bins = Bins.covering(volume.dtype, (-(2**31), 2**31 - 1))
    counts = bins.count(volume)
    assert bins.n == 65536
    assert counts[1:-1].sum() == 3
    assert counts[1] == counts[-2] == 1


def test_condensed_histogram_keeps_all_counts():
    rng = np.random.default_rng(0)
    counts = np.zeros(65536, dtype=np.int64)
    counts[2000:9000] = rng.integers(0, 9, 7000)
    short, edges = condense(counts, np.arange(65537) - 0.5)
    assert len(short) <= 1024
    assert short.sum() == counts.sum()
    assert edges[0] <= 2000 <= 9000 <= edges[-1] + 7
