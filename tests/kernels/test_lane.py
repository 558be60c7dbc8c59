"""Blocks on their way over a device: nothing is used before it is there, nothing lost, and three at a time."""

import threading
import time

import numpy as np
import pytest
import strict_cupy

from fibtomo.backend import lane
from fibtomo.backend.lane import IN_FLIGHT, way_over
from fibtomo.errors import BackendUnavailableError


@pytest.fixture
def cupy(monkeypatch):
    monkeypatch.setattr(lane, "BUFFER_BYTES", 1 << 10)  # blocks need many crossings
    with strict_cupy.installed() as module:
        yield module


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 17, 41), (7, 64, 64)])
def test_a_block_comes_back_as_it_went(cupy, dtype, shape):
    block = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    with way_over("cuda:0") as way:
        there = way.upload(block)
        assert isinstance(there, cupy.ndarray)
        with way.working():
            there = there + there.dtype.type(1)
        np.testing.assert_array_equal(way.download(there), block + 1)


def test_parts_of_wider_arrays_arrive(cupy):
    block = np.arange(4 * 30 * 50, dtype=np.float32).reshape(4, 30, 50)[:, 3:20, 5:44]
    with way_over("cuda:0") as way:
        there = way.upload(block)
        with way.working():
            there = cupy.ascontiguousarray(there[1:3])
        np.testing.assert_array_equal(way.download(there), block[1:3])


def test_computing_outside_of_the_way_is_a_race(cupy):
    with way_over("cuda:0") as way:
        there = way.upload(np.zeros((2, 3, 4), np.float32))
        with pytest.raises(strict_cupy.RaceError):
            there + 1


def test_many_threads_share_a_device(cupy):
    inside, most, wrong = [0], [0], []
    guard = threading.Lock()

    def run(seed: int) -> None:
        block = np.random.default_rng(seed).random((3, 40, 50), dtype=np.float32)
        with way_over("cuda:0") as way:
            there = way.upload(block)
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with way.working():
                there = there * np.float32(2) + np.float32(seed)
                time.sleep(0.002)
            found = way.download(there)
            del there
            with guard:
                inside[0] -= 1
        if not np.array_equal(found, block * np.float32(2) + np.float32(seed)):
            wrong.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 < most[0] <= IN_FLIGHT


def test_blocks_arrive_and_leave_while_another_is_computed(cupy):
    """One thread computes until another has sent its block and a third has fetched its result."""
    block = np.ones((3, 40, 50), np.float32)
    ready, working, sent, fetched = (threading.Event() for _ in range(4))
    found = []

    def fetch() -> None:
        with way_over("cuda:0") as way:
            there = way.upload(block)
            with way.working():
                there = there + np.float32(1)
            ready.set()
            assert working.wait(20)
            found.append(way.download(there))
        fetched.set()

    def compute() -> None:
        assert ready.wait(20)
        with way_over("cuda:0") as way:
            there = way.upload(block)
            with way.working():
                working.set()
                found.append(sent.wait(20) and fetched.wait(20))
                found.append(float(there.sum()))

    def send() -> None:
        assert working.wait(20)
        with way_over("cuda:0") as way:
            way.upload(block)
            sent.set()

    threads = [threading.Thread(target=f) for f in (fetch, compute, send)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found[0], block + 1)
    assert found[1:] == [True, block.sum()]


def test_an_error_makes_room_for_others(cupy):
    def break_down() -> None:
        with way_over("cuda:0") as way:
            way.upload(np.zeros(5))
            with way.working():
                raise ValueError("broken")

    for _ in range(2 * IN_FLIGHT):
        with pytest.raises(ValueError, match="broken"):
            break_down()
    with way_over("cuda:0") as way:
        way.upload(np.zeros(5))


def test_without_a_card_there_is_a_reason():
    with (
        strict_cupy.installed(devices=0),
        pytest.raises(BackendUnavailableError, match="cuda:0 is not available in this process: there is no NVIDIA"),
        way_over("cuda:0"),
    ):
        pass
