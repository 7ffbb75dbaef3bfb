//! What a network gives for the calibration inputs.

use rayon::prelude::*;

use crate::deadline::{Deadline, Late};
use crate::model::network::{LANES, Lanes, Network};

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
        let all: Vec<usize> = (0..inputs.len()).collect();
        let groups: Vec<&[usize]> = all.chunks(LANES).collect();
        let traced = Self::trace(network, doubles(inputs), &groups, deadline, |_| (), |(), _, _| ());
        traced.map(|(calibration, _)| calibration)
    }

    /// How far some of the inputs, and their outputs, reach.
    #[must_use]
    pub fn ranges_of(&self, inputs: &[usize]) -> Ranges {
        Ranges::of(inputs.iter().map(|&at| (&self.inputs[at], &self.outputs[at])), self.ranges.outputs.len())
    }

    /// As [`Calibration::collect`], the inputs in groups that hold each of them once. Also gives what `see` made of all
    /// that was computed for each group: it is called with what `start` gave for the group, the numbers of a few
    /// inputs, and what the network gives for them.
    ///
    /// # Errors
    /// As [`Calibration::collect`].
    pub fn trace<T: Send>(
        network: &Network,
        inputs: Vec<Vec<f64>>,
        groups: &[&[usize]],
        deadline: Deadline,
        start: impl Fn(&[usize]) -> T + Sync,
        see: impl Fn(&mut T, &[usize], &Lanes) + Sync,
    ) -> Result<(Self, Vec<T>), Late> {
        let evaluate = |group: &&[usize]| {
            let mut seen = start(group);
            let mut outputs: Vec<(usize, Vec<f64>)> = Vec::with_capacity(group.len());
            for together in group.chunks(LANES) {
                deadline.check()?;
                let own: Vec<&[f64]> = together.iter().map(|&at| inputs[at].as_slice()).collect();
                let lanes = network.evaluate_lanes(&own);
                see(&mut seen, together, &lanes);
                let output = |lane: usize| lanes.output.iter().map(|y| y[lane]).collect();
                outputs.extend(together.iter().enumerate().map(|(lane, &at)| (at, output(lane))));
            }
            Ok((outputs, seen))
        };
        let evaluated: Result<Vec<_>, Late> = groups.par_iter().map(evaluate).collect();
        let mut outputs = vec![Vec::new(); inputs.len()];
        let mut seen = Vec::with_capacity(groups.len());
        for (of_group, own) in evaluated? {
            of_group.into_iter().for_each(|(at, output)| outputs[at] = output);
            seen.push(own);
        }
        let ranges = Ranges::of(inputs.iter().zip(&outputs), network.output.len());
        Ok((Self { inputs, outputs, ranges }, seen))
    }
}

/// Inputs in the precision that networks are evaluated in.
#[must_use]
pub fn doubles(inputs: &[Vec<f32>]) -> Vec<Vec<f64>> {
    inputs.iter().map(|input| input.iter().map(|&x| f64::from(x)).collect()).collect()
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
