//! Coefficients of plaintexts, rounded to integers: what a plaintext is made of at each use where it does not stay.
//!
//! A transformed plaintext has a word a limb for each of them. Where a network has more masks than memory holds in that
//! form, they stay coefficients, and a device transforms them when they are used.

use crate::ckks::ring::context::Ring;
use crate::ckks::ring::words;
use crate::residues::modulus::{Factor, Modulus};

/// A polynomial of integers below 2^62: those of N coefficients, or of a polynomial in `X^(N / n)` where there are n, a
/// power of two.
#[derive(Clone, Debug, PartialEq)]
pub struct Coefficients {
    integers: Integers,
    /// log2 of what the integers are to be multiplied by.
    shift: u32,
    /// Whether the first half is held alone, see [`Coefficients::of_real_slots`].
    is_half: bool,
    /// What the numbers were multiplied by.
    pub scale: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Integers {
    /// With 2^31 added.
    Short(Vec<u32>),
    Long(Vec<i64>),
}

/// Words that integers are taken apart into, see [`Coefficients::pieces`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// How many an integer has: 1 or 2.
    pub count: usize,
    /// `u32[count][N]`, the low words first.
    pub words: Vec<u32>,
}

/// Most words of an integer.
pub const MOST_PIECES: usize = 2;

/// Bits of integers of real slots that are too long for a word.
const SHIFTED_BITS: u32 = 30;

/// Bytes of so many coefficients of real slots, see [`Coefficients::of_real_slots`].
#[must_use]
pub fn half_bytes(count: usize) -> u64 {
    2 * count as u64
}

impl Coefficients {
    /// Without the second half of coefficients whose numbers are real, in a ring of complex slots: there `m(X) =
    /// m(X^-1)`, so that coefficient `n - k` is the negative of coefficient k, and the one in the middle is 0. Of
    /// numbers beyond 2^31 the 30 highest bits stay, counted from the largest: two bytes a coefficient hold any.
    #[must_use]
    pub fn of_real_slots(self) -> Self {
        let half = self.count() / 2;
        let (mut held, shift) = match self.integers {
            Integers::Short(own) => (own, 0),
            Integers::Long(own) => {
                let largest = own.iter().fold(0, |most, own| own.unsigned_abs().max(most));
                let shift = (u64::BITS - largest.leading_zeros()).saturating_sub(SHIFTED_BITS);
                let rounded = |own: &i64| {
                    let magnitude = (own.unsigned_abs() + (1 << shift >> 1)) >> shift;
                    if *own < 0 { -(magnitude as i32) } else { magnitude as i32 }
                };
                (own.iter().map(|own| rounded(own).cast_unsigned() ^ 1 << 31).collect(), shift)
            }
        };
        held.truncate(half);
        held.shrink_to_fit();
        Self { integers: Integers::Short(held), shift: self.shift + shift, is_half: true, scale: self.scale }
    }

    /// How many there are, with those that are not held.
    #[must_use]
    pub fn count(&self) -> usize {
        let held = match &self.integers {
            Integers::Short(own) => own.len(),
            Integers::Long(own) => own.len(),
        };
        if self.is_half { 2 * held } else { held }
    }

    /// Residues in Montgomery form, [`Coefficients::count`] of them.
    pub(in crate::ckks) fn lift(&self, arch: pulp::Arch, modulus: Modulus, out: &mut [u32]) {
        let (held, mirrored) = out.split_at_mut(if self.is_half { out.len() / 2 } else { out.len() });
        match &self.integers {
            Integers::Short(own) => words::recenter(arch, modulus, held, own, modulus.montgomery_of_word(1 << 31)),
            Integers::Long(own) => words::lift(arch, modulus, held, own),
        }
        if self.shift > 0 {
            let power = (0..self.shift).fold(1 % modulus.p, |power, _| modulus.add(power, power));
            words::scale(arch, modulus, held, Factor::new(power, modulus));
        }
        mirror(held, mirrored, 0, |word| modulus.sub(0, word));
    }

    /// The integers as sums of words: a short one is its word less 2^31, a long one the low word and 2^32 times the
    /// high word, less 2^63.
    #[must_use]
    pub fn pieces(&self, degree: usize) -> Pieces {
        // As words of 64 bits with so much added that none is negative.
        let (mut integers, count, added): (Vec<u64>, usize, u64) = match &self.integers {
            Integers::Short(own) if self.shift > 0 => {
                let shifted = |&word: &u32| (i64::from((word ^ 1 << 31).cast_signed()) << self.shift).cast_unsigned();
                (own.iter().map(|word| shifted(word) ^ 1 << 63).collect(), 2, 1 << 63)
            }
            Integers::Short(own) => (own.iter().map(|&word| u64::from(word)).collect(), 1, 1 << 31),
            Integers::Long(own) => (own.iter().map(|&own| own.cast_unsigned() ^ 1 << 63).collect(), 2, 1 << 63),
        };
        if self.is_half {
            let held = integers.len();
            integers.resize(2 * held, 0);
            let (held, mirrored) = integers.split_at_mut(held);
            mirror(held, mirrored, added, |word| (2 * u128::from(added) - u128::from(word)) as u64);
        }
        let mut words = vec![added as u32; degree];
        words.resize(count * degree, (added >> 32) as u32);
        for (at, integer) in integers.iter().enumerate() {
            let place = at * (degree / integers.len());
            for (piece, words) in words.chunks_exact_mut(degree).enumerate() {
                words[place] = (integer >> (32 * piece)) as u32;
            }
        }
        Pieces { count, words }
    }
}

