// rns_matrix_<R>: up to R rows of a matrix of residues times the words of many ciphertexts, R = 8 or 16.
//
// Grid: x over items and parts of a polynomial, y over limbs. Block: 256 threads, 32 / R words each, so that every word that is read serves R sums.
// Dynamic shared memory: weights and addresses of 24 terms, 96 R + 192 bytes. Reads the matrix and the terms' words, writes R rows at the most. No atomics.
// Sums have 64 bits: below 2^32 p, and twelve products below p^2 < 2^60 each, are below 2^64.
// Mirror: core/src/ckks/cpu/matrix.rs
#include "rns_arguments.cuh"

namespace {

// Products between two reductions, and terms whose weights are in shared memory at a time.
constexpr u32 FOLDED = 12, CHUNK = 2 * FOLDED;

template <u32 WORDS>
struct Words;
template <>
struct Words<2> {
    using Type = uint2;
};
template <>
struct Words<4> {
    using Type = uint4;
};

// Back below 2^32 p; `one` is the factor 1.
__device__ __forceinline__ u64 folded(u64 sum, uint2 one, u32 p) {
    return static_cast<u64>(times(static_cast<u32>(sum >> 32), one, p)) << 32 | static_cast<u32>(sum);
}

// Arguments of an item: the list of addresses of its terms, how many rows it has, their numbers (two an argument) and targets, R each.
template <u32 ROWS>
__device__ __forceinline__ void multiply(const RnsLaunchParams& params, const uint2* constants, const u32* matrix, u32 kernels, u32 terms,
                                         const RnsArguments& arguments) {
    constexpr u32 WORDS = 32 / ROWS, LOG2_PART = WORDS == 2 ? 9 : 10;
    using Vector = typename Words<WORDS>::Type;
    u64* const addresses = reinterpret_cast<u64*>(SHARED_MEMORY);
    u32* const weights = reinterpret_cast<u32*>(addresses + CHUNK);
    const RnsPart own(params.log2_degree - LOG2_PART);
    const u32 limb = blockIdx.y, first_argument = own.item * params.arguments;
    const uint2 modulus = constant(constants, limb), one = {1, 0xffffffffu / modulus.x};
    const u64* const list = reinterpret_cast<const u64*>(arguments.words[first_argument]);
    const u32 rows = static_cast<u32>(arguments.words[first_argument + 1]);
    const u64 place = (static_cast<u64>(limb) << params.log2_degree) + (own.part << LOG2_PART);
    auto own_words = [&](u64 address) { return reinterpret_cast<Vector*>(polynomial_at(address) + place) + threadIdx.x; };
    u64 sums[ROWS][WORDS] = {};
    for (u32 first = 0; first < terms; first += CHUNK) {
        __syncthreads();
        for (u32 i = threadIdx.x; i < ROWS * CHUNK; i += 256) {
            const u32 row = i / CHUNK, term = first + i % CHUNK;
            u32 weight = 0;
            if (row < rows && term < terms) {
                const u32 kernel = static_cast<u32>(arguments.words[first_argument + 2 + row / 2] >> row % 2 * 32);
                weight = __ldg(matrix + (static_cast<u64>(limb) * kernels + kernel) * terms + term);
            }
            weights[i % CHUNK * ROWS + row] = weight;
        }
        if (threadIdx.x < CHUNK && first + threadIdx.x < terms) addresses[threadIdx.x] = __ldg(list + first + threadIdx.x);
        __syncthreads();
        for (u32 begin = 0; begin < CHUNK && first + begin < terms; begin += FOLDED) {
            const u32 end = min(begin + FOLDED, terms - first);
#pragma unroll ROWS == 16 ? 1 : 2
            for (u32 term = begin; term < end; term++) {
                u32 word[WORDS];
                *reinterpret_cast<Vector*>(word) = __ldg(own_words(addresses[term]));
#pragma unroll
                for (u32 row = 0; row < ROWS; row++) {
                    const u32 weight = weights[term * ROWS + row];
#pragma unroll
                    for (u32 i = 0; i < WORDS; i++) sums[row][i] += static_cast<u64>(word[i]) * weight;
                }
            }
#pragma unroll
            for (u32 row = 0; row < ROWS; row++) {
#pragma unroll
                for (u32 i = 0; i < WORDS; i++) sums[row][i] = folded(sums[row][i], one, modulus.x);
            }
        }
    }
#pragma unroll
    for (u32 row = 0; row < ROWS; row++) {
        if (row >= rows) break;
        u32 word[WORDS];
#pragma unroll
        for (u32 i = 0; i < WORDS; i++) word[i] = reduce(sums[row][i], modulus);
        *own_words(arguments.words[first_argument + 2 + ROWS / 2 + row]) = *reinterpret_cast<Vector*>(word);
    }
}

}  // namespace

#define HEMAN_RNS_MATRIX(ROWS)                                                                                                           \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                                 \
        rns_matrix_##ROWS(RnsLaunchParams params, const uint2* constants, const u32* matrix, u32 kernels, u32 terms,                    \
                          const __grid_constant__ RnsArguments arguments) {                                                             \
        multiply<ROWS>(params, constants, matrix, kernels, terms, arguments);                                                            \
    }                                                                                                                                    \
    HEMAN_ENTRY(rns_matrix_##ROWS)

HEMAN_RNS_MATRIX(8)
HEMAN_RNS_MATRIX(16)
