//! Sound files of every kind, made by the crates that write them. Keys and outputs are small, and nobody's.

use std::io::Write;
use std::sync::OnceLock;

use heman_client::SecretKey;
use heman_core::ckks::cost::CkksCost;
use heman_core::ckks::files::ciphertexts as ckks_files;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::plan::Plan as CkksPlan;
use heman_core::ckks::planner::Options as CkksOptions;
use heman_core::ckks::planner::deep::pack;
use heman_core::ckks::planner::deep_fit::fit_deep;
use heman_core::deadline::Deadline;
use heman_core::either::files::EncryptedOutput;
use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::either::planner::{self, Options};
use heman_core::files::chunks::{Reader, Writer, write_value};
use heman_core::files::container::Header;
use heman_core::files::scheme::Scheme;
use heman_core::model::client_op::{ClientOp, ClientOps, ClientStep, ElementKind, NamedOutput};
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::{Network, Row, Stage, Tap, TensorInfo};
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::tfhe::files::ciphertexts as tfhe_files;
use heman_core::tfhe::planner::options::Options as TfheOptions;
use heman_engine::{CkksRates, DeviceProfile, KindRates, Profiles, RingRate, Shape, ShapeRates, Speed};

use crate::arrays;
use crate::kind::Kind;

/// Bytes of an evaluation key that a seed keeps: its head, and the beginning of what follows.
const KEY_BYTES: usize = 1 << 10;

/// What the files of one scheme belong to.
pub struct Owner {
    /// The plan.
    pub plan: Plan,
    /// Its parameters.
    pub params: Params,
    /// The secret key.
    pub key: SecretKey,
}

/// The owners of the files of TFHE and of CKKS, made once.
pub fn owner(scheme: Scheme) -> &'static Owner {
    static OWNERS: OnceLock<[Owner; 2]> = OnceLock::new();
    let all = OWNERS.get_or_init(|| [Scheme::Tfhe, Scheme::Ckks].map(owner_of));
    &all[usize::from(scheme == Scheme::Ckks)]
}

fn owner_of(scheme: Scheme) -> Owner {
    let plan = planned(scheme, 1, &network(Vec::new()));
    let params = plan.params();
    let key = SecretKey::generate(&params).expect("the planner's parameters are sound");
    Owner { plan, params, key }
}

fn row(bias: f64, taps: &[(u32, f32)]) -> Row {
    Row { bias, taps: taps.iter().map(|&(source, weight)| Tap { source, weight }).collect() }
}

/// Three scores of four inputs behind the stages, and what a client makes of them: probabilities, and a class's name.
fn network(stages: Vec<Stage>) -> Network {
    let tensor = |name: &str, length| TensorInfo { name: name.into(), shape: vec![1, length] };
    let step = |op, value| ClientStep { op, reads: vec![value] };
    let output = |name: &str, value, kind| NamedOutput { name: name.into(), value, kind, columns: Vec::new() };
    let names = vec!["ant".to_string(), "bee".into(), "wasp".into()];
    let client_ops = ClientOps {
        steps: vec![
            step(ClientOp::Softmax { axes: vec![1] }, 0),
            step(ClientOp::ArgMax { axis: 1, least: false, last: false }, 1),
            step(ClientOp::Function { functions: vec![Function::unary(Unary::Tanh)], of: Vec::new() }, 1),
            step(ClientOp::Pick { shape: vec![2], from: vec![0, 2] }, 3),
        ],
        outputs: vec![
            output("label", 2, ElementKind::Label(names)),
            output("picked", 4, ElementKind::Real),
            output("probabilities", 1, ElementKind::Real),
        ],
    };
    let values: usize = stages.iter().map(|stage| stage.rows.len()).sum();
    let source = |at: usize| if values == 0 { at as u32 } else { (4 + at % values) as u32 };
    Network {
        input: tensor("x", 4),
        inputs: vec![tensor("x", 4)],
        stages,
        output: tensor("scores", 3),
        output_rows: (0..3).map(|at| row(0.1, &[(source(at), 0.8), (3, 0.3)])).collect(),
        output_operator: "Gemm".into(),
        client_ops,
    }
}

