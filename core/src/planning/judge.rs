//! What approximation, quantisation and noise do to the outputs of inputs that nothing was fitted to.
//!
//! Planners fit polynomials, ranges and scales to calibration data. A plan is judged by models that are fitted in the
//! same way without one fold of the data each, on that fold (see [`crate::planning::folds`]). What comes out is an
//! estimate for new inputs, and a bound on it that holds with 95 % confidence whatever the estimate assumes.

use rayon::prelude::*;

use crate::deadline::Deadline;
use crate::model::client_op::{ClientOps, argmax};
use crate::model::network::Network;
use crate::planning::calibration::Calibration;
use crate::planning::confidence::upper_95;
use crate::planning::error::PlanError;
use crate::planning::folds::Folds;
use crate::planning::loss::{Doubt, Loss, LossBudget};
use crate::planning::margins::{Rival, expected_share};
use crate::planning::measures::{Spread, has_exploded, most_of};
use crate::planning::output_kind::{OutputFacts, OutputKind, kind_of};
use crate::planning::task::Task;

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
/// Changes that are expected beyond those counted, where nothing but counting is possible.
const UNSEEN: f64 = 0.3;
/// Relative error up to which the outputs behind decisions are those of the network, and the share of the inputs, the
/// worst ones, that it leaves out: where those change their decision they count as such.
const MOST_OUTPUT_ERROR: f64 = 0.25;
const LEFT_OUT: f64 = 0.01;
/// Normal quantile of 95 %.
const NORMAL_95: f64 = 1.645;

/// What holds a plan to its budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// The promise.
    pub loss: Loss,
    /// What the budget bounds: the expected loss, its upper bound where confidence is asked for, or what the inputs
    /// that there are lose where they say nothing of others. Where outputs are far off what they should be it is more
    /// than any of them, however few decisions that changes.
    pub decisive: f64,
}

/// What a decision is.
#[derive(Clone, Debug)]
enum Decision<'a> {
    /// The index of the largest value along an axis.
    Largest(usize),
    /// On which side of a threshold each value lies; none for values that decide nothing.
    Side(Vec<Option<f64>>),
    /// What the client's operators make of all values: changes can be counted, and no margin told.
    OfClient(&'a ClientOps),
}

/// Judges plans on the calibration inputs.
pub(crate) struct Judge<'a> {
    calibration: &'a Calibration,
    /// How the inputs are split.
    pub folds: Folds,
    decision: Option<Decision<'a>>,
    /// What the squared error of each output element counts in the squared relative error.
    weights: Vec<f64>,
    is_constant: bool,
    /// Whether errors are jumps, all or nothing, of which margins tell nothing.
    jumps: bool,
    shape: &'a [usize],
    budget: LossBudget,
    /// See [`expected_share`].
    caution: f64,
    /// What exploded outputs are cut off at.
    most: f64,
    /// Nothing is simulated behind it.
    deadline: Deadline,
}

