//! Latency packing as data: scales and limbs of every step of a [`LatencyPlan`].

use std::fmt;

use crate::ckks::error::{CkksError, same_scale};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::activation::FormKind;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::limbs::limbs_of_stages;
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork};
use crate::ckks::plan::scales::{map_states, output_state};
use crate::ckks::plan::uses::uses;
use crate::ckks::ring::coefficients::half_bytes;
use crate::ckks::ring::number::State;

/// One linear map with its polynomials.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyStep {
    /// Name of the stage, or of the output.
    pub name: String,
    /// Scale and limbs of the sums of masked inputs.
    pub linear: State,
    /// Of the polynomials' arguments; of the output where there are none.
    pub argument: State,
    /// Of the values.
    pub result: State,
    /// The polynomials, if there are any.
    pub kind: Option<FormKind>,
    /// What is rotated and multiplied, for people.
    pub steps: String,
    /// The bootstrap behind it, if there is one.
    pub bootstrap: Option<BootstrapStep>,
}

/// A bootstrap of all tensors that are still read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapStep {
    /// The tensors: 0 is the input, i + 1 what map i gives.
    pub tensors: Vec<usize>,
    /// Limbs that they have behind it: as many as are needed.
    pub limbs: usize,
}

/// What a run does, map by map.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencySchedule {
    /// Scale and limbs of the inputs.
    pub input: State,
    /// The maps of the stages, then the output's.
    pub steps: Vec<LatencyStep>,
    /// Bytes of masks and ciphertexts at one time: on the host, until a session puts those of its device there.
    pub peak_bytes: u64,
}

impl LatencySchedule {
    /// Follows scales and limbs through the network.
    ///
    /// # Errors
    /// [`CkksError::Depth`] if the parameters have too few levels.
    pub fn new(network: &PolynomialNetwork, plan: &LatencyPlan, params: &ParameterSet) -> Result<Self, CkksError> {
        if !network.fits(params.primes.len()) {
            return Err(CkksError::Depth);
        }
        let fresh = f64::from(params.scale_log2).exp2();
        let limbs = limbs_of_stages(network, params.primes.len());
        if network.stages.iter().any(|stage| stage.scaling.closing != Closing::Value) {
            return Err(CkksError::Plan("rotated values are no products of three parts".into()));
        }
        let step = |(at, map): (usize, &_)| {
            let Some(stage) = network.stages.get(at) else {
                let linear = output_state(params, network.output_bound, limbs[at], false);
                let name = network.output.name.clone();
                let steps = format!("{map}");
                let bootstrap = None;
                return Ok(LatencyStep {
                    name,
                    linear,
                    argument: linear,
                    result: linear,
                    kind: None,
                    steps,
                    bootstrap,
                });
            };
            let (linear, argument) = map_states(stage, params, limbs[at])?;
            let kind = stage.activation(0).form.kind();
            let result = uses(kind, params, argument, false).value;
            Ok(LatencyStep {
                name: stage.name.clone(),
                linear,
                argument,
                result,
                kind: Some(kind),
                steps: format!("{map}"),
                bootstrap: None,
            })
        };
        let mut steps = plan.maps.iter().enumerate().map(step).collect::<Result<Vec<LatencyStep>, CkksError>>()?;
        for (stage, tensors) in network.refreshed() {
            let scale = network.refresh.as_ref().map_or(0.0, |refresh| refresh.recipe.input_scale);
            for &tensor in &tensors {
                same_scale(tensor.checked_sub(1).map_or(fresh, |map| steps[map].result.scale), scale)?;
            }
            steps[stage].bootstrap = Some(BootstrapStep { tensors, limbs: limbs[stage + 1] });
        }
        let input = State { scale: fresh, limbs: limbs[0] };
        Ok(Self { input, steps, peak_bytes: plan.memory_bytes(network, params, half_bytes) })
    }

    /// Scale and limbs of the tensors that maps read: the input, then the results of the stages.
    pub fn tensors(&self) -> impl Iterator<Item = State> {
        std::iter::once(self.input).chain(self.steps.iter().map(|step| step.result))
    }
}

impl fmt::Display for LatencySchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            let LatencyStep { name, linear, result, kind, steps, .. } = step;
            write!(f, "map {at} ({name}): {steps}; at {} limbs", linear.limbs)?;
            match kind {
                Some(kind) => writeln!(f, ", then {kind:?} polynomials to {}", result.limbs)?,
                None => writeln!(f)?,
            }
            if let Some(BootstrapStep { tensors, limbs }) = &step.bootstrap {
                writeln!(f, "bootstrap of tensors {tensors:?}, to {limbs} limbs")?;
            }
        }
        writeln!(f, "{:.1} MiB of masks and ciphertexts", self.peak_bytes as f64 / 1_048_576.0)
    }
}
