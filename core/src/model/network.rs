//! The network between the importer and the planner: affine maps, pointwise functions and products, nothing else.
//!
//! Every model the importer accepts becomes a list of [`Stage`]s. A stage computes, for each of its rows, an affine
//! combination of values that exist already (the encrypted inputs and the outputs of earlier stages) and applies one
//! univariate function to it, or multiplies two such combinations (for TFHE [`crate::tfhe::planner::products`] makes
//! squares of that). That is what one homomorphic step does: linear map, keyswitch, bootstrap. Everything linear
//! between two functions (convolution, pooling, normalisation, padding, reshapes, residual sums) is folded into the
//! affine rows and costs no bootstrap.
//!
//! Values are numbered in one flat index space: the elements of the input tensor in row-major order are values
//! `0 .. input_len`, then come the rows of stage 0, of stage 1, and so on.

use crate::device::simd::for_each_arch;
use crate::model::client_op::ClientOps;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::function::Function;

/// Inputs that are evaluated side by side.
pub const LANES: usize = 8;

/// One term of an affine row: `weight * value[source]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    /// Index in the flat value space.
    pub source: u32,
    /// Plaintext coefficient.
    pub weight: f32,
}

/// An affine form `bias + sum_i weight_i * value[source_i]`, its taps sorted by source without duplicates.
///
/// Taps are shared between rows wherever rows are copies of one another (padding, slicing, broadcasting).
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Constant term.
    pub bias: f64,
    /// Linear terms, sorted by source, each source at most once, no zero weights.
    pub taps: Arc<[Tap]>,
}

/// A batch of bootstraps to be: affine rows and the function applied to each, or products of pairs of affine rows.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Name of the ONNX node that gave the function (the last one, where a chain was fused).
    pub name: String,
    /// What was folded in here, for people: for example `Conv + BatchNormalization + Relu`.
    pub operator: String,
    /// Shape of the tensor that the rows form in row-major order, the leading batch axis of 1 included.
    pub shape: Vec<usize>,
    /// One affine form a row.
    pub rows: Vec<Row>,
    /// Where the stage multiplies, for each row what it is multiplied with; its functions are identities then. Empty
    /// elsewhere.
    pub factors: Vec<Row>,
    /// For each row its channel: rows of one channel share a function, a range and a table.
    pub channel: Vec<u32>,
    /// The function of each channel.
    pub functions: Vec<Function>,
}

/// Name and shape of a model's input or output, the leading batch axis of 1 included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Name in the ONNX graph.
    pub name: String,
    /// Shape with a leading batch axis of 1 where the model has one.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// All inputs (or outputs) of a model as one tensor: the one that there is, or a vector of all their elements.
    #[must_use]
    pub fn joined(parts: &[TensorInfo]) -> Self {
        if let [one] = parts {
            return one.clone();
        }
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        Self { name: names.join(", "), shape: vec![1, parts.iter().map(TensorInfo::len).sum()] }
    }

    /// Whether the tensor has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A whole model, lowered.
#[derive(Clone, Debug)]
pub struct Network {
    /// What is encrypted: the one input, or the elements of all inputs one after another as a vector.
    pub input: TensorInfo,
    /// The inputs in the order of the graph.
    pub inputs: Vec<TensorInfo>,
    /// Stages in an order in which each reads only what is there.
    pub stages: Vec<Stage>,
    /// What is decrypted, before [`Network::client_ops`]: the one output, or all values that the outputs need as a
    /// vector, each once.
    pub output: TensorInfo,
    /// Affine form of each output element.
    pub output_rows: Vec<Row>,
    /// What the linear part of the output consists of, for people.
    pub output_operator: String,
    /// What the client computes after decryption, and the outputs that it gives.
    pub client_ops: ClientOps,
}

