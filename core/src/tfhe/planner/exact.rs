//! Exact mode: an integer message grid with a failure probability per bootstrap.
//!
//! Every value of the network must lie on a grid `base + m * step` with an integer m: inputs because the calibration
//! data say so, table inputs because weights times input steps have a common divisor, table outputs because the
//! function maps grid points to multiples of something. One message of a value is `u` turns everywhere, so that weights
//! become integers without rounding; u is half a turn over the widest range of messages. Narrower table inputs have all
//! their weights multiplied by an integer that fills the half turn, so that a message is `m u` turns there; a bootstrap
//! fails when noise exceeds half of that.

use crate::deadline::Deadline;
use crate::model::network::{Network, Row};
use crate::planning::calibration::Calibration;
use crate::planning::error::PlanError;
use crate::planning::judge::Judge;
use crate::tfhe::noise;
use crate::tfhe::params::public::Prediction;
use crate::tfhe::params::set::ParameterSet;
use crate::tfhe::plan::Plan;
use crate::tfhe::planner::options::{CAUTION, Options, Planned};
use crate::tfhe::planner::quantise::{Encoding, Scale, Subject};
use crate::tfhe::planner::search::{Candidate, frontier};
use crate::tfhe::planner::sizes::complete;
use crate::tfhe::planner::statistics::{ChannelRange, Statistics};

/// Most messages that a table input may take.
const MAX_MESSAGES: f64 = 4096.0;
/// A value is on a grid if it is off by at most this share of the step.
const TOLERANCE: f64 = 1e-3;
/// Ranges of table inputs cover all but this probability, by the tails of the calibration data.
const TAIL: f64 = 1e-9;
/// Largest weight in messages.
const MAX_WEIGHT: f64 = 32_767.0;

/// Values `base + m * step`.
#[derive(Clone, Copy, Debug)]
struct Grid {
    base: f64,
    step: f64,
    low: f64,
    high: f64,
}

/// Plans a model whose inputs, weights and activations already lie on grids.
///
/// # Errors
/// [`PlanError::Exact`] if they do not, or need more than 4,096 messages, or no parameters reach the failure
/// probability.
pub fn plan(
    network: &Network,
    calibration: &Calibration,
    statistics: &Statistics,
    options: &Options,
    deadline: Deadline,
) -> Result<Planned, PlanError> {
    let grids = Grids::find(network, calibration, statistics).map_err(PlanError::Exact)?;
    let folded = vec![false; network.stages.len()];
    let subject = Subject { network, folded: &folded, ranges: &calibration.ranges, statistics };
    let words_seconds = 1e-9 * options.cost.linear_ns;
    let candidates = frontier(&options.cost, words_seconds, |p| (-grids.fail_log2(p).max(-1e6)).recip());
    if candidates.is_empty() {
        return Err(PlanError::Rings);
    }
    let fails = |candidate: &Candidate| grids.fail_log2(&candidate.params);
    let Some(candidate) = candidates.iter().find(|candidate| fails(candidate) <= options.p_fail_log2) else {
        let best = candidates.last().map_or(0.0, fails);
        return Err(PlanError::Exact(format!(
            "no parameters reach a failure probability of 2^{:.1}; the best reach 2^{best:.1}",
            options.p_fail_log2
        )));
    };
    let encoding =
        Encoding { scales: &grids.table_inputs, outputs: &grids.outputs, groups: &grids.groups, correlations: &[] };
    let mut plan: Plan = subject.assemble(&candidate.params, &encoding, MAX_WEIGHT);
    // Grids come from the model: nothing is fitted but ranges, and a plan of all inputs stands for the folds'.
    let judge = Judge::new(network, calibration, options.budget, CAUTION, deadline);
    judge.check_unseen()?;
    let observed: Vec<_> = judge.folds.numbers().flat_map(|fold| judge.measure(fold, &plan)).collect();
    let loss = judge.conclude(&observed)?;
    let seconds = options.cost.of_a_thread().plan_seconds(&plan);
    plan.params.prediction = Prediction {
        loss: loss.loss,
        p_fail_log2: fails(candidate),
        thread_seconds_per_input: seconds,
        ..plan.params.prediction
    };
    complete(&mut plan);
    Ok(Planned { plan, weight_bits: 16, trials: vec![(*candidate, loss.decisive)] })
}

