"""Arrays that are as strict as those on a card."""

import operator
from collections.abc import Callable, Iterator
from typing import Any

import cupy as _real
import numpy as np

from strict_cupy._card import RaceError, Stream, card, current_stream
from strict_cupy._signatures import checked

_IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


class ndarray:  # noqa: N801 - cupy's name
    """NumPy array that pretends to lie on a card."""

    __array_priority__ = 100
    __slots__ = ("__weakref__", "_host", "_stamp")

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"):
        _allocate(self, np.full(shape, _poison(np.dtype(dtype)), dtype=dtype, order=order))

    @property
    def _made(self) -> tuple[Stream, int]:
        """Stream and tick of the last work on this memory, which views share."""
        return self._stamp[0]

    @_made.setter
    def _made(self, made: tuple[Stream, int]) -> None:
        self._stamp[0] = made

    # what is refused
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(_IMPLICIT)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        import cupy

        if method != "__call__" or any(isinstance(a, np.ndarray) for a in inputs):
            return NotImplemented
        return getattr(cupy, ufunc.__name__)(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        import cupy

        return getattr(cupy, function.__name__)(*args, **kwargs)

    # what may be asked without looking at the values
    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: view_of(self, self._host.T))
    real = property(lambda self: view_of(self, self._host.real))
    imag = property(lambda self: view_of(self, self._host.imag))
    base = property(lambda self: None if self._host.base is None else self)

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return f"strict_cupy.ndarray(shape={self.shape}, dtype={self.dtype})"

    # what waits for the card
    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """Copy to the host; not blocking, `out` holds it only after the stream was waited for."""
        value, here = read(self, stream), stream or current_stream()
        card().to_host_bytes += value.nbytes
        card().counts["to_host"] += 1
        target = np.full_like(value, _poison(value.dtype), order=order, subok=False) if out is None else out
        if target.shape != value.shape or target.dtype != value.dtype:
            raise ValueError(f"out of {target.shape} {target.dtype} does not fit {value.shape} {value.dtype}")
        if blocking:
            here.synchronize()
            target[...] = value
        else:
            here.work(lambda: np.copyto(target, value))
        return target

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Copy from the host; the values are read when the stream gets there."""
        if type(arr) is not np.ndarray or arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError(f"set takes a numpy.ndarray of {self.shape} {self.dtype}, not {type(arr).__name__}")
        card().to_device_bytes += arr.nbytes
        here = stream or current_stream()
        self._host[...] = _poison(self.dtype)
        if stream is None:
            np.copyto(self._host, arr)
            self._made = here.work()
        else:
            self._made = here.work(lambda: np.copyto(self._host, arr))

    def _item(self, convert: Callable[[Any], Any]) -> Any:
        card().counts["to_host"] += 1
        return convert(read(self))

    def __float__(self) -> float:
        return self._item(float)

    def __int__(self) -> int:
        return self._item(int)

    def __bool__(self) -> bool:
        return self._item(bool)

    def __complex__(self) -> complex:
        return self._item(complex)

    __hash__ = None

    def item(self, *index: int) -> Any:
        """One value."""
        return self._item(lambda a: a.item(*index))

    def tolist(self) -> Any:
        """All values as lists."""
        return self._item(lambda a: a.tolist())

    def __iter__(self) -> Iterator["ndarray"]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> "ndarray":
        _refuse_host(key)
        found = self._host[unwrap(key)]
        if isinstance(found, np.ndarray) and _root(found) is _root(self._host):
            return view_of(self, found)
        return result(read(self)[unwrap(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        _refuse_host((key, value))
        read(self)[unwrap(key)] = unwrap(value)
        self._made = current_stream().work()


def _poison(dtype: np.dtype) -> Any:
    """What memory holds that nobody wrote: nothing that could pass for a result."""
    if dtype.kind == "b":
        return True
    return np.nan if dtype.kind in "fc" else np.iinfo(dtype).max - 2


def _allocate(array: ndarray, host: np.ndarray) -> ndarray:
    if host.dtype.kind not in "biufc" or not host.dtype.isnative:
        raise ValueError(f"Unsupported dtype {host.dtype}")
    if card().guard and host.base is None and host.nbytes:
        from cuda_on_host import guarded

        host = guarded(host)
    array._host, array._stamp = host, [current_stream().work(), {}]
    card().keep(host, array._stamp[1])
    card().traffic_bytes += host.nbytes
    card().operations += 1
    return array


def _root(host: np.ndarray) -> np.ndarray:
    while isinstance(host.base, np.ndarray):
        host = host.base
    return host


def view_of(array: ndarray, host: np.ndarray) -> ndarray:
    """Another look at the same memory: nothing is done on the card for it."""
    if _root(host) is not _root(array._host):
        read(array)
        return wrap(host)
    found = ndarray.__new__(ndarray)
    found._host, found._stamp = host, array._stamp
    return found


def wrap(host: np.ndarray) -> ndarray:
    """A stand-in for what NumPy made."""
    return _allocate(ndarray.__new__(ndarray), np.asarray(host))


def result(value: Any) -> Any:
    """Wrap whatever NumPy returned: scalars become arrays without axes, as on a card."""
    if isinstance(value, np.ndarray | np.generic):
        if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
            return value
        return wrap(value)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(result(v) for v in value)
    if hasattr(value, "_fields"):
        return type(value)(*(result(v) for v in value))
    return [result(v) for v in value] if isinstance(value, list) else value


def read(array: ndarray, stream: Any = None) -> np.ndarray:
    """Values of an array, if the stream has waited for them."""
    here: Stream = stream or current_stream()
    if not here.sees(array._made):
        raise RaceError(f"an array made on stream {array._made[0].number} is used on stream {here.number} unwaited")
    array._made[0].finish(array._made[1])
    array._stamp[1][here] = here.work()[1]
    card().traffic_bytes += array.nbytes
    return array._host


def unwrap(value: Any) -> Any:
    """NumPy values of arguments, containers included."""
    if isinstance(value, ndarray):
        return read(value)
    if isinstance(value, tuple | list):
        return type(value)(unwrap(v) for v in value)
    return value


def _refuse_host(value: Any) -> None:
    """An array of the host among arguments is a mistake that real cupy finds, or pays for with a hidden copy."""
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        for item in value:
            _refuse_host(item)


refuse_host = _refuse_host


def written(arrays: list[Any]) -> None:
    """Take note that work now enqueued may write these."""
    for a in arrays:
        if isinstance(a, ndarray):
            a._made = current_stream().work()


def _binary(name: str, function: Callable[..., Any], update: Callable[..., Any] | None) -> None:
    def mixes(other: Any) -> bool:
        if isinstance(other, np.ndarray):
            raise TypeError(f"Unsupported type {type(other)}")
        return isinstance(other, ndarray | np.generic | int | float | complex)

    def method(self: ndarray, other: Any) -> Any:
        return result(function(read(self), unwrap(other))) if mixes(other) else NotImplemented

    def reflected(self: ndarray, other: Any) -> Any:
        return result(function(unwrap(other), read(self))) if mixes(other) else NotImplemented

    def in_place(self: ndarray, other: Any) -> Any:
        if not mixes(other):
            return NotImplemented
        update(read(self), unwrap(other))
        self._made = current_stream().work()
        return self

    setattr(ndarray, f"__{name}__", method)
    if update is not None:
        setattr(ndarray, f"__r{name}__", reflected)
        setattr(ndarray, f"__i{name}__", in_place)


def _unary(name: str, function: Callable[..., Any]) -> None:
    setattr(ndarray, f"__{name}__", lambda self: result(function(read(self))))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"):
    _binary(_name, getattr(operator, f"__{_name}__"), getattr(operator, f"i{_name}"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "matmul"):
    _binary(_name, getattr(operator, _name), None)
for _name in ("neg", "pos", "invert", "abs"):
    _unary(_name, getattr(operator, _name))


def _method(name: str) -> Callable[..., Any]:
    real, host = getattr(_real.ndarray, name), getattr(np.ndarray, name)
    check = checked(f"ndarray.{name}", real)

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        _refuse_host((args, tuple(kwargs.values())))
        check(self, *args, **kwargs)
        if name in _VIEWS:
            return view_of(self, host(self._host, *args, **kwargs))
        out = kwargs.pop("out", None)
        values = {k: unwrap(v) for k, v in kwargs.items() if not (k == "casting" and v is None)}
        made = result(host(read(self), *unwrap(args), **values))
        if out is not None:
            out[...] = made
            return out
        if name in _IN_PLACE:
            self._made = current_stream().work()
        return made

    method.__name__ = name
    return method


_IN_PLACE = {"sort", "fill", "put", "partition"}
_VIEWS = {"reshape", "ravel", "view", "transpose", "swapaxes", "squeeze", "diagonal"}
for _name in dir(_real.ndarray):
    if not _name.startswith("_") and callable(getattr(np.ndarray, _name, None)) and not hasattr(ndarray, _name):
        setattr(ndarray, _name, _method(_name))
