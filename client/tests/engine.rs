//! Sessions of the engine: batches streamed through either scheme, and mixtures refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use heman_client::SecretKey;
use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::ciphertexts::EncryptedOutput as CkksOutput;
use heman_core::ckks::planner as ckks;
use heman_core::either::files::{EncryptedInput, EncryptedOutput, EvaluationKey};
use heman_core::either::plan::Plan;
use heman_core::either::planner::{self, Options};
use heman_core::either::streams::{InputReader, OutputWriter};
use heman_core::files::chunks::Reader;
use heman_core::files::container::{Fingerprint, FormatError};
use heman_core::files::scheme::Scheme;
use heman_core::model::client_op::ClientOps;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::{Network, Row, Stage, Tap, TensorInfo};
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::tfhe::planner::options as tfhe;
use heman_engine::scheduler::{Answer, Answers, Fleet, Keys, Limits, Request, Requests};
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
    let tfhe = tfhe::Options {
        budget: LossBudget { max_loss: MOST_LOSS, task: Task::Regress, ..LossBudget::default() },
        ..tfhe::Options::default()
    };
    let ckks = ckks::Options {
        budget: LossBudget { max_loss: MOST_LOSS, task: Task::Regress, ..LossBudget::default() },
        ..ckks::Options::default()
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
            assert_eq!(timings.steps.is_empty(), !is_timed);
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

/// Requests from a list.
struct Listed(std::vec::IntoIter<Request>);

impl Requests for Listed {
    fn next(&mut self) -> Option<Request> {
        self.0.next()
    }
}

/// Answers in a list.
#[derive(Default)]
struct Collected(Vec<Answer>);

impl Answers for Collected {
    fn put(&mut self, answer: Answer) -> Result<(), EngineError> {
        self.0.push(answer);
        Ok(())
    }
}

/// Keys in memory, which count how often they are asked for.
struct InMemory<'a>(&'a [SecretKey], AtomicUsize);

impl Keys for InMemory<'_> {
    fn key(&self, of: Fingerprint) -> Result<EvaluationKey, EngineError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let key = self.0.iter().find(|key| key.fingerprint() == of);
        key.map(|key| key.evaluation_key(&NoProgress)).ok_or_else(|| EngineError::Outside("nobody's key".into()))
    }
}

/// Inputs of three keys, and of one that nobody has, on two stations that hold one key at a time.
#[test]
fn requests_of_many_keys_are_answered_once_each_under_their_own() {
    for scheme in [Scheme::Tfhe, Scheme::Ckks] {
        let plan = planned(scheme);
        let keys: Vec<SecretKey> =
            (0..4).map(|_| SecretKey::generate(&plan.params()).expect("sound parameters")).collect();
        let request = |ticket: usize| {
            let values = samples(ticket + 2).split_off(ticket).concat();
            let input = keys[ticket * 7 % 4].encrypt(&values, true).expect("values in range");
            Request { ticket: ticket as u64, input }
        };
        let requests: Vec<Request> = (0..16).map(request).collect();
        let limits = Limits { threads: 2, memory_bytes: u64::MAX, key_bytes: 1 };
        let choices = [DeviceChoice::Cpu, DeviceChoice::Cpu];
        let fleet = Fleet::open(&choices, limits, 1, &Profiles::default(), &plan, &NoProgress).expect("the host");
        assert_eq!(fleet.lanes(), 4);
        let known = InMemory(&keys[..3], AtomicUsize::new(0));
        let mut answers = Collected::default();
        fleet.run(&mut Listed(requests.into_iter()), &known, &mut answers, &NoProgress).expect("runs");
        let mut tickets: Vec<u64> = answers.0.iter().map(|answer| answer.ticket).collect();
        tickets.sort_unstable();
        assert_eq!(tickets, (0..16).collect::<Vec<u64>>());
        for Answer { ticket, outcome, course } in answers.0 {
            let ticket = ticket as usize;
            let Some(key) = keys[..3].get(ticket * 7 % 4) else {
                let error = outcome.err().expect("nobody has that key");
                assert_eq!(error.to_string(), "nobody's key");
                continue;
            };
            let output = outcome.expect("sound requests");
            assert!(course.together >= 2 && course.together.is_multiple_of(2) && course.attempts >= 1);
            let values = key.decrypt_values(&output).expect("its key");
            assert_eq!(values.len(), 2);
            for (got, input) in values.iter().zip(samples(ticket + 2).split_off(ticket)) {
                let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
                for (got, want) in got.iter().zip(network().evaluate(&input).1) {
                    assert!((got - want).abs() < 0.2, "{scheme:?}: {got} instead of {want}");
                }
            }
        }
        assert!(known.1.into_inner() >= 4, "each key is asked for");
    }
}

