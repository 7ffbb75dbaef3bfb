//! What becomes of bytes: the parser, and whatever is cheap of what the next verb would do.

use heman_arrays::labels::labels_of_bytes;
use heman_arrays::{Arrays, Entry};
use heman_client::{check_inputs, ckks, tfhe};
use heman_core::ckks::plan::width::Width;
use heman_core::ckks::schedule::latency::LatencySchedule;
use heman_core::ckks::schedule::throughput::ThroughputSchedule;
use heman_core::either::files::EvaluationKey;
use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::either::streams::{InputReader, OutputReader, input_file_bytes, output_file_bytes};
use heman_core::files::chunks::Reader;
use heman_core::files::scheme::Scheme;
use heman_core::files::sealed::Sealed;
use heman_core::model::client_op::ClientOps;
use heman_core::model::network::TensorInfo;
use heman_core::tfhe::plan::affine;
use heman_core::tfhe::schedule::Schedule;
use heman_engine::Profiles;

use crate::kind::Kind;
use crate::seeds::owner;

/// Elements, terms and table entries that are computed; larger ones are work that somebody asked for.
const FEW: usize = 1 << 12;

/// Gives bytes to the parser of a kind; whether it takes them.
///
/// # Panics
/// If what is taken is not what is written back: nothing else may panic.
pub fn feed(kind: Kind, bytes: &[u8]) -> bool {
    let taken = match kind {
        Kind::Params(_) => params(bytes),
        Kind::Plan(_) => Reader::of_bytes(bytes).ok().and_then(|file| Plan::open(file).ok()).map(|plan| run(&plan)),
        Kind::Key(Scheme::Tfhe) => {
            let key = Reader::of_bytes(bytes).ok().and_then(|file| tfhe::SecretKey::open(file, &(), None).ok());
            key.map(|key| assert!(key.params().check().is_ok(), "parameters of a key are checked"))
        }
        Kind::Key(Scheme::Ckks) => {
            let key = Reader::of_bytes(bytes).ok().and_then(|file| ckks::SecretKey::open(file, &(), None).ok());
            key.map(|key| assert!(key.params().check().is_ok(), "parameters of a key are checked"))
        }
        Kind::EvaluationKey(scheme) => {
            let file = Reader::of_bytes(bytes).ok();
            file.and_then(|file| EvaluationKey::open(file, &owner(scheme).params, None).ok()).map(drop)
        }
        Kind::Input(scheme) => input(bytes, scheme),
        Kind::Output(scheme) => output(bytes, scheme),
        Kind::Devices => Profiles::parse(bytes).ok().map(|profiles| {
            assert_eq!(
                Profiles::parse(profiles.to_json().as_bytes()).as_ref(),
                Ok(&profiles),
                "what is written is read"
            );
        }),
        Kind::Onnx => heman_import::import_bytes(bytes).ok().map(drop),
        Kind::Arrays => arrays(bytes),
    };
    taken.is_some()
}

fn params(bytes: &[u8]) -> Option<()> {
    let params = Params::from_json(bytes).ok()?;
    let text = match &params {
        Params::Tfhe(params) => params.to_json(),
        Params::Ckks(params) => params.to_json(),
    };
    assert!(Params::from_json(text.as_bytes()).is_ok_and(|again| again == params), "what is written is read");
    let _ = (params.binding(), input_file_bytes(&params, u32::MAX), output_file_bytes(&params, u32::MAX));
    let (input, output, ops) = match &params {
        Params::Tfhe(params) => (&params.input.tensor, &params.output.tensor, &params.output.client_ops),
        Params::Ckks(params) => (&params.input.tensor, &params.output.tensor, &params.output.client_ops),
    };
    if input.len() <= FEW {
        let _ = check_inputs(&params, &vec![0.25; input.len()]);
    }
    client(output, ops);
    Some(())
}

/// The client's program on a few values.
fn client(decrypted: &TensorInfo, ops: &ClientOps) {
    let elements = |shape: &[usize]| shape.iter().try_fold(1_usize, |all, &own| all.checked_mul(own));
    let few = |shape: &Vec<usize>| elements(shape).is_some_and(|elements| elements <= FEW);
    let is_little = ops.shapes(&decrypted.shape).is_ok_and(|shapes| shapes.iter().all(few));
    let _ = ops.names();
    if is_little && decrypted.len() <= FEW {
        let _ = ops.run(&decrypted.shape, &vec![0.5; decrypted.len()]);
    }
}

fn run(plan: &Plan) {
    let _ = (plan.params_json(), plan.sealed_bytes());
    match plan {
        Plan::Tfhe(plan) => {
            let _ = Schedule::new(plan).to_string();
            for table in plan.stages.iter().flat_map(|stage| &stage.tables).take(8) {
                let _ = table.polynomial(256);
            }
            let terms: usize = plan.stages.iter().map(|stage| stage.affine.term_count()).sum();
            if terms + plan.output.term_count() <= FEW && plan.value_count() <= FEW {
                let mut values = vec![3; plan.params.input.tensor.len()];
                for stage in &plan.stages {
                    let more = affine::evaluate(&stage.affine, &values);
                    values.extend(more);
                }
                let _ = affine::evaluate(&plan.output, &values);
            }
        }
        Plan::Ckks(plan) => {
            if plan.network.value_count() + plan.network.term_count() <= FEW {
                let _ = plan.network.evaluate(&vec![0.25; plan.network.input.len()]);
            }
            let params = &plan.params.ckks;
            match &plan.latency {
                Some(latency) => {
                    let _ = LatencySchedule::new(&plan.network, latency, params).map(|schedule| schedule.to_string());
                }
                None => {
                    let schedule = ThroughputSchedule::new(&plan.network, params, Width::of_threads(params, 2));
                    let _ = schedule.map(|schedule| schedule.to_string());
                }
            }
        }
    }
}

fn input(bytes: &[u8], scheme: Scheme) -> Option<()> {
    let mut reader = InputReader::open(Reader::of_bytes(bytes).ok()?, &owner(scheme).params, None).ok()?;
    while reader.next(2).ok()?.is_some() {}
    Some(())
}

fn output(bytes: &[u8], scheme: Scheme) -> Option<()> {
    let mut reader = OutputReader::open(Reader::of_bytes(bytes).ok()?, &owner(scheme).params, None).ok()?;
    while reader.next(2).ok()?.is_some() {}
    Some(())
}

/// Everything in the file, as a verb reads it that takes all arrays and labels.
fn arrays(bytes: &[u8]) -> Option<()> {
    let labels = labels_of_bytes("a file in memory", bytes);
    let mut arrays = Arrays::of_bytes("a file in memory", bytes.to_vec()).ok()?;
    let entries: Vec<Entry> = arrays.entries().to_vec();
    arrays.check_size(&entries).ok()?;
    for entry in &entries {
        let numbers = arrays.read(entry).ok()?;
        let shape = &entry.header.shape;
        assert_eq!(numbers.len(), shape.iter().product::<usize>(), "as many numbers as the shape {shape:?} has");
        assert!(numbers.held_bytes() as u64 <= entry.header.data_bytes(), "no more memory than the file takes");
        let (_, few) = (arrays.full_name(entry), numbers.len().min(FEW));
        let _ = numbers.part(numbers.len() - few..numbers.len());
    }
    labels.ok().map(drop)
}
