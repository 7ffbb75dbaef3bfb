// lwe_bootstrap_u32_<N>_<k>: modulus switch, blind rotation and sample extraction, one table a value.
// lwe_bootstrap_groups_u32_<N>_<k>: the same where a step of the rotation takes g = 2 or 3 bits of the key, with a GGSW ciphertext for every
// set of them but the empty one: sum over sets of (X^e - 1) (digits x GGSW), e the sum of the set's exponents. Digits are those of the
// accumulator itself, and are multiplied by X^e - 1 at their frequency before they meet the set's key.
//
// Grid: x over groups of `ciphertexts` rows. Block: ciphertexts x (k + 1) polynomials, Ring::THREADS threads each, rounded up to
// whole warps. Dynamic shared memory: points (ciphertexts x rows of the key x M), accumulators (ciphertexts x (k + 1) x (N + padding) words),
// sums of rounding errors, exponents; kernels/src/shapes.rs counts the same bytes.
// Reads rows of n + 1 words, the key, tables; writes rows of k N + 1 words. No global atomics; the order of every sum is fixed.
// The whole rotation is one launch: accumulators stay in shared memory as 32-bit words, each key word that a thread reads
// serves all ciphertexts of its block.
//
// Compiled once for every N, HEMAN_LOG2_N from 8 to 12.
// Mirror: core/src/tfhe/cpu/bootstrap.rs, core/src/tfhe/cpu/rotation.rs
#include "blind_rotation.cuh"
#include "negacyclic_fft.cuh"
#include "parameters.cuh"

namespace {

// Of all shapes; sums of rounding errors have so many places.
constexpr u32 MOST_CIPHERTEXTS = 5;

// Words from an accumulator to the next. Threads of one warp that hold several polynomials read the same places of each: with as many words
// between them as a polynomial has threads, their accesses meet all 32 banks.
template <int LOG_N>
constexpr u32 ACCUMULATOR_STRIDE = (1u << LOG_N) + (Ring<LOG_N>::THREADS < 32 ? Ring<LOG_N>::THREADS : 0);

// 2^-32 turns, magnitude below 2^63, to a torus word. Conversions have a unit of their own beside the double-precision one.
__device__ __forceinline__ u32 to_word(double units) { return static_cast<u32>(__double2ll_rn(units)); }

// Rounded coefficients of (X^degree - 1) * polynomial that belong to thread `t`, or with GROUPED of the polynomial itself, through `cut`, as a
// transform's input; `own` gives the polynomial's own words at the thread's positions, real parts then imaginary ones.
template <int LOG_N, bool GROUPED, typename Own, typename Digit>
__device__ __forceinline__ void decompose(double2 (&x)[Ring<LOG_N>::P], const u32* polynomial, u32 degree, u32 t, u32 dropped, Own own, Digit cut) {
    using Fft = Ring<LOG_N>;
    constexpr u32 N = 1u << LOG_N;
    const u32 below_half = (1u << (dropped - 1)) - 1;
    auto word = [&](u32 place, u32 p) { return GROUPED ? own(p) : rotated<N>(polynomial, place - degree, own(p)); };
#pragma unroll
    for (u32 p = 0; p < Fft::P; p++) {
        const u32 re = Fft::template position<0>(t, p), im = re + N / 2;
        x[p].x = static_cast<double>(cut(round_word(word(re, p), dropped, below_half)));
        x[p].y = static_cast<double>(cut(round_word(word(im, p + Fft::P), dropped, below_half)));
    }
}

// What a step of GROUPED needs beside the key: exponents of the group's bits for each ciphertext of the block, and all powers of a root of
// order 2N.
struct Group {
    const u16* exponents;  // of the first ciphertext
    u32 stride;            // from a ciphertext to the next
    u32 bits;
    const double2* turns;

    __device__ __forceinline__ u32 subsets() const { return (1u << bits) - 1; }

