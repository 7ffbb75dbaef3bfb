//! The public parameters of a model under CKKS: everything that a client needs, and no weights.

use crate::ckks::params::key_request::KeyRequest;
use crate::ckks::params::packing::Packing;

use serde::{Deserialize, Serialize};

use crate::ckks::params::set::ParameterSet;
use crate::files::container::{Binding, Kind};
use crate::files::params::read_head;
use crate::files::params::{ParamsError, check_digest, check_head, check_tensors, is_scale};
use crate::files::scheme::Scheme;
use crate::files::sealed::Given;
use crate::model::client_op::ClientOps;
use crate::model::columns::Columns;
use crate::model::network::TensorInfo;
use crate::planning::loss::Loss;

/// Most rotations that a client makes keys for.
pub const MOST_ROTATIONS: usize = 1024;

/// `params.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Always [`crate::files::params::FORMAT`].
    pub format: String,
    /// Always [`crate::files::params::VERSION`].
    pub version: u32,
    /// Always [`Scheme::Ckks`].
    pub scheme: Scheme,
    /// CKKS parameters.
    pub ckks: ParameterSet,
    /// What is encrypted.
    pub input: InputEncoding,
    /// What is decrypted.
    pub output: OutputEncoding,
    /// How values lie in slots.
    pub packing: Packing,
    /// Keys that the evaluation needs.
    pub keys: KeyRequest,
    /// Digest of the plan that these parameters were made for. It tells plans apart; who has a candidate model can
    /// check a guess with it.
    pub plan_digest: String,
    /// What the planner promises.
    pub prediction: Prediction,
}

/// Inputs, encrypted at all limbs and at the scale of fresh ciphertexts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputEncoding {
    /// Name and shape of all inputs together.
    pub tensor: TensorInfo,
    /// Name and shape of each input, in the order in which their elements stand in the tensor.
    pub parts: Vec<TensorInfo>,
    /// Smallest value that the parameters allow for.
    pub low: f64,
    /// Largest value that the parameters allow for.
    pub high: f64,
    /// What is encrypted of each element where they have scales of their own: the range is of that.
    pub columns: Columns,
}

/// Outputs, at one or two limbs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputEncoding {
    /// Name and shape before the client's program.
    pub tensor: TensorInfo,
    /// What the values are multiplied by.
    pub scale: f64,
    /// Root mean square of the error that is the noise's.
    pub noise: f64,
    /// What the client computes after decryption, and the outputs that it gives.
    pub client_ops: ClientOps,
}

/// What the planner promises, before anything ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// What new inputs lose, simulated with noise.
    pub loss: Loss,
    /// Largest degree of a polynomial; 0 without any.
    pub degree: usize,
    /// Ciphertexts that a run bootstraps.
    pub bootstraps: usize,
    /// Share of held-out calibration inputs of which a value leaves what bootstraps are made for; 0 without any.
    pub outside: f64,
    /// Thread-seconds of one run on the machine that planned.
    pub thread_seconds_per_run: f64,
    /// Evaluation key file.
    pub evaluation_key_bytes: u64,
    /// Encrypted input file of one run.
    pub input_bytes: u64,
    /// Encrypted output file of one run.
    pub output_bytes: u64,
    /// Memory of the evaluation.
    pub memory_bytes: u64,
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
        let params: Self = serde_json::from_slice(text)?;
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
        let fields = (
            (&self.format, self.version, self.scheme),
            (&self.ckks, &self.input, &self.output, &self.packing, &self.keys),
            &self.plan_digest,
        );
        let text = serde_json::to_vec(&fields).expect("numbers, strings and lists always serialise");
        *blake3::hash(&text).as_bytes()
    }

    /// Inputs that one run takes.
    #[must_use]
    pub fn inputs_per_run(&self) -> usize {
        self.packing.inputs_per_run(&self.ckks)
    }

    /// Ciphertexts of the input and of the output of one run.
    #[must_use]
    pub fn ciphertexts_per_run(&self) -> (usize, usize) {
        match &self.packing {
            Packing::Throughput => (self.input.tensor.len(), self.output.tensor.len()),
            Packing::Latency { input, output, .. } => (input.ciphertexts(), output.ciphertexts()),
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ParamsError`] that names the first violation.
    pub fn check(&self) -> Result<(), ParamsError> {
        check_head(&self.format, self.version)?;
        let invalid = |what: &str| Err(ParamsError::Invalid(what.into()));
        if self.scheme != Scheme::Ckks {
            return invalid("CKKS parameters name another scheme");
        }
        self.ckks.check().map_err(ParamsError::Invalid)?;
        check_tensors((&self.input.tensor, &self.input.parts), &self.output.tensor, &self.output.client_ops)?;
        check_digest(&self.plan_digest)?;
        if !self.input.columns.fits(self.input.tensor.len()) {
            return invalid("the scales of the input's elements are unsound");
        }
        let (low, high) = (self.input.low, self.input.high);
        // Beyond 2^30 an input leaves the modulus of a fresh ciphertext.
        let largest = 2_f64.powi(30);
        if !(low >= -largest && low <= high && high <= largest) {
            return invalid("the input range is empty or too large");
        }
        let noise = self.output.noise;
        if !(is_scale(self.output.scale) && self.output.scale >= 1.0 && noise.is_finite() && noise >= 0.0) {
            return invalid("the output's scale or noise is out of range");
        }
        if let Packing::Latency { lanes, input, output } = &self.packing {
            for (layout, tensor) in [(input, &self.input.tensor), (output, &self.output.tensor)] {
                layout.check().map_err(ParamsError::Invalid)?;
                if layout.len() != tensor.len() || lanes.checked_mul(layout.ring) != Some(self.ckks.slots()) {
                    return invalid("a layout does not fit its tensor or the ring");
                }
            }
        }
        let (rotations, limbs) = (&self.keys.rotation_limbs, self.ckks.key_limbs);
        let steps = rotations.keys().all(|steps| (1..self.ckks.slots()).contains(steps));
        let key_limbs = rotations.values().all(|own| (1..=limbs).contains(own));
        if rotations.len() > MOST_ROTATIONS || !steps || !key_limbs || self.keys.relinearisation_limbs > limbs {
            return invalid("a key is asked for that cannot be made");
        }
        if let Some(bootstrap) = self.keys.bootstrap {
            bootstrap.check(&self.ckks).map_err(ParamsError::Invalid)?;
        }
        if self.keys.file_bytes(&self.ckks) > Kind::EvaluationKey.most_bytes() {
            return invalid("the evaluation key would be too large");
        }
        let seconds = self.prediction.thread_seconds_per_run;
        let outside = (0.0..=1.0).contains(&self.prediction.outside);
        if !(self.prediction.loss.is_sound() && outside && seconds.is_finite() && seconds >= 0.0) {
            return invalid("a prediction is no number");
        }
        Ok(())
    }
}
