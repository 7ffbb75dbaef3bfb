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
    /// Fits every stage behind the polynomials before it, on `widening` times the range of its arguments.
    ///
    /// # Panics
    /// Without calibration inputs.
    #[must_use]
    pub fn fit(network: &Network, inputs: &[impl AsRef<[f32]>], degree: usize, widening: f64) -> Self {
        let mut values: Vec<Vec<f64>> = inputs.iter().map(|input| double(input.as_ref())).collect();
        let mut stages = Vec::with_capacity(network.stages.len());
        for stage in &network.stages {
            if !stage.factors.is_empty() {
                stages.push(product(stage, &mut values));
                continue;
            }
            let pre = evaluated(&stage.rows, &values);
            let mut samples = vec![Vec::new(); stage.functions.len()];
            for pre in &pre {
                pre.iter().zip(&stage.channel).for_each(|(&x, &channel)| samples[channel as usize].push(x));
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
        let outputs = values.iter().flat_map(|values| network.output_rows.iter().map(|row| row.evaluate(values).abs()));
        Self {
            input: network.input.clone(),
            inputs: network.inputs.clone(),
            stages,
            output: network.output.clone(),
            output_bound: outputs.fold(0.0, f64::max),
            output_rows: network.output_rows.clone(),
            output_operator: network.output_operator.clone(),
            client_ops: network.client_ops.clone(),
        }
    }
}