/// One of the inputs that share a pass lacks a value.
#[test]
fn an_unsound_request_spoils_no_other() {
    let plan = planned(Scheme::Tfhe);
    let keys = [SecretKey::generate(&plan.params()).expect("sound parameters")];
    let request = |ticket: u64| {
        let mut input = keys[0].encrypt(&samples(1).concat(), true).expect("values in range");
        if let (EncryptedInput::Tfhe(input), 3) = (&mut input, ticket) {
            input.bodies.pop();
        }
        Request { ticket, input }
    };
    let requests: Vec<Request> = (0..6).map(request).collect();
    let limits = Limits { threads: 1, memory_bytes: 0, key_bytes: u64::MAX };
    let profiles = Profiles::default();
    let fleet = Fleet::open(&[DeviceChoice::Cpu], limits, 1, &profiles, &plan, &NoProgress).expect("the host");
    assert_eq!(fleet.lanes(), 1, "no memory for two");
    let mut answers = Collected::default();
    let known = InMemory(&keys, AtomicUsize::new(0));
    fleet.run(&mut Listed(requests.into_iter()), &known, &mut answers, &NoProgress).expect("runs");
    assert_eq!(known.1.into_inner(), 1, "the key stays loaded");
    let mut failed: Vec<u64> =
        answers.0.iter().filter(|answer| answer.outcome.is_err()).map(|answer| answer.ticket).collect();
    failed.sort_unstable();
    assert_eq!((answers.0.len(), failed), (6, vec![3]));
}

#[test]
fn answers_that_cannot_be_delivered_end_the_run() {
    struct Full;
    impl Answers for Full {
        fn put(&mut self, _answer: Answer) -> Result<(), EngineError> {
            Err(EngineError::Outside("no space left".into()))
        }
    }
    let plan = planned(Scheme::Ckks);
    let keys = [SecretKey::generate(&plan.params()).expect("sound parameters")];
    let input = keys[0].encrypt(&samples(1).concat(), true).expect("values in range");
    let EncryptedInput::Ckks(input) = input else { panic!("a plan for CKKS") };
    let endless: Vec<Request> =
        (0..100).map(|ticket| Request { ticket, input: EncryptedInput::Ckks(input.clone()) }).collect();
    let limits = Limits { threads: 1, memory_bytes: u64::MAX, key_bytes: u64::MAX };
    let profiles = Profiles::default();
    let fleet = Fleet::open(&[DeviceChoice::Cpu], limits, 1, &profiles, &plan, &NoProgress).expect("the host");
    let known = InMemory(&keys, AtomicUsize::new(0));
    let error = fleet.run(&mut Listed(endless.into_iter()), &known, &mut Full, &NoProgress).expect_err("no space");
    assert_eq!(error.to_string(), "no space left");
}

/// A reader that panics leaves nobody waiting.
#[test]
#[should_panic(expected = "a scoped thread panicked")]
fn a_panic_ends_the_run() {
    struct Broken;
    impl Requests for Broken {
        fn next(&mut self) -> Option<Request> {
            panic!("a fault of the caller's");
        }
    }
    let plan = planned(Scheme::Ckks);
    let limits = Limits { threads: 1, memory_bytes: u64::MAX, key_bytes: u64::MAX };
    let profiles = Profiles::default();
    let fleet = Fleet::open(&[DeviceChoice::Cpu], limits, 1, &profiles, &plan, &NoProgress).expect("the host");
    let keys = InMemory(&[], AtomicUsize::new(0));
    let ended = fleet.run(&mut Broken, &keys, &mut Collected::default(), &NoProgress);
    unreachable!("{:?}", ended.err());
}

