from math import erf, log, sqrt

import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops.histogram import Bins
from fibtomo.ops.mixture import bayes_thresholds, fit_mixture
from fibtomo.ops.segmentation import segment

EDGES = np.arange(257) - 0.5


def counts_of(*phases, scale=1e7):
    """Histogram of exact normal phases (share, mean, sigma)."""
    total = 0.0
    for share, mean, sigma in phases:
        total = total + share * np.diff([erf((e - mean) / (sqrt(2) * sigma)) / 2 for e in EDGES])
    return np.round(scale * total).astype(np.int64)


@pytest.mark.parametrize(
    "phases",
    [
        ((0.6, 80, 10), (0.4, 160, 14)),
        ((0.99, 80, 12), (0.01, 160, 12)),
        ((0.02, 60, 8), (0.98, 140, 15)),
        ((0.45, 60, 9), (0.52, 120, 11), (0.03, 200, 8)),
        ((0.3, 40, 6), (0.3, 90, 8), (0.1, 140, 6), (0.3, 200, 9)),
    ],
)
def test_normal_phases_are_found_again(phases):
    fit = fit_mixture(counts_of(*phases), EDGES, len(phases))
    share, mean, sigma = np.array(phases).T
    assert np.abs(fit.shares - share).max() < 0.003
    assert np.abs(fit.mean - mean).max() < 1
    assert np.abs(fit.sigma / sigma - 1).max() < 0.1


def test_thresholds_lie_where_both_phases_are_equally_probable():
    for share in (0.5, 0.2, 0.03):
        fit = fit_mixture(counts_of((1 - share, 80, 12), (share, 160, 12)), EDGES, between=False)
        expected = 120 + 12**2 / 80 * log((1 - share) / share)
        assert bayes_thresholds(fit)[0] == pytest.approx(expected, abs=0.5)


def test_bins_do_not_matter():
    phases = np.random.default_rng(0).normal([80, 150], [10, 12], (20000, 2)).ravel()
    eight = np.clip(np.rint(phases), 0, 255).astype(np.uint8)[None, None]
    sixteen = np.clip(np.rint(phases * 257), 0, 65535).astype(np.uint16)[None, None]
    small, large = Bins.covering(np.uint8, (0, 255)), Bins.covering(np.uint16, (0, 65535))
    a = bayes_thresholds(fit_mixture(small.count(eight)[1:-1], small.edges))
    b = bayes_thresholds(fit_mixture(large.count(sixteen)[1:-1], large.edges))
    assert large.n == 65536
    assert b / 257 == pytest.approx(a, abs=0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_phase_that_otsu_misses(specimen, dice, seed):
    scene = specimen(seed, (0.98, 0.02), noise=12, wavelength=18)
    grey = scene.seen()
    assert dice(segment(grey, method="otsu"), scene.labels) < 0.3
    labels = segment(grey, method="gmm")
    assert dice(labels, scene.labels) > 0.84
    assert abs(np.mean(labels == 1) - scene.fractions[1]) < 0.005


@pytest.mark.parametrize("seed", range(3))
def test_voxels_between_phases_do_not_bias_the_shares(specimen, seed):
    scene = specimen(seed, (0.4, 0.3, 0.3), (60, 120, 180), 12)
    counts = np.bincount(scene.seen().ravel(), minlength=256)
    error = [np.abs(fit_mixture(counts, EDGES, 3, between).shares - scene.fractions).max() for between in (True, False)]
    assert error[0] < 0.02
    assert error[0] < 0.4 * error[1]


def test_degenerate_histograms():
    one = np.zeros(256, dtype=np.int64)
    one[40] = 9
    assert np.isfinite(bayes_thresholds(fit_mixture(one, EDGES, 3))).all()
    two = one.copy()
    two[90] = 5
    assert 40 < bayes_thresholds(fit_mixture(two, EDGES, 2))[0] < 90
    assert not segment(np.full((2, 5, 5), 0.25, dtype=np.float32), method="gmm").any()
    with pytest.raises(InputError, match="empty"):
        fit_mixture(np.zeros(256, dtype=np.int64), EDGES)
    with pytest.raises(InputError, match="2 to 5"):
        fit_mixture(one, EDGES, 6)
