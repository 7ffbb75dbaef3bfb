// Conversion of coefficients from a few primes to another one: `(offset + sum_i source_i weight_i) / 2^32`, the offset and behind it the weights
// standing in the table of constants.
// Mirror: core/src/ckks/cpu/keyswitch.rs
#pragma once

#include "rns_arguments.cuh"

// Coefficients `first`, `first + stride` and so on of SOURCES polynomials, one behind the other.
template <u32 SOURCES, u32 P>
__device__ __forceinline__ void convert_from(u32 (&x)[P], const u32* sources, u32 first, u32 stride, u32 log2_degree, const uint2* constants,
                                             u32 conversion, uint2 modulus) {
    const uint2 offset = constant(constants, conversion);
    const u32* words[SOURCES];
    u32 weights[SOURCES];
#pragma unroll
    for (u32 s = 0; s < SOURCES; s++) {
        words[s] = sources + (static_cast<u64>(s) << log2_degree) + first;
        weights[s] = constant(constants, conversion + 1 + s).x;
    }
#pragma unroll
    for (u32 i = 0; i < P; i++) {
        u64 sum = static_cast<u64>(offset.y) << 32 | offset.x;
#pragma unroll
        for (u32 s = 0; s < SOURCES; s++) {
            sum = accumulate(sum, __ldg(words[s] + i * stride), weights[s], modulus.x);
        }
        x[i] = reduce(sum, modulus);
    }
}

// One coefficient of any number of polynomials.
__device__ __forceinline__ u32 converted(u32 count, const u32* sources, u32 place, u32 log2_degree, const uint2* constants, u32 conversion, uint2 modulus) {
    const uint2 offset = constant(constants, conversion);
    u64 sum = static_cast<u64>(offset.y) << 32 | offset.x;
    for (u32 s = 0; s < count; s++) {
        const u32 word = __ldg(sources + (static_cast<u64>(s) << log2_degree) + place);
        sum = accumulate(sum, word, constant(constants, conversion + 1 + s).x, modulus.x);
    }
    return reduce(sum, modulus);
}

// Up to four polynomials, all that there mostly are, with their loop written out; `others` does what has more.
template <u32 P, typename Others>
__device__ __forceinline__ void convert(u32 (&x)[P], u32 count, const u32* sources, u32 first, u32 stride, u32 log2_degree, const uint2* constants,
                                        u32 conversion, uint2 modulus, Others others) {
    if (count == 1) {
        convert_from<1>(x, sources, first, stride, log2_degree, constants, conversion, modulus);
    } else if (count == 2) {
        convert_from<2>(x, sources, first, stride, log2_degree, constants, conversion, modulus);
    } else if (count == 3) {
        convert_from<3>(x, sources, first, stride, log2_degree, constants, conversion, modulus);
    } else if (count == 4) {
        convert_from<4>(x, sources, first, stride, log2_degree, constants, conversion, modulus);
    } else {
        others();
    }
}
