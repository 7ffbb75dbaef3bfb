#![doc = include_str!("output_kind.md")]

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::client_op::argmax;
use crate::model::network::{Network, Row};
use crate::planning::task::Task;

/// More elements than this are one signal or embedding, not targets that somebody looks at one by one.
const MOST_TARGETS: usize = 32;
/// Shares that add up to 1 do so within this.
const UNIT_TOLERANCE: f64 = 1e-3;
/// A deviation below this share of the largest magnitude is rounding.
const ROUNDING: f64 = 1e-9;
/// Logits of different classes deviate by factors below this.
const MOST_DEVIATION_RATIO: f64 = 20.0;
/// Numbers of a tensor vary together for many reasons: it must be plainer there that they are logits.
const MOST_SHARED_IN_TENSORS: f64 = 0.5;
/// Means of logits lie within so many deviations of one another.
const MOST_MEAN_DISTANCE: f64 = 3.0;

/// What an output says, and by that how two outputs are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutputKind {
    /// One number an input; what counts is whether it lies above the threshold.
    Decision {
        /// 0 for logits and for -1 and 1, a half for probabilities and for booleans.
        threshold: f64,
    },
    /// Several numbers an input, each a decision of its own: several labels that may hold at once, or booleans.
    Labels {
        /// As in [`OutputKind::Decision`].
        threshold: f64,
    },
    /// One class for each position: where the largest number along the axis is. A classifier of whole inputs has one
    /// position, segmentation has many.
    Classes {
        /// Axis of the output's shape, the leading 1 counted.
        axis: usize,
    },
    /// Few quantities with meanings and units of their own: each is compared with its own deviation.
    Targets,
    /// A vector whose direction counts: errors are compared with the length of what is centred, and angles.
    Embedding,
    /// Many values of one quantity, like the pixels of an image: errors are compared with the deviation of them all.
    Signal,
    /// The same for every input: errors can be stated in the output's own unit only.
    Constant,
}

impl OutputKind {
    /// What is decided for each position or label: the number of a class, or 0 and 1; empty where nothing is decided.
    ///
    /// `values` is the output of one input, in the row-major order of `shape`.
    #[must_use]
    pub fn decisions(&self, values: &[f64], shape: &[usize]) -> Vec<usize> {
        match *self {
            Self::Classes { axis } => argmax(values, shape, axis),
            Self::Decision { threshold } | Self::Labels { threshold } => {
                values.iter().map(|&value| usize::from(value > threshold)).collect()
            }
            Self::Targets | Self::Embedding | Self::Signal | Self::Constant => Vec::new(),
        }
    }

    /// Whether something is decided: agreement is counted then, and errors are measured otherwise.
    #[must_use]
    pub fn decides(&self) -> bool {
        matches!(self, Self::Decision { .. } | Self::Labels { .. } | Self::Classes { .. })
    }
}

/// What the network's structure says about an output.
#[derive(Clone, Copy, Debug)]
pub struct OutputFacts<'a> {
    /// Shape, the leading batch axis of 1 included where the model has one.
    pub shape: &'a [usize],
    /// Axis along which the client takes the largest number after decryption, or makes shares of 1.
    pub class_axis: Option<usize>,
    /// Where the client's decision changes on each number, if there is one, as 0 in front of its sigmoid.
    pub threshold: Option<f64>,
    /// Whether each element is a function that rises or falls from 0 to 1 or back, like a sigmoid or a step.
    pub saturates: bool,
    /// Elements of the network's input.
    pub input_len: usize,
}

impl<'a> OutputFacts<'a> {
    /// The facts about a network's output.
    #[must_use]
    pub fn of(network: &'a Network) -> Self {
        let class_axis = network.client_ops.class_axis();
        let thresholds = network.client_ops.thresholds(&network.output.shape);
        let common = thresholds.first().copied().flatten();
        let threshold = common.filter(|_| class_axis.is_none() && thresholds.iter().all(|&own| own == common));
        Self {
            shape: &network.output.shape,
            class_axis,
            threshold,
            saturates: saturates(network, &network.output_rows),
            input_len: network.input.len(),
        }
    }
}

