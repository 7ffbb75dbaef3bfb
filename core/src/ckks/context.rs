//! Parameters of RNS-CKKS, and the constants that follow from them.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::evaluator::Plaintext;
use super::modulus::{Factor, Modulus, PRIME_BITS, primes_below};
use super::ntt::Ntt;
use super::pool::Pool;

/// log2(QP) that leaves 128 bits against classical attacks for uniform ternary secrets, N = 2^12 to 2^17.
///
/// Source: Bossuat et al., Security Guidelines for Implementing Homomorphic Encryption, ePrint 2024/463, table for 128 bits.
pub const MOST_MODULUS_BITS: [(u32, f64); 6] =
    [(12, 106.0), (13, 214.0), (14, 430.0), (15, 868.0), (16, 1747.0), (17, 3523.0)];

/// Share of the last two primes' product that the calibrated outputs may fill; they wrap at half of it, at 2.5 times what was calibrated.
const OUTPUT_SHARE: f64 = 0.2;
/// Widest scale of the output's weights: more would not be seen behind the noise.
const OUTPUT_WEIGHT_LOG2: i32 = 26;

/// Parameters of one key set: everything else follows from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CkksParams {
    /// log2 N.
    pub log2_degree: u32,
    /// Primes of the ciphertext modulus Q, the one that stays longest first.
    pub primes: Vec<u32>,
    /// Special primes of the key switch, P; as many limbs form one digit.
    pub special_primes: Vec<u32>,
    /// log2 of the scale of fresh ciphertexts.
    pub scale_log2: u32,
}

impl CkksParams {
    /// `levels` primes next to `2^scale_log2` above one base prime of 30 bits, and `special` special primes of 30 bits.
    ///
    /// # Errors
    /// A sentence if there are not so many primes, or the set is not secure.
    pub fn new(log2_degree: u32, levels: usize, scale_log2: u32, special: usize) -> Result<Self, String> {
        if !(20..PRIME_BITS).contains(&scale_log2) {
            return Err(format!("a scale of 2^{scale_log2} is not in 2^20..2^{PRIME_BITS}"));
        }
        let mut large = primes_below(1 << PRIME_BITS, log2_degree);
        let mut take = |count: usize| -> Vec<u32> { large.by_ref().take(count).collect() };
        let (base, special_primes) = (take(1), take(special));
        // Nearest to the scale from both sides, so that rescaling keeps it.
        let target = 1_u32 << scale_log2;
        let span = target / 4;
        let mut near: Vec<u32> = primes_below(target + span, log2_degree).take_while(|&p| p > target - span).collect();
        near.retain(|p| !base.contains(p) && !special_primes.contains(p));
        near.sort_by_key(|p| p.abs_diff(target));
        near.truncate(levels);
        let short = base.is_empty() || near.len() < levels || special_primes.len() < special;
        if short {
            return Err(format!("there are not {levels} primes near 2^{scale_log2} for N = 2^{log2_degree}"));
        }
        let primes = [base, near].concat();
        let params = Self { log2_degree, primes, special_primes, scale_log2 };
        params.check()?;
        Ok(params)
    }

    /// Scale of outputs up to `bound`, which are not rescaled: the last two primes hold values times weights.
    pub(super) fn output_scale(&self, bound: f64) -> f64 {
        let modulus: f64 = self.primes[..2].iter().map(|&p| f64::from(p)).product();
        let widest = f64::from(self.scale_log2 as i32 + OUTPUT_WEIGHT_LOG2).exp2();
        widest.min(OUTPUT_SHARE * modulus / bound.max(f64::MIN_POSITIVE))
    }

    /// log2 of QP.
    #[must_use]
    pub fn modulus_bits(&self) -> f64 {
        self.primes.iter().chain(&self.special_primes).map(|&p| f64::from(p).log2()).sum()
    }

    /// Values that one ciphertext holds.
    #[must_use]
    pub fn slots(&self) -> usize {
        1 << (self.log2_degree - 1)
    }

    /// Checks primes and security.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check(&self) -> Result<(), String> {
        let Some(&(_, most)) = MOST_MODULUS_BITS.iter().find(|(log2, _)| *log2 == self.log2_degree) else {
            return Err(format!("N = 2^{} is not in 2^12..2^17", self.log2_degree));
        };
        let bits = self.modulus_bits();
        if bits > most {
            return Err(format!(
                "log2(QP) is {bits:.1}, more than the {most} that leave 128 bits at N = 2^{}",
                self.log2_degree
            ));
        }
        let all: Vec<u32> = self.primes.iter().chain(&self.special_primes).copied().collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        let sound = |&p: &u32| p < 1 << PRIME_BITS && primes_below(p + 1, self.log2_degree).next() == Some(p);
        if self.primes.is_empty() || self.special_primes.is_empty() || sorted.windows(2).any(|w| w[0] == w[1]) {
            return Err("the primes are missing or not distinct".into());
        }
        if let Some(p) = all.iter().find(|p| !sound(p)) {
            return Err(format!("{p} is not a prime that is 1 mod 2N below 2^{PRIME_BITS}"));
        }
        if self.special_primes.len() > 8 {
            return Err("more than 8 special primes overflow the sums of a base conversion".into());
        }
        if !(20..PRIME_BITS).contains(&self.scale_log2) {
            return Err(format!("a scale of 2^{} is not in 2^20..2^{PRIME_BITS}", self.scale_log2));
        }
        Ok(())
    }
}

