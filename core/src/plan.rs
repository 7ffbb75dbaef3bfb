//! The plan: what the model owner's server runs. Immutable, self-contained, bound to its public parameters.

use serde::{Deserialize, Serialize};

use crate::affine::AffineMap;
use crate::ckks::plan::CkksPlan;
use crate::files::container as format;
use crate::files::container::{Binding, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::model::function::Function;
use crate::params::Params;

/// Largest plan file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 8 << 30;
/// Deepest function expression that is accepted.
const MAX_FUNCTION_DEPTH: usize = 64;

/// A plan for either scheme.
pub enum AnyPlan {
    /// TFHE.
    Tfhe(Box<Plan>),
    /// CKKS.
    Ckks(Box<CkksPlan>),
}

impl AnyPlan {
    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Tfhe(plan) => plan.to_bytes(),
            Self::Ckks(plan) => plan.to_bytes(),
        }
    }

    /// The text of its public parameters.
    #[must_use]
    pub fn params_json(&self) -> String {
        match self {
            Self::Tfhe(plan) => plan.params.to_json(),
            Self::Ckks(plan) => plan.params.to_json(),
        }
    }
}

/// A model, quantised and encoded for one parameter set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The public parameters.
    pub params: Params,
    /// Bootstrapped stages, in order.
    pub stages: Vec<PlanStage>,
    /// The linear map to the output tensor.
    pub output: AffineMap,
    /// What the output's linear map consists of, for people.
    pub output_operator: String,
}

/// One batch of linear map, keyswitch, bootstrap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanStage {
    /// Name of the ONNX node.
    pub name: String,
    /// Operators folded in, for people.
    pub operator: String,
    /// Shape of the stage's tensor.
    pub shape: Vec<usize>,
    /// From all earlier values to the table inputs.
    pub affine: AffineMap,
    /// For each row its table.
    pub table_of_value: Vec<u32>,
    /// The tables.
    pub tables: Vec<Table>,
}

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

    fn output_phase(&self, phase: f64) -> f64 {
        let mut x = self.origin + phase / self.turns_per_unit;
        if let Some(step) = self.step {
            x = self.origin + (((x - self.origin) / step).floor() + 0.5) * step;
        }
        (self.function.evaluate(x) - self.output_origin) * self.output_turns_per_unit
    }
}

/// The word nearest to a phase in turns, any integer part dropped.
#[must_use]
pub fn to_word(turns: f64) -> u32 {
    ((turns - turns.floor()) * 4_294_967_296.0).round() as u64 as u32
}

/// The phase of a word in [-1/2, 1/2) turns.
#[must_use]
pub fn to_turns(word: u32) -> f64 {
    f64::from(word.cast_signed()) / 4_294_967_296.0
}

impl Plan {
    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        format::seal_value(Kind::Plan, Scheme::Tfhe, &self.params.binding(), self)
    }

    /// Decodes and checks the body of a plan file.
    ///
    /// # Errors
    /// [`FormatError::Body`] that names the first violation.
    pub fn from_body(binding: &Binding, body: &[u8]) -> Result<Self, FormatError> {
        let plan: Plan = postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))?;
        plan.check().map_err(FormatError::Body)?;
        if plan.params.binding() != *binding {
            return Err(FormatError::Body("the plan's parameters do not belong to its header".into()));
        }
        Ok(plan)
    }

    /// Number of values: inputs and stage rows.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.params.input.tensor.len() + self.activation_count()
    }

    /// Number of bootstraps an input.
    #[must_use]
    pub fn activation_count(&self) -> usize {
        self.stages.iter().map(|stage| stage.affine.rows).sum()
    }

    /// Digest of stages and output map.
    #[must_use]
    pub fn digest(&self) -> String {
        let body = postcard::to_allocvec(&(&self.stages, &self.output)).expect("plain data always serialises");
        blake3::hash(&body).to_hex().to_string()
    }

    fn check(&self) -> Result<(), String> {
        self.params.check().map_err(|e| e.to_string())?;
        let mut values = self.params.input.tensor.len();
        for stage in &self.stages {
            stage.affine.validate(values)?;
            if stage.table_of_value.len() != stage.affine.rows {
                return Err(format!("stage {} names a table for another number of rows", stage.name));
            }
            if stage.table_of_value.iter().any(|&table| table as usize >= stage.tables.len()) {
                return Err(format!("stage {} names a table that does not exist", stage.name));
            }
            if stage.tables.iter().any(|table| table.function.depth() > MAX_FUNCTION_DEPTH) {
                return Err(format!("stage {} has a function nested deeper than {MAX_FUNCTION_DEPTH}", stage.name));
            }
            values = values.checked_add(stage.affine.rows).ok_or("too many values")?;
        }
        self.output.validate(values)?;
        if self.output.rows != self.params.output.tensor.len() {
            return Err("the output map has another size than the output tensor".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::function::Unary;
    use proptest::prelude::*;

    fn table(function: Function, step: Option<f64>) -> Table {
        Table { function, origin: -1.0, turns_per_unit: 0.25, step, output_origin: 0.0, output_turns_per_unit: 0.125 }
    }

    proptest! {
        #[test]
        fn words_and_turns_are_inverse(word: u32, whole in -1000_i32..1000) {
            prop_assert_eq!(to_word(to_turns(word)), word);
            prop_assert_eq!(to_word(to_turns(word) + f64::from(whole)), word);
        }

        #[test]
        fn hostile_plan_bodies_are_errors(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Plan::from_body(&[0; 32], &body).is_err());
        }
    }

    #[test]
    fn a_table_covers_half_a_turn() {
        let words = table(Function::unary(Unary::Relu), None).polynomial(256);
        assert_eq!((words[0], words[64], words[128]), (0, 0, 0));
        // Entry 192 stands for -1 + (192 / 512) / 0.25 = 0.5, an eighth of a turn a unit.
        assert_eq!(words[192], 1 << 28);
    }

    #[test]
    fn exact_tables_are_constant_in_a_box_and_undefined_values_have_a_neighbour() {
        let words = table(Function::X, Some(0.5)).polynomial(256);
        assert!(words[..64].iter().all(|w| *w == words[0]) && words[64] != words[0]);
        let words = table(Function::unary(Unary::Ln), None).polynomial(256);
        assert!(words[..128].iter().all(|w| *w == words[129]), "logarithms of what is not positive");
    }
}
