"""CUDA kernels executed on the CPU, with the interface of `cupy.RawModule`.

`HostRawModule` compiles an unchanged ``.cu`` text with g++ against ``runtime.h`` and runs it thread by thread, so
that machines without a card test the kernels themselves and the code that launches them.
"""

import ctypes
import hashlib
import mmap
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_RUNTIME = Path(__file__).with_name("runtime.h")
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\([^)]*\)\s+)?void\s+(\w+)\s*\(([^)]*)\)')
_NUMPY_TYPES = {
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "unsigned": "uint32",
    "unsigned int": "uint32",
    "signed char": "int8",
    "unsigned char": "uint8",
    "short": "int16",
    "unsigned short": "uint16",
    "long long": "int64",
    "unsigned long long": "uint64",
    "size_t": "uint64",
    "bool": "bool",
}
_INTEGERS_OF_ONE_SIZE = {"int32": "uint32", "uint32": "int32", "int64": "uint64", "uint64": "int64"}
_FLAGS = (
    "-std=c++17",
    "-march=native",
    "-shared",
    "-fPIC",
    "-pthread",
    "-Wall",
    "-Wno-unused",
    "-Wno-unknown-pragmas",
)


def missing() -> str | None:
    """Why kernels cannot be executed here, or ``None`` if they can."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return "executing kernels on the CPU needs x86-64 Linux"
    return None if shutil.which("g++") else "executing kernels on the CPU needs g++"


class HostRawModule:
    """Kernels of one CUDA source, compiled for the CPU.

    Parameters
    ----------
    code
        CUDA C++; its kernels are ``extern "C" __global__``.
    options
        Compiler options, e.g. ``-D`` macros, as for `cupy.RawModule`.
    check
        Compile with UBSan, which stops the process at the first undefined operation (an index beyond a shared
        array, an overflow). Use it in a process of its own.
    order
        In which order threads run: 0 forward, 1 reversed, above 1 shuffled; correct kernels do not care.
    workers
        Blocks running at the same time.
    """

    def __init__(
        self, code: str, options: Sequence[str] = (), *, check: bool = False, order: int = 0, workers: int = 2
    ) -> None:
        self.order, self.workers = order, workers
        self._parameters = {name: _types(text, options) for name, text in _KERNEL.findall(code)}
        entries = "\n".join(
            f'extern "C" const char *launch_{name}(const unsigned *grid, const unsigned *threads, size_t shared, '
            f"void **arguments, int workers, int order) "
            f"{{ return cuda_on_host::launch(&{name}, grid, threads, shared, arguments, workers, order); }}"
            for name in self._parameters
        )
        checks = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-g", "-O1") if check else ("-O2",)
        flags = (*_FLAGS, *checks, *options, "-include", str(_RUNTIME), "-x", "c++", "-")
        self._library = ctypes.CDLL(str(_built(f"{code}\n{entries}\n", flags)))

    def get_function(self, name: str) -> Callable[..., None]:
        """Return kernel `name`, called as ``(grid, block, args, shared_mem=0)``."""
        entry = getattr(self._library, f"launch_{name}")
        entry.restype = ctypes.c_char_p
        wanted = self._parameters[name]

        def kernel(grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int = 0) -> None:
            if len(args) != len(wanted):
                raise TypeError(f"kernel '{name}' takes {len(wanted)} arguments, not {len(args)}")
            values = [_by_value(a, f"argument {k} of '{name}'", *wanted[k]) for k, a in enumerate(args)]
            pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
            shapes = [(ctypes.c_uint * 3)(*(*shape, 1, 1)[:3]) for shape in (grid, block)]
            error = entry(*shapes, ctypes.c_size_t(shared_mem), pointers, self.workers, self.order)
            if error:
                raise RuntimeError(error.decode())

        return kernel


def _built(source: str, flags: Sequence[str]) -> Path:
    """Shared library of a source, compiled once per content of everything that goes into it."""
    folder = Path(tempfile.gettempdir()) / f"cuda-on-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    key = hashlib.sha256("\0".join((source, _RUNTIME.read_text(), *flags)).encode()).hexdigest()[:24]
    library = folder / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            made = Path(unfinished) / "kernels.so"
            command = ["g++", *flags, "-o", str(made)]
            result = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
            if result.returncode != 0:
                raise RuntimeError(f"g++ refuses the kernel source:\n{result.stderr[:3000]}")
            made.replace(library)
    return library


def _types(parameters: str, options: Sequence[str]) -> list[tuple[str | None, bool]]:
    """NumPy type of each kernel parameter (``None`` if it is not known) and whether it is a pointer."""
    macros = dict(o[2:].partition("=")[::2] for o in options if o.startswith("-D"))
    found = []
    for text in re.sub(r"//[^\n]*", "", parameters).replace("\n", " ").split(","):
        words = re.sub(r"\b(const|__restrict__|volatile)\b|[*&]", " ", text).split()[:-1]
        name = " ".join(macros.get(w, w) for w in words)
        found.append((_NUMPY_TYPES.get(name), "*" in text))
    return found if parameters.strip() else []


def _by_value(argument: Any, place: str, wanted: str | None, pointer: bool) -> np.ndarray:
    """The bytes a kernel parameter holds: the address of an array, or a NumPy scalar or structure itself."""
    if not isinstance(argument, np.ndarray | np.generic):
        raise TypeError(f"{place}: pass {argument!r} as a NumPy scalar of the kernel's type")
    given = argument.dtype.name
    if pointer != isinstance(argument, np.ndarray):
        raise TypeError(f"{place} must be {'an array' if pointer else 'a NumPy scalar'}, not {type(argument).__name__}")
    if wanted and given != wanted and not (pointer and _INTEGERS_OF_ONE_SIZE.get(given) == wanted):
        raise TypeError(f"{place} must be {wanted}, not {given}")
    if not pointer:
        return np.array(argument)
    if not argument.flags.c_contiguous:
        raise TypeError(f"{place}: kernels take contiguous arrays")
    return np.array(argument.ctypes.data, dtype=np.uintp)


def guarded(array: np.ndarray) -> np.ndarray:
    """Copy of `array` that ends at a page no one may touch: reading or writing beyond it kills the process."""
    page = mmap.PAGESIZE
    usable = -(-max(array.nbytes, 1) // page) * page
    memory = mmap.mmap(-1, usable + page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    nothing = 0
    if libc.mprotect(start + usable, page, nothing) != 0:
        raise OSError(ctypes.get_errno(), "no guarded page could be mapped")
    whole = np.frombuffer(memory, dtype=np.uint8, count=usable)
    copy = whole[usable - array.nbytes :].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
