//! Chooses polynomials, parameters and packing: the cheapest for a batch whose simulated accuracy stays within the
//! budget.

pub mod fit;
pub mod least_squares;
pub mod simulate;

use rayon::prelude::*;

use crate::ckks::cost::{CkksCost, WorkSeconds};
use crate::ckks::error::CkksError;
use crate::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use crate::ckks::params::key_request::KeyRequest;
use crate::ckks::params::packing::Packing;
use crate::ckks::params::public::{InputEncoding, OutputEncoding, Params, Prediction};
use crate::ckks::params::set::{MOST_MODULUS_BITS, ParameterSet, RING_OF_PLANS, RingKind};
use crate::ckks::plan::Plan;
use crate::ckks::plan::activation::DEGREES;
use crate::ckks::plan::latency::LatencyPlan;
use crate::ckks::plan::polynomials::PolynomialNetwork;
use crate::ckks::plan::polynomials::limbs_of_stages;
use crate::ckks::plan::pricing::input_seconds;
use crate::ckks::plan::shared_rows::SharedRows;
use crate::ckks::plan::width::Width;
use crate::ckks::planner::least_squares::widenings;
use crate::ckks::planner::simulate::SlotNoise;
use crate::ckks::schedule::throughput::ThroughputSchedule;
use crate::deadline::Deadline;
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
use crate::residues::modulus::PRIME_BITS;

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

/// Linear layers are taken together, as long as all rows have so many terms at the most: a layer of its own would take a
/// level.
const LINE_TERMS: Lengths = Lengths { a_value: f64::INFINITY, all: (1_u64 << 27) as f64 };
/// Noise of the output, over the largest calibrated output, that no set may exceed.
const MOST_NOISE: f64 = 8e-5;
/// With which the judge takes errors: few degrees are tried, and what is taken is often better than the budget asks
/// for.
const CAUTION: f64 = 4.0;
/// A loss below this share of another is less by more than chance.
const PLAINLY_LESS: f64 = 0.95;
/// Share of the time that the largest noise is worth.
const NOISE_PRICE: f64 = 0.5;
/// Below this scale rescaling alone costs three decimal places at N = 2^14.
const LEAST_SCALE: u32 = 25;
/// Beyond it there are few primes near the scale.
const MOST_SCALE: u32 = 29;
/// Most special primes that are tried.
const MOST_SPECIAL: usize = 4;
/// Inputs that noise is simulated on.
const NOISE_INPUTS: usize = 24;
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
    progress.start("fitting polynomials", DEGREES.len() as u64);
    let statistics = Calibration::collect(network, calibration, progress.deadline())?;
    if let Some(index) = statistics.outputs.iter().position(|output| output.iter().any(|y| !y.is_finite())) {
        return Err(PlanError::PlainOutput { index });
    }
    let judge = Judge::new(network, &statistics, options.task, options.confident, CAUTION, progress.deadline());
    judge.check_confidence(options.max_loss)?;
    let Fitted { polynomials, held_out } = fit(network, calibration, &judge, options.max_loss, progress)?;
    progress.finish();
    let chosen = choose(ring, &polynomials, calibration, options, progress.deadline())?;
    let noise = SlotNoise::new(&chosen.params, chosen.latency.is_some(), polynomials.output_bound);
    let loss = judge_folds(&judge, &held_out, |polynomials, input, seed| polynomials.simulate(input, &noise, seed))?;
    let (low, high) = statistics.ranges.input;
    let margin = INPUT_MARGIN * (high - low).max(1e-6 * high.abs().max(low.abs()));
    finish(polynomials, chosen, &loss.loss, (low - margin, high + margin))
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

/// The polynomials of least degree that keep the loss on new inputs within its budget.
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
    for degree in DEGREES {
        // The same cost for each: the one that generalises best is taken, the narrower one where they are alike.
        let tried = widenings(degree).iter().map(|&widening| {
            let without = |kept: &Vec<&[f32]>| PolynomialNetwork::fit(network, kept, degree, widening);
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
            let polynomials = PolynomialNetwork::fit(network, calibration, degree, widening);
            return Ok(Fitted { polynomials, held_out });
        }
        best = best.min(decisive);
    }
    Err(PlanError::Polynomials { max_loss, best })
}

