// The negacyclic transform of N = 2^LOG_N residues by N / P threads, P = 2^LOG_P words each in registers.
//
// Depths of the tree are taken LOG_P at a time (a phase), with one exchange through shared memory between two phases. Values stay below 4p on
// the way down, below 2p on the way up. Depths are those of core/src/residues/ntt.rs. The N words may be a part of a larger polynomial: roots are
// those of its own subtree, entry 2^d + i for depth d, entry 0 that of folding, and each depth's roots in the order in which threads read them. So what a
// warp reads at once lies side by side, where nodes in their own order lie up to a line of the cache apart. The order is that of
// cuda/src/roots_by_thread.rs.
//
// Words lie in shared memory from `first` on, at `shared` of their place, so that the accesses of a warp fall on 32 banks in every phase. With PADDED
// there is a word more behind each 32, and a thread's words lie constants apart: no operation, for 1/32 of the memory. Otherwise bits of the place
// are exchanged: one operation a word; `first` is a multiple of 32, and with fewer than 32 threads a polynomial they lie one behind the other.
#pragma once

#include "residues.cuh"

// The same number, but the compiler does not know: what follows from it is computed where it is needed, and takes no registers before.
__device__ __forceinline__ u32 unknown(u32 number) {
#ifndef HEMAN_EMULATION
    asm volatile("" : "+r"(number));
#endif
    return number;
}