/// The grids of a network, as encodings.
struct Grids {
    table_inputs: Vec<Vec<Scale>>,
    outputs: Vec<Scale>,
    groups: Vec<Scale>,
    /// What noise may do to each kind of row, without repetitions.
    budgets: Vec<Budget>,
}

/// Half a message, and what multiplies the noise.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Budget {
    half_message: f64,
    input_norm: f64,
    value_norm: f64,
    /// Whether a keyswitch and a modulus switch come before the rounding.
    is_table_input: bool,
}

impl Grids {
    fn find(network: &Network, calibration: &Calibration, statistics: &Statistics) -> Result<Self, String> {
        let input = input_grid(calibration)?;
        let mut of_value = vec![input; network.input.len()];
        let mut groups = vec![input];
        let mut table_grids: Vec<Vec<Grid>> = Vec::new();
        let mut widest: f64 = 1.0;
        for (stage, ranges) in network.stages.iter().zip(&statistics.channels) {
            let mut grids = Vec::with_capacity(ranges.len());
            let mut outputs = Vec::with_capacity(ranges.len());
            for (channel, range) in ranges.iter().enumerate() {
                let rows =
                    stage.rows.iter().zip(&stage.channel).filter(|&(_, &c)| c as usize == channel).map(|(row, _)| row);
                let grid =
                    table_input_grid(rows, &of_value, range).map_err(|e| format!("stage {}: {e}", stage.name))?;
                widest = widest.max(grid.messages());
                let values: Vec<f64> =
                    grid.points().map(|x| stage.functions[channel].evaluate(x)).filter(|y| y.is_finite()).collect();
                let output = Grid::of(&values).ok_or_else(|| {
                    format!("stage {}: the values of {} lie on no common grid", stage.name, stage.operator)
                })?;
                grids.push(grid);
                outputs.push(output);
            }
            of_value.extend(stage.channel.iter().map(|&channel| outputs[channel as usize]));
            groups.extend(outputs);
            table_grids.push(grids);
        }
        let mut output_grids = Vec::with_capacity(network.output_rows.len());
        for (row, &(low, high)) in network.output_rows.iter().zip(&calibration.ranges.outputs) {
            let step = common_step(std::iter::once(row), &of_value)?;
            let base = base_of(row, &of_value);
            let margin = 0.5 * (high - low);
            let grid = Grid { base, step, low: low - margin, high: high + margin };
            widest = widest.max(grid.messages() / 2.0);
            output_grids.push(grid);
        }
        if widest > MAX_MESSAGES {
            return Err(format!(
                "a table input takes {widest:.0} different values, more than {MAX_MESSAGES:.0}; quantise the model to fewer bits"
            ));
        }
        let message = 0.5 / widest;
        let table_inputs: Vec<Vec<Scale>> =
            table_grids.iter().map(|grids| grids.iter().map(|g| g.table_scale(message)).collect()).collect();
        let outputs: Vec<Scale> = output_grids.iter().map(|g| g.output_scale(message)).collect();
        let scale = |g: &Grid| Scale { origin: g.base, turns: message / g.step, leave: 0.0, step: Some(g.step) };
        let groups: Vec<Scale> = groups.iter().map(scale).collect();
        let mut found = Self { table_inputs, outputs, groups, budgets: Vec::new() };
        found.measure_norms(network, &of_value, message)?;
        Ok(found)
    }

