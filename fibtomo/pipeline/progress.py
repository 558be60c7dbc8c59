"""What a run tells whoever watches it: a terminal bar, a GUI, or nobody."""

from dataclasses import dataclass, field
from typing import Protocol


class Observer(Protocol):
    """Receives progress; may ask the run to stop."""

    def begin(self, title: str, total: int, done: int) -> None:
        """Start a section of `total` blocks, `done` of them finished by an earlier run."""

    def advance(self, voxels: int) -> None:
        """One block more is finished."""

    def end(self) -> None:
        """The section is finished."""

    def message(self, text: str) -> None:
        """Tell people something that is not progress."""

    def cancelled(self) -> bool:
        """Whether the run shall stop after the blocks under way."""
        ...


@dataclass
class SilentObserver:
    """Says nothing, remembers messages; `cancel()` stops the run."""

    messages: list[str] = field(default_factory=list)
    stop: bool = False

    def begin(self, title: str, total: int, done: int) -> None:
        """Ignore."""

    def advance(self, voxels: int) -> None:
        """Ignore."""

    def end(self) -> None:
        """Ignore."""

    def message(self, text: str) -> None:
        """Keep the message."""
        self.messages.append(text)

    def cancel(self) -> None:
        """Ask the run to stop."""
        self.stop = True

    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self.stop
