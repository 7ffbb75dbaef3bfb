// The negacyclic transform of N = 2^LOG_N residues by N / P threads, P = 2^LOG_P words each in registers.
//
// Depths of the tree are taken LOG_P at a time (a phase), with one exchange through shared memory between two phases. Depths and roots are
// those of core/src/residues/ntt.rs: node `2^d + i` of a table of factors is the root of node i at depth d. A transform may be that of a
// part of a larger polynomial: `top` is its node's number in the whole tree, 1 for a whole polynomial.
// Values stay below 4p on the way down, below 2p on the way up.
//
// With BY_THREAD, for whole polynomials, each depth's roots are in the order in which threads read them: what a warp reads at once lies side by
// side, where nodes in their own order lie up to a line of the cache apart. The order is that of `roots_by_thread`, cuda/src/tfhe/exact.rs.
//
// Words lie in shared memory from `first` on, a multiple of 32, at `swizzle` of their place, so that the accesses of a warp fall on 32 banks in
// every phase; with fewer than 32 threads a polynomial, polynomials lie one behind the other.
#pragma once

#include "residues.cuh"

template <int LOG_N, int LOG_P, bool BY_THREAD = false>
struct ResidueTransform {
    static constexpr u32 N = 1u << LOG_N, P = 1u << LOG_P, THREADS = N / P;
    static constexpr int PHASES = (LOG_N + LOG_P - 1) / LOG_P;

    template <int PHASE>
    struct Shape {
        static constexpr int FIRST_DEPTH = PHASE * LOG_P;
        static constexpr int DEPTHS = LOG_N - FIRST_DEPTH < LOG_P ? LOG_N - FIRST_DEPTH : LOG_P;
        // From a word of a group to the next, and groups of a thread.
        static constexpr u32 STRIDE = N >> (FIRST_DEPTH + DEPTHS), GROUPS = P >> DEPTHS;
    };

    static __device__ __forceinline__ u32 swizzle(u32 place) { return place ^ (place >> 5 & 31); }

    // The leaf whose value stands at a place of a polynomial's values: the last two of its four-bit digits change places.
    static __device__ __forceinline__ u32 leaf_of(u32 place) { return (place & ~255u) | (place & 15) << 4 | (place >> 4 & 15); }

    // Place of the thread's word i in a phase.
    template <int PHASE>
    static __device__ __forceinline__ u32 position(u32 t, u32 i) {
        using S = Shape<PHASE>;
        const u32 group = S::GROUPS == 1 ? t : t * S::GROUPS + (i >> S::DEPTHS);
        const u32 within = i & ((1u << S::DEPTHS) - 1);
        return (group / S::STRIDE) * (S::STRIDE << S::DEPTHS) + group % S::STRIDE + S::STRIDE * within;
    }

    // Node of the thread's group g at a phase's first depth.
    template <int PHASE>
    static __device__ __forceinline__ u32 node(u32 t, u32 g) {
        using S = Shape<PHASE>;
        return (t * S::GROUPS + g) / S::STRIDE;
    }

    // From the bytes of the thread's word 0 of a phase to its word i. Thread and i have bits of their own in a position, and a swizzle is
    // linear: one operation, and a constant that is part of the access.
    template <int PHASE>
    static __device__ __forceinline__ u32 byte_of(u32 own, u32 i) {
        const u32 place = swizzle(position<PHASE>(0, i));
        return (own ^ (place & 31) * 4) + (place & ~31u) * 4;
    }

    template <int PHASE>
    static __device__ __forceinline__ u32 own_byte(u32 first, u32 t) {
        u32 own = (first + swizzle(position<PHASE>(t, 0))) * 4;
#ifndef HEMAN_EMULATION
        // The compiler would put the factor behind `byte_of`, once for every word.
        asm("" : "+r"(own));
#endif
        return own;
    }

    template <int PHASE>
    static __device__ __forceinline__ void load(u32 (&x)[P], const u32* words, u32 first, u32 t) {
        const u32 own = own_byte<PHASE>(first, t);
#pragma unroll
        for (u32 i = 0; i < P; i++) x[i] = *reinterpret_cast<const u32*>(reinterpret_cast<const u8*>(words) + byte_of<PHASE>(own, i));
    }

    template <int PHASE>
    static __device__ __forceinline__ void store(const u32 (&x)[P], u32* words, u32 first, u32 t) {
        const u32 own = own_byte<PHASE>(first, t);
#pragma unroll
        for (u32 i = 0; i < P; i++) *reinterpret_cast<u32*>(reinterpret_cast<u8*>(words) + byte_of<PHASE>(own, i)) = x[i];
    }

