import numpy as np
import pytest

from fibtomo.ops.grey_levels import find_levels
from fibtomo.ops.segmentation import segment
from fibtomo.ops.threshold_effect import Effect, note_effect
from fibtomo.ops.threshold_error import threshold_errors
from fibtomo.ops.thresholds import class_fractions

EDGES = np.arange(257) - 0.5
CASES = [
    {"shares": shares, "greys": greys, "noise": noise, "wavelength": wavelength, "blur": blur}
    for shares, greys in (((0.6, 0.4), (70, 160)), ((0.9, 0.1), (70, 160)), ((0.4, 0.35, 0.25), (60, 110, 180)))
    for noise, wavelength, blur in ((6, 10, 1.0), (10, 18, 0.5), (16, 14, 0.8), (20, 10, 0.5))
]


@pytest.fixture(scope="module")
def histograms(specimen):
    """Histograms and true fractions of twelve specimens that the calibration did not see."""
    found = []
    for seed, case in enumerate(CASES):
        scene = specimen(500 + seed, shape=(16, 48, 48), **case)
        found.append((np.bincount(scene.seen().ravel(), minlength=256), scene.fractions))
    return found


@pytest.mark.parametrize("method", ["multi_otsu", "gmm"])
def test_errors_cover_the_true_fractions(histograms, method):
    scores = []
    for counts, truth in histograms:
        levels = find_levels(method, counts, EDGES, len(truth))
        off = class_fractions(counts, EDGES, levels.thresholds) - truth
        scores += list(np.abs(off / levels.fraction_sigma)[1:])
    assert 0.4 < np.mean(np.array(scores) < 1) < 0.95
    assert np.mean(np.array(scores) < 2) >= 0.85


def test_hysteresis_covers_the_true_fraction(specimen):
    scores = []
    for seed, case in enumerate(c for c in CASES if len(c["shares"]) == 2):
        scene = specimen(600 + seed, shape=(16, 48, 48), **case)
        grey = scene.seen()
        levels = find_levels("hysteresis", np.bincount(grey.ravel(), minlength=256), EDGES)
        share = np.mean(segment(grey, method="hysteresis") == 1)
        scores.append(abs(share - scene.fractions[1]) / levels.fraction_sigma[1])
    assert np.mean(np.array(scores) < 2) >= 0.75
    assert np.median(scores) > 0.1


def test_a_threshold_in_the_wrong_place_says_so():
    grey = np.arange(256)
    counts = sum(w * np.exp(-0.5 * ((grey - m) / 10) ** 2) for w, m in ((97e4, 80), (3e4, 150))).astype(np.int64)
    sigma, shares = threshold_errors(counts, EDGES, np.array([85.0]))
    off = class_fractions(counts, EDGES, np.array([85.0]))[1] - 0.03
    assert shares[1] > 0.8 * off
    assert sigma[0] > 20


def test_effect_on_interfaces_is_what_moved_levels_do(specimen):
    scene = specimen(1, noise=14)
    grey = scene.seen()
    noted = note_effect(grey, 0, (120.0,), (6.0,), None)
    assert np.flatnonzero(noted["faces"].sum(axis=(1, 2))).tolist() == [0, 8, 16]

    def faces(level):
        part = grey[::8] > level
        return sum(np.count_nonzero(np.diff(part, axis=axis)) for axis in (1, 2))

    expected = abs(faces(126) - faces(114)) / 2 / faces(120)
    np.testing.assert_allclose(Effect.from_notes(noted).surface, expected)
    part = note_effect(grey[5:12], 5, (120.0,), (6.0,), None)
    np.testing.assert_array_equal(part["faces"], noted["faces"][5:12])
