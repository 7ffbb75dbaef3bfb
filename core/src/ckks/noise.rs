//! Noise of every operation, as the standard deviation of one coefficient's error, in units of 1 / scale.
//!
//! Errors are treated as independent and Gaussian, secrets as uniform ternary (2N/3 non-zero coefficients on average).
//! A slot's variance is E times a coefficient's, where E is N, or 2N - 1 in the conjugate-invariant ring
//! ([`RingKind::expansion`](crate::ckks::params::set::RingKind::expansion)). Of complex slots that is the variance of
//! both parts together: the real part, which is all that plans read, has half of it. Real slots have no such margin.
//! Slots multiply, so that a coefficient of a product of two elements has E times the product of their coefficients'
//! variances; in the conjugate-invariant ring that is the variance of all but the constant one, which has twice as
//! much. Source: Cheon et al., ASIACRYPT 2017; Kim, Papadimitriou, Polyakov, CT-RSA 2022 (section 3, RNS variant).

use crate::ckks::params::set::ParameterSet;

/// Standard deviation of fresh errors.
pub const FRESH_DEVIATION: f64 = 3.2;

/// Standard deviation of a coefficient's rounding: `1 / sqrt 12`.
pub const ENCODING_DEVIATION: f64 = 0.288_675_134_594_812_9;

/// E.
fn expansion(params: &ParameterSet) -> f64 {
    params.ring.expansion(params.degree())
}

/// A slot's deviation for one of coefficients of 1: sqrt(E).
#[must_use]
pub fn of_slot(params: &ParameterSet) -> f64 {
    expansion(params).sqrt()
}

/// A ciphertext made with a public key: the key's own error and the second error meet ternary polynomials,
/// `3.2 sqrt(1 + 4E/3)`.
#[must_use]
pub fn public_encryption(params: &ParameterSet) -> f64 {
    FRESH_DEVIATION * (1.0 + 4.0 * expansion(params) / 3.0).sqrt()
}

/// A rescale's rounding of body and mask: `sqrt((1 + 2E/3) / 12)`.
#[must_use]
pub fn rescale(params: &ParameterSet) -> f64 {
    ((1.0 + 2.0 * expansion(params) / 3.0) / 12.0).sqrt()
}

/// A rescale's rounding of the three parts of a product that was not relinearised:
/// `sqrt((1 + 2E/3 + (2E/3)^2) / 12)`.
///
/// The square of a ternary secret has coefficients of variance `E (2/3)^2`, so that the part under it counts by far the
/// most: such parts are divided only where the scale is much larger than the error.
#[must_use]
pub fn rescale_product(params: &ParameterSet) -> f64 {
    let share = 2.0 * expansion(params) / 3.0;
    ((1.0 + share + share * share) / 12.0).sqrt()
}

/// A product, at the product of both scales: each factor's error times the other's root mean square slot. A factor is
/// given by its error's deviation, its scale and its slots' root mean square; a plaintext's error is that of rounding,
/// [`ENCODING_DEVIATION`].
///
/// The key switch behind a product of ciphertexts is negligible beside it.
#[must_use]
pub fn product(a: (f64, f64, f64), b: (f64, f64, f64)) -> f64 {
    (a.0 * b.1 * b.2).hypot(b.0 * a.1 * a.2)
}

/// A key switch at `limbs` limbs: the digits' products with the key's errors, divided by P, and the rounding of that
/// division.
///
/// Digits come from the approximate base conversion: the sum of as many centred uniform parts below D as there are
/// limbs.
#[must_use]
pub fn key_switch(params: &ParameterSet, limbs: usize) -> f64 {
    key_switch_under(params, limbs, 2.0 * expansion(params) / 3.0)
}

/// [`key_switch`] to a secret whose coefficients have squares that sum up to `weight`.
#[must_use]
pub fn key_switch_under(params: &ParameterSet, limbs: usize, weight: f64) -> f64 {
    let alpha = params.special_primes.len();
    let special: f64 = params.special_primes.iter().map(|&p| f64::from(p)).product();
    let digit_variance = |primes: &[u32]| {
        let digit: f64 = primes.iter().map(|&p| f64::from(p)).product();
        digit * digit * primes.len() as f64 / 12.0
    };
    let digits: f64 = params.primes[..limbs].chunks(alpha).map(digit_variance).sum();
    let products = expansion(params) * digits * FRESH_DEVIATION * FRESH_DEVIATION / (special * special);
    // The division's remainder likewise, with the special primes.
    let rounding = (1.0 + weight) * alpha as f64 / 12.0;
    (products + rounding).sqrt()
}
