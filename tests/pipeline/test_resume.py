"""A run that was killed goes on where it was and ends with the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import fibtomo
from fibtomo.errors import CancelledError
from fibtomo.pipeline.progress import SilentObserver

ARGUMENTS = ["-p", "default", "--workers", "2", "--memory", "24MB", "--quiet"]


@pytest.fixture(scope="module")
def slices(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "slices"
    fibtomo.phantom.write_sample("nanoporous-silver", folder, size="tiny", seed=3)
    return folder


def start(slices: Path, out: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "fibtomo", "run", str(slices), "-o", str(out), *ARGUMENTS])


@pytest.fixture(scope="module")
def undisturbed(slices, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert start(slices, out).wait() == 0
    return out


def blocks_done(out: Path) -> int:
    return sum(1 for _ in out.glob(".fibtomo-work/blocks/*/*.npz"))


def assert_same_results(a: Path, b: Path) -> None:
    for name in ("0", "labels/phases/0", "labels/objects/0", "1"):
        left, right = (p / "volume.ome.zarr" / name for p in (a, b))
        if left.is_dir() or right.is_dir():
            np.testing.assert_array_equal(zarr.open_array(str(left))[:], zarr.open_array(str(right))[:])
    for name in ("drift.csv", "curtains.csv", "measurements.csv", "measurements.json", "objects.csv"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    for path in a.glob("surface_*.ply"):
        assert path.read_bytes() == (b / path.name).read_bytes()


@pytest.mark.parametrize("when", [3, 9])
def test_killed_run_ends_identical(slices, undisturbed, tmp_path, when):
    out = tmp_path / "out"
    process = start(slices, out)
    deadline = time.monotonic() + 120
    while blocks_done(out) < when and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() != 0, "the run was over before it could be killed"
    kept = blocks_done(out)
    assert kept >= when
    assert not (out / "run.json").exists()
    assert start(slices, out).wait() == 0
    assert json.loads((out / "run.json").read_text())["resumed"] is True
    assert_same_results(out, undisturbed)
    assert sorted(p.name for p in out.iterdir() if p.name.startswith(".")) == []


def test_cancelled_run_goes_on(slices, undisturbed, tmp_path):
    class Impatient(SilentObserver):
        seen = 0

        def advance(self, voxels: int) -> None:
            self.seen += 1
            self.stop = self.seen > 4

    out = tmp_path / "out"
    with pytest.raises(CancelledError):
        fibtomo.run(slices, out, workers=2, memory_bytes=24e6, observer=Impatient())
    fibtomo.run(slices, out, workers=2, memory_bytes=24e6)
    assert_same_results(out, undisturbed)


def test_other_parameters_are_not_mixed_in(slices, tmp_path):
    class Stop(SilentObserver):
        def advance(self, voxels: int) -> None:
            self.stop = True

    out = tmp_path / "out"
    with pytest.raises(CancelledError):
        fibtomo.run(slices, out, workers=2, memory_bytes=24e6, observer=Stop())
    with pytest.raises(fibtomo.errors.OutputError, match="pipeline"):
        fibtomo.run(slices, out, pipeline="quick-look", workers=2, memory_bytes=24e6)


def test_workers_and_budget_do_not_change_the_result(slices, undisturbed, tmp_path):
    out = tmp_path / "out"
    fibtomo.run(slices, out, workers=1, memory_bytes=1e9)
    assert_same_results(out, undisturbed)
