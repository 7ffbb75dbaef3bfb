//! Polynomials for deep networks.
//!
//! The polynomial of a stage is fitted on the arguments that it really gets, behind the polynomials before it, to the
//! value that the network itself has there. So it also corrects what came before, as far as the argument tells. Inputs
//! are evaluated side by side, and only values that are still read are kept.

use rayon::prelude::*;

use crate::ckks::plan::activation::{Activation, Form};
use crate::ckks::plan::chebyshev::{self, FIFTEENTH, SEVENTH};
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork, PolynomialStage, Scaling};
use crate::ckks::planner::least_squares::solve;
use crate::deadline::{Deadline, Late};
use crate::device::simd::for_each_arch;
use crate::model::network::{Network, Row, Stage};

/// Inputs side by side.
const LANES: usize = 16;
/// Values of all inputs that are held at one time, in bytes: more inputs are left out evenly.
const MOST_BYTES: usize = 3 << 30;
/// Stretches of a channel's range that samples are gathered in.
const BINS: usize = 1024;
/// Share of the weight on a uniform grid over the widened range, and its points.
const GRID_SHARE: f64 = 0.05;
const GRID: usize = 64;
/// What a channel's range is at the least, over the widest one of its stage: noise in a narrow one would be multiplied.
const LEAST_RANGE: f64 = 1.0 / 64.0;
/// The bound of a channel's values over the largest that was seen.
const BOUND_MARGIN: f64 = 1.5;
/// log2 of the scale of arguments and values, next to which the primes lie.
const SCALE_LOG2: u32 = 29;

type Lane = [f32; LANES];

/// How much wider than the calibrated range fits of a degree reach.
fn widening(degree: usize) -> f64 {
    if degree > 7 { 1.4 } else { 1.25 }
}

/// Some inputs, and what the network and the polynomials make of them.
struct Group {
    count: usize,
    /// Tensors that are still read, one after the other.
    exact: Vec<Lane>,
    own: Vec<Lane>,
}

/// Where tensors begin: among all values, and among those that are held.
#[derive(Clone)]
struct Places {
    firsts: Vec<usize>,
    held: Vec<Option<usize>>,
}

impl Places {
    /// A row's terms as places among the values that are held.
    fn taps(&self, row: &Row, taps: &mut Vec<(u32, f32)>) {
        taps.clear();
        let mut tensor = 0;
        for tap in row.taps.iter() {
            let source = tap.source as usize;
            if source < self.firsts[tensor] {
                tensor = 0;
            }
            while source >= self.firsts[tensor + 1] {
                tensor += 1;
            }
            let held = self.held[tensor].unwrap_or_default();
            taps.push(((source - self.firsts[tensor] + held) as u32, tap.weight));
        }
    }
}

for_each_arch! {
    fn sum_of_taps = sum_body, (bias: f32, taps: &[(u32, f32)], values: &[Lane], out: &mut Lane)
}

#[inline(always)]
fn sum_body(bias: f32, taps: &[(u32, f32)], values: &[Lane], out: &mut Lane) {
    let mut sum = [bias; LANES];
    for &(source, weight) in taps {
        let value = &values[source as usize];
        for lane in 0..LANES {
            sum[lane] += weight * value[lane];
        }
    }
    *out = sum;
}

/// What a channel's samples look like.
#[derive(Clone)]
struct Samples {
    /// For each stretch of the range how many there are, and the sums of arguments and targets.
    bins: Vec<[f64; 3]>,
}

