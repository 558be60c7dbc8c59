"""What arguments the installed cupy takes, from its functions or, for compiled ones, from their docstrings."""

import inspect
import re
from collections.abc import Callable
from typing import Any

_UFUNC_OPTIONS = {"out", "casting", "dtype"}


def signature_of(name: str, real: Any) -> inspect.Signature | None:
    """Signature of a function or method of cupy, or ``None`` if it does not say."""
    try:
        found = inspect.signature(real)
    except (TypeError, ValueError):
        pass
    else:
        return found
    line = (real.__doc__ or "").strip().partition("\n")[0]
    match = re.match(rf"[\w.]*\b{re.escape(name.rpartition('.')[2])}\((.*)\)", line)
    if match is None:
        return None
    words = re.sub(r"\b(?:bool|str|tuple|int|size_t|intptr_t|Py_ssize_t|ndarray|_ndarray_base) (?=\w)", "", match[1])
    scope: dict[str, Any] = {"None": None}
    try:
        exec(f"def told({words}): pass", scope)
    except (SyntaxError, NameError):
        return None
    return inspect.signature(scope["told"])


def checked(name: str, real: Any) -> Callable[..., None]:
    """Return a function that raises ``TypeError`` for arguments which cupy's `name` does not take."""
    if type(real).__name__ == "ufunc":

        def check_ufunc(*_args: Any, **kwargs: Any) -> None:
            unknown = set(kwargs) - _UFUNC_OPTIONS
            if unknown:
                raise TypeError(f"Wrong arguments {{{', '.join(sorted(unknown))}}} of cupy.{name}")

        return check_ufunc
    signature = signature_of(name, real)

    def check(*args: Any, **kwargs: Any) -> None:
        if signature is not None:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"cupy's {name}: {error}; it takes {signature}") from None

    return check
