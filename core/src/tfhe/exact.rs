//! Exact transforms: external products modulo two primes, for devices whose doubles are slow, or that have none.
//!
//! The bootstrapping key is rounded from 2^64 to `q = p_1 p_2`, and a device keeps its residues. Products of digits and
//! key words are known by their residues r_i then, and what they add to an accumulator is their share of a turn:
//! with `y_i = r_i (q / p_i)^-1 mod p_i` that is `y_1 / p_1 + y_2 / p_2`, whole turns dropped. So each prime adds
//! [`contribution`] by itself, and no number larger than a word is put together. Words are the same on every device.

use rayon::prelude::*;

use crate::residues::modulus::{Modulus, primes_below};
use crate::tfhe::params::set::ParameterSet;

/// log2 of the smallest and of the largest ring.
const LOG2_RINGS: [u32; 2] = [8, 12];
/// Words of the key that a thread turns into residues at a time, at least.
const SHARE: usize = 1 << 12;

/// What turns the residue of a product into what it adds to an accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recombination {
    /// `(q / p)^-1` mod p.
    pub inverse: u32,
    /// `floor((2^32 - 4 p) 2^40 / p)`.
    pub fraction: u32,
}

/// The primes of every ring, p_1 and p_2: the largest below 2^30 that are 1 mod twice the largest ring.
///
/// # Panics
/// Never: there are more.
#[must_use]
pub fn moduli() -> [Modulus; 2] {
    let mut primes = primes_below(1 << 30, LOG2_RINGS[1]).map(Modulus::new);
    std::array::from_fn(|_| primes.next().expect("there are two primes"))
}

/// q, what the bootstrapping key is switched to.
#[must_use]
pub fn modulus() -> u64 {
    moduli().iter().map(|modulus| u64::from(modulus.p)).product()
}

/// Residues mod prime `at` of words mod 2^64 that are switched to q: of `round(w q / 2^64)`.
#[must_use]
pub fn residues(words: &[u64], at: usize) -> Vec<u32> {
    let (q, p) = (u128::from(modulus()), u64::from(moduli()[at].p));
    // A word that is rounded up to q is 0 mod p.
    let residue = |&word: &u64| (((u128::from(word) * q + (1 << 63)) >> 64) as u64 % p) as u32;
    words.par_iter().with_min_len(SHARE).map(residue).collect()
}

/// The constants of prime `at`.
#[must_use]
pub fn recombination(at: usize) -> Recombination {
    let [modulus, other] = [moduli()[at], moduli()[1 - at]];
    let beyond = (1 << 32) - 4 * u64::from(modulus.p);
    Recombination {
        inverse: modulus.inverse(other.p % modulus.p),
        fraction: ((beyond << 40) / u64::from(modulus.p)) as u32,
    }
}

/// `y / p` of a turn as a word, for y below p: `4 y + ((floor(y F / 2^32) + 128) >> 8)` with F the prime's fraction.
///
/// Before it is rounded that is `y 2^32 / p` to within 5/4 of 2^-8; what is cut off and what halves are rounded up are
/// equal in the mean.
#[inline(always)]
#[must_use]
pub fn contribution(y: u32, fraction: u32) -> u32 {
    let rest = (u64::from(y) * u64::from(fraction)) >> 32;
    (y << 2).wrapping_add(((rest + 128) >> 8) as u32)
}

/// Checks that exact transforms take the ring.
///
/// # Errors
/// A sentence that names the rings.
pub fn check(params: &ParameterSet) -> Result<(), String> {
    let [least, most] = LOG2_RINGS;
    let size = params.polynomial_size;
    if size.is_power_of_two() && (1 << least..=1 << most).contains(&size) {
        return Ok(());
    }
    Err(format!("exact transforms take rings of 2^{least} to 2^{most}; N = {size}; the CPU takes every ring"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How far a contribution is from `y 2^32 / p`, in words times p.
    fn error(y: u32, p: u32, fraction: u32) -> i64 {
        let word = i64::from(contribution(y, fraction));
        let (y, p) = (i64::from(y), i64::from(p));
        let off = (word * p - (y << 32)).rem_euclid(p << 32);
        if off > p << 31 { off - (p << 32) } else { off }
    }

    fn constants(at: usize) -> (u32, u32) {
        (moduli()[at].p, recombination(at).fraction)
    }

    fn is_near(y: u32, p: u32, fraction: u32) -> bool {
        // Half a word for the rounding, 5/4 of 2^-8 for the fraction.
        i128::from(error(y, p, fraction).abs()) * 1024 <= i128::from(p) * (512 + 5)
    }

    #[test]
    fn primes_are_as_the_constants_ask() {
        let [first, second] = moduli().map(|modulus| modulus.p);
        assert!(first > second);
        for (at, p) in [first, second].into_iter().enumerate() {
            assert!(p % 8192 == 1 && (1 << 30) - p < 1 << 20, "{p}");
            let Recombination { inverse, fraction } = recombination(at);
            assert_eq!(u64::from(inverse) * (modulus() / u64::from(p)) % u64::from(p), 1);
            let exact = (((1_u128 << 32) - 4 * u128::from(p)) << 40) / u128::from(p);
            assert_eq!(u128::from(fraction), exact, "it fits a word");
        }
    }

    #[test]
    fn contributions_at_the_ends_are_near() {
        for (p, fraction) in [0, 1].map(constants) {
            for y in (0..5000).chain(p / 2 - 5000..p / 2 + 5000).chain(p - 5000..p) {
                assert!(is_near(y, p, fraction), "{y} of {p}");
            }
            assert_eq!(contribution(0, fraction), 0);
        }
    }

    #[test]
    fn contributions_have_no_mean_error() {
        for (p, fraction) in [0, 1].map(constants) {
            let count = 1 << 22;
            let sum: f64 = (0..count).map(|i| error(p / count * i + i % 199, p, fraction) as f64 / f64::from(p)).sum();
            let mean = sum / f64::from(count);
            // Six standard deviations of the mean of roundings, and what the fraction's own rounding leaves.
            assert!(mean.abs() < 6.0 * (1.0 / 12.0 / f64::from(count)).sqrt() + 0.125 / 256.0, "{mean}");
        }
    }

    #[test]
    fn words_switched_to_q_keep_their_place_on_the_torus() {
        let ends = [0, 1, 8, u64::MAX, u64::MAX - 7, 1 << 63, 0x0123_4567_89ab_cdef];
        let [first, second] = [residues(&ends, 0), residues(&ends, 1)];
        let q = modulus();
        for (at, word) in ends.into_iter().enumerate() {
            let switched = ((u128::from(word) * u128::from(q) + (1 << 63)) >> 64) as u64 % q;
            for (residue, modulus) in [first[at], second[at]].into_iter().zip(moduli()) {
                assert_eq!(u64::from(residue), switched % u64::from(modulus.p), "{word}");
            }
        }
        assert_eq!([first[3], second[3]], [0, 0], "q becomes 0");
    }

    #[test]
    fn other_rings_are_refused() {
        let set = |size| ParameterSet::with_least_noise(800, 1, size, (23, 1), (2, 7));
        assert!([256, 512, 1024, 2048, 4096].into_iter().all(|size| check(&set(size)).is_ok()));
        let message = check(&set(8192)).expect_err("a large ring");
        assert_eq!(message, "exact transforms take rings of 2^8 to 2^12; N = 8192; the CPU takes every ring");
    }

    proptest! {
        #[test]
        fn contributions_are_near(y: u32, at in 0_usize..2) {
            let (p, fraction) = constants(at);
            prop_assert!(is_near(y % p, p, fraction));
        }
    }
}
