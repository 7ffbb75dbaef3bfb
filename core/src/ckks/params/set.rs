//! Parameters of one key set.

use serde::{Deserialize, Serialize};

use crate::residues::modulus::{Modulus, PRIME_BITS, is_prime, primes_below};

/// log2(QP) that leaves 128 bits against classical attacks for uniform ternary secrets, N = 2^12 to 2^17.
///
/// Source: Bossuat et al., Security Guidelines for Implementing Homomorphic Encryption, ePrint 2024/463, table for 128
/// bits. The table is one of LWE in dimension N: it knows no attack that uses the ring. For [`RingKind::Real`] the
/// dimension is that of the real subfield, N as well, with secrets and errors drawn by the coefficient as the table
/// takes them; see SECURITY.md.
pub const MOST_MODULUS_BITS: [(u32, f64); 6] =
    [(12, 106.0), (13, 214.0), (14, 430.0), (15, 868.0), (16, 1747.0), (17, 3523.0)];

/// Most primes of Q, and special ones: more than the largest modulus has room for.
const MOST_PRIMES: usize = 256;
/// Share of the last two primes' product that the calibrated outputs may fill; they wrap at half of it, at 2.5 times
/// what was calibrated.
const OUTPUT_SHARE: f64 = 0.2;
/// log2 of the smallest scale of fresh ciphertexts: below it their noise alone takes two decimal places.
const LEAST_FRESH_SCALE: u32 = 14;
/// Widest scale of the output's weights: more would not be seen behind the noise.
const OUTPUT_WEIGHT_LOG2: i32 = 26;

/// The ring of ciphertexts and keys, of dimension N either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RingKind {
    /// Polynomials modulo X^N + 1: N/2 complex slots.
    Complex,
    /// Sums of `X^j + X^-j`, j below N, with X^2N = -1: the conjugate-invariant ring, whose N slots are real.
    ///
    /// Source: Kim and Song, ICISC 2018, ePrint 2018/952.
    Real,
}

impl RingKind {
    /// All of them: every device takes each.
    pub const ALL: [Self; 2] = [Self::Complex, Self::Real];

    /// Numbers that a ciphertext holds at dimension `2^log2_degree`.
    #[must_use]
    pub fn slots(self, log2_degree: u32) -> usize {
        match self {
            Self::Complex => 1 << (log2_degree - 1),
            Self::Real => 1 << log2_degree,
        }
    }

    /// log2 of half of the order of the roots of unity that its transforms take, N for one and 2N for the other.
    #[must_use]
    pub fn log2_half_order(self, log2_degree: u32) -> u32 {
        match self {
            Self::Complex => log2_degree,
            Self::Real => log2_degree + 1,
        }
    }

    /// Sum of the squares of what a slot multiplies an element's coefficients with: a slot's variance over that of a
    /// coefficient.
    ///
    /// A power of X is 1 in magnitude; `X^j + X^-j` is `2 cos`, whose square is 2 on average over j.
    #[must_use]
    pub fn expansion(self, degree: usize) -> f64 {
        match self {
            Self::Complex => degree as f64,
            Self::Real => (2 * degree - 1) as f64,
        }
    }
}

/// Parameters of one key set: everything else follows from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterSet {
    /// The ring.
    pub ring: RingKind,
    /// log2 N.
    pub log2_degree: u32,
    /// Primes of the ciphertext modulus Q, the one that stays longest first.
    pub primes: Vec<u32>,
    /// Special primes of the key switch, P; as many limbs form one digit.
    pub special_primes: Vec<u32>,
    /// log2 of the scale of fresh ciphertexts.
    pub scale_log2: u32,
    /// Most limbs of Q that a switching key has. Only keys are encryptions modulo P as well, so that primes beyond
    /// these count for the security of ciphertexts alone.
    pub key_limbs: usize,
}