/// A stage of two squares, each of a function of its own kind of row.
fn stage() -> Stage {
    Stage {
        name: "hidden".into(),
        operator: "Gemm + Square".into(),
        shape: vec![1, 2],
        rows: vec![row(0.2, &[(0, 0.6), (1, -0.5)]), row(-0.1, &[(1, 0.4), (2, 0.7)])],
        factors: Vec::new(),
        channel: vec![0, 1],
        functions: vec![Function::unary(Unary::Square), Function::unary(Unary::Relu)],
    }
}

fn samples() -> Vec<Vec<f32>> {
    let sample = |at: usize| (0..4).map(|i| ((at * 4 + i) as f32 * 0.77).sin()).collect();
    (0..64).map(sample).collect()
}

/// A plan of polynomials of degree 7 with a bootstrap of eight slots, on the smallest ring that has room for one.
///
/// # Panics
/// If the planner does.
#[must_use]
pub fn deep() -> CkksPlan {
    let behind = Stage { rows: vec![row(0.3, &[(4, 0.5), (5, 0.4)]), row(0.0, &[(5, -0.9)])], ..stage() };
    let mut network = network(vec![stage(), behind]);
    // The input is not bootstrapped.
    network.output_rows = (0..3).map(|at| row(0.1, &[(4 + at, 0.8), (7, 0.3)])).collect();
    let samples = samples();
    let inputs: Vec<&[f32]> = samples.iter().map(Vec::as_slice).collect();
    let polynomials = fit_deep(&network, &inputs, 7, Deadline::NEVER).expect("there is time");
    let params = ParameterSet::new(15, 25, 29, 3).expect("a secure set");
    let packed = pack(&polynomials, vec![1], &params, &CkksCost::default(), None).expect("levels that suffice");
    CkksPlan::new(packed.network, params, Some(packed.latency), (-1.0, 1.0)).expect("a sound recipe")
}

fn planned(scheme: Scheme, batch: usize, network: &Network) -> Plan {
    let samples = samples();
    let (max_loss, task) = (0.3, Task::Regress);
    let tfhe = TfheOptions { budget: LossBudget { max_loss, task, ..LossBudget::default() }, ..TfheOptions::default() };
    let ckks =
        CkksOptions { budget: LossBudget { max_loss, task, ..LossBudget::default() }, batch, ..CkksOptions::default() };
    let derived = planner::plan(Some(scheme), network, &samples, &Options { tfhe, ckks }, &NoProgress);
    derived.expect("a small network has a plan").plan
}

/// Plans of a scheme: one without stages, and small ones with all that a plan can hold; of CKKS one with a bootstrap.
#[must_use]
pub fn plans(scheme: Scheme) -> Vec<Plan> {
    let batches: &[usize] = if scheme == Scheme::Ckks { &[1, 1 << 14] } else { &[1] };
    let own = batches.iter().map(|&batch| planned(scheme, batch, &network(vec![stage()])));
    let deep = (scheme == Scheme::Ckks).then(|| Plan::Ckks(Box::new(deep())));
    own.chain([planned(scheme, 1, &network(Vec::new()))]).chain(deep).collect()
}

fn output(owner: &Owner, inputs: u32) -> EncryptedOutput {
    let fingerprint = owner.key.fingerprint();
    match &owner.params {
        Params::Tfhe(params) => {
            let words = params.output.tensor.len() * inputs as usize * params.tfhe.big_row_words();
            let rows = (0..words as u32).map(|at| at.wrapping_mul(0x9e37_79b9)).collect();
            EncryptedOutput::Tfhe(tfhe_files::EncryptedOutput { fingerprint, inputs, batched: inputs > 1, rows })
        }
        Params::Ckks(params) => {
            let words = params.ckks.primes.len().min(2) * params.ckks.degree();
            let runs = (inputs as usize).div_ceil(params.inputs_per_run()) * params.ciphertexts_per_run().1;
            let part = || (0..words as u32).map(|at| at.wrapping_mul(0x9e37_79b9) >> 12).collect();
            let ciphertexts = (0..runs).map(|_| ckks_files::Parts { body: part(), mask: part() }).collect();
            EncryptedOutput::Ckks(ckks_files::EncryptedOutput { fingerprint, inputs, batched: inputs > 1, ciphertexts })
        }
    }
}

