//! Vectors of words by hand: what compilers do not make of the portable loops.
//!
//! They widen all words of a product to 64 bits and narrow them again; by hand a widening product takes the words at
//! even places, and a second one those at odd places. Sums of many products stay in registers. Whatever is written for
//! these vectors gives the words of the portable loops.

use std::arch::x86_64::*;

use crate::residues::modulus::{Factor, Modulus};

/// Vectors of an instruction set that this processor has.
///
/// Bodies for all of them are `#[inline(always)]`, so that [`for_each_vector`] compiles them with the instruction set.
/// Closures would be compiled without it, so none of them touches a vector.
///
/// # Safety
/// A vector has [`Self::COUNT`] words, 8 or 16, and [`Self::SUMS`] is 8 or 16: addresses are reckoned by them.
pub(crate) unsafe trait Vectors: Copy {
    /// Words of a vector: 8 or 16.
    const COUNT: usize;
    /// Vectors that the registers hold beside the operands of a product of sums.
    const SUMS: usize;
    /// Words, or half as many pairs of them.
    type V: Copy;

    fn splat(self, word: u32) -> Self::V;
    fn splat_pair(self, pair: u64) -> Self::V;
    /// # Safety
    /// [`Self::COUNT`] words can be read there.
    unsafe fn load(self, from: *const u32) -> Self::V;
    /// # Safety
    /// [`Self::COUNT`] words can be written there.
    unsafe fn store(self, to: *mut u32, x: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Lower halves of the products of words.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// Products of the words at even places, in pairs.
    fn mul_even(self, a: Self::V, b: Self::V) -> Self::V;
    fn add_pairs(self, a: Self::V, b: Self::V) -> Self::V;
    /// Pairs less a bound, unless they are below it.
    fn below(self, a: Self::V, bound: Self::V) -> Self::V;
    /// The words at odd places, at even ones; zeros at odd ones.
    fn odd(self, x: Self::V) -> Self::V;
    /// The upper words of pairs, of some at even and of others at odd places.
    fn upper(self, even: Self::V, odd: Self::V) -> Self::V;
    /// The last word first.
    fn reversed(self, x: Self::V) -> Self::V;
    /// Transposes a square of [`Self::COUNT`] vectors.
    fn transpose(self, square: &mut [Self::V]);
    /// Asks for the words at an address to be brought to the first-level cache.
    fn prefetch(self, at: *const u32);
}

// SAFETY: 512 bits are 16 words.
unsafe impl Vectors for pulp::x86::V4 {
    const COUNT: usize = 16;
    const SUMS: usize = 16;
    type V = __m512i;

