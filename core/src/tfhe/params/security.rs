//! Security of a parameter set, from published curves for binary secrets.
//!
//! Two curves are evaluated and the stricter counts:
//! * tfhe-rs `secure_noise` (a 132-bit fit of the lattice estimator for TUniform noise):
//!   `b(d) = ceil(-0.025167785 d + log2 q + 4.100671)`, variance `2^(4.44 - 2 log2 q) + (2^(2b) + 1/2) / (3 q^2)`;
//! * Concrete's 128-bit curve for Gaussian noise:
//!   `log2 sigma = max(-0.025696778711484593 d + 2.675931372549016, 2 - log2 q)` for d >= 450.
//!
//! At a fixed standard deviation, security grows in proportion to the dimension to first order, so the bits of a set
//! above its curve are reported as the curve's level scaled by the distance in dimension.

use crate::files::params::REQUIRED_BITS;

const TUNIFORM_SLOPE: f64 = -0.025_167_785;
const TUNIFORM_BIAS: f64 = 4.100_671;
const TUNIFORM_LEVEL: f64 = 132.0;
const GAUSSIAN_SLOPE: f64 = -0.025_696_778_711_484_593;
const GAUSSIAN_BIAS: f64 = 2.675_931_372_549_016;
const GAUSSIAN_LEVEL: f64 = 128.0;
/// Below this dimension the curves are not fitted.
const SMALLEST_DIMENSION: usize = 450;
/// Smallest TUniform bound whose standard deviation, `2^b / sqrt 3`, is above both curves' floors (`2^2.22` and `2^2`).
const SMALLEST_BOUND: u32 = 4;

/// log2 of the standard deviation of TUniform(b) over q: the variance is `(2^(2b+1) + 1) / 6`.
#[must_use]
pub fn tuniform_log2_std(bound_log2: u32, log2_q: f64) -> f64 {
    0.5 * ((2.0_f64.powi(2 * bound_log2 as i32 + 1) + 1.0) / 6.0).log2() - log2_q
}

/// Smallest b such that TUniform(b) mod `2^log2_q` in dimension d lies on or above both curves.
#[must_use]
pub fn smallest_noise_bound(dimension: usize, log2_q: u32) -> u32 {
    (SMALLEST_BOUND..log2_q).find(|&bound| lwe_bits(dimension, bound, log2_q) >= REQUIRED_BITS).unwrap_or(log2_q)
}

/// Bits of security of binary LWE (or GLWE, with d = k N) with TUniform(b) noise mod `2^log2_q`; 0 where no curve
/// applies.
#[must_use]
pub fn lwe_bits(dimension: usize, bound_log2: u32, log2_q: u32) -> f64 {
    if dimension < SMALLEST_DIMENSION || bound_log2 < SMALLEST_BOUND || bound_log2 >= log2_q {
        return 0.0;
    }
    let d = dimension as f64;
    // The curves' levels hold on the curve; the fitted bound b(d) is compared before it is rounded up.
    let tuniform_dimension = (f64::from(bound_log2) - f64::from(log2_q) - TUNIFORM_BIAS) / TUNIFORM_SLOPE;
    let gaussian_dimension = (tuniform_log2_std(bound_log2, f64::from(log2_q)) - GAUSSIAN_BIAS) / GAUSSIAN_SLOPE;
    let scaled = |level: f64, needed: f64| if needed <= 0.0 { f64::INFINITY } else { level * d / needed };
    let bits = scaled(TUNIFORM_LEVEL, tuniform_dimension).min(scaled(GAUSSIAN_LEVEL, gaussian_dimension));
    if d < tuniform_dimension || d < gaussian_dimension { bits.min(REQUIRED_BITS - 0.1) } else { bits.min(256.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_sets_of_tfhe_rs_are_on_the_curve() {
        for (dimension, bound) in [(918, 45), (879, 46), (1077, 41), (1117, 40), (2048, 17)] {
            assert_eq!(smallest_noise_bound(dimension, 64), bound, "dimension {dimension}");
        }
    }

    #[test]
    fn less_noise_or_a_smaller_dimension_is_insecure() {
        for dimension in (500..2100).step_by(7) {
            let bound = smallest_noise_bound(dimension, 64);
            assert!(lwe_bits(dimension, bound, 64) >= REQUIRED_BITS);
            if bound > SMALLEST_BOUND {
                assert!(lwe_bits(dimension, bound - 1, 64) < REQUIRED_BITS);
                assert!(lwe_bits(dimension - 45, bound, 64) < REQUIRED_BITS);
            }
        }
        assert_eq!(lwe_bits(400, 60, 64), 0.0);
    }
}
