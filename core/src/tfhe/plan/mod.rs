//! The plan: what the model owner's server runs. Immutable, self-contained, bound to its public parameters.

pub mod affine;
pub mod table;

use serde::{Deserialize, Serialize};

use crate::files::container::{Binding, Kind};
use crate::files::params::{MOST_TEXT_BYTES, check_names};
use crate::files::scheme::Scheme;
use crate::files::sealed::Whole;
use crate::model::decoding::list;
use crate::tfhe::cost::CostModel;
use crate::tfhe::params::public::Params;
use crate::tfhe::plan::affine::AffineMap;
use crate::tfhe::plan::table::Table;

/// Deepest function expression that is accepted.
const MAX_FUNCTION_DEPTH: usize = 64;

/// A model, quantised and encoded for one parameter set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The public parameters.
    pub params: Params,
    /// Bootstrapped stages, in order.
    #[serde(deserialize_with = "list")]
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
}

impl Whole for Plan {
    const KIND: Kind = Kind::Plan;
    const SCHEME: Scheme = Scheme::Tfhe;

    fn own_binding(&self) -> Binding {
        self.params.binding()
    }

    fn check_whole(&self) -> Result<(), String> {
        self.params.check().map_err(|e| e.to_string())?;
        let mut values = self.params.input.tensor.len();
        let is_long = |text: &str| text.len() > MOST_TEXT_BYTES;
        if is_long(&self.output_operator) || self.stages.iter().any(|s| is_long(&s.name) || is_long(&s.operator)) {
            return Err(format!("a name has more than {MOST_TEXT_BYTES} bytes"));
        }
        let names = self.stages.iter().flat_map(|stage| [&stage.name, &stage.operator]).chain([&self.output_operator]);
        check_names(names.map(String::as_str))?;
        for stage in &self.stages {
            stage.affine.validate(values)?;
            if stage.affine.rows == 0 {
                return Err(format!("stage {} is empty", stage.name));
            }
            if !stage.tables.iter().all(Table::is_sound) {
                return Err(format!("stage {} has a table whose scales are none", stage.name));
            }
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
    use std::io::Write;

    use crate::files::chunks::{Reader, Writer};
    use crate::files::container::{Fingerprint, Header};
    use crate::files::sealed::Sealed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hostile_plan_bodies_are_errors(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (binding, fingerprint) = ([0; 32], Fingerprint::NONE);
            let body_bytes = body.len() as u64;
            let header = Header { kind: Kind::Plan, scheme: Scheme::Tfhe, binding, fingerprint, body_bytes };
            let mut writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
            writer.write_all(&body).expect("memory takes everything");
            let bytes = writer.finish().expect("the body is complete");
            prop_assert!(Plan::open(Reader::of_bytes(&bytes).expect("a sound header"), &(), None).is_err());
        }
    }
}