/// Sizes of primes, in bits: each is next to that power of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimeBits {
    /// Of Q, the one that stays longest first.
    pub chain: Vec<u32>,
    /// Of P, all alike.
    pub special: u32,
    /// How many primes P has.
    pub special_count: usize,
    /// Most limbs of Q that a switching key has.
    pub key_limbs: usize,
}

impl PrimeBits {
    /// log2 of the largest modulus of a ciphertext or key, to within what primes differ from powers of two.
    #[must_use]
    pub fn modulus_bits(&self) -> u32 {
        let key: u32 = self.chain[..self.key_limbs].iter().sum();
        self.chain.iter().sum::<u32>().max(key + self.special * self.special_count as u32)
    }
}

impl ParameterSet {
    /// As [`ParameterSet::of`], in the ring of complex slots.
    ///
    /// # Errors
    /// As [`ParameterSet::of`].
    pub fn new(log2_degree: u32, levels: usize, scale_log2: u32, special: usize) -> Result<Self, String> {
        Self::of(RingKind::Complex, log2_degree, levels, scale_log2, special)
    }

    /// `levels` primes next to `2^scale_log2` above one base prime of 30 bits, and `special` special primes of 30 bits.
    ///
    /// # Errors
    /// A sentence if there are not so many primes, or the set is not secure.
    pub fn of(
        ring: RingKind,
        log2_degree: u32,
        levels: usize,
        scale_log2: u32,
        special: usize,
    ) -> Result<Self, String> {
        if !(20..PRIME_BITS).contains(&scale_log2) {
            return Err(format!("a scale of 2^{scale_log2} is not in 2^20..2^{PRIME_BITS}"));
        }
        let log2_half_order = ring.log2_half_order(log2_degree);
        let mut large = primes_below(1 << PRIME_BITS, log2_half_order);
        let mut take = |count: usize| -> Vec<u32> { large.by_ref().take(count).collect() };
        let (base, special_primes) = (take(1), take(special));
        // Nearest to the scale from both sides, so that rescaling keeps it.
        let target = 1_u32 << scale_log2;
        let span = target / 4;
        let mut near: Vec<u32> =
            primes_below(target + span, log2_half_order).take_while(|&p| p > target - span).collect();
        near.retain(|p| !base.contains(p) && !special_primes.contains(p));
        near.sort_by_key(|p| p.abs_diff(target));
        near.truncate(levels);
        let short = base.is_empty() || near.len() < levels || special_primes.len() < special;
        if short {
            return Err(format!("there are not {levels} primes near 2^{scale_log2} for N = 2^{log2_degree}"));
        }
        let primes = [base, near].concat();
        let params = Self { ring, log2_degree, key_limbs: primes.len(), primes, special_primes, scale_log2 };
        params.check()?;
        Ok(params)
    }

    /// Distinct primes of the given sizes, each the nearest to its power of two that is left, those of 30 bits below
    /// it.
    ///
    /// # Errors
    /// A sentence if there are not so many primes, or the set is not secure.
    pub fn of_bits(ring: RingKind, log2_degree: u32, scale_log2: u32, bits: &PrimeBits) -> Result<Self, String> {
        let log2_half_order = ring.log2_half_order(log2_degree);
        let mut taken: Vec<u32> = Vec::with_capacity(bits.chain.len() + bits.special_count);
        let mut take = |bits: u32| {
            let (target, step) = (1_u32 << bits.min(PRIME_BITS), 2_u32 << log2_half_order);
            let span = target / 4 / step;
            // By their distance from the power of two, of which they lie on both sides.
            let around = (1..span).flat_map(|at| [target - at * step + 1, target + at * step + 1]);
            let mut fitting = std::iter::once(target + 1).chain(around).filter(|&p| p < 1 << PRIME_BITS);
            let nearest = fitting.find(|p| !taken.contains(p) && is_prime(*p));
            let prime = nearest.ok_or_else(|| format!("too few primes near 2^{bits} for N = 2^{log2_degree}"))?;
            taken.push(prime);
            Ok::<u32, String>(prime)
        };
        let primes: Vec<u32> = bits.chain.iter().map(|&bits| take(bits)).collect::<Result<_, _>>()?;
        let special_primes = (0..bits.special_count).map(|_| take(bits.special)).collect::<Result<_, _>>()?;
        let params = Self { ring, log2_degree, primes, special_primes, scale_log2, key_limbs: bits.key_limbs };
        params.check()?;
        Ok(params)
    }