    fn measure_norms(&mut self, network: &Network, of_value: &[Grid], message: f64) -> Result<(), String> {
        let inputs = network.input.len();
        let tables = network.stages.iter().zip(&self.table_inputs);
        let rows = tables
            .flat_map(|(stage, scales)| {
                stage.rows.iter().zip(&stage.channel).map(|(row, &c)| (row, scales[c as usize], true))
            })
            .chain(network.output_rows.iter().zip(&self.outputs).map(|(row, &scale)| (row, scale, false)));
        for (row, scale, is_table_input) in rows {
            let (mut input_norm, mut value_norm) = (0.0, 0.0);
            for tap in row.taps.iter() {
                let source = tap.source as usize;
                let weight = (f64::from(tap.weight) * of_value[source].step * scale.turns / message).round();
                if weight.abs() > MAX_WEIGHT {
                    return Err(format!("a weight is {weight:.0} messages, more than {MAX_WEIGHT:.0}"));
                }
                *(if source < inputs { &mut input_norm } else { &mut value_norm }) += weight * weight;
            }
            let half_message = 0.5 * scale.turns * scale.step.unwrap_or(0.0);
            let budget = Budget { half_message, input_norm, value_norm, is_table_input };
            if !self.budgets.contains(&budget) {
                self.budgets.push(budget);
            }
        }
        Ok(())
    }

    /// log2 of the largest failure probability of a rounding.
    fn fail_log2(&self, params: &ParameterSet) -> f64 {
        let (input, value) = (noise::input_variance(params), noise::bootstrap_variance(params));
        let table = noise::keyswitch_variance(params) + noise::modulus_switch_variance(params);
        let fails = |budget: &Budget| {
            let linear = budget.input_norm * input + budget.value_norm * value;
            let variance = linear + if budget.is_table_input { table } else { 0.0 };
            noise::tail_log2(budget.half_message, variance.max(f64::MIN_POSITIVE))
        };
        self.budgets.iter().map(fails).fold(-1e6, f64::max)
    }
}

impl Grid {
    /// The coarsest grid through all values; none if they need more than [`MAX_MESSAGES`] points.
    fn of(values: &[f64]) -> Option<Self> {
        let base = *values.first()?;
        let (low, high) = values.iter().fold((base, base), |(l, h), &x| (l.min(x), h.max(x)));
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let step = divisor(sorted.windows(2).map(|pair| pair[1] - pair[0]))?;
        let grid = Self { base, step, low, high };
        (grid.messages() <= 16.0 * MAX_MESSAGES).then_some(grid)
    }

    fn messages(&self) -> f64 {
        ((self.high - self.low) / self.step).round() + 1.0
    }

    fn first_point(&self) -> f64 {
        self.base + ((self.low - self.base) / self.step).round() * self.step
    }

    fn points(&self) -> impl Iterator<Item = f64> + '_ {
        let first = self.first_point();
        (0..self.messages() as usize).map(move |i| first + i as f64 * self.step)
    }

    /// The first point lies half a message into the half turn; messages are as wide as an integer factor allows.
    fn table_scale(&self, message: f64) -> Scale {
        let factor = (0.5 / (message * self.messages())).floor().max(1.0);
        let turns = factor * message / self.step;
        Scale { origin: self.first_point() - self.step / 2.0, turns, leave: 0.0, step: Some(self.step) }
    }

    /// The middle point lies at phase 0, on the whole turn.
    fn output_scale(&self, message: f64) -> Scale {
        let middle = self.base + ((0.5 * (self.low + self.high) - self.base) / self.step).round() * self.step;
        let factor = (1.0 / (message * (self.messages() + 1.0))).floor().max(1.0);
        Scale { origin: middle, turns: factor * message / self.step, leave: 0.0, step: Some(self.step) }
    }
}

fn input_grid(calibration: &Calibration) -> Result<Grid, String> {
    let mut values: Vec<f64> = calibration.inputs.iter().flatten().copied().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    let on_zero = divisor(values.iter().copied());
    let grid = on_zero.map(|step| Grid { base: 0.0, step, low: values[0], high: values[values.len() - 1] });
    grid.filter(|grid| grid.messages() <= MAX_MESSAGES)
        .ok_or_else(|| "the calibration inputs are not multiples of a common step".to_string())
}

