// rns_forward_<B>, rns_inverse_<B>: transforms of polynomials of residues, with what comes before and after them in a key switch or a rescaling.
// rns_switch_<B>: digits of a polynomial times a key: conversion, transform and products for one limb of all digits, sums in registers.
//
// A block of B = 2^HEMAN_LOG2_N words is transformed by B / 32 threads in one pass, 32 words in registers each. Polynomials of more words take
// two launches: the first depths on columns (rns_columns.cu), the others here, a block of B words each.
//
// Grid: x over items and blocks of a polynomial, y over records. Block: B / 32 threads. Dynamic shared memory: 4 B bytes.
// Reads and writes what the records name. No atomics.
// Mirror: core/src/residues/ntt.rs, core/src/ckks/cpu/keyswitch.rs
#include "residue_transform.cuh"
#include "rns_conversion.cuh"

namespace {

using Transform = ResidueTransform<HEMAN_LOG2_N, 5>;
constexpr u32 P = Transform::P, T = Transform::THREADS;
// Blocks a multiprocessor that registers must leave room for: 64 registers a thread.
constexpr u32 BLOCKS = 1024 / T;

__device__ __forceinline__ u32* shared_words() { return reinterpret_cast<u32*>(SHARED_MEMORY); }

// Where the value of a place stands in shared memory.
__device__ __forceinline__ u32 shared_place(u32 place) { return Transform::swizzle(Transform::leaf_of(place)); }

__device__ __forceinline__ void forward(const RnsLaunchParams& params, const uint2* constants, const RnsDown& record, const RnsArguments& arguments) {
    u32* const words = shared_words();
    const RnsPart own(params.log2_blocks);
    const u32 t = threadIdx.x, first = own.part << HEMAN_LOG2_N;
    const uint2 modulus = constant(constants, record.prime);
    const uint2* const roots = constants + params.roots + (static_cast<u64>(record.prime) << params.log2_degree);
    auto at = [&](u32 place) { return at_place(arguments, params, own.item, place); };
    u32 x[P];
    if (params.log2_blocks == 0) {
        convert(x, record.sources, at(record.source), t, T, params.log2_degree, constants, record.conversion, modulus);
    } else {
        const u32* const between = at(record.between) + first;
#pragma unroll
        for (u32 i = 0; i < P; i++) x[i] = between[t + i * T];
    }
    Transform::forward(x, words, roots, (1u << params.log2_blocks) + own.part, t, modulus.x);
    __syncthreads();
    u32* const target = at(record.target) + first;
    if (record.factor == NOWHERE) {
#pragma unroll 8
        for (u32 place = t; place < Transform::N; place += T) target[place] = reduce_down(words[shared_place(place)], modulus.x);
        return;
    }
    const u32* const kept = at(record.kept) + first;
    const u32* const addend = record.addend == NOWHERE ? nullptr : at(record.addend) + first;
    const bool permutes = record.order != NOWHERE;
    const uint2 factor = constant(constants, record.factor);
#pragma unroll 4
    for (u32 place = t; place < Transform::N; place += T) {
        u32 value = reduce_down(words[shared_place(place)], modulus.x);
        value = times(kept[place] + modulus.x - value, factor, modulus.x);
        if (addend) value = add_residues(value, addend[place], modulus.x);
        if (permutes) {
            words[shared_place(place)] = value;
        } else {
            target[place] = value;
        }
    }
    if (permutes) {
        __syncthreads();
        const u32* const order = at(record.order);
#pragma unroll 8
        for (u32 place = t; place < Transform::N; place += T) target[place] = words[shared_place(order[place])];
    }
}

__device__ __forceinline__ void inverse(const RnsLaunchParams& params, const uint2* constants, const RnsUp& record, const RnsArguments& arguments) {
    u32* const words = shared_words();
    const RnsPart own(params.log2_blocks);
    const u32 t = threadIdx.x, first = own.part << HEMAN_LOG2_N;
    const uint2 modulus = constant(constants, record.prime);
    const uint2* const roots = constants + params.roots + (static_cast<u64>(record.prime) << params.log2_degree);
    const u32* const source = at_place(arguments, params, own.item, record.source) + first;
#pragma unroll 8
    for (u32 place = t; place < Transform::N; place += T) words[shared_place(place)] = source[place];
    __syncthreads();
    u32 x[P];
    Transform::inverse(x, words, roots, (1u << params.log2_blocks) + own.part, t, modulus.x);
    u32* const target = at_place(arguments, params, own.item, record.target) + first;
    const uint2 factor = constant(constants, record.factor);
#pragma unroll
    for (u32 i = 0; i < P; i++) {
        const u32 finished = add_residues(times(x[i], factor, modulus.x), record.offset, modulus.x);
        target[t + i * T] = params.log2_blocks == 0 ? finished : x[i];
    }
}

#if HEMAN_LOG2_N <= 14
// Arguments of an item: the polynomial's values, its parts' coefficients, the key, where products go (bodies, then masks, each u32[limbs +
// special][N]), and the largest number of limbs of the key. `conversions` holds for each limb of the result a conversion for each digit.
__device__ __forceinline__ void switch_limb(const RnsLaunchParams& params, const uint2* constants, const u32* conversions, const RnsArguments& arguments) {
    u32* const words = shared_words();
    const u32 t = threadIdx.x, limb = blockIdx.y, first_argument = blockIdx.x * params.arguments;
    const u32 limbs = params.limbs, special = params.special, digits = (limbs + special - 1) / special;
    const bool is_special = limb >= limbs;
    const u32 prime = is_special ? params.all_limbs + limb - limbs : limb;
    const u32 key_limbs = static_cast<u32>(arguments.words[first_argument + 4]);
    const u32 key_limb = is_special ? key_limbs + limb - limbs : limb;
    const uint2 modulus = constant(constants, prime);
    const uint2* const roots = constants + params.roots + (static_cast<u64>(prime) << params.log2_degree);
    const u32* const polynomial = polynomial_at(arguments.words[first_argument]) + limb * Transform::N;
    const u32* const parts = polynomial_at(arguments.words[first_argument + 1]);
    const u32* const key = polynomial_at(arguments.words[first_argument + 2]);
    u32 body[P] = {}, mask[P] = {};
#pragma unroll 1
    for (u32 digit = 0; digit < digits; digit++) {
        const u32 first = digit * special, count = min(special, limbs - first);
        const bool owns = limb - first < count;
        if (!owns) {
            u32 x[P];
            convert(x, count, parts + static_cast<u64>(first) * Transform::N, t, T, HEMAN_LOG2_N, constants, conversions[limb * digits + digit], modulus);
            // Other threads may still read the last digit's values.
            __syncthreads();
            Transform::forward(x, words, roots, 1, t, modulus.x);
            __syncthreads();
        }
        const u32* const key_body = key + (static_cast<u64>(2 * digit) * (key_limbs + special) + key_limb) * Transform::N;
        const u32* const key_mask = key_body + static_cast<u64>(key_limbs + special) * Transform::N;
#pragma unroll
        for (u32 i = 0; i < P; i++) {
            const u32 place = t + i * T;
            const u32 value = owns ? polynomial[place] : words[shared_place(place)];
            body[i] = add_residues(body[i], multiply_residues(value, __ldg(key_body + place), modulus), modulus.x);
            mask[i] = add_residues(mask[i], multiply_residues(value, __ldg(key_mask + place), modulus), modulus.x);
        }
    }
    u32* const products = polynomial_at(arguments.words[first_argument + 3]) + limb * Transform::N;
    u32* const mask_products = products + static_cast<u64>(limbs + special) * Transform::N;
#pragma unroll
    for (u32 i = 0; i < P; i++) {
        products[t + i * T] = body[i];
        mask_products[t + i * T] = mask[i];
    }
}
#endif

}  // namespace

