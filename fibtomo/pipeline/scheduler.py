"""Running many independent blocks with Dask: threads here, or any Dask scheduler by address."""

import multiprocessing
from collections.abc import Callable, Iterable
from typing import Any

from fibtomo.errors import BackendUnavailableError, CancelledError
from fibtomo.pipeline.progress import Observer


def run_tasks(
    function: Callable[[Any], int],
    items: Iterable[Any],
    *,
    scheduler: str | None,
    workers: int,
    observer: Observer,
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
        _run_there(function, todo, scheduler, observer)


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


def check_scheduler(scheduler: str | None) -> None:
    """Make sure that the scheduler answers, before anything is written.

    Raises
    ------
    BackendUnavailableError
        It does not, or ``distributed`` is not installed.
    """
    if scheduler not in (None, "synchronous"):
        _connect(scheduler).close()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise BackendUnavailableError(
            "--scheduler needs the package distributed: pip install 'fibtomo[cluster]'"
        ) from None
    try:
        return Client(address, timeout="15s", set_as_default=False)
    except (OSError, ValueError, TimeoutError, multiprocessing.TimeoutError) as error:
        raise BackendUnavailableError(f"no Dask scheduler answers at {address}: {error}") from None


def _run_there(function: Callable[[Any], int], todo: list[Any], address: str, observer: Observer) -> None:
    with _connect(address) as client:
        from distributed import as_completed

        futures = client.map(function, todo, pure=False)
        try:
            for future in as_completed(futures, loop=client.loop):
                observer.advance(future.result())
                if observer.cancelled():
                    raise CancelledError("the run was stopped; start it again to go on where it was")
        finally:
            client.cancel(futures)
