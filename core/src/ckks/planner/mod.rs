//! Chooses polynomials, parameters and packing: the cheapest for a batch whose simulated accuracy stays within the
//! budget.

pub mod chains;
pub mod choice;
pub mod fit;
pub mod least_squares;
pub mod simulate;

use rayon::prelude::*;

use crate::ckks::cost::CkksCost;
use crate::ckks::error::CkksError;
use crate::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use crate::ckks::params::key_request::KeyRequest;
use crate::ckks::params::packing::Packing;
use crate::ckks::params::public::{InputEncoding, OutputEncoding, Params, Prediction};
use crate::ckks::params::set::{ParameterSet, RING_OF_PLANS, RingKind};
use crate::ckks::plan::Plan;
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork, PolynomialStage, double, limbs_of_stages};
use crate::ckks::plan::width::Width;
use crate::ckks::planner::choice::{Chosen, choose};
use crate::ckks::planner::fit::Degrees;
use crate::ckks::planner::least_squares::widenings;
use crate::ckks::planner::simulate::SlotNoise;
use crate::ckks::schedule::throughput::ThroughputSchedule;
use crate::files::params::{FORMAT, VERSION};
use crate::files::scheme::Scheme;
use crate::files::sealed::OfBatch;
use crate::model::columns::Columns;
use crate::model::lines::{Lengths, is_line, without_lines};
use crate::model::network::Network;
use crate::planning::calibration::Calibration;
use crate::planning::error::{PlanError, check_calibration};
use crate::planning::judge::{Judge, Verdict};
use crate::planning::loss::Loss;
use crate::planning::pooling::pooled;
use crate::planning::task::Task;
use crate::progress::Progress;

/// What the caller may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Largest share of new inputs whose decision may change, or largest relative output error.
    pub max_loss: f64,
    /// Whether the upper bound of the loss must keep to it, not what is to be expected.
    pub confident: bool,
    /// How the loss is measured.
    pub task: Task,
    /// Inputs that come at a time.
    pub batch: usize,
    /// Cost of the machine that will run the plan.
    pub cost: CkksCost,
}

/// Linear layers are taken together, as long as all rows have so many terms at the most: a layer of its own would
/// take a level.
const LINE_TERMS: Lengths = Lengths { a_value: f64::INFINITY, all: (1_u64 << 27) as f64 };
/// Noise of the output, over the largest calibrated output, that any set may have.
const MOST_NOISE: f64 = 8e-5;
/// Noise over the error of the polynomials that any set may have: it adds less than a two hundredth to that error.
const MOST_NOISE_OF_ERROR: f64 = 0.0625;
/// Inputs by which the error of the polynomials is told.
const ERROR_INPUTS: usize = 256;
/// With which the judge takes errors: few degrees are tried, and what is taken is often better than the budget asks
/// for.
const CAUTION: f64 = 4.0;
/// A loss below this share of another is less by more than chance.
const PLAINLY_LESS: f64 = 0.95;
/// Inputs may leave their calibrated range by this share of it, as fits reach further too.
const INPUT_MARGIN: f64 = 0.05;

/// Derives polynomials, parameters and plan, in the ring that every device takes.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    network: &Network,
    calibration: &[Vec<f32>],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Plan, PlanError> {
    plan_in(RING_OF_PLANS, network, calibration, options, progress)
}