/// Fits polynomials of a degree, 7 or 15, to a network without products.
///
/// # Errors
/// [`Late`] behind the deadline.
///
/// # Panics
/// Without inputs.
pub fn fit_deep(
    network: &Network,
    inputs: &[&[f32]],
    degree: usize,
    deadline: Deadline,
) -> Result<PolynomialNetwork, Late> {
    assert!(!inputs.is_empty(), "a fit needs inputs");
    let last_reads = last_reads(network);
    let firsts: Vec<usize> = std::iter::once(0).chain(network.stage_offsets()).collect();
    let step = inputs.len().div_ceil((MOST_BYTES / most_held_bytes(&firsts, &last_reads)).max(1));
    let inputs: Vec<&[f32]> = inputs.iter().step_by(step).copied().collect();
    let mut places = Places { held: vec![None; firsts.len() - 1], firsts };
    places.held[0] = Some(0);
    let group = |inputs: &[&[f32]]| {
        let lane = |at: usize| std::array::from_fn(|lane| inputs.get(lane).map_or(0.0, |input| input[at]));
        let exact: Vec<Lane> = (0..network.input.len()).map(lane).collect();
        Group { count: inputs.len(), own: exact.clone(), exact }
    };
    let mut groups: Vec<Group> = inputs.chunks(LANES).map(group).collect();
    let mut stages = Vec::with_capacity(network.stages.len());
    for (at, stage) in network.stages.iter().enumerate() {
        deadline.check()?;
        let (arguments, targets) = stage_in_lanes(stage, &places, &groups);
        let (activations, series) = fit_stage(stage, &arguments, &targets, &groups, degree);
        for ((group, arguments), targets) in groups.iter_mut().zip(arguments).zip(targets) {
            group.exact.extend(targets);
            group.own.extend(arguments);
        }
        let start = groups[0].own.len() - stage.rows.len();
        places.held[at + 1] = Some(start);
        groups.par_iter_mut().for_each(|group| {
            for (value, &channel) in group.own[start..].iter_mut().zip(&stage.channel) {
                *value = value.map(|x| series[channel as usize].value(f64::from(x)) as f32);
            }
        });
        keep_read(&mut places, &mut groups, &last_reads, at);
        stages.push(PolynomialStage {
            name: stage.name.clone(),
            operator: stage.operator.clone(),
            shape: stage.shape.clone(),
            rows: stage.rows.clone(),
            factors: Vec::new(),
            channel: stage.channel.clone(),
            activations,
            scaling: Scaling { argument_log2: Some(SCALE_LOG2), rescales: true, closing: Closing::Value },
        });
    }
    let outputs = rows_in_lanes(&network.output_rows, &places, &groups, |group| &group.own);
    let largest = |(lanes, group): (&Vec<Lane>, &Group)| {
        lanes.iter().flat_map(|lane| &lane[..group.count]).fold(0.0_f64, |most, &y| most.max(f64::from(y.abs())))
    };
    Ok(PolynomialNetwork {
        input: network.input.clone(),
        inputs: network.inputs.clone(),
        stages,
        output: network.output.clone(),
        output_bound: outputs.iter().zip(&groups).map(largest).fold(0.0, f64::max),
        output_rows: network.output_rows.clone(),
        output_operator: network.output_operator.clone(),
        client_ops: network.client_ops.clone(),
        refresh: None,
    })
}

/// For each tensor the last map that reads it.
fn last_reads(network: &Network) -> Vec<usize> {
    let offsets = network.stage_offsets();
    let mut last = vec![0; offsets.len()];
    let maps = network.stages.iter().map(|stage| &stage.rows).chain([&network.output_rows]);
    for (at, rows) in maps.enumerate() {
        for tap in rows.iter().flat_map(|row| row.taps.iter()) {
            let tensor = offsets.partition_point(|&first| first <= tap.source as usize);
            last[tensor] = at;
        }
    }
    last
}

/// Bytes that an input's values take at one time at the most.
fn most_held_bytes(firsts: &[usize], last_reads: &[usize]) -> usize {
    let length = |tensor: usize| firsts[tensor + 1] - firsts[tensor];
    let held = |at: usize| -> usize {
        (0..=at.min(last_reads.len() - 1)).filter(|&tensor| last_reads[tensor] >= at).map(length).sum()
    };
    let most = (0..=last_reads.len()).map(|at| held(at) + last_reads.get(at + 1).map_or(0, |_| length(at + 1)));
    2 * size_of::<f32>() * most.max().unwrap_or(1).max(1)
}

