// Runs CUDA C++ on the host, for tests: enough of the language for the kernels of this repository, no more.
//
// Every CUDA thread is a fiber with a stack of its own; a block runs on one host thread, blocks are shared out over several.
// Barriers switch fibers, so a missing barrier shows as a wrong result in at least one of the orders in which fibers are
// resumed (HEMAN_EMULATION_ORDER: forward, reverse, shuffle). Dynamic shared memory starts as junk.
// With HEMAN_EMULATION_THREADS every CUDA thread is a host thread instead, for the thread sanitizer.
#pragma once

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __constant__ static
#define __restrict__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __grid_constant__

struct alignas(16) double2 {
    double x, y;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct Index3 {
    unsigned x, y, z;
};

namespace emulation {

constexpr size_t STACK_BYTES = 32 << 10;

struct Block;

// One CUDA thread.
struct Lane {
    Index3 index;
    unsigned linear;
    Block* block;
    enum State { RUNNING, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE } state;
    unsigned products;  // of tiles so far
#if defined(HEMAN_EMULATION_THREADS)
#elif defined(__x86_64__)
    void* stack_pointer;
#else
    ucontext_t context;
#endif
};

// Factors that the lanes of a warp show each other.
struct Exchange {
    int8_t left[16][32];
    uint8_t right[8][32];
};

struct Block {
    Index3 index, size, grid;
    std::vector<Exchange> exchanges;  // two a warp
    unsigned char* shared;
    const std::function<void()>* kernel;
    std::vector<Lane> lanes;
#if defined(HEMAN_EMULATION_THREADS)
    std::barrier<>* barrier;
    std::vector<std::unique_ptr<std::barrier<>>> warp_barriers;
#elif defined(__x86_64__)
    void* scheduler;
#else
    ucontext_t scheduler;
#endif
};

inline thread_local Lane* current = nullptr;

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "CUDA emulation: %s\n", what);
    std::abort();
}

inline unsigned char* shared_memory() { return current->block->shared; }

#if defined(HEMAN_EMULATION_THREADS)

inline void block_barrier() { current->block->barrier->arrive_and_wait(); }
inline void warp_barrier() { current->block->warp_barriers[current->linear / 32]->arrive_and_wait(); }

inline void run_block(Block& block, unsigned) {
    const unsigned count = block.lanes.size();
    std::barrier<> barrier(count);
    block.barrier = &barrier;
    block.warp_barriers.clear();
    for (unsigned first = 0; first < count; first += 32) {
        block.warp_barriers.push_back(std::make_unique<std::barrier<>>(std::min(32u, count - first)));
    }
    std::vector<std::thread> threads;
    for (Lane& lane : block.lanes) {
        threads.emplace_back([&block, &lane] {
            current = &lane;
            (*block.kernel)();
            block.warp_barriers[lane.linear / 32]->arrive_and_drop();
            block.barrier->arrive_and_drop();
        });
    }
    for (std::thread& thread : threads) thread.join();
}

#else

#if defined(__x86_64__)
// Saves the callee-saved registers on the running stack, its pointer to *from, and goes on where `to` was saved.
extern "C" void heman_emulation_switch(void** from, void* to);
__asm__(
    ".text\n"
    ".type heman_emulation_switch,@function\n"
    "heman_emulation_switch:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, (%rdi)\n"
    "  mov %rsi, %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
    "  ret\n"
    ".size heman_emulation_switch, .-heman_emulation_switch\n");
inline void leave() { heman_emulation_switch(&current->stack_pointer, current->block->scheduler); }
inline void enter(Lane& lane) {
    current = &lane;
    heman_emulation_switch(&lane.block->scheduler, lane.stack_pointer);
}
#else
inline void leave() { swapcontext(&current->context, &current->block->scheduler); }
inline void enter(Lane& lane) {
    current = &lane;
    swapcontext(&lane.block->scheduler, &lane.context);
}
#endif

