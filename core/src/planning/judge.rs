//! What noise and approximation do to the outputs of the calibration inputs.

use crate::planning::calibration::Calibration;
use rayon::prelude::*;

use crate::model::client_op::argmax;
use crate::model::network::Network;

/// At most so many simulated inferences judge one candidate.
const MAX_RUNS: usize = 2000;
/// At most so many terms are simulated for one candidate.
const MAX_SIMULATED_TERMS: usize = 1 << 34;

/// What the model's output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Classification if the model ends in Softmax or ArgMax, or has activations and ends in a linear layer with one
    /// vector of 2 to 1,000 outputs.
    Auto,
    /// The loss is the share of inputs whose argmax changes.
    Classify,
    /// The loss is the root mean square error over the root mean square of the centred output.
    Regress,
}

/// What noise and quantisation did to the calibration inputs' outputs.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Share of inputs whose argmax differs, for classifiers.
    pub disagreement: Option<f64>,
    /// Standard error of that share as an estimate for other inputs of the same kind.
    pub standard_error: f64,
    /// Root mean square error over the root mean square of the centred output.
    pub relative_error: f64,
}

impl Loss {
    /// The number that the budget bounds: the share with its standard error, so that new inputs stay within it too.
    #[must_use]
    pub fn decisive(&self) -> f64 {
        self.disagreement.map_or(self.relative_error, |share| share + self.standard_error)
    }
}

/// Judges plans on the calibration inputs.
pub(crate) struct Judge<'a> {
    calibration: &'a Calibration,
    class_axis: Option<usize>,
    shape: &'a [usize],
}

impl<'a> Judge<'a> {
    pub(crate) fn new(network: &'a Network, calibration: &'a Calibration, task: Task) -> Self {
        let shape = &network.output.shape;
        let ends = network.client_ops.class_axis();
        let vector = shape.iter().rposition(|&d| d > 1);
        let only_axis = shape.iter().filter(|&&d| d > 1).count() == 1;
        let mixes = network.output_rows.iter().all(|row| row.taps.len() > 1);
        let only_output = network.client_ops.outputs.len() <= 1;
        let looks_like_classes =
            only_output && only_axis && mixes && network.output.len() <= 1000 && !network.stages.is_empty();
        let class_axis = match task {
            Task::Regress => None,
            Task::Classify => ends.or(vector),
            Task::Auto => ends.or(vector.filter(|_| looks_like_classes)),
        };
        Self { calibration, class_axis, shape }
    }

    /// Judges whatever gives an output for an input and a seed, with so many terms, classifiers at most `repeats` times
    /// an input.
    pub(crate) fn judge(&self, terms: usize, repeats: usize, run: impl Fn(&[f32], u64) -> Vec<f64> + Sync) -> Loss {
        let inputs = &self.calibration.inputs;
        let affordable = (MAX_SIMULATED_TERMS / terms.max(1)).clamp(20, MAX_RUNS);
        let runs = if self.class_axis.is_some() {
            affordable.min(repeats * inputs.len())
        } else {
            affordable.min(inputs.len()).min(200)
        };
        let results: Vec<(usize, usize, f64)> = (0..runs)
            .into_par_iter()
            .map(|at| {
                let index = (at * inputs.len() / runs.min(inputs.len())) % inputs.len();
                let input: Vec<f32> = inputs[index].iter().map(|&x| x as f32).collect();
                let got = run(&input, at as u64 ^ 0x5eed);
                let want = &self.calibration.outputs[index];
                let error: f64 = got.iter().zip(want).map(|(g, w)| (g - w) * (g - w)).sum();
                let (differ, total) = self.class_axis.map_or((0, 1), |axis| {
                    let (a, b) = (argmax(&got, self.shape, axis), argmax(want, self.shape, axis));
                    (a.iter().zip(&b).filter(|(a, b)| a != b).count(), a.len())
                });
                (differ, total, error)
            })
            .collect();
        let differ: usize = results.iter().map(|r| r.0).sum();
        let total: usize = results.iter().map(|r| r.1).sum();
        let error = results.iter().map(|r| r.2).sum::<f64>() / runs as f64;
        let power = centred_power(&self.calibration.outputs).max(f64::MIN_POSITIVE);
        let share = differ as f64 / total as f64;
        let decisions = (total / runs.max(1) * runs.min(inputs.len())).max(1) as f64;
        Loss {
            disagreement: self.class_axis.map(|_| share),
            standard_error: (share * (1.0 - share) / decisions).sqrt(),
            relative_error: (error / power).sqrt(),
        }
    }
}

/// Mean squared norm of the outputs around their mean; around zero where there is one output only.
fn centred_power(outputs: &[Vec<f64>]) -> f64 {
    let count = outputs.len() as f64;
    let width = outputs.first().map_or(0, Vec::len);
    (0..width)
        .map(|o| {
            let mean = outputs.iter().map(|y| y[o]).sum::<f64>() / count;
            let square = outputs.iter().map(|y| y[o] * y[o]).sum::<f64>() / count;
            let centred = square - mean * mean;
            if centred > 1e-9 * square { centred } else { square }
        })
        .sum()
}
