//! Networks for tests: rows, stages and the shell around them.

use std::collections::BTreeMap;

use heman_core::model::client_op::ClientOps;
use heman_core::model::function::Function;
use heman_core::model::network::{Network, Row, Stage, Tap, TensorInfo};

/// `bias + sum weight value`; weights of one value are added.
#[must_use]
pub fn row(bias: f64, taps: impl IntoIterator<Item = (usize, f32)>) -> Row {
    let mut sums = BTreeMap::new();
    taps.into_iter().for_each(|(source, weight)| *sums.entry(source as u32).or_insert(0.0) += weight);
    let taps: Vec<Tap> = sums.into_iter().map(|(source, weight)| Tap { source, weight }).collect();
    Row { bias, taps: taps.into() }
}

/// A stage of `channels` channels of equal size with one function.
#[must_use]
pub fn stage(shape: &[usize], rows: Vec<Row>, channels: usize, function: &Function) -> Stage {
    let each = rows.len() / channels;
    Stage {
        name: "stage".into(),
        operator: String::new(),
        shape: shape.to_vec(),
        channel: (0..rows.len()).map(|row| (row / each) as u32).collect(),
        functions: vec![function.clone(); channels],
        rows,
        factors: Vec::new(),
    }
}

/// A stage that multiplies rows with factors.
#[must_use]
pub fn products(shape: &[usize], rows: Vec<Row>, factors: Vec<Row>, channels: usize) -> Stage {
    Stage { factors, ..stage(shape, rows, channels, &Function::X) }
}

/// A network of nameless tensors; the output is a vector.
#[must_use]
pub fn network(input: &[usize], stages: Vec<Stage>, output_rows: Vec<Row>) -> Network {
    let tensor = |shape: &[usize]| TensorInfo { name: String::new(), shape: shape.to_vec() };
    Network {
        input: tensor(input),
        inputs: vec![tensor(input)],
        stages,
        output: tensor(&[1, output_rows.len()]),
        output_rows,
        output_operator: String::new(),
        client_ops: ClientOps::default(),
    }
}
