"""Errors that fibtomo raises: one tree, each also the builtin a Python user expects.

Every message is one sentence that names the file or value at fault and the way out.
"""


class FibtomoError(Exception):
    """Root of everything fibtomo raises on purpose."""


class InputError(FibtomoError, ValueError):
    """What the user gave (a value, a parameter, a table) cannot be used."""


class StackError(InputError, OSError):
    """A file or folder of slices cannot be read as one stack."""


class CalibrationError(InputError):
    """A length, angle or acquisition fact is needed that neither metadata nor user gave."""


class PipelineError(InputError):
    """A pipeline description (YAML, stage name, parameter) is wrong."""


class OutputError(FibtomoError, OSError):
    """The output folder cannot be written, is in use, or holds another run."""


class BackendUnavailableError(FibtomoError, RuntimeError):
    """The requested compute device or library is not there."""


class DeviceMemoryError(FibtomoError, MemoryError):
    """One slice with its neighbours does not fit the memory budget.

    Parameters
    ----------
    message
        One sentence.
    needed_bytes
        The budget that would do, where it is known.
    """

    def __init__(self, message: str, needed_bytes: float | None = None) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes


class CancelledError(FibtomoError, RuntimeError):
    """The user stopped the run; finished blocks are kept."""
