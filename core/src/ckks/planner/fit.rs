//! Polynomials for the functions of a network, stage after stage.

use crate::ckks::plan::activation::{Activation, Form};
use crate::ckks::plan::polynomials::double;
use crate::ckks::plan::polynomials::{PolynomialNetwork, PolynomialStage, Scaling};
use crate::ckks::planner::least_squares::Channel;
use crate::model::network::{Network, Row, Stage, Tap};

/// For each input the values of rows.
fn evaluated(rows: &[Row], values: &[Vec<f64>]) -> Vec<Vec<f64>> {
    values.iter().map(|values| rows.iter().map(|row| row.evaluate(values)).collect()).collect()
}

/// Products, their factors scaled by what each channel reaches on the calibration data; adds them to the values.
fn product(stage: &Stage, values: &mut [Vec<f64>]) -> PolynomialStage {
    let sides = [evaluated(&stage.rows, values), evaluated(&stage.factors, values)];
    let radii = sides.each_ref().map(|side| {
        let mut radii = vec![1e-9_f64; stage.functions.len()];
        for (x, &channel) in side.iter().flat_map(|x| x.iter().zip(&stage.channel)) {
            radii[channel as usize] = radii[channel as usize].max(x.abs());
        }
        radii
    });
    for (at, values) in values.iter_mut().enumerate() {
        values.extend(sides[0][at].iter().zip(&sides[1][at]).map(|(x, y)| x * y));
    }
    let scaled = |(row, &channel): (&Row, &u32)| {
        let radius = radii[1][channel as usize];
        let tap = |tap: &Tap| Tap { weight: (f64::from(tap.weight) / radius) as f32, ..*tap };
        Row { bias: row.bias / radius, taps: row.taps.iter().map(tap).collect() }
    };
    let activation =
        |(&x, &y): (&f64, &f64)| Activation { centre: 0.0, radius: x, form: Form::Product { gain: x * y } };
    PolynomialStage {
        name: stage.name.clone(),
        operator: stage.operator.clone(),
        shape: stage.shape.clone(),
        rows: stage.rows.clone(),
        factors: stage.factors.iter().zip(&stage.channel).map(scaled).collect(),
        channel: stage.channel.clone(),
        activations: radii[0].iter().zip(&radii[1]).map(activation).collect(),
        scaling: Scaling::default(),
    }
}

impl PolynomialNetwork {
    /// As [`PolynomialNetwork::fit_each`], all polynomials of one degree.
    ///
    /// # Panics
    /// Without inputs.
    #[must_use]
    pub fn fit(network: &Network, inputs: &[impl AsRef<[f32]>], degree: usize, widening: f64) -> Self {
        let exact: Vec<Vec<f64>> = inputs.iter().map(|input| network.evaluate(&double(input.as_ref())).0).collect();
        let exact: Vec<&[f64]> = exact.iter().map(Vec::as_slice).collect();
        Self::fit_each(network, &exact, &vec![(degree, widening); network.stages.len()]).0
    }

