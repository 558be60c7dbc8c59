"""Devices, memory, kernel sources and threads, without a card: cupy is absent, useless, or played by a stand-in."""

import doctest
import sys
import threading
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
import strict_cupy

from fibtomo.backend import device, kernels, memory, threads
from fibtomo.backend.device import default_workers, device_line, gpu_status, select_device
from fibtomo.backend.kernels import kernel_source, launch, load_kernel, type_options
from fibtomo.backend.threads import map_ranges
from fibtomo.errors import BackendUnavailableError, InputError


@pytest.fixture
def card(monkeypatch):
    """Install the stand-in for cupy with these options, and let it fail where it is asked to."""
    with ExitStack() as stack:

        def install(failure: Exception | None = None, **options):
            cupy = stack.enter_context(strict_cupy.installed(**options))
            if failure is not None:
                monkeypatch.setattr(cupy, "arange", raiser(failure), raising=False)
            return cupy

        yield install


def raiser(failure: Exception):
    def function(*_args, **_options):
        raise failure

    return function


def test_without_cupy_there_is_a_reason_and_a_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    gpu_status.cache_clear()
    check_refusal("cupy cannot be imported")
    gpu_status.cache_clear()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"devices": 0}, "no NVIDIA driver or no CUDA device"),
        ({"failure": RuntimeError("nvrtc not found\nmore")}, r"RuntimeError: nvrtc not found\)"),
        ({"failure": ImportError("libcufft.so is missing")}, r"libcufft.so is missing"),
        ({"capability": "70"}, r"capability 7.0, which CUDA 13 no longer serves: replace fibtomo\[gpu13\] by"),
    ],
    ids=["no driver", "no compiler", "no cuFFT", "old card"],
)
def test_a_missing_gpu_has_a_reason_and_a_way_out(card, options, reason):
    card(**options)
    check_refusal(reason)


def check_refusal(reason: str):
    usable, why = gpu_status()
    assert not usable
    assert select_device("auto").kind == "cpu"
    with pytest.raises(BackendUnavailableError, match=reason) as error:
        select_device("cuda:1")
    assert why in str(error.value)
    assert "fibtomo[gpu13]" in str(error.value)
    assert "fibtomo[gpu12]" in str(error.value)
    with pytest.raises(BackendUnavailableError, match=reason):
        load_kernel("resample", SOURCE_T="uint8")


def test_a_working_card_is_selected_with_its_memory(card):
    cupy = card(devices=2, memory_bytes=3 << 30)
    kept = cupy.zeros(1 << 20, dtype="uint8")
    assert gpu_status() == (True, "stand-in 0")
    found = select_device("auto")
    assert (found.kind, found.index, found.total_bytes) == ("cuda", 0, 3 << 30)
    assert found.free_bytes == (3 << 30) - kept.nbytes
    assert str(select_device("cuda:1")).startswith("cuda:1 (stand-in 1")
    assert device_line("auto") == str(found)
    with pytest.raises(BackendUnavailableError, match=r"cuda:2.*there are 2"):
        select_device("cuda:2")


def test_kernels_are_compiled_once_per_type_and_device(card):
    cupy = card(devices=2)
    first = load_kernel("resample", SOURCE_T="uint8")
    assert load_kernel("resample", SOURCE_T=np.uint8) is first
    assert load_kernel("resample", SOURCE_T="uint16") is not first
    with cupy.cuda.Device(1):
        assert load_kernel("resample", SOURCE_T="uint8") is not first


def test_this_machine_has_a_cpu():
    cpu = select_device("cpu")
    assert cpu.kind == "cpu"
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    assert "GiB free" in str(cpu)
    assert default_workers() >= 1
    assert doctest.testmod(device).failed == doctest.testmod(kernels).failed == doctest.testmod(threads).failed == 0


@pytest.mark.parametrize("request_", ["gpu", "cuda:", "cuda:-1", ""])
def test_unknown_devices_are_refused(request_):
    with pytest.raises(InputError, match="must be auto, cpu, cuda or cuda:N"):
        select_device(request_)