/// Files of a batch, written at once and in parts, read at once and in parts.
#[test]
fn files_of_a_batch_are_the_same_in_parts() {
    for scheme in [Scheme::Tfhe, Scheme::Ckks] {
        let plan = planned(scheme);
        let params = plan.params();
        let key = SecretKey::generate(&params).expect("sound parameters");
        let evaluation = key.evaluation_key(&NoProgress);
        let input = key.encrypt(&samples(7).concat(), true).expect("values in range");
        let mut file = Vec::new();
        input.seal_to(&params, &mut file).expect("memory takes everything");
        let read = || Reader::of_bytes(&file).expect("just written");
        let mut parts = InputReader::open(read(), &params, Some(key.fingerprint())).expect("just written");
        assert_eq!(parts.batch(), input.batch());
        let devices = opened(&DeviceChoice::Cpu, 1, &plan).expect("the host");
        let session = devices.session(&plan, &evaluation, u64::MAX, false, &NoProgress).expect("loads");
        let mut counts = Vec::new();
        let mut by_parts = OutputWriter::new(Vec::new(), &params, parts.batch(), key.fingerprint()).expect("memory");
        while let Some(part) = parts.next(3).expect("just written") {
            counts.push(part.count());
            let (output, _) = session.pass(&part, &NoProgress).expect("runs");
            by_parts.put(&output).expect("memory");
        }
        let unit = params.inputs_per_run();
        assert_eq!(counts, if unit == 1 { vec![3, 3, 1] } else { vec![7] }, "{unit} inputs share ciphertexts");
        let output = by_parts.finish().expect("complete");
        let output = EncryptedOutput::open(Reader::of_bytes(&output).expect("sound"), &params, None).expect("sound");
        let values = key.decrypt_values(&output).expect("its key");
        let whole = session.pass(&input, &NoProgress).expect("runs").0;
        let mut sealed = Vec::new();
        whole.seal_to(&params, &mut sealed).expect("memory");
        let mut again = OutputWriter::new(Vec::new(), &params, input.batch(), key.fingerprint()).expect("memory");
        again.put(&whole).expect("memory");
        assert_eq!(again.finish().expect("complete"), sealed);
        let whole = key.decrypt_values(&whole).expect("its key");
        assert_eq!(values.len(), 7);
        for (got, want) in values.concat().iter().zip(whole.concat()) {
            assert!((got - want).abs() < 0.2, "{scheme:?}: {got} instead of {want}");
        }
        let other = SecretKey::generate(&params).expect("sound parameters").fingerprint();
        assert!(matches!(InputReader::open(read(), &params, Some(other)), Err(FormatError::OtherKey)));
    }
}

/// What does not fit the memory is nobody's fault: no request is answered, and the run ends.
#[test]
fn too_little_memory_ends_a_run_and_fails_no_request() {
    let plan = planned(Scheme::Ckks);
    let keys = [SecretKey::generate(&plan.params()).expect("sound parameters")];
    let request = |ticket| {
        let input = keys[0].encrypt(&samples(1).concat(), true).expect("values in range");
        Request { ticket, input }
    };
    let requests: Vec<Request> = (0..3).map(request).collect();
    let limits = Limits { threads: 1, memory_bytes: 1 << 10, key_bytes: u64::MAX };
    let profiles = Profiles::default();
    let fleet = Fleet::open(&[DeviceChoice::Cpu], limits, 1, &profiles, &plan, &NoProgress).expect("the host");
    let mut answers = Collected::default();
    let known = InMemory(&keys, AtomicUsize::new(0));
    let error =
        fleet.run(&mut Listed(requests.into_iter()), &known, &mut answers, &NoProgress).expect_err("too little");
    assert!(matches!(error, EngineError::Ckks(CkksError::Memory { budget: 1024, .. })), "{error}");
    assert!(answers.0.is_empty());
}