/// For each group the sums of rows.
fn rows_in_lanes(rows: &[Row], places: &Places, groups: &[Group], of: fn(&Group) -> &Vec<Lane>) -> Vec<Vec<Lane>> {
    let arch = pulp::Arch::new();
    let group = |group: &Group| {
        let (values, mut taps) = (of(group), Vec::new());
        let mut sums = vec![[0.0; LANES]; rows.len()];
        for (row, sum) in rows.iter().zip(&mut sums) {
            places.taps(row, &mut taps);
            sum_of_taps(arch, row.bias as f32, &taps, values, sum);
        }
        sums
    };
    groups.par_iter().map(group).collect()
}

/// For each group the arguments behind the polynomials, and the values that the network has.
fn stage_in_lanes(stage: &Stage, places: &Places, groups: &[Group]) -> (Vec<Vec<Lane>>, Vec<Vec<Lane>>) {
    let arguments = rows_in_lanes(&stage.rows, places, groups, |group| &group.own);
    let mut targets = rows_in_lanes(&stage.rows, places, groups, |group| &group.exact);
    targets.par_iter_mut().for_each(|targets| {
        for (target, &channel) in targets.iter_mut().zip(&stage.channel) {
            let function = &stage.functions[channel as usize];
            *target = target.map(|x| function.evaluate(f64::from(x)) as f32);
        }
    });
    (arguments, targets)
}

/// Drops tensors that no map behind stage `at` reads.
fn keep_read(places: &mut Places, groups: &mut [Group], last_reads: &[usize], at: usize) {
    let old = places.clone();
    let mut next = 0;
    let mut kept = Vec::new();
    for (tensor, &last) in last_reads.iter().enumerate().take(at + 2) {
        let length = old.firsts[tensor + 1] - old.firsts[tensor];
        places.held[tensor] = old.held[tensor].filter(|_| last > at).map(|held| {
            kept.push(held..held + length);
            next += length;
            next - length
        });
    }
    groups.par_iter_mut().for_each(|group| {
        for values in [&mut group.exact, &mut group.own] {
            *values = kept.iter().flat_map(|range| &values[range.clone()]).copied().collect();
        }
    });
}

/// A polynomial by its coefficients of `T_0, T_1, …`.
struct Series {
    centre: f64,
    radius: f64,
    coefficients: Vec<f64>,
}

impl Series {
    /// By Clenshaw's recurrence.
    fn value(&self, x: f64) -> f64 {
        let u = (x - self.centre) / self.radius;
        let (mut one, mut two) = (0.0, 0.0);
        for &c in self.coefficients[1..].iter().rev() {
            (one, two) = (c + 2.0 * u * one - two, one);
        }
        self.coefficients[0] + u * one - two
    }
}

/// The polynomials of a stage, with values over their bounds; and as they are.
fn fit_stage(
    stage: &Stage,
    arguments: &[Vec<Lane>],
    targets: &[Vec<Lane>],
    groups: &[Group],
    degree: usize,
) -> (Vec<Activation>, Vec<Series>) {
    let channels = stage.functions.len();
    let nothing = || vec![(f64::INFINITY, f64::NEG_INFINITY); channels];
    let of_group = |(lanes, group): (&Vec<Lane>, &Group)| {
        let mut ranges = nothing();
        for (lane, &channel) in lanes.iter().zip(&stage.channel) {
            for &x in &lane[..group.count] {
                let range = &mut ranges[channel as usize];
                *range = (range.0.min(f64::from(x)), range.1.max(f64::from(x)));
            }
        }
        ranges
    };
    let join = |a: Vec<(f64, f64)>, b: Vec<(f64, f64)>| {
        a.into_iter().zip(b).map(|(a, b): ((f64, f64), (f64, f64))| (a.0.min(b.0), a.1.max(b.1))).collect()
    };
    let seen: Vec<(f64, f64)> = arguments.par_iter().zip(groups).map(of_group).reduce(nothing, join);
    let widest = seen.iter().map(|(low, high)| (high - low) / 2.0).fold(1e-9, f64::max);
    // A channel without rows has no range.
    let range = |&(low, high): &(f64, f64)| {
        let half = ((high - low) / 2.0).max(LEAST_RANGE * widest) * widening(degree);
        if low <= high { (f64::midpoint(low, high), half) } else { (0.0, widest) }
    };
    let ranges: Vec<(f64, f64)> = seen.iter().map(range).collect();
    let samples = gather(stage, (arguments, targets), groups, &ranges);
    let fitted: Vec<(Series, f64)> = (0..channels)
        .into_par_iter()
        .map(|channel| {
            fit_channel(&samples[channel], ranges[channel], degree, |x| stage.functions[channel].evaluate(x))
        })
        .collect();
    let largest = fitted.iter().map(|(_, bound)| *bound).fold(1e-9, f64::max);
    let activation = |(series, bound): &(Series, f64)| {
        let gain = bound.max(LEAST_RANGE * largest) * BOUND_MARGIN;
        let over: Vec<f64> = series.coefficients.iter().map(|c| c / gain).collect();
        let form = match (<&[f64; SEVENTH]>::try_from(&over[..]), <&[f64; FIFTEENTH]>::try_from(&over[..])) {
            (Ok(seven), _) => Form::Seventh { gain, constants: chebyshev::seventh(seven) },
            (_, Ok(fifteen)) => Form::Fifteenth { gain, constants: chebyshev::fifteenth(fifteen) },
            _ => Form::Seventh { gain, constants: [0.0; SEVENTH] },
        };
        Activation { centre: series.centre, radius: series.radius / 2.0, form }
    };
    (fitted.iter().map(activation).collect(), fitted.into_iter().map(|(series, _)| series).collect())
}

