//! Whole CKKS inferences on the host beside the reference: no word differs, and the results are right.

use heman_client::ckks::SecretKey;
use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::plan::Plan;
use heman_core::ckks::planner::{Options, plan};
use heman_core::ckks::session::Session;
use heman_core::device::cpu::CpuBackend;
use heman_core::device::reference::ReferenceBackend;
use heman_core::files::sealed::Sealed;
use heman_core::model::function::{Binary, Function};
use heman_core::model::network::Network;
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_testing::dual::Dual;
use heman_testing::networks::{self, network, row, stage};

const INPUTS: usize = 64;

/// Squares of neighbours' differences, their products with inputs, and sums of all.
fn squares_and_products() -> Network {
    let square = Function::Binary(Binary::Mul, Box::new(Function::X), Box::new(Function::X));
    let difference = |i: usize| row(0.1, [(i, 0.7), ((i + 1) % INPUTS, -0.4)]);
    let squares = stage(&[1, 4], (0..4).map(difference).collect(), 4, &square);
    let values = (0..4).map(|i| row(0.2, [(INPUTS + i, 1.0), (i, 0.5)])).collect();
    let factors = (0..4).map(|i| row(0.0, [(i + 4, 1.0)])).collect();
    let products = networks::products(&[1, 4], values, factors, 4);
    let sum = |o: usize| row(0.3, (0..8).map(|i| (INPUTS + i, 0.2 * ((i + o) % 4) as f32 - 0.3)));
    network(&[1, INPUTS], vec![squares, products], (0..3).map(sum).collect())
}

fn samples(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|at| (0..INPUTS).map(|i| ((at * INPUTS + i) as f32 * 1.37).sin()).collect()).collect()
}

#[test]
fn no_word_differs_in_either_packing() {
    for (batch, packing) in [(1, "latency"), (20_000, "throughput")] {
        for rings in [&[RingKind::Complex], &[RingKind::Real]] {
            let options = Options {
                budget: LossBudget { max_loss: 0.05, task: Task::Regress, ..LossBudget::default() },
                batch,
                rings,
                ..Options::default()
            };
            let plan = plan(&squares_and_products(), &samples(200), &options, &NoProgress).expect("a plan");
            assert_eq!(plan.params.packing.describe(), packing);
            no_word_differs(&plan);
        }
    }
}

fn no_word_differs(plan: &Plan) {
    let key = SecretKey::generate(&plan.params).expect("sound parameters");
    let keys = key.evaluation_key(&NoProgress);
    let inputs = samples(plan.params.inputs_per_run().min(3));
    let encrypted = key.encrypt(&inputs.concat(), true).expect("values in range");

    let host = || CpuBackend::new(2).expect("threads");
    let occupancy = plan.params.packing.occupancy();
    let dual = Dual::new(host(), ReferenceBackend).ring(&plan.params.ckks, occupancy).expect("sound parameters");
    let session = Session::new(std::slice::from_ref(&dual), plan, &keys, u64::MAX).expect("a plan and its keys");
    let (output, _) = session.run(&encrypted, &NoProgress).expect("no difference");
    let alone = host().ring(&plan.params.ckks, occupancy).expect("sound parameters");
    let session = Session::new(std::slice::from_ref(&alone), plan, &keys, u64::MAX).expect("a plan and its keys");
    let (of_host, _) = session.run(&encrypted, &NoProgress).expect("fresh ciphertexts");
    assert!(output.seal(&plan.params) == of_host.seal(&plan.params), "the host's words are handed out");

    let results = key.decrypt_values(&output).expect("sound ciphertexts");
    assert_eq!(results.len(), inputs.len());
    for (got, input) in results.iter().zip(&inputs) {
        for (got, want) in got.iter().zip(plan.network.evaluate(input)) {
            assert!((got - want).abs() < 1e-3, "{got} for {want}");
        }
    }
}
