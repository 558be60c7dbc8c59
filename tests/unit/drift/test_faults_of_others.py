"""Mistakes that alignment programs are known for: none of them may be made here."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fibtomo.ops.drift import estimate_drift


def jitter(n, seed, rms_px=0.4):
    path = np.random.default_rng(seed).normal(0, rms_px, (n, 2))
    return path - path[0]


def steps_off(drift, truth, lab):
    return lab.rms(np.diff(drift.shifts_px - truth, axis=0))


def test_pairs_over_long_gaps_do_not_ruin_the_solve(lab):
    """Half of the pairs over eight slices lock elsewhere: with equal weights they would win."""
    truth = jitter(40, 1) + np.outer(np.arange(40), (0.3, -0.2))
    slices = lab.Waves(1).stack(truth, dz_px=2.5)
    near, far = (estimate_drift(slices, offsets=offsets, slow="keep") for offsets in ((1, 2), (1, 2, 4, 8)))
    assert steps_off(far, truth, lab) < 1.2 * steps_off(near, truth, lab) + 0.02
    assert lab.rms(far.shifts_px - near.shifts_px) < 0.3


def test_many_jumps_of_all_sizes_neither_cut_the_chain_nor_are_smoothed(lab):
    rng = np.random.default_rng(2)
    at, sizes = np.arange(5, 40, 5), np.array([2, -3, 5, -8, 13, -25, 40]) * 1.0
    truth = jitter(40, 2)
    for k, size in zip(at, sizes, strict=True):
        truth[k:] += size * np.array([1.0, 0.2]) + rng.normal(0, 0.1, 2)
    drift = estimate_drift(lab.Waves(2).stack(truth), slow="keep")
    assert not any("break" in flag for flag in drift.flags)
    assert np.abs(np.diff(drift.shifts_px - truth, axis=0)).max() < 0.3
    for k, size in zip(at, sizes, strict=True):
        assert abs(size) < 5 or drift.flags[k].startswith("jump of")


@pytest.mark.parametrize("rate", [0.02, 0.05])
def test_a_stack_that_looks_registered_is_still_measured(lab, rate):
    truth = np.outer(np.arange(40), (rate, -rate))
    drift = estimate_drift(lab.Waves(3).stack(truth, dz_px=0.0), slow="keep")
    np.testing.assert_allclose(drift.shifts_px[-1], truth[-1], atol=0.15)


def test_curtains_fixed_to_the_frame_do_not_raise_the_error_across_them(lab):
    truth = jitter(30, 4)
    waves = lab.Waves(4)
    plain = waves.stack(truth)
    stripes = gaussian_filter(np.random.default_rng(4).normal(size=plain.shape[2]), 1.5)
    curtained = np.clip(plain + 25 * stripes / stripes.std() * np.linspace(0.3, 1, plain.shape[1])[:, None], 0, 255)
    errors = [
        lab.rms(np.diff(estimate_drift(s.astype(np.uint8), slow="keep").shifts_px - truth, axis=0)[:, 1:])
        for s in (plain, curtained)
    ]
    assert errors[1] < 1.3 * errors[0] + 0.01


def fixed_pattern(kind, shape):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: shape[0], : shape[1]]
    if kind == "dirt":
        spots = rng.uniform(0, 1, (20, 3)) * (*shape, 6)
        return -sum(np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * (2 + r) ** 2)) for cy, cx, r in spots)
    if kind == "shading":
        return -2 * np.hypot((y - shape[0] / 2) / shape[0], (x - shape[1] / 2) / shape[1])
    if kind == "scan lines":
        return np.repeat(rng.normal(size=(shape[0], 1)), shape[1], axis=1) / 2
    return ((x % 32 < 2) | (y % 32 < 2)).astype(float)


@pytest.mark.parametrize("kind", ["dirt", "shading", "scan lines", "grid"])
def test_what_is_fixed_to_the_frame_does_not_pull_towards_rest(lab, kind):
    truth = np.cumsum(jitter(30, 6, 0.5), axis=0)
    plain = lab.Waves(6).stack(truth).astype(np.float64)
    drift = estimate_drift(np.clip(plain + 30 * fixed_pattern(kind, plain.shape[1:]), 0, 255).astype(np.uint8))
    moved, found = np.diff(truth, axis=0), np.diff(drift.shifts_px, axis=0)
    assert (moved * found).sum() / (moved**2).sum() == pytest.approx(1, abs=0.04)


def test_inclined_structure_is_named_and_a_reference_undoes_it(lab):
    """0.6 px a slice of inclination becomes drift in every chain of images; here it is said, and can be settled."""
    slices = lab.Waves(7).stack(jitter(40, 7, 0.2), columns=0.6)
    images = estimate_drift(slices)
    assert not images.identifiable
    assert any("inclined structure" in note for note in images.notes)
    assert np.abs(estimate_drift(slices, slow="geometry").shifts_px).max() < 1.5
