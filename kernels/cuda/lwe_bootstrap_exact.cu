// Blind rotation by exact transforms modulo two primes, for devices whose double-precision units are few; words are those of the host's mirror.
//
// lwe_bootstrap_exact_u32_<N>_<k>: modulus switch, blind rotation with one level, and sample extraction, one table a value.
// lwe_bootstrap_exact_levels_u32_<N>_<k>: the same with any number of levels, one ciphertext a block.
// Both take bits of the key one by one or in groups, as lwe_bootstrap.cu does.
// bootstrap_key_exact_u32_<N>: polynomials of the standard key, mod 2^64, to their values modulo both primes.
//
// Grid: x over groups of `ciphertexts` rows from `first_row` on, up to all rows of the batch. Block: Shape::THREADS. A block goes through a step in three parts, with a barrier behind each:
// digits and their transforms, modulo both primes side by side, one polynomial after the other for every N / P threads; products at
// every place, whose key word serves all ciphertexts of the block; transforms back, and what they add to the accumulators. With several levels the
// first two parts are repeated for each, and sums wait in registers.
// Dynamic shared memory: a head, values (2 primes x ciphertexts x (k + 1) x N words), accumulators (half of that);
// `shared_bytes` of kernels/src/exact_shapes.rs. Each of the two additions to an accumulator's word is atomic: their order does not matter.
//
// Counts for one ciphertext and step, K = k + 1: 2 K (l + 1) transforms of N / 2 log2 N butterflies (three multiplications and four other
// instructions), 2 K^2 l N products of 64 bits; for each block 8 K^2 l N bytes of the key from the second-level cache. Shared memory: 4 N bytes are
// written and read for every phase of a transform, 8 N read for its digits and added for its results. cuda/src/tfhe/exact.rs has the bound.
//
// Constants: p and -p^-1 mod 2^32 of both primes; the recombination's fractions; factors of the key; roots on the way down, on the way up, by thread.
// Key: steps, sets of bits, levels, rows, columns, primes, leaves; values times (q / p)^-1 N^-1, in Montgomery form.
// Turns: psi^t - 1 in Montgomery form, t below 2N, for both primes.
//
// Compiled once for every N, HEMAN_LOG2_N from 8 to 12.
// Mirror: core/src/tfhe/cpu/exact.rs
#include "blind_rotation.cuh"
#include "residue_transform.cuh"

namespace {

// Of all shapes; the head of the shared memory has so many places.
constexpr u32 MOST_CIPHERTEXTS = 4;
// Sets of the bits of a group at the most, the empty one among them.
constexpr u32 SETS = 8;
constexpr u32 HEAD_BYTES = MOST_CIPHERTEXTS * (8 + 4 * SETS);
static_assert(HEAD_BYTES % 16 == 0, "values are aligned");

// Places of the table of constants.
constexpr u32 FRACTIONS = 2, KEY_FACTORS = 4, ROOTS = 6;

template <int LOG_N>
struct Ring {
    using Transform = ResidueTransform<LOG_N, LOG_N == 10 ? 5 : 4>;
    static constexpr u32 N = Transform::N, T = Transform::THREADS, P = Transform::P;
    // From one accumulator to the next: with half a warp a polynomial, two lie half the banks apart.
    static constexpr u32 STRIDE = N + (T < 32 ? T : 0);
    // Shared memory for a polynomial: values modulo both primes, and an accumulator.
    static constexpr u32 BYTES = 4 * (2 * N + STRIDE);

    static __device__ __forceinline__ const uint2* down(const uint2* constants, u32 prime) { return constants + ROOTS + prime * N; }
    static __device__ __forceinline__ const uint2* up(const uint2* constants, u32 prime) { return constants + ROOTS + (2 + prime) * N; }
};

// Blocks of one ciphertext that registers are shared out for: two or three, where 100 KB of shared memory hold them; one less where sums
// wait in registers.
template <int LOG_N, int COLUMNS, u32 THREADS, bool LEVELS>
struct Blocks {
    static constexpr u32 HELD = (100u << 10) / (COLUMNS * Ring<LOG_N>::BYTES + HEAD_BYTES + 1024);
    static constexpr u32 WANTED = (THREADS <= 192 ? 3 : THREADS <= 384 ? 2 : 1) - (LEVELS && THREADS <= 384 ? 1 : 0);
    static constexpr u32 COUNT = HELD == 0 ? 1 : HELD < WANTED ? HELD : WANTED;
};

// (y / p) 2^32 for y below p: core/src/tfhe/exact.rs.
__device__ __forceinline__ u32 contribution(u32 y, u32 fraction) { return (y << 2) + ((__umulhi(y, fraction) + 128) >> 8); }

// What a step with several bits needs beside the key.
struct Group {
    const u32* degrees;  // the sum of each set's exponents, SETS a ciphertext
    u32 sets;            // beside the empty one
    const u32* turns;    // of the prime

