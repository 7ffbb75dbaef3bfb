// Keyswitch as a product of small digits and the key's bytes: out[r][j] = body at n - sum_d digit[r][d] * key[d][j]   (mod 2^32)
//
// lwe_keyswitch_u32: digits are signed bytes, key words four unsigned bytes; products run on the tensor cores, exactly (sums wrap
// mod 2^32, as they should). base_log at most 7.
// Grid: x over tiles of 64 output words, y over tiles of 64 rows. Block: 512 threads, 16 warps: two halves of 32 rows by eight
// groups of 8 words; a warp holds 2 x 4 tiles of 16 rows x 8 words, one for each byte of the key.
// Dynamic shared memory: level x 64 rows x 48 bytes, the digits of 32 input words (16 bytes of padding spread the banks).
// Reads rows of k N + 1 words and the prepared key; writes rows of n + 1 words, each by one thread. No atomics.
//
// keyswitch_key_u32: the key in the order in which lanes read it:
// [k N / 32][level][groups of 8 words][lane][byte][2], each word four bytes of four input indices.
// Grid: x over the words of the result. Block: 256 threads.
//
// lwe_keyswitch_wide_u32: the same result for bases above 2^7, one thread an output word.
// Grid: x over tiles of 256 output words, y over rows. Block: 256 threads. Shared memory: 256 words, their digits.
//
// Digits: balanced, in [-B/2, B/2]; at B/2 the carry follows the next digit (Joye, ePrint 2021/1161, section 4).
// Mirror: core/src/tfhe/cpu/keyswitch.rs
#include "parameters.cuh"
#include "tensor_cores.cuh"

namespace {

constexpr u32 ROWS = 64;
constexpr u32 DEPTH = 32;   // input words a step
constexpr u32 STRIDE = 48;  // bytes between the digits of two rows

// Digits of one mask word, least significant level first.
template <typename Put>
__device__ __forceinline__ void digits(u32 word, u32 base_log, u32 level, Put put) {
    const u32 kept = base_log * level;
    const u32 rounded = word >> (32 - kept - 1);
    const u32 value = ((rounded + 1) >> 1) & (0xffffffffu >> (32 - kept));
    const u32 tie = (rounded & 1) << (kept - 1);
    const u32 negative = (((value - 1) | tie) & value) >> (kept - 1);
    u32 state = value - (negative << kept);
    for (u32 at = 0; at < level; at++) {
        const u32 digit = state & ((1u << base_log) - 1);
        state = static_cast<u32>(static_cast<i32>(state) >> base_log);
        const u32 carry = ((digit - 1) | state) & digit & (1u << (base_log - 1));
        state += carry >> (base_log - 1);
        put(at, digit - (carry << 1));
    }
}

// Digits of 16 rows as a tile's left factor; `digits` points at the first row.
__device__ __forceinline__ void load_digits(u32 (&left)[4], const u8* digits) {
    const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const u32* low = reinterpret_cast<const u32*>(digits + g * STRIDE) + t;
    const u32* high = reinterpret_cast<const u32*>(digits + (g + 8) * STRIDE) + t;
    left[0] = low[0];
    left[1] = high[0];
    left[2] = low[4];
    left[3] = high[4];
}

}  // namespace

