//! The network under simulated noise.

use crate::ckks::noise;
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::polynomials::double;
use crate::ckks::plan::polynomials::{ErrorSource, PolynomialNetwork};
use crate::planning::random::Gaussian;

/// Deviations of a slot's error, at the scale of fresh ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlotNoise {
    /// Of a fresh ciphertext.
    pub fresh: f64,
    /// Of a rescale.
    pub rescale: f64,
    /// Of a rotation at this scale; 0 where nothing is rotated.
    pub switch: f64,
    /// Of a stage's weight, which is rounded.
    pub weight: f64,
    /// Of a weight of the output's map, whose scale is another.
    pub output_weight: f64,
}

impl SlotNoise {
    /// Errors with and without rotations, of a network whose outputs stay within `output_bound`. Where there are
    /// rotations weights are masks, polynomials with rounded coefficients; else they are rounded numbers.
    #[must_use]
    pub fn new(params: &ParameterSet, rotates: bool, output_bound: f64) -> Self {
        let (root, scale) = (noise::of_slot(params), f64::from(params.scale_log2).exp2());
        let weight = noise::ENCODING_DEVIATION * if rotates { root } else { 1.0 };
        let of_slot = root / scale;
        Self {
            fresh: noise::FRESH_DEVIATION * of_slot,
            rescale: noise::rescale(params) * of_slot,
            switch: if rotates { noise::key_switch(params, params.primes.len()) * of_slot } else { 0.0 },
            weight: weight / scale,
            output_weight: weight * scale / params.output_scale(output_bound),
        }
    }
}

impl PolynomialNetwork {
    /// The output for one input under simulated noise.
    #[must_use]
    pub fn simulate(&self, input: &[f32], noise: &SlotNoise, seed: u64) -> Vec<f64> {
        let mut gaussian = Gaussian::new(seed);
        let mut disturb = |source: ErrorSource| {
            gaussian.next()
                * match source {
                    ErrorSource::Fresh => noise.fresh,
                    ErrorSource::Rescale => noise.rescale,
                    ErrorSource::Switch => noise.switch,
                    ErrorSource::Weight => noise.weight,
                    ErrorSource::OutputWeight => noise.output_weight,
                }
        };
        let input =
            double(input).into_iter().map(|x| x + disturb(ErrorSource::Fresh) + disturb(ErrorSource::Switch)).collect();
        self.evaluate_with(input, &mut disturb)
    }
}
