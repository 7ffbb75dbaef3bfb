//! The public parameters of a model: everything that a client needs, and no weights.

use crate::files::params::REQUIRED_BITS;
use crate::files::params::read_head;
use crate::files::params::{ParamsError, check_digest, check_head, check_tensors, is_scale};
use crate::files::scheme::Scheme;
use crate::files::sealed::Given;
use serde::{Deserialize, Serialize};

use crate::files::container::{Binding, Kind};
use crate::model::client_op::ClientOps;
use crate::model::columns::Columns;
use crate::model::network::TensorInfo;
use crate::planning::loss::Loss;
use crate::tfhe::params::set::ParameterSet;
use crate::tfhe::params::set::bits;

/// Largest range of inputs, in turns of the torus: what is wider than one is ambiguous.
const MOST_TURNS: f64 = 4.0;
/// Farthest input from 0, in turns: beyond, an `f64` does not tell its place on the torus to 32 bits.
const FARTHEST_TURNS: f64 = (1 << 20) as f64;

/// `params.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Always [`FORMAT`](crate::files::params::FORMAT).
    pub format: String,
    /// Always [`VERSION`](crate::files::params::VERSION).
    pub version: u32,
    /// Encryption scheme.
    pub scheme: Scheme,
    /// TFHE parameters.
    pub tfhe: ParameterSet,
    /// How inputs become torus elements.
    pub input: InputEncoding,
    /// How torus elements become outputs.
    pub output: OutputEncoding,
    /// Digest of the plan that these parameters were made for. It tells plans apart; who has a candidate model can
    /// check a guess with it.
    pub plan_digest: String,
    /// What the planner promises.
    pub prediction: Prediction,
}

/// A value x is encrypted as the torus element `x * turns_per_unit` mod 1, after rounding to the grid in exact mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputEncoding {
    /// Name and shape of all inputs together.
    pub tensor: TensorInfo,
    /// Name and shape of each input, in the order in which their elements stand in the tensor.
    pub parts: Vec<TensorInfo>,
    /// Turns of the torus a unit of x.
    pub turns_per_unit: f64,
    /// Smallest value that the parameters allow for.
    pub low: f64,
    /// Largest value that the parameters allow for.
    pub high: f64,
    /// What is encrypted of each element where they have scales of their own: the range is of that.
    pub columns: Columns,
}

/// A phase t, taken in [-1/2, 1/2), is the value `t / turns_per_unit + offset` of its element.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputEncoding {
    /// Name and shape before the client's program.
    pub tensor: TensorInfo,
    /// Turns of the torus a unit, one for each element.
    pub turns_per_unit: Vec<f64>,
    /// Value at phase 0, one for each element.
    pub offset: Vec<f64>,
    /// In exact mode the spacing of each element's grid around its offset, to which decrypted values are rounded.
    pub steps: Option<Vec<f64>>,
    /// What the client computes after decryption, and the outputs that it gives.
    pub client_ops: ClientOps,
}

impl OutputEncoding {
    /// Values of output phases (words, element-major), before the client's operators.
    #[must_use]
    pub fn decode(&self, phases: &[u32]) -> Vec<f64> {
        phases
            .iter()
            .enumerate()
            .map(|(element, &phase)| {
                let value = crate::tfhe::torus::to_turns(phase) / self.turns_per_unit[element];
                let value =
                    self.steps.as_ref().map_or(value, |steps| (value / steps[element]).round() * steps[element]);
                value + self.offset[element]
            })
            .collect()
    }
}

/// What the planner promises, before anything ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Bits of security by the stricter curve.
    pub security_bits: f64,
    /// What new inputs lose, simulated with noise.
    pub loss: Loss,
    /// log2 of the failure probability of one bootstrap; in real mode of leaving the torus interval.
    pub p_fail_log2: f64,
    /// Bootstraps an input.
    pub bootstraps: u64,
    /// Predicted thread-seconds an input on the machine that planned.
    pub thread_seconds_per_input: f64,
    /// Evaluation key file.
    pub evaluation_key_bytes: u64,
    /// Encrypted input file, one input.
    pub input_bytes: u64,
    /// Encrypted output file, one input.
    pub output_bytes: u64,
}

