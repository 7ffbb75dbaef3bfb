//! Operations of the steps of a bootstrap.

use crate::tfhe::params::set::ParameterSet;

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