extern "C" __global__ void __launch_bounds__(512)
    lwe_keyswitch_u32(LweKeyswitchParams params, const u32* __restrict__ input, const uint4* __restrict__ key, u32* out) {
    u8* tile = SHARED_MEMORY;
    const u32 big = params.input_dimension + 1, small = params.output_dimension + 1;
    const u32 groups = (small + 7) / 8;
    const u32 first = blockIdx.y * ROWS;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 group = min(blockIdx.x * 8 + warp % 8, groups - 1);
    i32 sum[2][4][4] = {};  // row tile, byte, fragment

    for (u32 step = 0; step < params.input_dimension / DEPTH; step++) {
        __syncthreads();
        for (u32 i = threadIdx.x; i < ROWS * DEPTH; i += 512) {
            const u32 r = i / DEPTH, d = i % DEPTH;
            const u32 row = min(first + r, params.rows - 1);
            const u32 word = input[static_cast<u64>(row) * big + step * DEPTH + d];
            digits(word, params.base_log, params.level,
                   [&](u32 at, u32 digit) { tile[(at * ROWS + r) * STRIDE + d] = static_cast<u8>(digit); });
        }
        __syncthreads();
        for (u32 at = 0; at < params.level; at++) {
            const uint4* fragments = key + ((static_cast<u64>(step) * params.level + at) * groups + group) * 64;
            const uint4 low = __ldg(&fragments[lane * 2]), high = __ldg(&fragments[lane * 2 + 1]);
            const u32 bytes[4][2] = {{low.x, low.y}, {low.z, low.w}, {high.x, high.y}, {high.z, high.w}};
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                u32 rows[4];
                load_digits(rows, tile + (at * ROWS + warp / 8 * 32 + half * 16) * STRIDE);
#pragma unroll
                for (u32 byte = 0; byte < 4; byte++) multiply_tile(sum[half][byte], rows, bytes[byte]);
            }
        }
    }

    if (blockIdx.x * 8 + warp % 8 >= groups) return;
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
#pragma unroll
        for (u32 at = 0; at < 4; at++) {
            const u32 row = first + warp / 8 * 32 + half * 16 + lane / 4 + at / 2 * 8;
            const u32 column = group * 8 + lane % 4 * 2 + at % 2;
            if (row >= params.rows || column >= small) continue;
            u32 total = 0;
#pragma unroll
            for (u32 byte = 0; byte < 4; byte++) total += static_cast<u32>(sum[half][byte][at]) << byte * 8;
            const u32 body = column + 1 == small ? input[static_cast<u64>(row) * big + big - 1] : 0;
            out[static_cast<u64>(row) * small + column] = body - total;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) keyswitch_key_u32(LweKeyswitchParams params, const u32* words, u32* out) {
    const u32 small = params.output_dimension + 1, groups = (small + 7) / 8;
    const u64 at = static_cast<u64>(blockIdx.x) * 256 + threadIdx.x;
    const u32 part = at % 2, byte = at / 2 % 4, lane = at / 8 % 32, group = at / 256 % groups;
    const u64 outer = at / 256 / groups;
    const u32 level = outer % params.level;
    const u64 step = outer / params.level;
    if (step >= params.input_dimension / DEPTH) return;
    const u32 column = group * 8 + lane / 4;
    u32 packed = 0;
    for (u32 i = 0; i < 4; i++) {
        const u64 index = step * DEPTH + part * 16 + lane % 4 * 4 + i;
        const u32 word = column < small ? words[(index * params.level + level) * small + column] : 0;
        packed |= (word >> byte * 8 & 0xff) << i * 8;
    }
    out[at] = packed;
}

extern "C" __global__ void __launch_bounds__(256)
    lwe_keyswitch_wide_u32(LweKeyswitchParams params, const u32* __restrict__ input, const u32* __restrict__ key, u32* out) {
    constexpr u32 CHUNK = 256;
    u32* chunk = reinterpret_cast<u32*>(SHARED_MEMORY);
    const u32 big = params.input_dimension + 1, small = params.output_dimension + 1, level = params.level;
    const u32* row = input + static_cast<u64>(blockIdx.y) * big;
    const u32 column = blockIdx.x * 256 + threadIdx.x;
    u32 sum = 0;
    for (u32 start = 0; start < params.input_dimension; start += CHUNK) {
        __syncthreads();
        digits(row[start + threadIdx.x], params.base_log, level, [&](u32 at, u32 digit) { chunk[threadIdx.x * level + at] = digit; });
        __syncthreads();
        if (column < small) {
            const u32* words = key + static_cast<u64>(start) * level * small + column;
            for (u32 d = 0; d < CHUNK * level; d++) sum += chunk[d] * words[static_cast<u64>(d) * small];
        }
    }
    if (column < small) {
        const u32 body = column + 1 == small ? row[big - 1] : 0;
        out[static_cast<u64>(blockIdx.y) * small + column] = body - sum;
    }
}

HEMAN_ENTRY(lwe_keyswitch_u32)
HEMAN_ENTRY(keyswitch_key_u32)
HEMAN_ENTRY(lwe_keyswitch_wide_u32)
