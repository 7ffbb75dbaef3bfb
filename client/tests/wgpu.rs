//! Whole inferences on whatever adapter there is, a software one as well: the words of the host's mirrors. With
//! `HEMAN_REQUIRE=wgpu` a missing driver is a failure.

use heman_client::SecretKey;
use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::planner as ckks;
use heman_core::ckks::session::Session as CkksSession;
use heman_core::device::cpu::CpuBackend;
use heman_core::either::files::{EncryptedInput, EvaluationKey};
use heman_core::either::plan::Plan;
use heman_core::either::planner::{self, Options};
use heman_core::files::scheme::Scheme;
use heman_core::model::client_op::ClientOps;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::{Network, Row, Stage, Tap, TensorInfo};
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::tfhe::cpu::ExactBackend;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::planner::options as tfhe;
use heman_core::tfhe::session::Session as TfheSession;
use heman_testing::required::is_required;
use heman_wgpu::{Restrictions, WgpuBackend};

const INPUTS: usize = 16;
const UNITS: usize = 8;
const OUTPUTS: usize = 4;
const MOST_LOSS: f64 = 0.05;

fn backend() -> Option<WgpuBackend> {
    match WgpuBackend::open(0) {
        Ok(backend) => Some(backend),
        Err(error) => {
            assert!(!is_required("wgpu"), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

/// A dense layer with squares, and one without.
fn network() -> Network {
    let row = |sources: std::ops::Range<usize>, phase: usize| Row {
        bias: 0.1,
        taps: sources
            .map(|source| Tap { source: source as u32, weight: ((source * 7 + phase * 5) as f32).sin() / 3.0 })
            .collect(),
    };
    let units = Stage {
        name: "units".into(),
        operator: "Square".into(),
        shape: vec![1, UNITS],
        rows: (0..UNITS).map(|unit| row(0..INPUTS, unit)).collect(),
        factors: Vec::new(),
        channel: vec![0; UNITS],
        functions: vec![Function::unary(Unary::Square)],
    };
    let tensor = |length| TensorInfo { name: "x".into(), shape: vec![1, length] };
    Network {
        input: tensor(INPUTS),
        inputs: vec![tensor(INPUTS)],
        stages: vec![units],
        output: tensor(OUTPUTS),
        output_rows: (0..OUTPUTS).map(|output| row(INPUTS..INPUTS + UNITS, output)).collect(),
        output_operator: "Gemm".into(),
        client_ops: ClientOps::default(),
    }
}

fn samples(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|at| (0..INPUTS).map(|i| ((at * INPUTS + i) as f32 * 0.77).sin()).collect()).collect()
}

fn planned(scheme: Scheme, batch: usize) -> Plan {
    let tfhe = tfhe::Options {
        budget: LossBudget { max_loss: MOST_LOSS, task: Task::Regress, ..LossBudget::default() },
        ..tfhe::Options::default()
    };
    let ckks = ckks::Options {
        budget: LossBudget { max_loss: MOST_LOSS, task: Task::Regress, ..LossBudget::default() },
        batch,
        ..ckks::Options::default()
    };
    planner::plan(Some(scheme), &network(), &samples(64), &Options { tfhe, ckks }, &NoProgress).expect("a plan").plan
}

/// A plan's key, and encrypted inputs.
fn encrypted(plan: &Plan, count: usize) -> (SecretKey, EvaluationKey, EncryptedInput) {
    let key = SecretKey::generate(&plan.params()).expect("sound parameters");
    let evaluation = key.evaluation_key(&NoProgress);
    let input = key.encrypt(&samples(count).concat(), true).expect("in range");
    (key, evaluation, input)
}

#[test]
fn tfhe_gives_the_words_of_the_exact_mirror() {
    let Some(backend) = backend() else { return };
    let plan = planned(Scheme::Tfhe, 1);
    let (_, key, input) = encrypted(&plan, 1);
    let (Plan::Tfhe(plan), EvaluationKey::Tfhe(key), EncryptedInput::Tfhe(input)) = (&plan, &key, &input) else {
        panic!("all of one scheme")
    };
    fn rows<B: TfheBackend>(
        backend: &B,
        plan: &heman_core::tfhe::plan::Plan,
        key: &heman_core::tfhe::files::evaluation_key::SeededEvaluationKey,
        input: &heman_core::tfhe::files::ciphertexts::EncryptedInput,
    ) -> Vec<u32> {
        let session = TfheSession::new(std::slice::from_ref(backend), plan, key).expect("loads");
        session.run(input, &NoProgress).expect("runs").0.rows
    }
    let mirror = ExactBackend::new(CpuBackend::new(0).expect("threads"));
    assert!(rows(&backend, plan, key, input) == rows(&mirror, plan, key, input));
}

/// On the adapter as it is, and with bindings so short that every slab is needed.
#[test]
fn ckks_gives_the_words_of_the_host_in_both_packings() {
    let Some(backend) = backend() else { return };
    let restrictions = Restrictions { binding_bytes: Some(6 << 20), ..Restrictions::default() };
    let short = WgpuBackend::restricted(0, restrictions).expect("it was there");
    let host = CpuBackend::new(0).expect("threads");
    for (batch, inputs) in [(1, 2), (1 << 14, 3)] {
        let plan = planned(Scheme::Ckks, batch);
        let (_, key, input) = encrypted(&plan, inputs);
        let (Plan::Ckks(plan), EvaluationKey::Ckks(key), EncryptedInput::Ckks(input)) = (&plan, &key, &input) else {
            panic!("all of one scheme")
        };
        let occupancy = plan.params.packing.occupancy();
        macro_rules! run {
            ($device:expr) => {{
                let ring = $device.ring(&plan.params.ckks, occupancy).expect("a ring");
                let session = CkksSession::new(std::slice::from_ref(&ring), plan, key, 1 << 30).expect("loads");
                let output = session.run(input, &NoProgress).expect("runs").0;
                output.ciphertexts.iter().map(|parts| (parts.body.clone(), parts.mask.clone())).collect::<Vec<_>>()
            }};
        }
        let want = run!(host);
        assert!(run!(backend) == want, "{:?}", plan.params.packing);
        assert!(run!(short) == want, "{:?}, in short bindings", plan.params.packing);
    }
}
