//! Chooses polynomials, parameters and packing: the cheapest for a batch whose simulated accuracy stays within the
//! budget.

pub mod chains;
pub mod choice;
pub mod deep;
pub mod deep_fit;
mod degrees;
pub mod fit;
pub mod least_squares;
pub mod simulate;

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::ckks::cost::CkksCost;
use crate::ckks::error::CkksError;
use crate::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use crate::ckks::params::public::Prediction;
use crate::ckks::params::set::{ParameterSet, RingKind};
use crate::ckks::plan::Plan;
use crate::ckks::plan::activation::DEEP_DEGREES;
use crate::ckks::plan::polynomials::{PolynomialNetwork, double};
use crate::ckks::plan::width::Width;
use crate::ckks::planner::chains::MOST_SPECIAL;
use crate::ckks::planner::choice::{Chosen, choose, noise_of};
use crate::ckks::planner::deep::{Packed, leaves_bounds, place};
use crate::ckks::planner::deep_fit::fit_deep;
use crate::ckks::planner::degrees::{Fitted, fit, judge_folds, search_steps};
use crate::ckks::planner::least_squares::Widening;
use crate::ckks::planner::simulate::SlotNoise;
use crate::ckks::ring::coefficients::half_bytes;
use crate::ckks::schedule::throughput::ThroughputSchedule;
use crate::files::sealed::OfBatch;
use crate::model::lines::{Lengths, is_line, without_lines};
use crate::model::network::Network;
use crate::planning::calibration::Calibration;
use crate::planning::error::{PlanError, check_calibration};
use crate::planning::judge::Judge;
use crate::planning::loss::{Loss, LossBudget};
use crate::planning::pooling::pooled;
use crate::progress::Progress;

/// What the caller may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What new inputs may lose.
    pub budget: LossBudget,
    /// Inputs that come at a time.
    pub batch: usize,
    /// The rings that may be planned in. Bootstraps are planned in that of complex slots alone.
    pub rings: &'static [RingKind],
    /// Special primes at the most. Bootstraps are planned with a number of their own.
    pub most_special: usize,
    /// Cost of the machine that will run the plan.
    pub cost: CkksCost,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            budget: LossBudget::default(),
            batch: 1,
            rings: &RingKind::ALL,
            most_special: MOST_SPECIAL,
            cost: CkksCost::default(),
        }
    }
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
/// With which the judge takes errors: of some ten choices of degrees one that is just good enough is taken.
const CAUTION: f64 = 4.0;
/// Levels that the largest ring has at the scale of least precision.
const MOST_PLAIN_LEVELS: usize = 76;
/// Inputs that tell whether polynomials of few levels are worth a search, and the error over the outputs, squared, that
/// says no.
const SCREENED_INPUTS: usize = 24;
const SCREENED_ERROR: f64 = 0.05;
/// Inputs may leave their calibrated range by this share of it, as fits reach further too.
const INPUT_MARGIN: f64 = 0.05;

/// Derives polynomials, parameters and plan, in the one of the rings that answers first.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
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
    progress.start("fitting polynomials", search_steps(network));
    let statistics = Calibration::collect(network, calibration, progress.deadline())?;
    if let Some(index) = statistics.outputs.iter().position(|output| output.iter().any(|y| !y.is_finite())) {
        return Err(PlanError::PlainOutput { index });
    }
    let judge = Judge::new(network, &statistics, options.budget, CAUTION, progress.deadline());
    judge.check()?;
    let (low, high) = statistics.ranges.input;
    let margin = INPUT_MARGIN * (high - low).max(1e-6 * high.abs().max(low.abs()));
    let range = (low - margin, high + margin);
    let plain = if needs_bootstraps(network, calibration) {
        Err(PlanError::Depth("no ring has the levels of polynomials that are close enough".into()))
    } else {
        plan_without_bootstraps(network, calibration, options, (&judge, range), progress)
    };
    match plain {
        Err(PlanError::Depth(reason)) if options.rings.contains(&RingKind::Complex) => {
            plan_with_bootstraps(network, calibration, options, (&judge, range), (reason, progress))
        }
        Err(PlanError::Depth(reason)) => {
            Err(PlanError::Depth(format!("{reason}, and bootstraps are planned in the ring of complex slots alone")))
        }
        other => other,
    }
}