/// Whether each row is one value of a function with the limits 0 and 1, or 1 and 0.
#[must_use]
pub fn saturates(network: &Network, rows: &[Row]) -> bool {
    let offsets = network.stage_offsets();
    let limits = |row: &Row| -> Option<(f64, f64)> {
        let [tap] = row.taps.as_ref() else { return None };
        let made_by = network.made_by(&offsets, tap.source as usize);
        let (stage, row_of_stage) = made_by.filter(|(stage, _)| stage.factors.is_empty())?;
        let function = &stage.functions[stage.channel[row_of_stage] as usize];
        let end = |x: f64| row.bias + f64::from(tap.weight) * function.evaluate(x);
        Some((end(-1e4), end(1e4)))
    };
    let near = |x: f64, y: f64| (x - y).abs() < 1e-6;
    !rows.is_empty()
        && rows
            .iter()
            .all(|row| limits(row).is_some_and(|(low, high)| near(low.min(high), 0.0) && near(low.max(high), 1.0)))
}

/// What an output says, by the network's end and by the outputs of the calibration inputs, one vector an input before
/// the client's operators. With [`Task::Classify`] and [`Task::Regress`] the caller has decided, and only the axis, the
/// threshold or the measure of the error is chosen.
#[must_use]
pub fn kind_of(facts: &OutputFacts<'_>, outputs: &[Vec<f64>], task: Task) -> OutputKind {
    if task != Task::Regress {
        if let Some(axis) = facts.class_axis.filter(|&axis| facts.shape.get(axis).is_some_and(|&length| length > 1)) {
            return OutputKind::Classes { axis };
        }
        if let Some(threshold) = facts.threshold {
            return decision(facts.shape, threshold);
        }
        if let Some(kind) = decided(facts, outputs, task == Task::Classify) {
            return kind;
        }
    }
    let elements: usize = facts.shape.iter().product();
    let vector = facts.shape.iter().filter(|&&d| d > 1).count() <= 1;
    if constant(outputs) {
        OutputKind::Constant
    } else if !vector || (elements == facts.input_len && elements > MOST_TARGETS) {
        OutputKind::Signal
    } else if elements > MOST_TARGETS || (elements > 1 && outputs.iter().all(|y| unit_length(y))) {
        OutputKind::Embedding
    } else {
        OutputKind::Targets
    }
}

/// A decision for each number.
fn decision(shape: &[usize], threshold: f64) -> OutputKind {
    match shape.iter().product() {
        1_usize => OutputKind::Decision { threshold },
        _ => OutputKind::Labels { threshold },
    }
}

/// A kind with decisions; one must be found where `forced`, but for outputs without elements.
fn decided(facts: &OutputFacts<'_>, outputs: &[Vec<f64>], forced: bool) -> Option<OutputKind> {
    let elements: usize = facts.shape.iter().product();
    let within = |low: f64, high: f64| outputs.iter().flatten().all(|&y| (low..=high).contains(&y));
    let only = |a: f64, b: f64| outputs.iter().flatten().all(|&y| (y - a).abs() < 1e-9 || (y - b).abs() < 1e-9);
    let each = |threshold: f64| decision(facts.shape, threshold);
    let axes = class_axes(facts.shape);
    let shares = axes.iter().copied().find(|&axis| outputs.iter().all(|y| shares(y, facts.shape, axis)));
    if let Some(axis) = shares.filter(|_| !outputs.is_empty()) {
        return Some(OutputKind::Classes { axis });
    }
    if !constant(outputs) && only(0.0, 1.0) {
        return Some(each(0.5));
    }
    if !constant(outputs) && only(-1.0, 1.0) {
        return Some(each(0.0));
    }
    let image =
        facts.shape.iter().filter(|&&d| d > 1).count() > 1 || (elements == facts.input_len && elements > MOST_TARGETS);
    if facts.saturates && !image && within(0.0, 1.0) {
        return Some(each(0.5));
    }
    if elements == 1 {
        let threshold = if within(0.0, 1.0) { 0.5 } else { 0.0 };
        return forced.then_some(OutputKind::Decision { threshold });
    }
    let likely = axes.iter().map(|&axis| (axis, Contrast::of(outputs, facts.shape, axis)));
    let (axis, contrast) = likely.min_by(|(_, a), (_, b)| a.shared.total_cmp(&b.shared))?;
    let reconstructs = elements == facts.input_len && elements > MOST_TARGETS;
    (forced || (!reconstructs && contrast.looks_like_logits(axes.len() == 1))).then_some(OutputKind::Classes { axis })
}

