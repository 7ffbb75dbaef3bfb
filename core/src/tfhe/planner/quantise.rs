//! From a real-valued network to a plan for one parameter set: ranges, scales, integer weights, tables.
//!
//! **Encoding.** A value v of channel g is the torus element `Y = (v - o_g) s_g`; a table input z of channel c is
//! `(z - origin_c) t_c`. The row `z = b + sum_j W_j v_j` becomes `sum_j q_j Y_j + K` with integers `q_j ~ W_j t / s_j`.
//! Only the final phase has to stay inside the table's interval; partial sums wrap freely.
//!
//! **Scales.** Large s_j means coarse weights, small s_j means that the bootstrap's noise is multiplied by large
//! weights. With rounding errors uniform in [-1/2, 1/2], the sum over all rows, as shares of their stages, of both is
//! `sum (W_j t)^2 sigma_j^2 / s^2 + s^2 sum Var(v_j) / 12`, least where both parts are equal: `s^4 = C / A`.
//!
//! **Rounding.** Neighbouring values of one channel are alike (correlation rho), so a share rho of each weight's
//! rounding error is taken over by its right neighbour, as in error diffusion (Floyd and Steinberg, 1976): errors
//! cancel where the values agree, and the error's variance falls by `1 - rho^2`.
//!
//! **Bias.** The part of the rounding error that the mean of `Y_j` causes is known, and taken out of K (bias
//! correction, Nagel et al., ICCV 2019).

use rayon::prelude::*;

use crate::files::params::{FORMAT, VERSION};
use crate::files::scheme::Scheme;
use crate::model::columns::Columns;
use crate::model::function::Function;
use crate::model::network::{Network, Row, Stage};
use crate::planning::calibration::Ranges;
use crate::planning::loss::Loss;
use crate::planning::pooling::are_one_quantity;
use crate::tfhe::noise;
use crate::tfhe::params::public::{InputEncoding, OutputEncoding, Params, Prediction};
use crate::tfhe::params::set::ParameterSet;
use crate::tfhe::params::set::bits;
use crate::tfhe::plan::table::Table;
use crate::tfhe::plan::{Plan, PlanStage};
use crate::tfhe::planner::factor::{QuantisedRow, factor};
use crate::tfhe::planner::rounding::Rounding;
use crate::tfhe::planner::statistics::{ChannelRange, Statistics, least_half};

/// Output ranges are widened by this factor: they wrap around, and precision is plentiful there.
const OUTPUT_MARGIN: f64 = 2.0;
/// Ranges that nothing can leave are widened by this factor for the noise.
const REACH_MARGIN: f64 = 1.1;
/// Ranges of outputs grow by no more than this factor for what was not seen.
const MOST_UNSEEN: f64 = 8.0;
/// Variance of a channel's values over the mean of its stage's channels, at the least: one that a ReLU cut off on all
/// inputs gets weights a tenth as large as the others'.
const LEAST_SPREAD: f64 = 1e-4;
/// Encrypted inputs may exceed the calibrated range by this share of it on each side.
const INPUT_MARGIN: f64 = 0.25;

/// What to quantise, independent of parameters.
pub struct Subject<'a> {
    /// The network as it will be encoded, see [`crate::tfhe::planner::fold::fold_kinks`].
    pub network: &'a Network,
    /// Which stages use the whole turn.
    pub folded: &'a [bool],
    /// How far inputs and outputs reach on the data that are fitted to.
    pub ranges: &'a Ranges,
    /// Statistics of the same data.
    pub statistics: &'a Statistics,
}

/// Free choices of the quantiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Largest width of a weight in bits, its sign included; 2 ..= 16.
    pub weight_bits: u32,
    /// Probability that a table input leaves a half-turn range, by the tails of the calibration data.
    pub tail_probability: f64,
    /// The same of a whole turn that a kink is folded on: leaving it is harmless, so the range may be tight.
    pub folded_tail: f64,
    /// How much wider than that the ranges are, because new data reach further: a factor of at least 1.
    pub widening: f64,
    /// Standard deviations of noise kept free at both ends of a half-turn range.
    pub guard_sigmas: f64,
}