/// As [`plan`], in a ring that the caller chooses: devices may not take it.
///
/// # Errors
/// [`PlanError`].
pub fn plan_in(
    ring: RingKind,
    network: &Network,
    calibration: &[Vec<f32>],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Plan, PlanError> {
    check_calibration(network, calibration)?;
    let network = &*without_lines(network, LINE_TERMS);
    if network.stages.iter().any(is_line) {
        return Err(PlanError::Depth(format!(
            "the model's linear layers have more than {} terms where they are taken together",
            LINE_TERMS.all
        )));
    }
    let network = &*pooled(network, calibration);
    progress.start("fitting polynomials", Degrees::of(network).len() as u64);
    let statistics = Calibration::collect(network, calibration, progress.deadline())?;
    if let Some(index) = statistics.outputs.iter().position(|output| output.iter().any(|y| !y.is_finite())) {
        return Err(PlanError::PlainOutput { index });
    }
    let judge = Judge::new(network, &statistics, options.task, options.confident, CAUTION, progress.deadline());
    judge.check_confidence(options.max_loss)?;
    let Fitted { polynomials, mut held_out } = fit(network, calibration, &judge, options.max_loss, progress)?;
    progress.finish();
    let batch = (options.batch, &options.cost);
    let most = most_noise(network, &polynomials, calibration);
    let (polynomials, chosen) = choose(ring, &polynomials, calibration, batch, most, progress.deadline())?;
    held_out.iter_mut().for_each(|own| own.keep_as(&polynomials));
    let noise = SlotNoise::packed(&polynomials, &chosen.params, chosen.latency.as_ref());
    let noise = noise.map_err(|error| PlanError::Depth(error.to_string()))?;
    let loss = judge_folds(&judge, &held_out, |own, input, seed| own.simulate(input, &noise, seed))?;
    let (low, high) = statistics.ranges.input;
    let margin = INPUT_MARGIN * (high - low).max(1e-6 * high.abs().max(low.abs()));
    finish(polynomials, chosen, &loss.loss, (low - margin, high + margin))
}

/// Root mean square of the output's noise that no set may exceed.
fn most_noise(network: &Network, polynomials: &PolynomialNetwork, calibration: &[Vec<f32>]) -> f64 {
    let step = calibration.len().div_ceil(ERROR_INPUTS);
    let inputs: Vec<&Vec<f32>> = calibration.iter().step_by(step).collect();
    let square = |input: &&Vec<f32>| -> f64 {
        let exact = network.evaluate(&double(input)).1;
        let own = polynomials.evaluate(input);
        exact.iter().zip(&own).map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let total: f64 = inputs.par_iter().map(square).sum();
    let error = (total / (inputs.len() * polynomials.output.len()) as f64).sqrt();
    (MOST_NOISE * polynomials.output_bound.max(f64::MIN_POSITIVE)).max(MOST_NOISE_OF_ERROR * error)
}

/// Polynomials fitted to all inputs, and for each fold those fitted without it.
struct Fitted {
    polynomials: PolynomialNetwork,
    held_out: Vec<PolynomialNetwork>,
}

/// Judges what a run of each fold's polynomials gives for the inputs that they were not fitted to.
fn judge_folds(
    judge: &Judge<'_>,
    held_out: &[PolynomialNetwork],
    run: impl Fn(&PolynomialNetwork, &[f32], u64) -> Vec<f64> + Sync,
) -> Result<Verdict, PlanError> {
    let observe = |(fold, polynomials): (usize, &PolynomialNetwork)| {
        judge.observe(fold, polynomials.term_count(), 1, |input, seed| run(polynomials, input, seed))
    };
    judge.conclude(&held_out.iter().enumerate().flat_map(observe).collect::<Vec<_>>())
}

/// The polynomials of least depth that keep the loss on new inputs within its budget.
fn fit(
    network: &Network,
    calibration: &[Vec<f32>],
    judge: &Judge<'_>,
    max_loss: f64,
    progress: &dyn Progress,
) -> Result<Fitted, PlanError> {
    let mut best = f64::INFINITY;
    let inputs_of =
        |fold: usize| judge.folds.kept(fold).into_iter().map(|input| calibration[input].as_slice()).collect();
    let kept: Vec<Vec<&[f32]>> = judge.folds.numbers().map(inputs_of).collect();
    for degrees in Degrees::of(network) {
        // The same cost for each: the one that generalises best is taken, the narrower one where they are alike.
        let tried = widenings(degrees.before).iter().map(|&widening| {
            let without = |kept: &Vec<&[f32]>| PolynomialNetwork::fit_each(network, kept, degrees, widening);
            let held_out: Vec<PolynomialNetwork> = kept.par_iter().map(without).collect();
            let verdict = judge_folds(judge, &held_out, |polynomials, input, _| polynomials.evaluate(input))?;
            Ok((verdict.decisive, widening, held_out))
        });
        let tried: Vec<(f64, f64, Vec<PolynomialNetwork>)> = tried.collect::<Result<_, PlanError>>()?;
        let better =
            |narrow: (f64, _, _), wide: (f64, _, _)| if wide.0 < PLAINLY_LESS * narrow.0 { wide } else { narrow };
        let chosen = tried.into_iter().reduce(better);
        progress.advance(1);
        let Some((decisive, widening, held_out)) = chosen else { continue };
        if decisive <= max_loss {
            let polynomials = PolynomialNetwork::fit_each(network, calibration, degrees, widening);
            return Ok(Fitted { polynomials, held_out });
        }
        best = best.min(decisive);
    }
    Err(PlanError::Polynomials { max_loss, best })
}

/// Limbs at which products are relinearised first.
fn relinearisation_limbs(network: &PolynomialNetwork, limbs: usize) -> usize {
    let at = limbs_of_stages(network, limbs);
    let own = |(stage, &limbs): (&PolynomialStage, &usize)| match (stage.depth(), stage.scaling.closing) {
        (0, _) => 0,
        // Sums of outputs are rescaled until two limbs hold them.
        (1, Closing::Output) => 2,
        _ => limbs - usize::from(stage.scaling.rescales),
    };
    network.stages.iter().zip(&at).map(own).max().unwrap_or(0)
}

/// Memory of a run with one slot an input, on the threads of the machine that plans.
fn throughput_bytes(network: &PolynomialNetwork, params: &ParameterSet) -> Result<u64, CkksError> {
    let width = Width::of_threads(params, rayon::current_num_threads());
    Ok(ThroughputSchedule::new(network, params, width)?.peak_bytes())
}

fn finish(network: PolynomialNetwork, chosen: Chosen, loss: &Loss, (low, high): (f64, f64)) -> Result<Plan, PlanError> {
    let Chosen { params: ckks, latency, seconds, noise } = chosen;
    let limbs = ckks.primes.len();
    let keys = KeyRequest {
        relinearisation_limbs: relinearisation_limbs(&network, limbs),
        rotation_limbs: latency.as_ref().map(|latency| latency.rotations(&network, limbs)).unwrap_or_default(),
    };
    let packing = latency.as_ref().map_or(Packing::Throughput, |latency| Packing::Latency {
        lanes: latency.lanes,
        input: latency.input.clone(),
        output: latency.output().clone(),
    });
    let mut params = Params {
        format: FORMAT.into(),
        version: VERSION,
        scheme: Scheme::Ckks,
        input: InputEncoding {
            tensor: network.input.clone(),
            parts: network.inputs.clone(),
            low,
            high,
            columns: Columns::default(),
        },
        output: OutputEncoding {
            tensor: network.output.clone(),
            scale: ckks.output_scale(network.output_bound),
            noise,
            client_ops: network.client_ops.clone(),
        },
        plan_digest: Plan::digest(&network, latency.as_ref()),
        prediction: Prediction::default(),
        ckks,
        packing,
        keys,
    };
    let memory_bytes = match &latency {
        Some(latency) => latency.memory_bytes(&network, &params.ckks),
        None => throughput_bytes(&network, &params.ckks).map_err(|error| PlanError::Depth(error.to_string()))?,
    };
    let inputs = params.inputs_per_run() as u32;
    let degree = network.stages.iter().filter_map(|stage| stage.activations.first()).map(|a| a.form.degree()).max();
    params.prediction = Prediction {
        loss: *loss,
        degree: degree.unwrap_or(0),
        thread_seconds_per_run: seconds,
        evaluation_key_bytes: params.keys.file_bytes(&params.ckks),
        input_bytes: EncryptedInput::file_bytes(&params, inputs),
        output_bytes: EncryptedOutput::file_bytes(&params, inputs),
        memory_bytes,
    };
    Ok(Plan { params, network, latency })
}
