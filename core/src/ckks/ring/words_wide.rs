//! Sums of products with vectors by hand: rows of words stay in registers over all terms. The words of the results are
//! those of the portable loops.

use crate::residues::modulus::{LAZY_SUMS, Modulus};
use crate::residues::roots::LANES as ROW;
use crate::residues::vectors::{Reducer, Vectors, add_products, for_each_vector};

/// Vectors that are summed side by side at the most.
const MOST: usize = 4;
/// Sums have a multiple of so many words.
pub(super) const WHOLE: usize = MOST * ROW;

for_each_vector! {
    /// Two sums of products with the same factors; of the factors, rows stand for `repeats` rows of the sums.
    ///
    /// # Panics
    /// If the sums are not a multiple of [`WHOLE`] words, or the terms have other lengths.
    pub(super) fn inner_products = inner_products_words,
    (modulus: Modulus, out: [&mut [u32]; 2], a: [&[&[u32]]; 2], b: &[&[u32]], repeats: usize)
}
for_each_vector! {
    /// `(offset + sum_i terms[i] weights[i]) / 2^32`.
    ///
    /// # Panics
    /// If the sum is not a multiple of [`WHOLE`] words, or its terms have other lengths.
    pub(super) fn combine = combine_words,
    (modulus: Modulus, out: &mut [u32], terms: &[&[u32]], weights: &[u32], offset: u64)
}

#[inline(always)]
fn inner_products_words<S: Vectors>(
    simd: S,
    modulus: Modulus,
    out: [&mut [u32]; 2],
    a: [&[&[u32]]; 2],
    b: &[&[u32]],
    repeats: usize,
) {
    let [low, high] = out;
    let words = low.len();
    assert!(words.is_multiple_of(WHOLE) && high.len() == words, "whole rows");
    assert!(a[0].len() == b.len() && a[1].len() == b.len(), "a factor for each term");
    assert!(a.iter().all(|terms| terms.iter().all(|term| term.len() == words)), "terms as long as sums");
    assert!(b.iter().all(|factor| factor.len() * repeats == words), "a row for so many rows");
    assert!(words.is_multiple_of(repeats * ROW), "whole rows of factors");
    let reducer = Reducer::new(simd, modulus);
    // Vectors side by side, each of which has two sums of two halves.
    let rows = S::SUMS / 4;
    for at in (0..words).step_by(rows * S::COUNT) {
        for first in (0..b.len()).step_by(LAZY_SUMS) {
            let last = (first + LAZY_SUMS).min(b.len());
            let (own, factors) = ([&a[0][first..last], &a[1][first..last]], &b[first..last]);
            // SAFETY: all terms have `words` words and all factors `words / repeats`, as asserted; `rows` vectors
            // divide [`WHOLE`] words.
            let sums = unsafe {
                if S::COUNT == ROW && repeats.is_multiple_of(rows) {
                    sums::<S, true>(simd, own, factors, at, repeats)
                } else {
                    sums::<S, false>(simd, own, factors, at, repeats)
                }
            };
            for (row, sums) in sums.into_iter().take(rows).enumerate() {
                let at = at + row * S::COUNT;
                // SAFETY: as above, both sums have `words` words.
                unsafe {
                    for (to, sums) in [low.as_mut_ptr().add(at), high.as_mut_ptr().add(at)].into_iter().zip(sums) {
                        let sum = reducer.reduce(sums);
                        simd.store(to, if first == 0 { sum } else { reducer.add(simd.load(to), sum) });
                    }
                }
            }
        }
    }
}

/// Sums of the vectors from word `at` on: for each vector and each of both sums those of even and of odd places. Where
/// all of them have one row of the factors, `ALIKE` reads it once.
///
/// # Safety
/// All terms hold `S::SUMS / 4` vectors from there on, all factors the rows that stand for them.
#[inline(always)]
unsafe fn sums<S: Vectors, const ALIKE: bool>(
    simd: S,
    a: [&[&[u32]]; 2],
    b: &[&[u32]],
    at: usize,
    repeats: usize,
) -> [[[S::V; 2]; 2]; MOST] {
    let zero = simd.splat(0);
    let mut sums = [[[zero; 2]; 2]; MOST];
    for ((a0, a1), b) in a[0].iter().zip(a[1]).zip(b) {
        let mut factor = [zero; 2];
        for (row, sums) in sums.iter_mut().take(S::SUMS / 4).enumerate() {
            let at = at + row * S::COUNT;
            // SAFETY: the caller's.
            unsafe {
                if !ALIKE || row == 0 {
                    let y = simd.load(b.as_ptr().add(at / ROW / repeats * ROW + at % ROW));
                    factor = [y, simd.odd(y)];
                }
                add_products(simd, &mut sums[0], simd.load(a0.as_ptr().add(at)), factor);
                add_products(simd, &mut sums[1], simd.load(a1.as_ptr().add(at)), factor);
            }
        }
    }
    sums
}

#[inline(always)]
fn combine_words<S: Vectors>(
    simd: S,
    modulus: Modulus,
    out: &mut [u32],
    terms: &[&[u32]],
    weights: &[u32],
    offset: u64,
) {
    let words = out.len();
    assert!(words.is_multiple_of(WHOLE) && terms.len() == weights.len(), "whole rows, a weight for each term");
    assert!(terms.iter().all(|term| term.len() == words), "terms as long as the sum");
    let reducer = Reducer::new(simd, modulus);
    for at in (0..words).step_by(MOST * S::COUNT) {
        for first in (0..terms.len()).step_by(LAZY_SUMS) {
            let last = (first + LAZY_SUMS).min(terms.len());
            let start = simd.splat_pair(if first == 0 { offset } else { 0 });
            let mut sums = [[start; 2]; MOST];
            for (term, weight) in terms[first..last].iter().zip(&weights[first..last]) {
                let weight = simd.splat(*weight);
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: all terms have `words` words, as asserted, a multiple of the step.
                    let x = unsafe { simd.load(term.as_ptr().add(at + row * S::COUNT)) };
                    add_products(simd, sums, x, [weight; 2]);
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe {
                    let to = out.as_mut_ptr().add(at + row * S::COUNT);
                    let sum = reducer.reduce(sums);
                    simd.store(to, if first == 0 { sum } else { reducer.add(simd.load(to), sum) });
                }
            }
        }
    }
}
