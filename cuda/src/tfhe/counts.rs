//! Instructions of one bootstrap, as the bounds of both kernels count them.

use heman_core::tfhe::params::set::ParameterSet;

/// Double-precision instructions of one bootstrap.
#[must_use]
pub fn operations(params: &ParameterSet) -> f64 {
    let (columns, level) = (params.glwe_dimension as f64 + 1.0, params.pbs_level as f64);
    let points = params.polynomial_size as f64 / 2.0;
    let (forward, inverse) = (3.0 * points * points.log2(), 4.0 * points * points.log2());
    let transforms = columns * (level * forward + inverse);
    let factors = if params.grouping_factor == 1 { 0.0 } else { 4.0 * columns * level * points };
    let products = params.subsets() as f64 * (4.0 * columns * columns * level * points + factors);
    (params.lwe_dimension / params.grouping_factor) as f64 * (transforms + products)
}

/// 32-bit integer instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactOperations {
    /// Multiplications and multiply-adds, of a low or a high half; a product of 64 bits is two.
    pub multiplications: f64,
    /// Additions, minima, shifts.
    pub others: f64,
}

impl ExactOperations {
    /// Of one bootstrap by exact transforms.
    #[must_use]
    pub fn bootstrap(params: &ParameterSet) -> Self {
        let (columns, level) = (params.glwe_dimension as f64 + 1.0, params.pbs_level as f64);
        let (size, sets) = (params.polynomial_size as f64, params.subsets() as f64);
        let butterflies = columns * (level + 1.0) * size / 2.0 * size.log2();
        let products = sets * columns * columns * level * size;
        // A digit is taken below p by two subtractions and minima; one of a group is multiplied and reduced, for every
        // set.
        let digits = columns * level * size;
        let (digit_products, digit_others) =
            if params.grouping_factor > 1 { (4.0 * sets, 5.0 * sets) } else { (0.0, 4.0) };
        // A sum is reduced by two multiplications; what it adds to an accumulator takes one.
        let results = columns * size;
        let steps = 2.0 * (params.lwe_dimension / params.grouping_factor) as f64;
        Self {
            multiplications: steps * (3.0 * butterflies + 2.0 * products + digit_products * digits + 3.0 * results),
            others: steps * (4.0 * butterflies + digit_others * digits + 10.0 * results),
        }
    }
}
