"""The loops of `_ring_kernels` on a CUDA device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fibtomo.backend.array import namespace, to_host
from fibtomo.backend.kernels import launch, load_kernel

Array = Any
Float = NDArray[np.float64]
THREADS = 128
CHUNK = 8 * THREADS
"""Samples that one block sums."""


@dataclass(frozen=True, eq=False)
class DeviceRings:
    """The rings of a band on the device.

    Attributes
    ----------
    number
        (ny, nx) ring of each frequency.
    pixel, first
        Flat indices of the frequencies in use, ring after ring, and where the share of each block begins.
    offsets
        First block of each ring, on the host.
    """

    number: Array
    pixel: Array
    first: Array
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, ring: NDArray[np.int32], rings: int, xp: Any) -> "DeviceRings":
        """Bring the (ny, nx) ring numbers of the host to the device; `rings` stands for not used."""
        flat = ring.ravel()
        order = np.argsort(flat, kind="stable")[: np.count_nonzero(flat < rings)]
        ends = np.cumsum(np.bincount(flat[order], minlength=rings))
        starts = [np.arange(a, b, CHUNK) for a, b in zip(np.append(0, ends[:-1]), ends, strict=True)]
        first = np.append(np.concatenate(starts), len(order)).astype(np.int32)
        offsets = np.cumsum([0, *map(len, starts[:-1])])
        return cls(xp.asarray(ring), xp.asarray(order.astype(np.int32)), xp.asarray(first), offsets)

    def joined(self, partial: Array) -> Float:
        """Sum of each ring from the sums of the blocks, on the host; no ring of a band is empty."""
        return np.add.reduceat(to_host(partial).astype(np.float64), self.offsets, axis=0)

    def blocks(self) -> int:
        """Number of blocks that share the frequencies."""
        return len(self.first) - 1


def power(values: Array, ring: DeviceRings, _rings: int) -> Float:
    """Squared magnitude summed over each ring, on the host."""
    partial = namespace(values).empty(ring.blocks(), dtype=np.float32)
    _run("ring_power", ring, (namespace(values).ascontiguousarray(values), ring.pixel, ring.first, partial))
    return ring.joined(partial)


def cross_spectrum(a: Array, b: Array, ring: DeviceRings, rings: int) -> tuple[Array, Float]:
    """``conj(a) * b`` and its squared magnitude summed over each ring."""
    cross = a.conj() * b
    return cross, power(cross, ring, rings)


def weighted(cross: Array, ring: DeviceRings, weights: NDArray[np.float32]) -> Array:
    """`cross` times the weight of its ring."""
    return cross * namespace(cross).asarray(weights)[ring.number]


def moments(
    cross: Array, ring: DeviceRings, _rings: int, turn_y: Array, turn_x: Array, wy: Float, wx: Float
) -> Float:  # fmt: skip
    """(6, rings) sums of R, −I·wy, −I·wx, R·wy², R·wy·wx, R·wx² of the turned cross spectrum R + iI."""
    xp = namespace(cross)
    partial = xp.empty((ring.blocks(), 6), dtype=np.float32)
    turns = (xp.asarray(turn_y), xp.asarray(turn_x), *(xp.asarray(w.astype(np.float32)) for w in (wy, wx)))
    _run("ring_moments", ring, (cross, *turns, ring.pixel, ring.first, partial, cross.shape[1]))
    return ring.joined(partial).T


def highest(surface: Array, y: Float, x: Float, reach_y: float, reach_x: float, at: Float, apart: float) -> tuple:
    """Value and place of the highest point within reach that is farther than `apart` from `at`."""
    xp = namespace(surface)
    away = xp.asarray((y - at[0]) ** 2)[:, None] + xp.asarray((x - at[1]) ** 2)
    allowed = (away > apart) & xp.asarray(np.abs(y) <= reach_y)[:, None] & xp.asarray(np.abs(x) <= reach_x)
    seen = xp.where(allowed, surface, -xp.inf)
    i, j = divmod(int(seen.argmax()), surface.shape[1])
    return float(seen[i, j]), i, j


def _run(name: str, ring: DeviceRings, args: tuple[Any, ...]) -> None:
    launch(load_kernel("rings"), name, (ring.blocks() * THREADS,), args, block=(THREADS, 1, 1))
