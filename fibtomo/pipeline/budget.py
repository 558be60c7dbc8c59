"""How much memory a slab takes, and how thick slabs may be: pure functions, no pixel is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from fibtomo.backend.lane import IN_FLIGHT
from fibtomo.errors import DeviceMemoryError

MAX_SLAB = 64


@dataclass(frozen=True)
class Memory:
    """What one slab of a section takes.

    Attributes
    ----------
    per_slice
        Bytes that stay for each slice of the slab, halo included.
    fixed
        Bytes that do not grow with the slab.
    halo
        Slices before and after.
    stages
        (bytes per slice, bytes of its halo) of the temporaries of each stage; they come one after another.
    written
        Bytes that stay for each slice to be written.
    """

    per_slice: float
    fixed: float
    halo: tuple[int, int]
    stages: tuple[tuple[float, float], ...] = ()
    written: float = 0.0

    def kept_for(self, slab: int) -> float:
        """Bytes of a slab of `slab` slices while nothing is computed with it."""
        return self.fixed + self.per_slice * (slab + sum(self.halo)) + self.written * slab

    def bytes_for(self, slab: int) -> float:
        """Peak bytes for a slab of `slab` slices."""
        temporary = max((each * slab + halo for each, halo in self.stages), default=0.0)
        return self.kept_for(slab) + temporary


@dataclass(frozen=True)
class Machine:
    """What a run may take.

    Attributes
    ----------
    budget
        Bytes where blocks are computed: of main memory, or of the device.
    workers
        Blocks under way at a time.
    device
        Whether they go over a CUDA device, which `IN_FLIGHT` of them share; others are read and written meanwhile.
    host_budget
        Bytes of main memory for what they hold before and after the device.
    """

    budget: float
    workers: int
    device: bool = False
    host_budget: float = float("inf")

    def at_once(self, memory: Memory, slab: int) -> int:
        """Slabs of a section that may be under way together; 0 if not even one fits."""
        fitting = int(self.budget // memory.bytes_for(slab))
        if not self.device:
            return min(self.workers, fitting)
        together = self.workers if fitting >= IN_FLIGHT else min(self.workers, fitting)
        return int(min(together, self.host_budget / memory.kept_for(slab)))

    def peak_bytes(self, memory: Memory, slab: int, together: int) -> float:
        """Bytes of the budget that `together` slabs take."""
        return (min(together, IN_FLIGHT) if self.device else together) * memory.bytes_for(slab)


def slab_thickness(
    needs: Sequence[Memory], n_slices: int, machine: Machine, name: str, way_out: str = "raise --memory"
) -> int:
    """Slices per slab on one grid: the power of two with which its sections together finish first.

    Thin slabs read and compute their halos over and over; thick ones leave workers idle for want of memory.

    Raises
    ------
    DeviceMemoryError
        Not even one slice with its halo fits.
    """
    best, least = 0, float("inf")
    slab = 1
    while slab <= MAX_SLAB and slab < 2 * n_slices:
        together = [min(machine.at_once(m, slab), -(-n_slices // slab)) for m in needs]
        if min(together) >= 1:
            cost = sum((1 + sum(m.halo) / slab) / w for m, w in zip(needs, together, strict=True))
            if cost <= least:
                best, least = slab, cost
        slab *= 2
    if best:
        return best
    worst = max(m.bytes_for(1) for m in needs)
    raise DeviceMemoryError(
        f"one slice of {name} with its neighbours needs {worst / 2**20:.0f} MiB, "
        f"the budget is {machine.budget / 2**20:.0f} MiB: {way_out}",
        needed_bytes=worst,
    )
