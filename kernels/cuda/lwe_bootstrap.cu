// lwe_bootstrap_u32_<N>_<k>: modulus switch, blind rotation and sample extraction, one table a value; digits have one level.
// lwe_bootstrap_levels_u32_<N>_<k>: the same for digits of several levels.
// lwe_bootstrap_groups_u32_<N>_<k>: the same where a step of the rotation takes g = 2 or 3 bits of the key, with a GGSW ciphertext for every
// set of them but the empty one: sum over sets of (X^e - 1) (digits x GGSW), e the sum of the set's exponents. Digits are those of the
// accumulator itself, and are multiplied by X^e - 1 at their frequency before they meet the set's key. `lwe_bootstrap_groups_levels` is both.
//
// Grid: x over groups of `ciphertexts` rows from `first_row` on, up to all rows of the batch. Block: ciphertexts x (k + 1) polynomials, Ring::THREADS threads each, rounded up to
// whole warps; or, where they are 32 or fewer, so many for every level: levels are then transformed side by side. Dynamic shared memory: points (ciphertexts x rows of the key x M), accumulators (ciphertexts x (k + 1) x (N + padding) words),
// with groups roots for the exponents of their sets, sums of rounding errors, exponents of the sets of a group, exponents; kernels/src/shapes.rs counts
// the same bytes.
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
// Sets of the bits of a group, the empty one among them, at the most.
constexpr u32 SETS = 8;

// Whether transforms have few points a thread, and all else fits 128 registers: two blocks of a multiprocessor then work while the other waits.
// Of larger rings the change of hands would cost more than that gains, but for N = 1024 with several levels, where one block is one ciphertext.
template <int LOG_N, bool LEVELS>
constexpr bool LEAN = LOG_N <= 9 || (LOG_N == 10 && LEVELS);

// Words from an accumulator to the next. Threads of one warp that hold several polynomials read the same places of each: with as many words
// between them as a polynomial has threads, their accesses meet all 32 banks.
template <int LOG_N, typename Fft>
constexpr u32 ACCUMULATOR_STRIDE = (1u << LOG_N) + (Fft::THREADS < 32 ? Fft::THREADS : 0);

// 2^-32 turns, magnitude below 2^63, to a torus word. Conversions have a unit of their own beside the double-precision one.
__device__ __forceinline__ u32 to_word(double units) { return static_cast<u32>(__double2ll_rn(units)); }

