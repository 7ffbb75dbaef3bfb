//! What approximation, quantisation and noise do to the outputs of inputs that nothing was fitted to.
//!
//! Planners fit polynomials, ranges and scales to calibration data. A plan is judged by models that are fitted in the
//! same way without one fold of the data each, on that fold (see [`crate::planning::folds`]). What comes out is an
//! estimate for new inputs, and a bound on it that holds with 95 % confidence whatever the estimate assumes.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::client_op::{ClientOp, argmax};
use crate::model::network::Network;
use crate::planning::calibration::Calibration;
use crate::planning::confidence::upper_95;
use crate::planning::folds::Folds;
use crate::planning::margins::{Rival, expected_share};

/// At most so many simulated inferences judge one candidate.
const MAX_RUNS: usize = 2000;
/// At most so many terms are simulated for one candidate.
const MAX_SIMULATED_TERMS: usize = 1 << 34;
/// Inputs that an error is measured on.
const ERROR_INPUTS: usize = 200;
/// Decisions of one input whose margins are kept.
const MARGINS_PER_INPUT: usize = 64;
/// Probability below which a count contradicts the margins' estimate.
const CONTRADICTION: f64 = 0.05;
/// Normal quantile of 95 %.
const NORMAL_95: f64 = 1.645;

/// What the model's output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Classification if the model ends in Softmax or ArgMax, or has activations and ends in a linear layer with one
    /// vector of 2 to 1,000 outputs.
    Auto,
    /// The loss is the share of inputs whose argmax changes.
    Classify,
    /// The loss is the root mean square error over the root mean square of the centred output.
    Regress,
}

/// What an encrypted evaluation loses on inputs like the calibration data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Share of held-out inputs whose decision changes, counted; for classifiers.
    pub disagreement: Option<f64>,
    /// Root mean square error over the root mean square of the centred output, on held-out inputs.
    pub relative_error: f64,
    /// The loss to expect on a new input: the probability that its decision changes, or the relative error.
    pub expected: f64,
    /// Upper bound of that loss at 95 % confidence; none where the data cannot bound it.
    pub upper_95: Option<f64>,
    /// Why the calibration data say nothing of new inputs, if they do not.
    pub doubt: Option<Doubt>,
}

/// What calibration data lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// There is one input, or copies of one: none can be held out.
    OneInput,
    /// The model answers all inputs in the same way: nothing is known of inputs that it answers otherwise.
    OneAnswer,
    /// The output is the same for all inputs: errors are absolute, as there is no deviation to compare them with.
    ConstantOutput,
}

/// What holds a plan to its budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// The promise.
    pub loss: Loss,
    /// What the budget bounds: the expected loss, its upper bound where confidence is asked for, or what the inputs
    /// that there are lose where they say nothing of others.
    pub decisive: f64,
}

/// What a decision is.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    /// The index of the largest value along an axis.
    Largest(usize),
    /// On which side of a threshold each value lies; none for values that decide nothing.
    Side(Vec<Option<f64>>),
}

/// Judges plans on the calibration inputs.
pub(crate) struct Judge<'a> {
    calibration: &'a Calibration,
    folds: &'a Folds,
    decision: Option<Decision>,
    shape: &'a [usize],
    is_confident: bool,
}

