//! Small networks with bootstraps; and one of them on a device: the same words as another device's, from fresh
//! ciphertexts to those of the output.

use std::time::Instant;

use heman_core::ckks::cost::CkksCost;
use heman_core::ckks::files::evaluation_key::{SeededBootstrapKeys, SeededEvaluationKey};
use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::plan::Plan;
use heman_core::ckks::plan::activation::{Activation, Form};
use heman_core::ckks::plan::polynomials::{PolynomialNetwork, PolynomialStage};
use heman_core::ckks::planner::deep::pack;
use heman_core::ckks::planner::deep_fit::fit_deep;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::session::latency::LatencySession;
use heman_core::deadline::Deadline;
use heman_core::files::container::Fingerprint;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::{Row, Stage};
use heman_core::progress::NoProgress;

use crate::ckks::keys::{seeded_ciphertext, switch_key};
use crate::difference;
use crate::networks::{network, row, stage};

/// Values of the input, of each stage and of the output.
const WIDTH: usize = 8;

/// 26 primes at N = 2^15: a bootstrap leaves four.
#[must_use]
pub fn set() -> ParameterSet {
    ParameterSet::new(15, 25, 29, 3).expect("a secure set")
}

fn weight(seed: usize) -> f32 {
    ((seed * 2_654_435_761) % 1009) as f32 / 1009.0 - 0.5
}

/// Rows that read all values from `first` on to the next `WIDTH`, and what stands in the same place of others.
fn rows(first: usize, seed: usize, others: &[usize]) -> Vec<Row> {
    let of = |at: usize| {
        let dense = (0..WIDTH).map(move |from| (first + from, 0.7 * weight(seed + at * WIDTH + from)));
        row(0.1 * f64::from(weight(seed + at)), dense.chain(others.iter().map(move |other| (other + at, 0.5))))
    };
    (0..WIDTH).map(of).collect()
}

fn dense(first: usize, seed: usize) -> Stage {
    stage(&[1, WIDTH], rows(first, seed, &[]), WIDTH, &Function::unary(Unary::Tanh))
}

/// Inputs of reproducible numbers between -1 and 1.
#[must_use]
pub fn inputs(count: usize, phase: f32) -> Vec<Vec<f32>> {
    (0..count).map(|at| (0..WIDTH).map(|i| ((at * WIDTH + i) as f32 * 0.37 + phase).sin()).collect()).collect()
}

fn fitted(stages: Vec<Stage>, output_rows: Vec<Row>) -> PolynomialNetwork {
    let calibration = inputs(300, 0.0);
    let calibration: Vec<&[f32]> = calibration.iter().map(Vec::as_slice).collect();
    fit_deep(&network(&[1, WIDTH], stages, output_rows), &calibration, 7, Deadline::NEVER).expect("there is time")
}

/// Two stages of degree 7, both of which the output reads behind one bootstrap.
#[must_use]
pub fn two_stages() -> PolynomialNetwork {
    fitted(vec![dense(0, 1), dense(WIDTH, 100)], rows(2 * WIDTH, 200, &[WIDTH]))
}

/// A stage of degree 7, and one of squares behind the bootstrap.
#[must_use]
pub fn squared() -> PolynomialNetwork {
    let mut network = fitted(vec![dense(0, 300)], rows(WIDTH, 400, &[]));
    let form = Form::Square { gain: 0.8, shift: 0.3, constant: -0.2 };
    network.stages.push(PolynomialStage {
        name: "squares".into(),
        rows: rows(WIDTH, 500, &[]),
        channel: vec![0; WIDTH],
        activations: vec![Activation { centre: 0.1, radius: 1.5, form }],
        ..network.stages[0].clone()
    });
    network.output_rows = rows(2 * WIDTH, 600, &[WIDTH]);
    let largest = |input: &Vec<f32>| network.evaluate(input).into_iter().fold(0.0, |most: f64, y| most.max(y.abs()));
    network.output_bound = inputs(300, 0.0).iter().map(largest).fold(0.0, f64::max);
    network
}

/// The plan with a bootstrap behind a stage.
#[must_use]
pub fn planned(network: &PolynomialNetwork, after: usize) -> Plan {
    let packed = pack(network, vec![after], &set(), &CkksCost::default(), None).expect("levels that suffice");
    Plan::new(packed.network, packed.params, Some(packed.latency), (-1.0, 1.0)).expect("a sound recipe")
}

/// Keys of arbitrary residues, which equal words need no secret behind.
fn keys(plan: &Plan) -> SeededEvaluationKey {
    let (params, request) = (&plan.params.ckks, &plan.params.keys);
    let key = |number: u32, limbs: usize| switch_key(params, limbs, number);
    let limbs = request.bootstrap.expect("a bootstrap");
    let rotation = |(at, (&steps, &limbs)): (usize, (&usize, &usize))| (steps as u32, key(5 + at as u32, limbs));
    SeededEvaluationKey {
        fingerprint: Fingerprint([0; 16]),
        relinearise: Some(key(1, request.relinearisation_limbs)),
        rotations: request.rotation_limbs.iter().enumerate().map(rotation).collect(),
        bootstrap: Some(SeededBootstrapKeys {
            conjugate: key(2, limbs.conjugation_limbs),
            to_sparse: key(3, limbs.to_sparse_limbs),
            from_sparse: key(4, limbs.from_sparse_limbs),
        }),
    }
}

fn run<D: RnsDevice>(device: &D, plan: &Plan, keys: &SeededEvaluationKey) -> Vec<Ciphertext> {
    let start = Instant::now();
    let ring = device.ring(&plan.params.ckks, Occupancy::Few).expect("a sound set");
    let latency = plan.latency.as_ref().expect("latency packing");
    let session = LatencySession::new(&ring, &plan.network, latency, keys, u64::MAX).expect("a plan and its keys");
    let limbs = session.schedule().input.limbs;
    assert!(session.schedule().steps.iter().any(|step| step.bootstrap.is_some()));
    let inputs: Vec<_> =
        (0..latency.input.ciphertexts() as u32).map(|at| seeded_ciphertext(&plan.params.ckks, limbs, at)).collect();
    let outputs = session.run(&inputs, &NoProgress).expect("fresh ciphertexts");
    println!("{}: {:.1} s", device.name(), start.elapsed().as_secs_f64());
    outputs
}

/// Runs a network with a bootstrap on both devices.
pub fn equals<D: RnsDevice, T: RnsDevice>(device: &D, trusted: &T) {
    // The output reads what the bootstrap gave, and what came behind it.
    let plan = planned(&squared(), 0);
    let keys = keys(&plan);
    let (got, want) = (run(device, &plan, &keys), run(trusted, &plan, &keys));
    assert!(!want.is_empty());
    if let Some(difference) = difference::of_ciphertexts(&got, &want, plan.params.ckks.degree()) {
        panic!("a network with a bootstrap: {difference}");
    }
}