/// Axes that classes may lie along: the only one, or the first and the last behind the batch.
fn class_axes(shape: &[usize]) -> Vec<usize> {
    let long: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis] > 1).collect();
    match *long.as_slice() {
        [] => Vec::new(),
        [axis] => vec![axis],
        _ => {
            let batch = usize::from(shape[0] == 1);
            let ends = [shape.len() - 1, batch];
            // Where one end is 1, the tensor has one channel, and the other end is a place.
            if ends.iter().any(|&axis| shape[axis] == 1) { Vec::new() } else { ends.to_vec() }
        }
    }
}

/// The vectors along an axis, one a position.
fn vectors<'a>(values: &'a [f64], shape: &[usize], axis: usize) -> impl Iterator<Item = Vec<f64>> + 'a {
    let length = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    (0..outer * inner).map(move |at| {
        let start = at / inner * length * inner + at % inner;
        (0..length).map(|class| values[start + class * inner]).collect()
    })
}

/// Whether the numbers along the axis are probabilities that add up to 1, or their logarithms.
fn shares(values: &[f64], shape: &[usize], axis: usize) -> bool {
    let one = |sum: f64| (sum - 1.0).abs() < UNIT_TOLERANCE;
    vectors(values, shape, axis).all(|classes| {
        let probabilities = classes.iter().all(|y| (-UNIT_TOLERANCE..=1.0 + UNIT_TOLERANCE).contains(y));
        let logarithms = classes.iter().all(|&y| y <= UNIT_TOLERANCE);
        (probabilities && one(classes.iter().sum())) || (logarithms && one(classes.iter().map(|y| y.exp()).sum()))
    })
}

fn unit_length(values: &[f64]) -> bool {
    (values.iter().map(|y| y * y).sum::<f64>().sqrt() - 1.0).abs() < UNIT_TOLERANCE
}

/// Whether two inputs or more were seen, and no element differs between them.
fn constant(outputs: &[Vec<f64>]) -> bool {
    let Some(first) = outputs.first() else { return false };
    let largest = outputs.iter().flatten().fold(0.0_f64, |most, y| most.max(y.abs()));
    let same = |y: &Vec<f64>| y.iter().zip(first).all(|(a, b)| (a - b).abs() <= ROUNDING * largest);
    outputs.len() > 1 && outputs.iter().all(same)
}

/// How the numbers along an axis vary against one another.
struct Contrast {
    /// Variance of their sum over the sum of their variances: 1 for what is independent, 0 where one rises at the cost
    /// of the others.
    shared: f64,
    /// Largest deviation over the smallest.
    deviation_ratio: f64,
    /// Largest distance of a mean from the mean of all, in deviations.
    mean_distance: f64,
    /// Vectors seen.
    count: usize,
    /// Whether more than one class wins.
    several_win: bool,
    /// Whether two of them are always the same number: nothing decides between copies.
    has_copies: bool,
}

impl Contrast {
    fn of(outputs: &[Vec<f64>], shape: &[usize], axis: usize) -> Self {
        let length = shape[axis];
        let (mut sums, mut squares) = (vec![0.0; length + 1], vec![0.0; length + 1]);
        let (mut count, mut winners) = (0_usize, vec![false; length]);
        let mut hashes = vec![DefaultHasher::new(); length];
        for classes in outputs.iter().flat_map(|y| vectors(y, shape, axis)) {
            let total: f64 = classes.iter().sum();
            for (at, value) in classes.iter().chain([&total]).enumerate() {
                sums[at] += value;
                squares[at] += value * value;
            }
            hashes.iter_mut().zip(&classes).for_each(|(hash, value)| value.to_bits().hash(hash));
            count += 1;
            winners[argmax(&classes, &[length], 0)[0]] = true;
        }
        let means: Vec<f64> = sums.iter().map(|sum| sum / count as f64).collect();
        let variance = |at: usize| (squares[at] / count as f64 - means[at] * means[at]).max(0.0);
        let deviations: Vec<f64> = (0..length).map(|at| variance(at).sqrt()).collect();
        let middle = means[..length].iter().sum::<f64>() / length as f64;
        let typical = deviations.iter().sum::<f64>() / length as f64;
        let farthest = means[..length].iter().fold(0.0_f64, |most, mean| most.max((mean - middle).abs()));
        let (least, most) = deviations.iter().fold((f64::MAX, 0.0_f64), |(l, m), &d| (l.min(d), m.max(d)));
        Self {
            shared: variance(length) / (0..length).map(variance).sum::<f64>(),
            deviation_ratio: most / least,
            mean_distance: farthest / typical,
            count,
            several_win: winners.iter().filter(|&&wins| wins).count() > 1,
            has_copies: hashes.iter().map(Hasher::finish).collect::<HashSet<u64>>().len() < length,
        }
    }