/// A plan and what the noise model says about it.
pub struct Quantised {
    /// The plan; its prediction is filled in by the planner.
    pub plan: Plan,
    /// log2 of the mean probability that a table input leaves its interval.
    pub leave_log2: f64,
}

/// Affine encoding of a channel: phase = (z - origin) * turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Value at phase 0.
    pub origin: f64,
    /// Turns a unit.
    pub turns: f64,
    /// Probability that a value leaves its interval.
    pub leave: f64,
    /// In exact mode the spacing of the values.
    pub step: Option<f64>,
}

/// All scales of a plan.
pub(crate) struct Encoding<'a> {
    /// Table inputs of every stage and channel.
    pub scales: &'a [Vec<Scale>],
    /// Output elements.
    pub outputs: &'a [Scale],
    /// The inputs, then the values of every stage and channel.
    pub groups: &'a [Scale],
    /// For each group the share of a rounding error that the next value's weight takes over; empty for none.
    pub correlations: &'a [f64],
}

impl Scale {
    /// Origin and turns.
    fn pair(&self) -> (f64, f64) {
        (self.origin, self.turns)
    }

    fn folded(range: &ChannelRange, settings: &Settings, least: f64) -> Self {
        let bound = range.upper.quantile(settings.folded_tail).max(range.lower.quantile(settings.folded_tail));
        let bound = (settings.widening * bound).max(least).max(f64::MIN_POSITIVE.sqrt());
        let leave = range.upper.probability(bound) + range.lower.probability(bound);
        Self { origin: 0.0, turns: 0.5 / bound, leave, step: None }
    }

    fn half_turn(range: &ChannelRange, guard: f64, settings: &Settings, least: f64) -> Self {
        let (low, high) = range.widened(settings.tail_probability, settings.widening, least);
        let span = (high - low).max(1e-9 * high.abs().max(low.abs())).max(1e-30);
        let turns = (0.5 - 2.0 * guard) / span;
        let leave = range.upper.probability(high) + range.lower.probability(-low);
        Self { origin: low - guard / turns, turns, leave, step: None }
    }

    /// Of a function that changes at `step` only. A table that changes in the middle of its half turn is, as its own
    /// negation, constant for half a turn on either side: inputs have the whole turn, as where kinks are folded.
    ///
    /// `reach` is how far the inputs go at the most, where that is known.
    fn of_step(
        step: f64,
        range: &ChannelRange,
        reach: Option<(f64, f64)>,
        settings: &Settings,
        polynomial_size: usize,
    ) -> Self {
        let farthest = |(low, high): (f64, f64)| (high - step).max(step - low).max(1e-9 * step.abs()).max(1e-30);
        let tails = settings.widening * farthest(range.widened(settings.tail_probability, 1.0, 0.0));
        let bound = reach.map_or(tails, |reach| REACH_MARGIN * farthest(reach));
        let turns = 0.5 / bound;
        let leave = match reach {
            Some(_) => 0.0,
            None => range.upper.probability(step + bound) + range.lower.probability(bound - step),
        };
        // Between two entries of the table, so that both sides are as far from the nearest.
        let phase = 0.25 - 0.25 / polynomial_size as f64;
        Self { origin: step - phase / turns, turns, leave, step: None }
    }

    /// Of an output with that calibrated range, whose half is taken to be `least_half` at the least.
    fn output((low, high): (f64, f64), least_half: f64) -> Self {
        let half = (0.5 * (high - low)).max(1e-3 * high.abs().max(low.abs())).max(least_half);
        Self { origin: 0.5 * (low + high), turns: 0.5 / (OUTPUT_MARGIN * half), leave: 0.0, step: None }
    }

    /// The middle of what a function takes at both ends of the half turn.
    ///
    /// A table goes on past its half turn as its own negation. Around this value that continues the function without a
    /// jump: a sigmoid keeps saturating, a straight line turns back, and no value changes sign.
    fn middle_of(&self, function: &Function) -> f64 {
        let ends = [self.origin, self.origin + 0.5 / self.turns].map(|z| function.evaluate(z));
        if ends.iter().all(|y| y.is_finite()) { f64::midpoint(ends[0], ends[1]) } else { 0.0 }
    }
}

