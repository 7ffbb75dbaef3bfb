// Modulus switch, rotations and digits: what every form of the blind rotation has in common.
// Mirror: core/src/tfhe/cpu/rotation.rs
#pragma once

#include "parameters.cuh"

// Coefficient `j` of X^degree * polynomial, less `own`; `from` is j - degree, degree below 2N.
template <u32 N>
__device__ __forceinline__ u32 rotated(const u32* polynomial, u32 from, u32 own) {
    // Counted in bytes: one addition and one mask an address.
    const u32 bytes = from * 4;
    const u32 word = *reinterpret_cast<const u32*>(reinterpret_cast<const u8*>(polynomial) + (bytes & (4 * N - 4)));
    return bytes & 4 * N ? 0u - word - own : word - own;
}

// The highest bits as a signed integer, halves to even: `dropped` bits go, `below_half` is just below half of what they stand for.
__device__ __forceinline__ i32 round_word(u32 word, u32 dropped, u32 below_half) {
    return static_cast<i32>(word + below_half + (word >> dropped & 1)) >> dropped;
}

// How digits of one level are cut out of a rounded word. With half a base added at every place below the highest (`offset`),
// digits have no carries: digit = (sum >> shift & mask) - half, in [-B/2, B/2); the highest takes the rest.
struct Cut {
    u32 offset, shift, mask, half;

    __device__ __forceinline__ Cut(const LweBootstrapParams& params, u32 level) {
        const bool highest = level + 1 == params.level;
        offset = params.digit_offset;
        shift = params.base_log * level;
        mask = highest ? 0xffffffffu : (1u << params.base_log) - 1;
        half = highest ? 0 : 1u << (params.base_log - 1);
    }

    __device__ __forceinline__ i32 digit(i32 rounded) const {
        const i32 places = static_cast<i32>(static_cast<u32>(rounded) + offset) >> shift;
        return static_cast<i32>((static_cast<u32>(places) & mask) - half);
    }
};

// Bits that the modulus switch to 2N drops.
template <u32 N>
__device__ __forceinline__ u32 switch_drop() {
    return 32 - __ffs(2 * N) + 1;
}

// Exponent of one word of a row, below 2N.
template <u32 N>
__device__ __forceinline__ u32 switched(u32 word) {
    const u32 drop = switch_drop<N>();
    return (word + (1u << (drop - 1))) >> drop;
}

// Exponents of the centred modulus switch for one row, by the whole block: half the sum of the mask's rounding errors goes into the body.
// `keep(i, exponent)` is called once for each word, by one thread; the body's exponent is the last.
template <u32 N, typename Keep>
__device__ __forceinline__ void switch_modulus(const u32* row, u32 n, u64* error, Keep keep) {
    i64 sum = 0;
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        const u32 word = row[i], exponent = switched<N>(word);
        keep(i, exponent);
        sum += static_cast<i32>(word - (exponent << switch_drop<N>()));
    }
    atomicAdd(error, static_cast<u64>(sum));
    __syncthreads();
    if (threadIdx.x == 0) keep(n, switched<N>(row[n] - static_cast<u32>(static_cast<i64>(*error) >> 1)));
}
