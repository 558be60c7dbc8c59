"""Blocks run the same on threads, one after another, and on a Dask cluster reached by its address."""

import numpy as np
import pytest
import zarr

import fibtomo
from fibtomo.errors import BackendUnavailableError


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


def test_absent_cluster_is_named(slices, tmp_path):
    with pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1:9"):
        fibtomo.run(slices, tmp_path / "o", pipeline="quick-look", scheduler="tcp://127.0.0.1:9")