/// How far rows go that read nothing but steps, which have two values each.
struct Reaches {
    channels: Vec<Vec<Option<(f64, f64)>>>,
    outputs: Vec<Option<(f64, f64)>>,
}

impl Reaches {
    fn of(network: &Network) -> Self {
        let mut values: Vec<Option<(f64, f64)>> = vec![None; network.input.len()];
        let mut channels = Vec::with_capacity(network.stages.len());
        for stage in &network.stages {
            let mut own: Vec<Option<(f64, f64)>> =
                vec![Some((f64::INFINITY, f64::NEG_INFINITY)); stage.functions.len()];
            for (row, &channel) in stage.rows.iter().zip(&stage.channel) {
                let both = own[channel as usize].zip(reach(row, &values));
                own[channel as usize] = both.map(|((low, high), (least, most))| (low.min(least), high.max(most)));
            }
            let of_function = |function: &Function| {
                let step = function.step()?;
                let far = 1.0 + step.abs();
                let (below, above) = (function.evaluate(step - far), function.evaluate(step + far));
                Some((below.min(above), below.max(above)))
            };
            let of_functions: Vec<_> = stage.functions.iter().map(of_function).collect();
            values.extend(stage.channel.iter().map(|&channel| of_functions[channel as usize]));
            channels.push(own);
        }
        Self { channels, outputs: network.output_rows.iter().map(|row| reach(row, &values)).collect() }
    }
}

/// Least and largest sum of a row of values whose own are known.
fn reach(row: &Row, values: &[Option<(f64, f64)>]) -> Option<(f64, f64)> {
    row.taps.iter().try_fold((row.bias, row.bias), |(low, high), tap| {
        let (least, most) = values[tap.source as usize]?;
        let ends = [least, most].map(|value| f64::from(tap.weight) * value);
        Some((low + ends[0].min(ends[1]), high + ends[0].max(ends[1])))
    })
}

/// Sources of one scale: the inputs, or one channel of a stage.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Noise variance of its ciphertexts, in turns squared.
    variance: f64,
    /// Value at phase 0.
    origin: f64,
    /// Turns a unit; found from the sums below.
    turns: f64,
    /// `sum (W t)^2` over the taps that read it.
    squared_weights: f64,
    /// `sum Var(v)` over the taps that read it.
    value_variance: f64,
    /// Largest `|W t|`.
    largest: f64,
    /// Correlation of neighbouring values.
    correlation: f64,
}