/// What one run gave.
pub(crate) struct Observation {
    input: usize,
    changed: f64,
    squared_error: f64,
    /// None of what exploded, whose errors say nothing of others.
    rivals: Vec<Rival>,
    exploded: bool,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        network: &'a Network,
        calibration: &'a Calibration,
        budget: LossBudget,
        caution: f64,
        deadline: Deadline,
    ) -> Self {
        let task = budget.task;
        let (shape, ops) = (&network.output.shape, &network.client_ops);
        // Inputs that judge do not choose by what they do.
        let seen = calibration.outputs.len().saturating_sub(budget.unseen);
        let fitted = if seen == 0 { &calibration.outputs } else { &calibration.outputs[..seen] };
        let kind = kind_of(&OutputFacts::of(network), fitted, task);
        let decided = calibration.outputs.first().and_then(|output| ops.decision(shape, output));
        let thresholds = || ops.thresholds(shape);
        let decision = match kind {
            OutputKind::Classes { axis } => Some(Decision::Largest(axis)),
            OutputKind::Decision { threshold } | OutputKind::Labels { threshold } => {
                Some(Decision::Side(vec![Some(threshold); network.output.len()]))
            }
            _ if task == Task::Regress || decided.is_none() => None,
            _ if decides_by_sides(ops, shape, &calibration.outputs) => Some(Decision::Side(thresholds())),
            _ => Some(Decision::OfClient(ops)),
        };
        let weights = Spread::of(fitted).weights(&kind);
        // Of an output that is always zero errors are absolute.
        let weights = weights.unwrap_or_else(|| vec![1.0 / network.output.len() as f64; network.output.len()]);
        let is_constant = kind == OutputKind::Constant;
        let folds = Folds::new(&calibration.inputs, budget.unseen);
        let jumps = reads_steps(network);
        let ends = calibration.ranges.outputs.iter().flat_map(|(low, high)| [low.abs(), high.abs()]);
        let most = most_of(ends.fold(0.0, f64::max));
        Self { calibration, folds, decision, weights, is_constant, jumps, shape, budget, caution, most, deadline }
    }

    /// Whether decisions are judged, not errors.
    pub(crate) fn decides(&self) -> bool {
        self.decision.is_some()
    }

    /// Checks that inputs which are said to be new are.
    ///
    /// # Errors
    /// [`PlanError::Unseen`].
    pub(crate) fn check_unseen(&self) -> Result<(), PlanError> {
        if self.budget.unseen > 0 && self.folds.count() == 0 { Err(PlanError::Unseen) } else { Ok(()) }
    }

    /// Checks that inputs which are said to be new are, and that there are enough to bound the loss, where that is
    /// asked for.
    ///
    /// # Errors
    /// [`PlanError::Unseen`], or as [`Folds::check_confidence`].
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        self.check_unseen()?;
        if self.budget.confident { self.folds.check_confidence(self.budget.max_loss) } else { Ok(()) }
    }

    /// Runs whatever gives an output for an input and a seed, with so many terms, on the inputs that the fold holds
    /// out, for decisions at most `repeats` times an input. Behind the deadline nothing runs.
    pub(crate) fn observe(
        &self,
        fold: usize,
        terms: usize,
        repeats: usize,
        run: impl Fn(&[f32], u64) -> Vec<f64> + Sync,
    ) -> Vec<Observation> {
        let run = |inputs: &[(&[f32], u64)]| inputs.iter().map(|&(input, seed)| run(input, seed)).collect();
        self.observe_together(fold, (terms, 1), repeats, run)
    }

    /// As [`Self::observe`], for what runs a number of inputs at a time, of so many terms an input.
    pub(crate) fn observe_together(
        &self,
        fold: usize,
        (terms, together): (usize, usize),
        repeats: usize,
        run: impl Fn(&[(&[f32], u64)]) -> Vec<Vec<f64>> + Sync,
    ) -> Vec<Observation> {
        let inputs = &self.calibration.inputs;
        let judging = self.folds.judging();
        let affordable = (MAX_SIMULATED_TERMS / terms.max(1)).clamp(20, MAX_RUNS);
        let runs = if self.decides() {
            affordable.min(repeats * judging.len())
        } else {
            affordable.min(judging.len()).min(ERROR_INPUTS)
        };
        let index_of = |at: usize| judging[(at * judging.len() / runs.min(judging.len())) % judging.len()];
        let own: Vec<usize> = (0..runs).filter(|&at| self.folds.of(index_of(at)) == Some(fold)).collect();
        let observe = |own: &[usize]| {
            self.deadline.check().ok()?;
            let single = |&at: &usize| inputs[index_of(at)].iter().map(|&x| x as f32).collect();
            let singles: Vec<Vec<f32>> = own.iter().map(single).collect();
            let seeds = own.iter().map(|&at| at as u64 ^ 0x5eed);
            let pairs: Vec<(&[f32], u64)> = singles.iter().map(Vec::as_slice).zip(seeds).collect();
            let compare = |(got, &at): (Vec<f64>, &usize)| self.compare(index_of(at), &got);
            Some(run(&pairs).into_iter().zip(own).map(compare).collect::<Vec<_>>())
        };
        let observed: Vec<Vec<Observation>> = own.par_chunks(together.max(1)).filter_map(observe).collect();
        observed.into_iter().flatten().collect()
    }

    fn compare(&self, input: usize, got: &[f64]) -> Observation {
        if has_exploded(got, self.most) {
            return self.exploded(input, got);
        }
        let want = &self.calibration.outputs[input];
        let squared_error =
            got.iter().zip(want).zip(&self.weights).map(|((g, w), weight)| weight * (g - w) * (g - w)).sum();
        let Some(decision) = &self.decision else {
            return Observation { input, changed: 0.0, squared_error, rivals: Vec::new(), exploded: false };
        };
        let (ours, theirs) = (decision.answers(got, self.shape), decision.answers(want, self.shape));
        let equal = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
        let changed = (theirs.len() - equal) as f64 / theirs.len().max(1) as f64;
        let rivals = match decision {
            _ if self.jumps => Vec::new(),
            Decision::Largest(axis) => self.rivals(*axis, &theirs, got, want),
            Decision::Side(thresholds) => {
                let rival = |((threshold, &g), &w): ((&Option<f64>, &f64), &f64)| {
                    let towards = if w > (*threshold)? { w - g } else { g - w };
                    Some(Rival { margin: (w - (*threshold)?).abs(), error: towards })
                };
                thresholds.iter().zip(got).zip(want).filter_map(rival).take(MARGINS_PER_INPUT).collect()
            }
            Decision::OfClient(_) => Vec::new(),
        };
        Observation { input, changed, squared_error, rivals, exploded: false }
    }

    /// What exploded changes every decision, whatever it is by chance, and is an error as large as any.
    fn exploded(&self, input: usize, got: &[f64]) -> Observation {
        let most = if self.most.is_finite() { self.most } else { 1.0 };
        let cut = |&y: &f64| if y.is_nan() { most } else { y.clamp(-most, most) };
        let observation = self.compare(input, &got.iter().map(cut).collect::<Vec<_>>());
        let changed = f64::from(u8::from(self.decides()));
        Observation { changed, rivals: Vec::new(), exploded: true, ..observation }
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
    ///
    /// # Errors
    /// [`PlanError::Late`] behind the deadline.
    pub(crate) fn conclude(&self, observations: &[Observation]) -> Result<Verdict, PlanError> {
        self.deadline.check()?;
        Ok(self.verdict(observations))
    }

    /// Whether what some folds show, of at most `repeats` runs an input, is more than the budget allows to all: the
    /// others may show no change at all, and the verdict is still beyond it.
    pub(crate) fn is_lost(&self, observations: &[Observation], repeats: usize) -> bool {
        let (inputs, max_loss) = (self.folds.judging().len(), self.budget.max_loss);
        if !self.decides() {
            let runs = inputs.min(ERROR_INPUTS) as f64;
            let squared = observations.iter().map(|observation| observation.squared_error).sum::<f64>();
            return (squared / runs).sqrt() > max_loss;
        }
        let changed = observations.iter().map(|observation| observation.changed).sum::<f64>();
        let share = changed / (repeats * inputs) as f64;
        // Margins that tell of no more than the budget would be contradicted, and what was counted would stand.
        let count = (share * inputs as f64).floor() as usize;
        share > max_loss && at_least(count, max_loss * inputs as f64) < CONTRADICTION
    }

    fn verdict(&self, observations: &[Observation]) -> Verdict {
        let mut seen: Vec<usize> = observations.iter().map(|observation| observation.input).collect();
        seen.sort_unstable();
        seen.dedup();
        let doubt = self.doubt();
        let held_out = if self.folds.count() == 0 { 0 } else { seen.len() };
        let runs = observations.len().max(1) as f64;
        let errors: Vec<f64> = observations.iter().map(|observation| observation.squared_error).collect();
        let mean = errors.iter().sum::<f64>() / runs;
        let relative_error = mean.sqrt();
        if !self.decides() {
            let variance = errors.iter().map(|error| (error - mean) * (error - mean)).sum::<f64>() / runs;
            // Few inputs tell little of the variance either.
            let few = held_out as f64 / (held_out as f64 - 1.0);
            let upper = (mean + NORMAL_95 * few * (variance / held_out as f64).sqrt()).sqrt();
            // The deviation that errors are compared with is estimated from as many.
            let upper = upper * (1.0 + NORMAL_95 / (2.0 * held_out as f64).sqrt());
            let upper_95 = (held_out > 1).then_some(upper);
            let loss = Loss { disagreement: None, relative_error, expected: relative_error, upper_95, doubt };
            let decisive = if self.budget.confident { upper_95.unwrap_or(f64::MAX) } else { relative_error };
            return Verdict { loss, decisive };
        }
        let share = observations.iter().map(|observation| observation.changed).sum::<f64>() / runs;
        let rivals: Vec<Rival> = observations.iter().flat_map(|observation| observation.rivals.clone()).collect();
        let told = if rivals.is_empty() {
            share + UNSEEN / seen.len().max(1) as f64
        } else {
            // What explodes is counted, and margins tell of the others.
            let exploded = observations.iter().filter(|observation| observation.exploded).count() as f64 / runs;
            exploded + (1.0 - exploded) * expected_share(&rivals, seen.len(), self.caution)
        };
        let count = (share * seen.len() as f64).floor() as usize;
        let is_contradicted = at_least(count, told * seen.len() as f64) < CONTRADICTION;
        let expected = if is_contradicted { share } else { told };
        // Where the data say nothing of new inputs, either answer is as likely as the other.
        let unknown = doubt.is_some();
        let promised = if unknown { expected.max(0.5) } else { expected };
        // That few were counted may be luck: what is expected counts as much.
        let counted = share.max(expected) * held_out as f64;
        let upper = if unknown { 1.0 } else { upper_95(counted, held_out as u64).max(promised) };
        let loss = Loss { disagreement: Some(share), relative_error, expected: promised, upper_95: Some(upper), doubt };
        let decisive = if self.budget.confident { upper } else { expected };
        Verdict { loss, decisive: decisive.max(typical_error(errors) - MOST_OUTPUT_ERROR) }
    }

    fn doubt(&self) -> Option<Doubt> {
        let outputs: Vec<&Vec<f64>> = self.folds.judging().iter().map(|&at| &self.calibration.outputs[at]).collect();
        if self.folds.count() == 0 || outputs.len() < 2 {
            return Some(Doubt::OneInput);
        }
        let Some(decision) = &self.decision else { return self.is_constant.then_some(Doubt::ConstantOutput) };
        let first = decision.answers(outputs[0], self.shape);
        outputs.into_iter().all(|output| decision.answers(output, self.shape) == first).then_some(Doubt::OneAnswer)
    }
}