/// What one run gave.
pub(crate) struct Observation {
    input: usize,
    changed: f64,
    squared_error: f64,
    rivals: Vec<Rival>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        network: &'a Network,
        calibration: &'a Calibration,
        folds: &'a Folds,
        task: Task,
        is_confident: bool,
    ) -> Self {
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
        let decision = class_axis.map(Decision::Largest);
        let decision = decision
            .or_else(|| (task == Task::Classify).then(|| Decision::Side(vec![Some(0.0); network.output.len()])));
        Self { calibration, folds, decision, shape, is_confident }
    }

    /// Whether decisions are judged, not errors.
    pub(crate) fn decides(&self) -> bool {
        self.decision.is_some()
    }

    /// The folds, each by its number; one that holds nothing out where nothing can be.
    pub(crate) fn fold_numbers(&self) -> std::ops::Range<usize> {
        0..self.folds.count().max(1)
    }

    /// The inputs that a fold's model is fitted to.
    pub(crate) fn kept(&self, fold: usize) -> Vec<usize> {
        if self.folds.count() == 0 { (0..self.calibration.inputs.len()).collect() } else { self.folds.kept(fold) }
    }

    /// Runs whatever gives an output for an input and a seed, with so many terms, on the inputs that the fold holds
    /// out, for decisions at most `repeats` times an input.
    pub(crate) fn observe(
        &self,
        fold: usize,
        terms: usize,
        repeats: usize,
        run: impl Fn(&[f32], u64) -> Vec<f64> + Sync,
    ) -> Vec<Observation> {
        let inputs = &self.calibration.inputs;
        let affordable = (MAX_SIMULATED_TERMS / terms.max(1)).clamp(20, MAX_RUNS);
        let runs = if self.decides() {
            affordable.min(repeats * inputs.len())
        } else {
            affordable.min(inputs.len()).min(ERROR_INPUTS)
        };
        let index_of = |at: usize| (at * inputs.len() / runs.min(inputs.len())) % inputs.len();
        let own = |&at: &usize| self.folds.count() == 0 || self.folds.of(index_of(at)) == fold;
        let own: Vec<usize> = (0..runs).filter(own).collect();
        let observe = |at: usize| {
            let index = index_of(at);
            let input: Vec<f32> = inputs[index].iter().map(|&x| x as f32).collect();
            self.compare(index, &run(&input, at as u64 ^ 0x5eed))
        };
        own.into_par_iter().map(observe).collect()
    }

    fn compare(&self, input: usize, got: &[f64]) -> Observation {
        let want = &self.calibration.outputs[input];
        let squared_error = got.iter().zip(want).map(|(g, w)| (g - w) * (g - w)).sum();
        let (mut changes, mut total, mut rivals) = (0, 0, Vec::new());
        match &self.decision {
            None => {}
            Some(Decision::Largest(axis)) => {
                let (ours, theirs) = (argmax(got, self.shape, *axis), argmax(want, self.shape, *axis));
                changes = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
                total = ours.len();
                rivals = self.rivals(*axis, &theirs, got, want);
            }
            Some(Decision::Side(thresholds)) => {
                for ((&threshold, &g), &w) in thresholds.iter().zip(got).zip(want) {
                    let Some(threshold) = threshold else { continue };
                    total += 1;
                    changes += usize::from((g > threshold) != (w > threshold));
                    if rivals.len() < MARGINS_PER_INPUT {
                        let towards = if w > threshold { w - g } else { g - w };
                        rivals.push(Rival { margin: (w - threshold).abs(), error: towards });
                    }
                }
            }
        }
        Observation { input, changed: f64::from(changes as u32) / total.max(1) as f64, squared_error, rivals }
    }

    /// What is next to the largest entry along the axis, at some of the other axes' positions.
    fn rivals(&self, axis: usize, largest: &[usize], got: &[f64], want: &[f64]) -> Vec<Rival> {
        let length = self.shape[axis];
        let inner: usize = self.shape[axis + 1..].iter().product();
        let step = largest.len().div_ceil(MARGINS_PER_INPUT).max(1);
        let nearest = |position: usize| {
            let at = |class: usize| (position / inner * length + class) * inner + position % inner;
            let top = at(largest[position]);
            let rival = |class: usize| {
                let margin = want[top] - want[at(class)];
                Rival { margin, error: margin - (got[top] - got[at(class)]) }
            };
            let others = (0..length).filter(|&class| class != largest[position]);
            others.map(rival).min_by(|a, b| a.margin.total_cmp(&b.margin))
        };
        (0..largest.len()).step_by(step).filter_map(nearest).collect()
    }

    /// What the observations of all folds say.
    pub(crate) fn conclude(&self, observations: &[Observation]) -> Verdict {
        let mut seen: Vec<usize> = observations.iter().map(|observation| observation.input).collect();
        seen.sort_unstable();
        seen.dedup();
        let doubt = self.doubt();
        let held_out = if self.folds.count() == 0 { 0 } else { seen.len() };
        let (power, runs) = (centred_power(&self.calibration.outputs), observations.len().max(1) as f64);
        let errors: Vec<f64> = observations.iter().map(|observation| observation.squared_error / power).collect();
        let mean = errors.iter().sum::<f64>() / runs;
        let relative_error = mean.sqrt();
        if !self.decides() {
            let variance = errors.iter().map(|error| (error - mean) * (error - mean)).sum::<f64>() / runs;
            // Few inputs tell little of the variance either.
            let few = held_out as f64 / (held_out as f64 - 1.0);
            let upper = (mean + NORMAL_95 * few * (variance / held_out as f64).sqrt()).sqrt();
            let upper_95 = (held_out > 1).then_some(upper);
            let loss = Loss { disagreement: None, relative_error, expected: relative_error, upper_95, doubt };
            let decisive = if self.is_confident { upper_95.unwrap_or(f64::MAX) } else { relative_error };
            return Verdict { loss, decisive };
        }
        let share = observations.iter().map(|observation| observation.changed).sum::<f64>() / runs;
        let rivals: Vec<Rival> = observations.iter().flat_map(|observation| observation.rivals.clone()).collect();
        let told = expected_share(&rivals, seen.len());
        let count = (share * seen.len() as f64).floor() as usize;
        let is_contradicted = at_least(count, told * seen.len() as f64) < CONTRADICTION;
        let expected = if is_contradicted { share } else { told };
        // Where the data say nothing of new inputs, either answer is as likely as the other.
        let unknown = doubt.is_some();
        let promised = if unknown { expected.max(0.5) } else { expected };
        let upper = if unknown { 1.0 } else { upper_95(share * held_out as f64, held_out as u64).max(promised) };
        let loss = Loss { disagreement: Some(share), relative_error, expected: promised, upper_95: Some(upper), doubt };
        Verdict { loss, decisive: if self.is_confident { upper } else { expected } }
    }

    fn doubt(&self) -> Option<Doubt> {
        let outputs = &self.calibration.outputs;
        if self.folds.count() == 0 {
            return Some(Doubt::OneInput);
        }
        let answer = |output: &Vec<f64>| match &self.decision {
            None => output.iter().map(|y| y.to_bits() as usize).collect(),
            Some(Decision::Largest(axis)) => argmax(output, self.shape, *axis),
            Some(Decision::Side(thresholds)) => {
                let side = |(&y, t): (&f64, &Option<f64>)| t.map(|t| usize::from(y > t));
                output.iter().zip(thresholds).filter_map(side).collect::<Vec<usize>>()
            }
        };
        let first = answer(&outputs[0]);
        let one = outputs.iter().all(|output| answer(output) == first);
        one.then_some(if self.decides() { Doubt::OneAnswer } else { Doubt::ConstantOutput })
    }
}

/// Probability that a Poisson variable of that mean is at least `count`.
fn at_least(count: usize, mean: f64) -> f64 {
    let mut term = (-mean).exp();
    let mut below = 0.0;
    for at in 0..count {
        below += term;
        term *= mean / (at + 1) as f64;
    }
    (1.0 - below).max(0.0)
}

/// Mean squared norm of the outputs around their mean; around zero where they do not vary, and 1 where they are zero.
fn centred_power(outputs: &[Vec<f64>]) -> f64 {
    let count = outputs.len() as f64;
    let width = outputs.first().map_or(0, Vec::len);
    let power: f64 = (0..width)
        .map(|o| {
            let mean = outputs.iter().map(|y| y[o]).sum::<f64>() / count;
            let square = outputs.iter().map(|y| y[o] * y[o]).sum::<f64>() / count;
            let centred = square - mean * mean;
            if centred > 1e-9 * square { centred } else { square }
        })
        .sum();
    if power.is_normal() { power } else { 1.0 }
}