impl Given for Params {
    fn bound_to(&self) -> Option<Binding> {
        Some(self.binding())
    }
}

impl Params {
    /// Reads and checks a parameter file, its security included: a client must not trust who sent it.
    ///
    /// # Errors
    /// [`ParamsError`].
    pub fn from_json(text: &[u8]) -> Result<Self, ParamsError> {
        read_head(text)?;
        let params: Params = serde_json::from_slice(text)?;
        params.check()?;
        Ok(params)
    }

    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, strings and lists always serialise")
    }

    /// Digest of all fields but the prediction: what keys, ciphertexts and plans are bound to.
    #[must_use]
    pub fn binding(&self) -> Binding {
        let fields =
            (&self.format, self.version, self.scheme, &self.tfhe, &self.input, &self.output, &self.plan_digest);
        let text = serde_json::to_vec(&fields).expect("numbers, strings and lists always serialise");
        *blake3::hash(&text).as_bytes()
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ParamsError`] that names the first violation.
    pub fn check(&self) -> Result<(), ParamsError> {
        check_head(&self.format, self.version)?;
        self.tfhe.check().map_err(ParamsError::Invalid)?;
        let invalid = |what: &str| Err(ParamsError::Invalid(what.into()));
        if self.scheme != Scheme::Tfhe {
            return invalid("TFHE parameters name another scheme");
        }
        check_tensors((&self.input.tensor, &self.input.parts), &self.output.tensor, &self.output.client_ops)?;
        check_digest(&self.plan_digest)?;
        if !is_scale(self.input.turns_per_unit) || !self.input.low.is_finite() || !self.input.high.is_finite() {
            return invalid("the input encoding is not finite, or its scale is none");
        }
        if !self.input.columns.fits(self.input.tensor.len()) {
            return invalid("the scales of the input's elements are unsound");
        }
        if self.input.low > self.input.high {
            return invalid("the input range is empty");
        }
        let span = (self.input.high - self.input.low) * self.input.turns_per_unit;
        let farthest = self.input.low.abs() * self.input.turns_per_unit;
        if !(span <= MOST_TURNS && farthest <= FARTHEST_TURNS) {
            return invalid("the input range does not fit the torus");
        }
        let outputs = self.output.tensor.len();
        if self.output.turns_per_unit.len() != outputs || self.output.offset.len() != outputs {
            return invalid("the output encoding has the wrong length");
        }
        if !self.output.turns_per_unit.iter().copied().all(is_scale)
            || !self.output.offset.iter().all(|o| o.is_finite())
        {
            return invalid("the output encoding is not finite, or a scale is none");
        }
        let grid_fits = |steps: &Vec<f64>| steps.len() == outputs && steps.iter().copied().all(is_scale);
        if !self.output.steps.as_ref().is_none_or(grid_fits) {
            return invalid("the output grid is not finite or has the wrong length");
        }
        if key_bytes(&self.tfhe) > Kind::EvaluationKey.most_bytes() {
            return invalid("the evaluation key would be too large");
        }
        let found = bits(&self.tfhe);
        if found < REQUIRED_BITS {
            return Err(ParamsError::Insecure { found });
        }
        let stated = self.prediction.security_bits;
        if stated.is_nan() || stated > found + 0.1 {
            return invalid("more bits of security are stated than the parameters have");
        }
        let Prediction { loss, p_fail_log2, thread_seconds_per_input: seconds, .. } = self.prediction;
        if !(loss.is_sound() && p_fail_log2.is_finite() && seconds.is_finite() && seconds >= 0.0) {
            return invalid("a prediction is no number");
        }
        Ok(())
    }
}

/// Bytes of the evaluation key's bodies.
fn key_bytes(p: &ParameterSet) -> u64 {
    let bootstrap = p.bootstrap_key_length() * p.pbs_level * (p.glwe_dimension + 1) * p.polynomial_size;
    (8 * bootstrap + 4 * p.big_dimension() * p.ks_level) as u64
}
