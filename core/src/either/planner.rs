//! The choice between the schemes: both plan, and the one that is predicted to answer the batch first is taken. What
//! users wait for is not the evaluation alone: keys are made, carried and loaded before it.

use crate::ckks;
use crate::either::plan::Plan;
use crate::files::scheme::Scheme;
use crate::files::sealed::Whole;
use crate::model::columns::{Columns, settled};
use crate::model::network::Network;
use crate::planning::error::PlanError;
use crate::planning::loss::Loss;
use crate::progress::Progress;
use crate::tfhe;
use crate::tfhe::planner::options::Planned;

/// What the caller may choose for either scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// For TFHE.
    pub tfhe: tfhe::planner::options::Options,
    /// For CKKS; the schemes are compared for its batch.
    pub ckks: ckks::planner::Options,
}

/// A plan, and how it was chosen.
pub struct Derived {
    /// The plan.
    pub plan: Plan,
    /// Widest weights of a TFHE plan, in bits.
    pub weight_bits: Option<u32>,
    /// Why this scheme; none where it was asked for.
    pub choice: Option<Choice>,
}

/// Why a scheme was taken.
pub enum Choice {
    /// Both can, and this is what each would take.
    Compared {
        /// TFHE's promises.
        tfhe: Estimate,
        /// CKKS's promises.
        ckks: Estimate,
        /// Inputs that they are for.
        batch: usize,
    },
    /// There is only a TFHE plan; CKKS's reason.
    OnlyTfhe(PlanError),
    /// There is only a CKKS plan; TFHE's reason.
    OnlyCkks(PlanError),
}

/// Where plans are to run, as far as the choice between the schemes needs to know.
pub trait Pace {
    /// Predicted seconds of a plan for so many inputs; none where it does not run.
    fn seconds(&self, plan: &Plan, inputs: usize) -> Option<f64>;
}

/// What a plan promises for one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// What new inputs lose.
    pub loss: Loss,
    /// Thread-seconds of the batch on the CPU.
    pub thread_seconds: f64,
    /// Seconds of the batch where the plan is to run; none where threads of the CPU are meant.
    pub seconds: Option<f64>,
    /// Evaluation key file.
    pub evaluation_key_bytes: u64,
    /// Encrypted inputs of the batch.
    pub input_bytes: u64,
    /// Encrypted outputs of the batch.
    pub output_bytes: u64,
}

/// Bytes of an evaluation key that are made, carried and loaded in a second, by either scheme.
const KEY_BYTES_PER_SECOND: f64 = 25e6;

impl Estimate {
    /// Seconds that a user waits for the first batch, its keys included; thread-seconds where threads are meant.
    #[must_use]
    pub fn waited_seconds(&self) -> f64 {
        self.seconds.unwrap_or(self.thread_seconds) + self.evaluation_key_bytes as f64 / KEY_BYTES_PER_SECOND
    }

    /// What a plan promises for so many inputs, where it is to run. A plan that does not run there takes for ever.
    #[must_use]
    pub fn of(plan: &Plan, batch: usize, pace: Option<&dyn Pace>) -> Self {
        let seconds = pace.map(|pace| pace.seconds(plan, batch).unwrap_or(f64::INFINITY));
        let promised = match plan {
            Plan::Tfhe(plan) => Self::of_tfhe(plan, batch),
            Plan::Ckks(plan) => Self::of_ckks(plan, batch),
        };
        Self { seconds, ..promised }
    }

    fn of_tfhe(plan: &tfhe::plan::Plan, batch: usize) -> Self {
        let promised = &plan.params.prediction;
        let batch = batch as u64;
        Self {
            loss: promised.loss,
            thread_seconds: promised.thread_seconds_per_input * batch as f64,
            seconds: None,
            evaluation_key_bytes: promised.evaluation_key_bytes,
            input_bytes: promised.input_bytes * batch,
            output_bytes: promised.output_bytes * batch,
        }
    }

    fn of_ckks(plan: &ckks::plan::Plan, batch: usize) -> Self {
        let promised = &plan.params.prediction;
        let runs = batch.div_ceil(plan.params.inputs_per_run()) as u64;
        Self {
            loss: promised.loss,
            thread_seconds: promised.thread_seconds_per_run * runs as f64,
            seconds: None,
            evaluation_key_bytes: promised.evaluation_key_bytes,
            input_bytes: promised.input_bytes * runs,
            output_bytes: promised.output_bytes * runs,
        }
    }
}

