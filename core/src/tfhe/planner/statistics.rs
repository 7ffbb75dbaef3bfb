//! Means, variances and tails of a network over the calibration inputs.

use rayon::prelude::*;

use crate::deadline::{Deadline, Late};
use crate::model::function::Function;
use crate::model::network::{LANES, Lanes, Network, Stage};
use crate::planning::calibration::{Calibration, doubles};
use crate::planning::folds::Folds;
use crate::planning::pooling::are_one_quantity;

/// At most so many table inputs are kept for statistics; beyond, calibration inputs are thinned out.
const MAX_SAMPLES: usize = 1 << 25;
/// Inputs of a fold whose sums are taken in one go.
const GROUP: usize = 64;
/// Share of a channel's largest (or smallest) samples that its exponential tail is fitted to.
const TAIL_SHARE: f64 = 0.02;

/// Statistics of every value and every table input.
pub struct Statistics {
    /// Mean of every value as it will be encoded.
    pub value_mean: Vec<f64>,
    /// Variance of every value as it will be encoded.
    pub value_variance: Vec<f64>,
    /// Covariance of every value with the one before it.
    pub neighbour_covariance: Vec<f64>,
    /// Table inputs of every stage and channel.
    pub channels: Vec<Vec<ChannelRange>>,
}

/// What the network computes on the calibration inputs: sums over each fold, and arguments of some inputs.
pub struct Traces {
    folds: Folds,
    of_fold: Vec<Sums>,
    /// Arguments of all functions, for each input that is kept for statistics.
    arguments: Vec<Option<Vec<f32>>>,
}

/// Sums over some inputs, for every value as it will be encoded.
struct Sums {
    count: usize,
    /// Of the value.
    value: Vec<f64>,
    /// Of its square.
    square: Vec<f64>,
    /// Of its product with the value before it.
    product: Vec<f64>,
}

impl Sums {
    fn new(values: usize) -> Self {
        Self { count: 0, value: vec![0.0; values], square: vec![0.0; values], product: vec![0.0; values] }
    }

    /// Adds the values of some inputs.
    fn add(&mut self, inputs: usize, values: impl Iterator<Item = [f64; LANES]>) {
        self.count += inputs;
        let sums = self.value.iter_mut().zip(&mut self.square).zip(&mut self.product);
        let mut before = [0.0; LANES];
        for (((value, square), product), v) in sums.zip(values) {
            for lane in 0..inputs {
                *value += v[lane];
                *square += v[lane] * v[lane];
                *product += v[lane] * before[lane];
            }
            before = v;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        let pairs =
            [(&mut self.value, &other.value), (&mut self.square, &other.square), (&mut self.product, &other.product)];
        for (own, other) in pairs {
            own.iter_mut().zip(other).for_each(|(sum, more)| *sum += more);
        }
    }
}

impl Traces {
    /// Evaluates the network, which must not multiply, on every calibration input.
    ///
    /// `folded` is the network as it will be encoded: it has the same stages and arguments of functions, and its
    /// functions give the values whose mean and variance are taken. Inputs must have the network's length, and there
    /// must be at least one.
    ///
    /// # Errors
    /// [`Late`] behind the deadline.
    pub fn collect(
        network: &Network,
        folded: &Network,
        (inputs, unseen): (&[Vec<f32>], usize),
        deadline: Deadline,
    ) -> Result<(Calibration, Self), Late> {
        let activations = network.activation_count().max(1);
        let thin_of = |count: usize| (count * activations).div_ceil(MAX_SAMPLES).max(1);
        let seen = inputs.len().saturating_sub(unseen);
        let (thin, thin_unseen) = (thin_of(seen), thin_of(unseen));
        let is_kept = |at: usize| match at.checked_sub(seen) {
            Some(at) => at.is_multiple_of(thin_unseen),
            None => at.is_multiple_of(thin),
        };
        let inputs = doubles(inputs);
        let folds = Folds::new(&inputs, unseen);
        // What is never held out stands behind the folds.
        let rest = folds.numbers().end;
        let parts = folds.numbers().map(|fold| folds.held_out(fold)).chain([folds.never_held_out()]);
        let parts: Vec<Vec<usize>> = parts.collect();
        let groups: Vec<&[usize]> = parts.iter().flat_map(|inputs| inputs.chunks(GROUP)).collect();
        let of_groups: Vec<usize> = groups.iter().map(|group| folds.of(group[0]).unwrap_or(rest)).collect();
        let start = |_: &[usize]| (Sums::new(network.value_count()), Vec::new());
        let functions: Vec<(&Stage, &Stage)> = network.stages.iter().zip(&folded.stages).collect();
        let see = |seen: &mut (Sums, Vec<(usize, Vec<f32>)>), own: &[usize], lanes: &Lanes| {
            seen.0.add(own.len(), encoded(&functions, network.input.len(), lanes));
            for (lane, &at) in own.iter().enumerate().filter(|(_, at)| is_kept(**at)) {
                seen.1.push((at, lanes.arguments.iter().map(|z| z[lane] as f32).collect()));
            }
        };
        let count = inputs.len();
        let (calibration, seen) = Calibration::trace(network, inputs, &groups, deadline, start, see)?;
        let mut of_fold: Vec<Sums> = (0..=rest).map(|_| Sums::new(network.value_count())).collect();
        let mut arguments = vec![None; count];
        for ((sums, kept), fold) in seen.into_iter().zip(of_groups) {
            of_fold[fold].merge(&sums);
            kept.into_iter().for_each(|(at, own)| arguments[at] = Some(own));
        }
        Ok((calibration, Self { folds, of_fold, arguments }))
    }