impl Subject<'_> {
    /// Quantises for one parameter set.
    #[must_use]
    pub fn quantise(&self, tfhe: &ParameterSet, settings: &Settings) -> Quantised {
        let table_noise = noise::keyswitch_variance(tfhe) + noise::modulus_switch_variance(tfhe);
        let guard = (settings.guard_sigmas * (2.0 * table_noise).sqrt()).min(0.12);
        let reaches = Reaches::of(self.network);
        let scales: Vec<Vec<Scale>> = self
            .statistics
            .channels
            .iter()
            .zip(self.folded)
            .zip(self.network.stages.iter().zip(&reaches.channels))
            .map(|((channels, &folded), (stage, reaches))| {
                let least = least_half(channels.iter().map(ChannelRange::ends), self.ranges.count);
                let scale =
                    |((range, function), &reach): ((&ChannelRange, &Function), &Option<_>)| match function.step() {
                        _ if folded => Scale::folded(range, settings, least),
                        Some(step) => Scale::of_step(step, range, reach, settings, tfhe.polynomial_size),
                        None => Scale::half_turn(range, guard, settings, least),
                    };
                channels.iter().zip(&stage.functions).zip(reaches).map(scale).collect()
            })
            .collect();
        let output_scales = self.output_scales(&reaches.outputs);
        let group_of = self.group_of_value();
        let mut groups = self.groups(tfhe, &scales);
        self.correlate(&group_of, &mut groups);
        self.account_for_all(&scales, &output_scales, &group_of, &mut groups);
        self.spread_evenly(&mut groups);
        let limit = f64::from((1_u32 << (settings.weight_bits - 1)) - 1);
        for group in &mut groups {
            group.choose_scale(limit);
        }
        let correlations: Vec<f64> = groups.iter().map(|group| group.correlation).collect();
        let groups: Vec<Scale> = groups
            .iter()
            .map(|group| Scale { origin: group.origin, turns: group.turns, leave: 0.0, step: None })
            .collect();
        let encoding =
            Encoding { scales: &scales, outputs: &output_scales, groups: &groups, correlations: &correlations };
        let plan = self.assemble(tfhe, &encoding, limit);
        let leave: f64 = self
            .network
            .stages
            .iter()
            .zip(&scales)
            .map(|(stage, scales)| stage.channel.iter().map(|&c| scales[c as usize].leave).sum::<f64>())
            .sum();
        let mean = leave / self.network.activation_count().max(1) as f64;
        Quantised { plan, leave_log2: mean.max(1e-300).log2() }
    }

    /// Builds the plan for given scales: `groups` holds the inputs' scale, then those of every stage's channels in
    /// order. Its digest is left to whoever keeps the plan ([`crate::tfhe::planner::sizes::complete`]).
    pub(crate) fn assemble(&self, tfhe: &ParameterSet, encoding: &Encoding<'_>, limit: f64) -> Plan {
        let group_of = self.group_of_value();
        let groups: Vec<(f64, f64)> = encoding.groups.iter().map(Scale::pair).collect();
        let rounding = Rounding {
            arch: pulp::Arch::new(),
            group_of: &group_of,
            groups: &groups,
            correlations: encoding.correlations,
            value_mean: &self.statistics.value_mean,
            limit,
        };
        let stages = self.stages(encoding, &rounding);
        let encode = |(row, scale): (&Row, &Scale)| rounding.row(row, scale.pair());
        let rows: Vec<QuantisedRow> = self.network.output_rows.par_iter().zip(encoding.outputs).map(encode).collect();
        Plan {
            params: self.params(tfhe, encoding),
            stages,
            output: factor(rows),
            output_operator: self.network.output_operator.clone(),
        }
    }

    /// Scales of the outputs.
    ///
    /// Outputs of like ranges are values of one quantity, as logits are, and share their range: what one of them has
    /// reached, another may. An output that hardly varied gets a range like the others', and one like the largest value
    /// where there are few inputs.
    fn output_scales(&self, reaches: &[Option<(f64, f64)>]) -> Vec<Scale> {
        // What comparisons that never met on the calibration data may add up to.
        let unseen = |(&(low, high), reach): (&(f64, f64), &Option<(f64, f64)>)| {
            let (middle, most) = (f64::midpoint(low, high), MOST_UNSEEN * 0.5 * (high - low));
            reach.map_or((low, high), |(least, largest)| {
                (low.min(least.max(middle - most)), high.max(largest.min(middle + most)))
            })
        };
        let ranges: Vec<(f64, f64)> = self.ranges.outputs.iter().zip(reaches).map(unseen).collect();
        let is_one_quantity = are_one_quantity(ranges.iter().map(|(low, high)| high - low));
        let (low, high) =
            ranges.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |all, own| (all.0.min(own.0), all.1.max(own.1)));
        let least = least_half(ranges.iter().copied(), self.ranges.count);
        let least = if least > 0.0 { least } else { 1.0 };
        let scale = |&range: &(f64, f64)| Scale::output(if is_one_quantity { (low, high) } else { range }, least);
        ranges.iter().map(scale).collect()
    }

    fn group_of_value(&self) -> Vec<u32> {
        let mut group_of = vec![0; self.network.input.len()];
        let mut first = 1;
        for stage in &self.network.stages {
            group_of.extend(stage.channel.iter().map(|&channel| first + channel));
            first += stage.functions.len() as u32;
        }
        group_of
    }

    fn groups(&self, tfhe: &ParameterSet, scales: &[Vec<Scale>]) -> Vec<Group> {
        let group = |variance, origin| Group {
            variance,
            origin,
            turns: 1.0,
            squared_weights: 0.0,
            value_variance: 0.0,
            largest: 0.0,
            correlation: 0.0,
        };
        let mut groups = vec![group(noise::input_variance(tfhe), 0.0)];
        let bootstrap = noise::bootstrap_variance(tfhe);
        for ((scales, &folded), stage) in scales.iter().zip(self.folded).zip(&self.network.stages) {
            // |z| is negacyclic over the turn only when a quarter turn of input stands for output phase 0.
            let origin = |(scale, function): (&Scale, &Function)| {
                if folded { 0.25 / scale.turns } else { scale.middle_of(function) }
            };
            groups.extend(scales.iter().zip(&stage.functions).map(|pair| group(bootstrap, origin(pair))));
        }
        groups
    }

    /// Mean correlation of neighbours within each group, from sums of their covariances and variances.
    fn correlate(&self, group_of: &[u32], groups: &mut [Group]) {
        let mut sums = vec![(0.0, 0.0); groups.len()];
        for value in 1..group_of.len() {
            let group = group_of[value] as usize;
            if group_of[value - 1] == group_of[value] {
                let variance = &self.statistics.value_variance;
                sums[group].0 += self.statistics.neighbour_covariance[value];
                sums[group].1 += 0.5 * (variance[value] + variance[value - 1]);
            }
        }
        for (group, (covariance, variance)) in groups.iter_mut().zip(sums) {
            group.correlation = if variance > 0.0 { (covariance / variance).clamp(0.0, 0.99) } else { 0.0 };
        }
    }

    /// Takes values that hardly varied to vary a little, beside those of their stage: where weights are rounded for
    /// them as finely as they can be, nothing is gained, and the bootstrap's noise is multiplied by large weights.
    /// Comparisons are left alone: a leaf of a tree that no input reached needs no coarser weights than the others.
    fn spread_evenly(&self, groups: &mut [Group]) {
        let mut first = 1;
        for stage in &self.network.stages {
            let own = &mut groups[first..first + stage.functions.len()];
            let mean = own.iter().map(|group| group.value_variance).sum::<f64>() / own.len().max(1) as f64;
            for (group, _) in own.iter_mut().zip(&stage.functions).filter(|(_, function)| function.step().is_none()) {
                group.value_variance = group.value_variance.max(LEAST_SPREAD * mean);
            }
            first += stage.functions.len();
        }
    }

    /// Counts what the rows of all stages read, and those of the output.
    fn account_for_all(&self, scales: &[Vec<Scale>], outputs: &[Scale], group_of: &[u32], groups: &mut [Group]) {
        let of_stage = |(stage, scales): (&Stage, &Vec<Scale>)| {
            let mut own = groups.to_vec();
            let share = 1.0 / stage.rows.len().max(1) as f64;
            for (row, &channel) in stage.rows.iter().zip(&stage.channel) {
                self.account(row, scales[channel as usize].turns, share, group_of, &mut own);
            }
            own
        };
        let counted: Vec<Vec<Group>> = self.network.stages.par_iter().zip(scales).map(of_stage).collect();
        for own in &counted {
            for (group, counted) in groups.iter_mut().zip(own) {
                group.squared_weights += counted.squared_weights;
                group.value_variance += counted.value_variance;
                group.largest = group.largest.max(counted.largest);
            }
        }
        let share = 1.0 / outputs.len().max(1) as f64;
        for (row, scale) in self.network.output_rows.iter().zip(outputs) {
            self.account(row, scale.turns, share, group_of, groups);
        }
    }

    /// Counts what a row reads, as a share of all rows of its stage: each stage counts the same, few outputs as much as
    /// many units.
    fn account(&self, row: &Row, turns: f64, of_stage: f64, group_of: &[u32], groups: &mut [Group]) {
        let mut before = None;
        for tap in row.taps.iter() {
            let index = group_of[tap.source as usize];
            let group = &mut groups[index as usize];
            let weight = f64::from(tap.weight) * turns;
            let diffused = before == Some((index, tap.source));
            let share = if diffused { 1.0 - group.correlation * group.correlation } else { 1.0 };
            group.squared_weights += of_stage * weight * weight;
            group.value_variance += of_stage * share * self.statistics.value_variance[tap.source as usize];
            group.largest = group.largest.max(weight.abs());
            before = Some((index, tap.source + 1));
        }
    }

    fn stages(&self, encoding: &Encoding<'_>, rounding: &Rounding<'_>) -> Vec<PlanStage> {
        // The inputs' group is the first.
        let functions = self.network.stages.iter().map(|stage| stage.functions.len());
        let firsts: Vec<usize> =
            functions.scan(1, |next, count| Some(std::mem::replace(next, *next + count))).collect();
        let groups = encoding.groups;
        let of_stage = |((stage, scales), &first): ((&Stage, &Vec<Scale>), &usize)| {
            let encode = |(row, &channel): (&Row, &u32)| rounding.row(row, scales[channel as usize].pair());
            let rows: Vec<QuantisedRow> = stage.rows.par_iter().zip(&stage.channel).map(encode).collect();
            let tables =
                stage.functions.iter().zip(scales).zip(&groups[first..]).map(|((function, scale), group)| Table {
                    function: function.clone(),
                    origin: scale.origin,
                    turns_per_unit: scale.turns,
                    step: scale.step,
                    output_origin: group.origin,
                    output_turns_per_unit: group.turns,
                });
            PlanStage {
                name: stage.name.clone(),
                operator: stage.operator.clone(),
                shape: stage.shape.clone(),
                affine: factor(rows),
                table_of_value: stage.channel.clone(),
                tables: tables.collect(),
            }
        };
        self.network.stages.par_iter().zip(encoding.scales).zip(&firsts).map(of_stage).collect()
    }

    fn params(&self, tfhe: &ParameterSet, encoding: &Encoding<'_>) -> Params {
        let outputs = encoding.outputs;
        let (low, high) = self.ranges.input;
        let margin = INPUT_MARGIN * (high - low).max(1e-6 * high.abs().max(low.abs()));
        Params {
            format: FORMAT.into(),
            version: VERSION,
            scheme: Scheme::Tfhe,
            tfhe: *tfhe,
            input: InputEncoding {
                tensor: self.network.input.clone(),
                parts: self.network.inputs.clone(),
                turns_per_unit: encoding.groups[0].turns,
                low: low - margin,
                high: high + margin,
                columns: Columns::default(),
            },
            output: OutputEncoding {
                tensor: self.network.output.clone(),
                turns_per_unit: outputs.iter().map(|scale| scale.turns).collect(),
                offset: outputs.iter().map(|scale| scale.origin).collect(),
                steps: outputs.iter().map(|scale| scale.step).collect(),
                client_ops: self.network.client_ops.clone(),
            },
            plan_digest: String::new(),
            prediction: Prediction {
                security_bits: bits(tfhe),
                loss: Loss::default(),
                p_fail_log2: 0.0,
                bootstraps: self.network.activation_count() as u64,
                thread_seconds_per_input: 0.0,
                evaluation_key_bytes: 0,
                input_bytes: 0,
                output_bytes: 0,
            },
        }
    }
}