    // X^e - 1 at point f, e for one set of the bits of ciphertext c.
    template <int LOG_N>
    __device__ __forceinline__ double2 factor(u32 c, u32 subset, u32 f) const {
        u32 degree = 0;
        for (u32 bit = 0; bit < bits; bit++) degree += subset >> bit & 1 ? exponents[c * stride + bit] : 0;
        const u32 power = 4 * (__brev(f) >> (33 - LOG_N)) + 1;
        const double2 turn = __ldg(&turns[degree * power & ((2u << LOG_N) - 1)]);
        return {turn.x - 1.0, turn.y};
    }
};

// Key words of one row at one point, all columns.
template <int LOG_N, int COLUMNS>
__device__ __forceinline__ void load_key(double2 (&key)[COLUMNS], const double2* __restrict__ row) {
    constexpr u32 M = 1u << (LOG_N - 1);
#pragma unroll
    for (u32 column = 0; column < COLUMNS; column++) key[column] = __ldg(row + column * M);
}

// Multiplies the digits of `TILE` ciphertexts at one point with the key slice; products take the place of the first digits.
// With AHEAD, `key` holds the first row at the thread's first point: it was asked for before the barrier, and the next row always
// is before the products of this one.
// ROWS is 0 where the number of rows is not known to the compiler. With GROUPED the slice holds one GGSW ciphertext after the other (and rows
// are not unrolled: registers would not do).
template <int LOG_N, int COLUMNS, int TILE, bool AHEAD, u32 ROWS, bool GROUPED>
__device__ __forceinline__ void multiply(double2* points, const double2* __restrict__ slice, u32 rows, double2 (&key)[COLUMNS], const Group& group) {
    constexpr u32 M = 1u << (LOG_N - 1);
    if constexpr (ROWS != 0) rows = ROWS;
    const u32 stride = rows * M;
    for (u32 f = threadIdx.x; f < M; f += blockDim.x) {
        const double2* next_key = slice + f;
        double2* const first = points + Ring<LOG_N>::swizzle(f);
        double2 sum[TILE][COLUMNS] = {};
        if (AHEAD && f != threadIdx.x) load_key<LOG_N>(key, next_key);
        const u32 subsets = GROUPED ? group.subsets() : 1;
#pragma unroll 1
        for (u32 subset = 1; subset <= subsets; subset++) {
            const double2* digits = first;
            double2 factor[TILE];
            if constexpr (GROUPED) {
#pragma unroll
                for (u32 c = 0; c < TILE; c++) factor[c] = group.factor<LOG_N>(c, subset, f);
            }
#pragma unroll ROWS && !GROUPED ? ROWS : 1
            for (u32 row = 0; row < rows; row++) {
                double2 next[COLUMNS];
                if (!AHEAD) load_key<LOG_N>(key, next_key);
                next_key += COLUMNS * M;
                if (AHEAD && (row + 1 < rows || (GROUPED && subset < subsets))) load_key<LOG_N>(next, next_key);
                double2 digit[TILE];
#pragma unroll
                for (u32 c = 0; c < TILE; c++) {
                    digit[c] = digits[c * stride];
                    if constexpr (GROUPED) {
                        const double2 d = digit[c];
                        digit[c] = {fma(-d.y, factor[c].y, d.x * factor[c].x), fma(d.y, factor[c].x, d.x * factor[c].y)};
                    }
                }
                digits += M;
#pragma unroll
                for (u32 column = 0; column < COLUMNS; column++) {
#pragma unroll
                    for (u32 c = 0; c < TILE; c++) {
                        double2& s = sum[c][column];
                        s.x = fma(-digit[c].y, key[column].y, fma(digit[c].x, key[column].x, s.x));
                        s.y = fma(digit[c].y, key[column].x, fma(digit[c].x, key[column].y, s.y));
                    }
                    if (AHEAD) key[column] = next[column];
                }
            }
        }
#pragma unroll
        for (u32 c = 0; c < TILE; c++) {
#pragma unroll
            for (u32 column = 0; column < COLUMNS; column++) first[c * stride + column * M] = sum[c][column];
        }
    }
}

// At most MOST ciphertexts a block. Points and sums stay in registers: up to 256 threads with 32 points each, up to 384 with 16.
template <int LOG_N, int COLUMNS, u32 MOST>
struct Block {
    static constexpr u32 THREADS = (COLUMNS * Ring<LOG_N>::THREADS * MOST + 31) / 32 * 32;
    static_assert(THREADS <= (LOG_N <= 9 ? 384 : 256) && MOST <= MOST_CIPHERTEXTS, "kernels/src/shapes.rs");
    // Whether the sums, the digits, with GROUPED their factors, and two rows of the key fit a thread's registers.
    static constexpr u32 REGISTERS = THREADS <= 256 ? 231 : 168;
    // (With groups at N = 1024, k = 3 the compiler would spill for it.)
    template <bool GROUPED>
    static constexpr bool AHEAD = COLUMNS * (4 * MOST + 8) + (GROUPED ? 10 : 4) * MOST + 24 <= REGISTERS &&
                                  !(GROUPED && LOG_N == 10 && COLUMNS == 4);
};

// Products of all ciphertexts of a block, TILE or fewer.
template <int LOG_N, int COLUMNS, u32 TILE, bool AHEAD, u32 ROWS, bool GROUPED>
__device__ __forceinline__ void multiply_block(u32 ciphertexts, double2* points, const double2* slice, u32 rows, double2 (&key)[COLUMNS],
                                               const Group& group) {
    if constexpr (TILE > 1) {
        if (ciphertexts < TILE) {
            multiply_block<LOG_N, COLUMNS, TILE - 1, AHEAD, ROWS, GROUPED>(ciphertexts, points, slice, rows, key, group);
            return;
        }
    }
    multiply<LOG_N, COLUMNS, TILE, AHEAD, ROWS, GROUPED>(points, slice, rows, key, group);
}

template <int LOG_N, int COLUMNS, u32 MOST, bool GROUPED>
__device__ __forceinline__ void bootstrap(LweBootstrapParams params, const u32* input, const double2* key, const double2* roots,
                                          const double2* turns, const u32* tables, const u32* table_of_value, const u32* row_of_value, u32* out) {
    using Fft = Ring<LOG_N>;
    constexpr u32 N = 1u << LOG_N, M = N / 2, P = Fft::P, T = Fft::THREADS;
    constexpr bool AHEAD = Block<LOG_N, COLUMNS, MOST>::template AHEAD<GROUPED>;
    const u32 n = params.lwe_dimension, rows = COLUMNS * params.level, ciphertexts = params.ciphertexts;
    const u32 exponent_words = (n + 2) & ~1u;

    double2* all_points = reinterpret_cast<double2*>(SHARED_MEMORY);
    u64* errors = reinterpret_cast<u64*>(all_points + ciphertexts * rows * M);
    u32* accumulators = reinterpret_cast<u32*>(errors + MOST_CIPHERTEXTS);
    u16* all_exponents = reinterpret_cast<u16*>(accumulators + ciphertexts * COLUMNS * ACCUMULATOR_STRIDE<LOG_N>);

    // The last block repeats the last row where there are fewer rows than places, and writes it once.
    const u32 first = blockIdx.x * ciphertexts;
    if (threadIdx.x < MOST_CIPHERTEXTS) errors[threadIdx.x] = 0;
    __syncthreads();
    for (u32 c = 0; c < ciphertexts; c++) {
        const u32 row = min(first + c, params.rows - 1);
        u16* exponents = all_exponents + c * exponent_words;
        auto keep = [&](u32 i, u32 exponent) { exponents[i] = static_cast<u16>(exponent); };
        switch_modulus<N>(input + static_cast<u64>(row) * (n + 1), n, errors + c, keep);
    }
    __syncthreads();

    // Threads that round the block up to whole warps go the last polynomial's way, and change nothing.
    const u32 polynomial = min(threadIdx.x / T, ciphertexts * COLUMNS - 1);
    const bool active = threadIdx.x / T == polynomial;
    const u32 t = threadIdx.x % T, c = polynomial / COLUMNS, column = polynomial % COLUMNS;
    double2* points = all_points + c * rows * M;
    u32* accumulator = accumulators + polynomial * ACCUMULATOR_STRIDE<LOG_N>;
    const u16* exponents = all_exponents + c * exponent_words;
    if (active) {
        const u32 value = min(first + c, params.rows - 1) / params.inputs;
        const u32* table = tables + static_cast<u64>(table_of_value[value]) * N;
        const u32 degree = 2 * N - exponents[n];
        for (u32 j = t; j < N; j += T) accumulator[j] = column + 1 == COLUMNS ? rotated<N>(table, j - degree, 0) : 0;
    }
    Fft::barrier();

    const u32 dropped = 32 - params.base_log * params.level;
    // Position of own word `p`: real parts then imaginary ones.
    auto place = [&](u32 p) { return Fft::template position<0>(t, p % P) + p / P * M; };
    // Kept from one key bit's end to the next one's start only: products and transforms need the registers.
    u32 own[2 * P];
#pragma unroll
    for (u32 p = 0; p < 2 * P; p++) own[p] = accumulator[place(p)];
    const u32 bits = GROUPED ? params.grouping : 1;
    for (u32 i = 0; i < n; i += bits) {
        const u32 degree = exponents[i];
        double2 x[P];
        if (params.level == 1) {
            decompose<LOG_N, GROUPED>(x, accumulator, degree, t, dropped, [&](u32 p) { return own[p]; }, [](i32 rounded) { return rounded; });
            Fft::forward(x, points + column * M, roots, t, active);
        } else {
#pragma unroll 1
            for (u32 level = 0; level < params.level; level++) {
                const Cut cut(params, level);
                decompose<LOG_N, GROUPED>(x, accumulator, degree, t, dropped, [&](u32 p) { return accumulator[place(p)]; },
                                 [&](i32 rounded) { return cut.digit(rounded); });
                Fft::forward(x, points + (level * COLUMNS + column) * M, roots, t, active);
            }
        }

        const Group group = {all_exponents + i, exponent_words, bits, turns};
        const u32 first_ggsw = GROUPED ? i / bits * group.subsets() : i;
        const double2* slice = key + static_cast<u64>(first_ggsw) * rows * COLUMNS * M;
        double2 first_key[COLUMNS];
        if (AHEAD && threadIdx.x < M) load_key<LOG_N>(first_key, slice + threadIdx.x);
        __syncthreads();
        if (params.level == 1) {
            multiply_block<LOG_N, COLUMNS, MOST, AHEAD, COLUMNS, GROUPED>(ciphertexts, all_points, slice, rows, first_key, group);
        } else {
            multiply_block<LOG_N, COLUMNS, MOST, AHEAD, 0, GROUPED>(ciphertexts, all_points, slice, rows, first_key, group);
        }
        __syncthreads();

        Fft::inverse(x, points + column * M, roots, t, active);
        if (active) {
#pragma unroll
            for (u32 p = 0; p < 2 * P; p++) {
                own[p] = accumulator[place(p)] + to_word(p < P ? x[p % P].x : x[p % P].y);
                accumulator[place(p)] = own[p];
            }
        } else {
#pragma unroll
            for (u32 p = 0; p < 2 * P; p++) own[p] = 0;
        }
        Fft::barrier();
    }

    if (active && first + c < params.rows) {
        const u32 row = first + c;
        const u64 place = static_cast<u64>(row_of_value[row / params.inputs]) * params.inputs + row % params.inputs;
        u32* target = out + place * ((COLUMNS - 1) * N + 1) + column * N;
        if (column + 1 == COLUMNS) {
            if (t == 0) target[0] = accumulator[0];
        } else {
            for (u32 j = t; j < N; j += T) target[j] = j == 0 ? accumulator[0] : 0u - accumulator[N - j];
        }
    }
}

}  // namespace

