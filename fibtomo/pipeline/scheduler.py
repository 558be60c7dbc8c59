"""Running many independent blocks with Dask: threads here, or any Dask scheduler by address."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fibtomo.errors import BackendUnavailableError, CancelledError
from fibtomo.pipeline.progress import Observer

EVERY_CARD = "gpus"
"""Scheduler that is started for a run, with one worker on each card of this machine."""
PATIENCE_S = 15.0
"""How long a scheduler may take to answer."""
THREADS_OF_A_CARD = 5
"""Blocks under way with a card: three are on it, one is read, one written."""


def run_tasks(
    function: Callable[[Any], int],
    items: Iterable[Any],
    *,
    scheduler: str | None,
    workers: int,
    observer: Observer,
    device: str = "cpu",
) -> None:
    """Call `function` on every item; each returns the voxels it did, which go to the observer.

    Parameters
    ----------
    function
        Top-level function (it is pickled for a cluster).
    items
        Arguments, one task each.
    scheduler
        ``None`` for threads in this process, "synchronous" for none, else the address of a Dask scheduler.
    workers
        Threads in this process.
    observer
        Is told of every finished task and may cancel.
    device
        "cpu" or "cuda:N". Workers of a cluster that declare the resource GPU get one task for each they have; it is
        their own device N that is meant, as dask-cuda arranges.

    Raises
    ------
    CancelledError
        The observer asked to stop.
    BackendUnavailableError
        The scheduler does not answer, or ``distributed`` is not installed.
    """
    todo = list(items)
    if not todo:
        return
    if scheduler is None or scheduler == "synchronous":
        _run_here(function, todo, 1 if scheduler else workers, observer)
    else:
        _run_there(function, todo, scheduler, observer, device)


def _run_here(function: Callable[[Any], int], todo: list[Any], workers: int, observer: Observer) -> None:
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.delayed import delayed

    def guarded(item: Any) -> int:
        if observer.cancelled():
            raise CancelledError("the run was stopped; start it again to go on where it was")
        return function(item)

    class _Tell(Callback):
        def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:  # noqa: ARG002
            if isinstance(result, int):
                observer.advance(result)

    tasks = [delayed(guarded, pure=False)(item) for item in todo]
    name = "synchronous" if workers == 1 else "threads"
    with _Tell():
        compute(*tasks, scheduler=name, num_workers=workers, optimize_graph=False)


@contextmanager
def answering(scheduler: str | None) -> Iterator[str | None]:
    """Make sure that the scheduler answers, before anything is written; yields what `run_tasks` takes.

    "gpus" starts a cluster with one worker on each card, and ends it.

    Raises
    ------
    BackendUnavailableError
        The scheduler does not answer, or a package is not installed.
    """
    if scheduler in (None, "synchronous"):
        yield scheduler
    elif scheduler == EVERY_CARD:
        with _cluster_of_cards() as cluster:
            yield cluster.scheduler_address
    else:
        _connect(scheduler).close()
        yield scheduler


def _cluster_of_cards() -> Any:
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError:
        raise BackendUnavailableError(
            "--scheduler gpus needs the package dask-cuda: pip install dask-cuda, or take one card with --device cuda:N"
        ) from None
    return LocalCUDACluster(threads_per_worker=THREADS_OF_A_CARD, dashboard_address=None)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise BackendUnavailableError(
            "--scheduler needs the package distributed: pip install 'fibtomo[cluster]'"
        ) from None
    try:
        return Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError, multiprocessing.TimeoutError) as error:
        raise BackendUnavailableError(f"no Dask scheduler answers at {address}: {error}") from None


def _run_there(function: Callable[[Any], int], todo: list[Any], address: str, observer: Observer, device: str) -> None:
    with _connect(address) as client:
        from distributed import as_completed

        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        one_each = device != "cpu" and any("GPU" in w.get("resources", {}) for w in workers)
        futures = client.map(function, todo, pure=False, resources={"GPU": 1} if one_each else None)
        try:
            for future in as_completed(futures, loop=client.loop):
                observer.advance(future.result())
                if observer.cancelled():
                    raise CancelledError("the run was stopped; start it again to go on where it was")
        finally:
            client.cancel(futures)
