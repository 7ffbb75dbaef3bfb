//! Chooses the cheapest secure parameters whose simulated accuracy stays within the budget.

use rayon::prelude::*;

use crate::calibrate::Calibration;
use crate::cost::CostModel;
use crate::evaluation_key::SeededEvaluationKey;
use crate::fold::fold_kinks;
use crate::format::HEADER_BYTES;
use crate::network::{ClientOp, Network};
use crate::noise;
use crate::plan::Plan;
use crate::products::products_as_squares;
use crate::progress::Progress;
use crate::quantise::{Quantised, Settings, Source};
use crate::search::{Candidate, frontier};
use crate::simulate::Simulator;
use crate::tfhe_params::TfheParams;

/// What the caller may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Largest share of calibration inputs whose argmax may differ from plaintext, or relative output error.
    pub max_loss: f64,
    /// How the loss is measured.
    pub task: Task,
    /// Integer message grid with a failure probability a bootstrap, for models that are quantised already.
    pub exact: bool,
    /// log2 of the failure probability of one bootstrap in exact mode.
    pub p_fail_log2: f64,
    /// Cost of the machine that will run the plan.
    pub cost: CostModel,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_loss: 0.005, task: Task::Auto, exact: false, p_fail_log2: -40.0, cost: CostModel::default() }
    }
}

/// What the model's output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Classification if the model ends in Softmax or ArgMax, or has activations and ends in a linear layer with one vector of 2
    /// to 1,000 outputs.
    Auto,
    /// The loss is the share of inputs whose argmax changes.
    Classify,
    /// The loss is the root mean square error over the root mean square of the centred output.
    Regress,
}

/// What the planner found.
pub struct Planned {
    /// Plan with its public parameters, prediction included.
    pub plan: Plan,
    /// Largest weight width that was allowed, in bits.
    pub weight_bits: u32,
    /// Candidates that were simulated, with their loss, in order.
    pub trials: Vec<(Candidate, f64)>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Calibration data do not fit the model.
    #[error("calibration input {index} has {found} elements; the model takes {expected}")]
    CalibrationShape {
        /// Which one.
        index: usize,
        /// Elements found.
        found: usize,
        /// Elements needed.
        expected: usize,
    },
    /// Calibration data hold NaN or infinities.
    #[error("calibration input {index} holds a value that is not finite")]
    CalibrationValue {
        /// Which one.
        index: usize,
    },
    /// No calibration data at all.
    #[error("there are no calibration inputs")]
    NoCalibration,
    /// The plaintext network gives something that is not finite.
    #[error("the model's own output for calibration input {index} is not finite")]
    PlainOutput {
        /// Which one.
        index: usize,
    },
    /// No secure parameters are accurate enough.
    #[error(
        "no parameters keep the loss within {max_loss}: the most precise set that was tried loses {best:.4}; \
         allow more with --max-loss"
    )]
    Accuracy {
        /// What was asked for.
        max_loss: f64,
        /// What can be had.
        best: f64,
    },
    /// No polynomials are accurate enough.
    #[error(
        "no polynomials keep the loss within {max_loss}: the best that were tried lose {best:.4}; allow more with --max-loss, \
         or evaluate the functions as they are with --scheme tfhe"
    )]
    Polynomials {
        /// What was asked for.
        max_loss: f64,
        /// What can be had.
        best: f64,
    },
    /// No ring is large enough.
    #[error("CKKS: {0}; --scheme tfhe has no bound on depth")]
    Depth(String),
    /// Exact mode needs a model on an integer grid.
    #[error("--exact: {0}")]
    Exact(String),
}

/// Widths of weights that are tried, in bits.
const WEIGHT_BITS: [u32; 3] = [8, 12, 16];
/// At most so many simulated inferences judge one candidate.
const MAX_RUNS: usize = 2000;
/// At most so many terms are simulated for one candidate.
const MAX_SIMULATED_TERMS: usize = 1 << 34;