#define HEMAN_BOOTSTRAP_ENTRY(NAME, LOG_N, K, MOST, GROUPED)                                                              \
    extern "C" __global__ void __launch_bounds__(Block<LOG_N, K + 1, MOST>::THREADS, 1)                                   \
        NAME(LweBootstrapParams params, const u32* input, const double2* key, const double2* roots, const double2* turns, \
             const u32* tables, const u32* table_of_value, const u32* row_of_value, u32* out) {                           \
        bootstrap<LOG_N, K + 1, MOST, GROUPED>(params, input, key, roots, turns, tables, table_of_value, row_of_value, out); \
    }                                                                                                                     \
    HEMAN_ENTRY(NAME)

#define HEMAN_BOOTSTRAP(LOG_N, N, K, MOST)                                    \
    HEMAN_BOOTSTRAP_ENTRY(lwe_bootstrap_u32_##N##_##K, LOG_N, K, MOST, false) \
    HEMAN_BOOTSTRAP_ENTRY(lwe_bootstrap_groups_u32_##N##_##K, LOG_N, K, MOST, true)

// The shapes that the planner can emit, k N from 1280 to 4096, k up to 8, and the most ciphertexts a block of each.
#if HEMAN_LOG2_N == 8
HEMAN_BOOTSTRAP(8, 256, 5, 5)
HEMAN_BOOTSTRAP(8, 256, 6, 4)
HEMAN_BOOTSTRAP(8, 256, 7, 4)
HEMAN_BOOTSTRAP(8, 256, 8, 2)
#elif HEMAN_LOG2_N == 9
HEMAN_BOOTSTRAP(9, 512, 3, 4)
HEMAN_BOOTSTRAP(9, 512, 4, 4)
HEMAN_BOOTSTRAP(9, 512, 5, 4)
HEMAN_BOOTSTRAP(9, 512, 6, 2)
HEMAN_BOOTSTRAP(9, 512, 7, 3)
HEMAN_BOOTSTRAP(9, 512, 8, 2)
#elif HEMAN_LOG2_N == 10
HEMAN_BOOTSTRAP(10, 1024, 2, 5)
HEMAN_BOOTSTRAP(10, 1024, 3, 4)
HEMAN_BOOTSTRAP(10, 1024, 4, 3)
#elif HEMAN_LOG2_N == 11
HEMAN_BOOTSTRAP(11, 2048, 1, 4)
HEMAN_BOOTSTRAP(11, 2048, 2, 2)
#elif HEMAN_LOG2_N == 12
HEMAN_BOOTSTRAP(12, 4096, 1, 2)
#else
#error "HEMAN_LOG2_N is 8 to 12"
#endif
