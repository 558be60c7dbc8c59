"""The whole way on virtual acquisitions: the reconstruction against the specimen it was made from."""

from types import SimpleNamespace

import numpy as np
import pytest

import fibtomo
from fibtomo.core.volume import OUTSIDE
from fibtomo.phantom import load_truth


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float(np.count_nonzero(a & b)) / float(np.count_nonzero(a) + np.count_nonzero(b))


def jitter_px(estimated: np.ndarray, true: np.ndarray, window: int = 11) -> float:
    """Root mean square, per axis, of the part of the error faster than `window` slices."""
    error = estimated - true
    pad = np.pad(error, ((window // 2, window // 2), (0, 0)), mode="reflect")
    slow = np.stack([np.convolve(pad[:, c], np.ones(window) / window, mode="valid") for c in (0, 1)], axis=1)
    return float(np.sqrt(np.mean((error - slow) ** 2)))


def true_phases(result: fibtomo.Run, truth) -> np.ndarray:
    """The specimen at the voxels of the reconstruction, whose absolute place is free: the mean drift error is zero."""
    grid = result.provenance["tables"]["grid"]
    row, col = (result.drift.shifts_px - truth.shifts_px).mean(axis=0)
    place = SimpleNamespace(
        shape=result.labels.shape,
        voxel_nm=result.voxel_nm,
        row_start=np.asarray(grid["row_start"]) + row,
        col_start=np.asarray(grid["col_start"]) + col,
    )
    return truth.phase_at(place)


def reconstruct(name, folder, seed, pipeline, size="medium"):
    fibtomo.phantom.write_sample(name, folder / "slices", size=size, seed=seed)
    result = fibtomo.run(folder / "slices", folder / "out", pipeline=pipeline)
    return result, load_truth(folder / "slices")


def check_two_phase(result, truth):
    labels = result.labels.compute()
    true = true_phases(result, truth)
    seen = labels != OUTSIDE
    solid_true, solid = (true == true.max()) & seen, (labels == 1) & seen
    assert dice(solid, solid_true) >= 0.95
    fraction = np.count_nonzero(solid) / np.count_nonzero(seen)
    assert abs(fraction - np.count_nonzero(solid_true) / np.count_nonzero(seen)) <= 0.01
    assert result.measurements.get("volume_fraction", 1) == pytest.approx(fraction, abs=1e-6)
    assert jitter_px(result.drift.shifts_px, truth.shifts_px) <= 0.15


def test_sample_against_its_truth(tmp_path):
    check_two_phase(*reconstruct("nanoporous-silver", tmp_path, 0, "nanoporous-metal"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_specimens_against_their_truth(tmp_path, seed):
    check_two_phase(*reconstruct("nanoporous-silver", tmp_path, seed, "default"))
