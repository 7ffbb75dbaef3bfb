// lwe_linear_u32: out[r][i] = bias[r] at bodies + sum_j weight[r][j] * values[pick[r][j]][i]   (mod 2^32)
//
// A work item is up to eight kernels at one position of one block of the map: they share every value that is read.
// Grid: x over work items, y over tiles of 1,024 words. Block: 256 threads, four words each. Shared memory: 4.5 KiB.
// Reads values, weights, picks, targets, bias; writes out, each word by one thread. No atomics; the order of the sum is fixed.
// Mirror: core/src/cpu/linear.rs
#include "parameters.cuh"

struct LweLinearItem {
    u32 terms;
    u32 kernels;   // 1 to 8
    u32 picks;     // first pick
    u32 weights;   // first weight: terms x 8, kernel by kernel side by side, zeros beyond `kernels`
    u32 targets;   // first target row
};
static_assert(sizeof(LweLinearItem) == 20, "kernels/src/lib.rs");

extern "C" __global__ void __launch_bounds__(256)
    lwe_linear_u32(LweLinearParams params, const LweLinearItem* items, const u32* __restrict__ picks, const i16* __restrict__ weights,
                   const u32* targets, const u32* bias, const u32* __restrict__ values, u32* out) {
    constexpr u32 KERNELS = 8, WORDS = 4, CHUNK = 128, THREADS = 256;
    u32* chunk_picks = reinterpret_cast<u32*>(SHARED_MEMORY);
    i32* chunk_weights = reinterpret_cast<i32*>(chunk_picks + CHUNK);

    const LweLinearItem item = items[blockIdx.x];
    const u32 start = blockIdx.y * THREADS * WORDS + threadIdx.x;
    u32 sum[KERNELS][WORDS] = {};
    for (u32 first = 0; first < item.terms; first += CHUNK) {
        const u32 count = min(CHUNK, item.terms - first);
        __syncthreads();
        for (u32 i = threadIdx.x; i < count; i += THREADS) chunk_picks[i] = picks[item.picks + first + i];
        for (u32 i = threadIdx.x; i < count * KERNELS; i += THREADS) {
            chunk_weights[i] = weights[static_cast<u64>(item.weights) + first * KERNELS + i];
        }
        __syncthreads();
        for (u32 term = 0; term < count; term++) {
            const u32* source = values + static_cast<u64>(chunk_picks[term]) * params.length;
            u32 word[WORDS];
#pragma unroll
            for (u32 w = 0; w < WORDS; w++) {
                const u32 at = start + w * THREADS;
                word[w] = at < params.length ? source[at] : 0;
            }
#pragma unroll
            for (u32 k = 0; k < KERNELS; k++) {
                const u32 weight = static_cast<u32>(chunk_weights[term * KERNELS + k]);
#pragma unroll
                for (u32 w = 0; w < WORDS; w++) sum[k][w] += weight * word[w];
            }
        }
    }
#pragma unroll
    for (u32 k = 0; k < KERNELS; k++) {
        if (k >= item.kernels) break;
        const u32 row = targets[item.targets + k];
#pragma unroll
        for (u32 w = 0; w < WORDS; w++) {
            const u32 at = start + w * THREADS;
            if (at >= params.length) break;
            const bool body = (at + 1) % params.row_words == 0;
            out[static_cast<u64>(row) * params.length + at] = sum[k][w] + (body ? bias[row] : 0);
        }
    }
}

HEMAN_ENTRY(lwe_linear_u32)
