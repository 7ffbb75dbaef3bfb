//! A network with polynomials for its functions: all that CKKS evaluates.
//!
//! Every channel of a stage has a polynomial of its own, fitted behind the polynomials of the stages before it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::ckks::plan::activation::{Activation, Form};
use crate::ckks::plan::refresh::Refresh;
use crate::files::params::{MOST_TEXT_BYTES, check_names};
use crate::model::client_op::ClientOps;
use crate::model::decoding::list;
use crate::model::network::{Row, Tap, TensorInfo};
use crate::model::rows;

/// log2 of the scales that polynomials' arguments may have: below them noise is all that is left, and the squares of
/// larger ones are far beyond what the primes of a level divide.
const ARGUMENT_LOG2: RangeInclusive<u32> = 14..=60;

/// Where an error comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ckks) enum ErrorSource {
    /// An input's encryption.
    Fresh,
    /// A rotation of what a map reads, by the map's number.
    Switch(usize),
    /// A sum of a map that is rescaled.
    Map(usize),
    /// A rounded weight of a map.
    Weight(usize),
    /// A stage's product, by the stage's number and the order of its products.
    Product(usize, usize),
    /// The bootstraps of a stage's values.
    Refresh(usize),
}

/// Where the last product of a stage's polynomials, a sum of three parts, becomes a ciphertext again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closing {
    /// In each value.
    #[default]
    Value,
    /// In the sums that several rows share: all readers read nothing else of the stage. A sum is relinearised and
    /// rescaled once for all its members.
    Sum,
    /// In the output's rows, which read values of this stage alone: as many are relinearised as there are outputs, and
    /// the product takes no level.
    Output,
}

/// How the scales of a stage are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaling {
    /// log2 of the scale of the polynomials' arguments; none for that of fresh ciphertexts.
    pub argument_log2: Option<u32>,
    /// Whether the sums of the linear map are divided by their last prime. If not, weights have what the argument's
    /// scale has more than the values that they meet.
    pub rescales: bool,
    /// Where products of three parts end.
    pub closing: Closing,
}

impl Default for Scaling {
    fn default() -> Self {
        Self { argument_log2: None, rescales: true, closing: Closing::Value }
    }
}

/// A stage: affine rows over earlier values, and a polynomial a channel, or products of pairs of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolynomialStage {
    /// Name of the ONNX node.
    pub name: String,
    /// Operators folded in, for people.
    pub operator: String,
    /// Shape of the stage's tensor.
    pub shape: Vec<usize>,
    /// One affine form a value.
    #[serde(with = "rows")]
    pub rows: Vec<Row>,
    /// Where the stage multiplies, for each row what it is multiplied with, at most 1 on the calibration data; empty
    /// elsewhere.
    #[serde(with = "rows")]
    pub factors: Vec<Row>,
    /// For each row its channel.
    pub channel: Vec<u32>,
    /// For each channel its polynomial, all of one form.
    pub activations: Vec<Activation>,
    /// How its scales are kept.
    pub scaling: Scaling,
}

/// Affine maps and polynomials. Values are numbered as in [`Network`](crate::model::network::Network).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolynomialNetwork {
    /// What is encrypted.
    pub input: TensorInfo,
    /// The inputs that it consists of.
    pub inputs: Vec<TensorInfo>,
    /// Stages, each reading only what is there.
    #[serde(deserialize_with = "list")]
    pub stages: Vec<PolynomialStage>,
    /// The output before the client's operators.
    pub output: TensorInfo,
    /// Affine form of each output element.
    #[serde(with = "rows")]
    pub output_rows: Vec<Row>,
    /// What the output's linear map consists of, for people.
    pub output_operator: String,
    /// What the client applies after decryption.
    pub client_ops: ClientOps,
    /// Largest magnitude of an output element on the calibration data.
    pub output_bound: f64,
    /// Where bootstraps stand; none where the levels do without.
    pub refresh: Option<Refresh>,
}

impl PolynomialStage {
    /// The polynomial of a row.
    #[must_use]
    pub fn activation(&self, row: usize) -> &Activation {
        &self.activations[self.channel[row] as usize]
    }