impl Decision<'_> {
    /// What is decided, one number a decision.
    fn answers(&self, values: &[f64], shape: &[usize]) -> Vec<usize> {
        match self {
            Self::Largest(axis) => argmax(values, shape, *axis),
            Self::Side(thresholds) => {
                let side = |(&y, threshold): (&f64, &Option<f64>)| threshold.map(|t| usize::from(y > t));
                values.iter().zip(thresholds).filter_map(side).collect()
            }
            Self::OfClient(ops) => ops.decision(shape, values).unwrap_or_default(),
        }
    }
}

/// The relative error of outputs without the worst of them, from squared ones.
fn typical_error(mut squared: Vec<f64>) -> f64 {
    squared.sort_unstable_by(f64::total_cmp);
    let kept = squared.len() - (LEFT_OUT * squared.len() as f64) as usize;
    (squared[..kept].iter().sum::<f64>() / kept.max(1) as f64).sqrt()
}

/// Whether an output reads a function that changes at one point only, as those of decision trees do.
fn reads_steps(network: &Network) -> bool {
    let offsets = network.stage_offsets();
    let is_step = |source: usize| {
        let made_by = network.made_by(&offsets, source);
        made_by.is_some_and(|(stage, row)| stage.functions[stage.channel[row] as usize].step().is_some())
    };
    network.output_rows.iter().flat_map(|row| row.taps.iter()).any(|tap| is_step(tap.source as usize))
}

