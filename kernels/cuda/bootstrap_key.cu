// bootstrap_key_u64: polynomials mod 2^64 in the Fourier domain of negacyclic_fft.cuh, in 2^-32 turns over M.
//
// One key serves many bootstraps, so its transform is exact but for the roots and the last rounding: all stages run on pairs of
// doubles, and a third of the rounding that every external product would see is gone.
//
// Grid: x over polynomials. Block: 128 threads. Dynamic shared memory: M pairs of pairs, 32 M bytes.
// Reads words and roots; writes M points a polynomial. No atomics.
// Mirror: core/src/tfhe/cpu/rotation.rs, fold_torus
#include "parameters.cuh"

namespace {

// The unevaluated sum high + low. Source: Dekker, Numer. Math. 18 (1971).
struct Pair {
    double high, low;
};

__device__ __forceinline__ Pair sum_of(double a, double b) {
    const double sum = a + b, part = sum - a;
    return {sum, (a - (sum - part)) + (b - part)};
}

__device__ __forceinline__ Pair add(Pair a, Pair b) {
    const Pair sum = sum_of(a.high, b.high);
    return sum_of(sum.high, sum.low + (a.low + b.low));
}

__device__ __forceinline__ Pair negated(Pair a) { return {-a.high, -a.low}; }

__device__ __forceinline__ Pair times(Pair a, double b) {
    const double product = a.high * b;
    return sum_of(product, fma(a.low, b, fma(a.high, b, -product)));
}

__device__ __forceinline__ Pair from_word(i64 word) {
    return sum_of(static_cast<double>(word >> 32) * 4294967296.0, static_cast<double>(static_cast<u32>(word)));
}

struct Point {
    Pair re, im;
};

}  // namespace

extern "C" __global__ void __launch_bounds__(128)
    bootstrap_key_u64(BootstrapKeyParams params, const u64* words, const double2* roots, double2* out) {
    Point* points = reinterpret_cast<Point*>(SHARED_MEMORY);
    const u32 m = 1u << params.log2_points;
    const u64* polynomial = words + static_cast<u64>(blockIdx.x) * 2 * m;
    for (u32 j = threadIdx.x; j < m; j += blockDim.x) {
        points[j] = {from_word(static_cast<i64>(polynomial[j])), from_word(static_cast<i64>(polynomial[j + m]))};
    }
    for (u32 depth = 0; depth < params.log2_points; depth++) {
        __syncthreads();
        const u32 log2_half = params.log2_points - 1 - depth;
        for (u32 at = threadIdx.x; at < m / 2; at += blockDim.x) {
            const u32 node = at >> log2_half, within = at & ((1u << log2_half) - 1);
            Point& a = points[(node << (log2_half + 1)) + within];
            Point& b = points[(node << (log2_half + 1)) + within + (1u << log2_half)];
            const double2 w = roots[(1u << depth) + node];
            const Pair re = add(times(b.re, w.x), times(b.im, -w.y));
            const Pair im = add(times(b.re, w.y), times(b.im, w.x));
            b = {add(a.re, negated(re)), add(a.im, negated(im))};
            a = {add(a.re, re), add(a.im, im)};
        }
    }
    __syncthreads();
    const double scale = 1.0 / (4294967296.0 * m);
    for (u32 f = threadIdx.x; f < m; f += blockDim.x) {
        out[static_cast<u64>(blockIdx.x) * m + f] = {points[f].re.high * scale, points[f].im.high * scale};
    }
}

HEMAN_ENTRY(bootstrap_key_u64)