/// Parameters with a packing, and what a run of it costs and errs.
struct Chosen {
    params: ParameterSet,
    latency: Option<LatencyPlan>,
    seconds: f64,
    noise: f64,
}

/// The cheapest secure parameters and packing for the batch.
fn choose(
    ring: RingKind,
    polynomials: &PolynomialNetwork,
    calibration: &[Vec<f32>],
    options: &Options,
    deadline: Deadline,
) -> Result<Chosen, PlanError> {
    let mut last = "no parameters are precise enough".to_string();
    let mut best: Option<(Chosen, f64)> = None;
    let mut found = [false; 2];
    for (log2_degree, _) in MOST_MODULUS_BITS.into_iter().filter(|(log2, _)| (13..=16).contains(log2)) {
        for params in candidates(ring, log2_degree, polynomials.levels()) {
            for rotates in [false, true] {
                deadline.check()?;
                let noise =
                    noise_of(polynomials, calibration, &SlotNoise::new(&params, rotates, polynomials.output_bound));
                let largest = MOST_NOISE * polynomials.output_bound.max(f64::MIN_POSITIVE);
                if noise > largest {
                    continue;
                }
                // Where inputs fill all slots, rotations can only add to the work.
                if rotates && found[0] && options.batch >= params.slots() {
                    found[1] = true;
                    continue;
                }
                let packed = if rotates {
                    latency(polynomials, &params, options)
                } else {
                    let work = throughput_seconds(polynomials, &params, &options.cost);
                    let seconds = work.into_iter().sum::<WorkSeconds>().total();
                    let inputs = input_seconds(&params, polynomials.input.len());
                    Ok(Packed { latency: None, seconds, weight: seconds + inputs })
                };
                let Packed { latency, seconds, weight } = match packed {
                    Ok(packed) => packed,
                    Err(error) => {
                        last = error;
                        continue;
                    }
                };
                found[usize::from(rotates)] = true;
                let inputs = latency.as_ref().map_or(params.slots(), |latency| latency.lanes);
                let total = options.batch.div_ceil(inputs) as f64 * weight;
                // Less noise is worth a little time.
                let total = total * (1.0 + NOISE_PRICE * noise / largest);
                if best.as_ref().is_none_or(|(_, least)| total < *least) {
                    best = Some((Chosen { params: params.clone(), latency, seconds, noise }, total));
                }
            }
        }
        // A larger ring makes a run no faster; it only takes more inputs at a time.
        if found == [true; 2] && options.batch <= ring.slots(log2_degree) {
            break;
        }
    }
    if let Some((chosen, _)) = best {
        return Ok(chosen);
    }
    Err(PlanError::Depth(format!("no ring up to 2^16 has {} levels at 128 bits ({last})", polynomials.levels())))
}

/// The secure sets with so many levels, at the widest scale for each number of special primes.
#[must_use]
pub fn candidates(ring: RingKind, log2_degree: u32, levels: usize) -> Vec<ParameterSet> {
    let Some(&(_, most)) = MOST_MODULUS_BITS.iter().find(|(log2, _)| *log2 == log2_degree) else { return Vec::new() };
    let with_special = |special: usize| {
        let left = most - f64::from(PRIME_BITS) * (1.0 + special as f64);
        // Primes lie on both sides of the scale: their product is that of the scales to within a bit.
        let scale = ((left - 1.0) / levels as f64).min(f64::from(MOST_SCALE)).floor();
        (scale >= f64::from(LEAST_SCALE))
            .then(|| ParameterSet::of(ring, log2_degree, levels, scale as u32, special).ok())?
    };
    (1..=MOST_SPECIAL).filter_map(with_special).collect()
}

/// A packing, and what a run of it costs.
struct Packed {
    latency: Option<LatencyPlan>,
    /// Thread-seconds.
    seconds: f64,
    /// The same with what keys and inputs are worth.
    weight: f64,
}