template <int LOG_N, int LOG_P, bool PADDED = false>
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

    // Where the word of a place stands.
    static __device__ __forceinline__ u32 shared(u32 place) { return PADDED ? place + place / 32 : place ^ (place >> 5 & 31); }

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

    // From the bytes of the thread's word 0 of a phase to its word i. Thread and i have bits of their own in a position. With padding, strides are
    // multiples of 32, or the first word's place is below one of them within its 32; otherwise the exchange of bits is linear.
    template <int PHASE>
    static __device__ __forceinline__ u32 byte_of(u32 own, u32 i) {
        const u32 place = shared(position<PHASE>(0, i));
        return PADDED ? own + place * 4 : (own ^ (place & 31) * 4) + (place & ~31u) * 4;
    }

    template <int PHASE>
    static __device__ __forceinline__ u32 own_byte(u32 first, u32 t) {
        u32 own = (first + shared(position<PHASE>(t, 0))) * 4;
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

    // The root of node q behind those of the thread's group g at a depth: node n of the phase's first depth stands for thread n / GROUPS, as its
    // group n % GROUPS.
    template <int PHASE>
    static __device__ __forceinline__ uint2 root(const uint2* roots, u32 t, u32 g, u32 depth, u32 q) {
        using S = Shape<PHASE>;
        constexpr u32 ROW = (1u << S::FIRST_DEPTH) / S::GROUPS;
        return __ldg(roots + t / S::STRIDE + ((1u << (S::FIRST_DEPTH + depth)) + (q * S::GROUPS + g) * ROW));
    }

    template <int PHASE, int DEPTH = 0>
    static __device__ __forceinline__ void forward_phase(u32 (&x)[P], const uint2* roots, u32 t, u32 p) {
        using S = Shape<PHASE>;
        constexpr u32 HALF = 1u << (S::DEPTHS - 1 - DEPTH);
#pragma unroll
        for (u32 at = 0; at < P / (2 * HALF); at++) {
            const uint2 w = root<PHASE>(roots, t, at >> DEPTH, DEPTH, at & ((1u << DEPTH) - 1));
#pragma unroll
            for (u32 h = 0; h < HALF; h++) {
                u32& low = x[2 * HALF * at + h];
                u32& high = x[2 * HALF * at + h + HALF];
                const u32 a = min(low, low - 2 * p), b = times_lazy(high, w, p);
                low = a + b;
                high = a + 2 * p - b;
            }
        }
        if constexpr (DEPTH + 1 < S::DEPTHS) forward_phase<PHASE, DEPTH + 1>(x, roots, t, p);
    }

    // All phases together: N times the inverse.
    template <int PHASE, int DEPTH = Shape<PHASE>::DEPTHS - 1>
    static __device__ __forceinline__ void inverse_phase(u32 (&x)[P], const uint2* roots, u32 t, u32 p) {
        using S = Shape<PHASE>;
        constexpr u32 HALF = 1u << (S::DEPTHS - 1 - DEPTH);
#pragma unroll
        for (u32 at = 0; at < P / (2 * HALF); at++) {
            const uint2 w = root<PHASE>(roots, t, at >> DEPTH, DEPTH, at & ((1u << DEPTH) - 1));
#pragma unroll
            for (u32 h = 0; h < HALF; h++) {
                u32& low = x[2 * HALF * at + h];
                u32& high = x[2 * HALF * at + h + HALF];
                const u32 sum = low + high, difference = low + 2 * p - high;
                low = min(sum, sum - 2 * p);
                high = times_lazy(difference, w, p);
            }
        }
        if constexpr (DEPTH > 0) inverse_phase<PHASE, DEPTH - 1>(x, roots, t, p);
    }

    static __device__ __forceinline__ void barrier() {
        if constexpr (THREADS <= 32) {
            __syncwarp();
        } else {
            __syncthreads();
        }
    }

    // From words of phase 0 in registers, below 4p, to values below 4p in shared memory, leaf l at `shared(l)`. Ends without a barrier.
    template <int PHASE = 0>
    static __device__ __forceinline__ void forward(u32 (&x)[P], u32* words, const uint2* roots, u32 t, u32 p, u32 first = 0) {
        forward_phase<PHASE>(x, roots, t, p);
        store<PHASE>(x, words, first, t);
        if constexpr (PHASE + 1 < PHASES) {
            barrier();
            load<PHASE + 1>(x, words, first, t);
            forward<PHASE + 1>(x, words, roots, t, p, first);
        }
    }

    // From values below 2p in shared memory, leaf l at `shared(l)`, to words of phase 0 in registers, below 2p.
    template <int PHASE = PHASES - 1>
    static __device__ __forceinline__ void inverse(u32 (&x)[P], u32* words, const uint2* roots, u32 t, u32 p, u32 first = 0) {
        load<PHASE>(x, words, first, t);
        inverse_phase<PHASE>(x, roots, t, p);
        if constexpr (PHASE > 0) {
            store<PHASE>(x, words, first, t);
            barrier();
            inverse<PHASE - 1>(x, words, roots, t, p, first);
        }
    }

    // An element of the conjugate-invariant ring is folded by butterflies of words j and N - j before the first depth, and behind the last one on the
    // way up (core/src/residues/fold.rs): words of phase 0 of the whole polynomial. Words 0 and N / 2 have no partners. Both read what `store<0>` put
    // into shared memory, so that threads may still read when they end. Down: from residues to below 4p.
    static __device__ __forceinline__ void fold(u32 (&x)[P], const u32* words, uint2 root, u32 t, u32 p) {
        const u32* const mirrored = words + shared(THREADS - t);
#pragma unroll
        for (u32 i = 0; i < P; i++) {
            if (i == 0 && t == 0) continue;
            const u32 partner = mirrored[partner_step(i)];
            x[i] = i < P / 2 ? x[i] + times_lazy(partner, root, p) : partner + 2 * p - times_lazy(x[i], root, p);
        }
    }

    // Up: from below 2p to below 4p, twice as large as the element's coefficients.
    static __device__ __forceinline__ void unfold(u32 (&x)[P], const u32* words, uint2 root, u32 t, u32 p) {
        const u32* const mirrored = words + shared(THREADS - t);
#pragma unroll
        for (u32 i = 0; i < P; i++) {
            if (i == 0) {
                x[i] += t == 0 ? x[i] : mirrored[partner_step(i)];
            } else if (i < P / 2) {
                x[i] += mirrored[partner_step(i)];
            } else {
                // The root is r^-1, and r is its negative: the word in the middle is multiplied by 1 + r.
                const bool is_middle = i == P / 2 && t == 0;
                const u32 turned = times_lazy(is_middle ? x[i] : mirrored[partner_step(i)] + 2 * p - x[i], root, p);
                x[i] = is_middle ? x[i] + 2 * p - turned : turned;
            }
        }
    }

    // Word `t + i THREADS` is the thread's word i in phase 0. Its partner is word P - 1 - i of thread THREADS - t, from whose word 0 it lies so far.
    static __device__ __forceinline__ constexpr u32 partner_step(u32 i) {
        static_assert(PADDED && THREADS % 32 == 0, "words of a thread lie constants apart");
        return (P - 1 - i) * (THREADS + THREADS / 32);
    }

    // A whole polynomial's values in their own order, P a thread: the place of the thread's value k, and where it stands in shared memory. A warp
    // has two rows of 16 that are eight rows apart, whose leaves fall on 32 banks.
    static __device__ __forceinline__ u32 value_place(u32 t, u32 k) {
        const u32 first = (t & ~255u) | (t >> 4 & 1) << 7 | (t >> 5 & 7) << 4 | (t & 15);
        return THREADS % 256 == 0 ? first + k * THREADS : first + (k & 1) * 64 + (k >> 1) * 256;
    }
    static __device__ __forceinline__ u32 value_shared(u32 t, u32 k) {
        static_assert(PADDED && THREADS % 128 == 0, "a warp's rows are in one block of 256");
        const u32 first = shared(leaf_of(value_place(t, 0)));
        return THREADS % 256 == 0 ? first + k * (THREADS + THREADS / 32) : first + (k & 1) * 4 + (k >> 1) * 264;
    }
};
