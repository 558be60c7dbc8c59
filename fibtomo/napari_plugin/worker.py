"""Work beside the window: one call in its own thread, its progress and result as signals in the window's thread."""

from collections.abc import Callable
from threading import Event
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, QThread, Signal, Slot

_RUNNING: "set[Job]" = set()


class SignalObserver(QObject):
    """An `Observer` of a run that passes everything on as signals; `cancel` may be called from any thread."""

    began = Signal(str, int, int)
    advanced = Signal()
    said = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop = Event()

    def begin(self, title: str, total: int, done: int) -> None:
        """Pass on that a section of `total` blocks starts, `done` of them finished."""
        self.began.emit(title, total, done)

    def advance(self, voxels: int) -> None:  # noqa: ARG002
        """Pass on that one block more is finished."""
        self.advanced.emit()

    def end(self) -> None:
        """Need nothing: the next section or the result follows."""

    def message(self, text: str) -> None:
        """Pass on a sentence."""
        self.said.emit(text)

    def cancel(self) -> None:
        """Ask the run to stop after the blocks under way."""
        self._stop.set()

    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()


class Job(QThread):
    """Calls `function` in another thread; `succeeded` or `failed` then brings its result or exception.

    Parameters
    ----------
    function
        Must not touch a widget or a layer.
    cancel
        Called when the application quits before the end.
    """

    succeeded = Signal(object)
    failed = Signal(object)

    def __init__(self, function: Callable[[], Any], cancel: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._function, self._cancel = function, cancel
        self.finished.connect(self._forget)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.stop)

    def begin(self) -> None:
        """Start; the job keeps itself alive until it ends."""
        _RUNNING.add(self)
        self.start()

    def run(self) -> None:
        """Call the function; what it raises reaches the window as a signal."""
        try:
            result = self._function()
        except Exception as error:  # noqa: BLE001 - handled, or raised again, in the window's thread
            self.failed.emit(error)
        else:
            self.succeeded.emit(result)

    @Slot()
    def stop(self) -> None:
        """Cancel, and wait for the end."""
        if self.isRunning():
            if self._cancel is not None:
                self._cancel()
            self.wait()

    @Slot()
    def _forget(self) -> None:
        _RUNNING.discard(self)
