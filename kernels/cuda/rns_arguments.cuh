// Arguments of CKKS's kernels.
//
// A launch does the same work for many items: ciphertexts, or parts of them. What has to be done for one item stands in records that lie on
// the device and serve all items at a number of limbs; an item itself is a few addresses of polynomials, which come with the launch.
// Grid: x over items and parts of a polynomial, y over limbs (or records), so that items that need the same roots and key words run together.
// Words: a polynomial is u32[limb][N], residues below p in Montgomery form, as values in the order of core/src/residues/ntt.rs.
#pragma once

#include "parameters.cuh"
#include "residues.cuh"

constexpr u32 MOST_ARGUMENTS = 480;
// No place, no factor.
constexpr u32 NOWHERE = 0xffffffff;

struct RnsArguments {
    u64 words[MOST_ARGUMENTS];
};

// Four words a thread.
constexpr u32 WORDS_A_BLOCK = 1024;

// Which item and which part of a polynomial a block has.
struct RnsPart {
    u32 item, part;

    // `log2_parts` of a polynomial.
    __device__ __forceinline__ explicit RnsPart(u32 log2_parts)
        : item(blockIdx.x >> log2_parts), part(blockIdx.x & ((1u << log2_parts) - 1)) {}
};

__device__ __forceinline__ u32* polynomial_at(u64 address) { return reinterpret_cast<u32*>(address); }

// The polynomial at a place: an argument's number in the highest eight bits, and a polynomial behind its address.
__device__ __forceinline__ u32* at_place(const RnsArguments& arguments, const RnsLaunchParams& params, u32 item, u32 place) {
    return polynomial_at(arguments.words[item * params.arguments + (place >> 24)]) +
           (static_cast<u64>(place & 0xffffff) << params.log2_degree);
}

// The same words of the limb of block y behind an argument, four of them: those of the thread.
__device__ __forceinline__ uint4* four_words(const RnsArguments& arguments, const RnsLaunchParams& params, RnsPart own, u32 argument, u32 limb) {
    u32* const words = polynomial_at(arguments.words[own.item * params.arguments + argument]) +
                       (static_cast<u64>(limb) << params.log2_degree) + own.part * WORDS_A_BLOCK;
    return reinterpret_cast<uint4*>(words) + threadIdx.x;
}

__device__ __forceinline__ uint2 constant(const uint2* constants, u32 index) { return __ldg(constants + index); }

// Applies a function of words to four of them at once.
template <typename Act, typename... Words>
__device__ __forceinline__ uint4 each_word(Act act, Words... words) {
    return {act(words.x...), act(words.y...), act(words.z...), act(words.w...)};
}