/// Plans for a scheme, or for both and takes the faster one.
///
/// # Errors
/// [`PlanError`]; where neither scheme has a plan it is TFHE's, which is about the model or the data, not about depth
/// or polynomials.
pub fn plan(
    scheme: Option<Scheme>,
    network: &Network,
    calibration: &[Vec<f32>],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Derived, PlanError> {
    plan_at(None, scheme, network, calibration, options, progress)
}

/// As [`plan`], but the schemes are compared by what they take at a pace, not by thread-seconds.
///
/// # Errors
/// As [`plan`].
pub fn plan_at(
    pace: Option<&dyn Pace>,
    scheme: Option<Scheme>,
    network: &Network,
    calibration: &[Vec<f32>],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Derived, PlanError> {
    let given = Given { pace, scheme, options, progress };
    // Exact integers are encrypted as they are.
    if options.tfhe.exact {
        return given.of_network(network, false, calibration);
    }
    let settled = settled(network, calibration);
    let network = settled.as_ref().unwrap_or(network);
    let columns = Columns::of(network, calibration);
    if columns.is_empty() {
        return given.of_network(network, false, calibration);
    }
    let encoded: Vec<Vec<f32>> = calibration.iter().map(|input| columns.encoded(input).into_owned()).collect();
    let network = columns.network(network);
    let mut derived = given.of_network(&network, columns.is_cut(), &encoded)?;
    derived.plan.scale_columns(columns);
    Ok(derived)
}

/// What a plan is asked for with.
struct Given<'a> {
    pace: Option<&'a dyn Pace>,
    scheme: Option<Scheme>,
    options: &'a Options,
    progress: &'a dyn Progress,
}

impl Given<'_> {
    fn of_network(&self, network: &Network, is_compared: bool, calibration: &[Vec<f32>]) -> Result<Derived, PlanError> {
        let Self { pace, options, progress, .. } = *self;
        let tfhe = || {
            let planned = tfhe::planner::plan(network, calibration, &options.tfhe, progress)?;
            planned.plan.check_whole().map_err(|reason| PlanError::Refused { scheme: "TFHE", reason })?;
            Ok(planned)
        };
        let ckks = || {
            let plan = ckks::planner::plan(network, calibration, &options.ckks, progress)?;
            plan.check_whole().map_err(|reason| PlanError::Refused { scheme: "CKKS", reason })?;
            Ok(plan)
        };
        match self.scheme {
            // Trees are nothing but comparisons: far from what was seen a polynomial answers anything.
            Some(Scheme::Ckks) if is_compared => Err(PlanError::Comparisons),
            None if is_compared => Ok(of_tfhe(tfhe()?, Some(Choice::OnlyTfhe(PlanError::Comparisons)))),
            Some(Scheme::Tfhe) => Ok(of_tfhe(tfhe()?, None)),
            Some(Scheme::Ckks) => Ok(of_ckks(ckks()?, None)),
            None => {
                let ckks = ckks();
                // A scheme is not left out because there was no time for it.
                if let Err(PlanError::Late(late)) = ckks {
                    return Err(late.into());
                }
                choose(ckks, tfhe(), options.ckks.batch, pace)
            }
        }
    }
}

fn of_tfhe(planned: Planned, choice: Option<Choice>) -> Derived {
    Derived { weight_bits: Some(planned.weight_bits), plan: Plan::Tfhe(Box::new(planned.plan)), choice }
}

fn of_ckks(plan: ckks::plan::Plan, choice: Option<Choice>) -> Derived {
    Derived { plan: Plan::Ckks(Box::new(plan)), weight_bits: None, choice }
}

/// The one that answers the batch first, its keys included, or the one that there is.
fn choose(
    ckks: Result<ckks::plan::Plan, PlanError>,
    tfhe: Result<Planned, PlanError>,
    batch: usize,
    pace: Option<&dyn Pace>,
) -> Result<Derived, PlanError> {
    let (ckks, tfhe) = match (ckks, tfhe) {
        (_, Err(error @ PlanError::Late(_))) | (Err(_), Err(error)) => return Err(error),
        (Err(error), Ok(tfhe)) => return Ok(of_tfhe(tfhe, Some(Choice::OnlyTfhe(error)))),
        (Ok(ckks), Err(error)) => return Ok(of_ckks(ckks, Some(Choice::OnlyCkks(error)))),
        (Ok(ckks), Ok(tfhe)) => (ckks, tfhe),
    };
    let batch = batch.min(ckks.params.inputs_per_run());
    let (mut by_tfhe, mut by_ckks) = (of_tfhe(tfhe, None), of_ckks(ckks, None));
    let (own_tfhe, own_ckks) = (Estimate::of(&by_tfhe.plan, batch, pace), Estimate::of(&by_ckks.plan, batch, pace));
    let derived = if own_ckks.waited_seconds() < own_tfhe.waited_seconds() { &mut by_ckks } else { &mut by_tfhe };
    derived.choice = Some(Choice::Compared { tfhe: own_tfhe, ckks: own_ckks, batch });
    Ok(if by_ckks.choice.is_some() { by_ckks } else { by_tfhe })
}