    /// Counts arguments of the given calibration inputs, and those that lie outside of their channel's range.
    #[must_use]
    pub fn outside(&self, network: &Network, inputs: &[usize], ranges: &[Vec<(f64, f64)>]) -> (usize, usize) {
        let (mut outside, mut total) = (0, 0);
        for arguments in inputs.iter().filter_map(|&input| self.arguments[input].as_ref()) {
            let mut samples = arguments.iter().map(|&z| f64::from(z));
            for (stage, ranges) in network.stages.iter().zip(ranges) {
                for (&channel, z) in stage.channel.iter().zip(samples.by_ref()) {
                    let (low, high) = ranges[channel as usize];
                    outside += usize::from(z < low || z > high);
                }
                total += stage.rows.len();
            }
        }
        (outside, total)
    }

    /// Statistics of the calibration inputs, or of those that a fold does not hold out.
    #[must_use]
    pub fn statistics(&self, network: &Network, without: Option<usize>) -> Statistics {
        let without = without.filter(|_| self.folds.count() > 0);
        let mut sums = Sums::new(network.value_count());
        let kept = self.of_fold.iter().enumerate().filter(|&(fold, _)| Some(fold) != without);
        kept.for_each(|(_, own)| sums.merge(own));
        let is_kept = |input: usize| without.is_none_or(|fold| self.folds.of(input) != Some(fold));
        let arguments = self.arguments.iter().enumerate().filter(|&(input, _)| is_kept(input));
        let arguments: Vec<&[f32]> = arguments.filter_map(|(_, own)| own.as_deref()).collect();
        Statistics::of(network, sums, &arguments)
    }
}

/// The values of some inputs as they will be encoded, for stages as they are and as they will be.
fn encoded<'a>(
    stages: &'a [(&'a Stage, &'a Stage)],
    inputs: usize,
    lanes: &'a Lanes,
) -> impl Iterator<Item = [f64; LANES]> + 'a {
    let functions = stages.iter().flat_map(|(stage, encoded)| {
        let is_other: Vec<bool> = stage.functions.iter().zip(&encoded.functions).map(|(one, two)| one != two).collect();
        stage
            .channel
            .iter()
            .map(move |&channel| is_other[channel as usize].then(|| &encoded.functions[channel as usize]))
    });
    let values = lanes.values[inputs..].iter().zip(&lanes.arguments).zip(functions);
    let value = |((value, argument), function): ((&[f64; LANES], &[f64; LANES]), Option<&Function>)| match function {
        Some(function) => argument.map(|z| function.evaluate(z)),
        None => *value,
    };
    // Values are told apart in single precision.
    let single = |value: [f64; LANES]| value.map(|v| f64::from(v as f32));
    lanes.values[..inputs].iter().copied().chain(values.map(value)).map(single)
}

impl Statistics {
    fn of(network: &Network, sums: Sums, arguments: &[&[f32]]) -> Self {
        let count = sums.count as f64;
        let (mut mean, mut square, mut product) = (sums.value, sums.square, sums.product);
        let mut before = 0.0;
        for ((m, s), p) in mean.iter_mut().zip(&mut square).zip(&mut product) {
            *m /= count;
            *s = (*s / count - *m * *m).max(0.0);
            *p = *p / count - *m * before;
            before = *m;
        }
        let mut offset = 0;
        let channels = network
            .stages
            .iter()
            .map(|stage| {
                let mut samples: Vec<Vec<f32>> = vec![Vec::new(); stage.functions.len()];
                for arguments in arguments {
                    let own = &arguments[offset..offset + stage.rows.len()];
                    for (&z, &channel) in own.iter().zip(&stage.channel) {
                        samples[channel as usize].push(z);
                    }
                }
                offset += stage.rows.len();
                samples.into_par_iter().map(ChannelRange::of).collect()
            })
            .collect();
        Self { value_mean: mean, value_variance: square, neighbour_covariance: product, channels }
    }
}

