//! What a network gives for the calibration inputs.

use rayon::prelude::*;

use crate::deadline::{Deadline, Late};
use crate::model::network::Network;

/// The calibration inputs with the plaintext network's outputs.
pub struct Calibration {
    /// The inputs, flattened.
    pub inputs: Vec<Vec<f64>>,
    /// The network's output for each input, before the client's operators.
    pub outputs: Vec<Vec<f64>>,
    /// How far they reach.
    pub ranges: Ranges,
}

/// How far inputs and outputs reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// Number of inputs.
    pub count: usize,
    /// Smallest and largest input element.
    pub input: (f64, f64),
    /// Smallest and largest of each output element.
    pub outputs: Vec<(f64, f64)>,
}

impl Calibration {
    /// Evaluates the network on every input; each must have its length, and there must be at least one.
    ///
    /// # Errors
    /// [`Late`] behind the deadline.
    pub fn collect(network: &Network, inputs: &[Vec<f32>], deadline: Deadline) -> Result<Self, Late> {
        Self::trace(network, inputs, deadline, |_| (), |(), _, _, _| ()).map(|(calibration, _)| calibration)
    }

    /// How far some of the inputs, and their outputs, reach.
    #[must_use]
    pub fn ranges_of(&self, inputs: &[usize]) -> Ranges {
        Ranges::of(inputs.iter().map(|&at| (&self.inputs[at], &self.outputs[at])), self.ranges.outputs.len())
    }

    /// As [`Calibration::collect`]; also gives what `see` made, for each input, of the arguments of all functions: it
    /// is called with what `start` gave for the input's number, and with stage, row and argument in the order of
    /// evaluation.
    ///
    /// # Errors
    /// As [`Calibration::collect`].
    pub fn trace<T: Send>(
        network: &Network,
        inputs: &[Vec<f32>],
        deadline: Deadline,
        start: impl Fn(usize) -> T + Sync,
        see: impl Fn(&mut T, usize, usize, f64) + Sync,
    ) -> Result<(Self, Vec<T>), Late> {
        let inputs: Vec<Vec<f64>> = inputs.iter().map(|x| x.iter().map(|&v| f64::from(v)).collect()).collect();
        let evaluate = |(at, input): (usize, &Vec<f64>)| {
            deadline.check()?;
            let mut trace = start(at);
            let (_, output) = network.evaluate_with(input, |stage, row, z| see(&mut trace, stage, row, z));
            Ok((output, trace))
        };
        let evaluated: Result<Vec<(Vec<f64>, T)>, Late> = inputs.par_iter().enumerate().map(evaluate).collect();
        let (outputs, traces): (Vec<Vec<f64>>, Vec<T>) = evaluated?.into_iter().unzip();
        let ranges = Ranges::of(inputs.iter().zip(&outputs), network.output.len());
        Ok((Self { inputs, outputs, ranges }, traces))
    }
}

impl Ranges {
    fn of<'a>(pairs: impl Iterator<Item = (&'a Vec<f64>, &'a Vec<f64>)> + Clone, outputs: usize) -> Self {
        Self {
            count: pairs.clone().count(),
            input: range(pairs.clone().flat_map(|(x, _)| x.iter().copied())),
            outputs: (0..outputs).map(|at| range(pairs.clone().map(|(_, y)| y[at]))).collect(),
        }
    }
}

fn range(mut values: impl Iterator<Item = f64>) -> (f64, f64) {
    let start = values.next().unwrap_or(0.0);
    values.fold((start, start), |(low, high), x| (low.min(x), high.max(x)))
}