    template <int PHASE>
    static __device__ __forceinline__ uint2 root(const uint2* roots, u32 top, u32 t, u32 g, u32 depth, u32 q) {
        using S = Shape<PHASE>;
        if constexpr (BY_THREAD) {
            // Node n of the phase's first depth stands for thread n / GROUPS, as its group n % GROUPS.
            constexpr u32 ROW = (1u << S::FIRST_DEPTH) / S::GROUPS;
            return __ldg(roots + t / S::STRIDE + ((1u << (S::FIRST_DEPTH + depth)) + (q * S::GROUPS + g) * ROW));
        } else {
            return __ldg(&roots[(top << (S::FIRST_DEPTH + depth)) + (node<PHASE>(t, g) << depth) + q]);
        }
    }

    template <int PHASE, int DEPTH = 0>
    static __device__ __forceinline__ void forward_phase(u32 (&x)[P], const uint2* roots, u32 top, u32 t, u32 p) {
        using S = Shape<PHASE>;
        constexpr u32 HALF = 1u << (S::DEPTHS - 1 - DEPTH);
#pragma unroll
        for (u32 at = 0; at < P / (2 * HALF); at++) {
            const uint2 w = root<PHASE>(roots, top, t, at >> DEPTH, DEPTH, at & ((1u << DEPTH) - 1));
#pragma unroll
            for (u32 h = 0; h < HALF; h++) {
                u32& low = x[2 * HALF * at + h];
                u32& high = x[2 * HALF * at + h + HALF];
                const u32 a = min(low, low - 2 * p), b = times_lazy(high, w, p);
                low = a + b;
                high = a + 2 * p - b;
            }
        }
        if constexpr (DEPTH + 1 < S::DEPTHS) forward_phase<PHASE, DEPTH + 1>(x, roots, top, t, p);
    }

    // All phases together: N times the inverse.
    template <int PHASE, int DEPTH = Shape<PHASE>::DEPTHS - 1>
    static __device__ __forceinline__ void inverse_phase(u32 (&x)[P], const uint2* roots, u32 top, u32 t, u32 p) {
        using S = Shape<PHASE>;
        constexpr u32 HALF = 1u << (S::DEPTHS - 1 - DEPTH);
#pragma unroll
        for (u32 at = 0; at < P / (2 * HALF); at++) {
            const uint2 w = root<PHASE>(roots, top, t, at >> DEPTH, DEPTH, at & ((1u << DEPTH) - 1));
#pragma unroll
            for (u32 h = 0; h < HALF; h++) {
                u32& low = x[2 * HALF * at + h];
                u32& high = x[2 * HALF * at + h + HALF];
                const u32 sum = low + high, difference = low + 2 * p - high;
                low = min(sum, sum - 2 * p);
                high = times_lazy(difference, w, p);
            }
        }
        if constexpr (DEPTH > 0) inverse_phase<PHASE, DEPTH - 1>(x, roots, top, t, p);
    }

    static __device__ __forceinline__ void barrier() {
        if constexpr (THREADS <= 32) {
            __syncwarp();
        } else {
            __syncthreads();
        }
    }

    // From words of phase 0 in registers, below 4p, to values below 4p in shared memory, leaf l at `swizzle(l)`. Ends without a barrier.
    template <int PHASE = 0>
    static __device__ __forceinline__ void forward(u32 (&x)[P], u32* words, const uint2* roots, u32 top, u32 t, u32 p, u32 first = 0) {
        forward_phase<PHASE>(x, roots, top, t, p);
        store<PHASE>(x, words, first, t);
        if constexpr (PHASE + 1 < PHASES) {
            barrier();
            load<PHASE + 1>(x, words, first, t);
            forward<PHASE + 1>(x, words, roots, top, t, p, first);
        }
    }

    // From values below 2p in shared memory, leaf l at `swizzle(l)`, to words of phase 0 in registers, below 2p.
    template <int PHASE = PHASES - 1>
    static __device__ __forceinline__ void inverse(u32 (&x)[P], u32* words, const uint2* roots, u32 top, u32 t, u32 p, u32 first = 0) {
        load<PHASE>(x, words, first, t);
        inverse_phase<PHASE>(x, roots, top, t, p);
        if constexpr (PHASE > 0) {
            store<PHASE>(x, words, first, t);
            barrier();
            inverse<PHASE - 1>(x, words, roots, top, t, p, first);
        }
    }
};
