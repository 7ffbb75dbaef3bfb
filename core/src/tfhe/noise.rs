//! Noise of every homomorphic step, as a variance on the torus R/Z, and where the formulas come from.
//!
//! Symbols as in the literature: n, k, N, base `B = 2^b`, `l` levels, binary secrets. Ciphertext words live mod
//! `q = 2^32`, the bootstrapping key mod `2^64`. Formulas: tfhe-rs `core_crypto/commons/noise_formulas` (keyswitch,
//! bootstrap, centred modulus switch), after Chillotti et al. (J. Cryptology 2020) and Bernard et al. (ePrint
//! 2025/809).

use crate::model::erf::{erf, erfc_tail};
use crate::tfhe::exact;
use crate::tfhe::params::security::tuniform_log2_std;
use crate::tfhe::params::set::ParameterSet;

const LOG2_Q: f64 = 32.0;
const KEY_LOG2_Q: f64 = 64.0;

/// Variance of TUniform(b) mod `2^log2_q`.
#[must_use]
pub fn tuniform_variance(bound_log2: u32, log2_q: f64) -> f64 {
    (2.0 * tuniform_log2_std(bound_log2, log2_q)).exp2()
}

/// Variance of a fresh input: TUniform plus the rounding of its plaintext to a word.
#[must_use]
pub fn input_variance(params: &ParameterSet) -> f64 {
    tuniform_variance(params.input_noise_bound_log2, LOG2_Q) + (-2.0 * LOG2_Q).exp2() / 12.0
}

/// Variance that a keyswitch adds: `l kN V_ksk (B^2/12 + 1/6) + kN (B^(-2l)/24 + 1/(48 q^2))`.
#[must_use]
pub fn keyswitch_variance(params: &ParameterSet) -> f64 {
    let (b, l) = (params.ks_base_log as f64, params.ks_level as f64);
    let inputs = params.big_dimension() as f64;
    let key = tuniform_variance(params.ks_noise_bound_log2, LOG2_Q);
    let products = l * inputs * key * ((2.0 * b).exp2() / 12.0 + 1.0 / 6.0);
    let rounding = inputs * ((-2.0 * b * l).exp2() / 24.0 + (-2.0 * LOG2_Q).exp2() / 48.0);
    products + rounding
}

/// Variance that the centred modulus switch to 2N adds: `n/(48 (2N)^2) + 1/(12 (2N)^2)`, mask and body.
#[must_use]
pub fn modulus_switch_variance(params: &ParameterSet) -> f64 {
    let steps = 2.0 * params.polynomial_size as f64;
    (params.lwe_dimension as f64 / 48.0 + 1.0 / 12.0) / (steps * steps)
}

/// Variance of a bootstrap's output, whatever its input's was.
///
/// Per key bit, where bits are taken one by one: the external product `l N (k+1) V_bsk (B^2/12 + 1/6)`, the gadget
/// rounding `(kN/2 + 1) B^(-2l)/24 + kN/2 / (48 * 2^128)`, the rounding of 32-bit accumulators `(kN/2 + 1) / (12 q^2)`,
/// and the rounding of the double-precision FFT [`fft_variance`].
///
/// Groups of g bits have `c = 2^g - 1` external products of the accumulator itself, each then multiplied by `X^e - 1`,
/// which doubles its variance: `2 c` times that of a product (and of its FFT) a group. The gadget rounding of the
/// accumulator counts where a bit is set: twice, with probability `1 - 2^-g`, instead of once with 1/2.
#[must_use]
pub fn bootstrap_variance(params: &ParameterSet) -> f64 {
    rotation_variance(params, &Products { key: 0.0, transform: fft_variance(params), roundings: 1.0 })
}

/// Variance of the output of a bootstrap by exact transforms ([`crate::tfhe::exact`]), whatever its input's was.
///
/// As [`bootstrap_variance`], without the rounding of the FFT. The rounding of the key to `q' = p_1 p_2` adds
/// `(kN/2 + 1) / (12 q'^2)` to `V_bsk`; 32-bit accumulators are rounded once a prime: `2 (kN/2 + 1) / (12 q^2)`.
#[must_use]
pub fn exact_bootstrap_variance(params: &ParameterSet) -> f64 {
    let half_key = params.big_dimension() as f64 / 2.0;
    let key = (half_key + 1.0) / (12.0 * (exact::modulus() as f64).powi(2));
    rotation_variance(params, &Products { key, transform: 0.0, roundings: 2.0 })
}

