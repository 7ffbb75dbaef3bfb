//! Polynomials for the functions of a network, stage after stage.

use crate::ckks::plan::activation::{Activation, DEGREES, Form};
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

/// Degrees of the polynomials of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degrees {
    /// Of all stages but the last.
    pub before: usize,
    /// Of the last stage.
    pub last: usize,
}

impl Degrees {
    /// What is tried, the cheapest first. Errors of the stages before the last are multiplied by all maps behind them,
    /// so that its polynomials may be coarser, and it may do with a level less.
    pub const TRIED: [Self; DEGREES.len() + 1] = {
        let [two, three, four, six, eight] = DEGREES;
        let mixed = Self { before: eight, last: four };
        [Self::alike(two), Self::alike(three), Self::alike(four), mixed, Self::alike(six), Self::alike(eight)]
    };

    /// One for all.
    #[must_use]
    pub const fn alike(degree: usize) -> Self {
        Self { before: degree, last: degree }
    }

    /// Those of [`Degrees::TRIED`] that differ for a network: where only one stage has polynomials, they are alike.
    #[must_use]
    pub fn of(network: &Network) -> Vec<Self> {
        let stages = network.stages.iter().filter(|stage| stage.factors.is_empty()).count();
        Self::TRIED.into_iter().filter(|own| stages > 1 || own.before == own.last).collect()
    }
}

impl PolynomialNetwork {
    /// Fits every stage behind the polynomials before it, on `widening` times the range of its arguments.
    ///
    /// # Panics
    /// Without calibration inputs.
    #[must_use]
    pub fn fit(network: &Network, inputs: &[impl AsRef<[f32]>], degree: usize, widening: f64) -> Self {
        Self::fit_each(network, inputs, Degrees::alike(degree), widening)
    }

    /// The same with another degree for the last stage.
    ///
    /// # Panics
    /// Without calibration inputs.
    #[must_use]
    pub fn fit_each(network: &Network, inputs: &[impl AsRef<[f32]>], degrees: Degrees, widening: f64) -> Self {
        let last = network.stages.iter().rposition(|stage| stage.factors.is_empty());
        let mut values: Vec<Vec<f64>> = inputs.iter().map(|input| double(input.as_ref())).collect();
        let mut stages = Vec::with_capacity(network.stages.len());
        for (at, stage) in network.stages.iter().enumerate() {
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
            let degree = if Some(at) == last { degrees.last } else { degrees.before };
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
            refresh: None,
        }
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
    fn the_last_stage_has_a_degree_of_its_own() {
        let inputs: Vec<Vec<f32>> = (0..40).map(|at| vec![(at as f32).sin(), (0.7 * at as f32).cos()]).collect();
        for degrees in Degrees::of(&network(3)) {
            let fitted = PolynomialNetwork::fit_each(&network(3), &inputs, degrees, 1.15);
            let own: Vec<usize> = fitted.stages.iter().map(|stage| stage.activations[0].form.degree()).collect();
            assert_eq!(own, [degrees.before, degrees.before, degrees.last]);
        }
        assert_eq!(Degrees::of(&network(3)).len(), DEGREES.len() + 1);
        assert_eq!(Degrees::of(&network(1)), DEGREES.map(Degrees::alike));
    }
}