impl Network {
    /// Number of values: input elements and stage rows.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.input.len() + self.activation_count()
    }

    /// Number of bootstraps that one input costs.
    #[must_use]
    pub fn activation_count(&self) -> usize {
        self.stages.iter().map(|stage| stage.rows.len()).sum()
    }

    /// First value index of each stage, and the end of the last as one more entry.
    #[must_use]
    pub fn stage_offsets(&self) -> Vec<usize> {
        let mut next = self.input.len();
        let mut offsets = Vec::with_capacity(self.stages.len() + 1);
        for stage in &self.stages {
            offsets.push(next);
            next += stage.rows.len();
        }
        offsets.push(next);
        offsets
    }

    /// The stage and its row that make a value; none for an element of the input. `offsets` are
    /// [`Network::stage_offsets`].
    #[must_use]
    pub fn made_by(&self, offsets: &[usize], source: usize) -> Option<(&Stage, usize)> {
        let at = offsets.iter().rposition(|&offset| offset <= source)?;
        Some((self.stages.get(at)?, source - offsets[at]))
    }

    /// Evaluates the network in double precision on one input; returns every value, then the output.
    ///
    /// `input` holds `self.input.len()` elements; the first vector returned holds `self.value_count()` values.
    #[must_use]
    pub fn evaluate(&self, input: &[f64]) -> (Vec<f64>, Vec<f64>) {
        self.evaluate_with(input, |_, _, _| ())
    }

    /// As [`Network::evaluate`]; calls `see` with stage, row and argument of every function, in the order of
    /// evaluation.
    pub fn evaluate_with(&self, input: &[f64], mut see: impl FnMut(usize, usize, f64)) -> (Vec<f64>, Vec<f64>) {
        let mut values = Vec::with_capacity(self.value_count());
        values.extend_from_slice(input);
        for (at, stage) in self.stages.iter().enumerate() {
            let start = values.len();
            for (own, (row, &channel)) in stage.rows.iter().zip(&stage.channel).enumerate() {
                let pre = row.evaluate(&values[..start]);
                see(at, own, pre);
                let factor = stage.factors.get(own).map_or(1.0, |factor| factor.evaluate(&values[..start]));
                values.push(factor * stage.functions[channel as usize].evaluate(pre));
            }
        }
        let output = self.output_rows.iter().map(|row| row.evaluate(&values)).collect();
        (values, output)
    }
}

/// What a network computes on inputs side by side, one lane each.
pub struct Lanes {
    /// Every value.
    pub values: Vec<[f64; LANES]>,
    /// The argument of every function, in the order of evaluation.
    pub arguments: Vec<[f64; LANES]>,
    /// The output.
    pub output: Vec<[f64; LANES]>,
}

impl Network {
    /// As [`Network::evaluate`], on up to [`LANES`] inputs at a time; further lanes hold zeros for inputs.
    #[must_use]
    pub fn evaluate_lanes(&self, inputs: &[&[f64]]) -> Lanes {
        let arch = pulp::Arch::new();
        let mut values = Vec::with_capacity(self.value_count());
        values.extend((0..self.input.len()).map(|at| {
            let mut lanes = [0.0; LANES];
            lanes.iter_mut().zip(inputs).for_each(|(lane, input)| *lane = input[at]);
            lanes
        }));
        let mut arguments = Vec::with_capacity(self.activation_count());
        for stage in &self.stages {
            let first = arguments.len();
            rows_in_lanes(arch, &stage.rows, &values, &mut arguments);
            let mut factors = Vec::with_capacity(stage.factors.len());
            rows_in_lanes(arch, &stage.factors, &values, &mut factors);
            for (own, (z, &channel)) in arguments[first..].iter().zip(&stage.channel).enumerate() {
                let function = &stage.functions[channel as usize];
                let factor = factors.get(own).copied().unwrap_or([1.0; LANES]);
                values.push(std::array::from_fn(|lane| factor[lane] * function.evaluate(z[lane])));
            }
        }
        let mut output = Vec::with_capacity(self.output_rows.len());
        rows_in_lanes(arch, &self.output_rows, &values, &mut output);
        Lanes { values, arguments, output }
    }
}

for_each_arch! {
    fn rows_in_lanes = rows_body, (rows: &[Row], values: &[[f64; LANES]], sums: &mut Vec<[f64; LANES]>)
}

#[inline(always)]
fn rows_body(rows: &[Row], values: &[[f64; LANES]], sums: &mut Vec<[f64; LANES]>) {
    for row in rows {
        let mut sum = [row.bias; LANES];
        for tap in row.taps.iter() {
            let (weight, value) = (f64::from(tap.weight), &values[tap.source as usize]);
            for lane in 0..LANES {
                sum[lane] += weight * value[lane];
            }
        }
        sums.push(sum);
    }
}

impl Row {
    /// A constant.
    #[must_use]
    pub fn constant(bias: f64) -> Self {
        Self { bias, taps: Arc::from([]) }
    }

    /// One value, as it is.
    #[must_use]
    pub fn value(source: u32) -> Self {
        Self { bias: 0.0, taps: Arc::from([Tap { source, weight: 1.0 }]) }
    }

    /// `bias + sum weight * values[source]`.
    #[must_use]
    pub fn evaluate(&self, values: &[f64]) -> f64 {
        self.taps.iter().fold(self.bias, |sum, tap| sum + f64::from(tap.weight) * values[tap.source as usize])
    }
}