/// Derives parameters and plan.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    network: &Network,
    calibration: &[Vec<f32>],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Planned, PlanError> {
    check_calibration(network, calibration)?;
    progress.start("calibrating", 1);
    let network = &products_as_squares(network);
    let (folded_network, folded) = fold_kinks(network);
    let statistics = Calibration::collect(network, &folded_network, calibration);
    if let Some(index) = statistics.outputs.iter().position(|output| output.iter().any(|y| !y.is_finite())) {
        return Err(PlanError::PlainOutput { index });
    }
    progress.finish();
    let source = Source { network: &folded_network, folded: &folded, calibration: &statistics };
    if options.exact {
        return crate::exact::plan(network, &statistics, options);
    }
    let search = Search { source, options, judge: Judge::new(network, &statistics, options.task), progress };
    search.run()
}

pub(crate) fn check_calibration(network: &Network, calibration: &[Vec<f32>]) -> Result<(), PlanError> {
    if calibration.is_empty() {
        return Err(PlanError::NoCalibration);
    }
    let expected = network.input.len();
    for (index, input) in calibration.iter().enumerate() {
        if input.len() != expected {
            return Err(PlanError::CalibrationShape { index, found: input.len(), expected });
        }
        if input.iter().any(|x| !x.is_finite()) {
            return Err(PlanError::CalibrationValue { index });
        }
    }
    Ok(())
}

struct Search<'a> {
    source: Source<'a>,
    options: &'a Options,
    judge: Judge<'a>,
    progress: &'a dyn Progress,
}

impl Search<'_> {
    fn run(&self) -> Result<Planned, PlanError> {
        let network = self.source.network;
        let terms: usize =
            network.stages.iter().flat_map(|s| &s.rows).chain(&network.output_rows).map(|r| r.taps.len()).sum();
        let bootstraps = network.activation_count();
        let row_word_seconds = 1e-9 * self.options.cost.linear_ns * terms as f64 / bootstraps.max(1) as f64;
        let share = self.linear_share();
        let score = |p: &TfheParams| {
            let table = noise::keyswitch_variance(p) + noise::modulus_switch_variance(p);
            if bootstraps == 0 { noise::input_variance(p) } else { table + share * noise::bootstrap_variance(p).sqrt() }
        };
        let candidates = frontier(&self.options.cost, row_word_seconds, score);
        let mut trials = Vec::new();
        let mut best_loss = f64::INFINITY;
        self.progress.start("searching parameters", WEIGHT_BITS.len() as u64 * 8);
        for weight_bits in WEIGHT_BITS {
            let most_precise = candidates.len() - 1;
            let mut chosen = None;
            // Loss falls along the frontier up to the simulation's own noise: bisect for the cheapest set that passes.
            let (mut low, mut high) = (0, most_precise + 1);
            while low < high {
                let middle = (low + high) / 2;
                let (quantised, loss) = self.attempt(&candidates[middle], weight_bits);
                trials.push((candidates[middle], loss.decisive()));
                best_loss = best_loss.min(loss.decisive());
                self.progress.advance(1);
                if loss.decisive() <= self.options.max_loss {
                    high = middle;
                    chosen = Some((quantised, loss));
                } else {
                    low = middle + 1;
                }
            }
            if let Some((quantised, loss)) = chosen {
                self.progress.finish();
                return Ok(Planned { plan: self.finish(quantised, &loss), weight_bits, trials });
            }
        }
        self.progress.finish();
        Err(PlanError::Accuracy { max_loss: self.options.max_loss, best: best_loss })
    }

    /// Variance that rounded weights and bootstrap noise add to a table input, a unit of the bootstrap's standard deviation.
    ///
    /// Both grow together as [`crate::quantise`] balances them, so one reference set tells the factor for all.
    fn linear_share(&self) -> f64 {
        let reference = TfheParams {
            lwe_dimension: 800,
            grouping_factor: 1,
            glwe_dimension: 1,
            polynomial_size: 2048,
            pbs_base_log: 23,
            pbs_level: 1,
            ks_base_log: 3,
            ks_level: 5,
            ks_noise_bound_log2: 16,
            pbs_noise_bound_log2: 17,
            input_noise_bound_log2: 4,
        };
        let settings = Settings { weight_bits: WEIGHT_BITS[0], tail_probability: self.tail_probability() };
        let plan = self.source.quantise(&reference, &settings).plan;
        let bootstrap = noise::bootstrap_variance(&reference);
        let inputs = plan.params.input.tensor.len();
        let maps = plan.stages.iter().skip(1).map(|stage| &stage.affine).chain(std::iter::once(&plan.output));
        let mut mean_norms = Vec::new();
        for map in maps {
            let mut squares = 0.0;
            for block in &map.blocks {
                for p in 0..block.positions {
                    let picks = &block.picks[p * block.terms..][..block.terms];
                    for m in 0..block.kernels {
                        let weights = &block.weights[m * block.terms..][..block.terms];
                        let bootstrapped = weights.iter().zip(picks).filter(|&(_, &pick)| pick as usize >= inputs);
                        squares += bootstrapped.map(|(&w, _)| f64::from(w) * f64::from(w)).sum::<f64>();
                    }
                }
            }
            mean_norms.push(squares / map.rows.max(1) as f64);
        }
        let mean = mean_norms.iter().sum::<f64>() / mean_norms.len().max(1) as f64;
        2.0 * mean * bootstrap.sqrt()
    }

    fn tail_probability(&self) -> f64 {
        let activations = self.source.network.activation_count().max(1) as f64;
        (0.1 * self.options.max_loss / activations).clamp(1e-9, 1e-4)
    }

    fn attempt(&self, candidate: &Candidate, weight_bits: u32) -> (Quantised, Loss) {
        let settings = Settings { weight_bits, tail_probability: self.tail_probability() };
        let quantised = self.source.quantise(&candidate.params, &settings);
        let loss = self.judge.measure(&quantised.plan);
        (quantised, loss)
    }

    fn finish(&self, quantised: Quantised, loss: &Loss) -> Plan {
        let mut plan = quantised.plan;
        let seconds = self.options.cost.plan_seconds(&plan);
        let prediction = &mut plan.params.prediction;
        prediction.disagreement = loss.disagreement;
        prediction.relative_error = loss.relative_error;
        prediction.p_fail_log2 = quantised.leave_log2;
        prediction.thread_seconds_per_input = seconds;
        fill_sizes(&mut plan);
        plan
    }
}

