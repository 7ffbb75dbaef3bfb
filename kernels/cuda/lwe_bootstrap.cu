// lwe_bootstrap_u32_<N>_<k>: modulus switch, blind rotation and sample extraction, one table a value.
//
// Grid: x over groups of `ciphertexts` rows. Block: ciphertexts x (k + 1) polynomials, Ring::THREADS threads each, rounded up to
// whole warps. Dynamic shared memory: points (ciphertexts x rows of the key x M), accumulators (ciphertexts x (k + 1) x N words),
// sums of rounding errors, exponents; `shared_bytes` below is mirrored by cuda/src/bootstrap.rs.
// Reads rows of n + 1 words, the key, tables; writes rows of k N + 1 words. No global atomics; the order of every sum is fixed.
// The whole rotation is one launch: accumulators stay in shared memory as 32-bit words, each key word that a thread reads
// serves all ciphertexts of its block.
//
// Compiled once for every N, HEMAN_LOG2_N from 8 to 12.
// Mirror: core/src/cpu/bootstrap.rs, core/src/cpu/rotation.rs
#include "negacyclic_fft.cuh"
#include "parameters.cuh"

namespace {

constexpr double ROUND_TO_INTEGER = 6755399441055744.0;  // 1.5 * 2^52
constexpr double TURN = 4294967296.0;

// Exact, without the slow conversion unit: 2^52 + 2^31 + x has x in its low word.
__device__ __forceinline__ double to_double(i32 x) {
    return __hiloint2double(0x43300000, static_cast<i32>(static_cast<u32>(x) ^ 0x80000000u)) - 4503601774854144.0;
}

// Turns, magnitude below 2^51, to a torus word.
__device__ __forceinline__ u32 to_word(double turns) {
    const double fraction = turns - ((turns + ROUND_TO_INTEGER) - ROUND_TO_INTEGER);
    return static_cast<u32>(__double2loint(fma(fraction, TURN, ROUND_TO_INTEGER)));
}

// Coefficient `j` of X^degree * polynomial, degree below 2N.
template <int N>
__device__ __forceinline__ u32 rotated(const u32* polynomial, u32 degree, u32 j) {
    const u32 from = j - degree;
    const u32 word = polynomial[from & (N - 1)];
    return from & N ? 0u - word : word;
}

// The `kept` highest bits as a signed integer, halves to even.
__device__ __forceinline__ i32 round_word(u32 word, u32 kept) {
    const u32 dropped = 32 - kept;
    const u32 odd = (word >> dropped) & 1;
    return static_cast<i32>(word + (1u << (dropped - 1)) - 1 + odd) >> dropped;
}

// Digit `level`, lowest first, of coefficient `j` of (X^degree - 1) * polynomial; all but the highest lie in [-B/2, B/2).
template <int N>
__device__ __forceinline__ i32 digit(const u32* polynomial, u32 degree, u32 j, u32 level, const LweBootstrapParams& params) {
    i32 state = round_word(rotated<N>(polynomial, degree, j) - polynomial[j], params.base_log * params.level);
    const u32 half = 1u << (params.base_log - 1);
    for (u32 at = 0; at < level; at++) state = static_cast<i32>(static_cast<u32>(state) + half) >> params.base_log;
    if (level + 1 == params.level) return state;
    const i32 rest = static_cast<i32>(static_cast<u32>(state) + half) >> params.base_log;
    return static_cast<i32>(static_cast<u32>(state) - (static_cast<u32>(rest) << params.base_log));
}

// Exponents of the centred modulus switch for one row: half the sum of the mask's rounding errors goes into the body.
template <int N>
__device__ __forceinline__ void switch_modulus(const u32* row, u32 n, u16* exponents, u64* error) {
    const u32 drop = 32 - __ffs(2 * N) + 1;
    const u32 half = 1u << (drop - 1);
    i64 sum = 0;
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        const u32 rounded = (row[i] + half) >> drop;
        exponents[i] = static_cast<u16>(rounded);
        sum += static_cast<i32>(row[i] - (rounded << drop));
    }
    atomicAdd(error, static_cast<u64>(sum));
    __syncthreads();
    if (threadIdx.x == 0) {
        const u32 corrected = row[n] - static_cast<u32>(static_cast<i64>(*error) >> 1);
        exponents[n] = static_cast<u16>((corrected + half) >> drop);
    }
}

