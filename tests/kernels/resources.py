"""What the compiler that cupy uses on real cards says of the kernels: whether they compile, and what they take."""

import re
from dataclasses import dataclass
from typing import Any

from exercises import NAMES

from fibtomo.backend.kernels import C_TYPES, kernel_source

ARCHITECTURES = ("75", "80", "90")
AS_CUPY = ("-std=c++17", "-ftz=true")
"""What `fibtomo.backend.kernels` asks for, and what cupy adds of its own."""
_ENTRY = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers(.*?)\n",
    re.DOTALL,
)


@dataclass(frozen=True)
class Resources:
    """What one kernel takes: registers of a thread, bytes spilled, bytes of static shared memory of a block."""

    registers: int
    spilled: int
    shared: int


def nvrtc_of() -> Any:
    """cupy's own binding of the compiler; ``ImportError`` or ``RuntimeError`` where it is missing."""
    from cupy_backends.cuda.libs import nvrtc

    nvrtc.getVersion()
    return nvrtc


def macros_of(name: str) -> set[str]:
    """Type macros of a source."""
    return set(re.findall(r"\b[A-Z]+_T\b", kernel_source(name)))


def variants() -> list[tuple[str, str]]:
    """Sources and element types; a source without a type macro is compiled once."""
    return [(name, dtype) for name in NAMES for dtype in (C_TYPES if macros_of(name) else ["float32"])]


def compiled(nvrtc: Any, code: str, arch: str, flags: tuple[str, ...]) -> dict[str, Resources]:
    """Compile for one architecture; what each kernel takes, by name. ``ValueError`` holds the compiler's complaint."""
    program = nvrtc.createProgram(code, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture=sm_{arch}", *AS_CUPY, "--ptxas-options=-v", *flags))
        if nvrtc.getCUBIN(program)[:4] != b"\x7fELF":
            raise ValueError("the compiler made no machine code")
        log = nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError:
        raise ValueError(nvrtc.getProgramLog(program)) from None
    finally:
        nvrtc.destroyProgram(program)
    found = {}
    for entry, stores, loads, registers, rest in _ENTRY.findall(log):
        shared = re.search(r"(\d+) bytes smem", rest)
        found[entry] = Resources(int(registers), int(stores) + int(loads), int(shared[1]) if shared else 0)
    return found
