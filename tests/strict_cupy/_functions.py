"""Namespaces whose functions are NumPy's or SciPy's, called as the installed cupy would have it."""

from functools import partialmethod
from types import ModuleType
from typing import Any

import numpy as np

from strict_cupy._array import ndarray, refuse_host, result, unwrap, wrap
from strict_cupy._card import card, current_stream
from strict_cupy._signatures import checked

_FROM_HOST = {"asarray", "array", "asanyarray"}
_ARRAYS_OF = {"count_nonzero", "allclose", "array_equal", "any", "all"}
"""Functions whose result is a plain number with NumPy, but an array with cupy."""

_STRIDED = {"dct", "idct"}
"""Functions that return the real part of complex numbers, which is not contiguous."""


class Namespace(ModuleType):
    """Module ``cupy`` or one of its kind; what the real one lacks is not there.

    Parameters
    ----------
    name, host, real
        Its name, the module that computes, and the module it stands for.
    """

    def __init__(self, name: str, host: ModuleType | None, real: ModuleType) -> None:
        super().__init__(name)
        self._host, self._real = host, real

    def provide(self, **things: Any) -> None:
        """Add what is not found by its name."""
        for name, thing in things.items():
            setattr(self, name, thing)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        real = getattr(self._real, name)  # AttributeError speaks of the real module
        if not callable(real) or isinstance(real, type):
            found = real
        elif self._host is None or not hasattr(self._host, name):
            raise NotImplementedError(f"{self.__name__}.{name} is not part of the stand-in")
        elif type(real).__name__ == "ufunc" and isinstance(getattr(self._host, name), np.ufunc):
            found = Ufunc(name, getattr(self._host, name), real)
        else:
            found = _function(f"{self.__name__}.{name}", getattr(self._host, name), real)
        setattr(self, name, found)
        return found


def _function(name: str, host: Any, real: Any) -> Any:
    check, short = checked(name, real), name.rpartition(".")[2]

    def function(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        if short in _FROM_HOST and args and isinstance(args[0], np.ndarray | np.generic | list | tuple | int | float):
            return _from_host(host, *args, **kwargs)
        refuse_host((args, tuple(kwargs.values())))
        out = kwargs.pop("out", None)
        value = host(*unwrap(args), **{k: unwrap(v) for k, v in kwargs.items() if v is not None or k != "out"})
        if short in _ARRAYS_OF:
            value = np.asarray(value)
        if short in _STRIDED:
            value = (value + np.zeros(1, np.result_type(value, np.complex64))).real
        made = result(value)
        if isinstance(made, ndarray) and short in {"ascontiguousarray", "asarray", "asanyarray"}:
            same = [a for a in args if isinstance(a, ndarray) and a._host is made._host]
            return same[0] if same else made
        if out is not None:
            out[...] = made
            return out
        return made

    function.__name__ = short
    return function


def _from_host(host: Any, value: Any, *args: Any, **kwargs: Any) -> ndarray:
    """Upload: always a copy."""
    made = host(unwrap(value), *args, **kwargs)
    card().to_device_bytes += made.nbytes
    return wrap(np.array(made))


class Ufunc:
    """Element-wise function."""

    def __init__(self, name: str, host: np.ufunc, real: Any) -> None:
        self.__name__, self._host, self._real = name, host, real
        self._check = checked(name, real)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check(*args, **kwargs)
        refuse_host((args, tuple(kwargs.values())))
        if not any(isinstance(a, ndarray) for a in args):
            return result(self._host(*args, **kwargs))
        out = kwargs.pop("out", args[self._host.nin] if len(args) > self._host.nin else None)
        made = result(self._host(*unwrap(args[: self._host.nin]), **kwargs))
        if out is None:
            return made
        target = out[0] if isinstance(out, tuple) else out
        np.copyto(target._host, made._host, casting="same_kind")
        target._made = current_stream().work()
        return target

    def _method(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if not hasattr(self._real, method):
            raise AttributeError(f"cupy.{self.__name__} has no {method}")
        refuse_host((args, tuple(kwargs.values())))
        if method == "at":
            self._host.at(*unwrap(args))
            args[0]._made = current_stream().work()
            return None
        return result(getattr(self._host, method)(*unwrap(args), **{k: unwrap(v) for k, v in kwargs.items()}))

    at = partialmethod(_method, "at")
    reduce = partialmethod(_method, "reduce")
    accumulate = partialmethod(_method, "accumulate")
    outer = partialmethod(_method, "outer")
    reduceat = partialmethod(_method, "reduceat")