// Rounded coefficients of (X^degree - 1) * polynomial that belong to thread `t`, or with GROUPED of the polynomial itself, through `cut`, as a
// transform's input; `own` gives the polynomial's own words at the thread's positions, real parts then imaginary ones.
template <int LOG_N, typename Fft, bool GROUPED, typename Own, typename Digit>
__device__ __forceinline__ void decompose(double2 (&x)[Fft::P], const u32* polynomial, u32 degree, u32 t, u32 dropped, Own own, Digit cut) {
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

// What a step of GROUPED needs beside the key: X^e at every point, e the sum of the exponents of a set of the group's bits, for each set and each
// ciphertext of the block. X^e is a root of order 2N to the power e (4 rev(f) + 1) at point f, rev the order of log2 M bits: that of f's lowest five bits
// times that of the others. Roots for 32 and for M / 32 numbers are copied to shared memory at the step's start, 40 to 64 in place of M that lie scattered.
// (With N = 4096 and three levels there is no room for them; every point then asks for its own.)
template <int LOG_N>
constexpr bool HAS_GROUP_ROOTS = LOG_N < 12;
template <int LOG_N>
constexpr u32 GROUP_ROOTS = 32 + (1u << (LOG_N - 6));

struct Group {
    double2* roots;  // GROUP_ROOTS a ciphertext and set but the empty one
    u16* degrees;    // where roots have no room: SETS a ciphertext, that of the empty one among them
    u32 subsets;
    const double2* turns;

    // e (4 rev(f) + 1), `one` in the place of the 1.
    template <int LOG_N>
    static __device__ __forceinline__ u32 power(u32 degree, u32 f, u32 one) {
        return degree * (4 * (__brev(f) >> (33 - LOG_N)) + one) & ((2u << LOG_N) - 1);
    }

    static __device__ __forceinline__ u32 degree(const u16* exponents, u32 subset, u32 bits) {
        u32 sum = 0;
        for (u32 bit = 0; bit < bits; bit++) sum += subset >> bit & 1 ? exponents[bit] : 0;
        return sum;
    }

    // By all threads, `stride` from a ciphertext's exponents to the next one's. What is copied is there behind `wait_for_copies` and a barrier.
    template <int LOG_N>
    __device__ __forceinline__ void begin(const u16* exponents, u32 stride, u32 ciphertexts, u32 bits) const {
        if constexpr (HAS_GROUP_ROOTS<LOG_N>) {
            constexpr u32 EACH = GROUP_ROOTS<LOG_N>;
#pragma unroll 1
            for (u32 at = threadIdx.x; at < ciphertexts * subsets * EACH; at += blockDim.x) {
                // The compiler divides by what it knows.
                const u32 set = at / EACH, number = at - set * EACH, c = subsets == 3 ? set / 3 : set / 7;
                const u32 e = degree(exponents + c * stride, set - c * subsets + 1, bits);
                const bool is_low = number < 32;
                copy_to_shared(roots + at, turns + power<LOG_N>(e, is_low ? number : (number - 32) * 32, is_low));
            }
        } else {
            const u32 c = threadIdx.x / SETS, subset = threadIdx.x % SETS;
            if (c < ciphertexts) degrees[threadIdx.x] = static_cast<u16>(degree(exponents + c * stride, subset, bits));
        }
    }

    // X^e - 1 at point f, e for one set of the bits of ciphertext c.
    template <int LOG_N>
    __device__ __forceinline__ double2 factor(u32 c, u32 subset, u32 f) const {
        if constexpr (HAS_GROUP_ROOTS<LOG_N>) {
            const double2* const own = roots + (c * subsets + subset - 1) * GROUP_ROOTS<LOG_N>;
            const double2 low = own[f % 32], high = own[32 + f / 32];
            return {fma(-low.y, high.y, fma(low.x, high.x, -1.0)), fma(low.y, high.x, low.x * high.y)};
        } else {
            const double2 turn = __ldg(&turns[power<LOG_N>(degrees[c * SETS + subset], f, 1)]);
            return {turn.x - 1.0, turn.y};
        }
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
// With GROUPED the slice holds one GGSW ciphertext after the other.
template <int LOG_N, int COLUMNS, int TILE, bool AHEAD, bool LEVELS, bool GROUPED>
__device__ __forceinline__ void multiply(double2* points, const double2* __restrict__ slice, u32 levels, double2 (&key)[COLUMNS], const Group& group) {
    constexpr u32 M = 1u << (LOG_N - 1);
    if constexpr (!LEVELS) levels = 1;
    const u32 stride = levels * COLUMNS * M;
    // With groups, and for many columns, registers would not do.
    constexpr int UNROLL = GROUPED || COLUMNS > 5 ? 1 : COLUMNS;
    for (u32 f = threadIdx.x; f < M; f += blockDim.x) {
        const double2* next_key = slice + f;
        double2* const first = points + Ring<LOG_N, LEAN<LOG_N, LEVELS>>::swizzle(f);
        double2 sum[TILE][COLUMNS] = {};
        if (AHEAD && f != threadIdx.x) load_key<LOG_N>(key, next_key);
        const u32 subsets = GROUPED ? group.subsets : 1;
#pragma unroll 1
        for (u32 subset = 1; subset <= subsets; subset++) {
            const double2* digits = first;
            double2 factor[TILE];
            if constexpr (GROUPED) {
#pragma unroll
                for (u32 c = 0; c < TILE; c++) factor[c] = group.factor<LOG_N>(c, subset, f);
            }
#pragma unroll 1
            for (u32 level = 0; level < levels; level++) {
#pragma unroll UNROLL
                for (u32 row = 0; row < COLUMNS; row++) {
                    double2 next[COLUMNS];
                    if (!AHEAD) load_key<LOG_N>(key, next_key);
                    next_key += COLUMNS * M;
                    const bool is_last = row + 1 == COLUMNS && level + 1 == levels && subset == subsets;
                    if (AHEAD && !is_last) load_key<LOG_N>(next, next_key);
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
        }
#pragma unroll
        for (u32 c = 0; c < TILE; c++) {
#pragma unroll
            for (u32 column = 0; column < COLUMNS; column++) first[c * stride + column * M] = sum[c][column];
        }
    }
}

// Most ciphertexts a block of lean kernels that have one block with a multiprocessor's registers after all, 0 for the others: they read much of
// the key for one step, three words of a group or more where others read one, and the more ciphertexts share them the better.
constexpr u32 wide(int log_n, int columns, bool has_levels, bool is_grouped) {
    if (log_n == 9 && has_levels && columns >= 8) return 2;
    if (!is_grouped) return 0;
    if (log_n == 8) return columns == 6 && has_levels ? 5 : columns == 7 || columns == 8 ? 4 : 0;
    if (log_n != 9) return 0;
    return has_levels && columns <= 5 ? 4 : !has_levels && columns == 8 ? 3 : 0;
}

// How the kernel of a shape is compiled: for at most MOST ciphertexts a block; LEVELS where digits have several levels.
template <int LOG_N, int COLUMNS, u32 MOST_OF_RING, bool LEVELS, bool GROUPED>
struct Block {
    using Fft = Ring<LOG_N, LEAN<LOG_N, LEVELS>>;
    static constexpr u32 WIDE = wide(LOG_N, COLUMNS, LEVELS, GROUPED);
    static constexpr bool IS_LEAN = LEAN<LOG_N, LEVELS> && WIDE == 0;
    static constexpr u32 MOST = WIDE ? WIDE : MOST_OF_RING;
    // (At N = 512, k = 5 four ciphertexts of one block, with 168 registers, beat twice two.)
    static constexpr u32 THREADS = WIDE ? (COLUMNS * Fft::THREADS * WIDE + 31) / 32 * 32 : LOG_N == 9 && COLUMNS == 6 ? 384 : IS_LEAN ? 512 : 256;
    static_assert(COLUMNS * Fft::THREADS * MOST <= THREADS && MOST <= MOST_CIPHERTEXTS, "kernels/src/shapes.rs");
    // Whether the sums, the digits, with GROUPED their factors, and two rows of the key fit a thread's registers.
    // (With groups at N = 1024, k = 3 the compiler would spill for it.)
    static constexpr bool AHEAD = !IS_LEAN && COLUMNS * (4 * MOST + 8) + (GROUPED ? 10 : 4) * MOST + 24 <= 231 &&
                                  !(GROUPED && LOG_N == 10 && COLUMNS == 4) && THREADS <= 256;
    // Whether a thread keeps its words of the accumulator from one step's end to the next one's start.
    static constexpr bool OWN = !IS_LEAN && !LEVELS;
};

// Products of all ciphertexts of a block, TILE or fewer.
template <int LOG_N, int COLUMNS, u32 TILE, bool AHEAD, bool LEVELS, bool GROUPED>
__device__ __forceinline__ void multiply_block(u32 ciphertexts, double2* points, const double2* slice, u32 levels, double2 (&key)[COLUMNS],
                                               const Group& group) {
    if constexpr (TILE > 1) {
        if (ciphertexts < TILE) {
            multiply_block<LOG_N, COLUMNS, TILE - 1, AHEAD, LEVELS, GROUPED>(ciphertexts, points, slice, levels, key, group);
            return;
        }
    }
    multiply<LOG_N, COLUMNS, TILE, AHEAD, LEVELS, GROUPED>(points, slice, levels, key, group);
}

template <int LOG_N, int COLUMNS, u32 MOST, bool LEVELS, bool GROUPED>
__device__ __forceinline__ void bootstrap(LweBootstrapParams params, const u32* input, const double2* key, const double2* roots,
                                          const double2* turns, const u32* tables, const u32* table_of_value, const u32* row_of_value, u32 first_row,
                                          u32* out) {
    using Shape = Block<LOG_N, COLUMNS, MOST, LEVELS, GROUPED>;
    using Fft = typename Shape::Fft;
    constexpr u32 N = 1u << LOG_N, M = N / 2, P = Fft::P, T = Fft::THREADS;
    const u32 n = params.lwe_dimension, levels = LEVELS ? params.level : 1, rows = COLUMNS * levels, ciphertexts = params.ciphertexts;
    const u32 exponent_words = (n + 2) & ~1u;

    double2* all_points = reinterpret_cast<double2*>(SHARED_MEMORY);
    constexpr bool HAS_ROOTS = GROUPED && HAS_GROUP_ROOTS<LOG_N>;
    const u32 bits = GROUPED ? params.grouping : 1, subsets = (1u << bits) - 1;
    double2* group_roots = all_points + ciphertexts * rows * M;
    u64* errors = reinterpret_cast<u64*>(group_roots + (HAS_ROOTS ? ciphertexts * subsets * GROUP_ROOTS<LOG_N> : 0));
    u16* degrees = reinterpret_cast<u16*>(errors + MOST_CIPHERTEXTS);
    u32* accumulators = reinterpret_cast<u32*>(degrees + SETS * MOST_CIPHERTEXTS);
    u16* all_exponents = reinterpret_cast<u16*>(accumulators + ciphertexts * COLUMNS * ACCUMULATOR_STRIDE<LOG_N, Fft>);

    // The last block repeats the last row where there are fewer rows than places, and writes it once.
    const u32 first = first_row + blockIdx.x * ciphertexts;
    if (threadIdx.x < MOST_CIPHERTEXTS) errors[threadIdx.x] = 0;
    __syncthreads();
    for (u32 c = 0; c < ciphertexts; c++) {
        const u32 row = min(first + c, params.rows - 1);
        u16* exponents = all_exponents + c * exponent_words;
        auto keep = [&](u32 i, u32 exponent) { exponents[i] = static_cast<u16>(exponent); };
        switch_modulus<N>(input + static_cast<u64>(row) * (n + 1), n, errors + c, keep);
    }
    __syncthreads();

    // Threads take the polynomials of all ciphertexts, where there are enough of them once for every level. Those that round the block up to whole warps go
    // the last polynomial's way, and change nothing.
    const u32 polynomials = ciphertexts * COLUMNS;
    const u32 ways = LEVELS && T <= 32 && blockDim.x >= polynomials * levels * T ? levels : 1;
    const u32 place_of_thread = min(threadIdx.x / T, polynomials * ways - 1);
    const bool active = threadIdx.x / T == place_of_thread;
    const u32 way = place_of_thread / polynomials, polynomial = place_of_thread - way * polynomials;
    const u32 t = threadIdx.x % T, c = polynomial / COLUMNS, column = polynomial % COLUMNS;
    const bool is_first = active && way == 0;
    double2* points = all_points + c * rows * M;
    u32* accumulator = accumulators + polynomial * ACCUMULATOR_STRIDE<LOG_N, Fft>;
    const u16* exponents = all_exponents + c * exponent_words;
    if (is_first) {
        const u32 value = min(first + c, params.rows - 1) / params.inputs;
        const u32* table = tables + static_cast<u64>(table_of_value[value]) * N;
        const u32 degree = 2 * N - exponents[n];
        for (u32 j = t; j < N; j += T) accumulator[j] = column + 1 == COLUMNS ? rotated<N>(table, j - degree, 0) : 0;
    }
    // Accumulators change hands between levels only.
    auto hand_over = [] {
        if constexpr (LEVELS) {
            __syncthreads();
        } else {
            Fft::barrier();
        }
    };
    hand_over();

    const u32 dropped = 32 - params.base_log * levels;
    // Position of own word `p`: real parts then imaginary ones.
    auto place = [&](u32 p) { return Fft::template position<0>(t, p % P) + p / P * M; };
    u32 own[Shape::OWN ? 2 * P : 1] = {};
    if constexpr (Shape::OWN) {
#pragma unroll
        for (u32 p = 0; p < 2 * P; p++) own[p] = accumulator[place(p)];
    }
    auto own_word = [&](u32 p) { return Shape::OWN ? own[Shape::OWN ? p : 0] : accumulator[place(p)]; };
    const Group group = {group_roots, degrees, subsets, turns};
    const double2* slice = key;
    for (u32 i = 0; i < n; i += bits) {
        const u32 degree = exponents[i];
        double2 x[P];
        if constexpr (GROUPED) group.begin<LOG_N>(all_exponents + i, exponent_words, ciphertexts, bits);
        if constexpr (LEVELS) {
#pragma unroll 1
            for (u32 level = way; level < levels; level += ways) {
                const Cut cut(params, level);
                decompose<LOG_N, Fft, GROUPED>(x, accumulator, degree, t, dropped, own_word, [&](i32 rounded) { return cut.digit(rounded); });
                Fft::forward(x, points + (level * COLUMNS + column) * M, roots, t, active);
            }
        } else {
            decompose<LOG_N, Fft, GROUPED>(x, accumulator, degree, t, dropped, own_word, [](i32 rounded) { return rounded; });
            Fft::forward(x, points + column * M, roots, t, active);
        }

        double2 first_key[COLUMNS];
        if (Shape::AHEAD && threadIdx.x < M) load_key<LOG_N>(first_key, slice + threadIdx.x);
        if constexpr (GROUPED) wait_for_copies();
        __syncthreads();
        multiply_block<LOG_N, COLUMNS, Shape::MOST, Shape::AHEAD, LEVELS, GROUPED>(ciphertexts, all_points, slice, levels, first_key, group);
        slice += group.subsets * rows * COLUMNS * M;
        __syncthreads();

        // Zero, which the compiler does not know: roots and places of the forward transform would else be kept, and registers spilled for them.
        const u32 nothing = i >> 31;
        // (Whole warps of further levels have nothing to do.)
        if (T > 32 || !LEVELS || threadIdx.x / 32 * 32 < polynomials * T) {
            Fft::inverse(x, points + column * M, roots + nothing, t + nothing, is_first);
            if (is_first) {
#pragma unroll
                for (u32 p = 0; p < 2 * P; p++) {
                    const u32 sum = accumulator[place(p)] + to_word(p < P ? x[p % P].x : x[p % P].y);
                    accumulator[place(p)] = sum;
                    if constexpr (Shape::OWN) own[p] = sum;
                }
            } else if constexpr (Shape::OWN) {
#pragma unroll
                for (u32 p = 0; p < 2 * P; p++) own[p] = 0;
            }
        }
        hand_over();
    }

    if (is_first && first + c < params.rows) {
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

#define HEMAN_BOOTSTRAP_ENTRY(NAME, LOG_N, K, MOST, LEVELS, GROUPED)                                                              \
    extern "C" __global__ void __launch_bounds__(Block<LOG_N, K + 1, MOST, LEVELS, GROUPED>::THREADS, 1)                          \
        NAME(LweBootstrapParams params, const u32* input, const double2* key, const double2* roots, const double2* turns,         \
             const u32* tables, const u32* table_of_value, const u32* row_of_value, u32 first_row, u32* out) {                    \
        bootstrap<LOG_N, K + 1, MOST, LEVELS, GROUPED>(params, input, key, roots, turns, tables, table_of_value, row_of_value, \
                                                       first_row, out);                                                           \
    }                                                                                                                             \
    HEMAN_ENTRY(NAME)

#define HEMAN_BOOTSTRAP(LOG_N, N, K, MOST, MOST_OF_LEVELS)                                                    \
    HEMAN_BOOTSTRAP_ENTRY(lwe_bootstrap_u32_##N##_##K, LOG_N, K, MOST, false, false)                          \
    HEMAN_BOOTSTRAP_ENTRY(lwe_bootstrap_levels_u32_##N##_##K, LOG_N, K, MOST_OF_LEVELS, true, false)          \
    HEMAN_BOOTSTRAP_ENTRY(lwe_bootstrap_groups_u32_##N##_##K, LOG_N, K, MOST, false, true)                    \
    HEMAN_BOOTSTRAP_ENTRY(lwe_bootstrap_groups_levels_u32_##N##_##K, LOG_N, K, MOST_OF_LEVELS, true, true)

// The shapes that the planner can emit, k N from 1280 to 4096, k up to 8, and the most ciphertexts a block of each, with one level and several.
#if HEMAN_LOG2_N == 8
HEMAN_BOOTSTRAP(8, 256, 5, 3, 3)
HEMAN_BOOTSTRAP(8, 256, 6, 3, 2)
HEMAN_BOOTSTRAP(8, 256, 7, 2, 2)
HEMAN_BOOTSTRAP(8, 256, 8, 2, 2)
#elif HEMAN_LOG2_N == 9
HEMAN_BOOTSTRAP(9, 512, 3, 4, 3)
HEMAN_BOOTSTRAP(9, 512, 4, 3, 2)
HEMAN_BOOTSTRAP(9, 512, 5, 4, 2)
HEMAN_BOOTSTRAP(9, 512, 6, 2, 2)
HEMAN_BOOTSTRAP(9, 512, 7, 2, 1)
HEMAN_BOOTSTRAP(9, 512, 8, 2, 1)
#elif HEMAN_LOG2_N == 10
HEMAN_BOOTSTRAP(10, 1024, 2, 5, 3)
HEMAN_BOOTSTRAP(10, 1024, 3, 4, 2)
HEMAN_BOOTSTRAP(10, 1024, 4, 3, 2)
#elif HEMAN_LOG2_N == 11
HEMAN_BOOTSTRAP(11, 2048, 1, 4, 2)
HEMAN_BOOTSTRAP(11, 2048, 2, 2, 1)
#elif HEMAN_LOG2_N == 12
HEMAN_BOOTSTRAP(12, 4096, 1, 2, 1)
#else
#error "HEMAN_LOG2_N is 8 to 12"
#endif
