"""Every kernel compiles, for every element type, with the compiler and options that cupy uses on real cards."""

import pytest
from resources import ARCHITECTURES, compiled, macros_of, variants

from fibtomo._resources import resource_dir
from fibtomo.backend.kernels import kernel_source, type_options

MAX_REGISTERS = 64
"""Leaves room for 1024 threads on a multiprocessor, the most that sm_75 holds."""
MAX_SHARED = 48 << 10
"""Bytes a block may have on every card without asking."""


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("name", "dtype"), variants())
def test_kernel_compiles_within_its_budget(nvrtc, name, dtype, arch):
    options = type_options(**dict.fromkeys(macros_of(name), dtype))
    found = compiled(nvrtc, kernel_source(name), arch, options)
    assert found
    for entry, takes in found.items():
        assert takes.registers <= MAX_REGISTERS, entry
        assert takes.spilled == 0, entry
        assert takes.shared <= MAX_SHARED, entry


def test_compiler_messages_name_file_and_line(nvrtc):
    broken = kernel_source("resample").replace("float voxel = fill;", "float voxel = nonsense;")
    line = 1 + (resource_dir("kernels") / "resample.cu").read_text().splitlines().index("    float voxel = fill;")
    with pytest.raises(ValueError, match=rf"kernels/resample\.cu\({line}\).*nonsense"):
        compiled(nvrtc, broken, "80", type_options(SOURCE_T="uint16"))


def test_spills_and_registers_are_told(nvrtc):
    """The budget means something: a kernel that needs too many registers is seen to spill."""
    hungry = """extern "C" __global__ __launch_bounds__(1024) void hungry(float *a, int n) {
        float v[96]; for (int k = 0; k < 96; ++k) v[k] = a[k * n + threadIdx.x];
        __syncthreads(); for (int k = 0; k < 96; ++k) a[k * n + threadIdx.x] = v[95 - k] * v[(k * 7) % 96]; }"""
    assert compiled(nvrtc, hungry, "80", ())["hungry"].spilled > 0
