// rns_forward_<B>, rns_inverse_<B>: transforms of polynomials of residues, with what comes before and after them in a key switch or a rescaling.
// rns_switch_<B>: digits of a polynomial times a key: conversion, transform and products for one limb of all digits, sums in registers.
//
// A block of B = 2^HEMAN_LOG2_N words is transformed by B / 32 threads in one pass, 32 words in registers each. Polynomials of more words take
// two launches: the first depths on columns (rns_columns.cu), the others here, a block of B words each.
//
// Grid: x over items and blocks of a polynomial, y over records. Block: B / 32 threads. Dynamic shared memory: B + B / 32 words.
// Reads and writes what the records name. No atomics.
// Mirror: core/src/residues/ntt.rs, core/src/ckks/cpu/keyswitch.rs
#include "residue_transform.cuh"
#include "rns_conversion.cuh"

namespace {

using Transform = ResidueTransform<HEMAN_LOG2_N, 5, true>;
constexpr u32 P = Transform::P, T = Transform::THREADS;
// Blocks a multiprocessor that registers must leave room for: 64 registers a thread.
constexpr u32 BLOCKS = 1024 / T;

__device__ __forceinline__ u32* shared_words() { return reinterpret_cast<u32*>(SHARED_MEMORY); }

// Roots of a prime in the order of threads; of a polynomial in parts, those of a part, behind the roots of the depths above.
__device__ __forceinline__ const uint2* roots_of(const RnsLaunchParams& params, const uint2* constants, u32 prime, u32 part) {
    const u32 above = params.log2_blocks == 0 ? 0 : (1u << params.log2_blocks) + (part << HEMAN_LOG2_N);
    return constants + params.roots + static_cast<u64>(prime) * params.prime_roots + above;
}

// So many words are asked for before the first is needed: stores stand between a load and the next one otherwise, and each waits for memory.
constexpr u32 AT_ONCE = 8;

// From the thread's first value to its value k.
__device__ __forceinline__ u32 value_step(u32 k) { return Transform::value_place(0, k); }

// The thread's words of a polynomial, converted from others. What has many sources goes by shared memory, a word at a time: registers would not do.
__device__ __forceinline__ void convert_block(u32 (&x)[P], u32 count, const u32* sources, u32 t, u32 log2_degree, const uint2* constants,
                                              u32 conversion, uint2 modulus) {
    convert(x, count, sources, t, T, log2_degree, constants, conversion, modulus, [&] {
        u32* const words = shared_words();
#pragma unroll 2
        for (u32 k = 0; k < P; k++) {
            words[Transform::shared(t + k * T)] = converted(count, sources, t + k * T, log2_degree, constants, conversion, modulus);
        }
        Transform::template load<0>(x, words, 0, t);
    });
}

// Coefficients of the conjugate-invariant ring to words of the polynomial that is transformed; before the roots of such a ring stands that of folding.
__device__ __forceinline__ void fold(u32 (&x)[P], u32* words, const uint2* roots, u32 t, u32 p) {
    const uint2 root = constant(roots, 0);
    if (root.x == 0) return;
    Transform::template store<0>(x, words, 0, t);
    __syncthreads();
    Transform::fold(x, words, root, t, p);
    __syncthreads();
}

__device__ __forceinline__ void forward(const RnsLaunchParams& params, const uint2* constants, const RnsDown* records, const RnsArguments& arguments) {
    u32* const words = shared_words();
    const RnsDown& record = records[blockIdx.y];
    const RnsPart own(params.log2_blocks);
    const u32 first = own.part << HEMAN_LOG2_N;
    u32 t = threadIdx.x;
    const uint2 modulus = constant(constants, record.prime);
    const uint2* const roots = roots_of(params, constants, record.prime, own.part);
    auto at = [&](u32 place) { return at_place(arguments, params, own.item, place); };
    u32 x[P];
    if (params.log2_blocks == 0) {
        convert_block(x, record.sources, at(record.source), t, params.log2_degree, constants, record.conversion, modulus);
        fold(x, words, roots, t, modulus.x);
    } else {
        const u32* const between = at(record.between) + first + t;
#pragma unroll
        for (u32 i = 0; i < P; i++) x[i] = between[i * T];
    }
    Transform::forward(x, words, roots, t, modulus.x);
    __syncthreads();
    t = unknown(t);
    const RnsDown& last = records[unknown(blockIdx.y)];
    const u32 own_place = first + Transform::value_place(t, 0);
    u32* const target = at(last.target) + own_place;
    if (last.factor == NOWHERE) {
#pragma unroll 8
        for (u32 k = 0; k < P; k++) target[value_step(k)] = reduce_down(words[Transform::value_shared(t, k)], modulus.x);
        return;
    }
    const u32* const kept = at(last.kept) + own_place;
    const u32* const addend = last.addend == NOWHERE ? nullptr : at(last.addend) + own_place;
    const bool permutes = last.order != NOWHERE;
    const uint2 factor = constant(constants, last.factor);
    const bool scales_addend = last.addend_factor != NOWHERE;
    const uint2 addend_factor = scales_addend ? constant(constants, last.addend_factor) : uint2{0, 0};
#pragma unroll 1
    for (u32 first_value = 0; first_value < P; first_value += AT_ONCE) {
        const u32 from = value_step(first_value);
        u32 old[AT_ONCE], added[AT_ONCE];
#pragma unroll
        for (u32 k = 0; k < AT_ONCE; k++) old[k] = kept[from + value_step(k)];
        if (addend) {
#pragma unroll
            for (u32 k = 0; k < AT_ONCE; k++) added[k] = addend[from + value_step(k)];
        }
#pragma unroll
        for (u32 k = 0; k < AT_ONCE; k++) {
            u32& word = words[Transform::value_shared(t, first_value + k)];
            u32 value = times(old[k] + modulus.x - reduce_down(word, modulus.x), factor, modulus.x);
            if (addend) value = add_residues(value, scales_addend ? times(added[k], addend_factor, modulus.x) : added[k], modulus.x);
            if (permutes) {
                word = value;
            } else {
                target[from + value_step(k)] = value;
            }
        }
    }
    if (permutes) {
        __syncthreads();
        const u32* const order = at(last.order) + own_place;
#pragma unroll 1
        for (u32 first_value = 0; first_value < P; first_value += AT_ONCE) {
            const u32 from = value_step(first_value);
            u32 places[AT_ONCE];
#pragma unroll
            for (u32 k = 0; k < AT_ONCE; k++) places[k] = __ldg(order + from + value_step(k));
#pragma unroll
            for (u32 k = 0; k < AT_ONCE; k++) target[from + value_step(k)] = words[Transform::shared(Transform::leaf_of(places[k]))];
        }
    }
}

__device__ __forceinline__ void inverse(const RnsLaunchParams& params, const uint2* constants, const RnsUp& record, const RnsArguments& arguments) {
    u32* const words = shared_words();
    const RnsPart own(params.log2_blocks);
    const u32 t = threadIdx.x, first = own.part << HEMAN_LOG2_N;
    const uint2 modulus = constant(constants, record.prime);
    const uint2* const roots = roots_of(params, constants, record.prime, own.part);
    const u32* const source = at_place(arguments, params, own.item, record.source) + first + Transform::value_place(t, 0);
#pragma unroll
    for (u32 first_value = 0; first_value < P; first_value += AT_ONCE) {
        u32 read[AT_ONCE];
#pragma unroll
        for (u32 k = 0; k < AT_ONCE; k++) read[k] = source[value_step(first_value + k)];
#pragma unroll
        for (u32 k = 0; k < AT_ONCE; k++) words[Transform::value_shared(t, first_value + k)] = read[k];
    }
    __syncthreads();
    u32 x[P];
    Transform::inverse(x, words, roots, t, modulus.x);
    const uint2 root = constant(roots, 0);
    if (params.log2_blocks == 0 && root.x != 0) {
        Transform::template store<0>(x, words, 0, t);
        __syncthreads();
        Transform::unfold(x, words, root, t, modulus.x);
    }
    u32* const target = at_place(arguments, params, own.item, record.target) + first + t;
    const uint2 factor = constant(constants, record.factor);
#pragma unroll
    for (u32 i = 0; i < P; i++) {
        const u32 finished = add_residues(times(x[i], factor, modulus.x), record.offset, modulus.x);
        target[i * T] = params.log2_blocks == 0 ? finished : x[i];
    }
}

// Arguments of an item: the polynomial's values, its parts' coefficients, the key, where products go (bodies, then masks, each u32[limbs +
// special][N]), and the largest number of limbs of the key. `conversions` holds for each limb of the result a conversion for each digit.
__device__ __forceinline__ void switch_limb(const RnsLaunchParams& params, const uint2* constants, const u32* conversions, const RnsArguments& arguments) {
    u32* const words = shared_words();
    const u32 limb = blockIdx.y, first_argument = blockIdx.x * params.arguments;
    const u32 limbs = params.limbs, special = params.special, digits = (limbs + special - 1) / special;
    const bool is_special = limb >= limbs;
    const u32 prime = is_special ? params.all_limbs + limb - limbs : limb;
    const u32 key_limbs = static_cast<u32>(arguments.words[first_argument + 4]);
    const u32 key_limb = is_special ? key_limbs + limb - limbs : limb;
    const uint2 modulus = constant(constants, prime);
    const uint2* const roots = roots_of(params, constants, prime, 0);
    const u64 own_place = static_cast<u64>(Transform::value_place(threadIdx.x, 0));
    const u32* const polynomial = polynomial_at(arguments.words[first_argument]) + limb * Transform::N + own_place;
    const u32* const parts = polynomial_at(arguments.words[first_argument + 1]);
    const u32* const key = polynomial_at(arguments.words[first_argument + 2]);
    u32 body[P] = {}, mask[P] = {};
#pragma unroll 1
    for (u32 digit = 0; digit < digits; digit++) {
        const u32 t = unknown(threadIdx.x), first = digit * special, count = min(special, limbs - first);
        const bool owns = limb - first < count;
        if (!owns) {
            u32 x[P];
            // Other threads may still read the last digit's values.
            __syncthreads();
            const u32* const sources = parts + static_cast<u64>(first) * Transform::N;
            convert_block(x, count, sources, t, HEMAN_LOG2_N, constants, conversions[limb * digits + digit], modulus);
            fold(x, words, roots, t, modulus.x);
            Transform::forward(x, words, roots, t, modulus.x);
            __syncthreads();
        }
        const u32* const key_body = key + (static_cast<u64>(2 * digit) * (key_limbs + special) + key_limb) * Transform::N + own_place;
        const u32* const key_mask = key_body + static_cast<u64>(key_limbs + special) * Transform::N;
#pragma unroll
        for (u32 i = 0; i < P; i++) {
            const u32 value = owns ? polynomial[value_step(i)] : words[Transform::value_shared(t, i)];
            body[i] = add_residues(body[i], multiply_residues(value, __ldg(key_body + value_step(i)), modulus), modulus.x);
            mask[i] = add_residues(mask[i], multiply_residues(value, __ldg(key_mask + value_step(i)), modulus), modulus.x);
        }
    }
    u32* const products = polynomial_at(arguments.words[first_argument + 3]) + limb * Transform::N + own_place;
    u32* const mask_products = products + static_cast<u64>(limbs + special) * Transform::N;
#pragma unroll
    for (u32 i = 0; i < P; i++) {
        products[value_step(i)] = body[i];
        mask_products[value_step(i)] = mask[i];
    }
}

}  // namespace

