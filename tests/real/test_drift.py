"""Alignment of stacks that no one here made: quality as measured, and known motion put on real slices."""

import importlib

import numpy as np
import pytest

from fibtomo.io.open import open_stack
from fibtomo.ops.drift import estimate_drift

STACKS = ("c_elegans_em_21slices", "gala_train-image.h5")
LIMITS_PX = {  # of the rms vector error, as measured plus half: path, steps
    "jitter 0.5 px": (0.12, 0.04),
    "jitter 2 px": (0.30, 0.10),
    "jitter 1 px, bow, jumps": (1.1, 0.25),
}


@pytest.fixture(scope="module", params=STACKS)
def slices(shared_data, request):
    stack = open_stack(shared_data / "stacks" / request.param)
    return stack.read(0, len(stack))


@pytest.fixture(scope="module")
def bench(repo):
    """The benchmark that moves real slices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repo / "benchmarks"))
        yield importlib.import_module("drift_real")


def test_real_slices_are_sound_and_get_more_alike(slices):
    drift = estimate_drift(slices)
    assert drift.bad_slices == ()
    assert not any(drift.flags)
    numbers = drift.quality.summary()
    assert 0.85 < numbers["ncc_before"] < numbers["ncc_after"] < 0.95
    assert (drift.quality.ncc_after >= drift.quality.ncc_before - 0.002)[1:].all()
    assert max(numbers["left_out_dy_px"], numbers["left_out_dx_px"]) < 0.4
    assert numbers["checked_pairs"] >= 2 * len(slices) - 6
    assert 1 < drift.undecided_px < 5


@pytest.mark.parametrize("title", LIMITS_PX)
def test_known_motion_is_found(slices, bench, title):
    errors = []
    for seed in range(3):
        truth, jumps = bench.MOTIONS[title].shifts_px(slices.shape, seed)
        shaken, still = bench.moved(slices, truth)
        drift = estimate_drift(shaken, slow="keep")
        assert drift.bad_slices == ()
        assert {k for k, flag in enumerate(drift.flags) if "jump" in flag} >= set(jumps)
        errors.append(bench.errors(drift.shifts_px - estimate_drift(still, slow="keep").shifts_px, truth)[:2])
    path, step = np.sqrt(np.mean(np.square(errors), axis=0))
    assert path < LIMITS_PX[title][0]
    assert step < LIMITS_PX[title][1]


def test_the_mover_is_exact_between_pixels(bench):
    y, x = np.mgrid[:96, :128]
    waves = np.stack([np.cos(0.4 * (y - dy) + 0.3 * (x - dx)) for dy, dx in ((0, 0), (0.37, -4.6), (7.2, 3.5))])
    shifts = np.array([[0, 0], [0.37, -4.6], [7.2, 3.5]])
    shaken, still = bench.moved(np.repeat(waves[:1], 3, axis=0), shifts)
    margin = (96 - still.shape[1]) // 2, (128 - still.shape[2]) // 2
    wanted = waves[:, margin[0] : 96 - margin[0], margin[1] : 128 - margin[1]]
    np.testing.assert_allclose(shaken[:, 8:-8, 8:-8], wanted[:, 8:-8, 8:-8], atol=0.05)


def test_tissue_holds_nothing_static(slices):
    rows, cols = slices.shape[1:]
    for cut in (0, rows // 8, rows // 5):
        drift = estimate_drift(slices[:, cut:, : cols - cut])
        assert not drift.identifiable
        assert not any("static region was found" in note for note in drift.notes)
