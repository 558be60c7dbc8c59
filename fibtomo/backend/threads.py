"""Slabs over a thread pool, for NumPy and numba code that releases the GIL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fibtomo.backend.device import default_workers

T = TypeVar("T")


def map_ranges(function: Callable[[int, int], T], n: int, chunk: int, workers: int | None = None) -> list[T]:
    """Call ``function(start, stop)`` for consecutive ranges of at most `chunk` that cover ``range(n)``.

    Parameters
    ----------
    function
        Work on one range; should spend its time outside the GIL.
    n, chunk
        Items in all, and per call.
    workers
        Threads; ``None`` takes `default_workers`.

    Returns
    -------
    list
        Results in order of the ranges.

    Raises
    ------
    Exception
        The first one that `function` raised; ranges not yet begun are dropped.

    Examples
    --------
    >>> map_ranges(lambda start, stop: (start, stop), 5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    starts = range(0, n, max(1, chunk))
    stops = [min(start + max(1, chunk), n) for start in starts]
    workers = min(workers or default_workers(), len(stops))
    if workers <= 1:
        return [function(start, stop) for start, stop in zip(starts, stops, strict=True)]
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(function, start, stop) for start, stop in zip(starts, stops, strict=True)]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
