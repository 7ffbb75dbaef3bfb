// rns_forward_columns, rns_inverse_columns: the first depths of a polynomial's tree, for degrees that shared memory does not hold.
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
    depths_down<DEPTHS>(x, roots, modulus.x);
    u32* const between = at_place(arguments, params, own.item, record.between);
#pragma unroll
    for (u32 k = 0; k < 1u << DEPTHS; k++) between[column + (k << log2_block)] = x[k];
}

template <int DEPTHS>
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
#pragma unroll
    for (u32 k = 0; k < 1u << DEPTHS; k++) {
        target[column + (k << log2_block)] = add_residues(times(x[k], factor, modulus.x), record.offset, modulus.x);
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
    const RnsUp record = records[blockIdx.y];
    switch (params.log2_blocks) {
        case 1: return inverse_columns<1>(params, constants, record, arguments);
        case 2: return inverse_columns<2>(params, constants, record, arguments);
        case 3: return inverse_columns<3>(params, constants, record, arguments);
        default: return inverse_columns<4>(params, constants, record, arguments);
    }
}
HEMAN_ENTRY(rns_inverse_columns)