    /// Training by cross entropy leaves logits whose sum hardly varies; the fewer were seen, the clearer it must be.
    fn looks_like_logits(&self, one_position: bool) -> bool {
        let limit = if one_position { 0.85 } else { MOST_SHARED_IN_TENSORS };
        self.shared < limit - 1.0 / (self.count as f64).sqrt()
            && self.deviation_ratio < MOST_DEVIATION_RATIO
            && self.mean_distance < MOST_MEAN_DISTANCE
            && self.several_win
            && !self.has_copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::random::Gaussian;

    fn facts(shape: &[usize]) -> OutputFacts<'_> {
        OutputFacts { shape, class_axis: None, threshold: None, saturates: false, input_len: 20 }
    }

    fn kind(shape: &[usize], outputs: &[Vec<f64>], task: Task) -> OutputKind {
        kind_of(&facts(shape), outputs, task)
    }

    /// Vectors of independent normal numbers.
    fn independent(count: usize, length: usize) -> Vec<Vec<f64>> {
        let mut random = Gaussian::new(7);
        (0..count).map(|_| (0..length).map(|_| random.next()).collect()).collect()
    }

    /// What a linear classifier gives that was trained from zero: its logits add up to a constant.
    fn logits(count: usize, length: usize) -> Vec<Vec<f64>> {
        let mut outputs = independent(count, length);
        for y in &mut outputs {
            let mean = y.iter().sum::<f64>() / length as f64;
            y.iter_mut().for_each(|value| *value = 3.0 * (*value - mean) + 0.5);
        }
        outputs
    }

    #[test]
    fn the_client_s_softmax_says_that_there_are_classes() {
        let facts = OutputFacts { class_axis: Some(1), ..facts(&[1, 3]) };
        assert_eq!(kind_of(&facts, &independent(5, 3), Task::Auto), OutputKind::Classes { axis: 1 });
    }

    #[test]
    fn the_client_s_sigmoid_says_that_each_number_decides() {
        let threshold = Some(0.0);
        let one = OutputFacts { threshold, ..facts(&[1, 1]) };
        assert_eq!(kind_of(&one, &independent(5, 1), Task::Auto), OutputKind::Decision { threshold: 0.0 });
        let three = OutputFacts { threshold, ..facts(&[1, 3]) };
        assert_eq!(kind_of(&three, &independent(5, 3), Task::Auto), OutputKind::Labels { threshold: 0.0 });
    }

    #[test]
    fn independent_numbers_are_targets() {
        assert_eq!(kind(&[1, 3], &independent(200, 3), Task::Auto), OutputKind::Targets);
    }

    #[test]
    fn quantities_with_units_are_targets_though_one_falls_as_the_other_rises() {
        let mut outputs = logits(200, 2);
        outputs.iter_mut().for_each(|y| y[1] += 100.0);
        assert_eq!(kind(&[1, 2], &outputs, Task::Auto), OutputKind::Targets);
    }

    #[test]
    fn numbers_that_rise_at_the_cost_of_the_others_are_logits() {
        assert_eq!(kind(&[1, 10], &logits(200, 10), Task::Auto), OutputKind::Classes { axis: 1 });
        assert_eq!(kind(&[1, 2], &logits(200, 2), Task::Auto), OutputKind::Classes { axis: 1 });
    }

    #[test]
    fn copies_of_one_number_are_no_classes() {
        let mut outputs = logits(200, 10);
        outputs.iter_mut().for_each(|y| y[7] = y[2]);
        assert_eq!(kind(&[1, 10], &outputs, Task::Auto), OutputKind::Targets);
    }

    #[test]
    fn logits_of_one_input_prove_nothing() {
        assert_eq!(kind(&[1, 10], &logits(1, 10), Task::Auto), OutputKind::Targets);
    }

    #[test]
    fn shares_of_one_are_probabilities() {
        let outputs: Vec<Vec<f64>> = (0..9).map(|i| f64::from(i) / 8.0).map(|p| vec![p, 1.0 - p]).collect();
        assert_eq!(kind(&[1, 2], &outputs, Task::Auto), OutputKind::Classes { axis: 1 });
        let logarithms: Vec<Vec<f64>> =
            (1..9).map(|i| f64::from(i) / 9.0).map(|p| vec![p.ln(), (-p).ln_1p()]).collect();
        assert_eq!(kind(&[1, 2], &logarithms, Task::Auto), OutputKind::Classes { axis: 1 });
    }