    /// Scale of outputs up to `bound`, which are not rescaled: the last two primes hold values times weights.
    #[must_use]
    pub fn output_scale(&self, bound: f64) -> f64 {
        let modulus: f64 = self.primes[..2].iter().map(|&p| f64::from(p)).product();
        let widest = f64::from(self.scale_log2 as i32 + OUTPUT_WEIGHT_LOG2).exp2();
        widest.min(OUTPUT_SHARE * modulus / bound.max(f64::MIN_POSITIVE))
    }

    /// Moduli of the primes of Q.
    #[must_use]
    pub fn moduli(&self) -> Vec<Modulus> {
        self.primes.iter().map(|&p| Modulus::new(p)).collect()
    }

    /// log2 of the largest modulus that anything is encrypted with: Q, or P and the primes of the largest key.
    #[must_use]
    pub fn modulus_bits(&self) -> f64 {
        let bits = |primes: &[u32]| primes.iter().map(|&p| f64::from(p).log2()).sum::<f64>();
        let key = &self.primes[..self.key_limbs.min(self.primes.len())];
        bits(&self.primes).max(bits(key) + bits(&self.special_primes))
    }

    /// N.
    #[must_use]
    pub fn degree(&self) -> usize {
        1 << self.log2_degree
    }

    /// Values that one ciphertext holds.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.ring.slots(self.log2_degree)
    }

    /// The order of the roots of unity: X^order is 1.
    #[must_use]
    pub fn root_order(&self) -> usize {
        2 << self.ring.log2_half_order(self.log2_degree)
    }

    /// Checks primes and security.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check(&self) -> Result<(), String> {
        let Some(&(_, most)) = MOST_MODULUS_BITS.iter().find(|(log2, _)| *log2 == self.log2_degree) else {
            return Err(format!("N = 2^{} is not in 2^12..2^17", self.log2_degree));
        };
        if self.primes.len() > MOST_PRIMES || self.special_primes.len() > MOST_PRIMES {
            return Err(format!("there are more than {MOST_PRIMES} primes"));
        }
        if self.key_limbs > self.primes.len() {
            return Err("a switching key has more limbs than there are".into());
        }
        let bits = self.modulus_bits();
        if bits > most {
            return Err(format!(
                "the largest modulus has {bits:.1} bits, more than the {most} that leave 128 bits at N = 2^{}",
                self.log2_degree
            ));
        }
        let all: Vec<u32> = self.primes.iter().chain(&self.special_primes).copied().collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        let log2_half_order = self.ring.log2_half_order(self.log2_degree);
        let sound = |&p: &u32| p < 1 << PRIME_BITS && primes_below(p + 1, log2_half_order).next() == Some(p);
        if self.primes.is_empty() || self.special_primes.is_empty() || sorted.windows(2).any(|w| w[0] == w[1]) {
            return Err("the primes are missing or not distinct".into());
        }
        if let Some(p) = all.iter().find(|p| !sound(p)) {
            let order = self.root_order();
            return Err(format!("{p} is not a prime that is 1 mod {order} below 2^{PRIME_BITS}"));
        }
        if self.special_primes.len() > 8 {
            return Err("more than 8 special primes overflow the sums of a base conversion".into());
        }
        if !(LEAST_FRESH_SCALE..PRIME_BITS).contains(&self.scale_log2) {
            let least = LEAST_FRESH_SCALE;
            return Err(format!("a scale of 2^{} is not in 2^{least}..2^{PRIME_BITS}", self.scale_log2));
        }
        Ok(())
    }
}