inline void start() {
    (*current->block->kernel)();
    current->state = Lane::DONE;
    leave();
    fail("a finished thread was resumed");
}

inline void prepare(Lane& lane, char* stack) {
#if defined(__x86_64__)
    // Stack tops are staggered: equal offsets would meet in one set of the cache.
    auto top = reinterpret_cast<uintptr_t>(stack + STACK_BYTES) / 16 * 16 - lane.linear % 64 * 64;
    auto* words = reinterpret_cast<void**>(top);
    *--words = nullptr;
    *--words = reinterpret_cast<void*>(&start);
    for (int saved = 0; saved < 6; saved++) *--words = nullptr;
    lane.stack_pointer = words;
#else
    getcontext(&lane.context);
    lane.context.uc_stack.ss_sp = stack;
    lane.context.uc_stack.ss_size = STACK_BYTES;
    lane.context.uc_link = nullptr;
    makecontext(&lane.context, start, 0);
#endif
}

inline void wait(Lane::State state) {
    current->state = state;
    leave();
}
inline void block_barrier() { wait(Lane::AT_BLOCK_BARRIER); }
inline void warp_barrier() { wait(Lane::AT_WARP_BARRIER); }

// Lets go all lanes of a range once every one that still runs waits at the same barrier.
inline bool release(Lane* first, Lane* last, Lane::State state) {
    bool waiting = false;
    for (Lane* lane = first; lane != last; lane++) {
        if (lane->state != state && lane->state != Lane::DONE) return false;
        waiting |= lane->state == state;
    }
    for (Lane* lane = first; lane != last; lane++) {
        if (lane->state == state) lane->state = Lane::RUNNING;
    }
    return waiting;
}

inline void run_block(Block& block, unsigned seed) {
    static thread_local std::vector<char> stacks;
    const unsigned count = block.lanes.size();
    if (stacks.size() < count * STACK_BYTES) stacks.resize(count * STACK_BYTES);
    for (Lane& lane : block.lanes) prepare(lane, stacks.data() + lane.linear * STACK_BYTES);
    std::vector<unsigned> order(count);
    for (unsigned i = 0; i < count; i++) order[i] = i;
    const char* wanted = std::getenv("HEMAN_EMULATION_ORDER");
    const bool shuffle = wanted && !std::strcmp(wanted, "shuffle");
    if (wanted && !std::strcmp(wanted, "reverse")) std::reverse(order.begin(), order.end());
    std::mt19937 random(seed);
    for (;;) {
        if (shuffle) std::shuffle(order.begin(), order.end(), random);
        bool moved = false, done = true;
        for (unsigned i : order) {
            Lane& lane = block.lanes[i];
            if (lane.state == Lane::RUNNING) {
                enter(lane);
                moved = true;
            }
            done &= lane.state == Lane::DONE;
        }
        if (done) return;
        Lane* lanes = block.lanes.data();
        for (unsigned first = 0; first < count; first += 32) {
            moved |= release(lanes + first, lanes + std::min(first + 32, count), Lane::AT_WARP_BARRIER);
        }
        moved |= release(lanes, lanes + count, Lane::AT_BLOCK_BARRIER);
        if (!moved) fail("deadlock: threads of one block wait at different barriers");
    }
}

#endif

// The tensor cores' product; registers as in kernels/cuda/tensor_cores.cuh.
inline void multiply_tile(int (&sum)[4], const unsigned (&left)[4], const unsigned (&right)[2]) {
    const unsigned g = current->linear % 32 / 4, t = current->linear % 4;
    // Two by turns: whoever writes one has passed the barrier behind the last reading of it.
    Exchange& warp = current->block->exchanges[current->linear / 32 * 2 + current->products++ % 2];
    for (unsigned i = 0; i < 4; i++) std::memcpy(&warp.left[g + i % 2 * 8][i / 2 * 16 + 4 * t], &left[i], 4);
    for (unsigned i = 0; i < 2; i++) std::memcpy(&warp.right[g][i * 16 + 4 * t], &right[i], 4);
    warp_barrier();
    for (unsigned place = 0; place < 4; place++) {
        const int8_t* row = warp.left[g + place / 2 * 8];
        const uint8_t* column = warp.right[2 * t + place % 2];
        int products = 0;
        for (unsigned k = 0; k < 32; k++) products += row[k] * column[k];
        sum[place] = static_cast<int>(static_cast<unsigned>(sum[place]) + static_cast<unsigned>(products));
    }
}

