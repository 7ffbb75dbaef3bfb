//! The function of a bootstrap between two encodings.

use serde::{Deserialize, Serialize};

use crate::files::params::is_scale;
use crate::model::function::Function;
use crate::tfhe::torus::to_word;

/// A univariate function between two encodings; the test polynomial is made from it when it is loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// From table input to value.
    pub function: Function,
    /// Value at input phase 0.
    pub origin: f64,
    /// Turns of the torus a unit of the input.
    pub turns_per_unit: f64,
    /// Spacing of the integer grid in exact mode: inputs are taken to the middle of their box.
    pub step: Option<f64>,
    /// Value that the output phase 0 stands for.
    pub output_origin: f64,
    /// Turns of the torus a unit of the output.
    pub output_turns_per_unit: f64,
}

impl Table {
    /// Whether all encodings are sound; needed once after reading from outside.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let scales = [Some(self.turns_per_unit), Some(self.output_turns_per_unit), self.step];
        scales.into_iter().flatten().all(is_scale) && self.origin.is_finite() && self.output_origin.is_finite()
    }

    /// The test polynomial: word `j` is the output phase at input phase `j / 2N`, for the half turn `0 <= j < N`.
    ///
    /// Where the function is not finite, the nearest finite entry stands in; all zero if there is none.
    #[must_use]
    pub fn polynomial(&self, polynomial_size: usize) -> Vec<u32> {
        let turn = 1.0 / (2.0 * polynomial_size as f64);
        let mut values: Vec<f64> = (0..polynomial_size).map(|j| self.output_phase(j as f64 * turn)).collect();
        let finite: Vec<usize> = (0..polynomial_size).filter(|&j| values[j].is_finite()).collect();
        for j in 0..polynomial_size {
            if !values[j].is_finite() {
                let after = finite.partition_point(|&f| f < j);
                let nearest = [after.checked_sub(1), Some(after)]
                    .into_iter()
                    .flatten()
                    .filter_map(|at| finite.get(at))
                    .min_by_key(|&&f| f.abs_diff(j));
                values[j] = nearest.map_or(0.0, |&f| values[f]);
            }
        }
        values.into_iter().map(to_word).collect()
    }

    /// Entry `at` of the test polynomial.
    #[must_use]
    pub fn entry(&self, at: usize, polynomial_size: usize) -> u32 {
        let phase = self.output_phase(at as f64 / (2.0 * polynomial_size as f64));
        if phase.is_finite() { to_word(phase) } else { self.polynomial(polynomial_size)[at] }
    }

    fn output_phase(&self, phase: f64) -> f64 {
        let mut x = self.origin + phase / self.turns_per_unit;
        if let Some(step) = self.step {
            x = self.origin + (((x - self.origin) / step).floor() + 0.5) * step;
        }
        (self.function.evaluate(x) - self.output_origin) * self.output_turns_per_unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::function::Unary;

    fn table(function: Function, step: Option<f64>) -> Table {
        Table { function, origin: -1.0, turns_per_unit: 0.25, step, output_origin: 0.0, output_turns_per_unit: 0.125 }
    }

    #[test]
    fn a_table_covers_half_a_turn() {
        let words = table(Function::unary(Unary::Relu), None).polynomial(256);
        assert_eq!((words[0], words[64], words[128]), (0, 0, 0));
        // Entry 192 stands for -1 + (192 / 512) / 0.25 = 0.5, an eighth of a turn a unit.
        assert_eq!(words[192], 1 << 28);
    }

    #[test]
    fn entries_are_those_of_the_polynomial() {
        for table in [table(Function::unary(Unary::Tanh), None), table(Function::unary(Unary::Ln), Some(0.5))] {
            let words = table.polynomial(256);
            assert!((0..256).all(|at| table.entry(at, 256) == words[at]));
        }
    }

    #[test]
    fn exact_tables_are_constant_in_a_box_and_undefined_values_have_a_neighbour() {
        let words = table(Function::X, Some(0.5)).polynomial(256);
        assert!(words[..64].iter().all(|w| *w == words[0]) && words[64] != words[0]);
        let words = table(Function::unary(Unary::Ln), None).polynomial(256);
        assert!(words[..128].iter().all(|w| *w == words[129]), "logarithms of what is not positive");
    }
}
