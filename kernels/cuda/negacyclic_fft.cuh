// Negacyclic FFT of one polynomial over 2^(LOG_M - LOG_P) threads, 2^LOG_P complex points a thread.
//
// A real polynomial a of N = 2M coefficients mod X^N + 1 is z_j = a_j + i a_(j+M) mod X^M - i. The tree of factorisations
// X^2m - r^2 = (X^m - r)(X^m + r) ends in M roots; its butterflies (x + r y, x - r y) take six fused multiply-adds, and no twist
// is left over. Node p at depth d has r = exp(2 pi i (1/4 + rev_d(p)) / 2^(d+1)).
//
// In every phase but the first a thread has nodes of its own. It reads one root a depth and group, that of the first node below the group's, and
// multiplies it by what is the same for all threads to find the others: reading them too would keep the first-level cache busy for longer than the
// four operations take (on an H200 all roots in the order of nodes took 40 % of that cache's time). The table is in the order in which threads read
// it, that of cuda/src/roots_by_thread.rs: what a warp reads at once lies side by side.
//
// Phases of LOG_P depths stay in a thread's registers; between two phases the points change hands through shared memory.
// In every phase a thread reads and writes the same positions, so one barrier a change is enough.
// Positions are swizzled so that eight neighbours' 16-byte accesses meet all 32 banks in both phases.
// Mirror: core/src/tfhe/cpu/rotation.rs (another order of points; only products of both transforms are comparable).
#pragma once

#include "heman.cuh"
#include "negacyclic_roots.cuh"

template <int LOG_M, int LOG_P>
struct Negacyclic {
    static constexpr u32 M = 1u << LOG_M;
    static constexpr u32 P = 1u << LOG_P;
    static constexpr u32 THREADS = M / P;
    static constexpr int PHASES = (LOG_M + LOG_P - 1) / LOG_P;

    template <int PHASE>
    struct Shape {
        static constexpr int FIRST_DEPTH = PHASE * LOG_P;
        static constexpr int DEPTHS = LOG_M - FIRST_DEPTH < LOG_P ? LOG_M - FIRST_DEPTH : LOG_P;
        static constexpr u32 STRIDE = M >> (FIRST_DEPTH + DEPTHS);
        static constexpr u32 GROUPS = P >> DEPTHS;
    };

    static __device__ __forceinline__ u32 swizzle(u32 position) { return position ^ ((position >> LOG_P) & 7); }

    // Position of point `i` of thread `t`.
    template <int PHASE>
    static __device__ __forceinline__ u32 position(u32 t, u32 i) {
        using S = Shape<PHASE>;
        const u32 group = t * S::GROUPS + (i >> S::DEPTHS);
        const u32 within = i & ((1u << S::DEPTHS) - 1);
        return (group / S::STRIDE) * (S::STRIDE << S::DEPTHS) + group % S::STRIDE + S::STRIDE * within;
    }

    template <int PHASE>
    static __device__ __forceinline__ void load(double2 (&x)[P], const double2* points, u32 t, bool active) {
        if (active) {
#pragma unroll
            for (u32 i = 0; i < P; i++) x[i] = points[swizzle(position<PHASE>(t, i))];
        } else {
            // Not what was there before: it would have to be kept.
#pragma unroll
            for (u32 i = 0; i < P; i++) x[i] = {0, 0};
        }
    }

    template <int PHASE>
    static __device__ __forceinline__ void store(const double2 (&x)[P], double2* points, u32 t, bool active) {
        if (active) {
#pragma unroll
            for (u32 i = 0; i < P; i++) points[swizzle(position<PHASE>(t, i))] = x[i];
        }
    }

    // Root of node q behind those of the thread's group g at a depth of the phase; an odd node's is i times its even neighbour's.
    template <int PHASE>
    static __device__ __forceinline__ double2 root(const double2* roots, u32 t, u32 g, u32 depth, u32 q) {
        using S = Shape<PHASE>;
        double2 w;
        if constexpr (PHASE == 0) {
            w = FIRST_ROOTS[(1u << depth) + (q & ~1u)];
        } else {
            constexpr u32 ROW = (1u << S::FIRST_DEPTH) / S::GROUPS;
            w = __ldg(roots + t / S::STRIDE + ((1u << (S::FIRST_DEPTH + depth)) + g * ROW));
            if (q > 1) {
                const double2 turn = TURNS[__brev(q & ~1u) >> (32 - depth) << (4 - depth)], own = w;
                w = {fma(-own.y, turn.y, own.x * turn.x), fma(own.y, turn.x, own.x * turn.y)};
            }
        }
        return q & 1 ? double2{-w.y, w.x} : w;
    }

