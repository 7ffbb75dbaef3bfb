// Words, and the few things that differ between a device build and the host emulation of the same source.
#pragma once

#ifdef HEMAN_EMULATION
#include "cuda_emulation.h"
#define SHARED_MEMORY emulation::shared_memory()
#else
extern __shared__ uint4 heman_shared_memory[];
#define SHARED_MEMORY reinterpret_cast<unsigned char*>(heman_shared_memory)
#define HEMAN_ENTRY(name)
#endif

typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef short i16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;

// Sixteen bytes on their way to shared memory, that no register waits for.
template <typename Value>
__device__ __forceinline__ void copy_to_shared(Value* target, const Value* source) {
    static_assert(sizeof(Value) == 16, "what goes at once");
#ifdef HEMAN_EMULATION
    *target = *source;
#else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(static_cast<u32>(__cvta_generic_to_shared(target))), "l"(source) : "memory");
#endif
}

// Waits for those of the own thread; others see them behind a barrier.
__device__ __forceinline__ void wait_for_copies() {
#ifndef HEMAN_EMULATION
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
