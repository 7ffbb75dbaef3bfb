//! Plaintexts as words, and how they are made.
//!
//! A polynomial in `X^r`, r a power of two, has one value at r neighbouring leaves of the transform's tree: it is the
//! transform of `N / r` words with each value r times over. Where r is at most 16 these are whole rows of a tile
//! ([`crate::residues::ntt`]), so that loops over tiles read each row of values r times, and nothing else changes.
//! Numbers that repeat after P slots are such a polynomial for `r = N / 2P` ([`crate::ckks::ring::encode`]).

use std::borrow::Cow;

use crate::ckks::ring::coefficients::Coefficients;
use crate::ckks::ring::context::Ring;

/// Words of a tile, and of its rows.
const TILE: usize = 256;
const ROW: usize = 16;
/// Most rows of a tile that are alike.
pub const MOST_REPEATS: usize = TILE / ROW;

/// A polynomial of N/2 numbers times `scale`, ready for products.
#[derive(Clone, Debug, PartialEq)]
pub struct Plaintext {
    /// `u32[limb][N / repeats]`, values in Montgomery form: of each tile every `repeats`-th row.
    pub(in crate::ckks) words: Vec<u32>,
    /// Rows that are alike, one after the other: 1, 2, 4, 8 or 16.
    pub(in crate::ckks) repeats: usize,
    /// What the numbers are multiplied by.
    pub scale: f64,
}

impl Plaintext {
    /// A plaintext of all its words, `u32[limb][N]`, values in Montgomery form.
    #[must_use]
    pub fn new(words: Vec<u32>, scale: f64) -> Self {
        Self { words, repeats: 1, scale }
    }

    /// Words of all limbs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len() * self.repeats
    }

    /// Whether there are no limbs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// All words, `u32[limb][N]`.
    #[must_use]
    pub fn into_words(self) -> Vec<u32> {
        match self.rows(1) {
            Cow::Owned(words) => words,
            Cow::Borrowed(_) => self.words,
        }
    }

    /// Rows of which each stands for `repeats`, no more than it does.
    pub(in crate::ckks) fn rows(&self, repeats: usize) -> Cow<'_, [u32]> {
        if self.repeats == repeats {
            return Cow::Borrowed(&self.words);
        }
        let mut all = vec![0; self.len() / repeats];
        repeat_rows(&self.words, self.repeats / repeats, &mut all);
        Cow::Owned(all)
    }

    /// The words of limb `limb` of a ring of degree N, in `room` where rows repeat.
    pub(in crate::ckks) fn limb<'a>(&'a self, limb: usize, degree: usize, room: &'a mut Vec<u32>) -> &'a [u32] {
        let own = degree / self.repeats;
        let words = &self.words[limb * own..][..own];
        if self.repeats == 1 {
            return words;
        }
        room.resize(degree, 0);
        repeat_rows(words, self.repeats, room);
        room
    }
}

/// Each row `times` times.
fn repeat_rows(rows: &[u32], times: usize, out: &mut [u32]) {
    for (out, row) in out.chunks_exact_mut(times * ROW).zip(rows.chunks_exact(ROW)) {
        out.chunks_exact_mut(ROW).for_each(|out| out.copy_from_slice(row));
    }
}

impl Ring {
    /// Numbers' coefficients, already times `scale`, as a factor for products at up to `limbs` limbs: see
    /// [`Ring::coefficients`].
    ///
    /// # Panics
    /// If their number is no power of two up to N.
    #[must_use]
    pub fn plaintext(&self, coefficients: &[f64], scale: f64, limbs: usize) -> Plaintext {
        self.plaintext_of(&self.coefficients(coefficients, scale), limbs)
    }

