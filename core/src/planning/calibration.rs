//! What a network gives for the calibration inputs.

use rayon::prelude::*;

use crate::model::network::Network;

/// The calibration inputs with the plaintext network's outputs.
pub struct Calibration {
    /// The inputs, flattened.
    pub inputs: Vec<Vec<f64>>,
    /// The network's output for each input, before the client's operators.
    pub outputs: Vec<Vec<f64>>,
    /// Smallest and largest input element.
    pub input_range: (f64, f64),
    /// Smallest and largest of each output element.
    pub output_range: Vec<(f64, f64)>,
}

impl Calibration {
    /// Evaluates the network on every input; each must have its length, and there must be at least one.
    #[must_use]
    pub fn collect(network: &Network, inputs: &[Vec<f32>]) -> Self {
        Self::trace(network, inputs, |_| (), |(), _, _, _| ()).0
    }

    /// The same for some of the inputs.
    #[must_use]
    pub fn subset(&self, inputs: &[usize]) -> Self {
        let of = |all: &[Vec<f64>]| -> Vec<Vec<f64>> { inputs.iter().map(|&input| all[input].clone()).collect() };
        let (inputs, outputs) = (of(&self.inputs), of(&self.outputs));
        let (input_range, output_range) = ranges(&inputs, &outputs, self.output_range.len());
        Self { inputs, outputs, input_range, output_range }
    }

    /// As [`Calibration::collect`]; also gives what `see` made, for each input, of the arguments of all functions: it
    /// is called with what `start` gave for the input's number, and with stage, row and argument in the order of
    /// evaluation.
    pub fn trace<T: Send>(
        network: &Network,
        inputs: &[Vec<f32>],
        start: impl Fn(usize) -> T + Sync,
        see: impl Fn(&mut T, usize, usize, f64) + Sync,
    ) -> (Self, Vec<T>) {
        let inputs: Vec<Vec<f64>> = inputs.iter().map(|x| x.iter().map(|&v| f64::from(v)).collect()).collect();
        let evaluate = |(at, input): (usize, &Vec<f64>)| {
            let mut trace = start(at);
            let (_, output) = network.evaluate_with(input, |stage, row, z| see(&mut trace, stage, row, z));
            (output, trace)
        };
        let (outputs, traces): (Vec<Vec<f64>>, Vec<T>) = inputs.par_iter().enumerate().map(evaluate).unzip();
        let (input_range, output_range) = ranges(&inputs, &outputs, network.output.len());
        (Self { inputs, outputs, input_range, output_range }, traces)
    }
}

/// Range of all input elements, and of each output element.
fn ranges(inputs: &[Vec<f64>], outputs: &[Vec<f64>], width: usize) -> ((f64, f64), Vec<(f64, f64)>) {
    let outputs = (0..width).map(|o| range(outputs.iter().map(|y| y[o]))).collect();
    (range(inputs.iter().flatten().copied()), outputs)
}

fn range(mut values: impl Iterator<Item = f64>) -> (f64, f64) {
    let start = values.next().unwrap_or(0.0);
    values.fold((start, start), |(low, high), x| (low.min(x), high.max(x)))
}