// Multiplies the digits of `TILE` ciphertexts at one point with the key slice; products take the place of the first digits.
template <int LOG_N, int COLUMNS, int TILE>
__device__ __forceinline__ void multiply(double2* points, const double2* __restrict__ slice, u32 rows) {
    constexpr int M = 1 << (LOG_N - 1);
    for (u32 f = threadIdx.x; f < M; f += blockDim.x) {
        const int at = Ring<LOG_N>::swizzle(f);
        double2 sum[TILE][COLUMNS] = {};
        for (u32 row = 0; row < rows; row++) {
            double2 digit[TILE];
#pragma unroll
            for (int c = 0; c < TILE; c++) digit[c] = points[(c * rows + row) * M + at];
#pragma unroll
            for (int column = 0; column < COLUMNS; column++) {
                const double2 key = __ldg(&slice[(row * COLUMNS + column) * M + f]);
#pragma unroll
                for (int c = 0; c < TILE; c++) {
                    double2& s = sum[c][column];
                    s.x = fma(-digit[c].y, key.y, fma(digit[c].x, key.x, s.x));
                    s.y = fma(digit[c].y, key.x, fma(digit[c].x, key.y, s.y));
                }
            }
        }
#pragma unroll
        for (int c = 0; c < TILE; c++) {
#pragma unroll
            for (int column = 0; column < COLUMNS; column++) points[(c * rows + column) * M + at] = sum[c][column];
        }
    }
}

template <int LOG_N, int COLUMNS>
struct Block {
    // Most ciphertexts a block, so that points and sums stay in registers: 256 threads with 32 points each, 384 with 16.
    static constexpr int MOST_THREADS = LOG_N <= 9 ? 384 : 256;
    static constexpr int EACH = COLUMNS * Ring<LOG_N>::THREADS;
    static constexpr int CIPHERTEXTS = EACH * 4 <= MOST_THREADS && COLUMNS <= 8 ? 4 : 2;
    static constexpr int THREADS = (EACH * CIPHERTEXTS + 31) / 32 * 32;
};

template <int LOG_N, int COLUMNS>
__device__ __forceinline__ void bootstrap(LweBootstrapParams params, const u32* input, const double2* key, const double2* roots,
                                          const u32* tables, const u32* table_of_value, const u32* row_of_value, u32* out) {
    using Fft = Ring<LOG_N>;
    constexpr int N = 1 << LOG_N, M = N / 2, P = Fft::P, T = Fft::THREADS;
    const u32 n = params.lwe_dimension, rows = COLUMNS * params.level, ciphertexts = params.ciphertexts;
    const u32 exponent_words = (n + 2) & ~1u;

    double2* all_points = reinterpret_cast<double2*>(SHARED_MEMORY);
    u64* errors = reinterpret_cast<u64*>(all_points + ciphertexts * rows * M);
    u32* accumulators = reinterpret_cast<u32*>(errors + 4);
    u16* all_exponents = reinterpret_cast<u16*>(accumulators + ciphertexts * COLUMNS * N);

    // The last block repeats the last row where there are fewer rows than places, and writes it once.
    const u32 first = blockIdx.x * ciphertexts;
    if (threadIdx.x < 4) errors[threadIdx.x] = 0;
    __syncthreads();
    for (u32 c = 0; c < ciphertexts; c++) {
        const u32 row = min(first + c, params.rows - 1);
        switch_modulus<N>(input + static_cast<u64>(row) * (n + 1), n, all_exponents + c * exponent_words, errors + c);
    }
    __syncthreads();

    // Threads that round the block up to whole warps do as the last polynomial does, and write nothing.
    const u32 polynomial = min(threadIdx.x / T, ciphertexts * COLUMNS - 1);
    const bool active = threadIdx.x / T == polynomial;
    const u32 t = threadIdx.x % T, c = polynomial / COLUMNS, column = polynomial % COLUMNS;
    double2* points = all_points + c * rows * M;
    u32* accumulator = accumulators + polynomial * N;
    const u16* exponents = all_exponents + c * exponent_words;
    if (active) {
        const u32 value = min(first + c, params.rows - 1) / params.images;
        const u32* table = tables + static_cast<u64>(table_of_value[value]) * N;
        const u32 degree = 2 * N - exponents[n];
        for (u32 j = t; j < N; j += T) accumulator[j] = column + 1 == COLUMNS ? rotated<N>(table, degree, j) : 0;
    }
    Fft::barrier();

    for (u32 i = 0; i < n; i++) {
        const u32 degree = exponents[i];
        double2 x[P];
        for (u32 level = 0; level < params.level; level++) {
#pragma unroll
            for (int p = 0; p < P; p++) {
                const u32 j = Fft::template position<0>(t, p);
                x[p].x = to_double(digit<N>(accumulator, degree, j, level, params));
                x[p].y = to_double(digit<N>(accumulator, degree, j + M, level, params));
            }
            Fft::forward(x, points + (level * COLUMNS + column) * M, roots, t, active);
        }

        __syncthreads();
        const double2* slice = key + static_cast<u64>(i) * rows * COLUMNS * M;
        if (ciphertexts == 1) {
            multiply<LOG_N, COLUMNS, 1>(all_points, slice, rows);
        } else if (ciphertexts == 2) {
            multiply<LOG_N, COLUMNS, 2>(all_points, slice, rows);
        } else if constexpr (Block<LOG_N, COLUMNS>::CIPHERTEXTS == 4) {
            multiply<LOG_N, COLUMNS, 4>(all_points, slice, rows);
        }
        __syncthreads();

        Fft::inverse(x, points + column * M, roots, t, active);
        if (active) {
#pragma unroll
            for (int p = 0; p < P; p++) {
                const u32 j = Fft::template position<0>(t, p);
                accumulator[j] += to_word(x[p].x);
                accumulator[j + M] += to_word(x[p].y);
            }
        }
        Fft::barrier();
    }

    if (active && first + c < params.rows) {
        const u32 row = first + c;
        const u64 place = static_cast<u64>(row_of_value[row / params.images]) * params.images + row % params.images;
        u32* target = out + place * ((COLUMNS - 1) * N + 1) + column * N;
        if (column + 1 == COLUMNS) {
            if (t == 0) target[0] = accumulator[0];
        } else {
            for (u32 j = t; j < N; j += T) target[j] = j == 0 ? accumulator[0] : 0u - accumulator[N - j];
        }
    }
}

}  // namespace

