//! Products of a matrix with the words of one limb: every word that is read serves a block of rows.
//!
//! Sums are kept in 64 bits, in registers, over all terms. A bound `B = 2^33 p` is subtracted where it fits after every
//! `2^33 / p` terms: sums stay below B then, and below 2B < 2^64 before. Words are multiplied in pairs, as the halves
//! of 64-bit lanes: the products read the lower half of a lane alone, so that only one half of the words must be moved.

use crate::residues::modulus::Modulus;

/// Rows that are computed at a time: their sums fit the registers.
pub(super) const BLOCK: usize = 8;

/// The same where there are 16 registers.
const NARROW_BLOCK: usize = 2;

/// Words of every term that lie together, as pairs in 64-bit lanes, without wide vectors.
const GROUP: usize = 8;

/// Where a block of rows reads the words of its terms.
pub(super) enum TermWords<'a> {
    /// In the terms, all of the rows' length; they are copied to `packed`, of all their words, on the way.
    Terms {
        /// One slice a term.
        terms: &'a [&'a [u32]],
        /// `u32[group][term][words of a group]`.
        packed: &'a mut [u32],
    },
    /// Where an earlier block copied them: words of terms lie far apart, and in the same sets of a cache.
    Packed(&'a [u32]),
}

/// `out[k] = sum_t weights[t][k] terms[t] / 2^32` for a block of rows, or added to `out` as it is.
///
/// Shapes: `out` up to [`BLOCK`] rows of equal length, a multiple of 16; weights `u32[term][row]`. All words are
/// residues.
pub(super) fn multiply(
    arch: pulp::Arch,
    modulus: Modulus,
    out: &mut [&mut [u32]],
    source: TermWords<'_>,
    weights: &[u32],
    add: bool,
) {
    match arch {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: pulp hands out `V4` only after it found these features on this processor.
        pulp::Arch::V4(_) => unsafe { wide::multiply(modulus, out, source, weights, add) },
        _ => match source {
            TermWords::Packed(x) => narrow(arch, modulus, out, x, weights, add),
            TermWords::Terms { terms, packed } => {
                pack(packed, terms);
                narrow(arch, modulus, out, packed, weights, add);
            }
        },
    }
}

fn pack(packed: &mut [u32], terms: &[&[u32]]) {
    let packed = packed.as_chunks_mut::<GROUP>().0;
    for (at, term) in terms.iter().enumerate() {
        for (group, words) in term.as_chunks::<GROUP>().0.iter().enumerate() {
            packed[group * terms.len() + at] = *words;
        }
    }
}

/// Terms between two subtractions of the bound.
fn terms_between(modulus: Modulus) -> usize {
    ((1_u64 << 33) / u64::from(modulus.p)) as usize
}

/// What is subtracted from sums.
fn bound(modulus: Modulus) -> u64 {
    u64::from(modulus.p) << 33
}

crate::device::simd::for_each_arch! {
    /// [`multiply`] with loops that the compiler makes vectors of.
    fn narrow = narrow_rows, (modulus: Modulus, out: &mut [&mut [u32]], x: &[u32], weights: &[u32], add: bool)
}

#[inline(always)]
fn narrow_rows(modulus: Modulus, out: &mut [&mut [u32]], x: &[u32], weights: &[u32], add: bool) {
    let rows = out.len();
    for (at, out) in out.chunks_mut(NARROW_BLOCK).enumerate() {
        let weights = weights.chunks_exact(rows).map(|weights| &weights[at * NARROW_BLOCK..]);
        match out {
            [out] => narrow_block::<1>(modulus, [out], x, weights, add),
            [a, b] => narrow_block::<2>(modulus, [a, b], x, weights, add),
            _ => {}
        }
    }
}

#[inline(always)]
fn narrow_block<'w, const ROWS: usize>(
    modulus: Modulus,
    mut out: [&mut [u32]; ROWS],
    x: &[u32],
    weights: impl ExactSizeIterator<Item = &'w [u32]> + Clone,
    add: bool,
) {
    let (terms, between, bound) = (weights.len(), terms_between(modulus), bound(modulus));
    for (group, x) in x.chunks_exact(GROUP * terms).enumerate() {
        let mut sums = [[[0_u64; GROUP / 2]; 2]; ROWS];
        let mut left = between;
        for (x, weights) in x.as_chunks::<GROUP>().0.iter().zip(weights.clone()) {
            let pairs: [u64; GROUP / 2] = std::array::from_fn(|at| bytemuck::cast([x[2 * at], x[2 * at + 1]]));
            for ([low, high], &weight) in sums.iter_mut().zip(weights) {
                for (sum, pair) in low.iter_mut().zip(pairs) {
                    *sum += (pair & 0xffff_ffff) * u64::from(weight);
                }
                for (sum, pair) in high.iter_mut().zip(pairs) {
                    *sum += (pair >> 32) * u64::from(weight);
                }
            }
            left -= 1;
            if left == 0 {
                left = between;
                for sum in sums.as_flattened_mut().as_flattened_mut() {
                    *sum = (*sum).min(sum.wrapping_sub(bound));
                }
            }
        }
        for (out, [low, high]) in out.iter_mut().zip(sums) {
            let words = out[group * GROUP..][..GROUP].as_chunks_mut::<2>().0;
            for ((words, low), high) in words.iter_mut().zip(low).zip(high) {
                let [low, high] = [low, high].map(|sum| modulus.reduce_sum(sum.min(sum.wrapping_sub(bound))));
                let pair: [u32; 2] = bytemuck::cast(u64::from(low) | u64::from(high) << 32);
                for (word, sum) in words.iter_mut().zip(pair) {
                    *word = if add { modulus.add(*word, sum) } else { sum };
                }
            }
        }
    }
}

