//! Chooses the cheapest secure parameters whose simulated accuracy stays within the budget.

pub mod exact;
pub mod factor;
pub mod fold;
pub mod options;
pub mod products;
pub mod quantise;
mod rounding;
pub mod search;
pub mod simulate;
mod sizes;
pub mod statistics;

use std::borrow::Cow;

use tracing::debug;

use crate::planning::calibration::Ranges;
use crate::planning::error::{PlanError, check_calibration};
use crate::planning::folds::Folds;
use crate::planning::judge::{Judge, Observation, Verdict};
use crate::planning::loss::Loss;
use crate::planning::pooling::pooled;
use crate::tfhe::planner::options::{CAUTION, Options, Planned};
use crate::tfhe::planner::sizes::complete;

use crate::model::lines::{Lengths, without_lines};
use crate::model::network::Network;
use crate::progress::Progress;
use crate::tfhe::noise;
use crate::tfhe::params::set::ParameterSet;
use crate::tfhe::plan::Plan;
use crate::tfhe::planner::fold::{centre_kinks, fold_kinks};
use crate::tfhe::planner::products::products_as_squares;
use crate::tfhe::planner::quantise::{Quantised, Settings, Subject};
use crate::tfhe::planner::search::{Candidate, frontier};
use crate::tfhe::planner::simulate::REPEATS;
use crate::tfhe::planner::statistics::{ChannelRange, Statistics, Traces, least_half};

/// Widths of weights that are tried, in bits, each with a factor that ranges are widened by: where the most precise
/// parameters are not enough, what is left is that new data leave the ranges.
const ATTEMPTS: [(u32, f64); 6] = [(8, 1.0), (12, 1.0), (16, 1.0), (12, 1.5), (16, 1.5), (16, 2.5)];

/// Probability that an argument leaves a range that a kink is folded on.
const FOLDED_TAIL: f64 = 1e-4;

/// Standard deviations of noise that are kept free at both ends of a range.
const GUARD_SIGMAS: f64 = 6.0;

/// Tighter ranges that are tried: probabilities that an argument leaves them on either side. Tables go on without a
/// jump, so that a value beyond its range errs by how far it is beyond, and all others are the more precise. Nothing is
/// kept free for the noise there.
const TIGHT_TAILS: [f64; 2] = [1e-4, 1e-3];

/// Widths of weights in bits that are tried with tight ranges besides.
const TIGHT_WEIGHT_BITS: u32 = 12;

/// Arguments beyond tight ranges that held-out inputs must show, or the loss says nothing of what they do.
const TIGHT_EVIDENCE: f64 = 400.0;

/// Most terms that the readers of a linear stage may gain for each of its values, which saves its bootstraps: they take
/// a few times the time of so many at k N = 2048.
const LINE_TERMS: Lengths = Lengths { a_value: 3000.0, all: (1_u64 << 27) as f64 };

/// Terms from which a network is large: see [`Search::bisect`].
const LARGE_TERMS: usize = 1 << 22;

/// How much wider than the tails of the calibration data ranges are, at the least and in steps until held-out data fit.
const WIDENINGS: [f64; 5] = [1.0, 1.15, 1.35, 1.6, 2.0];

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
    let network = if options.exact { Cow::Borrowed(network) } else { pooled(network, calibration) };
    let composed = without_lines(&network, LINE_TERMS);
    let mut squared = products_as_squares(&composed);
    if !options.exact {
        centre_kinks(&mut squared);
    }
    let network = &squared;
    let (folded_network, folded) = fold_kinks(network);
    let (calibration, traces) =
        Traces::collect(network, &folded_network, (calibration, options.budget.unseen), progress.deadline())?;
    if let Some(index) = calibration.outputs.iter().position(|output| output.iter().any(|y| !y.is_finite())) {
        return Err(PlanError::PlainOutput { index });
    }
    let statistics = traces.statistics(network, None);
    progress.finish();
    if options.exact {
        return crate::tfhe::planner::exact::plan(network, &calibration, &statistics, options, progress.deadline());
    }
    let judge = Judge::new(network, &calibration, options.budget, CAUTION, progress.deadline());
    judge.check()?;
    let without = |fold: usize| {
        let kept = judge.folds.kept(fold);
        (calibration.ranges_of(&kept), traces.statistics(network, Some(fold)))
    };
    let of_folds: Vec<(Ranges, Statistics)> = judge.folds.numbers().map(without).collect();
    let subject = |ranges, statistics| Subject { network: &folded_network, folded: &folded, ranges, statistics };
    let held_out: Vec<Subject<'_>> = of_folds.iter().map(|(ranges, statistics)| subject(ranges, statistics)).collect();
    let margins = Margins::find(&held_out, &traces, &judge.folds, tail_probability(network, options));
    let subject = subject(&calibration.ranges, &statistics);
    Search { subject, held_out, margins, options, judge, progress }.run()
}