/// What the arithmetic of external products adds.
struct Products {
    /// To the variance of a row of the key.
    key: f64,
    /// To a product.
    transform: f64,
    /// How often a step rounds the accumulators.
    roundings: f64,
}

fn rotation_variance(params: &ParameterSet, arithmetic: &Products) -> f64 {
    let (b, l) = (params.pbs_base_log as f64, params.pbs_level as f64);
    let size = (params.glwe_dimension + 1) as f64;
    let degree = params.polynomial_size as f64;
    let half_key = params.big_dimension() as f64 / 2.0;
    let key = tuniform_variance(params.pbs_noise_bound_log2, KEY_LOG2_Q) + arithmetic.key;
    let product = l * degree * size * key * ((2.0 * b).exp2() / 12.0 + 1.0 / 6.0);
    let rounding = (half_key + 1.0) * (-2.0 * b * l).exp2() / 24.0 + half_key * (-2.0 * KEY_LOG2_Q).exp2() / 48.0;
    let accumulator = arithmetic.roundings * (half_key + 1.0) * (-2.0 * LOG2_Q).exp2() / 12.0;
    let groups = (params.lwe_dimension / params.grouping_factor) as f64;
    let (products, roundings) = match params.grouping_factor {
        1 => (1.0, 1.0),
        _ => (2.0 * params.subsets() as f64, 4.0 * params.subsets() as f64 / (params.subsets() + 1) as f64),
    };
    groups * (products * (product + arithmetic.transform) + roundings * rounding + accumulator)
}

/// Rounding of the double-precision FFT in one external product.
///
/// Source: the fit in tfhe-rs's noise formulas for a 53-bit mantissa,
/// `0.00705 * 2^(2 (64 - 53)) (B / 2^64)^2 l^1.01827 k^1.22003 N^2.22003 (k+1)^1.01827`.
///
/// That is for one external product. (Ours on the CPU is 0.9 to 1.3 times that, depending on ring and instruction set;
/// `tfhe::cpu::rounding` measures it.) Where those of all sets of a group of bits are summed before the inverse
/// transform, the chain of additions has `(2^g - 2) (k+1) l` terms more, each rounding a sum that grows: half a
/// rounding a term beside the `log2 M + 1` of the transform. (Ours: 1.2 for g = 2 and 1.5 for g = 3 at N = 2048, k = 1,
/// l = 1, as measured where nearly all noise is the FFT's.)
#[must_use]
pub fn fft_variance(params: &ParameterSet) -> f64 {
    let (l, k) = (params.pbs_level as f64, params.glwe_dimension as f64);
    let degree = params.polynomial_size as f64;
    let scale = (2.0 * (KEY_LOG2_Q - 53.0) + 2.0 * (params.pbs_base_log as f64 - KEY_LOG2_Q)).exp2();
    let more_terms = (params.subsets() - 1) as f64 * (k + 1.0) * l;
    let chain = 1.0 + more_terms / (2.0 * degree.log2());
    0.007_05 * scale * chain * l.powf(1.018_27) * k.powf(1.220_03) * degree.powf(2.220_03) * (k + 1.0).powf(1.018_27)
}

/// log2 of the probability that a centred Gaussian of the given variance exceeds `bound` in absolute value.
#[must_use]
pub fn tail_log2(bound: f64, variance: f64) -> f64 {
    let z = bound / (2.0 * variance).sqrt();
    if z < 3.0 {
        (1.0 - erf(z)).log2()
    } else if z < 26.0 {
        erfc_tail(z).log2()
    } else {
        -z * z * std::f64::consts::LOG2_E - (z * std::f64::consts::PI.sqrt()).log2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_gaussian_is_continuous_and_right() {
        assert!((tail_log2(1.959_963_985, 1.0) - 0.05_f64.log2()).abs() < 1e-6);
        for z in [3.0, 26.0] {
            let at = |z: f64| tail_log2(z * 2.0_f64.sqrt(), 1.0);
            assert!((at(z - 1e-9) - at(z + 1e-9)).abs() < 1e-2, "{z}");
        }
    }
}