fn profile() -> Profiles {
    let mut profiles = Profiles::default();
    let ring = RingRate {
        glwe_dimension: 4,
        polynomial_size: 512,
        pbs_level: 1,
        grouping_factor: 2,
        bootstraps_per_second: 12.5,
    };
    let shape = Shape { log2_degree: 12, limbs: 2, special_primes: 1, is_cached: true };
    let rates = KindRates { switching: 2.0, hoisted: 2.5, products: 0.5, step_seconds: 0.0, threads: 2 };
    profiles.insert(DeviceProfile {
        name: "GPU (Vulkan)".into(),
        measured: Some("2026-11-26".into()),
        tfhe: Some(Speed { threads: 3.5, rows: 7 }),
        ckks: None,
        ckks_rates: Some(CkksRates { many: rates, few: vec![ShapeRates { shape, rates }] }),
        step_seconds: 0.25,
        rings: vec![ring],
    });
    profiles
}

/// A file of that header around a body.
#[must_use]
pub fn sealed(header: &Header, body: &[u8]) -> Vec<u8> {
    let header = Header { body_bytes: body.len() as u64, ..*header };
    let mut writer = Writer::new(Vec::new(), &header).expect("memory takes everything");
    writer.write_all(body).expect("memory takes everything");
    writer.finish().expect("the body is complete")
}

/// Header and body of one of our files; none of others.
#[must_use]
pub fn opened(file: &[u8]) -> Option<(Header, Vec<u8>)> {
    let mut reader = Reader::of_bytes(file).ok()?;
    let header = *reader.header();
    Some((header, reader.rest().ok()?))
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

/// Sound files of a kind; of evaluation keys, which are large, files that end behind their heads.
#[must_use]
pub fn seeds(kind: Kind) -> Vec<Vec<u8>> {
    let to_memory = "memory takes everything";
    match kind {
        Kind::Params(scheme) => plans(scheme).iter().map(|plan| plan.params_json().into_bytes()).collect(),
        Kind::Plan(scheme) => {
            plans(scheme).iter().map(|plan| written(|out| plan.seal_to(out).expect(to_memory))).collect()
        }
        Kind::Key(scheme) => vec![written(|out| owner(scheme).key.seal_to(out).expect(to_memory))],
        Kind::EvaluationKey(scheme) => {
            let owner = owner(scheme);
            let fingerprint = owner.key.fingerprint();
            let (container_kind, scheme) = kind.sealed().expect("keys are sealed");
            let binding = owner.params.binding();
            let header = Header { kind: container_kind, scheme, binding, fingerprint, body_bytes: 0 };
            let mut body = Vec::new();
            match &owner.params {
                Params::Tfhe(params) => write_value(&params.tfhe, &mut body).expect(to_memory),
                Params::Ckks(params) => write_value(&params.keys, &mut body).expect(to_memory),
            }
            let head = sealed(&header, &body);
            body.resize(KEY_BYTES, 7);
            vec![head, sealed(&header, &body)]
        }
        Kind::Input(scheme) => {
            let owner = owner(scheme);
            let input = |inputs: usize| {
                let values = vec![0.25; 4 * inputs];
                let input = owner.key.encrypt(&values, inputs > 1).expect("values within the range");
                written(|out| assert!(input.seal_to(&owner.params, out).expect(to_memory) > 0))
            };
            vec![input(1), input(owner.params.inputs_per_run() + 1)]
        }
        Kind::Output(scheme) => {
            let owner = owner(scheme);
            let seal = |inputs, out: &mut Vec<u8>| output(owner, inputs).seal_to(&owner.params, out).expect(to_memory);
            let file = |inputs| written(|out| assert!(seal(inputs, out) > 0));
            vec![file(1), file(3)]
        }
        Kind::Arrays => arrays::seeds(),
        Kind::Devices => vec![profile().to_json().into_bytes()],
        Kind::Onnx => vec![include_bytes!("../../demo/digits.onnx").to_vec()],
    }
}