/// Probability that one table input leaves its range, such that all together cost a tenth of the budget.
fn tail_probability(network: &Network, options: &Options) -> f64 {
    let activations = network.activation_count().max(1) as f64;
    (0.1 * options.budget.max_loss / activations).clamp(1e-9, 1e-4)
}

/// How much wider than the tails say the ranges of tables are.
#[derive(Clone, Copy, Debug)]
struct Margins {
    tail_probability: f64,
    widening: f64,
    /// Share of held-out table inputs beyond the ranges of their fold, or what so many can tell at the least.
    share: f64,
}

impl Margins {
    /// The least widening for which inputs leave the ranges of the folds that hold them out as seldom as the tails
    /// promise.
    fn find(subjects: &[Subject<'_>], traces: &Traces, folds: &Folds, tail_probability: f64) -> Self {
        let held_out: Vec<Vec<usize>> = folds.numbers().map(|fold| folds.held_out(fold)).collect();
        let mut margins = Self { tail_probability, widening: WIDENINGS[0], share: 0.0 };
        for widening in WIDENINGS {
            let (mut outside, mut total) = (0, 0);
            for (Subject { network, ranges, statistics, .. }, held_out) in subjects.iter().zip(&held_out) {
                let of_stage = |channels: &Vec<ChannelRange>| {
                    let least = least_half(channels.iter().map(ChannelRange::ends), ranges.count);
                    channels.iter().map(|range| range.widened(tail_probability, widening, least)).collect()
                };
                let ranges: Vec<Vec<(f64, f64)>> = statistics.channels.iter().map(of_stage).collect();
                let (more_outside, more) = traces.outside(network, held_out, &ranges);
                (outside, total) = (outside + more_outside, total + more);
            }
            margins.widening = widening;
            margins.share = outside as f64 / total.max(1) as f64;
            if margins.share <= tail_probability {
                break;
            }
        }
        margins
    }
}

/// What was tried so far.
#[derive(Default)]
struct Trials {
    made: Vec<(Candidate, f64)>,
    /// What lost least, and how much by the folds that were asked.
    best: Option<(Candidate, Settings, f64)>,
}

struct Search<'a> {
    subject: Subject<'a>,
    /// The same, fitted without one fold of the inputs each.
    held_out: Vec<Subject<'a>>,
    margins: Margins,
    options: &'a Options,
    judge: Judge<'a>,
    progress: &'a dyn Progress,
}