    /// All rows of its linear map: those of the values, then the factors.
    #[must_use]
    pub fn map(&self) -> Vec<&Row> {
        self.rows.iter().chain(&self.factors).collect()
    }

    /// Rows of the linear map that make one value.
    #[must_use]
    pub fn rows_per_value(&self) -> usize {
        1 + usize::from(!self.factors.is_empty())
    }

    /// The multiplications of ciphertexts that make one value, as [`Form::products`] gives them.
    #[must_use]
    pub fn products(&self) -> &'static [usize] {
        self.activations.first().map_or(&[], |activation| activation.form.products())
    }

    /// Multiplications of ciphertexts on the longest way.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.products().last().copied().unwrap_or(0)
    }

    /// Levels from the values that its map reads to where its own values are ciphertexts again.
    #[must_use]
    pub fn levels(&self) -> usize {
        usize::from(self.scaling.rescales) + self.depth() - usize::from(self.scaling.closing == Closing::Output)
    }
}

/// What independent errors of a row's weights, each of the given size, come to.
fn of_weights(row: &Row, values: &[f64], gains: &[f64], error: f64) -> f64 {
    if error == 0.0 {
        return 0.0;
    }
    // Where there is no gain, the value is a constant, and nothing reads the ciphertext.
    let held = |tap: &Tap| match gains[tap.source as usize] {
        0.0 => 0.0,
        gain => values[tap.source as usize] / gain,
    };
    error * row.taps.iter().map(|tap| held(tap).powi(2)).sum::<f64>().sqrt()
}

pub(in crate::ckks) fn double(input: &[f32]) -> Vec<f64> {
    input.iter().map(|&x| f64::from(x)).collect()
}

impl PolynomialNetwork {
    /// The output for one input.
    #[must_use]
    pub fn evaluate(&self, input: &[f32]) -> Vec<f64> {
        self.all_values(double(input), &mut |_| 0.0).1
    }

    /// All values, those of the input first, and the output.
    pub(in crate::ckks) fn all_values(
        &self,
        mut values: Vec<f64>,
        disturb: &mut impl FnMut(ErrorSource) -> f64,
    ) -> (Vec<f64>, Vec<f64>) {
        // A ciphertext holds its value without the gain.
        let mut gains = vec![1.0; values.len()];
        for (at, stage) in self.stages.iter().enumerate() {
            let start = values.len();
            for (row, affine) in stage.rows.iter().enumerate() {
                let activation = stage.activation(row);
                let mut disturb_map = |row: &Row| {
                    let weights = of_weights(row, &values, &gains, disturb(ErrorSource::Weight(at)));
                    disturb(ErrorSource::Map(at)) + weights
                };
                let u = (affine.evaluate(&values[..start]) - activation.centre) / activation.radius;
                let u = u + disturb_map(affine);
                let factor = |factor: &Row| factor.evaluate(&values[..start]) + disturb_map(factor);
                let v = stage.factors.get(row).map_or(1.0, factor);
                let mut product = 0;
                let value = activation.form.evaluate_with(u, v, || {
                    product += 1;
                    disturb(ErrorSource::Product(at, product - 1))
                });
                let held = disturb(ErrorSource::Switch(at + 1)) + disturb(ErrorSource::Refresh(at));
                values.push(value + activation.form.gain() * held);
            }
            gains.extend((0..stage.rows.len()).map(|row| stage.activation(row).form.gain()));
        }
        let output = self.stages.len();
        let disturbed =
            |row: &Row| row.evaluate(&values) + of_weights(row, &values, &gains, disturb(ErrorSource::Weight(output)));
        let output = self.output_rows.iter().map(disturbed).collect();
        (values, output)
    }

    /// Levels that one input passes: a linear map and an activation a stage, and the output's map.
    #[must_use]
    pub fn levels(&self) -> usize {
        1 + self.stages.iter().map(PolynomialStage::levels).sum::<usize>()
    }