    template <int PHASE, int DEPTH = 0>
    static __device__ __forceinline__ void forward_phase(double2 (&x)[P], const double2* roots, u32 t) {
        using S = Shape<PHASE>;
        constexpr u32 HALF = 1u << (S::DEPTHS - 1 - DEPTH);
#pragma unroll
        for (u32 node = 0; node < P / (2 * HALF); node++) {
            const double2 w = root<PHASE>(roots, t, node >> DEPTH, DEPTH, node & ((1u << DEPTH) - 1));
#pragma unroll
            for (u32 h = 0; h < HALF; h++) {
                double2& a = x[2 * HALF * node + h];
                double2& b = x[2 * HALF * node + h + HALF];
                const double re = fma(-w.y, b.y, fma(w.x, b.x, a.x));
                const double im = fma(w.y, b.x, fma(w.x, b.y, a.y));
                b = {fma(2.0, a.x, -re), fma(2.0, a.y, -im)};
                a = {re, im};
            }
        }
        if constexpr (DEPTH + 1 < S::DEPTHS) forward_phase<PHASE, DEPTH + 1>(x, roots, t);
    }

    // All phases together: M times the inverse.
    template <int PHASE, int DEPTH = Shape<PHASE>::DEPTHS - 1>
    static __device__ __forceinline__ void inverse_phase(double2 (&x)[P], const double2* roots, u32 t) {
        using S = Shape<PHASE>;
        constexpr u32 HALF = 1u << (S::DEPTHS - 1 - DEPTH);
#pragma unroll
        for (u32 node = 0; node < P / (2 * HALF); node++) {
            const double2 w = root<PHASE>(roots, t, node >> DEPTH, DEPTH, node & ((1u << DEPTH) - 1));
#pragma unroll
            for (u32 h = 0; h < HALF; h++) {
                double2& a = x[2 * HALF * node + h];
                double2& b = x[2 * HALF * node + h + HALF];
                const double re = a.x - b.x, im = a.y - b.y;
                a = {a.x + b.x, a.y + b.y};
                b = {fma(im, w.y, re * w.x), fma(im, w.x, -(re * w.y))};
            }
        }
        if constexpr (DEPTH > 0) inverse_phase<PHASE, DEPTH - 1>(x, roots, t);
    }

    static __device__ __forceinline__ void barrier() {
        if constexpr (THREADS <= 32) {
            __syncwarp();
        } else {
            __syncthreads();
        }
    }

    // From points of phase 0 in registers to all M values in `points`; threads that are not active touch none.
    template <int PHASE = 0>
    static __device__ __forceinline__ void forward(double2 (&x)[P], double2* points, const double2* roots, u32 t, bool active) {
        forward_phase<PHASE>(x, roots, t);
        store<PHASE>(x, points, t, active);
        if constexpr (PHASE + 1 < PHASES) {
            barrier();
            load<PHASE + 1>(x, points, t, active);
            forward<PHASE + 1>(x, points, roots, t, active);
        }
    }

    // From all M values in `points` to points of phase 0 in registers, times M; zeros for threads that are not active.
    template <int PHASE = PHASES - 1>
    static __device__ __forceinline__ void inverse(double2 (&x)[P], double2* points, const double2* roots, u32 t, bool active) {
        load<PHASE>(x, points, t, active);
        inverse_phase<PHASE>(x, roots, t);
        if constexpr (PHASE > 0) {
            store<PHASE>(x, points, t, active);
            barrier();
            inverse<PHASE - 1>(x, points, roots, t, active);
        }
    }
};

// Points a thread: small rings fit one change of hands with 16, larger ones need 32. `LEAN` has 16 points, and is for up to 512 threads a block.
template <int LOG_N, bool LEAN>
using Ring = Negacyclic<LOG_N - 1, (LEAN ? 4 : 5)>;