/// Whether what the client's operators decide is nothing but the side of a threshold on which each value lies.
fn decides_by_sides(ops: &ClientOps, shape: &[usize], outputs: &[Vec<f64>]) -> bool {
    let thresholds = ops.thresholds(shape);
    let sides = |output: &Vec<f64>| -> Option<Vec<usize>> {
        output.iter().zip(&thresholds).map(|(&y, threshold)| threshold.map(|t| usize::from(y > t))).collect()
    };
    // Labels may name the upper side first.
    let same = |output: &Vec<f64>| {
        let (Some(sides), Some(decided)) = (sides(output), ops.decision(shape, output)) else { return false };
        let flipped: Vec<usize> = sides.iter().map(|side| 1 - side).collect();
        decided == sides || decided == flipped
    };
    outputs.iter().all(same)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::network::{Row, Tap, TensorInfo};
    use crate::planning::random::Gaussian;

    /// The inputs' own values as the outputs.
    fn identity(values: usize) -> Network {
        let tensor = |name: &str| TensorInfo { name: name.into(), shape: vec![1, values] };
        let row = |source: usize| Row { bias: 0.0, taps: [Tap { source: source as u32, weight: 1.0 }].into() };
        Network {
            inputs: vec![tensor("x")],
            input: tensor("x"),
            stages: Vec::new(),
            output: tensor("y"),
            output_rows: (0..values).map(row).collect(),
            output_operator: "Gemm".into(),
            client_ops: ClientOps::default(),
        }
    }

    /// The verdict on outputs that are off by Gaussian errors of that deviation.
    fn judged(inputs: &[Vec<f32>], task: Task, deviation: f64, confident: bool) -> Verdict {
        let budget = LossBudget { task, confident, ..LossBudget::default() };
        judged_by(inputs, budget, deviation)
    }

    /// As [`judged`], with all that a budget has.
    fn judged_by(inputs: &[Vec<f32>], budget: LossBudget, deviation: f64) -> Verdict {
        let network = identity(inputs[0].len());
        let calibration = Calibration::collect(&network, inputs, Deadline::NEVER).expect("there is time");
        let judge = Judge::new(&network, &calibration, budget, 2.0, Deadline::NEVER);
        let run = |input: &[f32], seed: u64| {
            let mut noise = Gaussian::new(seed);
            input.iter().map(|&x| f64::from(x) + deviation * noise.next()).collect::<Vec<f64>>()
        };
        let observe = |fold| judge.observe(fold, 1, 1, run);
        judge.verdict(&judge.folds.numbers().flat_map(observe).collect::<Vec<_>>())
    }

    fn gaussian(count: usize, values: usize, seed: u64) -> Vec<Vec<f32>> {
        let mut random = Gaussian::new(seed);
        (0..count).map(|_| (0..values).map(|_| random.next() as f32).collect()).collect()
    }

    #[test]
    fn exploded_outputs_change_every_decision() {
        let inputs = gaussian(400, 2, 3);
        let network = identity(2);
        let calibration = Calibration::collect(&network, &inputs, Deadline::NEVER).expect("there is time");
        let budget = LossBudget { task: Task::Classify, ..LossBudget::default() };
        let judge = Judge::new(&network, &calibration, budget, 2.0, Deadline::NEVER);
        // Every fortieth explodes, in the direction of its own decision.
        let judged = |large: f64| {
            let run = |input: &[f32], seed: u64| {
                let factor = if (seed ^ 0x5eed).is_multiple_of(40) { large } else { 1.0 };
                input.iter().map(|&x| factor * f64::from(x)).collect::<Vec<f64>>()
            };
            judge.verdict(&judge.folds.numbers().flat_map(|fold| judge.observe(fold, 1, 1, run)).collect::<Vec<_>>())
        };
        assert_eq!(judged(1.0).loss.disagreement, Some(0.0));
        for large in [1e30, f64::INFINITY, f64::NAN] {
            let loss = judged(large).loss;
            assert_eq!(loss.disagreement, Some(0.025), "{large}");
            // What explodes is counted; of the others none changes.
            assert!((0.025..0.03).contains(&loss.expected) && loss.is_sound(), "{large}: {loss:?}");
        }
    }

    #[test]
    fn inputs_that_are_new_to_the_model_judge_alone() {
        // The first are answered surely, as those are that a model was trained on; the last have Gaussian margins.
        let mut inputs: Vec<Vec<f32>> = gaussian(400, 2, 1);
        inputs.iter_mut().for_each(|input| input[0] += 100.0 * (input[0] - input[1]).signum());
        inputs.extend(gaussian(400, 2, 2));
        let loss = |unseen| {
            judged_by(&inputs, LossBudget { unseen, task: Task::Classify, ..LossBudget::default() }, 0.01).loss
        };
        let alone = judged(&gaussian(400, 2, 2), Task::Classify, 0.01, false).loss;
        assert!((loss(400).expected / alone.expected - 1.0).abs() < 1e-9, "{:?}, {alone:?} alone", loss(400));
        assert_eq!(loss(400).upper_95, alone.upper_95);
        assert!(loss(0).expected < 0.75 * alone.expected, "{:?}, {alone:?} without the others", loss(0));
    }

    #[test]
    fn the_expected_share_is_that_of_new_inputs_and_its_bound_is_above() {
        // Two Gaussian logits with errors of a hundredth: the answer changes with probability atan(0.01) / pi.
        let truth = (0.01_f64).atan() / std::f64::consts::PI;
        let verdicts: Vec<Verdict> =
            (0..40).map(|seed| judged(&gaussian(400, 2, seed), Task::Classify, 0.01, false)).collect();
        let mean = verdicts.iter().map(|verdict| verdict.loss.expected).sum::<f64>() / 40.0;
        assert!(mean > 0.9 * truth && mean < 1.6 * truth, "{mean} for {truth}");
        let above = verdicts.iter().filter(|verdict| verdict.loss.upper_95.is_some_and(|upper| upper > truth)).count();
        assert!(above >= 36, "{above} of 40 bounds hold, of which one in twenty may fail");
        let Loss { expected, upper_95, doubt, .. } = verdicts[1].loss;
        assert!(upper_95.is_some_and(|upper| upper > 0.007 && upper < 0.03), "{upper_95:?}: 3 over 400 at the least");
        assert_eq!((doubt, verdicts[1].decisive), (None, expected));
        let confident = judged(&gaussian(400, 2, 1), Task::Classify, 0.01, true);
        assert_eq!(Some(confident.decisive), upper_95);
    }

    #[test]
    fn outputs_that_are_far_off_are_a_loss_though_decisions_stay() {
        // One of two classes far ahead: errors as large as the outputs' deviation change nothing.
        let inputs: Vec<Vec<f32>> =
            gaussian(200, 2, 5).into_iter().map(|x| vec![100.0 * x[0].signum(), x[1]]).collect();
        let [close, far] = [0.2, 40.0].map(|deviation| judged(&inputs, Task::Classify, deviation, false));
        assert!(close.loss.relative_error < 0.25 && close.decisive == close.loss.expected, "{close:?}");
        assert!(far.loss.disagreement.is_some_and(|share| share < 0.05), "{far:?}");
        assert!(far.decisive > 0.05 && far.decisive > far.loss.expected, "{far:?}");
        // One input in two hundred that explodes is a decision, and no more.
        assert!((typical_error([vec![0.01; 199], vec![1e12]].concat()) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn what_some_folds_lose_is_lost_whatever_the_others_show() {
        // Half of the inputs are one: its fold is much larger than the others.
        let mut copies = gaussian(200, 2, 6);
        copies.extend(vec![copies[0].clone(); 200]);
        for inputs in [gaussian(400, 2, 5), copies] {
            for (task, deviations) in
                [(Task::Classify, [1.0, 0.3, 0.03, 0.01, 0.002]), (Task::Regress, [0.1, 0.03, 0.006, 0.004, 0.001])]
            {
                let network = identity(2);
                let calibration = Calibration::collect(&network, &inputs, Deadline::NEVER).expect("there is time");
                let budget = LossBudget { task, ..LossBudget::default() };
                let judge = Judge::new(&network, &calibration, budget, 2.0, Deadline::NEVER);
                let mut found = Vec::new();
                for deviation in deviations {
                    let run = |input: &[f32], seed: u64| {
                        let mut noise = Gaussian::new(seed);
                        input.iter().map(|&x| f64::from(x) + deviation * noise.next()).collect::<Vec<f64>>()
                    };
                    let (mut seen, mut lost_after) = (Vec::new(), None);
                    for fold in judge.folds.numbers() {
                        seen.extend(judge.observe(fold, 1, 1, run));
                        if lost_after.is_none() && judge.is_lost(&seen, 1) {
                            lost_after = Some(fold);
                        }
                    }
                    let refused = judge.verdict(&seen).decisive > budget.max_loss;
                    assert!(refused || lost_after.is_none(), "{task:?}, {deviation}: lost, and within the budget");
                    found.push((refused, lost_after));
                }
                assert_eq!(found[0], (true, Some(0)), "{task:?}");
                assert_eq!(found[4], (false, None), "{task:?}");
                assert!(!judge.is_lost(&[], 1));
            }
        }
    }

    #[test]
    fn what_inputs_cannot_tell_is_said() {
        let one = judged(&gaussian(1, 2, 1), Task::Classify, 0.01, false).loss;
        assert_eq!((one.doubt, one.expected, one.upper_95), (Some(Doubt::OneInput), 0.5, Some(1.0)));
        let same: Vec<Vec<f32>> = gaussian(50, 2, 2).into_iter().map(|x| vec![x[0], x[0] + 5.0]).collect();
        let same = judged(&same, Task::Classify, 0.01, false);
        assert_eq!((same.loss.doubt, same.loss.upper_95), (Some(Doubt::OneAnswer), Some(1.0)));
        assert!(same.decisive < 0.005, "the inputs that there are keep to the budget: {}", same.decisive);
    }

    #[test]
    fn errors_of_a_constant_output_are_absolute() {
        let zeros = (0..30).map(|at| vec![0.0 * at as f32]).collect::<Vec<_>>();
        let loss = judged(&zeros, Task::Regress, 0.25, false).loss;
        // Copies of one input.
        assert_eq!((loss.doubt, loss.upper_95), (Some(Doubt::OneInput), None));
        assert!(loss.expected < 1.0 && loss.expected > 0.05, "{}", loss.expected);
    }

    #[test]
    fn targets_are_judged_by_errors_over_their_deviations() {
        let inputs: Vec<Vec<f32>> = gaussian(300, 2, 3).into_iter().map(|x| vec![x[0], 100.0 * x[1]]).collect();
        let Loss { expected, upper_95, disagreement, .. } = judged(&inputs, Task::Regress, 0.1, false).loss;
        // Of the first target a tenth, of the second a thousandth of the deviation.
        let truth = ((0.01 + 1e-6) / 2.0_f64).sqrt();
        assert!((expected / truth - 1.0).abs() < 0.15 && disagreement.is_none(), "{expected} for {truth}");
        assert!(upper_95.is_some_and(|upper| upper > expected && upper < 1.4 * expected), "{upper_95:?}");
    }
}