    /// Number of values: input elements and rows of stages.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.input.len() + self.activation_count()
    }

    /// For each value what tells its channel from all others; only values of one channel can be summed before they are
    /// weighted.
    #[must_use]
    pub fn channels(&self) -> Vec<u64> {
        let mut channels = vec![0; self.input.len()];
        for (at, stage) in self.stages.iter().enumerate() {
            channels.extend(stage.channel.iter().map(|&c| (at as u64 + 1) << 32 | u64::from(c)));
        }
        channels
    }

    /// Number of polynomials that one input passes.
    #[must_use]
    pub fn activation_count(&self) -> usize {
        self.stages.iter().map(|stage| stage.rows.len()).sum()
    }

    /// Number of terms of all linear maps.
    #[must_use]
    pub fn term_count(&self) -> usize {
        self.maps().flatten().map(|row| row.taps.len()).sum()
    }

    /// Rows of the linear maps, stage by stage and then the output's.
    pub fn maps(&self) -> impl Iterator<Item = Vec<&Row>> {
        self.stages.iter().map(PolynomialStage::map).chain([self.output_rows.iter().collect()])
    }

    /// Checks shapes, indices and numbers; needed once after reading from outside.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check(&self) -> Result<(), String> {
        let mut values = self.input.len();
        let sound = |row: &Row, values: usize| {
            let finite = row.bias.is_finite() && row.taps.iter().all(|tap| tap.weight.is_finite());
            finite && row.taps.iter().all(|tap| (tap.source as usize) < values)
        };
        let is_long = |text: &str| text.len() > MOST_TEXT_BYTES;
        if is_long(&self.output_operator) || self.stages.iter().any(|s| is_long(&s.name) || is_long(&s.operator)) {
            return Err(format!("a name has more than {MOST_TEXT_BYTES} bytes"));
        }
        let names = self.stages.iter().flat_map(|stage| [&stage.name, &stage.operator]).chain([&self.output_operator]);
        check_names(names.map(String::as_str))?;
        for stage in &self.stages {
            let kinds = |a: &Activation| std::mem::discriminant(&a.form);
            let one_form = stage.activations.windows(2).all(|pair| kinds(&pair[0]) == kinds(&pair[1]));
            let channels = stage.channel.iter().all(|&c| (c as usize) < stage.activations.len());
            let lengths = stage.channel.len() == stage.rows.len() && !stage.rows.is_empty();
            let products = stage.activations.first().is_some_and(|a| matches!(a.form, Form::Product { .. }));
            let lengths = lengths && stage.factors.len() == if products { stage.rows.len() } else { 0 };
            if !one_form || !channels || !lengths || !stage.activations.iter().all(Activation::is_finite) {
                return Err(format!("the polynomials of stage {} are unsound", stage.name));
            }
            if !stage.map().iter().all(|row| sound(row, values)) {
                return Err(format!("the rows of stage {} are unsound", stage.name));
            }
            if stage.scaling.argument_log2.is_some_and(|log2| !ARGUMENT_LOG2.contains(&log2)) {
                return Err(format!("the scale of stage {} is out of range", stage.name));
            }
            let kind = stage.activations.first().map(|activation| activation.form.kind());
            let closes = kind.is_some_and(|kind| kind.chebyshev_constants().is_some());
            if (stage.depth() == 0 || closes) && stage.scaling.closing != Closing::Value {
                return Err(format!("stage {} has no product to be summed", stage.name));
            }
            values += stage.rows.len();
        }
        let before_last = self.stages.len().saturating_sub(1);
        if self.stages[..before_last].iter().any(|stage| stage.scaling.closing == Closing::Output) {
            return Err("a stage before the last one ends in the output".into());
        }
        let outputs = self.output.len();
        if self.output_rows.len() != outputs || outputs == 0 || !self.output_rows.iter().all(|row| sound(row, values)) {
            return Err("the rows of the output are unsound".into());
        }
        if !(self.output_bound.is_finite() && self.output_bound >= 0.0) {
            return Err("the bound of the output is unsound".into());
        }
        Ok(())
    }
}
