//! TFHE parameters under their literature names.

use crate::tfhe::params::security::lwe_bits;
use serde::{Deserialize, Serialize};

use crate::tfhe::params::security::smallest_noise_bound;

/// Most bits of the small key that one step of the blind rotation takes.
pub const MOST_GROUPING: usize = 3;

/// Parameters of one key set. Ciphertext words live mod 2^32; the bootstrapping key is generated mod 2^64.
///
/// Every ciphertext that leaves a process is an LWE row of `big_dimension() + 1` words under the flattened GLWE key;
/// rows of `lwe_dimension + 1` words exist only between keyswitch and bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterSet {
    /// n: dimension of the small LWE key, under which the modulus switch happens.
    pub lwe_dimension: usize,
    /// g: bits of the small key that one step of the blind rotation takes ("key unrolling"; "multi-bit" in tfhe-rs); it
    /// divides n.
    pub grouping_factor: usize,
    /// k: number of mask polynomials of a GLWE ciphertext.
    pub glwe_dimension: usize,
    /// N: degree of the ring, a power of two.
    pub polynomial_size: usize,
    /// log2 of the decomposition base of the bootstrapping key.
    pub pbs_base_log: usize,
    /// Levels of the bootstrapping key.
    pub pbs_level: usize,
    /// log2 of the decomposition base of the keyswitching key.
    pub ks_base_log: usize,
    /// Levels of the keyswitching key.
    pub ks_level: usize,
    /// b: keyswitching-key noise is TUniform(b) mod 2^32, uniform on [-2^b, 2^b] with half weight at the ends.
    pub ks_noise_bound_log2: u32,
    /// b: bootstrapping-key noise is TUniform(b) mod 2^64.
    pub pbs_noise_bound_log2: u32,
    /// b: noise of fresh inputs under the flattened GLWE key is TUniform(b) mod 2^32.
    pub input_noise_bound_log2: u32,
}

impl ParameterSet {
    /// kN: dimension of the flattened GLWE key.
    #[must_use]
    pub fn big_dimension(&self) -> usize {
        self.glwe_dimension * self.polynomial_size
    }

    /// Words of a row under the flattened GLWE key, mask then body.
    #[must_use]
    pub fn big_row_words(&self) -> usize {
        self.big_dimension() + 1
    }

    /// Words of a row under the small key, mask then body.
    #[must_use]
    pub fn small_row_words(&self) -> usize {
        self.lwe_dimension + 1
    }

    /// GGSW ciphertexts of the bootstrapping key for one group of bits: one for every set of bits but the empty one.
    #[must_use]
    pub fn subsets(&self) -> usize {
        (1 << self.grouping_factor) - 1
    }

    /// GGSW ciphertexts of the whole bootstrapping key, group by group.
    #[must_use]
    pub fn bootstrap_key_length(&self) -> usize {
        self.lwe_dimension / self.grouping_factor * self.subsets()
    }

    /// What the bootstrapping key encrypts: for each group of bits and each set of them whether these are the ones, the
    /// set with bit i of its number counting bit i of the group. With groups of one bit these are the bits.
    pub fn indicators<'a>(&self, bits: &'a [u64]) -> impl Iterator<Item = u64> + use<'a> {
        let subsets = self.subsets();
        bits.chunks_exact(self.grouping_factor).flat_map(move |group| {
            let set = group.iter().rev().fold(0, |set, &bit| 2 * set + bit as usize);
            (1..=subsets).map(move |subset| u64::from(subset == set))
        })
    }
}

impl ParameterSet {
    /// A set whose noises are the least that the security curves allow: n, k, N, `(base log, levels)` of both keys.
    #[must_use]
    pub fn with_least_noise(
        lwe_dimension: usize,
        glwe_dimension: usize,
        polynomial_size: usize,
        (pbs_base_log, pbs_level): (usize, usize),
        (ks_base_log, ks_level): (usize, usize),
    ) -> Self {
        let big = glwe_dimension * polynomial_size;
        Self {
            lwe_dimension,
            grouping_factor: 1,
            glwe_dimension,
            polynomial_size,
            pbs_base_log,
            pbs_level,
            ks_base_log,
            ks_level,
            ks_noise_bound_log2: smallest_noise_bound(lwe_dimension, 32),
            pbs_noise_bound_log2: smallest_noise_bound(big, 64),
            input_noise_bound_log2: smallest_noise_bound(big, 32),
        }
    }

    /// Checks that this build supports the parameters and that they are consistent; says nothing about security.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check(&self) -> Result<(), String> {
        let range = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}, not in {low}..={high}"))
            }
        };
        range("lwe_dimension", self.lwe_dimension, 1, 4096)?;
        range("grouping_factor", self.grouping_factor, 1, MOST_GROUPING)?;
        if !self.lwe_dimension.is_multiple_of(self.grouping_factor) {
            return Err(format!("lwe_dimension is {}, not a multiple of grouping_factor", self.lwe_dimension));
        }
        range("glwe_dimension", self.glwe_dimension, 1, 8)?;
        range("polynomial_size", self.polynomial_size, 256, 1 << 16)?;
        if !self.polynomial_size.is_power_of_two() {
            return Err(format!("polynomial_size is {}, not a power of two", self.polynomial_size));
        }
        range("big dimension", self.big_dimension(), 256, 1 << 17)?;
        range("pbs_base_log", self.pbs_base_log, 1, 31)?;
        range("pbs_level", self.pbs_level, 1, 8)?;
        range("pbs_base_log * pbs_level", self.pbs_base_log * self.pbs_level, 1, 31)?;
        range("ks_base_log", self.ks_base_log, 1, 15)?;
        range("ks_level", self.ks_level, 1, 16)?;
        range("ks_base_log * ks_level", self.ks_base_log * self.ks_level, 1, 31)?;
        range("ks_noise_bound_log2", self.ks_noise_bound_log2 as usize, 0, 28)?;
        range("pbs_noise_bound_log2", self.pbs_noise_bound_log2 as usize, 0, 60)?;
        range("input_noise_bound_log2", self.input_noise_bound_log2 as usize, 0, 28)
    }
}

/// Bits of security of a set: the least of its keyswitching key, bootstrapping key and inputs.
#[must_use]
pub fn bits(params: &ParameterSet) -> f64 {
    lwe_bits(params.lwe_dimension, params.ks_noise_bound_log2, 32)
        .min(lwe_bits(params.big_dimension(), params.pbs_noise_bound_log2, 64))
        .min(lwe_bits(params.big_dimension(), params.input_noise_bound_log2, 32))
}