/// What follows a first half: nothing where there is no room for it.
fn mirror<T: Copy>(held: &[T], mirrored: &mut [T], zero: T, negative: impl Fn(T) -> T) {
    let Some((middle, others)) = mirrored.split_first_mut() else { return };
    *middle = zero;
    others.iter_mut().zip(held[1..].iter().rev()).for_each(|(word, &own)| *word = negative(own));
}

impl Ring {
    /// Coefficients, already times `scale` and below 2^62, rounded to the nearest integers.
    ///
    /// # Panics
    /// If their number is no power of two up to N.
    #[must_use]
    pub fn coefficients(&self, numbers: &[f64], scale: f64) -> Coefficients {
        let (degree, count) = (self.degree(), numbers.len());
        assert!(count.is_power_of_two() && count <= degree, "{count} coefficients in a ring of degree {degree}");
        let mut largest = 0.0;
        words::largest(self.arch, &mut largest, numbers);
        let integers = if largest < f64::from(i32::MAX) - 1.0 {
            let mut short = vec![0; count];
            words::round_short(self.arch, &mut short, numbers);
            Integers::Short(short)
        } else {
            let mut long = vec![0; count];
            words::round(self.arch, &mut long, numbers);
            Integers::Long(long)
        };
        Coefficients { integers, shift: 0, is_half: false, scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::params::set::{ParameterSet, RingKind};
    use crate::ckks::ring::slots::SlotEncoder;

    fn ring() -> Ring {
        Ring::new(ParameterSet::of(RingKind::Complex, 12, 1, 28, 1).expect("secure")).expect("secure")
    }

    /// Integers of real slots, short and long ones, that repeat or do not.
    fn samples(ring: &Ring) -> Vec<Vec<f64>> {
        let sample = |(log2_period, log2_scale): (u32, f64)| {
            let numbers: Vec<f64> = (0..1 << log2_period).map(|i| (f64::from(i) * 0.7).sin()).collect();
            SlotEncoder::of_slots(ring.params.ring, log2_period).coefficients(&numbers, log2_scale.exp2())
        };
        // Well below the 53 bits of a double, so that both halves are rounded alike.
        [(11, 26.0), (11, 40.0), (4, 26.0), (5, 40.0)].map(sample).into()
    }

    #[test]
    fn halves_of_real_slots_are_the_whole() {
        let ring = ring();
        for numbers in samples(&ring) {
            let whole = ring.coefficients(&numbers, 1.0);
            let half = whole.clone().of_real_slots();
            assert_eq!(half.count(), numbers.len());
            let is_short = matches!(whole.integers, Integers::Short(_));
            // Long ones keep their 30 highest bits: the same as of numbers that end there.
            let shift = f64::from(half.shift).exp2();
            let ends: Vec<f64> = numbers.iter().map(|number| (number.round() / shift).round() * shift).collect();
            let want = ring.coefficients(&ends, 1.0);
            assert!(is_short == (half.shift == 0));
            let words = |own: &Coefficients| ring.plaintext_of(own, 2).into_words();
            assert!(words(&half) == words(&want), "{} coefficients", numbers.len());
            assert!(half.pieces(4096) == want.pieces(4096), "{} coefficients", numbers.len());
        }
    }

    #[test]
    fn pieces_sum_up_to_the_integers() {
        let ring = ring();
        let all = samples(&ring);
        let ends = [-2_f64.powi(61), 2_f64.powi(61), -2_147_483_645.4, 2_147_483_645.4, 0.5, -0.5, 0.0, -1.0];
        for numbers in all.into_iter().chain([ends[2..6].to_vec(), ends.to_vec()]) {
            let coefficients = ring.coefficients(&numbers, 1.0);
            let Pieces { count, words } = coefficients.pieces(4096);
            assert_eq!((count, words.len()), (coefficients.pieces(4096).count, count * 4096));
            let stride = 4096 / numbers.len();
            for place in 0..4096 {
                let [low, high] = [0, 1].map(|piece| i128::from(*words.get(piece * 4096 + place).unwrap_or(&0)));
                let sum = if count == 1 { low - (1 << 31) } else { low + (high << 32) - (1 << 63) };
                let number = if place % stride == 0 { numbers[place / stride] } else { 0.0 };
                assert_eq!(sum, number.round() as i128, "{count} words, place {place}");
            }
        }
    }
}
