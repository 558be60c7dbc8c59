// CUDA C++ on the CPU: enough of the language and its runtime to execute a kernel source unchanged with g++.
//
// Blocks run one after the other on each worker thread. The CUDA threads of a block are fibers that start lazily: one
// fiber runs thread after thread in a plain loop until a thread waits at a barrier; only then is another fiber made.
// So a kernel without barriers costs no switch at all, and any order of threads can be asked for.
//
// Covered: __shared__, dynamic shared memory (DYNAMIC_SHARED), __syncthreads, __syncwarp, shuffles, ballot, atomics.
// Not covered: textures, cooperative groups, device libraries, timing and memory order between blocks.
#pragma once
#if !defined(__x86_64__) || !defined(__linux__)
#error "the fiber switch is written for x86-64 Linux"
#endif
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#define CUDA_ON_HOST 1
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(cuda_on_host::block.shared.data())

struct dim3 {
    unsigned x, y, z;
};
struct float2 {
    float x, y;
};
struct float3 {
    float x, y, z;
};
struct float4 {
    float x, y, z, w;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
using std::max;
using std::min;

static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

namespace cuda_on_host {

extern "C" void cuda_on_host_switch(void **save, void *restore);
asm(R"(.text
.type cuda_on_host_switch,@function
cuda_on_host_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size cuda_on_host_switch,.-cuda_on_host_switch
)");

constexpr size_t stack_bytes = 64 * 1024;

enum class State : uint8_t { ready, block_barrier, warp_barrier, finished };

struct Fiber {
    std::unique_ptr<char, decltype(&free)> stack{nullptr, &free};
    void *stack_pointer = nullptr;
    unsigned thread = 0;  // linear index of the CUDA thread it runs
    State state = State::finished;
};

// The block that a worker executes.
struct Block {
    std::vector<Fiber> fibers;
    size_t used = 0, current = 0;       // fibers in use, fiber running
    void *scheduler = nullptr;          // its stack pointer while a fiber runs
    unsigned threads = 0, started = 0, ended = 0;
    std::vector<unsigned> order;        // in which threads start
    std::vector<char> shared;
    std::vector<uint64_t> exchange;     // one slot per thread, for shuffles and votes
    void (*body)(void *) = nullptr;
    void *body_argument = nullptr;
};
static thread_local Block block;

static inline unsigned linear_thread() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

static inline void become(unsigned thread) {
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

static void fiber_main() {
    for (;;) {
        while (block.started < block.threads) {
            const unsigned thread = block.order[block.started++];
            block.fibers[block.current].thread = thread;
            become(thread);
            block.body(block.body_argument);
            ++block.ended;
        }
        Fiber &self = block.fibers[block.current];
        self.state = State::finished;
        cuda_on_host_switch(&self.stack_pointer, block.scheduler);
    }
}

static inline void resume(size_t index) {
    block.current = index;
    block.fibers[index].state = State::ready;
    cuda_on_host_switch(&block.scheduler, block.fibers[index].stack_pointer);
}

static inline void wait_at(State barrier) {
    Fiber &self = block.fibers[block.current];
    self.state = barrier;
    cuda_on_host_switch(&self.stack_pointer, block.scheduler);
    become(block.fibers[block.current].thread);
}

static void start_fiber() {
    if (block.used == block.fibers.size()) {
        Fiber &fiber = block.fibers.emplace_back();
        fiber.stack.reset(static_cast<char *>(aligned_alloc(64, stack_bytes)));
        void **top = reinterpret_cast<void **>(fiber.stack.get() + stack_bytes);
        *--top = nullptr;                                    // keeps the stack aligned as after a call
        *--top = reinterpret_cast<void *>(fiber_main);       // where the first switch returns to
        for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
        fiber.stack_pointer = top;
    }
    resume(block.used++);
}

// Release every fiber that `waits`; fibers that arrive at the next barrier meanwhile stay there.
template <class Predicate>
static void release(Predicate waits) {
    std::vector<size_t> waiting;
    for (size_t i = 0; i < block.used; ++i)
        if (waits(block.fibers[i])) waiting.push_back(i);
    for (size_t i : waiting) resume(i);
}

// Run the current block; false if its threads wait at different barriers for ever.
static bool run_block() {
    block.started = block.ended = block.used = 0;
    for (Fiber &fiber : block.fibers) fiber.state = State::finished;
    while (block.started < block.threads) start_fiber();
    std::vector<unsigned> alive, at_warp_barrier;
    while (block.ended < block.threads) {
        const unsigned warps = (block.threads + warpSize - 1) / warpSize;
        alive.assign(warps, 0);
        at_warp_barrier.assign(warps, 0);
        unsigned all_alive = 0, at_block_barrier = 0;
        for (size_t i = 0; i < block.used; ++i) {
            const Fiber &fiber = block.fibers[i];
            if (fiber.state == State::finished) continue;
            ++all_alive;
            ++alive[fiber.thread / warpSize];
            at_block_barrier += fiber.state == State::block_barrier;
            at_warp_barrier[fiber.thread / warpSize] += fiber.state == State::warp_barrier;
        }
        bool progress = at_block_barrier == all_alive;
        if (progress) {
            release([](const Fiber &fiber) { return fiber.state == State::block_barrier; });
        } else {
            for (unsigned warp = 0; warp < warps; ++warp) {
                if (at_warp_barrier[warp] == 0 || at_warp_barrier[warp] != alive[warp]) continue;
                progress = true;
                release([warp](const Fiber &fiber) {
                    return fiber.state == State::warp_barrier && fiber.thread / warpSize == warp;
                });
            }
        }
        if (!progress) return false;
    }
    return true;
}

// Order in which the threads of a block start: 0 forward, 1 reversed, n > 1 shuffled with seed n.
static std::vector<unsigned> thread_order(unsigned threads, int order) {
    std::vector<unsigned> result(threads);
    for (unsigned i = 0; i < threads; ++i) result[i] = order == 1 ? threads - 1 - i : i;
    uint64_t random = order * 0x9E3779B97F4A7C15ull;
    for (unsigned i = threads - 1; order > 1 && i > 0; --i) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::swap(result[i], result[random % (i + 1)]);
    }
    return result;
}

template <class... A>
struct Call {
    void (*kernel)(A...);
    void **arguments;
    template <size_t... I>
    void operator()(std::index_sequence<I...>) {
        kernel(*static_cast<std::remove_reference_t<A> *>(arguments[I])...);
    }
    static void run(void *self) { (*static_cast<Call *>(self))(std::index_sequence_for<A...>{}); }
};

// Execute a grid; returns nullptr or what went wrong.
template <class... A>
static const char *launch(void (*kernel)(A...), const unsigned *grid, const unsigned *threads, size_t shared_bytes,
                          void **arguments, int workers, int order) {
    Call<A...> call{kernel, arguments};
    const size_t blocks = size_t(grid[0]) * grid[1] * grid[2];
    std::atomic<size_t> next{0};
    std::atomic<bool> diverged{false};
    auto work = [&] {
        blockDim = {threads[0], threads[1], threads[2]};
        gridDim = {grid[0], grid[1], grid[2]};
        block.threads = threads[0] * threads[1] * threads[2];
        block.order = thread_order(block.threads, order);
        block.exchange.assign(block.threads + warpSize, 0);
        block.fibers.reserve(block.threads);
        block.body = &Call<A...>::run;
        block.body_argument = &call;
        for (size_t i; (i = next++) < blocks && !diverged;) {
            const size_t index = order == 1 ? blocks - 1 - i : i;
            blockIdx = {unsigned(index % grid[0]), unsigned(index / grid[0] % grid[1]), unsigned(index / grid[0] / grid[1])};
            block.shared.assign(shared_bytes, char(0xCD));
            if (!run_block()) diverged = true;
        }
    };
    std::vector<std::thread> pool;
    for (int i = 0; i < workers; ++i) pool.emplace_back(work);
    for (std::thread &worker : pool) worker.join();
    return diverged ? "barrier divergence: not all live threads reached the same barrier" : nullptr;
}

template <class T>
static inline T exchange(T value, unsigned source_lane) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    const unsigned thread = linear_thread();
    memcpy(&block.exchange[thread], &value, sizeof value);
    wait_at(State::warp_barrier);
    T result;
    memcpy(&result, &block.exchange[(thread & ~31u) + source_lane], sizeof result);
    wait_at(State::warp_barrier);
    return result;
}

template <class T, class Operation>
static inline T update(T *address, Operation operation) {
    T old, fresh;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do fresh = operation(old);
    while (!__atomic_compare_exchange(address, &old, &fresh, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

}  // namespace cuda_on_host

static inline void __syncthreads() { cuda_on_host::wait_at(cuda_on_host::State::block_barrier); }
static inline void __syncwarp(unsigned = ~0u) { cuda_on_host::wait_at(cuda_on_host::State::warp_barrier); }
static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() {}

// Lanes are counted within groups of `width`; a source outside the group leaves the value as it is.
static inline unsigned cuda_on_host_lane() { return cuda_on_host::linear_thread() & 31u; }
template <class T>
static inline T __shfl_sync(unsigned, T value, int source, int width = 32) {
    const unsigned lane = cuda_on_host_lane();
    return cuda_on_host::exchange(value, (lane & ~(width - 1u)) + (unsigned(source) & (width - 1u)));
}
template <class T>
static inline T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
    const unsigned lane = cuda_on_host_lane();
    return cuda_on_host::exchange(value, lane % width + delta < unsigned(width) ? lane + delta : lane);
}
template <class T>
static inline T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
    const unsigned lane = cuda_on_host_lane();
    return cuda_on_host::exchange(value, lane % width >= delta ? lane - delta : lane);
}
template <class T>
static inline T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
    const unsigned lane = cuda_on_host_lane(), source = lane ^ unsigned(mask);
    return cuda_on_host::exchange(value, source / width == lane / width ? source : lane);
}
static inline unsigned __ballot_sync(unsigned, int predicate) {
    auto &block = cuda_on_host::block;
    const unsigned thread = cuda_on_host::linear_thread();
    block.exchange[thread] = predicate != 0;
    cuda_on_host::wait_at(cuda_on_host::State::warp_barrier);
    unsigned votes = 0;
    for (unsigned lane = 0; lane < 32; ++lane) {
        const unsigned other = (thread & ~31u) + lane;
        if (other < block.threads && block.exchange[other]) votes |= 1u << lane;
    }
    cuda_on_host::wait_at(cuda_on_host::State::warp_barrier);
    return votes;
}
static inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
static inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz((unsigned)bits); }
static inline int __ffs(int bits) { return __builtin_ffs(bits); }

template <class T, class U>
static inline T atomicAdd(T *address, U value) {
    return cuda_on_host::update(address, [=](T old) { return T(old + value); });
}
template <class T, class U>
static inline T atomicMax(T *address, U value) {
    return cuda_on_host::update(address, [=](T old) { return std::max(old, T(value)); });
}
template <class T, class U>
static inline T atomicMin(T *address, U value) {
    return cuda_on_host::update(address, [=](T old) { return std::min(old, T(value)); });
}
template <class T, class U>
static inline T atomicOr(T *address, U value) {
    return cuda_on_host::update(address, [=](T old) { return T(old | value); });
}
template <class T>
static inline T atomicExch(T *address, T value) {
    return cuda_on_host::update(address, [=](T) { return value; });
}
template <class T>
static inline T atomicCAS(T *address, T expected, T value) {
    return cuda_on_host::update(address, [=](T old) { return old == expected ? value : old; });
}

template <class T>
static inline T __ldg(const T *address) { return *address; }
static inline int __float_as_int(float a) { return __builtin_bit_cast(int, a); }
static inline float __int_as_float(int a) { return __builtin_bit_cast(float, a); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float a) { return fminf(fmaxf(a, 0.0f), 1.0f); }
static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
