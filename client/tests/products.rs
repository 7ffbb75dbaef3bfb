//! Products of encrypted values under both schemes, planned from a network and against its plaintext.

use heman_client::{ckks, tfhe};
use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::planner as ckks_planner;
use heman_core::ckks::session::Session as CkksSession;
use heman_core::device::cpu::CpuBackend;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::Network;
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::tfhe::planner;
use heman_core::tfhe::session::Session;
use heman_testing::networks::{self, row, stage};

const INPUTS: usize = 12;
const MOST_LOSS: f64 = 0.05;

/// `x_i tanh(x_{i+1} - x_{i+2})` and sums of them.
fn network() -> Network {
    let shape = [1, INPUTS];
    let difference = |i: usize| row(0.0, [((i + 1) % INPUTS, 1.0), ((i + 2) % INPUTS, -1.0)]);
    let gates = stage(&shape, (0..INPUTS).map(difference).collect(), INPUTS, &Function::unary(Unary::Tanh));
    let values = |first: usize| (first..first + INPUTS).map(|value| row(0.0, [(value, 1.0)])).collect();
    let products = networks::products(&shape, values(0), values(INPUTS), INPUTS);
    let sum = |first: usize| row(0.5, (0..6).map(|i| (2 * INPUTS + first + i, 1.0)));
    networks::network(&shape, vec![gates, products], vec![sum(0), sum(6)])
}

fn samples(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|at| (0..INPUTS).map(|i| ((at * INPUTS + i) as f32 * 1.37).sin()).collect()).collect()
}

/// Root mean square of the error over that of the outputs.
fn relative_error(results: &[Vec<f64>], inputs: &[Vec<f32>]) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (got, input) in results.iter().zip(inputs) {
        let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        for (got, want) in got.iter().zip(network().evaluate(&input).1) {
            error += (got - want) * (got - want);
            size += want * want;
        }
    }
    f64::sqrt(error / size)
}

#[test]
fn tfhe_takes_squares() {
    let options = planner::options::Options {
        budget: LossBudget { max_loss: MOST_LOSS, task: Task::Regress, ..LossBudget::default() },
        ..planner::options::Options::default()
    };
    let plan = planner::plan(&network(), &samples(200), &options, &NoProgress).expect("a plan").plan;
    let key = tfhe::SecretKey::generate(&plan.params).expect("secure parameters");
    let keys = key.evaluation_key(&NoProgress);
    let backend = CpuBackend::new(0).expect("threads");
    let session = Session::new(std::slice::from_ref(&backend), &plan, &keys).expect("loads");
    let inputs = samples(8);
    let encrypted = key.encrypt(&inputs.concat(), true).expect("in range");
    let (output, _) = session.run(&encrypted, &NoProgress).expect("runs");
    let error = relative_error(&key.decrypt_values(&output), &inputs);
    assert!(error < 2.0 * MOST_LOSS, "{error}");
}

#[test]
fn ckks_multiplies() {
    for batch in [1, 20_000] {
        let options = ckks_planner::Options {
            budget: LossBudget { max_loss: MOST_LOSS, task: Task::Regress, ..LossBudget::default() },
            batch,
            ..ckks_planner::Options::default()
        };
        let plan = ckks_planner::plan(&network(), &samples(200), &options, &NoProgress).expect("a plan");
        assert_eq!(plan.network.activation_count(), 2 * INPUTS, "a product is one multiplication");
        let key = ckks::SecretKey::generate(&plan.params).expect("sound parameters");
        let ring = CpuBackend::new(0).expect("threads").ring(&plan.params.ckks, plan.params.packing.occupancy());
        let ring = ring.expect("sound parameters");
        let session = CkksSession::new(std::slice::from_ref(&ring), &plan, &key.evaluation_key(&NoProgress), u64::MAX)
            .expect("a plan and its keys");
        let inputs = samples(8);
        let encrypted = key.encrypt(&inputs.concat(), true).expect("values in range");
        let (output, _) = session.run(&encrypted, &NoProgress).expect("fresh ciphertexts");
        let error = relative_error(&key.decrypt_values(&output).expect("sound ciphertexts"), &inputs);
        println!("{} inputs a run: {error:.1e}", plan.params.inputs_per_run());
        assert!(error < MOST_LOSS, "{error}");
    }
}