// Runs a kernel over a grid, blocks shared out over `workers` host threads.
inline void launch(Index3 grid, Index3 size, size_t shared_bytes, unsigned workers, const std::function<void()>& kernel) {
    const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
    std::atomic<uint64_t> next{0};
    auto work = [&] {
        Block block{};
        block.size = size;
        block.grid = grid;
        block.kernel = &kernel;
        block.lanes.resize(size.x * size.y * size.z);
        block.exchanges.resize((block.lanes.size() + 31) / 32 * 2);
        // Exactly as long as asked for, so that the address sanitizer sees the first byte beyond.
        void* memory = nullptr;
        if (posix_memalign(&memory, 128, std::max<size_t>(shared_bytes, 1))) fail("no memory for a block");
        std::unique_ptr<void, void (*)(void*)> shared(memory, std::free);
        block.shared = static_cast<unsigned char*>(memory);
        for (uint64_t at; (at = next++) < blocks;) {
            block.index = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                           static_cast<unsigned>(at / grid.x / grid.y)};
            std::memset(block.shared, 0xa5, shared_bytes);
            for (unsigned i = 0; i < block.lanes.size(); i++) {
                Lane& lane = block.lanes[i];
                lane.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
                lane.linear = i;
                lane.block = &block;
                lane.state = Lane::RUNNING;
                lane.products = 0;
            }
            run_block(block, static_cast<unsigned>(at));
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 1; i < workers; i++) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
}

// What the stand-in driver launches by name.
struct Kernel {
    // The call with its arguments as they are now.
    std::function<std::function<void()>(void**)> call;
    int shared_limit = 48 << 10;
};

inline std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

template <typename... Args, size_t... I>
Kernel wrap(void (*kernel)(Args...), std::index_sequence<I...>) {
    return {[kernel](void** args) -> std::function<void()> {
        auto all = std::make_shared<std::tuple<std::remove_const_t<Args>...>>(*static_cast<std::remove_const_t<Args>*>(args[I])...);
        return [kernel, all] { std::apply(kernel, *all); };
    }};
}

struct Registration {
    template <typename... Args>
    Registration(const char* name, void (*kernel)(Args...)) {
        kernels()[name] = wrap(kernel, std::index_sequence_for<Args...>{});
    }
};

}  // namespace emulation

#define HEMAN_ENTRY(name) static const emulation::Registration registration_##name(#name, name);

#define threadIdx (emulation::current->index)
#define blockIdx (emulation::current->block->index)
#define blockDim (emulation::current->block->size)
#define gridDim (emulation::current->block->grid)

inline void __syncthreads() { emulation::block_barrier(); }
inline void __syncwarp() { emulation::warp_barrier(); }
template <typename T>
inline T __ldg(const T* from) {
    return *from;
}
template <typename T>
inline T atomicAdd(T* to, T value) {
    return __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline int __ffs(int word) { return __builtin_ffs(word); }
inline unsigned __brev(unsigned word) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; bit++) reversed |= (word >> bit & 1) << (31 - bit);
    return reversed;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
    unsigned picked = 0;
    for (int at = 0; at < 4; at++) picked |= static_cast<unsigned>(bytes >> (selector >> at * 4 & 7) * 8 & 0xff) << at * 8;
    return picked;
}
inline long long __double2ll_rn(double value) { return std::llrint(value); }
using std::fma;
using std::min;
