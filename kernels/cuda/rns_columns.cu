// rns_forward_columns, rns_inverse_columns: the first depths of a polynomial's tree, for degrees that shared memory does not hold.
// rns_inverse_columns_real: the same for elements of the conjugate-invariant ring, which takes twice the registers. The way down takes both rings.
//
// Grid: x over items and parts of 256 columns, y over records. Block: 256 threads, a column each. Shared memory: none.
// Reads and writes what the records name, see rns_transform.cu. No atomics.
// Mirror: core/src/residues/ntt.rs
#include "rns_conversion.cuh"

namespace {

template <int DEPTHS>
__device__ __forceinline__ void depths_down(u32 (&x)[1 << DEPTHS], const uint2* roots, u32 p) {
#pragma unroll
    for (int depth = 0; depth < DEPTHS; depth++) {
        const u32 rest = DEPTHS - 1 - depth, half = 1u << rest;
#pragma unroll
        for (u32 pair = 0; pair < 1u << (DEPTHS - 1); pair++) {
            const u32 at = (pair >> rest << (rest + 1)) | (pair & (half - 1));
            const u32 a = min(x[at], x[at] - 2 * p), b = times_lazy(x[at + half], constant(roots, (1u << depth) + (pair >> rest)), p);
            x[at] = a + b;
            x[at + half] = a + 2 * p - b;
        }
    }
}

template <int DEPTHS>
__device__ __forceinline__ void depths_up(u32 (&x)[1 << DEPTHS], const uint2* roots, u32 p) {
#pragma unroll
    for (int depth = DEPTHS - 1; depth >= 0; depth--) {
        const u32 rest = DEPTHS - 1 - depth, half = 1u << rest;
#pragma unroll
        for (u32 pair = 0; pair < 1u << (DEPTHS - 1); pair++) {
            const u32 at = (pair >> rest << (rest + 1)) | (pair & (half - 1));
            const u32 sum = x[at] + x[at + half], difference = x[at] + 2 * p - x[at + half];
            x[at] = min(sum, sum - 2 * p);
            x[at + half] = times_lazy(difference, constant(roots, (1u << depth) + (pair >> rest)), p);
        }
    }
}

template <int DEPTHS>
__device__ __forceinline__ void forward_columns(const RnsLaunchParams& params, const uint2* constants, const RnsDown& record, const RnsArguments& arguments) {
    const u32 log2_block = params.log2_degree - DEPTHS;
    const RnsPart own(log2_block - 8);
    const u32 column = own.part * 256 + threadIdx.x;
    const uint2 modulus = constant(constants, record.prime);
    const uint2* const roots = constants + params.roots + static_cast<u64>(record.prime) * params.prime_roots;
    u32 x[1 << DEPTHS];
    const u32* const sources = at_place(arguments, params, own.item, record.source);
    convert(x, record.sources, sources, column, 1u << log2_block, params.log2_degree, constants, record.conversion, modulus, [&] {
#pragma unroll
        for (u32 k = 0; k < 1u << DEPTHS; k++) {
            x[k] = converted(record.sources, sources, column + (k << log2_block), params.log2_degree, constants, record.conversion, modulus);
        }
    });
    const uint2 root = constant(roots, 0);
    if (root.x != 0) {
        // An element of the conjugate-invariant ring, folded by butterflies of words j and N - j (core/src/residues/fold.rs).
        const u32 degree = 1u << params.log2_degree;
#pragma unroll
        for (u32 k = 0; k < 1u << DEPTHS; k++) {
            const u32 place = column + (k << log2_block);
            if (place == 0) continue;
            const u32 partner = converted(record.sources, sources, degree - place, params.log2_degree, constants, record.conversion, modulus);
            const bool is_lower = k < 1u << (DEPTHS - 1);
            x[k] = is_lower ? x[k] + times_lazy(partner, root, modulus.x) : partner + 2 * modulus.x - times_lazy(x[k], root, modulus.x);
        }
    }
    depths_down<DEPTHS>(x, roots, modulus.x);
    u32* const between = at_place(arguments, params, own.item, record.between);
#pragma unroll
    for (u32 k = 0; k < 1u << DEPTHS; k++) between[column + (k << log2_block)] = x[k];
}

// The way back from folding: `x` is a column behind its last depth, and the words that meet its own are those of column B - c, which the same thread
// takes, so that no other one reads what it writes. Threads of the upper half have nothing left to do.
template <int DEPTHS>
__device__ __forceinline__ void unfold_columns(u32 (&x)[1 << DEPTHS], u32* target, u32 column, u32 log2_block, const uint2* roots, u32 offset, uint2 factor, u32 p) {
    constexpr u32 WORDS = 1u << DEPTHS;
    const u32 columns = 1u << log2_block, other = columns - column;
    if (column > columns / 2) return;
    const bool is_alone = column == 0 || column == other;
    const uint2 root = constant(roots, 0);
    u32 y[WORDS];
#pragma unroll
    for (u32 k = 0; k < WORDS; k++) y[k] = is_alone ? 0 : target[other + (k << log2_block)];
    depths_up<DEPTHS>(y, roots, p);
    if (is_alone) {
        // The partner of word k is word K - 1 - k of the middle column, and word K - k of the first one.
#pragma unroll
        for (u32 k = 0; k < WORDS; k++) y[k] = column == 0 ? x[(k + 1) % WORDS] : x[k];
    }
    auto finished = [&](u32 word) { return add_residues(times(word, factor, p), offset, p); };
    auto difference = [&](u32 low, u32 high) { return times_lazy(low + 2 * p - high, root, p); };
    constexpr u32 HALF = WORDS / 2;
#pragma unroll
    for (u32 k = 0; k < WORDS; k++) {
        const u32 partner = y[WORDS - 1 - k];
        // Word N / 2 meets itself.
        const bool is_middle = k == HALF && column == 0;
        const u32 upper = is_middle ? x[k] + 2 * p - times_lazy(x[k], root, p) : difference(partner, x[k]);
        target[column + (k << log2_block)] = finished(k < HALF ? x[k] + partner : upper);
        if (!is_alone) target[other + ((WORDS - 1 - k) << log2_block)] = finished(k < HALF ? difference(x[k], partner) : x[k] + partner);
    }
}

template <int DEPTHS, bool REAL>
__device__ __forceinline__ void inverse_columns(const RnsLaunchParams& params, const uint2* constants, const RnsUp& record, const RnsArguments& arguments) {
    const u32 log2_block = params.log2_degree - DEPTHS;
    const RnsPart own(log2_block - 8);
    const u32 column = own.part * 256 + threadIdx.x;
    const uint2 modulus = constant(constants, record.prime), factor = constant(constants, record.factor);
    const uint2* const roots = constants + params.roots + static_cast<u64>(record.prime) * params.prime_roots;
    u32* const target = at_place(arguments, params, own.item, record.target);
    u32 x[1 << DEPTHS];
#pragma unroll
    for (u32 k = 0; k < 1u << DEPTHS; k++) x[k] = target[column + (k << log2_block)];
    depths_up<DEPTHS>(x, roots, modulus.x);
    if constexpr (REAL) {
        unfold_columns<DEPTHS>(x, target, column, log2_block, roots, record.offset, factor, modulus.x);
    } else {
#pragma unroll
        for (u32 k = 0; k < 1u << DEPTHS; k++) {
            target[column + (k << log2_block)] = add_residues(times(x[k], factor, modulus.x), record.offset, modulus.x);
        }
    }
}

template <bool REAL>
__device__ __forceinline__ void inverse_columns(const RnsLaunchParams& params, const uint2* constants, const RnsUp* records, const RnsArguments& arguments) {
    const RnsUp record = records[blockIdx.y];
    switch (params.log2_blocks) {
        case 1: return inverse_columns<1, REAL>(params, constants, record, arguments);
        case 2: return inverse_columns<2, REAL>(params, constants, record, arguments);
        case 3: return inverse_columns<3, REAL>(params, constants, record, arguments);
        default: return inverse_columns<4, REAL>(params, constants, record, arguments);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256)
    rns_forward_columns(RnsLaunchParams params, const uint2* constants, const RnsDown* records, const __grid_constant__ RnsArguments arguments) {
    const RnsDown record = records[blockIdx.y];
    switch (params.log2_blocks) {
        case 1: return forward_columns<1>(params, constants, record, arguments);
        case 2: return forward_columns<2>(params, constants, record, arguments);
        case 3: return forward_columns<3>(params, constants, record, arguments);
        default: return forward_columns<4>(params, constants, record, arguments);
    }
}
HEMAN_ENTRY(rns_forward_columns)

extern "C" __global__ void __launch_bounds__(256)
    rns_inverse_columns(RnsLaunchParams params, const uint2* constants, const RnsUp* records, const __grid_constant__ RnsArguments arguments) {
    inverse_columns<false>(params, constants, records, arguments);
}
HEMAN_ENTRY(rns_inverse_columns)

extern "C" __global__ void __launch_bounds__(256)
    rns_inverse_columns_real(RnsLaunchParams params, const uint2* constants, const RnsUp* records, const __grid_constant__ RnsArguments arguments) {
    inverse_columns<true>(params, constants, records, arguments);
}
HEMAN_ENTRY(rns_inverse_columns_real)