fn base_of(row: &Row, of_value: &[Grid]) -> f64 {
    row.bias + row.taps.iter().map(|tap| f64::from(tap.weight) * of_value[tap.source as usize].base).sum::<f64>()
}

fn common_step<'a>(rows: impl Iterator<Item = &'a Row>, of_value: &[Grid]) -> Result<f64, String> {
    let products: Vec<f64> = rows
        .flat_map(|row| row.taps.iter())
        .map(|tap| f64::from(tap.weight) * of_value[tap.source as usize].step)
        .collect();
    divisor(products.into_iter()).ok_or_else(|| "its weights are not multiples of a common step".to_string())
}

fn table_input_grid<'a>(
    rows: impl Iterator<Item = &'a Row> + Clone,
    of_value: &[Grid],
    range: &ChannelRange,
) -> Result<Grid, String> {
    let step = common_step(rows.clone(), of_value)?;
    let bases: Vec<f64> = rows.clone().map(|row| base_of(row, of_value)).collect();
    let base = bases[0];
    let off = |b: &f64| ((b - base) / step - ((b - base) / step).round()).abs() > TOLERANCE;
    if bases.iter().any(off) {
        return Err("the constants of its rows lie on different grids".into());
    }
    // No wider than what the sources' grids allow at all.
    let bounds = rows.map(|row| reachable(row, of_value));
    let (least, most) =
        bounds.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (low, high)| (l.min(low), h.max(high)));
    let (low, high) = (least.max(-range.lower.quantile(TAIL)), most.min(range.upper.quantile(TAIL)));
    let snap = |x: f64| base + ((x - base) / step).round() * step;
    Ok(Grid { base, step, low: snap(low), high: snap(high) })
}

/// Smallest and largest value of a row over the grids of its sources.
fn reachable(row: &Row, of_value: &[Grid]) -> (f64, f64) {
    row.taps.iter().fold((row.bias, row.bias), |(low, high), tap| {
        let grid = &of_value[tap.source as usize];
        let (a, b) = (f64::from(tap.weight) * grid.low, f64::from(tap.weight) * grid.high);
        (low + a.min(b), high + a.max(b))
    })
}

/// Largest number that all values are multiples of, within [`TOLERANCE`]; 1 if all are zero, none if there is no
/// plausible one.
fn divisor(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.map(f64::abs).collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Some(1.0);
    }
    values.retain(|&v| v > 1e-9 * largest);
    values.sort_unstable_by(f64::total_cmp);
    values.dedup_by(|a, b| (*a - *b).abs() <= 1e-9 * largest);
    let smallest = values[0];
    (1..=256).map(|k| smallest / f64::from(k)).find(|step| {
        values.iter().all(|v| {
            let multiple = v / step;
            (multiple - multiple.round()).abs() <= TOLERANCE
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_divisor_is_found_or_refused() {
        assert_eq!(divisor([0.5, 1.5, -2.0].into_iter()), Some(0.5));
        let third = divisor([2.0 / 3.0, 1.0, 5.0 / 3.0].into_iter()).expect("thirds");
        assert!((third - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(divisor([1.0, std::f64::consts::SQRT_2, 0.123_456].into_iter()), None);
        assert_eq!(divisor([0.0].into_iter()), Some(1.0));
    }

    #[test]
    fn grid_points_start_half_a_message_into_the_turn() {
        let grid = Grid { base: 0.5, step: 1.0, low: -2.5, high: 4.5 };
        assert_eq!(grid.messages(), 8.0);
        let scale = grid.table_scale(1.0 / 16.0);
        assert_eq!((grid.first_point() - scale.origin) * scale.turns, 1.0 / 32.0);
        let narrow = Grid { high: -0.5, ..grid }.table_scale(1.0 / 16.0);
        assert_eq!(narrow.turns, 2.0 / 16.0, "three messages have room for two sixteenths of a turn each");
    }
}
