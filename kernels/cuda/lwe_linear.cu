// out[r][i] = bias[r] at bodies + sum_j weight[r][j] * values[pick[r][j]][i]   (mod 2^32)
//
// lwe_linear_u32: any weights. A work item is up to eight kernels at one position of one block of the map: they share every value that is read.
// Grid: x over work items, y over tiles of 1,024 words, in turns where they are many. Block: 256 threads, four words each. Shared memory: 4.5 KiB.
// Reads values, weights, picks, targets, bias; writes out, each word by one thread. No atomics; the order of the sum is fixed.
//
// lwe_linear_bytes_u32: weights of eight bits, on the tensor cores, where words are four unsigned bytes. A work item is up to 16 kernels at one
// position; terms are a multiple of 32. Picks beyond the last repeat one that is there, weights beyond are zero.
// Grid: the same over tiles of 256 words. Block: 8 warps of 32 words. No shared memory.
//
// Mirror: core/src/tfhe/cpu/linear.rs
#include "parameters.cuh"
#include "tensor_cores.cuh"

struct LweLinearItem {
    u32 terms;
    u32 kernels;   // 1 to 8, or to 16
    u32 picks;     // first pick; of bytes: counted in fours
    u32 weights;   // first weight: terms x 8, kernel by kernel side by side, zeros beyond `kernels`; of bytes: counted in sixteens, terms / 32 left factors
    u32 targets;   // first target row
};
static_assert(sizeof(LweLinearItem) == 20, "kernels/src/lib.rs");

namespace {

constexpr u32 THREADS = 256;

// Tile `tile` of one item, any weights.
__device__ __forceinline__ void gather(u32 tile, const LweLinearParams& params, const LweLinearItem& item, const u32* __restrict__ picks,
                                       const i16* __restrict__ weights, const u32* targets, const u32* bias, const u32* __restrict__ values,
                                       u32* out) {
    constexpr u32 KERNELS = 8, WORDS = 4, CHUNK = 128;
    u32* chunk_picks = reinterpret_cast<u32*>(SHARED_MEMORY);
    i32* chunk_weights = reinterpret_cast<i32*>(chunk_picks + CHUNK);
    const u32 start = tile * THREADS * WORDS + threadIdx.x;
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

// Bytes of four words, words side by side.
__device__ __forceinline__ void transpose(u32 (&bytes)[4], const u32 (&word)[4]) {
    const u32 low = __byte_perm(word[0], word[1], 0x5140), high = __byte_perm(word[0], word[1], 0x7362);
    const u32 next_low = __byte_perm(word[2], word[3], 0x5140), next_high = __byte_perm(word[2], word[3], 0x7362);
    bytes[0] = __byte_perm(low, next_low, 0x5410);
    bytes[1] = __byte_perm(low, next_low, 0x7632);
    bytes[2] = __byte_perm(high, next_high, 0x5410);
    bytes[3] = __byte_perm(high, next_high, 0x7632);
}

// Tile `block_tile` of one item, weights of bytes.
__device__ __forceinline__ void multiply(u32 block_tile, const LweLinearParams& params, const LweLinearItem& item, const uint4* __restrict__ picks,
                                         const uint4* __restrict__ weights, const u32* targets, const u32* bias,
                                         const u32* __restrict__ values, u32* out) {
    constexpr u32 TILES = 4, DEPTH = 32;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const u32 start = (block_tile * (THREADS / 32) + warp) * TILES * 8;
    i32 sum[TILES][4][4] = {};  // tile, byte, place
    for (u32 step = 0; step < item.terms / DEPTH; step++) {
        const uint4 w = __ldg(&weights[item.weights + step * 32 + lane]);
        const u32 left[4] = {w.x, w.y, w.z, w.w};
        const uint4 low = __ldg(&picks[item.picks + step * 8 + t]), high = __ldg(&picks[item.picks + step * 8 + 4 + t]);
        const u32 pick[2][4] = {{low.x, low.y, low.z, low.w}, {high.x, high.y, high.z, high.w}};
#pragma unroll
        for (u32 tile = 0; tile < TILES; tile++) {
            // Words beyond the last are not written.
            const u32 at = min(start + tile * 8 + g, params.length - 1);
            u32 bytes[2][4];
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                u32 word[4];
#pragma unroll
                for (u32 i = 0; i < 4; i++) word[i] = __ldg(&values[static_cast<u64>(pick[half][i]) * params.length + at]);
                transpose(bytes[half], word);
            }
#pragma unroll
            for (u32 byte = 0; byte < 4; byte++) {
                const u32 right[2] = {bytes[0][byte], bytes[1][byte]};
                multiply_tile(sum[tile][byte], left, right);
            }
        }
    }
#pragma unroll
    for (u32 place = 0; place < 4; place++) {
        const u32 kernel = g + place / 2 * 8;
        if (kernel >= item.kernels) continue;
        const u32 row = targets[item.targets + kernel];
#pragma unroll
        for (u32 tile = 0; tile < TILES; tile++) {
            const u32 at = start + tile * 8 + t * 2 + place % 2;
            if (at >= params.length) continue;
            u32 total = (at + 1) % params.row_words == 0 ? bias[row] : 0;
#pragma unroll
            for (u32 byte = 0; byte < 4; byte++) total += static_cast<u32>(sum[tile][byte][place]) << byte * 8;
            out[static_cast<u64>(row) * params.length + at] = total;
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(THREADS)
    lwe_linear_u32(LweLinearParams params, const LweLinearItem* items, const u32* __restrict__ picks, const i16* __restrict__ weights,
                   const u32* targets, const u32* bias, const u32* __restrict__ values, u32* out) {
    const LweLinearItem item = items[blockIdx.x];
    for (u32 tile = blockIdx.y; tile < params.tiles; tile += gridDim.y) {
        gather(tile, params, item, picks, weights, targets, bias, values, out);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    lwe_linear_bytes_u32(LweLinearParams params, const LweLinearItem* items, const uint4* __restrict__ picks, const uint4* __restrict__ weights,
                         const u32* targets, const u32* bias, const u32* __restrict__ values, u32* out) {
    const LweLinearItem item = items[blockIdx.x];
    for (u32 tile = blockIdx.y; tile < params.tiles; tile += gridDim.y) {
        multiply(tile, params, item, picks, weights, targets, bias, values, out);
    }
}

HEMAN_ENTRY(lwe_linear_u32)
HEMAN_ENTRY(lwe_linear_bytes_u32)