    /// Coefficients as a factor for products at up to `limbs` limbs.
    #[must_use]
    pub fn plaintext_of(&self, coefficients: &Coefficients, limbs: usize) -> Plaintext {
        let (degree, count) = (self.degree(), coefficients.count());
        let repeats = (degree / count).min(MOST_REPEATS);
        let size = degree / repeats;
        let mut out = self.pool.take(limbs * size);
        let mut values = vec![0; size];
        for (limb, out) in out.chunks_exact_mut(size).enumerate() {
            let modulus = self.modulus(limb);
            let target = if repeats == 1 { &mut *out } else { &mut values };
            if count == size {
                coefficients.lift(self.arch, modulus, target);
            } else {
                let mut few = vec![0; count];
                coefficients.lift(self.arch, modulus, &mut few);
                target.fill(0);
                target.iter_mut().step_by(size / count).zip(few).for_each(|(word, c)| *word = c);
            }
            self.smaller(limb, repeats).forward(self.arch, target);
            if repeats > 1 {
                gather_rows(repeats, &values, out);
            }
        }
        Plaintext { words: out, repeats, scale: coefficients.scale }
    }
}

impl Ring {
    /// Gives plaintexts' memory back for later operations.
    pub fn recycle_plaintexts(&self, plaintexts: impl IntoIterator<Item = Plaintext>) {
        plaintexts.into_iter().for_each(|plaintext| self.pool.give(plaintext.words));
    }
}

/// From the order of a transform of `N / repeats` words to the rows of tiles of N.
///
/// Leaf l of the small tree has the value of leaves `repeats l` and following. Row v of tile t begins with leaf
/// `256 t + repeats v`, and its lanes are 16 leaves apart.
fn gather_rows(repeats: usize, values: &[u32], rows: &mut [u32]) {
    match repeats {
        2 => gather_rows_of::<2>(values, rows),
        4 => gather_rows_of::<4>(values, rows),
        8 => gather_rows_of::<8>(values, rows),
        _ => gather_rows_of::<MOST_REPEATS>(values, rows),
    }
}

fn gather_rows_of<const REPEATS: usize>(values: &[u32], rows: &mut [u32]) {
    let per_tile = ROW / REPEATS;
    for (row, out) in rows.as_chunks_mut::<ROW>().0.iter_mut().enumerate() {
        // Tile and first lane of the small transform, and its row.
        let (leaf, own) = (row / per_tile * (TILE / REPEATS), row % per_tile);
        let from = &values[leaf / TILE * TILE..][..TILE];
        let first = own * ROW + leaf / ROW % ROW;
        for (high, out) in out.as_chunks_mut::<REPEATS>().0.iter_mut().enumerate() {
            for (low, out) in out.iter_mut().enumerate() {
                *out = from[first + low * (TILE / REPEATS) + high];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::params::set::{ParameterSet, RingKind};
    use crate::ckks::ring::slots::SlotEncoder;

    #[test]
    fn numbers_that_repeat_have_the_words_of_all_of_them() {
        for kind in [RingKind::Complex, RingKind::Real] {
            let ring = Ring::new(ParameterSet::of(kind, 12, 1, 28, 1).expect("secure")).expect("secure");
            let (scale, slots) = (f64::from(1 << 26), ring.params.slots());
            let whole = SlotEncoder::new(&ring.params);
            for log2_period in 2..=slots.trailing_zeros() {
                let period = 1 << log2_period;
                let numbers: Vec<f64> = (0..period).map(|i| (f64::from(i) * 0.7).sin()).collect();
                let few = SlotEncoder::of_slots(kind, log2_period).coefficients(&numbers, scale);
                let all = whole.coefficients(&numbers.repeat(slots / numbers.len()), scale);
                let (few, all) = (ring.plaintext(&few, scale, 2), ring.plaintext(&all, scale, 2));
                assert_eq!((all.repeats, few.repeats), (1, (slots / numbers.len()).min(16)));
                assert_eq!(few.len(), all.len());
                assert_eq!(few.limb(1, 4096, &mut Vec::new()), &all.words[4096..8192], "period {period}");
                assert_eq!(few.into_words(), all.words, "period {period}");
            }
        }
    }
}
