//! The error of a bootstrap, predicted.
//!
//! Errors are followed through the program as standard deviations, independent and Gaussian, by the formulas of
//! [`crate::ckks::noise`]. A linear map multiplies them by the root of the squares of a row's numbers. In the sine each
//! value's own error is weighed by how far the result moves with it, at every integer I that can occur and as often as
//! it does: sums of 33 uniform shares are nearly Gaussian.

use crate::ckks::bootstrap::program::{Map, Program};
use crate::ckks::bootstrap::recipe::Recipe;
use crate::ckks::noise::{self, ENCODING_DEVIATION};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::params::sparse::SPARSE_WEIGHT;

/// Deviations of the noise that no number of a run exceeds. What a division leaves in a slot is a product of two
/// Gaussian numbers, its own and the secret's in that slot: real parts lie beyond k deviations with a probability of
/// `exp(-sqrt(2) k)`, here one in 10^10.
const FAR: f64 = 17.0;

/// The error of a bootstrap, in units of the numbers; what comes in with an error keeps that, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// Standard deviation of the noise.
    pub noise: f64,
    /// Root mean square of what the sine bends and its polynomial misses, for uniform numbers.
    pub bend: f64,
    /// The same at its worst.
    pub worst_bend: f64,
}

impl Precision {
    /// Root mean square of the error, for uniform numbers.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.noise.hypot(self.bend)
    }

    /// An error that no number of a run exceeds.
    #[must_use]
    pub fn worst(&self) -> f64 {
        self.worst_bend + FAR * self.noise
    }

    /// Predicts a program's error.
    #[must_use]
    pub fn new(params: &ParameterSet, program: &Program) -> Self {
        let argument = argument_noise(params, program);
        let sine = &program.sine;
        let of_real = (params.degree() as f64 / 2.0).sqrt();
        // Of the argument, and of each step's value: the rounding of its division, and its key switches.
        let mut errors = vec![argument];
        errors.extend(sine.steps.iter().map(|step| {
            let switches = if step.products.is_empty() { 0.0 } else { 1.0 };
            let switch = switches * noise::key_switch(params, step.sum.limbs) / step.sum.scale;
            of_real * (noise::rescale(params) / step.value.scale).hypot(switch)
        }));
        let recipe = &program.recipe;
        let unit = recipe.raised_scale(params) / Recipe::low_modulus(params);
        let variance = (SPARSE_WEIGHT + 1) as f64 / 12.0;
        let largest = SPARSE_WEIGHT as i32 / 2;
        let shares: Vec<f64> = (-8..=8).map(|share| f64::from(share) / 8.0).collect();
        let (mut weights, mut noise, mut bend, mut worst_bend) = (0.0, 0.0, 0.0, 0.0_f64);
        for whole in -largest..=largest {
            let weight = (-0.5 * f64::from(whole * whole) / variance).exp();
            for share in &shares {
                let number = share * recipe.bound;
                let t = f64::from(whole) + number * unit;
                let result = sine.evaluate(t, &[]);
                let moved = |(at, &error): (usize, &f64)| {
                    let mut alone = vec![0.0; errors.len()];
                    alone[at] = error;
                    sine.evaluate(t, &alone) - result
                };
                let moved: f64 = errors.iter().enumerate().map(moved).map(|x| x * x).sum();
                let bent = result - number;
                weights += weight;
                noise += weight * moved;
                bend += weight * bent * bent;
                worst_bend = worst_bend.max(bent.abs());
            }
        }
        Self { noise: (noise / weights).sqrt(), bend: (bend / weights).sqrt(), worst_bend }
    }
}

/// Standard deviation of the argument's error.
fn argument_noise(params: &ParameterSet, program: &Program) -> f64 {
    let recipe = &program.recipe;
    let numbers = 2.0 * f64::from(recipe.log2_slots).exp2();
    let copies = params.degree() as f64 / numbers;
    // Slots: errors in all coefficients, and those that repeat as the numbers do.
    let (mut all, mut own, mut size) = (0.0, 0.0, recipe.bound);
    for map in &program.to_coefficients {
        (all, own, size) = behind(params, map, all, own, size);
    }
    // Coefficients, in units of the numbers.
    let mut coefficient = f64::hypot(all / noise::of_slot(params), own / numbers.sqrt());
    let raised = recipe.raised_scale(params);
    let to_sparse = noise::key_switch_under(params, program.keys(params).to_sparse_limbs, SPARSE_WEIGHT as f64);
    let switch = noise::key_switch(params, params.primes.len());
    coefficient = [to_sparse, switch].iter().fold(coefficient, |sum, error| sum.hypot(error / raised));
    for fold in 1..=program.folds.len() {
        coefficient = coefficient.hypot(switch / raised / f64::from(fold as u32).exp2());
    }
    // Slots again, times the copies that were added up; parts of I are uniform.
    let (mut all, mut own) = (0.0, coefficient * numbers.sqrt() * copies);
    let deviation = ((SPARSE_WEIGHT + 1) as f64 / 12.0).sqrt() * Recipe::low_modulus(params) / raised;
    let mut size = deviation * numbers.sqrt() * copies;
    for map in &program.to_slots {
        (all, own, size) = behind(params, map, all, own, size);
    }
    // Twice the real part, whose variance is half of both parts', and the switch that conjugates.
    let argument = program.sine.argument;
    let conjugation = noise::of_slot(params) * noise::key_switch(params, argument.limbs) / argument.scale;
    (2.0 * all * all + 2.0 * own * own + 0.5 * conjugation * conjugation).sqrt()
}

/// Slots' deviations and root mean square behind a map.
fn behind(params: &ParameterSet, map: &Map, all: f64, own: f64, size: f64) -> (f64, f64, f64) {
    let of_slot = noise::of_slot(params);
    let output = map.output(params);
    let switch = of_slot * noise::key_switch(params, map.input.limbs) / map.input.scale;
    let giants = (map.giants.len() as f64).sqrt() * switch / map.mask_scale;
    let rescale = of_slot * noise::rescale(params) / output.scale;
    let masks: usize = map.giants.values().map(Vec::len).sum();
    let rounding = ENCODING_DEVIATION * (2.0 * map.period as f64 * masks as f64).sqrt() / map.mask_scale;
    let all = [map.row * switch, giants, rescale].iter().fold(map.row * all, |sum, &error| sum.hypot(error));
    (all, (map.row * own).hypot(rounding * size), map.row * size)
}
