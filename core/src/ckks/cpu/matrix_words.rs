//! Products of a matrix with the words of one limb: every word that is read serves a block of rows.
//!
//! Sums are kept in 64 bits, in registers, over all terms. A bound `B = 2^33 p` is subtracted where it fits after every
//! `2^33 / p` terms: sums stay below B then, and below 2B < 2^64 before. Words are multiplied in pairs, as the halves
//! of 64-bit lanes: the products read the lower half of a lane alone, so that only one half of the words must be moved.

use crate::residues::modulus::Modulus;

/// Rows that are computed at a time: their sums fit the registers.
pub(super) const BLOCK: usize = 8;

/// The same in portable loops.
const NARROW_BLOCK: usize = 2;

/// Words of every term that lie together, as pairs in 64-bit lanes, without vectors by hand.
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
    #[cfg(target_arch = "x86_64")]
    if matches!(arch, pulp::Arch::V4(_) | pulp::Arch::V3(_)) {
        wide::multiply(arch, modulus, out, source, weights, add);
        return;
    }
    match source {
        TermWords::Packed(x) => narrow(arch, modulus, out, x, weights, add),
        TermWords::Terms { terms, packed } => {
            pack(packed, terms);
            narrow(arch, modulus, out, packed, weights, add);
        }
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

/// The same with vectors by hand: the compiler does not keep so many sums in registers.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{BLOCK, Modulus, TermWords, bound, terms_between};
    use crate::residues::vectors::{Reducer, Vectors, add_products, for_each_vector};

    /// Vectors by which a term's next words are asked for ahead.
    const AHEAD: usize = 4;

    for_each_vector! {
        pub(super) fn multiply = multiply_rows,
        (modulus: Modulus, out: &mut [&mut [u32]], source: TermWords<'_>, weights: &[u32], add: bool)
    }

    /// As many rows at a time as the registers hold sums for: all of a block, or half of one.
    #[inline(always)]
    fn multiply_rows<S: Vectors>(
        simd: S,
        modulus: Modulus,
        out: &mut [&mut [u32]],
        source: TermWords<'_>,
        weights: &[u32],
        add: bool,
    ) {
        match (out.len(), S::SUMS == 2 * BLOCK) {
            (1, _) => some_rows::<S, 1, 1>(simd, modulus, 0, out, source, weights, add),
            (2, _) => some_rows::<S, 2, 2>(simd, modulus, 0, out, source, weights, add),
            (3, _) => some_rows::<S, 3, 3>(simd, modulus, 0, out, source, weights, add),
            (4, _) => some_rows::<S, 4, 4>(simd, modulus, 0, out, source, weights, add),
            (5, true) => some_rows::<S, 5, 5>(simd, modulus, 0, out, source, weights, add),
            (6, true) => some_rows::<S, 6, 6>(simd, modulus, 0, out, source, weights, add),
            (7, true) => some_rows::<S, 7, 7>(simd, modulus, 0, out, source, weights, add),
            (8, true) => some_rows::<S, 8, 8>(simd, modulus, 0, out, source, weights, add),
            (5, false) => halves::<S, 1, 5>(simd, modulus, out, source, weights, add),
            (6, false) => halves::<S, 2, 6>(simd, modulus, out, source, weights, add),
            (7, false) => halves::<S, 3, 7>(simd, modulus, out, source, weights, add),
            (8, false) => halves::<S, 4, 8>(simd, modulus, out, source, weights, add),
            (rows, _) => unreachable!("{rows} rows are no block"),
        }
    }

    /// Four rows, and the others behind them.
    #[inline(always)]
    fn halves<S: Vectors, const REST: usize, const ALL: usize>(
        simd: S,
        modulus: Modulus,
        out: &mut [&mut [u32]],
        source: TermWords<'_>,
        weights: &[u32],
        add: bool,
    ) {
        let (four, rest) = out.split_at_mut(4);
        let x: &[u32] = match source {
            TermWords::Packed(x) => {
                some_rows::<S, 4, ALL>(simd, modulus, 0, four, TermWords::Packed(x), weights, add);
                x
            }
            TermWords::Terms { terms, packed } => {
                let source = TermWords::Terms { terms, packed: &mut *packed };
                some_rows::<S, 4, ALL>(simd, modulus, 0, four, source, weights, add);
                packed
            }
        };
        some_rows::<S, REST, ALL>(simd, modulus, 4, rest, TermWords::Packed(x), weights, add);
    }

    /// Rows from number `first` on of a block of `ALL`.
    #[inline(always)]
    fn some_rows<S: Vectors, const ROWS: usize, const ALL: usize>(
        simd: S,
        modulus: Modulus,
        first: usize,
        out: &mut [&mut [u32]],
        source: TermWords<'_>,
        weights: &[u32],
        add: bool,
    ) {
        let out: &mut [&mut [u32]; ROWS] = out.try_into().expect("so many rows");
        let weights = weights.as_chunks::<ALL>().0;
        let (words, count) = (out[0].len(), weights.len());
        assert!(words.is_multiple_of(S::COUNT) && out.iter().all(|row| row.len() == words), "whole vectors");
        assert!(first + ROWS <= ALL, "weights for all rows");
        let (from, to, terms): (*const u32, *mut u32, &[&[u32]]) = match source {
            TermWords::Packed(x) => {
                assert!(x.len() >= count * words, "all words of all terms");
                (x.as_ptr(), std::ptr::null_mut(), &[])
            }
            TermWords::Terms { terms, packed } => {
                assert!(packed.len() >= count * words && terms.len() == count, "a place for each term");
                assert!(terms.iter().all(|term| term.len() == words), "terms as long as rows");
                (std::ptr::null(), packed.as_mut_ptr(), terms)
            }
        };
        let reducer = Reducer::new(simd, modulus);
        let (between, bound) = (terms_between(modulus), simd.splat_pair(bound(modulus)));
        for group in 0..words / S::COUNT {
            let mut sums = [[simd.splat(0); 2]; ROWS];
            for start in (0..count).step_by(between) {
                for at in start..(start + between).min(count) {
                    // SAFETY: places are below `count * words`, those within a term below `words`, as asserted; an
                    // address that is asked for ahead is not read.
                    let x = unsafe {
                        let place = (group * count + at) * S::COUNT;
                        if terms.is_empty() {
                            simd.load(from.add(place))
                        } else {
                            let term = terms[at].as_ptr();
                            let x = simd.load(term.add(group * S::COUNT));
                            simd.prefetch(term.wrapping_add((group + AHEAD) * S::COUNT));
                            simd.store(to.add(place), x);
                            x
                        }
                    };
                    for row in 0..ROWS {
                        add_products(simd, &mut sums[row], x, [simd.splat(weights[at][first + row]); 2]);
                    }
                }
                for sums in &mut sums {
                    *sums = [simd.below(sums[0], bound), simd.below(sums[1], bound)];
                }
            }
            for row in 0..ROWS {
                // SAFETY: rows have `words` words, as asserted.
                unsafe {
                    let to = out[row].as_mut_ptr().add(group * S::COUNT);
                    let sum = reducer.reduce(sums[row]);
                    simd.store(to, if add { reducer.add(simd.load(to), sum) } else { sum });
                }
            }
        }
    }
}
