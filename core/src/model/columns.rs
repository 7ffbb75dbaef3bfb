//! An offset and a scale for each element of the input, where elements have ranges of very different widths.
//!
//! Measured quantities often come as they are: a length in metres beside an area in square millimetres. Encrypted by
//! one scale, the small ones drown in the noise of the large ones. The client encrypts `(x - centre) / unit` of each
//! element instead, and the network reads that.
//!
//! Where the network does nothing with its inputs but compare them with constants, as decision trees do, what is far
//! beyond all constants need not be told apart: values are cut off where few calibration inputs lie, and what is left
//! gets the whole precision.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::network::{Network, Row, Stage, Tap};

/// How many times larger the noise of one scale for all elements must be, in what the network makes of it, than that of
/// a scale each, before they get one. Pixels at the edge of an image do not reach it: they vary little, and their
/// weights are like the others.
const LEAST_GAIN: f64 = 4.0;
/// More elements than this are an image or a signal, whose elements share a unit.
const MOST_ELEMENTS: usize = 4096;
/// What the calibrated range of an element becomes: -16 to 16. CKKS's noise does not grow with the values.
const REACH: f64 = 16.0;
/// Half widths below this share of a centre's magnitude are its rounding.
const ROUNDING: f64 = 1e-6;
/// Share of an element's calibrated values that may be cut off on each side.
const CUT: f64 = 0.02;
/// Share of the values' range that is left between a constant and where values are cut off.
const CUT_MARGIN: f64 = 0.1;
/// A constant is close to a value that is nearer than this share of the gap between the values around it.
const CLOSE: f64 = 0.02;

/// What is encrypted of each element; values as they are where it is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Middle of each element's calibrated range.
    centre: Vec<f64>,
    /// What it is divided by: a sixteenth of half its width.
    unit: Vec<f64>,
    /// Smallest and largest value that is taken of each element, what lies beyond its range as the range's end; empty
    /// where nothing is cut off.
    taken: Vec<(f64, f64)>,
}