impl Search<'_> {
    fn run(&self) -> Result<Planned, PlanError> {
        let network = self.subject.network;
        let terms = self.terms();
        let bootstraps = network.activation_count();
        let row_word_seconds = |linear_ns: f64| 1e-9 * linear_ns * terms as f64 / bootstraps.max(1) as f64;
        let share = self.linear_share();
        let score = |p: &ParameterSet| {
            let table = noise::keyswitch_variance(p) + noise::modulus_switch_variance(p);
            if bootstraps == 0 { noise::input_variance(p) } else { table + share * noise::bootstrap_variance(p).sqrt() }
        };
        let cost = &self.options.cost;
        let mut frontiers = vec![frontier(cost, row_word_seconds(cost.linear_ns), score)];
        if cost.rings.is_some() {
            // Which set just passes is in part chance: the CPU's candidates are others, and may do better on the device.
            let thread = cost.of_a_thread();
            let mut more = frontier(&thread, row_word_seconds(thread.linear_ns), score);
            more.retain(|candidate| cost.bootstrap_seconds(&candidate.params).is_finite());
            frontiers.push(more);
        }
        frontiers.retain(|candidates| !candidates.is_empty());
        if frontiers.is_empty() {
            return Err(PlanError::Rings);
        }
        let found = frontiers.iter().map(|candidates| self.cheapest(candidates));
        let seconds = |planned: &Planned| cost.plan_seconds(&planned.plan);
        let (mut best, mut error) = (None, None);
        for planned in found {
            match planned {
                Ok(planned) if best.as_ref().is_none_or(|best| seconds(&planned) < seconds(best)) => {
                    best = Some(planned);
                }
                Ok(_) => {}
                Err(other) => error = error.or(Some(other)),
            }
        }
        best.ok_or_else(|| error.expect("each frontier gives a plan or an error"))
    }

    /// The cheapest candidate within the budget; they stand by cost.
    fn cheapest(&self, candidates: &[Candidate]) -> Result<Planned, PlanError> {
        let mut trials = Trials::default();
        self.progress.start("searching parameters", ATTEMPTS.len() as u64 * 8);
        for (weight_bits, wider) in ATTEMPTS {
            let mut chosen: Option<(usize, Settings, Verdict)> = None;
            for settings in self.settings_to_try(weight_bits, wider) {
                // What is tried later must allow a cheaper set.
                let end = chosen.as_ref().map_or(candidates.len(), |&(at, ..)| at);
                if let Some((at, verdict)) = self.bisect(&candidates[..end], &settings, &mut trials)? {
                    chosen = Some((at, settings, verdict));
                }
            }
            if let Some((at, settings, verdict)) = chosen {
                self.progress.finish();
                let quantised = self.subject.quantise(&candidates[at].params, &settings);
                let plan = self.finish(quantised, &verdict.loss);
                return Ok(Planned { plan, weight_bits: settings.weight_bits, trials: trials.made });
            }
        }
        let best = match &trials.best {
            Some((candidate, settings, _)) => self.judged_by_all(candidate, settings)?.decisive,
            None => f64::INFINITY,
        };
        self.progress.finish();
        Err(PlanError::Accuracy { max_loss: self.options.budget.max_loss, best })
    }

    /// The cheapest of those candidates that passes with these settings, and its verdict. After the first settings the
    /// most precise candidate is tried first: mostly it tells that none passes.
    ///
    /// Loss falls along the frontier up to the simulation's own noise. Of large networks one fold says where to begin,
    /// and all folds have the word: what is chosen passes by all, and what is next to it does not.
    fn bisect(
        &self,
        candidates: &[Candidate],
        settings: &Settings,
        trials: &mut Trials,
    ) -> Result<Option<(usize, Verdict)>, PlanError> {
        let is_first = trials.made.is_empty();
        let mut chosen = None;
        let (mut low, mut high) = (0, candidates.len());
        if !is_first && high > 0 {
            let verdict = self.attempt(&candidates[high - 1], settings, trials)?;
            if verdict.decisive > self.options.budget.max_loss {
                return Ok(None);
            }
            high -= 1;
            chosen = Some((high, verdict));
        }
        let mut guess = if self.is_large() { Some(self.scout(&candidates[..high], settings)?) } else { None };
        let (mut step, mut has_passed, mut has_failed) = (1, false, false);
        while low < high {
            if has_passed && has_failed {
                // What is left is between the two.
                guess = None;
            }
            let at = guess.map_or((low + high) / 2, |at| at.clamp(low, high - 1));
            let verdict = self.attempt(&candidates[at], settings, trials)?;
            if verdict.decisive <= self.options.budget.max_loss {
                (high, has_passed) = (at, true);
                chosen = Some((at, verdict));
                guess = guess.map(|_| at.saturating_sub(step));
            } else {
                (low, has_failed) = (at + 1, true);
                guess = guess.map(|_| at + step);
            }
            step *= 2;
        }
        Ok(chosen)
    }

    /// Terms of all rows.
    fn terms(&self) -> usize {
        let network = self.subject.network;
        let rows = network.stages.iter().flat_map(|stage| &stage.rows).chain(&network.output_rows);
        rows.map(|row| row.taps.len()).sum()
    }

    /// Whether a fold takes so long that one is asked before all are. No fold alone could tell a bound that holds with
    /// confidence.
    fn is_large(&self) -> bool {
        self.held_out.len() > 1 && !self.options.budget.confident && self.terms() >= LARGE_TERMS
    }

    /// Where the first fold alone would stop: it begins with the most precise candidate.
    fn scout(&self, candidates: &[Candidate], settings: &Settings) -> Result<usize, PlanError> {
        let (mut low, mut high) = (0, candidates.len());
        while low < high {
            let at = if high == candidates.len() { high - 1 } else { (low + high) / 2 };
            let verdict = self.judge.conclude(&self.of_fold(0, &candidates[at], settings))?;
            debug!(seconds = candidates[at].seconds, loss = verdict.decisive, "asked one fold");
            if verdict.decisive <= self.options.budget.max_loss { high = at } else { low = at + 1 }
        }
        Ok(low)
    }

    /// Variance that rounded weights and bootstrap noise add to a table input, a unit of the bootstrap's standard
    /// deviation.
    ///
    /// Both grow together as [`crate::tfhe::planner::quantise`] balances them, so one reference set tells the factor
    /// for all.
    fn linear_share(&self) -> f64 {
        let reference = ParameterSet {
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
        let plan = self.subject.quantise(&reference, &self.settings(ATTEMPTS[0].0, ATTEMPTS[0].1)).plan;
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

    fn settings(&self, weight_bits: u32, wider: f64) -> Settings {
        let Margins { tail_probability, widening, .. } = self.margins;
        Settings {
            weight_bits,
            tail_probability,
            folded_tail: FOLDED_TAIL,
            widening: wider * widening,
            guard_sigmas: GUARD_SIGMAS,
        }
    }

    /// Ranges as wide as new data ask for; folded ones as wide as all others; and if nothing speaks against them
    /// tighter ones. The more precise others are, the more the rounding of weights counts, so that wider ones are
    /// tried there.
    fn settings_to_try(&self, weight_bits: u32, wider: f64) -> Vec<Settings> {
        let usual = self.settings(weight_bits, wider);
        let has_folded = self.subject.folded.contains(&true) && usual.tail_probability < FOLDED_TAIL;
        let far = has_folded.then_some(Settings { folded_tail: usual.tail_probability, ..usual });
        let arguments = self.subject.network.activation_count() as f64 * self.subject.ranges.count as f64;
        let is_evident = |tail: f64| wider == 1.0 && tail * arguments >= TIGHT_EVIDENCE;
        let tight = |(weight_bits, tail): (u32, f64)| Settings {
            weight_bits,
            tail_probability: tail.max(usual.tail_probability),
            folded_tail: tail,
            widening: 1.0,
            guard_sigmas: 0.0,
        };
        let tails = || TIGHT_TAILS.into_iter().filter(|&tail| is_evident(tail));
        let widths = std::iter::once(weight_bits).chain((weight_bits < TIGHT_WEIGHT_BITS).then_some(TIGHT_WEIGHT_BITS));
        let tight = widths.flat_map(|bits| tails().map(move |tail| (bits, tail))).map(tight);
        [usual].into_iter().chain(far).chain(tight).collect()
    }

    /// The loss of a candidate on inputs that its ranges and scales were not fitted to. Where some folds alone lose
    /// more than all may, it is theirs: most candidates fail by far, and each fold takes a plan of its own.
    fn attempt(&self, candidate: &Candidate, settings: &Settings, trials: &mut Trials) -> Result<Verdict, PlanError> {
        let mut observations = Vec::new();
        let mut is_lost = false;
        for fold in 0..self.held_out.len() {
            observations.extend(self.of_fold(fold, candidate, settings));
            is_lost = self.judge.is_lost(&observations, REPEATS);
            if is_lost {
                break;
            }
        }
        let mut verdict = self.judge.conclude(&observations)?;
        if is_lost {
            // That they are lost is certain, whatever margins tell of so few.
            verdict.decisive = verdict.decisive.max(self.options.budget.max_loss.next_up());
        }
        let loss = verdict.decisive;
        trials.made.push((*candidate, loss));
        if trials.best.as_ref().is_none_or(|&(.., best)| loss < best) {
            trials.best = Some((*candidate, *settings, loss));
        }
        self.progress.advance(1);
        debug!(seconds = candidate.seconds, loss, weight_bits = settings.weight_bits, is_lost, "tried");
        Ok(verdict)
    }

    /// As [`Self::attempt`], by all folds in any case.
    fn judged_by_all(&self, candidate: &Candidate, settings: &Settings) -> Result<Verdict, PlanError> {
        let observe = |fold| self.of_fold(fold, candidate, settings);
        self.judge.conclude(&(0..self.held_out.len()).flat_map(observe).collect::<Vec<_>>())
    }

    /// What the inputs that a fold holds out show of a candidate that is fitted without them.
    fn of_fold(&self, fold: usize, candidate: &Candidate, settings: &Settings) -> Vec<Observation> {
        self.judge.measure(fold, &self.held_out[fold].quantise(&candidate.params, settings).plan)
    }

    fn finish(&self, quantised: Quantised, loss: &Loss) -> Plan {
        let mut plan = quantised.plan;
        let seconds = self.options.cost.of_a_thread().plan_seconds(&plan);
        let prediction = &mut plan.params.prediction;
        prediction.loss = *loss;
        prediction.p_fail_log2 = quantised.leave_log2.max(self.margins.share.max(f64::MIN_POSITIVE).log2());
        prediction.thread_seconds_per_input = seconds;
        complete(&mut plan);
        plan
    }
}
