//! Parameters of RNS-CKKS, and the constants that follow from them.

use std::sync::OnceLock;

use crate::ckks::params::set::{ParameterSet, RingKind};
use rayon::prelude::*;

use crate::ckks::ring::pool::Pool;
use crate::residues::modulus::{Factor, Modulus};
use crate::residues::ntt::Ntt;

/// One digit of the hybrid decomposition with a given number of limbs.
#[derive(Debug)]
pub struct Digit {
    /// First limb.
    pub first: usize,
    /// For each of its limbs `(D / q_i)^-1 2^-32 mod q_i`, D the product of the digit's limbs.
    pub inverse: Vec<Factor>,
    /// For each prime of QP how the digit is converted to it.
    pub conversions: Vec<Conversion>,
}

impl Digit {
    /// Whether a limb of Q is one of its own.
    #[must_use]
    pub fn owns(&self, limb: usize) -> bool {
        (self.first..self.first + self.inverse.len()).contains(&limb)
    }
}

/// From residues of several primes `p_i` with product M to one prime t: `sum_i y_i (M / p_i) mod t`, y_i centred.
///
/// Centred parts halve the error's deviation, and leave it without a mean: a mean would meet the key's errors
/// coherently.
#[derive(Debug)]
pub struct Conversion {
    /// `M / p_i 2^64 mod t`.
    pub weights: Vec<u32>,
    /// `-sum_i floor(p_i / 2) (M / p_i) mod t`, times 2^64: parts come with half their prime added.
    pub offset: u64,
}

impl Conversion {
    /// To residues of sums of words times `weights`, less `centre`, in Montgomery form.
    pub fn new(modulus: Modulus, weights: &[u32], centre: u32) -> Self {
        // The sum is divided by 2^32 when it is reduced, and Montgomery form keeps one 2^32.
        let twice = |residue: u32| modulus.montgomery(modulus.montgomery(residue));
        Self {
            weights: weights.iter().map(|&weight| twice(weight)).collect(),
            offset: u64::from(twice(modulus.sub(0, centre))),
        }
    }
}

/// Constants of one parameter set, for every level.
///
/// Words of polynomials are in Montgomery form everywhere (residues times 2^32), so that products need one reduction;
/// base conversions take plain coefficients and give Montgomery ones, by their constants.
pub struct Ring {
    /// The parameters.
    pub params: ParameterSet,
    /// Whether one operation is spread over the current thread pool, for few ciphertexts at a time.
    pub(in crate::ckks) spread: bool,
    pub(in crate::ckks) arch: pulp::Arch,
    pub(in crate::ckks) pool: Pool,
    /// Transforms of the primes of Q, then of P.
    pub(in crate::ckks) rings: Vec<Ntt>,
    /// For each prime those of a half, a quarter, an eighth and a sixteenth of the words, where plaintexts ask for
    /// them.
    pub(in crate::ckks) smaller: Vec<[OnceLock<Ntt>; 4]>,
    /// `digits[j][c - 1]`: digit j with c limbs.
    pub digits: Vec<Vec<Digit>>,
    /// For each special prime `(P / p_i)^-1 2^-32 mod p_i`.
    pub special_inverse: Vec<Factor>,
    /// For each prime of Q how the special part is converted to it.
    pub special_conversions: Vec<Conversion>,
    /// For each prime q of Q `P^-1 mod q`.
    pub special_quotient: Vec<Factor>,
    /// `rescale[l][t]`: `q_l^-1 mod q_t`, t < l.
    pub rescale: Vec<Vec<Factor>>,
}

fn transform(ring: RingKind, modulus: Modulus, log2_degree: u32) -> Ntt {
    match ring {
        RingKind::Complex => Ntt::new(modulus, log2_degree),
        RingKind::Real => Ntt::of_invariants(modulus, log2_degree),
    }
}

impl Ring {
    /// Computes all constants; takes some milliseconds a prime.
    ///
    /// # Errors
    /// What [`ParameterSet::check`] finds.
    pub fn new(params: ParameterSet) -> Result<Self, String> {
        params.check()?;
        let all: Vec<Modulus> = params.primes.iter().chain(&params.special_primes).map(|&p| Modulus::new(p)).collect();
        let limbs = params.primes.len();
        let alpha = params.special_primes.len();
        let product = |primes: &[u32], modulus: Modulus| primes.iter().fold(1, |x, &p| modulus.mul(x, p % modulus.p));
        let without = |primes: &[u32], at: usize| [&primes[..at], &primes[at + 1..]].concat();
        let inverse_of = |primes: &[u32], at: usize| {
            let modulus = Modulus::new(primes[at]);
            let inverse = modulus.inverse(product(&without(primes, at), modulus));
            Factor::new(modulus.mul(inverse, modulus.inverse(modulus.montgomery(1))), modulus)
        };
        let conversion = |primes: &[u32], modulus: Modulus| {
            let weights: Vec<u32> = (0..primes.len()).map(|at| product(&without(primes, at), modulus)).collect();
            let centres = weights.iter().zip(primes).map(|(&weight, &p)| modulus.mul(weight, p / 2 % modulus.p));
            let centre = centres.fold(0, |sum, x| modulus.add(sum, x));
            Conversion::new(modulus, &weights, centre)
        };
        let digit = |first: usize, count: usize| {
            let own = &params.primes[first..first + count];
            Digit {
                first,
                inverse: (0..count).map(|at| inverse_of(own, at)).collect(),
                conversions: all.iter().map(|&modulus| conversion(own, modulus)).collect(),
            }
        };
        let digits = (0..limbs.div_ceil(alpha))
            .map(|j| (1..=alpha.min(limbs - j * alpha)).map(|count| digit(j * alpha, count)).collect())
            .collect();
        let special = &params.special_primes;
        Ok(Self {
            spread: false,
            arch: pulp::Arch::new(),
            pool: Pool::new(all.len() << params.log2_degree),
            rings: all.par_iter().map(|&modulus| transform(params.ring, modulus, params.log2_degree)).collect(),
            smaller: all.iter().map(|_| Default::default()).collect(),
            digits,
            special_inverse: (0..alpha).map(|at| inverse_of(special, at)).collect(),
            special_conversions: all[..limbs].iter().map(|&modulus| conversion(special, modulus)).collect(),
            special_quotient: all[..limbs]
                .iter()
                .map(|&modulus| Factor::new(modulus.inverse(product(special, modulus)), modulus))
                .collect(),
            rescale: (0..limbs)
                .map(|l| {
                    let quotient = |modulus: &Modulus| Factor::new(modulus.inverse(all[l].p % modulus.p), *modulus);
                    all[..l].iter().map(quotient).collect()
                })
                .collect(),
            params,
        })
    }

