//! Networks for tests of plans.

use crate::ckks::bootstrap::recipe::{MAPS, MapShape, Recipe};
use crate::ckks::plan::activation::{Activation, Form};
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork, PolynomialStage, Scaling};
use crate::ckks::plan::refresh::Refresh;
use crate::model::client_op::ClientOps;
use crate::model::network::{Row, Tap, TensorInfo};

/// log2 of the scale of all arguments.
const SCALE_LOG2: u32 = 29;

pub(in crate::ckks) fn seventh() -> Form {
    Form::Seventh { gain: 1.0, constants: [0.1; 8] }
}

pub(in crate::ckks) fn square() -> Form {
    Form::Square { gain: 1.0, shift: 0.1, constant: 0.2 }
}

/// Stages of two values, each of one form. Map i reads the first value of each of the tensors `reads[i]`: 0 is the
/// input, i + 1 the values of stage i.
pub(in crate::ckks) fn network(forms: &[Form], reads: &[&[usize]]) -> PolynomialNetwork {
    let tensor = |name: &str| TensorInfo { name: name.into(), shape: vec![1, 2] };
    let rows = |at: usize| {
        let tap = |&tensor: &usize| Tap { source: 2 * tensor as u32, weight: 0.5 };
        vec![Row { bias: 0.1, taps: reads[at].iter().map(tap).collect() }; 2]
    };
    let stage = |(at, &form): (usize, &Form)| PolynomialStage {
        name: format!("stage {at}"),
        operator: "Gemm".into(),
        shape: vec![1, 2],
        rows: rows(at),
        factors: Vec::new(),
        channel: vec![0, 0],
        activations: vec![Activation { centre: 0.0, radius: 1.0, form }],
        scaling: Scaling { argument_log2: Some(SCALE_LOG2), rescales: true, closing: Closing::Value },
    };
    PolynomialNetwork {
        input: tensor("x"),
        inputs: vec![tensor("x")],
        stages: forms.iter().enumerate().map(stage).collect(),
        output: tensor("y"),
        output_rows: rows(forms.len()),
        output_operator: "Gemm".into(),
        client_ops: ClientOps::default(),
        output_bound: 1.0,
        refresh: None,
    }
}

impl PolynomialNetwork {
    /// Puts bootstraps of eight slots behind the given stages.
    pub(in crate::ckks) fn refresh_behind(&mut self, after: &[usize]) {
        let scale = f64::from(SCALE_LOG2).exp2();
        let maps = [MapShape { depths: 1, babies: 1 }; MAPS];
        let (input_scale, output_scale) = (scale, scale);
        let recipe = Recipe { log2_slots: 3, bound: 1.0, ratio_log2: 10, input_scale, output_scale, maps };
        self.refresh = Some(Refresh { recipe, after: after.to_vec() });
    }
}
