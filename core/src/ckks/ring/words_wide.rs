//! Sums of products with AVX-512: four rows of 16 words stay in registers over all terms.
//!
//! Words at even and at odd places have sums of their own: a widening product takes the even ones. The words of the
//! results are those of the portable loops.

use std::arch::x86_64::*;

use crate::residues::modulus::Modulus;
use crate::residues::ntt_wide::{load, store};

/// Words of a vector.
const ROW: usize = 16;
/// Rows that are summed side by side.
pub(super) const ROWS: usize = 4;
/// Products of residues that a sum takes before it must be reduced: with `2^32 p` on top they stay below 2^64.
const LAZY_SUMS: usize = 12;

/// Two sums of products with the same factors; of the factors, rows stand for `repeats` rows of the sums.
///
/// # Panics
/// If the sums are not a multiple of [`ROWS`] rows, or their terms have other lengths.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn inner_products(modulus: Modulus, out: [&mut [u32]; 2], a: [&[&[u32]]; 2], b: &[&[u32]], repeats: usize) {
    let [low, high] = out;
    let words = low.len();
    assert!(words.is_multiple_of(ROWS * ROW) && high.len() == words, "whole rows");
    assert!(a[0].len() == b.len() && a[1].len() == b.len(), "a factor for each term");
    assert!(a.iter().all(|terms| terms.iter().all(|term| term.len() == words)), "terms as long as sums");
    assert!(b.iter().all(|factor| factor.len() * repeats == words), "a row for so many rows");
    let reducer = Reducer::new(modulus);
    let rows = low.as_chunks_mut::<{ ROWS * ROW }>().0.iter_mut().zip(high.as_chunks_mut::<{ ROWS * ROW }>().0);
    for (at, (low, high)) in rows.enumerate() {
        for first in (0..b.len()).step_by(LAZY_SUMS) {
            let last = (first + LAZY_SUMS).min(b.len());
            let (own, factors) = ([&a[0][first..last], &a[1][first..last]], &b[first..last]);
            // SAFETY: all terms have `words` words and all factors `words / repeats`, as asserted, and
            // `ROWS * ROW * (at + 1)` is at most `words`.
            let sums = unsafe {
                if repeats >= ROWS {
                    sums::<true>(own, factors, at * ROWS, repeats)
                } else {
                    sums::<false>(own, factors, at * ROWS, repeats)
                }
            };
            for (row, sums) in sums.into_iter().enumerate() {
                for (out, sums) in [&mut *low, &mut *high].into_iter().zip(sums) {
                    let out: &mut [u32; ROW] = &mut out.as_chunks_mut().0[row];
                    let sum = reducer.reduce(sums);
                    store(out, if first == 0 { sum } else { reducer.add(load(out), sum) });
                }
            }
        }
        if b.is_empty() {
            [low, high].into_iter().for_each(|out| out.fill(0));
        }
    }
}

/// `(offset + sum_i terms[i] weights[i]) / 2^32`.
///
/// # Panics
/// If the sum is not a multiple of [`ROWS`] rows, or its terms have other lengths.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn combine(modulus: Modulus, out: &mut [u32], terms: &[&[u32]], weights: &[u32], offset: u64) {
    let words = out.len();
    assert!(words.is_multiple_of(ROWS * ROW) && terms.len() == weights.len(), "whole rows, a weight for each term");
    assert!(terms.iter().all(|term| term.len() == words), "terms as long as the sum");
    let reducer = Reducer::new(modulus);
    for (at, out) in out.as_chunks_mut::<{ ROWS * ROW }>().0.iter_mut().enumerate() {
        let out = out.as_chunks_mut::<ROW>().0;
        for first in (0..terms.len().max(1)).step_by(LAZY_SUMS) {
            let last = (first + LAZY_SUMS).min(terms.len());
            let start = if first == 0 { offset.cast_signed() } else { 0 };
            let mut sums = [[_mm512_set1_epi64(start); 2]; ROWS];
            for (term, weight) in terms[first..last].iter().zip(&weights[first..last]) {
                let weight = _mm512_set1_epi64(i64::from(*weight));
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: all terms have `words` words, as asserted, and `ROWS * ROW * (at + 1)` is at most that.
                    let x = unsafe { _mm512_loadu_epi32(term.as_ptr().add((at * ROWS + row) * ROW).cast()) };
                    sums[0] = _mm512_add_epi64(sums[0], _mm512_mul_epu32(x, weight));
                    sums[1] = _mm512_add_epi64(sums[1], _mm512_mul_epu32(_mm512_srli_epi64::<32>(x), weight));
                }
            }
            for (out, sums) in out.iter_mut().zip(sums) {
                let sum = reducer.reduce(sums);
                store(out, if first == 0 { sum } else { reducer.add(load(out), sum) });
            }
        }
    }
}

/// Sums of rows `row` and following: for each row and each of both sums those of even and of odd places.
///
/// # Safety
/// All terms hold [`ROWS`] rows from `row` on, all factors the rows that stand for them.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn sums<const ALIKE: bool>(
    a: [&[&[u32]]; 2],
    b: &[&[u32]],
    row: usize,
    repeats: usize,
) -> [[[__m512i; 2]; 2]; ROWS] {
    let mut sums = [[[_mm512_setzero_si512(); 2]; 2]; ROWS];
    for ((a0, a1), b) in a[0].iter().zip(a[1]).zip(b) {
        // SAFETY: the caller's.
        let at = |words: &[u32], row: usize| unsafe { _mm512_loadu_epi32(words.as_ptr().add(row * ROW).cast()) };
        let mut factor = [_mm512_setzero_si512(); 2];
        for (own, sums) in sums.iter_mut().enumerate() {
            if !ALIKE || own == 0 {
                let y = at(b, (row + own) / repeats);
                factor = [y, _mm512_srli_epi64::<32>(y)];
            }
            for (sums, a) in sums.iter_mut().zip([a0, a1]) {
                let x = at(a, row + own);
                sums[0] = _mm512_add_epi64(sums[0], _mm512_mul_epu32(x, factor[0]));
                sums[1] = _mm512_add_epi64(sums[1], _mm512_mul_epu32(_mm512_srli_epi64::<32>(x), factor[1]));
            }
        }
    }
    sums
}

/// Reductions modulo one prime.
#[derive(Clone, Copy)]
struct Reducer {
    p: __m512i,
    twice: __m512i,
    negative_inverse: __m512i,
}

impl Reducer {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(modulus: Modulus) -> Self {
        let everywhere = |word: u32| _mm512_set1_epi32(word.cast_signed());
        let negative_inverse = everywhere(modulus.negative_inverse());
        Self { p: everywhere(modulus.p), twice: everywhere(2 * modulus.p), negative_inverse }
    }

    /// `x / 2^32` mod p of even and odd sums of up to [`LAZY_SUMS`] products.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn reduce(self, sums: [__m512i; 2]) -> __m512i {
        let [even, odd] = sums.map(|sum| {
            let multiple = _mm512_mul_epu32(_mm512_mul_epu32(sum, self.negative_inverse), self.p);
            _mm512_add_epi64(sum, multiple)
        });
        let lazy = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
        let lazy = _mm512_min_epu32(lazy, _mm512_sub_epi32(lazy, self.twice));
        _mm512_min_epu32(lazy, _mm512_sub_epi32(lazy, self.p))
    }

    /// `a + b` mod p for residues.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        let sum = _mm512_add_epi32(a, b);
        _mm512_min_epu32(sum, _mm512_sub_epi32(sum, self.p))
    }
}
