"""CPU time of what is compared."""

from collections.abc import Callable
from time import process_time
from typing import Any


def cpu_seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Least CPU time of a few runs, the first (which compiles) not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = process_time()
        work()
        times.append(process_time() - start)
    return min(times)