/// A plan whose ring has levels for all of the network.
fn plan_without_bootstraps(
    network: &Network,
    calibration: &[Vec<f32>],
    options: &Options,
    (judge, range): (&Judge<'_>, (f64, f64)),
    progress: &dyn Progress,
) -> Result<Plan, PlanError> {
    let Fitted { polynomials, mut held_out } = fit(network, calibration, judge, options.budget.max_loss, progress)?;
    progress.finish();
    let batch = (options.batch, &options.cost);
    let most = most_noise(network, &polynomials, calibration);
    let rings = (options.rings, options.most_special);
    let (polynomials, chosen) = choose(rings, &polynomials, calibration, batch, most, progress.deadline())?;
    held_out.iter_mut().for_each(|own| own.keep_as(&polynomials));
    let noise = SlotNoise::packed(&polynomials, &chosen.params, chosen.latency.as_ref());
    let noise = noise.map_err(|error| PlanError::Depth(error.to_string()))?;
    let loss = judge_folds(judge, &held_out, |own, input, seed| own.simulate(input, &noise, seed))?;
    finish(polynomials, chosen, &loss.loss, range)
}

/// Whether the network is so deep that only polynomials of few levels fit a ring without bootstraps, and those are far
/// off even on the inputs that they were fitted to.
fn needs_bootstraps(network: &Network, calibration: &[Vec<f32>]) -> bool {
    let stages = network.stages.iter().filter(|stage| stage.factors.is_empty()).count();
    if 4 * stages < MOST_PLAIN_LEVELS {
        return false;
    }
    let inputs = &calibration[..calibration.len().min(SCREENED_INPUTS)];
    let exact: Vec<Vec<f64>> = inputs.par_iter().map(|input| network.evaluate(&double(input)).1).collect();
    let size: f64 = exact.iter().flatten().map(|y| y * y).sum();
    let is_far = |degree: usize| {
        let polynomials = PolynomialNetwork::fit(network, inputs, degree, Widening::Middle.factor(degree));
        let error = |(input, exact): (&Vec<f32>, &Vec<f64>)| -> f64 {
            polynomials.evaluate(input).iter().zip(exact).map(|(own, y)| (own - y).powi(2)).sum()
        };
        let error: f64 = inputs.par_iter().zip(&exact).map(error).sum();
        error > SCREENED_ERROR * size
    };
    [2, 4].into_iter().all(is_far)
}

/// A plan with bootstraps, of the least degree that keeps the loss within its budget.
fn plan_with_bootstraps(
    network: &Network,
    calibration: &[Vec<f32>],
    options: &Options,
    (judge, range): (&Judge<'_>, (f64, f64)),
    (reason, progress): (String, &dyn Progress),
) -> Result<Plan, PlanError> {
    if network.stages.iter().any(|stage| !stage.factors.is_empty()) {
        return Err(PlanError::Depth(format!("{reason}, and bootstraps are planned for no products")));
    }
    let deadline = progress.deadline();
    let all: Vec<&[f32]> = calibration.iter().map(Vec::as_slice).collect();
    let numbers: Vec<usize> = judge.folds.numbers().collect();
    progress.finish();
    progress.start("fitting deep polynomials", (DEEP_DEGREES.len() * (numbers.len() + 1)) as u64);
    let (mut best, mut layouts) = (f64::INFINITY, None);
    for degree in DEEP_DEGREES {
        let polynomials = fit_deep(network, &all, degree, deadline)?;
        progress.advance(1);
        let packed = place(&polynomials, &options.cost, layouts.as_ref()).map_err(PlanError::Depth)?;
        let noise = SlotNoise::packed(&packed.network, &packed.params, Some(&packed.latency));
        let noise = noise.map_err(|error| PlanError::Depth(error.to_string()))?;
        let (mut observed, outside) = (Vec::new(), AtomicUsize::new(0));
        for &fold in &numbers {
            let kept: Vec<&[f32]> = judge.folds.kept(fold).into_iter().map(|at| all[at]).collect();
            let mut own = fit_deep(network, &kept, degree, deadline)?;
            own.keep_as(&packed.network);
            own.refresh.clone_from(&packed.network.refresh);
            let terms = own.term_count();
            let run = |input: &[f32], seed| {
                let (values, output) = own.simulate_values(input, &noise, seed);
                outside.fetch_add(usize::from(leaves_bounds(&own, &values)), Ordering::Relaxed);
                output
            };
            observed.extend(judge.observe(fold, terms, 1, run));
            progress.advance(1);
        }
        let verdict = judge.conclude(&observed)?;
        if verdict.decisive <= options.budget.max_loss {
            progress.finish();
            let outside = outside.into_inner() as f64 / observed.len().max(1) as f64;
            let noise = noise_of(&packed.network, calibration, &noise);
            let Packed { network, params, latency, seconds } = packed;
            let chosen = Chosen { params, latency: Some(latency), seconds, noise, outside };
            return finish(network, chosen, &verdict.loss, range);
        }
        best = best.min(verdict.decisive);
        layouts = Some(packed.latency);
    }
    Err(PlanError::Polynomials { max_loss: options.budget.max_loss, best })
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

/// Memory of a run with one slot an input, on the threads of the machine that plans.
fn throughput_bytes(network: &PolynomialNetwork, params: &ParameterSet) -> Result<u64, CkksError> {
    let width = Width::of_threads(params, rayon::current_num_threads());
    Ok(ThroughputSchedule::new(network, params, width)?.peak_bytes())
}

fn finish(network: PolynomialNetwork, chosen: Chosen, loss: &Loss, range: (f64, f64)) -> Result<Plan, PlanError> {
    let Chosen { params: ckks, latency, seconds, noise, outside } = chosen;
    let mut plan = Plan::new(network, ckks, latency, range).map_err(PlanError::Depth)?;
    plan.params.output.noise = noise;
    let (params, network) = (&plan.params, &plan.network);
    let memory_bytes = match &plan.latency {
        Some(latency) => latency.memory_bytes(network, &params.ckks, half_bytes),
        None => throughput_bytes(network, &params.ckks).map_err(|error| PlanError::Depth(error.to_string()))?,
    };
    let inputs = params.inputs_per_run() as u32;
    let degree = network.stages.iter().filter_map(|stage| stage.activations.first()).map(|a| a.form.degree()).max();
    plan.params.prediction = Prediction {
        loss: *loss,
        degree: degree.unwrap_or(0),
        bootstraps: plan.latency.as_ref().map_or(0, |latency| latency.bootstraps(network)),
        outside,
        thread_seconds_per_run: seconds,
        evaluation_key_bytes: params.keys.file_bytes(&params.ckks),
        input_bytes: EncryptedInput::file_bytes(params, inputs),
        output_bytes: EncryptedOutput::file_bytes(params, inputs),
        memory_bytes,
    };
    Ok(plan)
}
