"""CUDA kernels: source text, compilation per element type and device, and launching.

A *module* here is anything with ``get_function(name)`` whose result is called as ``(grid, block, args,
shared_mem=0)``: `cupy.RawModule`, or the tests' module that runs the same source on the CPU.
"""

import importlib
import re
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from fibtomo._resources import resource_dir
from fibtomo.backend.array import is_cupy
from fibtomo.backend.device import gpu_status
from fibtomo.errors import BackendUnavailableError, InputError

Threads = tuple[int, int, int]
"""Number of threads along (x, y, z)."""
C_TYPES = {"uint8": "unsigned char", "uint16": "unsigned short", "int16": "short", "float32": "float"}
"""Element types that kernels are compiled for, and their C names."""

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([\w.]+)"[ \t]*$')


class KernelModule(Protocol):
    """Compiled kernels of one source file."""

    def get_function(self, name: str) -> Any:
        """Return the kernel `name`."""
        ...


def kernel_source(name: str) -> str:
    """Text of ``kernels/<name>.cu`` with its ``.cuh`` files put in, as compilers get it.

    One text without include paths makes the compilers' caches see every change; logical ``#line`` markers
    keep their messages pointing at the right file whatever machine it lies on.

    Raises
    ------
    FileNotFoundError
        There is no such kernel, or the installation is incomplete.
    """
    return _expand(f"{name}.cu", set())


def _expand(file: str, seen: set[str]) -> str:
    seen.add(file)
    lines = [f'#line 1 "kernels/{file}"']
    for number, line in enumerate((resource_dir("kernels") / file).read_text().splitlines(), start=1):
        include = _INCLUDE.match(line)
        if include is None:
            lines.append(line)
        else:
            body = "" if include[1] in seen else _expand(include[1], seen)
            lines += [body, f'#line {number + 1} "kernels/{file}"']
    return "\n".join(lines) + "\n"


def type_options(**types: "np.dtype[Any] | str") -> tuple[str, ...]:
    """Compiler options that define each macro as the C name of a NumPy type.

    Raises
    ------
    InputError
        Kernels are not made for that type.

    Examples
    --------
    >>> type_options(SOURCE_T="uint16")
    ('-DSOURCE_T=unsigned short',)
    """
    options = []
    for macro, dtype in sorted(types.items()):
        name = np.dtype(dtype).name
        if name not in C_TYPES:
            raise InputError(f"kernels take {', '.join(C_TYPES)} arrays, not {name}; convert the array first")
        options.append(f"-D{macro}={C_TYPES[name]}")
    return tuple(options)


def load_kernel(name: str, **types: "np.dtype[Any] | str") -> KernelModule:
    """Compile ``kernels/<name>.cu`` for the current CUDA device, once per device and element types.

    Parameters
    ----------
    name
        File name without ``.cu``.
    types
        NumPy type of each type macro of that source, e.g. ``SOURCE_T="uint16"``.

    Raises
    ------
    BackendUnavailableError
        No CUDA device can be used; the message says why.
    InputError
        Kernels are not made for that type.
    """
    options = type_options(**types)
    usable, reason = gpu_status()
    if not usable:
        raise BackendUnavailableError(f"kernel '{name}' needs a CUDA device: {reason}; use NumPy arrays")
    import cupy

    return _compile(name, options, int(cupy.cuda.runtime.getDevice()))


@cache
def _compile(name: str, options: tuple[str, ...], _device: int) -> KernelModule:
    import cupy

    module: KernelModule = cupy.RawModule(code=kernel_source(name), options=("-std=c++17", *options))
    return module


def twin(package: str, name: str, like: Any) -> ModuleType:
    """Return the loops `name` of a package for arrays such as `like`.

    ``_<name>_kernels`` holds them compiled for the CPU, ``_<name>_device`` launches the same loops on a CUDA device:
    functions of the same names, parameters and results.

    Examples
    --------
    >>> twin("fibtomo.ops", "nlm", np.zeros(3)).__name__
    'fibtomo.ops._nlm_kernels'
    """
    return importlib.import_module(f"{package}._{name}_{'device' if is_cupy(like) else 'kernels'}")


def launch(
    module: KernelModule,
    function: str,
    shape: Sequence[int],
    args: Sequence[Any],
    *,
    block: Threads = (32, 8, 1),
    shared_bytes: int = 0,
) -> None:
    """Run `function` with at least one thread per element of `shape`, the last axis along x.

    Parameters
    ----------
    module, function
        Compiled kernels, and the name of one.
    shape
        Up to three axes (z, y, x) of what the threads share out.
    args
        Arrays, C-contiguous; Python numbers, passed as C ``int`` and ``float``; NumPy scalars, passed as they are.
    block
        Threads of a block along (x, y, z).
    shared_bytes
        Dynamic shared memory of a block.

    Raises
    ------
    InputError
        An array is not contiguous, or `shape` exceeds what one launch can address.
    """
    nz, ny, nx = (1,) * (3 - len(shape)) + tuple(int(n) for n in shape)
    packed = tuple(_pack(a, function) for a in args)
    if min(nz, ny, nx) < 1:
        return
    grid = tuple(-(-n // threads) for n, threads in zip((nx, ny, nz), block, strict=True))
    if max(grid[1:]) > 65535 or grid[0] > 2**31 - 1:
        raise InputError(f"a block of {tuple(shape)} voxels is too large for one launch; use thinner slabs")
    module.get_function(function)(grid, block, packed, shared_mem=shared_bytes)


def _pack(value: Any, function: str) -> Any:
    if isinstance(value, np.ndarray) or is_cupy(value):
        if not value.flags.c_contiguous:
            raise InputError(f"kernel '{function}' was given an array of shape {value.shape} that is not contiguous")
        return value
    if isinstance(value, np.generic):
        return value
    return np.float32(value) if isinstance(value, float) else np.int32(value)
