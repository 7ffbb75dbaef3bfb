//! Sessions of the engine: batches streamed through either scheme, and mixtures refused.

use heman_client::SecretKey;
use heman_core::ckks::cost::CkksCost;
use heman_core::ckks::files::ciphertexts::EncryptedOutput as CkksOutput;
use heman_core::ckks::planner as ckks;
use heman_core::either::files::{EncryptedInput, EncryptedOutput};
use heman_core::either::plan::Plan;
use heman_core::either::planner::{self, Options};
use heman_core::files::scheme::Scheme;
use heman_core::model::client_op::ClientOps;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::{Network, Row, Stage, Tap, TensorInfo};
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::tfhe::planner::options as tfhe;
use heman_engine::{DeviceChoice, Devices, EngineError, Inputs, Profiles, Wanted};
use heman_testing::required::is_required;

const MOST_LOSS: f64 = 0.05;

/// `(x0 + 1/4)^2 + x1 + 1/4` and `x2 - x3 + 1/4`.
fn network() -> Network {
    let row = |taps: &[(u32, f32)]| Row {
        bias: 0.25,
        taps: taps.iter().map(|&(source, weight)| Tap { source, weight }).collect(),
    };
    let square = Stage {
        name: "square".into(),
        operator: "Square".into(),
        shape: vec![1, 1],
        rows: vec![row(&[(0, 1.0)])],
        factors: Vec::new(),
        channel: vec![0],
        functions: vec![Function::unary(Unary::Square)],
    };
    let tensor = |length| TensorInfo { name: "x".into(), shape: vec![1, length] };
    Network {
        input: tensor(4),
        inputs: vec![tensor(4)],
        stages: vec![square],
        output: tensor(2),
        output_rows: vec![row(&[(1, 1.0), (4, 1.0)]), row(&[(2, 1.0), (3, -1.0)])],
        output_operator: "Gemm".into(),
        client_ops: ClientOps::default(),
    }
}

fn samples(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|at| (0..4).map(|i| ((at * 4 + i) as f32 * 0.77).sin()).collect()).collect()
}

fn planned(scheme: Scheme) -> Plan {
    let tfhe = tfhe::Options { max_loss: MOST_LOSS, task: Task::Regress, ..tfhe::Options::default() };
    let ckks = ckks::Options {
        max_loss: MOST_LOSS,
        confident: false,
        task: Task::Regress,
        batch: 1,
        cost: CkksCost::default(),
    };
    planner::plan(Some(scheme), &network(), &samples(64), &Options { tfhe, ckks }, &NoProgress).expect("a plan").plan
}

fn opened(choice: &DeviceChoice, threads: usize, plan: &Plan) -> Result<Devices, EngineError> {
    let profiles = Profiles::default();
    Devices::open(&Wanted { choice, threads, inputs: 1, profiles: &profiles }, plan, &NoProgress)
}

/// Batches of the given sizes, one after the other, encrypted when they are asked for.
struct Batches<'a> {
    key: &'a SecretKey,
    sizes: Vec<usize>,
    done: usize,
}

impl Inputs for Batches<'_> {
    fn next(&mut self, most: usize) -> Result<Option<EncryptedInput>, EngineError> {
        assert!(most > 0);
        let Some(size) = self.sizes.pop() else { return Ok(None) };
        let batch = samples(self.done + size).split_off(self.done).concat();
        self.done += size;
        Ok(Some(self.key.encrypt(&batch, true).expect("values in range")))
    }
}

