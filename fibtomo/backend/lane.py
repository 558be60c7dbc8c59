"""The way of a block over a device: it arrives, is worked on, leaves; several blocks at a time.

Each block on the device has a CUDA stream of its own to be worked on, because stages also compute on the host: while
one block waits for that, the device works on others. Each direction has its own stream and lock. Data travel through
pinned host memory, in two buffers for each direction: one is filled while the other is under way.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.device import gpu_status, on_device
from fibtomo.errors import BackendUnavailableError

IN_FLIGHT = 3
"""Blocks on a device at a time."""
BUFFER_BYTES = 16 << 20
Host = NDArray[Any]


class Way(Protocol):
    """What a block needs on its way; `remote` if it leaves main memory."""

    remote: bool

    def upload(self, block: Host) -> Any:
        """Return `block` where it will be computed with; the call may return before it is there."""
        ...

    def working(self) -> Any:
        """Context in which arrays are computed with."""
        ...

    def download(self, block: Any) -> Host:
        """Return what was computed, on the host."""
        ...

    def settle(self) -> None:
        """Wait until what was begun is done."""
        ...

    def trim(self) -> None:
        """Give back memory that is kept for later."""
        ...


class _HostWay:
    """Blocks are computed where they are read."""

    remote = False

    def upload(self, block: Host) -> Host:
        return block

    @contextmanager
    def working(self) -> Iterator[None]:
        yield

    def download(self, block: Any) -> Host:
        return np.asarray(block)

    def settle(self) -> None:
        pass

    def trim(self) -> None:
        pass


HOST_WAY: Way = _HostWay()


@contextmanager
def way_over(label: str) -> Iterator[Way]:
    """Take a block over the device `label` ("cpu" or "cuda:N"); at its end nothing of it may be there any more.

    Raises
    ------
    BackendUnavailableError
        The device cannot be used in this process.

    Examples
    --------
    >>> with way_over("cpu") as way:
    ...     block = way.upload(np.arange(3))
    ...     with way.working():
    ...         block = block + 1
    ...     way.download(block).tolist()
    [1, 2, 3]
    """
    if label == "cpu":
        yield HOST_WAY
        return
    usable, reason = gpu_status()
    if not usable:
        raise BackendUnavailableError(f"{label} is not available in this process: {reason}")
    with on_device(label):
        way = _DeviceWay(_lane(label))
        try:
            yield way
        finally:
            way.close()


class _Lane:
    """Room on a device, shared by all threads of the process: streams to work on, and the ways there and back."""

    def __init__(self) -> None:
        import cupy

        self.room: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(IN_FLIGHT):
            self.room.put(cupy.cuda.Stream(non_blocking=True))
        self.arrival, self.departure = _Ferry(), _Ferry()


@cache
def _lane(_label: str) -> _Lane:
    return _Lane()


class _Ferry:
    """Copies in one direction through two pinned buffers."""

    def __init__(self) -> None:
        import cupy
        from cupyx import empty_pinned

        self.lock = threading.Lock()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.buffers = [empty_pinned(BUFFER_BYTES, dtype=np.uint8) for _ in range(2)]
        self.gone: list[Any] = [cupy.cuda.Event(), cupy.cuda.Event()]

    def bring(self, block: Host) -> tuple[Any, Any]:
        """Begin to copy `block` to the device; the copy, and the event after which it is complete."""
        import cupy

        with self.lock, self.stream:
            out = cupy.empty(block.shape, dtype=block.dtype)
            there, here = out.reshape(-1), np.ascontiguousarray(block).reshape(-1)
            for slot, part, buffer in self._parts(here):
                self.gone[slot].synchronize()
                np.copyto(buffer, here[part])
                there[part].set(buffer, stream=self.stream)
                self.gone[slot].record(self.stream)
            return out, self.stream.record()

    def fetch(self, block: Any) -> Host:
        """Copy a contiguous block, whose values are final, to the host."""
        out = np.empty(block.shape, dtype=block.dtype)
        there, here = block.reshape(-1), out.reshape(-1)
        under_way: dict[int, tuple[slice, Host]] = {}

        def unload(slot: int) -> None:
            if slot in under_way:
                self.gone[slot].synchronize()
                part, buffer = under_way.pop(slot)
                here[part] = buffer

        with self.lock, self.stream:
            for slot, part, buffer in self._parts(here):
                unload(slot)
                there[part].get(stream=self.stream, out=buffer, blocking=False)
                self.gone[slot].record(self.stream)
                under_way[slot] = part, buffer
            for slot in sorted(under_way, key=lambda s: under_way[s][0].start):
                unload(slot)
        return out

    def _parts(self, flat: Host) -> Iterator[tuple[int, slice, Host]]:
        """Buffer number, stretch of `flat`, and the part of the buffer that it fills."""
        step = BUFFER_BYTES // flat.dtype.itemsize
        for k, start in enumerate(range(0, len(flat), step)):
            part = slice(start, min(start + step, len(flat)))
            nbytes = (part.stop - part.start) * flat.dtype.itemsize
            yield k % 2, part, self.buffers[k % 2][:nbytes].view(flat.dtype)


class _DeviceWay:
    """Way of one block over a CUDA device, which waits for room before its first step."""

    remote = True

    def __init__(self, lane: _Lane) -> None:
        self._lane = lane
        self._stream: Any = None
        self._arrived: list[Any] = []
        self._held: list[Any] = []

    @property
    def _work(self) -> Any:
        """Stream of this block."""
        if self._stream is None:
            self._stream = self._lane.room.get()
        return self._stream

    def upload(self, block: Host) -> Any:
        _ = self._work
        out, arrived = self._lane.arrival.bring(block)
        self._arrived.append(arrived)
        self._held.append(out)
        return out

    @contextmanager
    def working(self) -> Iterator[None]:
        """At the end all is done; memory that others may fill next is not given back before."""
        with self._work as work:
            for event in self._arrived:
                work.wait_event(event)
            self._arrived.clear()
            try:
                yield
            finally:
                work.synchronize()
                self._held.clear()

    def download(self, block: Any) -> Host:
        return self._lane.departure.fetch(block)

    def settle(self) -> None:
        self._work.synchronize()

    def trim(self) -> None:
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()

    def close(self) -> None:
        """Make room for the next block."""
        for event in self._arrived:
            event.synchronize()
        self._held.clear()
        if self._stream is not None:
            self._lane.room.put(self._stream)
            self._stream = None
