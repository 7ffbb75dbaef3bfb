// seeded_rows_u32: rows of mask and body from a seed and the bodies, as a client sends its keys and inputs.
//
// Masks are one stream of bytes, AES-128 in counter mode (FIPS 197): block i is the encryption of i, least significant byte first, under the
// seed. Word w of the stream is mask word w % mask_words of row w / mask_words.
//
// Grid: x over blocks of the stream, then body words. Block: 256 threads. Dynamic shared memory: the S-box and 44 words of round keys.
// Reads bodies; writes rows. No atomics.
// Mirror: core/src/tfhe/files/evaluation_key.rs
#include "parameters.cuh"

namespace {

constexpr u32 ROUNDS = 10;

__device__ __forceinline__ u32 rotated_right(u32 word, u32 bits) { return word >> bits | word << (32 - bits); }

// Four elements of GF(2^8) times x.
__device__ __forceinline__ u32 doubled(u32 bytes) { return (bytes & 0x7f7f7f7f) << 1 ^ (bytes >> 7 & 0x01010101) * 0x1b; }

__device__ __forceinline__ u32 product(u32 a, u32 b) {
    u32 sum = 0;
    for (u32 bit = 0; bit < 8; bit++) {
        sum ^= b >> bit & 1 ? a : 0;
        a = doubled(a);
    }
    return sum;
}

// An entry of the S-box: the inverse, x^254, through an affine map.
__device__ __forceinline__ u8 substitute(u32 x) {
    u32 inverse = 1, power = x;
    for (u32 bit = 1; bit < 8; bit++) {
        power = product(power, power);
        inverse = product(inverse, power);
    }
    const u32 twice = inverse | inverse << 8;
    return static_cast<u8>(inverse ^ twice >> 7 ^ twice >> 6 ^ twice >> 5 ^ twice >> 4 ^ 0x63);
}

__device__ __forceinline__ u32 substituted(const u8* sbox, u32 a, u32 b, u32 c, u32 d) {
    return sbox[a & 255] | sbox[b >> 8 & 255] << 8 | sbox[c >> 16 & 255] << 16 | static_cast<u32>(sbox[d >> 24]) << 24;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) seeded_rows_u32(SeededRowsParams params, const u32* bodies, u32* out) {
    u32* keys = reinterpret_cast<u32*>(SHARED_MEMORY);
    u8* sbox = reinterpret_cast<u8*>(keys + 4 * (ROUNDS + 1));
    sbox[threadIdx.x] = substitute(threadIdx.x);
    __syncthreads();
    if (threadIdx.x == 0) {
        u32 constant = 1;
        for (u32 i = 0; i < 4 * (ROUNDS + 1); i++) {
            if (i < 4) {
                keys[i] = params.seed[i];
                continue;
            }
            u32 word = keys[i - 1];
            if (i % 4 == 0) {
                const u32 turned = rotated_right(word, 8);
                word = substituted(sbox, turned, turned, turned, turned) ^ constant;
                constant = doubled(constant);
            }
            keys[i] = keys[i - 4] ^ word;
        }
    }
    __syncthreads();

    const u64 first = static_cast<u64>(params.first_row) * params.mask_words;
    const u64 end = first + static_cast<u64>(params.rows) * params.mask_words;
    const u64 blocks = (end + 3) / 4 - first / 4;
    const u64 thread = static_cast<u64>(blockIdx.x) * 256 + threadIdx.x;
    if (thread < blocks) {
        const u64 counter = first / 4 + thread;
        u32 state[4] = {static_cast<u32>(counter) ^ keys[0], static_cast<u32>(counter >> 32) ^ keys[1], keys[2], keys[3]};
#pragma unroll 1
        for (u32 round = 1; round <= ROUNDS; round++) {
            u32 next[4];
#pragma unroll
            for (u32 c = 0; c < 4; c++) {
                u32 column = substituted(sbox, state[c], state[(c + 1) % 4], state[(c + 2) % 4], state[(c + 3) % 4]);
                if (round < ROUNDS) {
                    const u32 turned = rotated_right(column, 8);
                    column = doubled(column ^ turned) ^ turned ^ rotated_right(column, 16) ^ rotated_right(column, 24);
                }
                next[c] = column ^ keys[4 * round + c];
            }
#pragma unroll
            for (u32 c = 0; c < 4; c++) state[c] = next[c];
        }
#pragma unroll
        for (u32 c = 0; c < 4; c++) {
            const u64 word = 4 * counter + c;
            if (word >= first && word < end) {
                const u64 own = word - first;
                out[own / params.mask_words * params.stride + own % params.mask_words] = state[c];
            }
        }
    } else if (thread - blocks < static_cast<u64>(params.rows) * params.body_words) {
        const u64 own = thread - blocks;
        out[own / params.body_words * params.stride + params.mask_words + own % params.body_words] = bodies[own];
    }
}

HEMAN_ENTRY(seeded_rows_u32)
