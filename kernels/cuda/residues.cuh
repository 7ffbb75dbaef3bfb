// Residues of primes p below 2^30. A modulus is p and -p^-1 mod 2^32; a factor is w below p and floor(w 2^32 / p).
// Mirror: core/src/residues/modulus.rs
#pragma once

#include "heman.cuh"

__device__ __forceinline__ u32 add_residues(u32 a, u32 b, u32 p) {
    const u32 sum = a + b;
    return min(sum, sum - p);
}

__device__ __forceinline__ u32 subtract_residues(u32 a, u32 b, u32 p) {
    const u32 difference = a - b;
    return min(difference, difference + p);
}

// x w mod p in [0, 2p), for any x (Shoup).
__device__ __forceinline__ u32 times_lazy(u32 x, uint2 factor, u32 p) { return x * factor.x - __umulhi(x, factor.y) * p; }

// x w mod p in [0, p), for any x.
__device__ __forceinline__ u32 times(u32 x, uint2 factor, u32 p) {
    const u32 product = times_lazy(x, factor, p);
    return min(product, product - p);
}

// x / 2^32 mod p in [0, 2p), for x below 2^32 p (Montgomery). The low halves cancel: they carry unless both are 0.
__device__ __forceinline__ u32 reduce_lazy(u64 x, uint2 modulus) {
    const u32 low = static_cast<u32>(x);
    return static_cast<u32>(x >> 32) + __umulhi(low * modulus.y, modulus.x) + min(low, 1u);
}

// x / 2^32 mod p in [0, p), for x below 2^32 p.
__device__ __forceinline__ u32 reduce(u64 x, uint2 modulus) {
    const u32 reduced = reduce_lazy(x, modulus);
    return min(reduced, reduced - modulus.x);
}

__device__ __forceinline__ u32 multiply_residues(u32 a, u32 b, uint2 modulus) { return reduce(static_cast<u64>(a) * b, modulus); }

// sum + a b, kept below 2^32 p, for a sum below 2^32 p, any word a and a residue b: their product is below 2^32 p.
__device__ __forceinline__ u64 accumulate(u64 sum, u32 a, u32 b, u32 p) {
    sum += static_cast<u64>(a) * b;
    const u32 high = static_cast<u32>(sum >> 32);
    return static_cast<u64>(min(high, high - p)) << 32 | static_cast<u32>(sum);
}

// Below 4p to below p.
__device__ __forceinline__ u32 reduce_down(u32 x, u32 p) {
    const u32 once = min(x, x - 2 * p);
    return min(once, once - p);
}