    /// The same constants, for another instruction set.
    #[must_use]
    pub(in crate::ckks) fn on(mut self, arch: pulp::Arch) -> Self {
        self.arch = arch;
        self
    }

    /// Keeps so many words of buffers for later operations.
    #[must_use]
    pub(in crate::ckks) fn keeping(mut self, words: usize) -> Self {
        self.pool = self.pool.keeping(words);
        self
    }

    /// The same constants, for operations that are each spread over the current thread pool.
    #[must_use]
    pub fn spread(mut self) -> Self {
        self.spread = true;
        self
    }

    /// Calls `act` for every item of a few, on the current thread pool if operations are spread.
    pub(in crate::ckks) fn for_each<I: Send>(&self, items: Vec<I>, act: impl Fn(I) + Sync + Send) {
        if self.spread {
            items.into_par_iter().for_each(act);
        } else {
            items.into_iter().for_each(act);
        }
    }

    /// N.
    #[must_use]
    pub fn degree(&self) -> usize {
        1 << self.params.log2_degree
    }

    /// Primes of Q.
    #[must_use]
    pub fn limbs(&self) -> usize {
        self.params.primes.len()
    }

    /// Digits of a key-switching key.
    #[must_use]
    pub fn digit_count(&self) -> usize {
        self.digits.len()
    }

    /// Modulus of limb `index` of QP.
    #[must_use]
    pub fn modulus(&self, index: usize) -> Modulus {
        self.rings[index].modulus()
    }

    /// Primes of Q and P.
    #[must_use]
    pub fn key_limbs(&self) -> usize {
        self.rings.len()
    }

    /// Signed coefficients, rounded, as values of the limbs `limbs` of QP, in Montgomery form.
    #[must_use]
    pub fn lift(&self, limbs: std::ops::Range<usize>, coefficients: &[i64]) -> Vec<u32> {
        let mut words = vec![0; limbs.len() * self.degree()];
        for (limb, words) in limbs.zip(words.chunks_exact_mut(self.degree())) {
            crate::ckks::ring::words::lift(self.arch, self.modulus(limb), words, coefficients);
            self.rings[limb].forward(self.arch, words);
        }
        words
    }

    /// The transform of `N / repeats` words modulo prime `limb`, `repeats` a power of two up to 16.
    pub(in crate::ckks) fn smaller(&self, limb: usize, repeats: usize) -> &Ntt {
        match repeats.trailing_zeros() {
            0 => &self.rings[limb],
            log2 => self.smaller[limb][log2 as usize - 1]
                .get_or_init(|| transform(self.params.ring, self.modulus(limb), self.params.log2_degree - log2)),
        }
    }

    /// Coefficients, one word a limb below 4p, to values; `first` is the first limb's number.
    pub fn forward(&self, first: usize, words: &mut [u32]) {
        for (limb, words) in words.chunks_exact_mut(self.degree()).enumerate() {
            self.rings[first + limb].forward(self.arch, words);
        }
    }

    /// Values to coefficients.
    pub fn inverse(&self, first: usize, words: &mut [u32]) {
        for (limb, words) in words.chunks_exact_mut(self.degree()).enumerate() {
            self.rings[first + limb].inverse(self.arch, words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_beyond_the_table_are_refused() {
        let set = |log2_degree: u32, levels: usize, scale_log2: u32, special: usize| {
            let real = ParameterSet::of(RingKind::Real, log2_degree, levels, scale_log2, special);
            let complex = ParameterSet::of(RingKind::Complex, log2_degree, levels, scale_log2, special);
            assert_eq!(real.is_ok(), complex.is_ok(), "the table is one");
            real
        };
        assert!(set(13, 5, 28, 1).is_ok());
        assert!(set(13, 6, 28, 1).is_err(), "30 + 6 * 28 + 30 = 228 bits");
        assert!(set(14, 14, 26, 1).is_ok());
        assert!(set(11, 1, 26, 1).is_err());
        let mut broken = set(13, 3, 28, 1).expect("secure");
        broken.primes[1] += 2;
        assert!(broken.check().is_err(), "not a prime of the right form");
        broken.primes[1] = broken.primes[2];
        assert!(broken.check().is_err(), "one prime twice");
        let complex = ParameterSet::of(RingKind::Complex, 13, 3, 28, 1).expect("secure");
        let real = ParameterSet { ring: RingKind::Real, ..complex };
        assert!(real.check().is_err(), "not all primes that are 1 mod 2N are 1 mod 4N");
    }
}
