"""Motion that the images do not show comes from geometry, or is asked for; lattices are taken at the near peak."""

import numpy as np
import pytest

from fibtomo.errors import CalibrationError
from fibtomo.ops.drift_combine import combine_slabs
from fibtomo.ops.drift_measure import DriftOptions, measure_slab
from fibtomo.ops.slow_motion import ExpectedMotion
from fibtomo.phantom import acquire
from fibtomo.phantom.samples import MILD
from fibtomo.phantom.specimens import Layered, Tpms

N = 24
FIXED = ExpectedMotion("fixed", np.outer(np.arange(N), [-1.2313, 0.0]))
TRACKED = ExpectedMotion("tracked", np.zeros((N, 2)))


def table_of(slices):
    return measure_slab(slices, 0, (0, len(slices)), DriftOptions())


def test_lamellae_ask_whether_the_face_was_tracked():
    table = table_of(acquire(Layered(), shape=(N, 160, 192), artefacts=MILD, oversample=1).slices)
    with pytest.raises(CalibrationError, match="--tracked yes or --tracked no"):
        combine_slabs([table], DriftOptions(), [TRACKED, FIXED])
    drift = combine_slabs([table], DriftOptions(), [FIXED])
    np.testing.assert_allclose(drift.shifts_px, FIXED.shifts_px, atol=1e-4)
    assert drift.confidence.max() == 0
    assert not drift.identifiable
    assert all("bridged" in flag for flag in drift.flags)
    assert any("taken from geometry (fixed)" in note for note in drift.notes)
    assert np.abs(combine_slabs([table], DriftOptions()).shifts_px).max() == 0


def test_gap_between_measured_stretches_follows_the_geometry(lab):
    truth = np.outer(np.arange(N), [-1.2313, 0.0])
    slices = lab.Waves(0).stack(truth)
    slices[9:14] = np.random.default_rng(0).integers(0, 255, slices[9:14].shape)
    drift = combine_slabs([table_of(slices)], DriftOptions(), [TRACKED, FIXED])
    assert np.abs(drift.shifts_px - truth).max() < 1.0
    assert any("14" in note and "assumed" in note for note in drift.notes)


@pytest.mark.parametrize("tracked", [True, False])
def test_lattice_is_taken_at_the_peak_that_geometry_means(tracked):
    run = acquire(Tpms(period_nm=240.0), shape=(N, 192, 224), tracked=tracked, artefacts=MILD, oversample=1)
    drift = combine_slabs([table_of(run.slices)], DriftOptions(), [TRACKED, FIXED])
    steps = np.diff(drift.shifts_px - run.truth.shifts_px, axis=0)
    assert steps.std() < 0.3
    assert any("periodic" in note for note in drift.notes)


def test_the_highest_of_equal_peaks_of_a_lattice_is_not_the_one_meant():
    """Noise decides which of them is highest; on one pair of this stack it is half a period away."""
    body, artefacts = Tpms(greys=(0.28, 0.72), period_nm=120.0), {"jitter": True, "noise": True}
    run = acquire(body, shape=(N, 320, 320), tracked=True, artefacts=artefacts, oversample=1)
    drift = combine_slabs([table_of(run.slices)], DriftOptions(slow="keep"))
    steps = np.diff(drift.shifts_px - run.truth.shifts_px, axis=0)
    assert np.abs(steps).max() < 0.3
    assert not any("assumed" in flag for flag in drift.flags)
