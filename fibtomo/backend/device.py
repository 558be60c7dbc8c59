"""What can compute here: the CPU or an NVIDIA card, how much memory is free, and why a card cannot be used."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from fibtomo.backend import memory
from fibtomo.errors import BackendUnavailableError, InputError

OLDEST_OF_CUDA_13 = 75
"""Compute capability, times ten, of the oldest cards for which CUDA 13 compiles."""
_WAY_OUT = (
    "install fibtomo[gpu13] (fibtomo[gpu12] for Volta and Pascal cards or drivers older than CUDA 13), or use cpu"
)


@dataclass(frozen=True)
class Device:
    """A place to compute.

    Attributes
    ----------
    kind
        "cpu" or "cuda".
    index
        Number of the card; 0 for the CPU.
    name
        Name for people.
    free_bytes, total_bytes
        Memory when the device was selected: host memory for the CPU, the card's own for CUDA.
    versions
        Of a card: its compute capability, CUDA and driver.
    """

    kind: str
    index: int
    name: str
    free_bytes: int
    total_bytes: int
    versions: str = ""

    @property
    def label(self) -> str:
        """How the device is asked for: "cpu" or "cuda:N"."""
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    def __str__(self) -> str:
        return f"{self.label} ({self.name}, {self.free_bytes / 2**30:.1f} of {self.total_bytes / 2**30:.1f} GiB free)"


@cache
def gpu_status() -> tuple[bool, str]:
    """Whether a CUDA device really computes, and its name or the reason why not.

    A tiny kernel, transform and product are run, because a card without compiler or libraries, or too old for them,
    shows only then.
    """
    try:
        import cupy
    except ImportError as error:
        return False, f"cupy cannot be imported ({error})"
    if not cupy.cuda.is_available():
        return False, "there is no NVIDIA driver or no CUDA device"
    runtime = cupy.cuda.runtime
    capability = cupy.cuda.Device(0).compute_capability
    if int(capability) < OLDEST_OF_CUDA_13 and runtime.runtimeGetVersion() >= 13000:
        return False, (
            f"the card {_card_name(0)} has compute capability {capability[:-1]}.{capability[-1]}, which CUDA 13 no "
            f"longer serves: replace fibtomo[gpu13] by fibtomo[gpu12]"
        )
    try:
        values = cupy.arange(16, dtype="float32").reshape(4, 4) * 2
        (abs(cupy.fft.rfft(values)).sum() + (values @ values).sum()).get()
        return True, _card_name(0)
    except (RuntimeError, OSError, ImportError, cupy.cuda.compiler.CompileException) as error:
        reason = str(error).strip().partition("\n")[0]
        return False, f"the CUDA device cannot compute ({type(error).__name__}: {reason})"


def select_device(request: str = "auto") -> Device:
    """Return the device to compute on.

    Parameters
    ----------
    request
        "auto" (the first CUDA device that works, else the CPU), "cpu", "cuda" or "cuda:N".

    Raises
    ------
    BackendUnavailableError
        CUDA is asked for but not usable; the message says why and what to install.
    InputError
        `request` is none of the above.

    Examples
    --------
    >>> select_device("cpu").kind
    'cpu'
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", request)
    if match is None:
        raise InputError(f"device '{request}' must be auto, cpu, cuda or cuda:N")
    if request == "cpu":
        return _cpu()
    usable, reason = gpu_status()
    if usable:
        return _card(int(match[1] or 0))
    if request == "auto":
        return _cpu()
    raise BackendUnavailableError(f"device '{request}' is not available: {reason}; {_WAY_OUT}")


def device_line(request: str = "auto") -> str:
    """Say in one line what `select_device` chooses, and why it is not a card.

    Examples
    --------
    >>> device_line("cpu").startswith("cpu (")
    True
    """
    chosen = select_device(request)
    if request == "auto" and chosen.kind == "cpu":
        return f"{chosen}; no card is used: {gpu_status()[1]}"
    return str(chosen)


@contextmanager
def on_device(label: str) -> Iterator[None]:
    """Make the device `label` ("cpu" or "cuda:N") the one that new arrays go to."""
    if label == "cpu":
        yield
        return
    import cupy

    with cupy.cuda.Device(int(label.partition(":")[2] or 0)):
        yield


def default_workers() -> int:
    """Threads worth starting: the cores this process may use, within its container's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = memory.container_cores()
    return max(1, min(cores, int(share + 0.5) if share else cores))


def _cpu() -> Device:
    free, total = memory.host_memory()
    return Device("cpu", 0, f"{default_workers()} cores", free, total)


def _card(index: int) -> Device:
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    if index >= count:
        raise BackendUnavailableError(f"device 'cuda:{index}' does not exist: there are {count}, numbered from 0")
    with cupy.cuda.Device(index):
        free, total = cupy.cuda.runtime.memGetInfo()
        pooled = cupy.get_default_memory_pool().free_bytes()
        runtime, digits = cupy.cuda.runtime, cupy.cuda.Device(index).compute_capability
    cuda, driver = (f"{v // 1000}.{v % 1000 // 10}" for v in (runtime.runtimeGetVersion(), runtime.driverGetVersion()))
    versions = f"compute capability {digits[:-1]}.{digits[-1]}, CUDA {cuda}, driver for CUDA {driver}"
    return Device("cuda", index, _card_name(index), int(free + pooled), int(total), versions)


def _card_name(index: int) -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(index)["name"].decode())