/// The cheapest number of lanes for the batch.
fn latency(polynomials: &PolynomialNetwork, params: &ParameterSet, options: &Options) -> Result<Packed, String> {
    let mut best: Option<(Packed, f64)> = None;
    let mut last = String::new();
    let most = options.batch.next_power_of_two().min(params.slots() / 64);
    for lanes in std::iter::successors(Some(1), |lanes| Some(2 * lanes)).take_while(|&lanes| lanes <= most) {
        match LatencyPlan::new(polynomials, params, &options.cost, lanes) {
            Ok((plan, keys)) => {
                let seconds = plan.seconds.iter().copied().sum::<WorkSeconds>().total();
                let weight = seconds + keys + input_seconds(params, plan.input.ciphertexts());
                let total = options.batch.div_ceil(lanes) as f64 * weight;
                if best.as_ref().is_some_and(|(_, least)| total >= *least) {
                    break;
                }
                best = Some((Packed { latency: Some(plan), seconds, weight }, total));
            }
            Err(error) => last = error,
        }
    }
    best.map(|(packed, _)| packed).ok_or(last)
}

/// Thread-seconds of a run with one slot an input, for each map with the polynomials behind it.
#[must_use]
pub fn throughput_seconds(network: &PolynomialNetwork, params: &ParameterSet, cost: &CkksCost) -> Vec<WorkSeconds> {
    let limbs = limbs_of_stages(network, params.primes.len());
    let maps = SharedRows::of_network(network);
    let map = |(at, rows): (usize, &SharedRows)| {
        // The output is not rescaled: two limbs hold it.
        let limbs = if at == network.stages.len() { limbs[at].min(2) } else { limbs[at] };
        let terms: usize = rows.rows.iter().map(|(_, taps)| taps.len()).sum();
        let sums: usize = rows.groups.iter().map(Vec::len).sum();
        let products =
            terms as f64 * cost.matrix_seconds(params, limbs) + sums as f64 * cost.product_seconds(params, limbs);
        WorkSeconds { switching: 0.0, products }
    };
    let mut seconds: Vec<WorkSeconds> = maps.iter().enumerate().map(map).collect();
    let stage = |(stage, &limbs): (&crate::ckks::plan::polynomials::PolynomialStage, &usize)| {
        let seconds = |&depth: &usize| cost.multiply_seconds(params, limbs - depth);
        let products = stage.products().iter().map(seconds).sum::<f64>();
        let rows = stage.rows.len() + stage.factors.len();
        stage.rows.len() as f64 * products + rows as f64 * cost.rescale_seconds(params, limbs)
    };
    let stages = network.stages.iter().zip(&limbs).map(stage);
    seconds.iter_mut().zip(stages).for_each(|(seconds, own)| seconds.switching += own);
    seconds
}

/// Root mean square of the output's noise.
fn noise_of(polynomials: &PolynomialNetwork, calibration: &[Vec<f32>], noise: &SlotNoise) -> f64 {
    let step = calibration.len().div_ceil(NOISE_INPUTS);
    let inputs: Vec<&Vec<f32>> = calibration.iter().step_by(step).collect();
    let square = |(at, input): (usize, &&Vec<f32>)| -> f64 {
        let (exact, noisy) = (polynomials.evaluate(input), polynomials.simulate(input, noise, at as u64 ^ 0x5eed));
        exact.iter().zip(&noisy).map(|(e, n)| (e - n) * (e - n)).sum()
    };
    let total: f64 = inputs.iter().enumerate().map(square).sum();
    (total / (inputs.len() * polynomials.output.len()) as f64).sqrt()
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
        relinearisation_limbs: if network.stages.iter().any(|stage| stage.depth() > 0) { limbs - 1 } else { 0 },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_that_can_be_emitted_is_secure() {
        for ring in [RingKind::Complex, RingKind::Real] {
            every_set_is_secure(ring);
            assert!(candidates(ring, 13, 20).is_empty());
        }
    }

    fn every_set_is_secure(ring: RingKind) {
        let mut count = 0;
        for (log2_degree, most) in MOST_MODULUS_BITS {
            for levels in 1..=60 {
                for params in candidates(ring, log2_degree, levels) {
                    assert_eq!(params.check(), Ok(()));
                    assert_eq!(params.primes.len(), levels + 1);
                    assert!(params.modulus_bits() <= most, "{levels} levels");
                    count += 1;
                }
            }
        }
        assert!(count > 300, "{count}");
    }
}
