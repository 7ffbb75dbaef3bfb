//! The plan: what the model owner's server runs. Immutable, self-contained, bound to its public parameters.

pub mod affine;
pub mod table;

use crate::tfhe::cost::CostModel;
use crate::tfhe::plan::table::Table;
use serde::{Deserialize, Serialize};

use crate::files::container as format;
use crate::files::container::{Binding, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::tfhe::params::public::Params;
use crate::tfhe::plan::affine::AffineMap;

/// Largest plan file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 8 << 30;
/// Deepest function expression that is accepted.
const MAX_FUNCTION_DEPTH: usize = 64;

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

impl CostModel {
    /// Thread-seconds of one input.
    #[must_use]
    pub fn plan_seconds(&self, plan: &Plan) -> f64 {
        let tfhe = &plan.params.tfhe;
        let terms = plan.output.term_count() + plan.stages.iter().map(|s| s.affine.term_count()).sum::<usize>();
        self.linear_seconds(terms, tfhe) + plan.activation_count() as f64 * self.bootstrap_seconds(tfhe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hostile_plan_bodies_are_errors(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Plan::from_body(&[0; 32], &body).is_err());
        }
    }
}
