"""Blocks run the same on threads, one after another, and on a Dask cluster reached by its address."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

import fibtomo
from fibtomo.errors import BackendUnavailableError
from fibtomo.pipeline import scheduler
from fibtomo.pipeline.scheduler import answering, run_tasks


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster") / "slices"
    fibtomo.phantom.write_sample("nanoporous-silver", folder, size="tiny", seed=5)
    return folder


def test_cluster_gives_the_same_result(slices, tmp_path):
    from distributed import LocalCluster

    fibtomo.run(slices, tmp_path / "here", memory_bytes=24e6)
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None) as cluster:
        fibtomo.run(slices, tmp_path / "there", memory_bytes=24e6, scheduler=cluster.scheduler_address)
    for name in ("0", "labels/phases/0", "labels/objects/0"):
        here, there = (zarr.open_array(str(tmp_path / p / "volume.ome.zarr" / name))[:] for p in ("here", "there"))
        np.testing.assert_array_equal(here, there)
    for name in ("drift.csv", "measurements.csv", "objects.csv"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_one_after_another_gives_the_same_result(slices, tmp_path):
    fibtomo.run(slices, tmp_path / "a", pipeline="quick-look")
    fibtomo.run(slices, tmp_path / "b", pipeline="quick-look", scheduler="synchronous")
    a, b = (zarr.open_array(str(tmp_path / p / "volume.ome.zarr" / "0"))[:] for p in "ab")
    np.testing.assert_array_equal(a, b)


def test_absent_cluster_is_named(slices, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "PATIENCE_S", 2.0)
    with pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1:9"):
        fibtomo.run(slices, tmp_path / "o", pipeline="quick-look", scheduler="tcp://127.0.0.1:9")


def device_of(_item: int) -> int:
    """Which resources the worker that runs this was given."""
    from distributed import get_worker

    return int(get_worker().state.total_resources.get("GPU", 0))


class Counted:
    def __init__(self) -> None:
        self.done: list[int] = []

    def advance(self, voxels: int) -> None:
        self.done.append(voxels)

    def cancelled(self) -> bool:
        return False


def test_tasks_for_cards_go_to_workers_that_have_one():
    from distributed import LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 4, "processes": False, "dashboard_address": None}
    with LocalCluster(resources={"GPU": 1}, **options) as cluster:
        seen = Counted()
        run_tasks(device_of, range(5), scheduler=cluster.scheduler_address, workers=1, observer=seen, device="cuda:0")
        assert seen.done == [1] * 5


def test_a_cluster_of_cards_is_started_for_a_run(monkeypatch):
    from distributed import LocalCluster

    class LocalCUDACluster(LocalCluster):
        def __init__(self, **options) -> None:
            super().__init__(n_workers=1, processes=False, **options)

    with pytest.raises(BackendUnavailableError, match="pip install dask-cuda"), answering("gpus"):
        pass
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=LocalCUDACluster))
    with answering("gpus") as address:
        seen = Counted()
        run_tasks(device_of, range(3), scheduler=address, workers=1, observer=seen, device="cuda:0")
    assert seen.done == [0] * 3