    #[inline(always)]
    fn splat(self, word: u32) -> __m512i {
        // SAFETY: whoever has a `V4` has AVX-512, here and below.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }
    #[inline(always)]
    fn splat_pair(self, pair: u64) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi64(pair.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> __m512i {
        // SAFETY: the caller's promise; no alignment is asked for.
        unsafe { _mm512_loadu_epi32(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u32, x: __m512i) {
        // SAFETY: the caller's promise; no alignment is asked for.
        unsafe { _mm512_storeu_epi32(to.cast(), x) }
    }
    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_min_epu32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_mullo_epi32(a, b) }
    }
    #[inline(always)]
    fn mul_even(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_mul_epu32(a, b) }
    }
    #[inline(always)]
    fn add_pairs(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_add_epi64(a, b) }
    }
    #[inline(always)]
    fn below(self, a: __m512i, bound: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_min_epu64(a, _mm512_sub_epi64(a, bound)) }
    }
    #[inline(always)]
    fn odd(self, x: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_srli_epi64::<32>(x) }
    }
    #[inline(always)]
    fn upper(self, even: __m512i, odd: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe { _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd) }
    }
    #[inline(always)]
    fn reversed(self, x: __m512i) -> __m512i {
        // SAFETY: as in `splat`.
        unsafe {
            let order = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            _mm512_permutexvar_epi32(order, x)
        }
    }
    #[inline(always)]
    fn transpose(self, square: &mut [__m512i]) {
        let r: &mut [__m512i; 16] = square.first_chunk_mut().expect("sixteen vectors");
        let mut t = *r;
        // SAFETY: as in `splat`.
        unsafe {
            for i in (0..16).step_by(2) {
                t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
                t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
            }
            for i in (0..16).step_by(4) {
                r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
                r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
                r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
                r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
            }
            for i in [0, 1, 2, 3, 8, 9, 10, 11] {
                t[i] = _mm512_shuffle_i32x4::<0x88>(r[i], r[i + 4]);
                t[i + 4] = _mm512_shuffle_i32x4::<0xdd>(r[i], r[i + 4]);
            }
            for i in 0..8 {
                r[i] = _mm512_shuffle_i32x4::<0x88>(t[i], t[i + 8]);
                r[i + 8] = _mm512_shuffle_i32x4::<0xdd>(t[i], t[i + 8]);
            }
        }
    }
    #[inline(always)]
    fn prefetch(self, at: *const u32) {
        // SAFETY: it reads nothing that the program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

// SAFETY: 256 bits are 8 words.
unsafe impl Vectors for pulp::x86::V3 {
    const COUNT: usize = 8;
    const SUMS: usize = 8;
    type V = __m256i;

    #[inline(always)]
    fn splat(self, word: u32) -> __m256i {
        // SAFETY: whoever has a `V3` has AVX2, here and below.
        unsafe { _mm256_set1_epi32(word.cast_signed()) }
    }
    #[inline(always)]
    fn splat_pair(self, pair: u64) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi64x(pair.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> __m256i {
        // SAFETY: the caller's promise; no alignment is asked for.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u32, x: __m256i) {
        // SAFETY: the caller's promise; no alignment is asked for.
        unsafe { _mm256_storeu_si256(to.cast(), x) }
    }
    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_min_epu32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_mullo_epi32(a, b) }
    }
    #[inline(always)]
    fn mul_even(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_mul_epu32(a, b) }
    }
    #[inline(always)]
    fn add_pairs(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_add_epi64(a, b) }
    }
    #[inline(always)]
    fn below(self, a: __m256i, bound: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe {
            // There are comparisons of signed numbers alone.
            let top = _mm256_set1_epi64x(i64::MIN);
            let is_below = _mm256_cmpgt_epi64(_mm256_xor_si256(bound, top), _mm256_xor_si256(a, top));
            _mm256_sub_epi64(a, _mm256_andnot_si256(is_below, bound))
        }
    }
    #[inline(always)]
    fn odd(self, x: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_srli_epi64::<32>(x) }
    }
    #[inline(always)]
    fn upper(self, even: __m256i, odd: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(even), odd) }
    }
    #[inline(always)]
    fn reversed(self, x: __m256i) -> __m256i {
        // SAFETY: as in `splat`.
        unsafe { _mm256_permutevar8x32_epi32(x, _mm256_set_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }
    #[inline(always)]
    fn transpose(self, square: &mut [__m256i]) {
        let r: &mut [__m256i; 8] = square.first_chunk_mut().expect("eight vectors");
        let mut t = *r;
        // SAFETY: as in `splat`.
        unsafe {
            for i in (0..8).step_by(2) {
                t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
                t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
            }
            for i in (0..8).step_by(4) {
                r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
                r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
                r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
                r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
            }
            for i in 0..4 {
                t[i] = _mm256_permute2x128_si256::<0x20>(r[i], r[i + 4]);
                t[i + 4] = _mm256_permute2x128_si256::<0x31>(r[i], r[i + 4]);
            }
            *r = t;
        }
    }
    #[inline(always)]
    fn prefetch(self, at: *const u32) {
        // SAFETY: it reads nothing that the program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// Defines `fn $name(arch, …) -> bool`, which runs `$body(vectors, …)` with the vectors of `arch`, and says whether it
/// has any.
macro_rules! for_each_vector {
    ($(#[$meta:meta])* $vis:vis fn $name:ident = $body:path, ($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "the arguments of the loop it stands for")]
        $vis fn $name(arch: pulp::Arch, $($arg: $ty),*) -> bool {
            #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn v4(vectors: pulp::x86::V4, $($arg: $ty),*) {
                $body(vectors, $($arg),*);
            }
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn v3(vectors: pulp::x86::V3, $($arg: $ty),*) {
                $body(vectors, $($arg),*);
            }
            match arch {
                // SAFETY: pulp hands out `V4` and `V3` only after it found these features on this processor.
                pulp::Arch::V4(vectors) => unsafe { v4(vectors, $($arg),*) },
                // SAFETY: as above.
                pulp::Arch::V3(vectors) => unsafe { v3(vectors, $($arg),*) },
                _ => return false,
            }
            true
        }
    };
}

pub(crate) use for_each_vector;

/// A prime, everywhere.
#[derive(Clone, Copy)]
pub(crate) struct Prime<S: Vectors> {
    vectors: S,
    p: S::V,
    twice: S::V,
}

/// A constant factor for each word, with its quotient.
#[derive(Clone, Copy)]
pub(crate) struct Root<V> {
    value: V,
    quotient: V,
    /// The quotients at odd places, at even ones.
    odd: V,
}

impl<V: Copy> Root<V> {
    #[inline(always)]
    pub fn everywhere<S: Vectors<V = V>>(vectors: S, factor: &Factor) -> Self {
        let quotient = vectors.splat(factor.quotient);
        Self { value: vectors.splat(factor.value), quotient, odd: quotient }
    }

    /// Of a factor for each word: values at one address, quotients at another.
    ///
    /// # Safety
    /// A vector can be read at both.
    #[inline(always)]
    pub unsafe fn read<S: Vectors<V = V>>(vectors: S, values: *const u32, quotients: *const u32) -> Self {
        // SAFETY: the caller's.
        let (value, quotient) = unsafe { (vectors.load(values), vectors.load(quotients)) };
        Self { value, quotient, odd: vectors.odd(quotient) }
    }
}

impl<S: Vectors> Prime<S> {
    #[inline(always)]
    pub fn new(vectors: S, p: u32) -> Self {
        Self { vectors, p: vectors.splat(p), twice: vectors.splat(2 * p) }
    }

    /// `x w` mod p, below 2p, for any x.
    #[inline(always)]
    pub fn times(self, x: S::V, w: Root<S::V>) -> S::V {
        let simd = self.vectors;
        let upper = simd.upper(simd.mul_even(x, w.quotient), simd.mul_even(simd.odd(x), w.odd));
        simd.sub(simd.mul(x, w.value), simd.mul(upper, self.p))
    }

    /// From below 4p to below 2p.
    #[inline(always)]
    pub fn halve(self, x: S::V) -> S::V {
        self.vectors.min(x, self.vectors.sub(x, self.twice))
    }

    /// From below 2p to below p.
    #[inline(always)]
    pub fn reduce(self, x: S::V) -> S::V {
        self.vectors.min(x, self.vectors.sub(x, self.p))
    }

    /// `(a + w b, a - w b)`: from below 4p to below 4p.
    #[inline(always)]
    pub fn down(self, a: S::V, b: S::V, w: Root<S::V>) -> (S::V, S::V) {
        let (a, b) = (self.halve(a), self.times(b, w));
        (self.vectors.add(a, b), self.vectors.sub(self.vectors.add(a, self.twice), b))
    }

    /// `(a + b, (a - b) w)`: from below 2p to below 2p.
    #[inline(always)]
    pub fn up(self, a: S::V, b: S::V, w: Root<S::V>) -> (S::V, S::V) {
        let (sum, difference) = self.sum_and_difference(a, b);
        (self.halve(sum), self.times(difference, w))
    }

    /// `(a + b, a - b)`: from below 2p to below 4p.
    #[inline(always)]
    pub fn sum_and_difference(self, a: S::V, b: S::V) -> (S::V, S::V) {
        let simd = self.vectors;
        (simd.add(a, b), simd.sub(simd.add(a, self.twice), b))
    }
}

/// Sums of products modulo one prime.
#[derive(Clone, Copy)]
pub(crate) struct Reducer<S: Vectors> {
    vectors: S,
    p: S::V,
    twice: S::V,
    negative_inverse: S::V,
}

impl<S: Vectors> Reducer<S> {
    #[inline(always)]
    pub fn new(vectors: S, modulus: Modulus) -> Self {
        let negative_inverse = vectors.splat(modulus.negative_inverse());
        Self { vectors, p: vectors.splat(modulus.p), twice: vectors.splat(2 * modulus.p), negative_inverse }
    }

    /// `x / 2^32` mod p of sums below `3 * 2^32 p`, in pairs, for words at even and at odd places.
    #[inline(always)]
    pub fn reduce(self, [even, odd]: [S::V; 2]) -> S::V {
        let simd = self.vectors;
        // A multiple of p below 2^32 p makes the lower words zero; the upper ones are below 4p.
        let even = simd.add_pairs(even, simd.mul_even(simd.mul_even(even, self.negative_inverse), self.p));
        let odd = simd.add_pairs(odd, simd.mul_even(simd.mul_even(odd, self.negative_inverse), self.p));
        let lazy = simd.upper(even, odd);
        let lazy = simd.min(lazy, simd.sub(lazy, self.twice));
        simd.min(lazy, simd.sub(lazy, self.p))
    }

    /// `a + b` mod p for residues.
    #[inline(always)]
    pub fn add(self, a: S::V, b: S::V) -> S::V {
        let sum = self.vectors.add(a, b);
        self.vectors.min(sum, self.vectors.sub(sum, self.p))
    }
}

/// A product of each word of `x` with each of `y`, added to sums in pairs, of those at even and of those at odd places.
#[inline(always)]
pub(crate) fn add_products<S: Vectors>(simd: S, sums: &mut [S::V; 2], x: S::V, [even, odd]: [S::V; 2]) {
    sums[0] = simd.add_pairs(sums[0], simd.mul_even(x, even));
    sums[1] = simd.add_pairs(sums[1], simd.mul_even(simd.odd(x), odd));
}