#[test]
fn batches_stream_through_sessions_of_either_scheme() {
    for scheme in [Scheme::Tfhe, Scheme::Ckks] {
        let plan = planned(scheme);
        let key = SecretKey::generate(&plan.params()).expect("sound parameters");
        let devices = opened(&DeviceChoice::Cpu, 2, &plan).expect("the host");
        assert_eq!((devices.count(), devices.names().contains("2 threads")), (1, true));
        for is_timed in [false, true] {
            let session = devices
                .session(&plan, &key.evaluation_key(&NoProgress), u64::MAX, is_timed, &NoProgress)
                .expect("loads");
            let mut inputs = Batches { key: &key, sizes: vec![2, 3, 1], done: 0 };
            let mut outputs: Vec<EncryptedOutput> = Vec::new();
            let timings = session.run(&mut inputs, &mut outputs, &NoProgress).expect("runs");
            assert_eq!(outputs.iter().map(EncryptedOutput::count).collect::<Vec<_>>(), [1, 3, 2]);
            assert!(!timings.total.is_zero());
            assert_eq!(timings.steps.is_empty(), !is_timed || scheme == Scheme::Ckks);
            let values: Vec<Vec<f64>> =
                outputs.iter().flat_map(|output| key.decrypt_values(output).expect("its key")).collect();
            for (got, input) in values.iter().zip(samples(6)) {
                let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
                for (got, want) in got.iter().zip(network().evaluate(&input).1) {
                    assert!((got - want).abs() < 0.2, "{scheme:?}: {got} instead of {want}");
                }
            }
        }
    }
}

#[test]
fn keys_and_inputs_of_the_other_scheme_are_refused() {
    let (plan, other) = (planned(Scheme::Tfhe), planned(Scheme::Ckks));
    let [key, other_key] = [&plan, &other].map(|plan| SecretKey::generate(&plan.params()).expect("sound parameters"));
    let devices = opened(&DeviceChoice::Auto, 1, &plan).expect("the host");
    let refused = devices.session(&plan, &other_key.evaluation_key(&NoProgress), u64::MAX, false, &NoProgress).err();
    assert!(matches!(refused, Some(EngineError::Scheme("evaluation key"))));
    let session =
        devices.session(&plan, &key.evaluation_key(&NoProgress), u64::MAX, false, &NoProgress).expect("loads");
    let input = other_key.encrypt(&[0.0; 4], false).expect("values in range");
    assert!(matches!(session.pass(&input, &NoProgress).err(), Some(EngineError::Scheme("encrypted input"))));
}

/// TFHE on an adapter computes exactly, the host rounds: both decrypt to the network's outputs. CKKS gives the same words.
#[test]
fn an_adapter_runs_plans_of_both_schemes() {
    for scheme in [Scheme::Tfhe, Scheme::Ckks] {
        let plan = planned(scheme);
        let devices = match opened(&DeviceChoice::Wgpu(0), 1, &plan) {
            Ok(devices) => devices,
            Err(error) => {
                assert!(!is_required("wgpu"), "{error}");
                println!("skipped: {error}");
                return;
            }
        };
        assert!(devices.names().starts_with("wgpu 0, ") && devices.needed_bytes(&plan, 1).is_none());
        let key = SecretKey::generate(&plan.params()).expect("sound parameters");
        let evaluation = key.evaluation_key(&NoProgress);
        let input = key.encrypt(&samples(1).concat(), true).expect("values in range");
        let pass = |devices: &Devices| {
            let session = devices.session(&plan, &evaluation, u64::MAX, false, &NoProgress).expect("loads");
            session.pass(&input, &NoProgress).expect("runs").0
        };
        let got = pass(&devices);
        let x: Vec<f64> = samples(1)[0].iter().map(|&x| f64::from(x)).collect();
        let values = key.decrypt_values(&got).expect("its key").remove(0);
        for (got, want) in values.iter().zip(network().evaluate(&x).1) {
            assert!((got - want).abs() < 0.2, "{scheme:?}: {got} instead of {want}");
        }
        let host = pass(&opened(&DeviceChoice::Cpu, 1, &plan).expect("the host"));
        if let (EncryptedOutput::Ckks(got), EncryptedOutput::Ckks(host)) = (got, host) {
            let words = |output: CkksOutput| {
                output.ciphertexts.into_iter().flat_map(|parts| [parts.body, parts.mask]).collect::<Vec<_>>()
            };
            assert!(words(got) == words(host), "other words than the host's");
        }
    }
}
