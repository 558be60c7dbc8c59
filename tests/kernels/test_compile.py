"""Every kernel compiles, for every element type, with the compiler and options that cupy uses on real cards."""

import re
import shutil
import subprocess

import pytest

from fibtomo._resources import resource_dir
from fibtomo.backend.kernels import C_TYPES, kernel_source, type_options

KERNELS = sorted(path.stem for path in resource_dir("kernels").glob("*.cu"))
ARCHITECTURES = ["75", "80", "90"]
MAX_REGISTERS = 64  # leaves room for 1024 threads per multiprocessor partition on all three architectures


def options(name: str, dtype: str) -> tuple[str, ...]:
    macros = set(re.findall(r"\b[A-Z]+_T\b", kernel_source(name)))
    return type_options(**dict.fromkeys(macros, dtype))


def compile_cubin(nvrtc, code: str, arch: str, flags: tuple[str, ...]) -> bytes:
    program = nvrtc.createProgram(code, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture=sm_{arch}", "--std=c++17", *flags))
        return nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


def test_there_are_kernels():
    assert "resample" in KERNELS


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", C_TYPES)
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_compiles_with_nvrtc(nvrtc, name, dtype, arch):
    cubin = compile_cubin(nvrtc, kernel_source(name), arch, options(name, dtype))
    assert cubin[:4] == b"\x7fELF"


def test_compiler_messages_name_file_and_line(nvrtc):
    broken = kernel_source("resample").replace("float voxel = fill;", "float voxel = nonsense;")
    line = 1 + (resource_dir("kernels") / "resample.cu").read_text().splitlines().index("    float voxel = fill;")
    with pytest.raises(pytest.fail.Exception, match=rf"kernels/resample\.cu\({line}\).*nonsense"):
        compile_cubin(nvrtc, broken, "80", options("resample", "uint16"))


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="registers are counted by ptxas, which comes with nvcc")
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_fits_registers_without_spilling(tmp_path, name, arch):
    source = tmp_path / "kernel.cu"
    source.write_text(kernel_source(name))
    command = ["nvcc", f"-arch=sm_{arch}", "-cubin", "-O3", "-std=c++17", "-Xptxas", "-v", *options(name, "uint16")]
    result = subprocess.run(
        [*command, "-o", str(tmp_path / "kernel.cubin"), str(source)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", result.stderr)]
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill", result.stderr)]
    assert registers
    assert max(registers) <= MAX_REGISTERS
    assert not any(spills)
