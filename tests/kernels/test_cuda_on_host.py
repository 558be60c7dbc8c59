"""The harness itself: what it runs is right, and what it promises to catch it does catch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

KERNELS = r"""
#ifndef CUDA_ON_HOST
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif
#define TILE 16

struct Line { float slope; float offset; };

extern "C" __global__ void affine(const float *in, float *out, Line line, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = line.slope * in[i] + line.offset;
}

// Transposes a tile through shared memory; BARRIER is what makes it right.
extern "C" __global__ void transpose(const float *in, float *out, int n, int overrun)
{
    __shared__ float tile[TILE][TILE + 1];
    const int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    if (x < n && y < n) tile[threadIdx.y][threadIdx.x + overrun] = in[y * n + x];
    BARRIER;
    const int u = blockIdx.y * TILE + threadIdx.x, v = blockIdx.x * TILE + threadIdx.y;
    if (u < n && v < n) out[v * n + u] = tile[threadIdx.x][threadIdx.y];
}

// Sum by warp shuffles, dynamic shared memory and one atomic per block; counts positive values by ballot.
extern "C" __global__ void total(const float *in, double *sum, unsigned *positive, int n)
{
    DYNAMIC_SHARED(float, partial);
    float value = 0, hits = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) value += in[i];
    hits = __popc(__ballot_sync(0xffffffffu, value > 0));
    for (int step = 16; step > 0; step >>= 1) value += __shfl_down_sync(0xffffffffu, value, step);
    if ((threadIdx.x & 31) == 0) {
        partial[threadIdx.x / 32] = value;
        atomicAdd(positive, (unsigned)hits);
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        value = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0;
        for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
        if (threadIdx.x == 0) atomicAdd(sum, (double)value);
    }
}

extern "C" __global__ void diverge()
{
    if (threadIdx.x < 3) __syncthreads(); else __syncwarp();
}
"""
GOOD = ("-DBARRIER=__syncthreads()",)


def transposed(module, image: np.ndarray, order: int) -> np.ndarray:
    n = len(image)
    out, module.order = np.zeros_like(image), order
    tiles = -(-n // 16)
    module.get_function("transpose")((tiles, tiles), (16, 16), (image, out, np.int32(n), np.int32(0)))
    return out


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).random((50, 50), dtype=np.float32)


@pytest.mark.parametrize("order", [0, 1, 7])
def test_barriers_and_shared_memory(host_module, image, order):
    np.testing.assert_array_equal(transposed(host_module(KERNELS, GOOD), image, order), image.T)


def test_missing_barrier_shows_as_dependence_on_thread_order(host_module, image):
    module = host_module(KERNELS, ("-DBARRIER=(void)0",))
    assert any(not np.array_equal(transposed(module, image, order), image.T) for order in (0, 1, 7))


@pytest.mark.parametrize("order", [0, 1, 7])
def test_shuffles_votes_atomics_and_dynamic_shared_memory(host_module, order):
    module = host_module(KERNELS, GOOD)
    module.order = order
    values = np.random.default_rng(2).normal(size=1000).astype(np.float32)
    total, positive = np.zeros(1), np.zeros(1, np.uint32)
    module.get_function("total")((4,), (256,), (values, total, positive, np.int32(1000)), shared_mem=32)
    assert total[0] == pytest.approx(values.sum(dtype=float), rel=1e-5)
    assert positive[0] == (values > 0).sum()


def test_structures_pass_by_value(host_module):
    line = np.zeros((), dtype=[("slope", "f4"), ("offset", "f4")])
    line["slope"], line["offset"] = 2, 3
    values, out = np.arange(5, dtype=np.float32), np.zeros(5, np.float32)
    host_module(KERNELS, GOOD).get_function("affine")((1,), (32,), (values, out, line[()], np.int32(5)))
    np.testing.assert_array_equal(out, 2 * values + 3)


def test_barrier_divergence_is_reported(host_module):
    with pytest.raises(RuntimeError, match="barrier divergence"):
        host_module(KERNELS, GOOD).get_function("diverge")((1,), (8,), ())


def test_python_numbers_are_refused(host_module):
    line = np.zeros((), dtype=[("slope", "f4"), ("offset", "f4")])[()]
    with pytest.raises(TypeError, match="NumPy scalar"):
        host_module(KERNELS, GOOD).get_function("affine")((1,), (8,), (np.zeros(4, "f4"), np.zeros(4, "f4"), line, 4))


def test_arguments_of_another_type_are_refused(host_module):
    affine = host_module(KERNELS, GOOD).get_function("affine")
    line = np.zeros((), dtype=[("slope", "f4"), ("offset", "f4")])[()]
    with pytest.raises(TypeError, match="argument 0 of 'affine' must be float32, not float64"):
        affine((1,), (8,), (np.zeros(4), np.zeros(4, np.float32), line, np.int32(4)))
    with pytest.raises(TypeError, match="argument 3 of 'affine' must be int32, not int64"):
        affine((1,), (8,), (np.zeros(4, np.float32), np.zeros(4, np.float32), line, np.int64(4)))
    with pytest.raises(TypeError, match="takes 4 arguments, not 2"):
        affine((1,), (8,), (np.zeros(4, np.float32), np.int32(4)))


def run_apart(code: str) -> subprocess.CompletedProcess[str]:
    path = str(Path(__file__).parent)
    prelude = f"import sys; sys.path.insert(0, {path!r})\nimport numpy as np\nimport cuda_on_host\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=False, timeout=60
    )


def test_overrun_of_a_shared_array_is_caught(host_module):
    result = run_apart(f"""
module = cuda_on_host.HostRawModule({KERNELS!r}, {GOOD!r}, check=True)
image = np.zeros((16, 16), np.float32)
for overrun in (0, 2):
    print("overrun", overrun, flush=True)
    module.get_function("transpose")((1, 1), (16, 16), (image, image.copy(), np.int32(16), np.int32(overrun)))
""")
    assert result.returncode != 0
    assert result.stdout.split() == ["overrun", "0", "overrun", "2"]
    assert "out of bounds" in result.stderr


def test_touching_memory_beyond_a_guarded_array_stops_the_process(host_module):
    result = run_apart(f"""
module = cuda_on_host.HostRawModule({KERNELS!r}, {GOOD!r})
line = np.zeros((), dtype=[("slope", "f4"), ("offset", "f4")])[()]
values = cuda_on_host.guarded(np.ones(100, np.float32))
for n in (100, 101):
    print(n, flush=True)
    module.get_function("affine")((4,), (32,), (values, np.zeros(128, np.float32), line, np.int32(n)))
""")
    assert result.returncode == -11
    assert result.stdout.split() == ["100", "101"]
