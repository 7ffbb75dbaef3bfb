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

/// What a linear map of throughput packing has to do, in ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSize {
    /// Terms of all rows.
    pub products: usize,
    /// Ciphertexts that are read, counted once for each position.
    pub reads: usize,
    /// Rows.
    pub results: usize,
}

/// Nanoseconds a word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CkksCost {
    /// A transform, for each word and each of its log2 N depths.
    pub transform_ns: f64,
    /// A product with a word of a mask that is added to a sum: two of them for each word that is read from memory.
    pub product_ns: f64,
    /// A product with a word of a switching key: each word is read once, from memory or a large cache.
    pub key_ns: f64,
    /// A product where words of one prime are converted to another: what is read is in a small cache.
    pub convert_ns: f64,
    /// A product of a matrix with ciphertexts, where what is read serves many rows.
    pub matrix_ns: f64,
    /// A word that a matrix reads at one position, once for all rows.
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
    /// Only the ratios steer the choice of packings and special primes. Products with keys and conversions are fitted
    /// to switches of 74 shapes (N = 2^12 to 2^15, 2 to 16 limbs, 1 to 9 special primes) on two threads of a Zen 5 with
    /// AVX-512: the number of special primes that these constants prefer takes 2.3 % longer on average than the
    /// fastest. Matrices are fitted to 50 shapes there.
    fn default() -> Self {
        Self {
            transform_ns: 0.08,
            product_ns: 0.35,
            key_ns: 0.6,
            convert_ns: 0.2,
            matrix_ns: 0.03,
            source_ns: 0.15,
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
        let extended = digits * (limbs + special);
        // A digit has its own limbs already.
        let converted = ((extended - limbs) * special) as f64 * self.convert_ns * Self::words(params);
        1e-9 * (extended as f64 * self.transform(params) + converted)
    }

    /// The rest of a key switch: products with the key, and the division by P.
    #[must_use]
    pub fn switch_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        let special = params.special_primes.len();
        let digits = limbs.div_ceil(special);
        let extended = (limbs + special) as f64;
        let products = (2 * digits) as f64 * extended * self.key_ns;
        let converted = (2 * limbs * special) as f64 * self.convert_ns;
        let words = products + converted + 4.0 * limbs as f64 * self.move_ns;
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

    /// A linear map of one number a product, as matrices at positions.
    #[must_use]
    pub fn map_seconds(&self, params: &ParameterSet, limbs: usize, size: MapSize) -> f64 {
        let MapSize { products, reads, results } = size;
        let [products, reads, results] = [products, reads, results].map(|count| count as f64);
        let words = products * self.matrix_ns + reads * self.source_ns + results * self.move_ns;
        2e-9 * limbs as f64 * words * Self::words(params)
    }

    /// A ciphertext that is added to a sum.
    #[must_use]
    pub fn add_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        2e-9 * limbs as f64 * self.move_ns * Self::words(params)
    }

    /// A product with a plaintext or a number that is added to a sum.
    #[must_use]
    pub fn product_seconds(&self, params: &ParameterSet, limbs: usize) -> f64 {
        2e-9 * limbs as f64 * self.product_ns * Self::words(params)
    }
}