impl Columns {
    /// One for each element of the network's input where that lessens its noise by much; else none.
    #[must_use]
    pub fn of(network: &Network, inputs: &[Vec<f32>]) -> Self {
        let len = network.input.len();
        if len > MOST_ELEMENTS || inputs.len() < 2 || inputs.iter().any(|input| input.len() != len) {
            return Self::default();
        }
        if let Some(constants) = compared(network) {
            return Self::cut_off(&constants, inputs);
        }
        let range = |at: usize| {
            let values = inputs.iter().map(|input| f64::from(input[at]));
            values.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)))
        };
        let ranges: Vec<(f64, f64)> = (0..len).map(range).collect();
        let centre: Vec<f64> = ranges.iter().map(|&(low, high)| f64::midpoint(low, high)).collect();
        let unit = |(&(low, high), centre): (&(f64, f64), &f64)| {
            let half = (high - low) / 2.0;
            if half > ROUNDING * centre.abs() { half / REACH } else { 0.0 }
        };
        let unit = ranges.iter().zip(&centre).map(unit).collect();
        let columns = Self { centre, unit, taken: Vec::new() };
        if columns.gain(network) < LEAST_GAIN { Self::default() } else { columns.with_constants() }
    }

    /// For elements that are compared with those constants, each. Ranges reach no further than the inputs do, so that
    /// all that is encrypted was seen, and values are taken as far as no constant tells them from what was seen.
    fn cut_off(constants: &[Vec<f64>], inputs: &[Vec<f32>]) -> Self {
        let mut columns = Self::default();
        for (at, constants) in constants.iter().enumerate() {
            let values = sorted(inputs, at);
            let (least, most) = (values[0], values[values.len() - 1]);
            let beyond = (CUT * values.len() as f64) as usize;
            let (low, high) = (values[beyond], values[values.len() - 1 - beyond]);
            let margin = CUT_MARGIN * if high > low { high - low } else { most - least };
            let within = constants.iter().filter(|&&c| c > least && c < most);
            let (low, high) = within.fold((low, high), |(low, high), &c| (low.min(c - margin), high.max(c + margin)));
            let (low, high) = (low.max(least), high.min(most));
            let below = constants.iter().copied().filter(|&c| c < low).fold(f64::from(f32::MIN), f64::max);
            let above = constants.iter().copied().filter(|&c| c > high).fold(f64::from(f32::MAX), f64::min);
            let half = (high - low) / 2.0;
            let varies = half > ROUNDING * low.abs().max(high.abs());
            columns.centre.push(f64::midpoint(low, high));
            columns.unit.push(if varies { half / REACH } else { 0.0 });
            // Nothing is known of other values of what never changed, if the network looks at it.
            columns.taken.push(if varies || constants.is_empty() { (below, above) } else { (low, high) });
        }
        columns.with_constants()
    }

    /// How many times larger noise is by one scale than by a scale each, over what a row makes of the elements' ranges:
    /// the median of the rows that read elements. At the edge of an image there are rows of hardly anything but noise.
    fn gain(&self, network: &Network) -> f64 {
        let widest = self.unit.iter().copied().fold(0.0, f64::max);
        let gain = |row: &Row| {
            let (mut common, mut own) = (0.0, 0.0);
            for tap in row.taps.iter() {
                let Some(&unit) = self.unit.get(tap.source as usize).filter(|&&unit| unit > 0.0) else { continue };
                let weight = f64::from(tap.weight);
                common += (weight * widest) * (weight * widest);
                own += (weight * unit) * (weight * unit);
            }
            (own > 0.0).then(|| (common / own).sqrt())
        };
        let mut gains: Vec<f64> = rows_of(network).filter_map(gain).collect();
        gains.sort_by(f64::total_cmp);
        gains.get(gains.len() / 2).copied().unwrap_or(0.0)
    }

    /// Elements that never changed get the typical width: nothing is known of theirs.
    fn with_constants(mut self) -> Self {
        let known: Vec<f64> = self.unit.iter().filter(|&&unit| unit > 0.0).map(|unit| unit.ln()).collect();
        let typical = (known.iter().sum::<f64>() / known.len().max(1) as f64).exp();
        self.unit.iter_mut().filter(|unit| **unit == 0.0).for_each(|unit| *unit = typical);
        self
    }

    /// Elements that have a scale of their own: all, or none.
    #[must_use]
    pub fn len(&self) -> usize {
        self.unit.len()
    }

    /// Whether values are encrypted as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unit.is_empty()
    }

    /// Whether there is one for each of so many elements, or none, all finite.
    #[must_use]
    pub fn fits(&self, len: usize) -> bool {
        let lengths = [self.centre.len(), self.unit.len()];
        let sound = self.unit.iter().all(|unit| unit.is_normal() && *unit > 0.0);
        let taken = self.taken.iter().all(|(low, high)| low <= high);
        (lengths == [0; 2] || lengths == [len; 2])
            && [0, self.unit.len()].contains(&self.taken.len())
            && sound
            && taken
            && self.centre.iter().all(|centre| centre.is_finite())
    }

    /// What is encrypted for element `at` with the value `x`.
    #[must_use]
    pub fn encode(&self, at: usize, x: f64) -> f64 {
        if self.is_empty() {
            return x;
        }
        let y = (x - self.centre[at]) / self.unit[at];
        if self.is_cut() { y.clamp(-REACH, REACH) } else { y }
    }

    /// Whether values beyond an element's range are taken as its end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Smallest and largest value of element `at` where what is encrypted lies between `low` and `high`.
    #[must_use]
    pub fn taken(&self, at: usize, (low, high): (f64, f64)) -> (f64, f64) {
        self.taken.get(at).copied().unwrap_or_else(|| (self.decode(at, low), self.decode(at, high)))
    }

    /// The value of element `at` that is encrypted as `y`.
    #[must_use]
    pub fn decode(&self, at: usize, y: f64) -> f64 {
        if self.is_empty() { y } else { self.centre[at] + self.unit[at] * y }
    }

    /// Whether element `at` may be `x`, encrypted as `y`, where what is encrypted lies between `low` and `high`.
    #[must_use]
    pub fn takes(&self, at: usize, x: f64, y: f64, (low, high): (f64, f64)) -> bool {
        (low..=high).contains(&y) && self.taken.get(at).is_none_or(|&(least, most)| (least..=most).contains(&x))
    }

    /// What is encrypted of the values of one input.
    #[must_use]
    pub fn encoded<'a>(&self, input: &'a [f32]) -> Cow<'a, [f32]> {
        if self.is_empty() {
            return Cow::Borrowed(input);
        }
        input.iter().enumerate().map(|(at, &x)| self.encode(at, f64::from(x)) as f32).collect()
    }

    /// The network on what is encrypted.
    #[must_use]
    pub fn network(&self, network: &Network) -> Network {
        let rows = |rows: &[Row]| rows.iter().map(|row| self.row(row)).collect();
        let stage = |stage: &Stage| Stage { rows: rows(&stage.rows), factors: rows(&stage.factors), ..stage.clone() };
        Network {
            stages: network.stages.iter().map(stage).collect(),
            output_rows: rows(&network.output_rows),
            ..network.clone()
        }
    }

    fn row(&self, row: &Row) -> Row {
        let inputs = self.unit.len();
        let mut bias = row.bias;
        let tap = |tap: &Tap| {
            let at = tap.source as usize;
            if at >= inputs {
                return *tap;
            }
            bias += f64::from(tap.weight) * self.centre[at];
            Tap { weight: (f64::from(tap.weight) * self.unit[at]) as f32, ..*tap }
        };
        let taps: Arc<[Tap]> = row.taps.iter().map(tap).collect();
        Row { bias, taps }
    }
}