/// The samples of each channel in stretches of its range.
fn gather(
    stage: &Stage,
    (arguments, targets): (&[Vec<Lane>], &[Vec<Lane>]),
    groups: &[Group],
    ranges: &[(f64, f64)],
) -> Vec<Samples> {
    let nothing = || vec![Samples { bins: vec![[0.0; 3]; BINS] }; ranges.len()];
    let add = |mut all: Vec<Samples>, ((arguments, targets), group): ((&Vec<Lane>, &Vec<Lane>), &Group)| {
        for ((lane, target), &channel) in arguments.iter().zip(targets).zip(&stage.channel) {
            let (centre, radius) = ranges[channel as usize];
            let bins = &mut all[channel as usize].bins;
            for (&x, &y) in lane[..group.count].iter().zip(target) {
                let u = (f64::from(x) - centre) / radius;
                let bin = ((u + 1.0) / 2.0 * BINS as f64).clamp(0.0, (BINS - 1) as f64) as usize;
                let [count, sum, values] = &mut bins[bin];
                *count += 1.0;
                *sum += u;
                *values += f64::from(y);
            }
        }
        all
    };
    let join = |mut a: Vec<Samples>, b: Vec<Samples>| {
        for (to, from) in a.iter_mut().zip(b).flat_map(|(a, b)| a.bins.iter_mut().zip(b.bins)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        a
    };
    arguments.par_iter().zip(targets).zip(groups).fold(nothing, add).reduce(nothing, join)
}

/// The weighted least-squares fit, and the largest magnitude of a value on the samples.
fn fit_channel(
    samples: &Samples,
    (centre, radius): (f64, f64),
    degree: usize,
    function: impl Fn(f64) -> f64,
) -> (Series, f64) {
    let size = degree + 1;
    let mut normal = vec![vec![0.0; size + 1]; size];
    let mut add = |u: f64, weight: f64, value: f64| {
        let mut basis = vec![1.0, u];
        for at in 2..size {
            basis.push(2.0 * u * basis[at - 1] - basis[at - 2]);
        }
        for (row, own) in normal.iter_mut().zip(&basis) {
            for (entry, other) in row.iter_mut().zip(&basis) {
                *entry += weight * own * other;
            }
            row[size] += weight * own * value;
        }
    };
    let all: f64 = samples.bins.iter().map(|bin| bin[0]).sum();
    let filled = samples.bins.iter().filter(|bin| bin[0] > 0.0);
    let means: Vec<(f64, f64, f64)> = filled.map(|&[count, u, y]| (count / all, u / count, y / count)).collect();
    means.iter().for_each(|&(share, u, y)| add(u, (1.0 - GRID_SHARE) * share, y));
    for at in 0..GRID {
        let u = (2.0 * at as f64 + 1.0) / GRID as f64 - 1.0;
        add(u, GRID_SHARE / GRID as f64, function(centre + radius * u));
    }
    let series = Series { centre, radius, coefficients: solve(normal) };
    let reach = |&(_, u, y): &(f64, f64, f64)| series.value(centre + radius * u).abs().max(y.abs());
    let bound = means.iter().map(reach).fold(0.0, f64::max);
    (series, bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::function::{Function, Unary};
    use crate::model::network::{Tap, TensorInfo};

    /// Stages of rectified pairs, each with the pair before it added.
    fn network(stages: usize) -> Network {
        let tensor = |name: &str| TensorInfo { name: name.into(), shape: vec![1, 2] };
        let rows = |stage: usize| -> Vec<Row> {
            let row = |at: usize| {
                let before = (stage > 0).then(|| Tap { source: (2 * stage - 2 + at) as u32, weight: 0.5 });
                let taps = [(2 * stage, 0.8_f32), (2 * stage + 1, at as f32 - 0.7)];
                let taps = taps.map(|(source, weight)| Tap { source: source as u32, weight });
                Row { bias: 0.05, taps: before.into_iter().chain(taps).collect() }
            };
            (0..2).map(row).collect()
        };
        let stage = |at: usize| Stage {
            name: format!("stage {at}"),
            operator: "Gemm".into(),
            shape: vec![1, 2],
            rows: rows(at),
            factors: Vec::new(),
            channel: vec![0, 1],
            functions: vec![Function::unary(Unary::Relu); 2],
        };
        Network {
            input: tensor("x"),
            inputs: vec![tensor("x")],
            stages: (0..stages).map(stage).collect(),
            output: tensor("y"),
            output_rows: rows(stages),
            output_operator: "Gemm".into(),
            client_ops: ClientOps::default(),
        }
    }

    fn inputs(count: usize, phase: f32) -> Vec<Vec<f32>> {
        (0..count).map(|at| vec![(at as f32 + phase).sin(), (0.7 * at as f32 + phase).cos()]).collect()
    }

    #[test]
    fn deep_networks_stay_close_and_the_higher_degree_is_closer() {
        let network = network(12);
        let calibration = inputs(401, 0.0);
        let calibration: Vec<&[f32]> = calibration.iter().map(Vec::as_slice).collect();
        let error = |degree: usize| -> f64 {
            let fitted = fit_deep(&network, &calibration, degree, Deadline::NEVER).expect("there is time");
            assert_eq!(fitted.check(), Ok(()));
            let off = |input: &Vec<f32>| -> f64 {
                let exact = network.evaluate(&[f64::from(input[0]), f64::from(input[1])]).1;
                exact.iter().zip(fitted.evaluate(input)).map(|(a, b)| (a - b).powi(2)).sum()
            };
            inputs(100, 0.35).iter().map(off).sum::<f64>().sqrt()
        };
        let size = inputs(100, 0.35).into_iter().map(|x| network.evaluate(&[f64::from(x[0]), f64::from(x[1])]).1);
        let size = size.flatten().map(|y| y * y).sum::<f64>().sqrt();
        let (seven, fifteen) = (error(7) / size, error(15) / size);
        assert!(fifteen < seven && seven < 0.15, "{seven} {fifteen}");
    }

    #[test]
    fn values_over_their_bounds_stay_within_one() {
        let network = network(6);
        let calibration = inputs(200, 0.0);
        let few: Vec<&[f32]> = calibration.iter().map(Vec::as_slice).collect();
        let fitted = fit_deep(&network, &few, 7, Deadline::NEVER).expect("there is time");
        for input in &calibration {
            let values = fitted.all_values(input.iter().map(|&x| f64::from(x)).collect(), &mut |_| 0.0).0;
            let mut first = 2;
            for stage in &fitted.stages {
                for row in 0..2 {
                    assert!((values[first + row] / stage.activation(row).form.gain()).abs() < 1.0);
                }
                first += 2;
            }
        }
    }
}