#define HEMAN_RNS_TRANSFORM(B)                                                                                                           \
    extern "C" __global__ void __launch_bounds__(T, BLOCKS)                                                                              \
        rns_forward_##B(RnsLaunchParams params, const uint2* constants, const RnsDown* records,                                         \
                        const __grid_constant__ RnsArguments arguments) {                                                               \
        forward(params, constants, records, arguments);                                                                      \
    }                                                                                                                                    \
    HEMAN_ENTRY(rns_forward_##B)                                                                                                         \
    extern "C" __global__ void __launch_bounds__(T, BLOCKS)                                                                              \
        rns_inverse_##B(RnsLaunchParams params, const uint2* constants, const RnsUp* records,                                           \
                        const __grid_constant__ RnsArguments arguments) {                                                               \
        inverse(params, constants, records[blockIdx.y], arguments);                                                                      \
    }                                                                                                                                    \
    HEMAN_ENTRY(rns_inverse_##B)                                                                                                         \
    extern "C" __global__ void __launch_bounds__(T, BLOCKS / 2)                                                                          \
        rns_switch_##B(RnsLaunchParams params, const uint2* constants, const u32* conversions,                                          \
                       const __grid_constant__ RnsArguments arguments) {                                                                \
        switch_limb(params, constants, conversions, arguments);                                                                          \
    }                                                                                                                                    \
    HEMAN_ENTRY(rns_switch_##B)

#if HEMAN_LOG2_N == 12
HEMAN_RNS_TRANSFORM(4096)
#elif HEMAN_LOG2_N == 13
HEMAN_RNS_TRANSFORM(8192)
#elif HEMAN_LOG2_N == 14
HEMAN_RNS_TRANSFORM(16384)
#else
#error "HEMAN_LOG2_N is 12 to 14"
#endif