/// The values of an element, in order.
fn sorted(inputs: &[Vec<f32>], at: usize) -> Vec<f64> {
    let mut values: Vec<f64> = inputs.iter().map(|input| f64::from(input[at])).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The network with constants that inputs are compared with in the middle between the neighbouring values of the
/// inputs, wherever they are close to one of these; none where more is done with inputs than comparing.
///
/// A column of whole numbers is often compared with one of them, or with the next smaller number that there is. Noise
/// would decide on which side the whole number itself lies.
#[must_use]
pub fn settled(network: &Network, inputs: &[Vec<f32>]) -> Option<Network> {
    let len = network.input.len();
    compared(network)?;
    if inputs.is_empty() || inputs.iter().any(|input| input.len() != len) {
        return None;
    }
    let mut network = network.clone();
    let mut values: Vec<Option<Vec<f64>>> = vec![None; len];
    for stage in &mut network.stages {
        for (row, &channel) in stage.rows.iter_mut().zip(&stage.channel) {
            let [tap] = row.taps.as_ref() else { continue };
            let at = tap.source as usize;
            let function = &stage.functions[channel as usize];
            let Some(step) = function.step().filter(|_| at < len) else { continue };
            let weight = f64::from(tap.weight);
            let values = values[at].get_or_insert_with(|| {
                let mut values = sorted(inputs, at);
                values.dedup();
                values
            });
            let constant = (step - row.bias) / weight;
            let answer = |value: f64| function.evaluate(weight * value + row.bias);
            let first = answer(values[0]);
            let above = values.partition_point(|&value| answer(value) == first);
            // Where all values are on one side, half a gap leads away from the nearest.
            let wanted = match (above, values.as_slice()) {
                (at, values) if at < values.len() => Some((values[at - 1], values[at])),
                (_, [.., before, last]) if constant >= *last => Some((*last, 2.0 * last - before)),
                (_, [first, after, ..]) if constant <= *first => Some((2.0 * first - after, *first)),
                _ => None,
            };
            if let Some((below, above)) = wanted
                && (below..=above).contains(&constant)
                && (constant - below).min(above - constant) < CLOSE * (above - below)
            {
                row.bias = step - weight * f64::midpoint(below, above);
            }
        }
    }
    Some(network)
}

/// For each element of the input the constants that it is compared with, where nothing else is done with any.
fn compared(network: &Network) -> Option<Vec<Vec<f64>>> {
    let len = network.input.len();
    let reads = |row: &Row| row.taps.iter().any(|tap| (tap.source as usize) < len);
    let mut constants = vec![Vec::new(); len];
    for stage in &network.stages {
        for (row, &channel) in stage.rows.iter().zip(&stage.channel).filter(|(row, _)| reads(row)) {
            let ([tap], Some(step)) = (row.taps.as_ref(), stage.functions[channel as usize].step()) else {
                return None;
            };
            constants[tap.source as usize].push((step - row.bias) / f64::from(tap.weight));
        }
    }
    let others = network.stages.iter().flat_map(|stage| &stage.factors).chain(&network.output_rows);
    let is_sound = constants.iter().flatten().all(|constant| constant.is_finite());
    (is_sound && !others.into_iter().any(reads)).then_some(constants)
}

/// All rows, in any order.
fn rows_of(network: &Network) -> impl Iterator<Item = &Row> {
    let of_stages = network.stages.iter().flat_map(|stage| stage.rows.iter().chain(&stage.factors));
    of_stages.chain(&network.output_rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::function::{Binary, Function};
    use crate::model::network::TensorInfo;

    /// The sum of the elements times weights.
    fn weighted(weights: &[f32]) -> Network {
        let tensor = |name: &str, len: usize| TensorInfo { name: name.into(), shape: vec![1, len] };
        let tap = |(at, &weight): (usize, &f32)| Tap { source: at as u32, weight };
        let row = Row { bias: 0.25, taps: weights.iter().enumerate().map(tap).collect() };
        let stage = Stage {
            name: "r".into(),
            operator: "Gemm".into(),
            shape: vec![1, 1],
            rows: vec![row],
            factors: Vec::new(),
            channel: vec![0],
            functions: vec![Function::X],
        };
        Network {
            inputs: vec![tensor("x", weights.len())],
            input: tensor("x", weights.len()),
            stages: vec![stage],
            output: tensor("y", 1),
            output_rows: vec![Row::value(weights.len() as u32)],
            output_operator: "Identity".into(),
            client_ops: ClientOps::default(),
        }
    }

    /// A small and a large element, and one that never changes.
    fn inputs() -> Vec<Vec<f32>> {
        (0..50_u8).map(f32::from).map(|i| vec![0.001 * i, 1000.0 + 40.0 * (i * 7.0 % 50.0), 3.0]).collect()
    }

    #[test]
    fn quantities_of_different_units_get_a_scale_each_and_nothing_else_changes() {
        let network = weighted(&[100.0, 0.002, 1.0]);
        let columns = Columns::of(&network, &inputs());
        assert!(columns.fits(3) && !columns.is_empty());
        let scaled = columns.network(&network);
        for input in inputs() {
            let encoded = columns.encoded(&input);
            assert!(encoded.iter().all(|y| f64::from(y.abs()) <= REACH + 1e-5), "{encoded:?}");
            let double = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let (want, got) = (network.evaluate(&double(&input)).1[0], scaled.evaluate(&double(&encoded)).1[0]);
            assert!((want - got).abs() < 1e-5 * want.abs(), "{got} instead of {want}");
            let decoded = columns.decode(1, columns.encode(1, f64::from(input[1])));
            assert!((decoded - f64::from(input[1])).abs() < 1e-9);
        }
    }

    #[test]
    fn elements_that_share_a_unit_share_a_scale() {
        // Pixels at the edge hardly vary.
        let pixels: Vec<Vec<f32>> = (0..50_u8).map(|i| vec![f32::from(i % 2) / 255.0, f32::from(i) / 50.0]).collect();
        assert!(Columns::of(&weighted(&[0.3, 0.5]), &pixels).is_empty());
        // Where the network makes nothing of the small ones, either.
        assert!(Columns::of(&weighted(&[0.002, 0.002, 1.0]), &inputs()).is_empty());
        assert!(Columns::default().fits(7) && Columns::default().encode(5, 2.5) == 2.5);
    }

    #[test]
    fn what_is_only_compared_is_cut_off_where_few_values_lie() {
        let mut network = weighted(&[1.0, 0.0]);
        network.input.shape = vec![1, 1];
        network.stages[0].rows = vec![Row { bias: -3.0, ..Row::value(0) }];
        let less = Function::Binary(Binary::Less, Function::X.into(), Function::Constant(1.05).into());
        network.stages[0].functions = vec![less];
        network.output_rows = vec![Row::value(1)];
        // From 0 to 9.9, but for one value far off; compared with 4.05.
        let inputs = |high: f32| (0..100_u8).map(|i| vec![if i == 50 { high } else { f32::from(i) / 10.0 }]).collect();
        let values: Vec<Vec<f32>> = inputs(1e6);
        let columns = Columns::of(&network, &values);
        assert!(columns.is_cut() && columns.fits(1));
        let scaled = columns.network(&network);
        for input in values.iter().chain([&vec![-1e9], &vec![4.049], &vec![4.051]]) {
            let y = columns.encode(0, f64::from(input[0]));
            assert!(y.abs() <= REACH);
            let (least, most) = columns.taken(0, (-REACH, REACH));
            assert!((least..=most).contains(&f64::from(input[0])));
            assert_eq!(scaled.evaluate(&[y]).1, network.evaluate(&[f64::from(input[0])]).1, "{input:?}");
        }
        assert!(columns.decode(0, REACH) < 10.0 && columns.decode(0, -REACH) > 0.0);
        // What a constant beyond the values tells from them is not taken.
        network.stages[0].rows[0].bias = -19.0;
        let columns = Columns::of(&network, &inputs(0.0));
        assert!(columns.decode(0, REACH) <= 9.9 + 1e-9);
        assert_eq!(columns.taken(0, (-REACH, REACH)), (f64::from(f32::MIN), 20.05));
        network.output_rows = vec![Row::value(0)];
        assert!(!Columns::of(&network, &values).is_cut(), "the output reads the element itself");
    }

    #[test]
    fn constants_stand_between_whole_numbers_and_stay_where_they_are_between_others() {
        let mut network = weighted(&[1.0]);
        network.stages[0].rows = vec![Row::value(0)];
        let mut settled_at = |constant: f64, values: &[f32]| {
            let at_most = Function::Binary(Binary::Less, Function::Constant(constant).into(), Function::X.into());
            network.stages[0].functions = vec![at_most];
            let inputs: Vec<Vec<f32>> = values.iter().map(|&value| vec![value]).collect();
            let settled = settled(&network, &inputs).expect("only compared");
            constant - settled.stages[0].rows[0].bias
        };
        let whole = [0.0, 3.0, 1.0, 2.0, 3.0, 5.0];
        // At most 2, less than 3, at most 5 (all), less than 0 (none), at most 2.4.
        assert_eq!(settled_at(2.0, &whole), 2.5);
        assert_eq!(settled_at(f64::from(3.0_f32.next_down()), &whole), 2.5);
        assert_eq!(settled_at(5.0, &whole), 6.0);
        assert_eq!(settled_at(f64::from(0.0_f32.next_down()), &whole), -0.5);
        assert_eq!(settled_at(2.4, &whole), 2.4);
        assert_eq!((settled_at(100.0, &whole), settled_at(-7.0, &whole)), (100.0, -7.0));
        assert_eq!(settled_at(2.0, &[2.0, 2.0]), 2.0);
    }

    #[test]
    fn what_does_not_fit_is_seen() {
        let columns = Columns::of(&weighted(&[100.0, 0.002, 1.0]), &inputs());
        assert!(!columns.fits(2));
        let zero = Columns { unit: vec![1.0, 0.0, 1.0], ..columns.clone() };
        let infinite = Columns { centre: vec![1.0, f64::INFINITY, 1.0], ..columns };
        assert!(!zero.fits(3) && !infinite.fits(3));
    }
}