#define HEMAN_BOOTSTRAP(LOG_N, N, K)                                                                                      \
    extern "C" __global__ void __launch_bounds__(Block<LOG_N, K + 1>::THREADS, 1) lwe_bootstrap_u32_##N##_##K(            \
        LweBootstrapParams params, const u32* input, const double2* key, const double2* roots, const u32* tables,         \
        const u32* table_of_value, const u32* row_of_value, u32* out) {                                                   \
        bootstrap<LOG_N, K + 1>(params, input, key, roots, tables, table_of_value, row_of_value, out);                    \
    }                                                                                                                     \
    HEMAN_ENTRY(lwe_bootstrap_u32_##N##_##K)

// The shapes that the planner can emit: k N from 1280 to 4096, k up to 8.
#if HEMAN_LOG2_N == 8
HEMAN_BOOTSTRAP(8, 256, 5)
HEMAN_BOOTSTRAP(8, 256, 6)
HEMAN_BOOTSTRAP(8, 256, 7)
HEMAN_BOOTSTRAP(8, 256, 8)
#elif HEMAN_LOG2_N == 9
HEMAN_BOOTSTRAP(9, 512, 3)
HEMAN_BOOTSTRAP(9, 512, 4)
HEMAN_BOOTSTRAP(9, 512, 5)
HEMAN_BOOTSTRAP(9, 512, 6)
HEMAN_BOOTSTRAP(9, 512, 7)
HEMAN_BOOTSTRAP(9, 512, 8)
#elif HEMAN_LOG2_N == 10
HEMAN_BOOTSTRAP(10, 1024, 2)
HEMAN_BOOTSTRAP(10, 1024, 3)
HEMAN_BOOTSTRAP(10, 1024, 4)
#elif HEMAN_LOG2_N == 11
HEMAN_BOOTSTRAP(11, 2048, 1)
HEMAN_BOOTSTRAP(11, 2048, 2)
#elif HEMAN_LOG2_N == 12
HEMAN_BOOTSTRAP(12, 4096, 1)
#else
#error "HEMAN_LOG2_N is 8 to 12"
#endif