GIB = 2**30
MEMINFO = f"MemTotal: {16 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {8 * 2**20} kB\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (8 * GIB, 16 * GIB)),
        ({"memory.max": "max\n", "memory.current": "1"}, (8 * GIB, 16 * GIB)),
        (
            {"memory.max": 4 * GIB, "memory.current": 3 * GIB, "memory.stat": f"anon 1\ninactive_file {GIB}\n"},
            (2 * GIB, 4 * GIB),
        ),
        ({"memory.max": 10 * GIB, "memory.current": GIB}, (8 * GIB, 10 * GIB)),
        (
            {"memory/memory.limit_in_bytes": 2 * GIB, "memory/memory.usage_in_bytes": 3 * GIB},
            (0, 2 * GIB),
        ),
        ({"memory/memory.limit_in_bytes": 2**63 - 4096}, (8 * GIB, 16 * GIB)),
    ],
    ids=["no container", "no limit", "cache is reclaimable", "machine is tighter", "version 1, full", "version 1"],
)
def test_memory_respects_the_container(tmp_path, monkeypatch, files, expected):
    (tmp_path / "meminfo").write_text(MEMINFO)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(str(text))
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.host_memory() == expected


def test_memory_without_proc_comes_from_sysconf(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "absent")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    available, total = memory.host_memory()
    assert 0 < available <= total


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "100000 100000\n"}, 1.0),
        ({"cpu/cpu.cfs_quota_us": "40000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_workers_respect_the_quota_of_the_container(tmp_path, monkeypatch, files, share):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.container_cores() == share
    assert share is None or default_workers() == 1


def test_ranges_cover_everything_in_order():
    assert map_ranges(lambda a, b: (a, b), 10, 4, workers=3) == [(0, 4), (4, 8), (8, 10)]
    assert map_ranges(lambda a, b: (a, b), 3, 0, workers=1) == [(0, 1), (1, 2), (2, 3)]
    assert map_ranges(lambda a, b: (a, b), 0, 4) == []


def test_ranges_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=20)
    map_ranges(lambda _a, _b: meeting.wait(), 2, 1, workers=2)


def test_the_first_failure_stops_the_ranges():
    done = []

    def work(start, stop):
        if start == 0:
            raise ValueError("slab 0")
        threading.Event().wait(0.01)
        done.append(start)

    with pytest.raises(ValueError, match="slab 0"):
        map_ranges(work, 200, 1, workers=2)
    assert len(done) < 100


def test_includes_are_put_in_once_with_logical_lines(tmp_path, monkeypatch):
    (tmp_path / "a.cu").write_text('#include "b.cuh"\n#include "c.cuh"\nint a;\n')
    (tmp_path / "b.cuh").write_text('#include "c.cuh"\nint b;\n')
    (tmp_path / "c.cuh").write_text("int c;\n")
    monkeypatch.setattr(kernels, "resource_dir", lambda _name: tmp_path)
    text = kernel_source("a")
    assert text.count("int c;") == 1
    assert "#include" not in text
    assert text.startswith('#line 1 "kernels/a.cu"\n')
    assert text.endswith('#line 3 "kernels/a.cu"\nint a;\n')
    assert str(tmp_path) not in text


def test_types_kernels_are_not_made_for_are_refused():
    with pytest.raises(InputError, match="not float64"):
        type_options(SOURCE_T="float64")


def test_launch_covers_the_volume_and_packs_c_types():
    calls = []
    module = SimpleNamespace(get_function=lambda name: lambda *args, **kw: calls.append((name, args, kw)))
    array = np.zeros((2, 9, 33), np.float32)
    launch(module, "f", array.shape, (array, 7, 0.5))
    (name, (grid, block, args), keywords) = calls[0]
    assert (name, grid, block, keywords) == ("f", (2, 2, 2), (32, 8, 1), {"shared_mem": 0})
    assert [type(a) for a in args] == [np.ndarray, np.int32, np.float32]
    launch(module, "f", (0, 9, 33), (array,))
    assert len(calls) == 1
    with pytest.raises(InputError, match="not contiguous"):
        launch(module, "f", array.shape, (array[:, ::2],))
    with pytest.raises(InputError, match="thinner slabs"):
        launch(module, "f", (70000, 9, 33), (array,))