/// The same with vectors of 512 bits by hand: the compiler does not keep so many sums in registers.
#[cfg(target_arch = "x86_64")]
mod wide {
    use core::arch::x86_64::*;

    use super::{Modulus, TermWords, bound, terms_between};

    /// Words of a vector.
    pub(super) const GROUP: usize = 16;

    /// Vectors by which a term's next words are asked for ahead.
    const AHEAD: usize = 4;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(words: &[u32; GROUP]) -> __m512i {
        // SAFETY: an array of 64 bytes, at any address.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(words: &mut [u32; GROUP], x: __m512i) {
        // SAFETY: an array of 64 bytes, at any address.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), x) }
    }

    /// Sums of a block of rows for the even and the odd words of a vector.
    struct Sums<const ROWS: usize> {
        even: [__m512i; ROWS],
        odd: [__m512i; ROWS],
        bound: __m512i,
    }

    impl<const ROWS: usize> Sums<ROWS> {
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn new(modulus: Modulus) -> Self {
            let zeros = [_mm512_setzero_si512(); ROWS];
            Self { even: zeros, odd: zeros, bound: _mm512_set1_epi64(bound(modulus) as i64) }
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        fn add(&mut self, low: __m512i, weights: &[u32; ROWS]) {
            let high = _mm512_srli_epi64::<32>(low);
            for (row, &weight) in weights.iter().enumerate() {
                let weight = _mm512_set1_epi32(weight as i32);
                self.even[row] = _mm512_add_epi64(self.even[row], _mm512_mul_epu32(low, weight));
                self.odd[row] = _mm512_add_epi64(self.odd[row], _mm512_mul_epu32(high, weight));
            }
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        fn subtract_bound(&mut self) {
            for row in 0..ROWS {
                let [even, odd] = [self.even[row], self.odd[row]];
                self.even[row] = _mm512_min_epu64(even, _mm512_sub_epi64(even, self.bound));
                self.odd[row] = _mm512_min_epu64(odd, _mm512_sub_epi64(odd, self.bound));
            }
        }

        /// Reduces sums below the bound.
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn store(self, modulus: Modulus, out: &mut [&mut [u32]], group: usize, add: bool) {
            let negative_inverse = _mm512_set1_epi32(modulus.negative_inverse() as i32);
            let [p, two_p] = [modulus.p, 2 * modulus.p].map(|x| _mm512_set1_epi32(x as i32));
            for (out, (even, odd)) in out.iter_mut().zip(self.even.into_iter().zip(self.odd)) {
                let words = &mut out.as_chunks_mut::<GROUP>().0[group];
                // A multiple of p below 2^32 p makes the lower halves zero; the upper ones are below 3p.
                let [even, odd] = [even, odd].map(|sum| {
                    let multiple = _mm512_mul_epu32(_mm512_mul_epu32(sum, negative_inverse), p);
                    _mm512_add_epi64(sum, multiple)
                });
                let sum = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
                let sum = _mm512_min_epu32(sum, _mm512_sub_epi32(sum, two_p));
                let mut sum = _mm512_min_epu32(sum, _mm512_sub_epi32(sum, p));
                if add {
                    sum = _mm512_add_epi32(sum, load(words));
                    sum = _mm512_min_epu32(sum, _mm512_sub_epi32(sum, p));
                }
                store(words, sum);
            }
        }
    }

    /// Dispatches on the number of rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn multiply(
        modulus: Modulus,
        out: &mut [&mut [u32]],
        source: TermWords<'_>,
        weights: &[u32],
        add: bool,
    ) {
        match out.len() {
            1 => block::<1>(modulus, out, source, weights, add),
            2 => block::<2>(modulus, out, source, weights, add),
            3 => block::<3>(modulus, out, source, weights, add),
            4 => block::<4>(modulus, out, source, weights, add),
            5 => block::<5>(modulus, out, source, weights, add),
            6 => block::<6>(modulus, out, source, weights, add),
            7 => block::<7>(modulus, out, source, weights, add),
            8 => block::<8>(modulus, out, source, weights, add),
            rows => unreachable!("{rows} rows are no block"),
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn block<const ROWS: usize>(
        modulus: Modulus,
        out: &mut [&mut [u32]],
        source: TermWords<'_>,
        weights: &[u32],
        add: bool,
    ) {
        let weights = weights.as_chunks::<ROWS>().0;
        let between = terms_between(modulus);
        match source {
            TermWords::Packed(x) => {
                for (group, x) in x.as_chunks::<GROUP>().0.chunks_exact(weights.len()).enumerate() {
                    let mut sums = Sums::<ROWS>::new(modulus);
                    for (x, weights) in x.chunks(between).zip(weights.chunks(between)) {
                        for (x, weights) in x.iter().zip(weights) {
                            sums.add(load(x), weights);
                        }
                        sums.subtract_bound();
                    }
                    sums.store(modulus, out, group, add);
                }
            }
            TermWords::Terms { terms, packed } => {
                let groups = packed.as_chunks_mut::<GROUP>().0.chunks_exact_mut(weights.len());
                for (group, packed) in groups.enumerate() {
                    let mut sums = Sums::<ROWS>::new(modulus);
                    let chunks = terms.chunks(between).zip(packed.chunks_mut(between)).zip(weights.chunks(between));
                    for ((terms, packed), weights) in chunks {
                        for ((term, packed), weights) in terms.iter().zip(packed).zip(weights) {
                            let x = load(&term.as_chunks().0[group]);
                            _mm_prefetch::<_MM_HINT_T0>(term.as_ptr().wrapping_add((group + AHEAD) * GROUP).cast());
                            store(packed, x);
                            sums.add(x, weights);
                        }
                        sums.subtract_bound();
                    }
                    sums.store(modulus, out, group, add);
                }
            }
        }
    }
}
