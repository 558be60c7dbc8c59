"""The imagined card: its memory, its streams, and what it was asked to do."""

import itertools
import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import cupy as _real
import numpy as np


class RaceError(AssertionError):
    """Data are used on a stream that has not waited for them."""


@dataclass
class Pool:
    """Memory that freed arrays leave behind."""

    owner: "Card"

    def used_bytes(self) -> int:
        return self.owner.live_bytes

    def free_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return self.owner.live_bytes

    def free_all_blocks(self, stream: Any = None) -> None:
        self.owner.counts["free_all_blocks"] += 1


@dataclass
class Card:
    """State of the stand-in, one per `installed`.

    Attributes
    ----------
    memory_bytes
        What may be alive at a time; more raises cupy's ``OutOfMemoryError``.
    devices, capability
        How many there seem to be, and their compute capability.
    order, check, guard
        Thread order of kernels, whether they are compiled with UBSan, whether arrays end at a guarded page.
    live_bytes, peak_bytes
        Of arrays.
    to_device_bytes, to_host_bytes
        Moved so far.
    traffic_bytes, operations
        Read and written on the card by array functions and kernels, each array once a call; and the calls, which are
        one launch each or more.
    counts
        How often things were done: "launch NAME", "to_host", "sync".
    races
        What went wrong where nothing can be raised.
    """

    memory_bytes: int = 1 << 40
    devices: int = 1
    capability: str = "90"
    order: int = 0
    check: bool = False
    guard: bool = False
    live_bytes: int = 0
    peak_bytes: int = 0
    to_device_bytes: int = 0
    to_host_bytes: int = 0
    traffic_bytes: int = 0
    operations: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    races: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool, self.pinned_pool = Pool(self), Pool(self)
        self._roots: dict[int, int] = {}
        self._lock = threading.RLock()

    def reset_peak(self) -> None:
        """Start counting the peak anew."""
        self.peak_bytes = self.live_bytes

    def keep(self, host: np.ndarray, uses: dict["Stream", int]) -> None:
        """Count the memory behind `host` until nothing refers to it; `uses` will say up to when streams need it."""
        root = host
        while isinstance(root.base, np.ndarray):
            root = root.base
        with self._lock:
            key = id(root)
            if key in self._roots:
                return
            nbytes = -(-root.nbytes // 512) * 512
            if self.live_bytes + nbytes > self.memory_bytes:
                raise _real.cuda.memory.OutOfMemoryError(nbytes, self.live_bytes, self.memory_bytes)
            self._roots[key] = nbytes
            self.live_bytes += nbytes
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(root, self._forget, key, current_stream(), uses)

    def _forget(self, key: int, owner: "Stream", uses: dict["Stream", int]) -> None:
        """Give memory back to the pool of the stream it was made on, which may fill it at once."""
        with self._lock:
            self.live_bytes -= self._roots.pop(key)
        for stream, tick in list(uses.items()):
            if not owner.sees((stream, tick)):
                self.races.append(f"memory of stream {owner.number} is given back while stream {stream.number} uses it")


class _Current:
    """The card in use; called, it gives it."""

    def __init__(self) -> None:
        self._card = Card()

    def __call__(self) -> Card:
        return self._card

    def insert(self, other: Card) -> Card:
        self._card, previous = other, self._card
        return previous


card = _Current()

_numbers = itertools.count(1)
_here = threading.local()


class Stream:
    """A queue of work, real in what may be relied on: only what was waited for has happened.

    Every piece of work advances `tick`; `known` says up to which tick this stream has waited for others.
    """

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        self.number = 0 if null else next(_numbers)
        self.tick = 0
        self.known: dict[int, int] = {}
        self.pending: list[tuple[int, Any]] = []
        self._outer: list[Stream] = []
        self._lock = threading.RLock()

    def __enter__(self) -> "Stream":
        self._outer.append(current_stream())
        _here.stream = self
        return self

    def __exit__(self, *_error: object) -> None:
        _here.stream = self._outer.pop()

    use = __enter__

    def work(self, later: Any = None) -> tuple["Stream", int]:
        """Take note of work; `later` is done when someone waits for it."""
        with self._lock:
            self.tick += 1
            if later is not None:
                self.pending.append((self.tick, later))
            return self, self.tick

    def finish(self, tick: int) -> None:
        """Let what was queued up to `tick` happen; other threads that wait for it go on when it has."""
        with self._lock:
            due = [item for item in self.pending if item[0] <= tick]
            self.pending = [item for item in self.pending if item[0] > tick]
            for _, action in due:
                action()

    def synchronize(self) -> None:
        """Wait on the host for all work."""
        card().counts["sync"] += 1
        self.finish(self.tick)
        _host_learns({**self.known, self.number: self.tick})

    def record(self, event: "Event | None" = None) -> "Event":
        """Mark this place in the queue."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        """Let later work wait for `event`."""
        if event.stream is not None:
            event.stream.finish(event.tick)
            self.known[event.stream.number] = max(self.known.get(event.stream.number, 0), event.tick)
            for number, tick in event.known.items():
                self.known[number] = max(self.known.get(number, 0), tick)

    def sees(self, made: tuple["Stream", int]) -> bool:
        """Whether work enqueued now comes after `made`."""
        stream, tick = made
        if stream is self:
            return True
        return max(self.known.get(stream.number, 0), _known_to_host.get(stream.number, 0)) >= tick


Stream.null = Stream(null=True)


class Event:
    """A place in the queue of a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.stream: Stream | None = None
        self.tick, self.known = 0, {}
        self.time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        """Mark the present end of a stream's queue."""
        from time import perf_counter

        self.stream = stream or current_stream()
        self.tick, self.known, self.time = self.stream.tick, dict(self.stream.known), perf_counter()

    def synchronize(self) -> None:
        """Wait on the host."""
        card().counts["sync"] += 1
        if self.stream is not None:
            self.stream.finish(self.tick)
            _host_learns({**self.known, self.stream.number: self.tick})

    @property
    def done(self) -> bool:
        """Whether the work before it has happened."""
        return self.stream is None or not any(tick <= self.tick for tick, _ in self.stream.pending)


def current_stream() -> Stream:
    """Stream of this thread."""
    return getattr(_here, "stream", Stream.null)


_known_to_host: dict[int, int] = {}
"""Up to which tick of each stream the host has waited; threads tell each other through locks."""


_learning = threading.Lock()


def _host_learns(ticks: dict[int, int]) -> None:
    with _learning:
        for number, tick in ticks.items():
            _known_to_host[number] = max(_known_to_host.get(number, 0), tick)
