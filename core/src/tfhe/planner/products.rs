//! Products of two values by functions of one: for schemes whose only non-linear step is a table.

use std::sync::Arc;

use crate::model::function::{Function, Unary};
use crate::model::network::{Network, Row, Stage, Tap};
use crate::model::row_sum::RowSum;

/// Rewrites every stage that multiplies: `x y = ((x + y) / 2)^2 - ((x - y) / 2)^2`, the squares one stage of twice the
/// rows.
#[must_use]
pub fn products_as_squares(network: &Network) -> Network {
    let mut rewritten = network.clone();
    // Each value as a combination of the new ones.
    let mut parts: Vec<Arc<[Tap]>> = (0..network.input.len()).map(|value| Row::value(value as u32).taps).collect();
    let mut next = network.input.len() as u32;
    let mut sum = RowSum::default();
    for stage in &mut rewritten.stages {
        for row in stage.rows.iter_mut().chain(&mut stage.factors) {
            *row = renumbered(&mut sum, row, &parts);
        }
        let count = stage.rows.len() as u32;
        if stage.factors.is_empty() {
            parts.extend((next..next + count).map(|value| Row::value(value).taps));
        } else {
            let difference = |plus: u32| {
                let tap = |source, weight| Tap { source, weight };
                Arc::from([tap(plus, 1.0), tap(plus + count, -1.0)])
            };
            parts.extend((next..next + count).map(difference));
            halve(&mut sum, stage);
        }
        next += stage.rows.len() as u32;
    }
    for row in &mut rewritten.output_rows {
        *row = renumbered(&mut sum, row, &parts);
    }
    rewritten
}

/// Half the sums, then half the differences, squared.
fn halve(sum: &mut RowSum, stage: &mut Stage) {
    let factors = std::mem::take(&mut stage.factors);
    let pairs: Vec<(Row, Row)> = std::mem::take(&mut stage.rows).into_iter().zip(factors).collect();
    for sign in [0.5, -0.5] {
        for (row, factor) in &pairs {
            sum.add_row(row, 0.5);
            sum.add_row(factor, sign);
            stage.rows.push(sum.take());
        }
    }
    let channels = stage.functions.len() as u32;
    let second: Vec<u32> = stage.channel.iter().map(|channel| channel + channels).collect();
    stage.channel.extend(second);
    stage.functions = vec![Function::unary(Unary::Square); 2 * channels as usize];
    stage.shape = vec![1, stage.rows.len()];
}

fn renumbered(sum: &mut RowSum, row: &Row, parts: &[Arc<[Tap]>]) -> Row {
    if row.taps.iter().all(|tap| *parts[tap.source as usize] == [Tap { source: tap.source, weight: 1.0 }]) {
        return row.clone();
    }
    sum.add_constant(row.bias);
    for tap in row.taps.iter() {
        for part in parts[tap.source as usize].iter() {
            sum.add_value(part.source, f64::from(tap.weight) * f64::from(part.weight));
        }
    }
    sum.take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::network::TensorInfo;

    fn row(bias: f64, taps: &[(u32, f32)]) -> Row {
        Row { bias, taps: taps.iter().map(|&(source, weight)| Tap { source, weight }).collect() }
    }

    fn stage(rows: Vec<Row>, factors: Vec<Row>, function: Function) -> Stage {
        let (name, shape, channel) = (String::new(), vec![1, rows.len()], vec![0; rows.len()]);
        Stage { name: name.clone(), operator: name, shape, rows, factors, channel, functions: vec![function] }
    }

    #[test]
    fn squares_compute_the_same() {
        let tensor = |length| TensorInfo { name: String::new(), shape: vec![1, length] };
        let product = |rows, factors| stage(rows, factors, Function::X);
        let network = Network {
            input: tensor(3),
            inputs: vec![tensor(3)],
            stages: vec![
                product(
                    vec![row(0.5, &[(0, 1.0), (1, -2.0)]), row(0.0, &[(2, 1.0)])],
                    vec![row(1.0, &[(2, 3.0)]), row(0.0, &[(0, 1.0)])],
                ),
                stage(vec![row(0.0, &[(0, 1.0), (3, 2.0), (4, 1.0)])], Vec::new(), Function::unary(Unary::Relu)),
                product(vec![row(0.0, &[(5, 1.0)])], vec![row(-1.0, &[(4, 1.0), (1, 1.0)])]),
            ],
            output: tensor(2),
            output_rows: vec![row(0.25, &[(3, 1.0), (6, -1.0)]), row(0.0, &[(2, 1.0), (5, 1.0)])],
            output_operator: String::new(),
            client_ops: ClientOps::default(),
        };
        let squares = products_as_squares(&network);
        assert!(squares.stages.iter().all(|stage| stage.factors.is_empty()));
        assert_eq!(squares.activation_count(), 4 + 1 + 2);
        for input in [[1.0, -2.0, 0.5], [0.0, 3.0, -1.5], [-2.0, 0.25, 4.0]] {
            let (want, got) = (network.evaluate(&input).1, squares.evaluate(&input).1);
            for (want, got) in want.iter().zip(&got) {
                assert!((want - got).abs() < 1e-9, "{want} {got}");
            }
        }
        assert!((network.evaluate(&[1.0, -2.0, 0.5]).0[3] - 5.5 * 2.5).abs() < 1e-12);
    }
}