    /// Fits the polynomials of every stage, of a degree each, on so many times the range of what they really read
    /// behind the polynomials before them, to the values that the network itself has there: so they make up for the
    /// errors before them, as far as their argument tells. `exact` are all of the network's values for each input. Also
    /// gives what the polynomials make of each input.
    ///
    /// # Panics
    /// Without inputs, or unless there is a degree for every stage, those of products among them, which have none.
    #[must_use]
    pub fn fit_each(network: &Network, exact: &[&[f64]], degrees: &[(usize, f64)]) -> (Self, Vec<Vec<f64>>) {
        assert_eq!(degrees.len(), network.stages.len(), "a degree for every stage");
        let mut values: Vec<Vec<f64>> = exact.iter().map(|exact| exact[..network.input.len()].to_vec()).collect();
        let mut stages = Vec::with_capacity(network.stages.len());
        for (stage, &(degree, widening)) in network.stages.iter().zip(degrees) {
            if !stage.factors.is_empty() {
                stages.push(product(stage, &mut values));
                continue;
            }
            let pre = evaluated(&stage.rows, &values);
            let mut samples = vec![Vec::new(); stage.functions.len()];
            for ((pre, own), exact) in pre.iter().zip(&values).zip(exact) {
                let seen = pre.iter().copied().zip(exact[own.len()..].iter().copied());
                seen.zip(&stage.channel).for_each(|(seen, &channel)| samples[channel as usize].push(seen));
            }
            let functions: Vec<_> = stage.functions.iter().map(|f| |x: f64| f.evaluate(x)).collect();
            let channels: Vec<Channel<'_>> =
                samples.into_iter().zip(&functions).map(|(samples, f)| Channel { samples, function: f }).collect();
            let activations = Activation::fit(&channels, degree, widening);
            for (values, pre) in values.iter_mut().zip(&pre) {
                values.extend(pre.iter().zip(&stage.channel).map(|(&x, &c)| activations[c as usize].evaluate(x, 1.0)));
            }
            stages.push(PolynomialStage {
                name: stage.name.clone(),
                operator: stage.operator.clone(),
                shape: stage.shape.clone(),
                rows: stage.rows.clone(),
                factors: Vec::new(),
                channel: stage.channel.clone(),
                activations,
                scaling: Scaling::default(),
            });
        }
        let output = |values: &Vec<f64>| network.output_rows.iter().map(|row| row.evaluate(values)).collect();
        let outputs: Vec<Vec<f64>> = values.iter().map(output).collect();
        let fitted = Self {
            input: network.input.clone(),
            inputs: network.inputs.clone(),
            stages,
            output: network.output.clone(),
            output_bound: outputs.iter().flatten().fold(0.0, |most, y| most.max(y.abs())),
            output_rows: network.output_rows.clone(),
            output_operator: network.output_operator.clone(),
            client_ops: network.client_ops.clone(),
            refresh: None,
        };
        (fitted, outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client_op::ClientOps;
    use crate::model::function::{Function, Unary};
    use crate::model::network::TensorInfo;

    /// Two rectified values, `stages` times.
    fn network(stages: usize) -> Network {
        let tensor = |name: &str| TensorInfo { name: name.into(), shape: vec![1, 2] };
        let tap = |source: usize, weight: f32| Tap { source: source as u32, weight };
        let rows = |first: usize| -> Vec<Row> {
            let row = |at: usize| Row { bias: 0.1, taps: [tap(first, 0.7), tap(first + 1, at as f32 - 0.6)].into() };
            (0..2).map(row).collect()
        };
        let stage = |at: usize| Stage {
            name: format!("stage {at}"),
            operator: "Gemm".into(),
            shape: vec![1, 2],
            rows: rows(2 * at),
            factors: Vec::new(),
            channel: vec![0, 0],
            functions: vec![Function::unary(Unary::Relu)],
        };
        Network {
            input: tensor("x"),
            inputs: vec![tensor("x")],
            stages: (0..stages).map(stage).collect(),
            output: tensor("y"),
            output_rows: rows(2 * stages),
            output_operator: "Gemm".into(),
            client_ops: ClientOps::default(),
        }
    }

    #[test]
    fn each_stage_has_its_degree_and_makes_up_for_those_before_it() {
        let inputs: Vec<Vec<f64>> = (0..40).map(|at| vec![f64::from(at).sin(), (0.7 * f64::from(at)).cos()]).collect();
        let network = network(3);
        let exact: Vec<Vec<f64>> = inputs.iter().map(|input| network.evaluate(input).0).collect();
        let exact: Vec<&[f64]> = exact.iter().map(Vec::as_slice).collect();
        let (fitted, _) = PolynomialNetwork::fit_each(&network, &exact, &[2, 8, 4].map(|degree| (degree, 1.15)));
        let own: Vec<usize> = fitted.stages.iter().map(|stage| stage.activations[0].form.degree()).collect();
        assert_eq!(own, [2, 8, 4]);
        // Behind the first stage's errors the network's own value is told better by what it is there than by the
        // function of an argument that is off.
        let (mut corrected, mut function) = (0.0, 0.0);
        for exact in &exact {
            let values = fitted.all_values(exact[..2].to_vec(), &mut |_| 0.0).0;
            for (at, row) in network.stages[1].rows.iter().enumerate() {
                corrected += (values[4 + at] - exact[4 + at]).powi(2);
                function += (row.evaluate(&values).max(0.0) - exact[4 + at]).powi(2);
            }
        }
        assert!(corrected < function, "{corrected} and {function}");
    }
}
