//! Predicted time of the steps of a plan on the CPU backend, from operation counts.

use crate::tfhe::params::set::ParameterSet;

/// Nanoseconds a unit of work on one thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostModel {
    /// A floating-point instruction's share of the blind rotation, per real operation counted by
    /// [`blind_rotation_operations`].
    pub rotation_ns: f64,
    /// A 32-bit multiply-accumulate of the keyswitch.
    pub keyswitch_ns: f64,
    /// A 32-bit multiply-accumulate of a linear map.
    pub linear_ns: f64,
}

impl Default for CostModel {
    /// Measured on one thread of a Zen 5 with AVX-512; only the ratios steer the search.
    fn default() -> Self {
        Self { rotation_ns: 0.043, keyswitch_ns: 0.028, linear_ns: 0.09 }
    }
}

/// What a point of a factor costs, in operations of the transforms: it is looked up.
const FACTOR_OPERATIONS: f64 = 6.0;

/// Operations of one blind rotation: per group of key bits `(k+1)(l+1)` FFTs of N/2 points with conversions, and for
/// each GGSW ciphertext `(k+1)^2 l N/2` complex multiply-accumulates of 4 operations; with more than one bit a group
/// also, for each GGSW ciphertext, factors of N/2 points, and `(k+1) l N/2` complex products with them.
///
/// Source for the FFT: M (3.07 log2 M + 4) with fused multiply-adds, M = N/2; conversions: 4 a coefficient.
#[must_use]
pub fn blind_rotation_operations(params: &ParameterSet) -> f64 {
    let (k, l) = (params.glwe_dimension as f64, params.pbs_level as f64);
    let points = params.polynomial_size as f64 / 2.0;
    let transform = points * (3.07 * points.log2() + 4.0) + 8.0 * points;
    let subsets = params.subsets() as f64;
    let products = subsets * (k + 1.0) * (k + 1.0) * l * points * 4.0;
    let factors =
        if params.grouping_factor == 1 { 0.0 } else { subsets * points * (6.0 * (k + 1.0) * l + FACTOR_OPERATIONS) };
    let groups = (params.lwe_dimension / params.grouping_factor) as f64;
    groups * ((k + 1.0) * (l + 1.0) * transform + products + factors)
}

/// Multiply-accumulates of one keyswitch.
#[must_use]
pub fn keyswitch_operations(params: &ParameterSet) -> f64 {
    (params.big_dimension() * params.ks_level * params.small_row_words()) as f64
}

impl CostModel {
    /// Thread-seconds of one keyswitch and bootstrap.
    #[must_use]
    pub fn bootstrap_seconds(&self, params: &ParameterSet) -> f64 {
        1e-9 * (self.rotation_ns * blind_rotation_operations(params) + self.keyswitch_ns * keyswitch_operations(params))
    }

    /// Thread-seconds of a linear map with so many terms.
    #[must_use]
    pub fn linear_seconds(&self, terms: usize, params: &ParameterSet) -> f64 {
        1e-9 * self.linear_ns * terms as f64 * params.big_row_words() as f64
    }
}