/// Fills in the sizes of keys and ciphertexts.
pub(crate) fn fill_sizes(plan: &mut Plan) {
    let tfhe = plan.params.tfhe;
    let (inputs, outputs) = (plan.params.input.tensor.len(), plan.params.output.tensor.len());
    let prediction = &mut plan.params.prediction;
    prediction.evaluation_key_bytes = SeededEvaluationKey::file_bytes(&tfhe);
    prediction.input_bytes = (HEADER_BYTES + 32 + 4 * inputs) as u64;
    prediction.output_bytes = (HEADER_BYTES + 16 + 4 * outputs * tfhe.big_row_words()) as u64;
}

/// What noise and quantisation did to the calibration inputs' outputs.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Share of inputs whose argmax differs, for classifiers.
    pub disagreement: Option<f64>,
    /// Standard error of that share as an estimate for other inputs of the same kind.
    pub standard_error: f64,
    /// Root mean square error over the root mean square of the centred output.
    pub relative_error: f64,
}

impl Loss {
    /// The number that the budget bounds: the share with its standard error, so that new inputs stay within it too.
    #[must_use]
    pub fn decisive(&self) -> f64 {
        self.disagreement.map_or(self.relative_error, |share| share + self.standard_error)
    }
}

/// Judges plans on the calibration inputs.
pub(crate) struct Judge<'a> {
    statistics: &'a Calibration,
    class_axis: Option<usize>,
    shape: &'a [usize],
}

impl<'a> Judge<'a> {
    pub(crate) fn new(network: &'a Network, statistics: &'a Calibration, task: Task) -> Self {
        let shape = &network.output.shape;
        let ends = network.client_ops.first().map(|op| match *op {
            ClientOp::Softmax { axis } | ClientOp::ArgMax { axis, .. } => axis,
        });
        let vector = shape.iter().rposition(|&d| d > 1);
        let only_axis = shape.iter().filter(|&&d| d > 1).count() == 1;
        let mixes = network.output_rows.iter().all(|row| row.taps.len() > 1);
        let looks_like_classes = only_axis && mixes && network.output.len() <= 1000 && !network.stages.is_empty();
        let class_axis = match task {
            Task::Regress => None,
            Task::Classify => ends.or(vector),
            Task::Auto => ends.or(vector.filter(|_| looks_like_classes)),
        };
        Self { statistics, class_axis, shape }
    }