/// Share of the mean range of units beside one another that each gets at the least.
const LEAST_SHARE: f64 = 0.25;

/// Half of the range that each of some units gets at the least, by the ranges of them all on so many inputs; 0 if they
/// are all zero.
///
/// A unit that hardly varied on the calibration data may do so on new data: it gets a range like the others', and one
/// like the largest value where there are few inputs. Where the units are of different quantities, as comparisons of
/// columns are, the ranges of others say nothing, and only one that did not vary at all is like the narrowest.
#[must_use]
pub fn least_half(ranges: impl ExactSizeIterator<Item = (f64, f64)> + Clone, inputs: usize) -> f64 {
    let count = ranges.len().max(1) as f64;
    let halves = ranges.clone().map(|(low, high)| 0.5 * (high - low));
    if !are_one_quantity(halves.clone()) {
        let narrowest = halves.filter(|&half| half > 0.0).fold(f64::INFINITY, f64::min);
        return LEAST_SHARE * narrowest;
    }
    let mean_half = halves.sum::<f64>() / count;
    let largest = ranges.fold(0.0_f64, |most, (low, high)| most.max(low.abs()).max(high.abs()));
    (LEAST_SHARE * mean_half).max(largest / inputs.max(1) as f64)
}

/// Range of the table inputs of one channel, and how their tails fall off.
#[derive(Clone, Debug)]
pub struct ChannelRange {
    /// Smallest sample.
    pub low: f64,
    /// Largest sample.
    pub high: f64,
    /// Exponential tail above: start, and mean excess.
    pub upper: Tail,
    /// Exponential tail below (of the negated samples).
    pub lower: Tail,
    /// Number of samples.
    pub count: usize,
}

/// `P(x > start + e) = share * exp(-e / excess)`: a peaks-over-threshold fit (generalised Pareto with shape 0).
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// Threshold.
    pub start: f64,
    /// Share of the samples above the threshold.
    pub share: f64,
    /// Mean excess over the threshold.
    pub excess: f64,
}

impl Tail {
    fn fit(sorted_from_largest: impl Iterator<Item = f64>, count: usize) -> Self {
        let above = ((count as f64 * TAIL_SHARE) as usize).clamp(1, count);
        let top: Vec<f64> = sorted_from_largest.take(above + 1).collect();
        let start = top[top.len() - 1];
        let excess = top.iter().map(|x| x - start).sum::<f64>() / above as f64;
        Self { start, share: above as f64 / count as f64, excess }
    }

    /// Probability of exceeding `bound`.
    #[must_use]
    pub fn probability(&self, bound: f64) -> f64 {
        if bound <= self.start {
            return self.share;
        }
        if self.excess <= 0.0 { 0.0 } else { self.share * (-(bound - self.start) / self.excess).exp() }
    }

    /// Bound that is exceeded with the given probability.
    #[must_use]
    pub fn quantile(&self, probability: f64) -> f64 {
        self.start + self.excess * (self.share / probability).ln().max(0.0)
    }
}

impl ChannelRange {
    /// Smallest and largest sample.
    #[must_use]
    pub fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// What is exceeded on each side with that probability by the tails, and a factor wider, at least so much on both
    /// sides of the middle.
    #[must_use]
    pub fn widened(&self, tail: f64, widening: f64, least_half: f64) -> (f64, f64) {
        let (low, high) = (-self.lower.quantile(tail), self.upper.quantile(tail));
        let (middle, half) = (f64::midpoint(low, high), (0.5 * widening * (high - low)).max(least_half));
        (middle - half, middle + half)
    }

    fn of(mut samples: Vec<f32>) -> Self {
        samples.sort_unstable_by(f32::total_cmp);
        let count = samples.len();
        let (low, high) = (f64::from(samples[0]), f64::from(samples[count - 1]));
        let upper = Tail::fit(samples.iter().rev().map(|&x| f64::from(x)), count);
        let lower = Tail::fit(samples.iter().map(|&x| -f64::from(x)), count);
        Self { low, high, upper, lower, count }
    }
}