#define HEMAN_RNS_TRANSFORM(B)                                                                                                           \
    extern "C" __global__ void __launch_bounds__(T, BLOCKS)                                                                              \
        rns_forward_##B(RnsLaunchParams params, const uint2* constants, const RnsDown* records,                                         \
                        const __grid_constant__ RnsArguments arguments) {                                                               \
        forward(params, constants, records[blockIdx.y], arguments);                                                                      \
    }                                                                                                                                    \
    HEMAN_ENTRY(rns_forward_##B)                                                                                                         \
    extern "C" __global__ void __launch_bounds__(T, BLOCKS)                                                                              \
        rns_inverse_##B(RnsLaunchParams params, const uint2* constants, const RnsUp* records,                                           \
                        const __grid_constant__ RnsArguments arguments) {                                                               \
        inverse(params, constants, records[blockIdx.y], arguments);                                                                      \
    }                                                                                                                                    \
    HEMAN_ENTRY(rns_inverse_##B)

#define HEMAN_RNS_SWITCH(B)                                                                                                              \
    extern "C" __global__ void __launch_bounds__(T, BLOCKS / 2)                                                                          \
        rns_switch_##B(RnsLaunchParams params, const uint2* constants, const u32* conversions,                                          \
                       const __grid_constant__ RnsArguments arguments) {                                                                \
        switch_limb(params, constants, conversions, arguments);                                                                          \
    }                                                                                                                                    \
    HEMAN_ENTRY(rns_switch_##B)

#if HEMAN_LOG2_N == 12
HEMAN_RNS_TRANSFORM(4096)
HEMAN_RNS_SWITCH(4096)
#elif HEMAN_LOG2_N == 13
HEMAN_RNS_TRANSFORM(8192)
HEMAN_RNS_SWITCH(8192)
#elif HEMAN_LOG2_N == 14
HEMAN_RNS_TRANSFORM(16384)
HEMAN_RNS_SWITCH(16384)
#elif HEMAN_LOG2_N == 15
HEMAN_RNS_TRANSFORM(32768)
#else
#error "HEMAN_LOG2_N is 12 to 15"
#endif
