//! Units that share a range where there are too few inputs for a range each.
//!
//! A unit of a dense layer, or an element of a vector, has a channel of its own: its range is that of as many numbers
//! as there are calibration inputs. Ten numbers tell little of how far an eleventh goes. Where all units of a stage
//! have one function, and ranges of the same order, they are taken together: a wider range for most, but one that many
//! numbers speak for.

use std::borrow::Cow;

use crate::model::network::{Network, Stage};

/// Numbers that a channel needs to have a range of its own.
const ENOUGH: usize = 32;
/// Largest range over the mean one of values of one quantity, as logits are.
const MOST_RANGE_RATIO: f64 = 4.0;

/// Whether ranges of those widths, or half widths, are of the same order: what one of the values has reached, another
/// may. Comparisons of columns, or targets, have units of their own.
#[must_use]
pub fn are_one_quantity(widths: impl ExactSizeIterator<Item = f64> + Clone) -> bool {
    let mean = widths.clone().sum::<f64>() / widths.len().max(1) as f64;
    widths.fold(0.0, f64::max) <= MOST_RANGE_RATIO * mean
}

/// The network with the channels of a stage as one wherever they have too few numbers for a range each.
#[must_use]
pub fn pooled<'a>(network: &'a Network, inputs: &[Vec<f32>]) -> Cow<'a, Network> {
    let wants = |stage: &Stage| {
        let numbers = inputs.len() * stage.rows.len() / stage.functions.len().max(1);
        let is_one_function = stage.functions.windows(2).all(|pair| pair[0] == pair[1]);
        numbers < ENOUGH && stage.functions.len() > 1 && stage.factors.is_empty() && is_one_function
    };
    let wanted: Vec<bool> = network.stages.iter().map(wants).collect();
    if !wanted.contains(&true) {
        return Cow::Borrowed(network);
    }
    let ends = |stage: &Stage| vec![(f64::INFINITY, f64::NEG_INFINITY); stage.functions.len()];
    let mut ranges: Vec<Vec<(f64, f64)>> = network.stages.iter().map(ends).collect();
    for input in inputs {
        let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        network.evaluate_with(&input, |stage, row, z| {
            let range = &mut ranges[stage][network.stages[stage].channel[row] as usize];
            *range = (range.0.min(z), range.1.max(z));
        });
    }
    let mut pooled = network.clone();
    for ((stage, ranges), wanted) in pooled.stages.iter_mut().zip(&ranges).zip(wanted) {
        if wanted && are_one_quantity(ranges.iter().map(|(low, high)| high - low)) {
            stage.functions.truncate(1);
            stage.channel.fill(0);
        }
    }
    Cow::Owned(pooled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::function::{Function, Unary};
    use crate::model::network::{Row, Tap, TensorInfo};

    /// Two units with those weights, of the functions given.
    fn network(functions: [Unary; 2], weights: [f32; 2]) -> Network {
        let tensor = |name: &str| TensorInfo { name: name.into(), shape: vec![1, 2] };
        let row = |(source, weight): (u32, f32)| {
            let mut row = Row::value(source);
            row.taps = row.taps.iter().map(|tap| Tap { weight, ..*tap }).collect();
            row
        };
        let stage = Stage {
            name: "f".into(),
            operator: "f".into(),
            shape: vec![1, 2],
            rows: (0..2).zip(weights).map(row).collect(),
            factors: Vec::new(),
            channel: vec![0, 1],
            functions: functions.map(Function::unary).to_vec(),
        };
        Network {
            inputs: vec![tensor("x")],
            input: tensor("x"),
            stages: vec![stage],
            output: tensor("y"),
            output_rows: (2..4).map(Row::value).collect(),
            output_operator: "Identity".into(),
            client_ops: ClientOps::default(),
        }
    }

    fn inputs(count: u8) -> Vec<Vec<f32>> {
        (0..count).map(f32::from).map(|i| vec![i.sin(), (1.7 * i).cos()]).collect()
    }

    #[test]
    fn few_numbers_are_taken_together() {
        let network = network([Unary::Tanh; 2], [1.0, 2.0]);
        let pooled = pooled(&network, &inputs(10));
        assert_eq!((pooled.stages[0].channel.as_slice(), pooled.stages[0].functions.len()), (&[0, 0][..], 1));
        assert_eq!(pooled.evaluate(&[0.5, -0.25]), network.evaluate(&[0.5, -0.25]));
    }

    #[test]
    fn enough_numbers_other_functions_and_other_ranges_keep_units_apart() {
        let apart = |network: &Network, count: u8| matches!(pooled(network, &inputs(count)), Cow::Borrowed(_));
        assert!(apart(&network([Unary::Tanh; 2], [1.0, 2.0]), 40));
        assert!(apart(&network([Unary::Tanh, Unary::Relu], [1.0, 2.0]), 10));
        let mut wide = network([Unary::Tanh; 2], [1.0, 2.0]);
        // Nine narrow units and a wide one.
        let stage = &mut wide.stages[0];
        stage.rows = (0..10).map(|at| Row::value(u32::from(at == 0))).collect();
        stage.rows[0].taps = stage.rows[0].taps.iter().map(|tap| Tap { weight: 100.0, ..*tap }).collect();
        stage.channel = (0..10).collect();
        stage.functions = vec![Function::unary(Unary::Tanh); 10];
        assert_eq!(pooled(&wide, &inputs(10)).stages[0].functions.len(), 10);
    }
}