    pub(crate) fn measure(&self, plan: &Plan) -> Loss {
        let terms = plan.output.term_count() + plan.stages.iter().map(|s| s.affine.term_count()).sum::<usize>();
        let simulator = Simulator::new(plan);
        self.judge(terms, 4, |input, seed| simulator.run(input, seed))
    }

    /// Judges whatever gives an output for an input and a seed, with so many terms, classifiers at most `repeats` times an input.
    pub(crate) fn judge(&self, terms: usize, repeats: usize, run: impl Fn(&[f32], u64) -> Vec<f64> + Sync) -> Loss {
        let inputs = &self.statistics.inputs;
        let affordable = (MAX_SIMULATED_TERMS / terms.max(1)).clamp(20, MAX_RUNS);
        let runs = if self.class_axis.is_some() {
            affordable.min(repeats * inputs.len())
        } else {
            affordable.min(inputs.len()).min(200)
        };
        let results: Vec<(usize, usize, f64)> = (0..runs)
            .into_par_iter()
            .map(|at| {
                let index = (at * inputs.len() / runs.min(inputs.len())) % inputs.len();
                let input: Vec<f32> = inputs[index].iter().map(|&x| x as f32).collect();
                let got = run(&input, at as u64 ^ 0x5eed);
                let want = &self.statistics.outputs[index];
                let error: f64 = got.iter().zip(want).map(|(g, w)| (g - w) * (g - w)).sum();
                let (differ, total) = self.class_axis.map_or((0, 1), |axis| {
                    let (a, b) = (argmax(&got, self.shape, axis), argmax(want, self.shape, axis));
                    (a.iter().zip(&b).filter(|(a, b)| a != b).count(), a.len())
                });
                (differ, total, error)
            })
            .collect();
        let differ: usize = results.iter().map(|r| r.0).sum();
        let total: usize = results.iter().map(|r| r.1).sum();
        let error = results.iter().map(|r| r.2).sum::<f64>() / runs as f64;
        let power = centred_power(&self.statistics.outputs).max(f64::MIN_POSITIVE);
        let share = differ as f64 / total as f64;
        let decisions = (total / runs.max(1) * runs.min(inputs.len())).max(1) as f64;
        Loss {
            disagreement: self.class_axis.map(|_| share),
            standard_error: (share * (1.0 - share) / decisions).sqrt(),
            relative_error: (error / power).sqrt(),
        }
    }
}

/// Mean squared norm of the outputs around their mean; around zero where there is one output only.
fn centred_power(outputs: &[Vec<f64>]) -> f64 {
    let count = outputs.len() as f64;
    let width = outputs.first().map_or(0, Vec::len);
    (0..width)
        .map(|o| {
            let mean = outputs.iter().map(|y| y[o]).sum::<f64>() / count;
            let square = outputs.iter().map(|y| y[o] * y[o]).sum::<f64>() / count;
            let centred = square - mean * mean;
            if centred > 1e-9 * square { centred } else { square }
        })
        .sum()
}

/// Index of the largest entry along `axis`, for each position of the other axes.
#[must_use]
pub fn argmax(values: &[f64], shape: &[usize], axis: usize) -> Vec<usize> {
    let length = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let mut indices = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| values[(o * length + j) * inner + i];
            indices.push((1..length).fold(0, |best, j| if at(j) > at(best) { j } else { best }));
        }
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_runs_along_the_axis() {
        let values = [1.0, 5.0, 2.0, 4.0, 3.0, 9.0];
        assert_eq!(argmax(&values, &[2, 3], 1), [1, 2]);
        assert_eq!(argmax(&values, &[2, 3], 0), [1, 0, 1]);
    }
}
