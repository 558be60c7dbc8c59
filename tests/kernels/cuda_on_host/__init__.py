"""CUDA kernels executed on the CPU, with the interface of `cupy.RawModule`.

`HostRawModule` compiles an unchanged ``.cu`` text with g++ against ``runtime.h`` and runs it thread by thread, so
that machines without a card test the kernels themselves and the code that launches them.
"""

import ctypes
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
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\([^)]*\)\s+)?void\s+(\w+)\s*\(')
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
        names = _KERNEL.findall(code)
        entries = "\n".join(
            f'extern "C" const char *launch_{name}(const unsigned *grid, const unsigned *threads, size_t shared, '
            f"void **arguments, int workers, int order) "
            f"{{ return cuda_on_host::launch(&{name}, grid, threads, shared, arguments, workers, order); }}"
            for name in names
        )
        checks = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-g", "-O1") if check else ("-O2",)
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "kernels.so"
            command = [
                "g++",
                *_FLAGS,
                *checks,
                *options,
                "-include",
                str(_RUNTIME),
                "-x",
                "c++",
                "-",
                "-o",
                str(library),
            ]
            result = subprocess.run(command, input=f"{code}\n{entries}\n", text=True, capture_output=True, check=False)
            if result.returncode != 0:
                raise RuntimeError(f"g++ refuses the kernel source:\n{result.stderr[:3000]}")
            self.warnings = result.stderr
            self._library = ctypes.CDLL(str(library))

    def get_function(self, name: str) -> Callable[..., None]:
        """Return kernel `name`, called as ``(grid, block, args, shared_mem=0)``."""
        entry = getattr(self._library, f"launch_{name}")
        entry.restype = ctypes.c_char_p

        def kernel(grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int = 0) -> None:
            values = [_by_value(a) for a in args]
            pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
            shapes = [(ctypes.c_uint * 3)(*(*shape, 1, 1)[:3]) for shape in (grid, block)]
            error = entry(*shapes, ctypes.c_size_t(shared_mem), pointers, self.workers, self.order)
            if error:
                raise RuntimeError(error.decode())

        return kernel


def _by_value(argument: Any) -> np.ndarray:
    """The bytes a kernel parameter holds: the address of an array, or a NumPy scalar or structure itself."""
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise TypeError("kernels take contiguous arrays")
        return np.array(argument.ctypes.data, dtype=np.uintp)
    if isinstance(argument, np.generic):
        return np.array(argument)
    raise TypeError(f"pass {argument!r} as a NumPy scalar of the kernel's type")


def guarded(array: np.ndarray) -> np.ndarray:
    """Copy of `array` that ends at a page no one may touch: reading or writing beyond it kills the process."""
    page = os.sysconf("SC_PAGE_SIZE")
    usable = -(-max(array.nbytes, 1) // page) * page
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    read_write, private_anonymous, nothing = 3, 0x22, 0
    start = libc.mmap(None, usable + page, read_write, private_anonymous, -1, 0)
    if start in (None, ctypes.c_void_p(-1).value) or libc.mprotect(start + usable, page, nothing) != 0:
        raise OSError(ctypes.get_errno(), "no guarded page could be mapped")
    buffer = (ctypes.c_char * array.nbytes).from_address(start + usable - array.nbytes)
    copy = np.frombuffer(buffer, dtype=array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
