//! Predicted time of CKKS operations on one thread of the CPU, from counts of transforms and products.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div};

use serde::{Deserialize, Serialize};

use crate::ckks::params::set::ParameterSet;

/// Thread-seconds of CKKS operations, by what limits them: machines differ in one and not in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkSeconds {
    /// Rotations, products of ciphertexts and rescaling: transforms, and products with keys.
    pub switching: f64,
    /// Products with masks, matrices and numbers: what is read is used once or a few times.
    pub products: f64,
}

impl WorkSeconds {
    /// Both together.
    #[must_use]
    pub fn total(self) -> f64 {
        self.switching + self.products
    }
}

impl Add for WorkSeconds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { switching: self.switching + other.switching, products: self.products + other.products }
    }
}

impl AddAssign for WorkSeconds {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Div<f64> for WorkSeconds {
    type Output = Self;

    fn div(self, parts: f64) -> Self {
        Self { switching: self.switching / parts, products: self.products / parts }
    }
}

impl Sum for WorkSeconds {
    fn sum<I: Iterator<Item = Self>>(seconds: I) -> Self {
        seconds.fold(Self::default(), Self::add)
    }
}

/// Nanoseconds a word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CkksCost {
    /// A transform, for each word and each of its log2 N depths.
    pub transform_ns: f64,
    /// A product that is added to a sum.
    pub product_ns: f64,
    /// The same in a matrix product, where what is read serves many rows.
    pub matrix_ns: f64,
    /// A word that a matrix product reads: from memory, once for all rows.
    pub source_ns: f64,
    /// A word that is moved: permuted, corrected, scaled.
    pub move_ns: f64,
    /// A uniform residue that is made of its seed.
    pub uniform_ns: f64,
    /// A residue that is read from a file, checked and unpacked.
    pub read_ns: f64,
    /// A residue of an input that is sent before it is read. The client's time and line are no device's, and the
    /// answer waits for them.
    pub send_ns: f64,
    /// A residue of a plaintext that is encoded.
    pub encode_ns: f64,
}

impl Default for CkksCost {
    /// Measured on one thread of a Zen 5 with AVX-512; only the ratios steer the choice of packings.
    fn default() -> Self {
        Self {
            transform_ns: 0.08,
            product_ns: 0.22,
            matrix_ns: 0.06,
            source_ns: 0.4,
            move_ns: 0.6,
            uniform_ns: 1.0,
            read_ns: 1.2,
            // 30 bits at 10 gigabits a second.
            send_ns: 3.0,
            encode_ns: 4.0,
        }
    }
}

impl CkksCost {
    fn transform(&self, params: &ParameterSet) -> f64 {
        // Elements of the conjugate-invariant ring are folded before their first depth.
        let depths = params.ring.log2_half_order(params.log2_degree);
        self.transform_ns * f64::from(depths) * Self::words(params)
    }

    fn words(params: &ParameterSet) -> f64 {
        f64::from(params.log2_degree).exp2()
    }

    /// Digits of a mask at `limbs` limbs: what rotations of one ciphertext share.
    #[must_use]
    pub fn decompose_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        let special = params.special_primes.len();
        let digits = limbs.div_ceil(special);
        let extended = (digits * (limbs + special)) as f64;
        let converted = extended * special as f64 * self.product_ns * Self::words(params);
        1e-9 * (extended * self.transform(params) + converted)
    }

    /// The rest of a key switch: products with the key, and the division by P.
    #[must_use]
    pub fn switch_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        let special = params.special_primes.len();
        let digits = limbs.div_ceil(special);
        let extended = (limbs + special) as f64;
        let products = (2 * digits) as f64 * extended + (2 * limbs * special) as f64;
        let words = products * self.product_ns + 4.0 * limbs as f64 * self.move_ns;
        1e-9 * (2.0 * extended * self.transform(params) + words * Self::words(params))
    }

    /// A rotation on its own.
    #[must_use]
    pub fn rotate_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        self.decompose_seconds(params, limbs) + self.switch_seconds(params, limbs)
    }

    /// A product of two ciphertexts with relinearisation and rescaling.
    #[must_use]
    pub fn multiply_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        let switched = self.rotate_seconds(params, limbs) + self.rescale_seconds(params, limbs);
        switched + self.tensor_seconds(params, limbs)
    }

    /// A product of two ciphertexts in three parts.
    #[must_use]
    pub fn tensor_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        4e-9 * limbs as f64 * self.product_ns * Self::words(params)
    }

    /// The mask of a fresh ciphertext.
    #[must_use]
    pub fn expand_seconds(&self, params: &ParameterSet) -> f64 {
        1e-9 * params.primes.len() as f64 * self.uniform_ns * Self::words(params)
    }

    /// Fresh ciphertexts that are sent and read from a file.
    #[must_use]
    pub fn input_seconds(&self, params: &ParameterSet, ciphertexts: usize) -> f64 {
        let residues = (ciphertexts * params.primes.len()) as f64 * Self::words(params);
        1e-9 * residues * (self.send_ns + self.read_ns)
    }

    /// A switching key for so many limbs that is read and expanded.
    #[must_use]
    pub fn key_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        let special = params.special_primes.len();
        let polynomials = limbs.div_ceil(special) * (limbs + special);
        1e-9 * polynomials as f64 * (self.read_ns + self.uniform_ns) * Self::words(params)
    }

    /// Words of plaintexts that are encoded.
    #[must_use]
    pub fn mask_seconds(&self, words: usize) -> f64 {
        1e-9 * words as f64 * self.encode_ns
    }

    /// A mask whose numbers repeat after so many slots, from its coefficients to so many limbs.
    #[must_use]
    pub fn mask_transform_seconds(&self, params: &ParameterSet, period: usize, limbs: usize) -> f64 {
        let share = (2 * period) as f64 / Self::words(params);
        let words = limbs as f64 * share.clamp(1.0 / 16.0, 1.0);
        1e-9 * words * (self.transform(params) + self.move_ns * Self::words(params))
    }

    /// Division by the last prime.
    #[must_use]
    pub fn rescale_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        2e-9 * limbs as f64 * (self.transform(params) + self.move_ns * Self::words(params))
    }

    /// A term of a row of a matrix product.
    #[must_use]
    pub fn matrix_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        2e-9 * limbs as f64 * self.matrix_ns * Self::words(params)
    }

    /// What matrix products read, a ciphertext: few rows take as long to be read for as to be computed.
    #[must_use]
    pub fn source_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        2e-9 * limbs as f64 * self.source_ns * Self::words(params)
    }

    /// A product with a plaintext or a number that is added to a sum.
    #[must_use]
    pub fn product_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        2e-9 * limbs as f64 * self.product_ns * Self::words(params)
    }
}
