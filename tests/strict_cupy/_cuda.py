"""``cupy.cuda`` of the stand-in, and kernels that run on the CPU."""

import threading
from collections.abc import Sequence
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import cupy as _real
import numpy as np

from strict_cupy._array import ndarray, read, written
from strict_cupy._card import Event, Stream, card, current_stream

_thread = threading.local()
MAX_THREADS, MAX_SHARED = 1024, 48 << 10


class Device:
    """One of the imagined cards."""

    def __init__(self, device: int | None = None) -> None:
        self.id = getattr(_thread, "device", 0) if device is None else int(device)
        if self.id >= card().devices:
            raise _real.cuda.runtime.CUDARuntimeError(101)
        self._outer: list[int] = []

    def __enter__(self) -> "Device":
        self._outer.append(getattr(_thread, "device", 0))
        _thread.device = self.id
        return self

    def __exit__(self, *_error: object) -> None:
        _thread.device = self._outer.pop()

    use = __enter__

    def synchronize(self) -> None:
        """Wait for everything."""
        current_stream().synchronize()

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free and total bytes."""
        return card().memory_bytes - card().live_bytes, card().memory_bytes

    @property
    def compute_capability(self) -> str:
        """Digits of the compute capability."""
        return card().capability


def cuda_module() -> ModuleType:
    """Return a new ``cupy.cuda``."""
    module = ModuleType("cupy.cuda")
    runtime = SimpleNamespace(
        getDeviceCount=lambda: card().devices,
        getDevice=lambda: getattr(_thread, "device", 0),
        memGetInfo=lambda: Device().mem_info,
        getDeviceProperties=lambda index: {
            "name": f"stand-in {index}".encode(),
            "major": 9,
            "minor": 0,
            "multiProcessorCount": 2,
            "clockRate": 1_000_000,
            "memoryClockRate": 1_000_000,
            "memoryBusWidth": 64,
            "totalGlobalMem": card().memory_bytes,
        },
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        deviceSynchronize=lambda: current_stream().synchronize(),
        CUDARuntimeError=_real.cuda.runtime.CUDARuntimeError,
    )
    module.is_available = lambda: card().devices > 0
    module.runtime, module.Device, module.Stream, module.Event = runtime, Device, Stream, Event
    module.get_current_stream = current_stream
    module.get_elapsed_time = lambda start, end: 1e3 * (end.time - start.time)
    module.memory = _real.cuda.memory
    module.compiler = _real.cuda.compiler
    return module


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """Host memory that cannot be paged out; here plain memory that holds nonsense."""
    from strict_cupy._array import _poison

    return np.full(shape, _poison(np.dtype(dtype)), dtype=dtype, order=order)


def raw_module(
    code: str | None = None, *, path: str | None = None, options: Sequence[str] = (), backend: str = "nvrtc"
) -> Any:
    """``cupy.RawModule`` that compiles for the CPU."""
    if code is None or path is not None or backend != "nvrtc":
        raise NotImplementedError("the stand-in compiles source text with nvrtc's options")
    if not all(o.startswith(("-D", "-std=")) for o in options):
        raise ValueError(f"unexpected options {options}")
    return Module(_compiled(code, tuple(o for o in options if o.startswith("-D")), card().check))


@cache
def _compiled(code: str, options: tuple[str, ...], check: bool) -> Any:
    from cuda_on_host import HostRawModule

    return HostRawModule(code, options, check=check)


class Module:
    """Kernels of one source."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def get_function(self, name: str) -> Any:
        """Return a kernel."""
        launch = self._host.get_function(name)

        def kernel(grid: Any, block: Any, args: Sequence[Any], *, shared_mem: int = 0) -> None:
            if int(np.prod(block)) > MAX_THREADS or shared_mem > MAX_SHARED or (block[2:] and block[2] > 64):
                raise _real.cuda.driver.CUDADriverError(1)
            if grid[0] >= 1 << 31 or any(g > 65535 for g in grid[1:]) or min(grid) < 1:
                raise _real.cuda.driver.CUDADriverError(1)
            for a in args:
                if not isinstance(a, ndarray | np.generic):
                    raise TypeError(f"kernel '{name}' was given {type(a).__name__}")
            card().counts[f"launch {name}"] += 1
            card().operations += 1
            self._host.order = card().order
            launch(grid, block, [read(a) if isinstance(a, ndarray) else a for a in args], shared_mem)
            written(list(args))

        return kernel