impl Group {
    fn choose_scale(&mut self, limit: f64) {
        if self.largest == 0.0 {
            return;
        }
        let smallest = self.largest / limit;
        let spread = self.value_variance / 12.0;
        let best = if spread > 0.0 { (self.variance * self.squared_weights / spread).powf(0.25) } else { smallest };
        self.turns = best.max(smallest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::function::Unary;

    #[test]
    fn tables_go_on_without_a_jump() {
        let scale = Scale { origin: -6.0, turns: 0.5 / 12.0, leave: 0.0, step: None };
        for function in [Unary::Sigmoid, Unary::Tanh, Unary::Silu, Unary::Exp].map(Function::unary) {
            let table = Table {
                output_origin: scale.middle_of(&function),
                function,
                origin: scale.origin,
                turns_per_unit: scale.turns,
                step: None,
                output_turns_per_unit: 1e-4,
            };
            let words: Vec<i32> = table.polynomial(1024).into_iter().map(u32::cast_signed).collect();
            let steps = words.windows(2).map(|pair| (pair[1] - pair[0]).abs()).max().expect("many words");
            // Past its end the table begins again, negated.
            let jump = (-words[0] - words[1023]).abs();
            assert!(jump <= 2 * steps, "{:?}: {jump} where steps are up to {steps}", table.function);
        }
    }
}
