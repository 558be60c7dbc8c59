"""A whole run on the stand-in for a card ends as it does on the CPU, whatever happens to the card's memory."""

import csv
import json

import numpy as np
import pytest
import strict_cupy
from strict_cupy import card

from fibtomo import run
from fibtomo.phantom import acquire

SPHERES = {"kind": "particles", "radius_nm": 40.0}
FACTS = {"voxel_nm": (10, 5, 5), "column_angle_deg": 52, "tilt_corrected": False, "tracked": True}


@pytest.fixture(scope="module")
def slices():
    return acquire(SPHERES, shape=(20, 128, 160), oversample=1).slices


@pytest.fixture(scope="module")
def on_cpu(slices, tmp_path_factory):
    return run(slices, tmp_path_factory.mktemp("cpu") / "out", "default", device="cpu", **FACTS)


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def check_same(found, expected):
    grey = np.abs(np.asarray(found.volume).astype(int) - np.asarray(expected.volume))
    assert grey.max() <= 1
    assert np.mean(grey != 0) < 2e-3  # on the edge of rounding
    assert np.mean(np.asarray(found.labels) != np.asarray(expected.labels)) < 1e-4
    assert np.abs(found.drift.shifts_px - expected.drift.shifts_px).max() < 5e-3
    numbers = [
        {(r["quantity"], r["phase"]): float(r["value"]) for r in read_csv(o.path / "measurements.csv")}
        for o in (found, expected)
    ]
    assert numbers[0].keys() == numbers[1].keys()
    for key, value in numbers[1].items():
        assert numbers[0][key] == pytest.approx(value, rel=2e-3, abs=1e-9), key


def test_default_pipeline_on_a_device_equals_the_cpu(slices, on_cpu, tmp_path):
    with strict_cupy.installed(memory_bytes=1 << 30) as cupy:
        found = run(slices, tmp_path / "out", "default", device="cuda:0", **FACTS)
        assert card().counts["launch resample"]
        assert card().live_bytes < 1 << 20  # nothing of a block is left behind
        assert cupy.cuda.runtime.getDeviceCount() == 1
    check_same(found, on_cpu)
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["device"]["kind"] == "cuda:0"
    assert record["device"]["name"] == "stand-in 0"
    assert record["device"]["versions"] == "compute capability 9.0, CUDA 13.0, driver for CUDA 13.0"
    assert {"read", "upload", "download", "write"} <= {t["what"] for t in record["timings"]}


def test_out_of_memory_is_met_with_halves(slices, on_cpu, tmp_path):
    """The budget promises more than the card has: slabs are halved until they fit, and the result is the same."""
    with strict_cupy.installed(memory_bytes=8 << 20):
        found = run(slices, tmp_path / "out", "default", device="cuda:0", memory_bytes=1 << 30, workers=1, **FACTS)
        assert card().counts["free_all_blocks"] > 0
        assert card().peak_bytes <= 8 << 20
    check_same(found, on_cpu)


def test_the_budget_follows_the_free_memory_of_the_device(slices, tmp_path):
    with strict_cupy.installed(memory_bytes=48 << 20):
        found = run(slices, tmp_path / "out", "quick-look", device="auto", **FACTS)
        assert found.provenance["device"]["budget_bytes"] == pytest.approx(0.8 * (48 << 20), rel=0.01)
        assert card().counts["free_all_blocks"] == 0  # slabs as thick as the budget allows do fit
        assert card().peak_bytes > 3 << 20


@pytest.mark.gpu
@pytest.mark.parametrize("pipeline", ["default", "nanoporous-metal"])
def test_a_card_equals_the_cpu(slices, tmp_path, pipeline):
    here, there = (run(slices, tmp_path / d[:4], pipeline, device=d, **FACTS) for d in ("cpu", "cuda:0"))
    check_same(there, here)