    // X^e - 1 at a leaf, e the degree of a set for ciphertext c.
    template <int LOG_N>
    __device__ __forceinline__ u32 factor(u32 c, u32 set, u32 leaf) const {
        const u32 power = 2 * (__brev(leaf) >> (32 - LOG_N)) + 1;
        return __ldg(&turns[degrees[c * SETS + set] * power & ((2u << LOG_N) - 1)]);
    }
};

// Sums over the rows of one level, for all columns and TILE ciphertexts at one leaf: below 2p. `values` are those of the first row, `key`
// the first word of the first set, `stride` lies between two sets.
// Digits are below p, or with GROUPED the product of digit and factor is, so a product is below p^2 and 4 p^2 below 2^32 p: sums of nine are below
// 3 2^32 p. With GROUPED they are taken down below 2 2^32 p after four products at most.
template <int LOG_N, int COLUMNS, u32 TILE, bool GROUPED>
__device__ __forceinline__ void multiply(u32 (&out)[TILE][COLUMNS], const u32* values, const u32* __restrict__ key, u64 stride, const Group& group,
                                         u32 leaf, uint2 modulus) {
    using R = Ring<LOG_N>;
    const u32 p = modulus.x;
    u64 sum[TILE][COLUMNS] = {};
    const u32 sets = GROUPED ? group.sets : 1;
#pragma unroll 1
    for (u32 set = 1; set <= sets; set++, key += stride) {
        u32 factor[TILE];
        if constexpr (GROUPED) {
#pragma unroll
            for (u32 c = 0; c < TILE; c++) factor[c] = group.factor<LOG_N>(c, set, leaf);
        }
#pragma unroll
        for (u32 row = 0; row < COLUMNS; row++) {
            u32 words[COLUMNS];
#pragma unroll
            for (u32 column = 0; column < COLUMNS; column++) words[column] = __ldg(key + (row * COLUMNS + column) * 2 * R::N);
#pragma unroll
            for (u32 c = 0; c < TILE; c++) {
                const u32 value = values[(c * COLUMNS + row) * R::N];
                const u32 digit = GROUPED ? multiply_residues(value, factor[c], modulus) : reduce_down(value, p);
#pragma unroll
                for (u32 column = 0; column < COLUMNS; column++) {
                    u64& s = sum[c][column];
                    s += static_cast<u64>(digit) * words[column];
                    if (GROUPED && (row % 4 == 3 || row + 1 == COLUMNS)) {
                        const u32 high = static_cast<u32>(s >> 32);
                        s = static_cast<u64>(min(high, high - 2 * p)) << 32 | static_cast<u32>(s);
                    }
                }
            }
        }
    }
#pragma unroll
    for (u32 c = 0; c < TILE; c++) {
#pragma unroll
        for (u32 column = 0; column < COLUMNS; column++) {
            const u32 reduced = reduce_lazy(sum[c][column], modulus);
            out[c][column] = min(reduced, reduced - 2 * p);
        }
    }
}

// The same at one leaf of all ciphertexts of a block, TILE or fewer; sums take the place of the first rows' values.
template <int LOG_N, int COLUMNS, u32 TILE, bool GROUPED>
__device__ __forceinline__ void multiply_block(u32 ciphertexts, u32* values, const u32* key, u64 stride, const Group& group, u32 leaf,
                                               uint2 modulus) {
    if constexpr (TILE > 1) {
        if (ciphertexts < TILE) {
            multiply_block<LOG_N, COLUMNS, TILE - 1, GROUPED>(ciphertexts, values, key, stride, group, leaf, modulus);
            return;
        }
    }
    u32 sums[TILE][COLUMNS];
    multiply<LOG_N, COLUMNS, TILE, GROUPED>(sums, values, key, stride, group, leaf, modulus);
#pragma unroll
    for (u32 c = 0; c < TILE; c++) {
#pragma unroll
        for (u32 column = 0; column < COLUMNS; column++) values[(c * COLUMNS + column) * Ring<LOG_N>::N] = sums[c][column];
    }
}

template <int LOG_N, int COLUMNS, u32 MOST, u32 THREADS, bool LEVELS>
__device__ __forceinline__ void bootstrap(LweBootstrapParams params, const u32* input, const u32* key, const uint2* constants, const u32* turns,
                                          const u32* tables, const u32* table_of_value, const u32* row_of_value, u32 first_row, u32* out) {
    using R = Ring<LOG_N>;
    using Transform = typename R::Transform;
    constexpr u32 N = R::N, P = R::P, T = R::T, STRIDE = R::STRIDE, SLOTS = THREADS / T;
    // Leaves of both primes, and how many a thread takes.
    constexpr u32 LEAVES = 2 * N, TURNS = (LEAVES + THREADS - 1) / THREADS;
    static_assert(THREADS % 32 == 0 && THREADS % T == 0 && MOST <= MOST_CIPHERTEXTS, "whole warps, whole polynomials");
    static_assert(T <= 32 || 2 * COLUMNS % SLOTS == 0, "threads that meet at a block's barrier within a transform go through equally many");
    const u32 n = params.lwe_dimension, ciphertexts = LEVELS ? 1 : params.ciphertexts, level = LEVELS ? params.level : 1;
    const u32 polynomials = ciphertexts * COLUMNS;

    u64* errors = reinterpret_cast<u64*>(SHARED_MEMORY);
    u32* degrees = reinterpret_cast<u32*>(errors + MOST_CIPHERTEXTS);
    u32* values = degrees + MOST_CIPHERTEXTS * SETS;
    u32* accumulators = values + 2 * polynomials * N;

    // The last block repeats the last row where there are fewer rows than places, and writes it once.
    const u32 first = first_row + blockIdx.x * ciphertexts;
    auto row_of = [&](u32 c) { return input + static_cast<u64>(min(first + c, params.rows - 1)) * (n + 1); };
    if (threadIdx.x < MOST_CIPHERTEXTS) errors[threadIdx.x] = 0;
    __syncthreads();
    for (u32 c = 0; c < ciphertexts; c++) {
        switch_modulus<N>(row_of(c), n, errors + c, [&](u32 i, u32 exponent) {
            if (i == n) degrees[c * SETS] = exponent;
        });
    }
    __syncthreads();
    for (u32 at = threadIdx.x; at < polynomials * N; at += THREADS) {
        const u32 polynomial = at / N, j = at % N, c = polynomial / COLUMNS;
        const u32 value = min(first + c, params.rows - 1) / params.inputs;
        const u32* table = tables + static_cast<u64>(table_of_value[value]) * N;
        const u32 degree = 2 * N - degrees[c * SETS];
        accumulators[polynomial * STRIDE + j] = polynomial % COLUMNS + 1 == COLUMNS ? rotated<N>(table, j - degree, 0) : 0;
    }
    __syncthreads();
    const u32 bits = params.grouping, sets = (1u << bits) - 1;
    // Degrees of the step that begins with bit i, one thread a ciphertext and set.
    auto switch_step = [&](u32 i) {
        const u32 c = threadIdx.x / SETS, set = threadIdx.x % SETS;
        if (c >= ciphertexts || set > sets || i >= n) return;
        u32 degree = 0;
        for (u32 bit = 0; bit < bits; bit++) degree += set >> bit & 1 ? switched<N>(row_of(c)[i + bit]) : 0;
        degrees[threadIdx.x] = degree;
    };
    switch_step(0);
    __syncthreads();

    const u32 slot = threadIdx.x / T, t = threadIdx.x % T;
    const u32 dropped = 32 - params.base_log * params.level, below_half = (1u << (dropped - 1)) - 1;
    const u32 row_words = 2 * N * COLUMNS;
    const u64 set_words = static_cast<u64>(level) * COLUMNS * row_words;
    for (u32 i = 0; i < n; i += bits, key += sets * set_words) {
        u32 sums[LEVELS ? TURNS : 1][1][COLUMNS] = {};
#pragma unroll 1
        for (u32 at_level = 0; at_level < level; at_level++) {
            const Cut cut(params, at_level);
#pragma unroll 1
            for (u32 task = slot; task < 2 * polynomials; task += SLOTS) {
                const u32 prime = task >= polynomials, polynomial = task - prime * polynomials;
                const u32* accumulator = accumulators + polynomial * STRIDE;
                const u32 p = __ldg(&constants[prime]).x, degree = degrees[polynomial / COLUMNS * SETS + 1];
                u32 x[P];
#pragma unroll
                for (u32 at = 0; at < P; at++) {
                    const u32 place = Transform::template position<0>(t, at), own = accumulator[place];
                    const u32 word = bits == 1 ? rotated<N>(accumulator, place - degree, own) : own;
                    const i32 rounded = round_word(word, dropped, below_half);
                    x[at] = static_cast<u32>(LEVELS ? cut.digit(rounded) : rounded) + 2 * p;
                }
                Transform::forward(x, values, R::down(constants, prime), t, p, task * N);
            }
            __syncthreads();
            auto product_of = [&](u32 at, auto take) {
                const u32 prime = at / N, leaf = at % N;
                u32* value = values + prime * polynomials * N + Transform::shared(leaf);
                const u32* word = key + static_cast<u64>(at_level) * COLUMNS * row_words + prime * N + leaf;
                take(value, word, Group{degrees, sets, turns + prime * 2 * N}, leaf, __ldg(&constants[prime]));
            };
            if constexpr (LEVELS) {
#pragma unroll
                for (u32 turn = 0; turn < TURNS; turn++) {
                    const u32 at = threadIdx.x + turn * THREADS;
                    if (LEAVES % THREADS != 0 && at >= LEAVES) break;
                    product_of(at, [&](u32* value, const u32* word, const Group& group, u32 leaf, uint2 modulus) {
                        u32 added[1][COLUMNS];
                        if (bits == 1) {
                            multiply<LOG_N, COLUMNS, 1, false>(added, value, word, set_words, group, leaf, modulus);
                        } else {
                            multiply<LOG_N, COLUMNS, 1, true>(added, value, word, set_words, group, leaf, modulus);
                        }
#pragma unroll
                        for (u32 column = 0; column < COLUMNS; column++) {
                            u32& sum = sums[turn][0][column];
                            sum = add_residues(sum, added[0][column], 2 * modulus.x);
                            if (at_level + 1 == level) value[column * N] = sum;
                        }
                    });
                }
            } else {
#pragma unroll 1
                for (u32 at = threadIdx.x; at < LEAVES; at += THREADS) {
                    product_of(at, [&](u32* value, const u32* word, const Group& group, u32 leaf, uint2 modulus) {
                        if (bits == 1) {
                            multiply_block<LOG_N, COLUMNS, MOST, false>(ciphertexts, value, word, set_words, group, leaf, modulus);
                        } else {
                            multiply_block<LOG_N, COLUMNS, MOST, true>(ciphertexts, value, word, set_words, group, leaf, modulus);
                        }
                    });
                }
            }
            __syncthreads();
        }

        switch_step(i + bits);
#pragma unroll 1
        for (u32 task = slot; task < 2 * polynomials; task += SLOTS) {
            const u32 prime = task >= polynomials;
            u32* accumulator = accumulators + (task - prime * polynomials) * STRIDE;
            const u32 p = __ldg(&constants[prime]).x, fraction = __ldg(&constants[FRACTIONS + prime]).x;
            u32 x[P];
            Transform::inverse(x, values, R::up(constants, prime), t, p, task * N);
#pragma unroll
            for (u32 at = 0; at < P; at++) {
                atomicAdd(&accumulator[Transform::template position<0>(t, at)], contribution(min(x[at], x[at] - p), fraction));
            }
        }
        __syncthreads();
    }

    for (u32 at = threadIdx.x; at < polynomials * N; at += THREADS) {
        const u32 polynomial = at / N, j = at % N, c = polynomial / COLUMNS, column = polynomial % COLUMNS, row = first + c;
        if (row >= params.rows || (column + 1 == COLUMNS && j != 0)) continue;
        const u32* accumulator = accumulators + polynomial * STRIDE;
        const u64 place = static_cast<u64>(row_of_value[row / params.inputs]) * params.inputs + row % params.inputs;
        out[place * ((COLUMNS - 1) * N + 1) + column * N + j] = j == 0 ? accumulator[0] : 0u - accumulator[N - j];
    }
}

// Grid: x over polynomials. Block: Ring::T threads a prime. Shared memory: 2 N words.
// A word w mod 2^64 is round(w q / 2^64) mod q, below 2^60: small enough for one reduction, whose 2^-32 the key's factor makes up for.
template <int LOG_N>
__device__ __forceinline__ void transform_key(const u64* words, const uint2* constants, u32* out) {
    using R = Ring<LOG_N>;
    using Transform = typename R::Transform;
    u32* const values = reinterpret_cast<u32*>(SHARED_MEMORY);
    const u32 prime = threadIdx.x / R::T, t = threadIdx.x % R::T;
    const uint2 modulus = __ldg(&constants[prime]);
    const u64 q = static_cast<u64>(__ldg(&constants[0]).x) * __ldg(&constants[1]).x;
    const u64* polynomial = words + static_cast<u64>(blockIdx.x) * R::N;
    u32 x[R::P];
#pragma unroll
    for (u32 at = 0; at < R::P; at++) {
        const u64 word = polynomial[Transform::template position<0>(t, at)];
        x[at] = reduce(__umul64hi(word, q) + (word * q >> 63), modulus);
    }
    Transform::forward(x, values, R::down(constants, prime), t, modulus.x, prime * R::N);
    __syncthreads();
    const uint2 factor = __ldg(&constants[KEY_FACTORS + prime]);
    for (u32 leaf = t; leaf < R::N; leaf += R::T) {
        out[(static_cast<u64>(blockIdx.x) * 2 + prime) * R::N + leaf] = times(values[prime * R::N + Transform::shared(leaf)], factor, modulus.x);
    }
}

}  // namespace

