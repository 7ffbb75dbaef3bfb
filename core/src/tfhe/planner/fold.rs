//! Functions with one kink on the whole torus instead of half of it.
//!
//! A bootstrap's table is negacyclic: it is free on half a turn, and the other half is its negation. Therefore inputs
//! usually get half of the torus. `|z|` is different: centred on the torus, `|z| - 1/4` turn *is* negacyclic over the
//! whole turn. So `relu(z) = (|z| + z) / 2` takes `|z|` from a bootstrap that sees z twice as large against the noise,
//! and `z / 2` from the linear map before it, which costs nothing but more terms for the next stage. Where z leaves its
//! range, `|z|` folds back continuously instead of changing sign. The same holds for leaky ReLUs and `|z|` itself.

use crate::model::function::{Function, Unary};
use crate::model::network::{Network, Row};
use crate::model::row_sum::RowSum;

/// `even * |z| + odd * z`: what a function with one kink at zero is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kink {
    /// Coefficient of `|z|`.
    pub even: f64,
    /// Coefficient of `z`.
    pub odd: f64,
}

impl Kink {
    /// Recognises the function.
    #[must_use]
    pub fn of(function: &Function) -> Option<Self> {
        let Function::Unary(op, inner) = function else { return None };
        if **inner != Function::X {
            return None;
        }
        match *op {
            Unary::Relu => Some(Self { even: 0.5, odd: 0.5 }),
            Unary::LeakyRelu(alpha) => Some(Self { even: (1.0 - alpha) / 2.0, odd: (1.0 + alpha) / 2.0 }),
            Unary::Abs => Some(Self { even: 1.0, odd: 0.0 }),
            _ => None,
        }
    }
}

/// Largest growth of the number of terms that is accepted for the linear paths.
const MAX_TERMS: usize = 1 << 26;

/// Rewrites every stage whose functions all have one kink: its values become `|z|`, and later rows take
/// `even |z| + odd z`.
///
/// Stages must not multiply (see [`crate::tfhe::planner::products`]). Returns the rewritten network and for each stage
/// whether it was. Where the linear paths would need more than 2^26 terms in all, the network is returned as it is.
#[must_use]
pub fn fold_kinks(network: &Network) -> (Network, Vec<bool>) {
    let unchanged = || (network.clone(), vec![false; network.stages.len()]);
    let mut replacement: Vec<Option<(Kink, Row)>> = vec![None; network.input.len()];
    let mut scratch = RowSum::default();
    let mut folded = network.clone();
    let mut flags = Vec::with_capacity(network.stages.len());
    let mut terms = 0;
    for stage in &mut folded.stages {
        for row in &mut stage.rows {
            *row = expand(&mut scratch, row, &replacement);
            terms += row.taps.len();
            if terms > MAX_TERMS {
                return unchanged();
            }
        }
        let kinks: Option<Vec<Kink>> = stage.functions.iter().map(Kink::of).collect();
        flags.push(kinks.is_some());
        match kinks {
            None => replacement.resize(replacement.len() + stage.rows.len(), None),
            Some(kinks) => {
                stage.functions.fill(Function::unary(Unary::Abs));
                let pairs = stage.rows.iter().zip(&stage.channel);
                replacement.extend(pairs.map(|(row, &c)| Some((kinks[c as usize], row.clone()))));
            }
        }
    }
    for row in &mut folded.output_rows {
        *row = expand(&mut scratch, row, &replacement);
        terms += row.taps.len();
        if terms > MAX_TERMS {
            return unchanged();
        }
    }
    (folded, flags)
}

/// The row with every folded value replaced by its parts.
fn expand(sum: &mut RowSum, row: &Row, replacement: &[Option<(Kink, Row)>]) -> Row {
    if row.taps.iter().all(|tap| replacement[tap.source as usize].is_none()) {
        return row.clone();
    }
    sum.add_constant(row.bias);
    for tap in row.taps.iter() {
        let weight = f64::from(tap.weight);
        match &replacement[tap.source as usize] {
            None => sum.add_value(tap.source, weight),
            Some((kink, inner)) => {
                sum.add_value(tap.source, weight * kink.even);
                sum.add_row(inner, weight * kink.odd);
            }
        }
    }
    sum.take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::network::{Stage, Tap, TensorInfo};

    fn stage(name: &str, rows: Vec<Row>, function: Unary) -> Stage {
        let channel = vec![0; rows.len()];
        Stage {
            name: name.into(),
            operator: name.into(),
            shape: vec![1, rows.len()],
            rows,
            factors: Vec::new(),
            channel,
            functions: vec![Function::unary(function)],
        }
    }

    fn row(bias: f64, taps: &[(u32, f32)]) -> Row {
        Row { bias, taps: taps.iter().map(|&(source, weight)| Tap { source, weight }).collect() }
    }

    #[test]
    fn the_folded_network_computes_the_same() {
        let network = Network {
            input: TensorInfo { name: "x".into(), shape: vec![1, 2] },
            inputs: vec![TensorInfo { name: "x".into(), shape: vec![1, 2] }],
            stages: vec![
                stage("a", vec![row(0.5, &[(0, 1.0), (1, -2.0)]), row(-0.25, &[(0, 3.0)])], Unary::Relu),
                stage("b", vec![row(0.1, &[(2, 1.5), (3, -1.0)])], Unary::LeakyRelu(0.25)),
                stage("c", vec![row(0.0, &[(2, 1.0), (4, 1.0)])], Unary::Sigmoid),
            ],
            output: TensorInfo { name: "y".into(), shape: vec![1, 1] },
            output_rows: vec![row(1.0, &[(3, 1.0), (4, 2.0), (5, 1.0)])],
            output_operator: "Gemm".into(),
            client_ops: ClientOps::default(),
        };
        let (folded, flags) = fold_kinks(&network);
        assert_eq!(flags, [true, true, false]);
        for x in [[0.3, -0.8], [-1.0, 0.4], [2.0, 1.0]] {
            let (want, got) = (network.evaluate(&x).1[0], folded.evaluate(&x).1[0]);
            assert!((want - got).abs() < 1e-6, "{want} {got}");
        }
    }
}
