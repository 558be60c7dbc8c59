"""A stack that grows slice by slice has the drift of the whole."""

import numpy as np
import pytest

from fibtomo.errors import InputError
from fibtomo.ops.drift import estimate_drift
from fibtomo.ops.drift_live import DriftTracker
from fibtomo.ops.drift_measure import DriftOptions


@pytest.mark.parametrize("portions", [[1] * 24, [5, 1, 11, 7]])
def test_slice_by_slice_is_the_whole(moderate, portions):
    slices = moderate[1][0][:24].copy()
    slices[9:11] = 0
    tracker = DriftTracker(DriftOptions(slow="keep"))
    at = 0
    for count in portions:
        tracker.add(slices[at] if count == 1 else slices[at : at + count])
        at += count
    whole, grown = estimate_drift(slices, slow="keep"), tracker.drift()
    np.testing.assert_allclose(grown.shifts_px, whole.shifts_px, atol=1e-9)
    np.testing.assert_allclose(grown.sigma_px, whole.sigma_px, atol=1e-9)
    assert grown.bad_slices == whole.bad_slices == (9, 10)
    assert len(tracker) == 24


def test_motion_so_far_is_there_at_any_time(moderate):
    slices, truth = moderate[0]
    tracker = DriftTracker()
    with pytest.raises(InputError, match="add 2 or more"):
        tracker.drift()
    for k in range(12):
        tracker.add(slices[k])
    early = tracker.drift()
    assert len(early) == 12
    assert np.abs(np.diff(early.shifts_px - (truth[:12] - truth[0]), axis=0)).max() < 0.4
    tracker.add(slices[12])
    assert len(tracker.drift()) == 13


def test_memory_does_not_grow_with_the_slices(moderate):
    tracker = DriftTracker()
    for image in moderate[0][0][:8]:
        tracker.add(image)
    assert tracker._latest.shape[0] == DriftOptions().halo


def test_another_size_is_refused(moderate):
    tracker = DriftTracker()
    tracker.add(moderate[0][0][0])
    with pytest.raises(InputError, match="slice 1 has 100 x 100 pixels, those before 256 x 256"):
        tracker.add(np.zeros((100, 100), np.uint8))