#define HEMAN_BOOTSTRAP_ENTRY(NAME, LOG_N, K, MOST, THREADS, LEVELS)                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, Blocks<LOG_N, K + 1, THREADS, LEVELS>::COUNT)                                  \
        NAME(LweBootstrapParams params, const u32* input, const u32* key, const uint2* constants, const u32* turns, const u32* tables,   \
             const u32* table_of_value, const u32* row_of_value, u32 first_row, u32* out) {                                                             \
        bootstrap<LOG_N, K + 1, MOST, THREADS, LEVELS>(params, input, key, constants, turns, tables, table_of_value, row_of_value, first_row, out); \
    }                                                                                                                                    \
    HEMAN_ENTRY(NAME)

#define HEMAN_BOOTSTRAP(LOG_N, N, K, MOST, THREADS)                                          \
    HEMAN_BOOTSTRAP_ENTRY(lwe_bootstrap_exact_u32_##N##_##K, LOG_N, K, MOST, THREADS, false) \
    HEMAN_BOOTSTRAP_ENTRY(lwe_bootstrap_exact_levels_u32_##N##_##K, LOG_N, K, 1, THREADS, true)

#define HEMAN_BOOTSTRAP_KEY(LOG_N, N)                                                     \
    extern "C" __global__ void __launch_bounds__(2 * Ring<LOG_N>::T)                      \
        bootstrap_key_exact_u32_##N(const u64* words, const uint2* constants, u32* out) { \
        transform_key<LOG_N>(words, constants, out);                                      \
    }                                                                                     \
    HEMAN_ENTRY(bootstrap_key_exact_u32_##N)

// Shapes as in kernels/src/exact_shapes.rs: k, most ciphertexts, threads.
#if HEMAN_LOG2_N == 8
HEMAN_BOOTSTRAP_KEY(8, 256)
HEMAN_BOOTSTRAP(8, 256, 5, 4, 192)
HEMAN_BOOTSTRAP(8, 256, 6, 4, 256)
HEMAN_BOOTSTRAP(8, 256, 7, 3, 256)
HEMAN_BOOTSTRAP(8, 256, 8, 2, 288)
#elif HEMAN_LOG2_N == 9
HEMAN_BOOTSTRAP_KEY(9, 512)
HEMAN_BOOTSTRAP(9, 512, 3, 3, 256)
HEMAN_BOOTSTRAP(9, 512, 4, 3, 320)
HEMAN_BOOTSTRAP(9, 512, 5, 2, 384)
HEMAN_BOOTSTRAP(9, 512, 6, 2, 448)
HEMAN_BOOTSTRAP(9, 512, 7, 1, 256)
HEMAN_BOOTSTRAP(9, 512, 8, 1, 576)
#elif HEMAN_LOG2_N == 10
HEMAN_BOOTSTRAP_KEY(10, 1024)
HEMAN_BOOTSTRAP(10, 1024, 2, 2, 192)
HEMAN_BOOTSTRAP(10, 1024, 3, 2, 256)
HEMAN_BOOTSTRAP(10, 1024, 4, 1, 320)
#elif HEMAN_LOG2_N == 11
HEMAN_BOOTSTRAP_KEY(11, 2048)
HEMAN_BOOTSTRAP(11, 2048, 1, 2, 256)
HEMAN_BOOTSTRAP(11, 2048, 2, 1, 384)
#elif HEMAN_LOG2_N == 12
HEMAN_BOOTSTRAP_KEY(12, 4096)
HEMAN_BOOTSTRAP(12, 4096, 1, 1, 512)
#else
#error "HEMAN_LOG2_N is 8 to 12"
#endif