/// One digit of the hybrid decomposition with a given number of limbs.
#[derive(Debug)]
pub(super) struct Digit {
    /// First limb.
    pub first: usize,
    /// For each of its limbs `(D / q_i)^-1 2^-32 mod q_i`, D the product of the digit's limbs.
    pub inverse: Vec<Factor>,
    /// For each prime of QP how the digit is converted to it.
    pub conversions: Vec<Conversion>,
}

/// From residues of several primes `p_i` with product M to one prime t: `sum_i y_i (M / p_i) mod t`, y_i centred.
///
/// Centred parts halve the error's deviation, and leave it without a mean: a mean would meet the key's errors coherently.
#[derive(Debug)]
pub(super) struct Conversion {
    /// `M / p_i 2^64 mod t`.
    pub weights: Vec<u32>,
    /// `-sum_i floor(p_i / 2) (M / p_i) mod t`, times 2^64: parts come with half their prime added.
    pub offset: u64,
}

/// Constants of one parameter set, for every level.
///
/// Words of polynomials are in Montgomery form everywhere (residues times 2^32), so that products need one reduction; base
/// conversions take plain coefficients and give Montgomery ones, by their constants.
pub struct Context {
    /// The parameters.
    pub params: CkksParams,
    /// Whether one operation is spread over the current thread pool, for few ciphertexts at a time.
    pub(super) spread: bool,
    pub(super) arch: pulp::Arch,
    pub(super) pool: Pool,
    /// Transforms of the primes of Q, then of P.
    pub(super) rings: Vec<Ntt>,
    /// `digits[j][c - 1]`: digit j with c limbs.
    pub(super) digits: Vec<Vec<Digit>>,
    /// For each special prime `(P / p_i)^-1 2^-32 mod p_i`.
    pub(super) special_inverse: Vec<Factor>,
    /// For each prime of Q how the special part is converted to it.
    pub(super) special_conversions: Vec<Conversion>,
    /// For each prime q of Q `P^-1 mod q`.
    pub(super) special_quotient: Vec<Factor>,
    /// `rescale[l][t]`: `q_l^-1 mod q_t`, t < l.
    pub(super) rescale: Vec<Vec<Factor>>,
}

impl Context {
    /// Computes all constants; takes some milliseconds a prime.
    ///
    /// # Errors
    /// What [`CkksParams::check`] finds.
    pub fn new(params: CkksParams) -> Result<Self, String> {
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
            // The sum is divided by 2^32 when it is reduced, and Montgomery form keeps one 2^32.
            let offset = u64::from(modulus.montgomery(modulus.montgomery(modulus.sub(0, centre))));
            Conversion { weights: weights.iter().map(|&w| modulus.montgomery(modulus.montgomery(w))).collect(), offset }
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
            pool: Pool::default(),
            rings: all.iter().map(|&modulus| Ntt::new(modulus, params.log2_degree)).collect(),
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

    /// The same constants, for operations that are each spread over the current thread pool.
    #[must_use]
    pub fn spread(mut self) -> Self {
        self.spread = true;
        self
    }

    /// Calls `act` for every item of a few, on the current thread pool if operations are spread.
    pub(super) fn for_each<I: Send>(&self, items: Vec<I>, act: impl Fn(I) + Sync + Send) {
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
            super::words::lift(self.arch, self.modulus(limb), words, coefficients);
            self.rings[limb].forward(self.arch, words);
        }
        words
    }

    /// Coefficients (already times `scale`, below 2^62) as a factor for products at up to `limbs` limbs.
    #[must_use]
    pub fn plaintext(&self, coefficients: &[f64], scale: f64, limbs: usize) -> Plaintext {
        let rounded: Vec<i64> = coefficients.iter().map(|c| c.round() as i64).collect();
        Plaintext { words: self.lift(0..limbs, &rounded), scale }
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
        assert!(CkksParams::new(13, 5, 28, 1).is_ok());
        assert!(CkksParams::new(13, 6, 28, 1).is_err(), "30 + 6 * 28 + 30 = 228 bits");
        assert!(CkksParams::new(14, 14, 26, 1).is_ok());
        assert!(CkksParams::new(11, 1, 26, 1).is_err());
        let mut broken = CkksParams::new(13, 3, 28, 1).expect("secure");
        broken.primes[1] += 2;
        assert!(broken.check().is_err(), "not a prime of the right form");
        broken.primes[1] = broken.primes[2];
        assert!(broken.check().is_err(), "one prime twice");
    }
}
