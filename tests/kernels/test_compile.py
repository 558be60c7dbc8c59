"""Every kernel compiles, for every element type, with the compiler and options that cupy uses on real cards."""

import re
from dataclasses import dataclass

import pytest
from exercises import NAMES

from fibtomo._resources import resource_dir
from fibtomo.backend.kernels import C_TYPES, kernel_source, type_options

ARCHITECTURES = ["75", "80", "90"]
MAX_REGISTERS = 64
"""Leaves room for 1024 threads on a multiprocessor, the most that sm_75 holds."""
MAX_SHARED = 48 << 10
"""Bytes a block may have on every card without asking."""
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


def variants() -> list[tuple[str, str]]:
    """Sources and element types; a source without a type macro is compiled once."""
    return [(name, dtype) for name in NAMES for dtype in (C_TYPES if _macros(name) else ["float32"])]


def _macros(name: str) -> set[str]:
    return set(re.findall(r"\b[A-Z]+_T\b", kernel_source(name)))


def compiled(nvrtc, code: str, arch: str, flags: tuple[str, ...]) -> dict[str, Resources]:
    """Compile for one architecture; what each kernel takes, by name."""
    program = nvrtc.createProgram(code, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture=sm_{arch}", "-std=c++17", "--ptxas-options=-v", *flags))
        assert nvrtc.getCUBIN(program)[:4] == b"\x7fELF"
        log = nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)
    found = {}
    for entry, stores, loads, registers, rest in _ENTRY.findall(log):
        shared = re.search(r"(\d+) bytes smem", rest)
        found[entry] = Resources(int(registers), int(stores) + int(loads), int(shared[1]) if shared else 0)
    return found


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("name", "dtype"), variants())
def test_kernel_compiles_within_its_budget(nvrtc, name, dtype, arch):
    options = type_options(**dict.fromkeys(_macros(name), dtype))
    found = compiled(nvrtc, kernel_source(name), arch, options)
    assert found
    for entry, takes in found.items():
        assert takes.registers <= MAX_REGISTERS, entry
        assert takes.spilled == 0, entry
        assert takes.shared <= MAX_SHARED, entry


def test_compiler_messages_name_file_and_line(nvrtc):
    broken = kernel_source("resample").replace("float voxel = fill;", "float voxel = nonsense;")
    line = 1 + (resource_dir("kernels") / "resample.cu").read_text().splitlines().index("    float voxel = fill;")
    with pytest.raises(pytest.fail.Exception, match=rf"kernels/resample\.cu\({line}\).*nonsense"):
        compiled(nvrtc, broken, "80", type_options(SOURCE_T="uint16"))


def test_spills_and_registers_are_told(nvrtc):
    """The budget means something: a kernel that needs too many registers is seen to spill."""
    hungry = """extern "C" __global__ __launch_bounds__(1024) void hungry(float *a, int n) {
        float v[96]; for (int k = 0; k < 96; ++k) v[k] = a[k * n + threadIdx.x];
        __syncthreads(); for (int k = 0; k < 96; ++k) a[k * n + threadIdx.x] = v[95 - k] * v[(k * 7) % 96]; }"""
    assert compiled(nvrtc, hungry, "80", ())["hungry"].spilled > 0