    #[test]
    fn each_position_of_a_segmentation_has_a_class() {
        let shares = |p: f64| vec![p, 0.3, 0.5, 0.1, 1.0 - p, 0.7, 0.5, 0.9];
        let outputs: Vec<Vec<f64>> = (0..9).map(|i| shares(f64::from(i) / 8.0)).collect();
        let kind = kind(&[1, 2, 2, 2], &outputs, Task::Auto);
        assert_eq!(kind, OutputKind::Classes { axis: 1 });
        assert_eq!(kind.decisions(&outputs[8], &[1, 2, 2, 2]), [0, 1, 0, 1]);
    }

    #[test]
    fn an_image_with_one_channel_is_a_signal() {
        assert_eq!(kind(&[1, 1, 6, 6], &independent(50, 36), Task::Auto), OutputKind::Signal);
        assert_eq!(kind(&[1, 6, 6, 1], &independent(50, 36), Task::Auto), OutputKind::Signal);
    }

    #[test]
    fn as_many_numbers_as_the_input_has_are_a_signal() {
        let facts = OutputFacts { saturates: true, input_len: 64, ..facts(&[1, 64]) };
        let outputs: Vec<Vec<f64>> = independent(50, 64);
        let outputs: Vec<Vec<f64>> =
            outputs.iter().map(|y| y.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect()).collect();
        assert_eq!(kind_of(&facts, &outputs, Task::Auto), OutputKind::Signal);
    }

    #[test]
    fn vectors_of_length_one_and_long_ones_are_embeddings() {
        let mut outputs = independent(50, 8);
        for y in &mut outputs {
            let length = y.iter().map(|v| v * v).sum::<f64>().sqrt();
            y.iter_mut().for_each(|v| *v /= length);
        }
        assert_eq!(kind(&[1, 8], &outputs, Task::Auto), OutputKind::Embedding);
        assert_eq!(kind(&[1, 128], &independent(50, 128), Task::Auto), OutputKind::Embedding);
    }

    #[test]
    fn booleans_and_signs_are_decisions() {
        let outputs: Vec<Vec<f64>> = (0..9).map(|i| vec![f64::from(i % 2)]).collect();
        assert_eq!(kind(&[1, 1], &outputs, Task::Auto), OutputKind::Decision { threshold: 0.5 });
        let several: Vec<Vec<f64>> = outputs.iter().map(|y| vec![y[0], 1.0, 0.0]).collect();
        assert_eq!(kind(&[1, 3], &several, Task::Auto), OutputKind::Labels { threshold: 0.5 });
        let signs: Vec<Vec<f64>> = outputs.iter().map(|y| vec![2.0 * y[0] - 1.0]).collect();
        assert_eq!(kind(&[1, 1], &signs, Task::Auto), OutputKind::Decision { threshold: 0.0 });
    }

    #[test]
    fn probabilities_behind_a_sigmoid_are_decided_at_a_half() {
        let facts = |shape| OutputFacts { saturates: true, ..facts(shape) };
        let outputs: Vec<Vec<f64>> = (0..9).map(|i| vec![f64::from(i) / 9.0]).collect();
        assert_eq!(kind_of(&facts(&[1, 1]), &outputs, Task::Auto), OutputKind::Decision { threshold: 0.5 });
        let several: Vec<Vec<f64>> = outputs.iter().map(|y| vec![y[0], 0.9, 0.7]).collect();
        assert_eq!(kind_of(&facts(&[1, 3]), &several, Task::Auto), OutputKind::Labels { threshold: 0.5 });
    }

    #[test]
    fn one_number_is_a_target_until_somebody_says_that_it_decides() {
        let outputs = independent(50, 1);
        assert_eq!(kind(&[1, 1], &outputs, Task::Auto), OutputKind::Targets);
        assert_eq!(kind(&[1, 1], &outputs, Task::Classify), OutputKind::Decision { threshold: 0.0 });
        assert_eq!(kind(&[1, 2], &logits(200, 2), Task::Regress), OutputKind::Targets);
    }

    #[test]
    fn what_never_changes_is_constant() {
        assert_eq!(kind(&[1, 2], &[vec![0.0, 3.0], vec![0.0, 3.0]], Task::Auto), OutputKind::Constant);
        assert_eq!(kind(&[1, 2], &[vec![0.0, 3.0]], Task::Auto), OutputKind::Targets);
    }
}
