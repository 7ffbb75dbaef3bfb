// rns_masks: uniform polynomials from their seeds, eight residues a thread: those of one block of a BLAKE3 stream.
//
// What is hashed is one block: seed, number of the polynomial, limb. Which residues come of it stands in core/src/ckks/files/seeded.rs.
// Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3", 2020, sections 2.2, 2.4 and 2.6.
//
// Grid: x over items and parts of 2048 words, y over limbs. Block: 256 threads. Shared memory: none.
// Reads nothing but moduli, writes masks. No atomics.
// Mirror: core/src/ckks/files/seeded.rs
#include "rns_arguments.cuh"

namespace {

// Start and end of a chunk, root, material of a derived key.
constexpr u32 FLAGS = 75;
// Bytes that are hashed.
constexpr u32 LENGTH = 40;

__device__ __forceinline__ u32 turned(u32 x, u32 bits) { return x >> bits | x << (32 - bits); }

__device__ __forceinline__ void mix(u32& a, u32& b, u32& c, u32& d, u32 x, u32 y) {
    a += b + x;
    d = turned(d ^ a, 16);
    c += d;
    b = turned(b ^ c, 12);
    a += b + y;
    d = turned(d ^ a, 8);
    c += d;
    b = turned(b ^ c, 7);
}

// floor(w p / 2^64) for w of two words, low first.
__device__ __forceinline__ u32 scaled(u32 low, u32 high, u32 p) {
    return static_cast<u32>((static_cast<u64>(high) * p + __umulhi(low, p)) >> 32);
}

}  // namespace

// Arguments: target, number of the polynomial, and the seed, two words an argument. Limbs from `limbs` on are numbers `all_limbs` and so on of QP.
extern "C" __global__ void __launch_bounds__(256)
    rns_masks(RnsLaunchParams params, const uint2* constants, RnsContextKey context, const __grid_constant__ RnsArguments arguments) {
    const RnsPart own(params.log2_degree - 11);
    const u32 limb = blockIdx.y < params.limbs ? blockIdx.y : params.all_limbs + blockIdx.y - params.limbs;
    const u32 first_argument = own.item * params.arguments, counter = own.part * 256 + threadIdx.x;
    const u32 p = constant(constants, limb).x;
    u32 m[16] = {};
#pragma unroll
    for (u32 i = 0; i < 8; i++) m[i] = static_cast<u32>(arguments.words[first_argument + 2 + i / 2] >> i % 2 * 32);
    m[8] = static_cast<u32>(arguments.words[first_argument + 1]);
    m[9] = limb;
    u32 v[16];
#pragma unroll
    for (u32 i = 0; i < 8; i++) v[i] = context.words[i];
    v[8] = 0x6a09e667, v[9] = 0xbb67ae85, v[10] = 0x3c6ef372, v[11] = 0xa54ff53a;
    v[12] = counter, v[13] = 0, v[14] = LENGTH, v[15] = FLAGS;
    constexpr u32 ORDER[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
#pragma unroll
    for (u32 round = 0; round < 7; round++) {
#pragma unroll
        for (u32 i = 0; i < 4; i++) mix(v[i], v[4 + i], v[8 + i], v[12 + i], m[2 * i], m[2 * i + 1]);
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            mix(v[i], v[4 + (i + 1) % 4], v[8 + (i + 2) % 4], v[12 + (i + 3) % 4], m[8 + 2 * i], m[9 + 2 * i]);
        }
        u32 next[16];
#pragma unroll
        for (u32 i = 0; i < 16; i++) next[i] = m[ORDER[i]];
#pragma unroll
        for (u32 i = 0; i < 16; i++) m[i] = next[i];
    }
    u32 out[16];
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
        out[i] = v[i] ^ v[8 + i];
        out[8 + i] = v[8 + i] ^ context.words[i];
    }
    u32* const target = polynomial_at(arguments.words[first_argument]) + (static_cast<u64>(blockIdx.y) << params.log2_degree) + counter * 8;
    auto residue = [&](u32 i) { return scaled(out[2 * i], out[2 * i + 1], p); };
    reinterpret_cast<uint4*>(target)[0] = {residue(0), residue(1), residue(2), residue(3)};
    reinterpret_cast<uint4*>(target)[1] = {residue(4), residue(5), residue(6), residue(7)};
}
HEMAN_ENTRY(rns_masks)
