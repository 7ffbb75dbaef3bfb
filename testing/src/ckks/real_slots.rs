//! Plans in the ring of real slots.

use heman_core::ckks::cost::CkksCost;
use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::plan::Plan;
use heman_core::ckks::plan::latency::LatencyPlan;
use heman_core::ckks::planner::chains::chains;
use heman_core::ckks::planner::simulate::SlotNoise;

/// log2 of the smallest dimension at which the noise of real slots is as small as networks here ask for.
const LOG2_DEGREE: u32 = 14;

/// A plan for single inputs with the same polynomials and lanes in the ring of real slots; its noise is predicted on
/// the inputs.
///
/// # Panics
/// If no set is deep enough, or the input does not fit.
#[must_use]
pub fn latency_in_real_slots(plan: &Plan, inputs: &[Vec<f32>]) -> Plan {
    let mut network = plan.network.clone();
    let chain = chains(&network, (RingKind::Real, LOG2_DEGREE), true, &[]).swap_remove(0);
    network.keep(&chain);
    let (network, ckks) = (&network, chain.params);
    let lanes = plan.params.inputs_per_run();
    let (latency, _) = LatencyPlan::new(network, &ckks, &CkksCost::default(), lanes).expect("the input fits");
    let noise = SlotNoise::packed(network, &ckks, Some(&latency)).expect("the chain is deep enough");
    let squares = |(at, input): (usize, &Vec<f32>)| -> Vec<f64> {
        let noisy = network.simulate(input, &noise, at as u64);
        network.evaluate(input).iter().zip(noisy).map(|(exact, noisy)| (exact - noisy).powi(2)).collect()
    };
    let squares: Vec<f64> = inputs.iter().enumerate().flat_map(squares).collect();
    let noise = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    let (low, high) = (plan.params.input.low, plan.params.input.high);
    let mut own = Plan::new(network.clone(), ckks, Some(latency), (low, high)).expect("there are no bootstraps");
    own.params.output.noise = noise;
    own
}
