//! `heman inspect`: what a file is and what it says, without secrets.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use heman_client::KeyFile;
use heman_core::ckks::params::key_request::KeyRequest;
use heman_core::ckks::params::public::MOST_ROTATIONS;
use heman_core::deadline::Deadline;
use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::files::chunks::Reader;
use heman_core::files::container::{Header, Kind, MAGIC};
use heman_core::files::scheme::Scheme;
use heman_core::files::sealed::Batch;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::schedule::Schedule;
use heman_import::import_file_with;
use serde_json::{Value, json};

use super::Output;
use super::keyparams::import_failed;
use crate::args::{Inspect, InspectStage};
use crate::error::CliError;
use crate::io::sealed::{read_key_file, read_plan};
use crate::progress::Bar;
use crate::report::{self, Layer};
use crate::target;

/// Runs the verb.
pub fn run(out: &Output, args: &Inspect) -> Result<(), CliError> {
    if args.file == Path::new("-") {
        return Err(CliError::usage(
            "inspect reads a file more than once, which standard input cannot be; name a file",
        ));
    }
    let (object, text) = describe(&args.file, args)?;
    report::print_either(out.json, &object, &text)
}

fn describe(path: &Path, args: &Inspect) -> Result<(Value, String), CliError> {
    let mut start = read_start(path)?;
    if start.starts_with(&MAGIC) {
        return sealed(path, args);
    }
    start.retain(|byte| !byte.is_ascii_whitespace());
    if start.first() == Some(&b'{') {
        let params = crate::io::sealed::read_params(path)?;
        return Ok(parameters("parameters", &params));
    }
    model(path, args.deadline())
}

fn parameters(kind: &str, params: &Params) -> (Value, String) {
    let (mut object, text) = match params {
        Params::Tfhe(params) => (report::tfhe::params_json(params), report::tfhe::params_text(params)),
        Params::Ckks(params) => (report::ckks::params_json(params), report::ckks::params_text(params)),
    };
    report::merge(&mut object, json!({ "kind": kind }));
    (object, format!("{kind}\n{text}"))
}

/// The first bytes of a file: enough to tell binary files from text.
fn read_start(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    read.map_err(|error| CliError::bad_file(format!("cannot read {}: {error}", path.display())))?;
    Ok(start)
}

fn sealed(path: &Path, args: &Inspect) -> Result<(Value, String), CliError> {
    let fail = |error| CliError::file(path, error);
    let mut file = Reader::open(path).map_err(fail)?;
    let header = *file.header();
    match header.kind {
        Kind::Plan => {
            let plan = read_plan(path)?;
            let (mut object, text, layers) = report::plan(&plan);
            let steps = match &plan {
                Plan::Tfhe(plan) => {
                    let schedule = Schedule::new(plan);
                    report::merge(&mut object, json!({ "slots": schedule.slots }));
                    schedule.to_string()
                }
                Plan::Ckks(plan) => report::ckks::schedule_text(plan)?,
            };
            let (target, seconds) = target::of_plan(&args.target, &plan, &Bar::new(false))?;
            let (target_text, target_object) = (target::text(&target, seconds, 1), target::json(&target, seconds, 1));
            let more = json!({ "kind": "plan", "layers": report::layers_json(&layers), "target": target_object });
            report::merge(&mut object, more);
            let table = match args.stage {
                InspectStage::Layers => report::layers_text(&layers),
                InspectStage::Schedule => steps,
                InspectStage::Timeline => {
                    let timeline = target.timeline(&plan, args.inputs as usize);
                    let timeline = timeline.ok_or_else(|| fail_to_run(target.name()))?;
                    report::merge(&mut object, json!({ "timeline": timeline }));
                    timeline.to_string()
                }
            };
            Ok((object, format!("plan\n{text}\n{target_text}\n\n{table}")))
        }
        Kind::SecretKey | Kind::ProtectedKey => Ok(match read_key_file(path)? {
            KeyFile::Plain(key) => parameters("secret key", &key.params()),
            KeyFile::Protected(key) => {
                let scheme = key.header().scheme;
                let text = format!("secret key of {}, under a passphrase", scheme.describe());
                belonging("secret key", key.header(), json!({ "scheme": scheme, "passphrase": true }), &text)
            }
        }),
        Kind::EvaluationKey if header.scheme == Scheme::Ckks => {
            let request: KeyRequest = file.value().map_err(fail)?;
            if request.rotation_limbs.len() > MOST_ROTATIONS {
                return Err(CliError::file(path, "it has keys for more rotations than any parameters ask for"));
            }
            let rotations: Vec<&usize> = request.rotation_limbs.keys().collect();
            let object = json!({ "scheme": "ckks", "rotations": rotations });
            let lead = format!("evaluation key of CKKS, {} (masks left out)", report::bytes(header.file_bytes()));
            Ok(belonging("evaluation key", &header, object, &format!("{lead}\nrotations by {rotations:?}")))
        }
        Kind::EvaluationKey => {
            let p: ParameterSet = file.value().map_err(fail)?;
            p.check().map_err(|error| CliError::file(path, error))?;
            let text = format!(
                "evaluation key, {} (masks left out)\nn = {}{}, k = {}, N = {}",
                report::bytes(header.file_bytes()),
                p.lwe_dimension,
                report::tfhe::grouping(&p),
                p.glwe_dimension,
                p.polynomial_size,
            );
            Ok(belonging("evaluation key", &header, report::tfhe::set_json(&p), &text))
        }
        Kind::Input | Kind::Output => {
            let inputs = Batch::read(&mut file).map_err(fail)?.inputs;
            let name = header.kind.describe();
            let text = format!("{name}: {inputs} input(s), {}", report::bytes(header.file_bytes()));
            Ok(belonging(name, &header, json!({ "inputs": inputs }), &text))
        }
    }
}

fn fail_to_run(target: &str) -> CliError {
    CliError::new(format!("{target} does not run this plan, so there is no timeline"))
}

/// What is known of a file from its head: its own facts, its size, and where it belongs.
fn belonging(kind: &str, header: &Header, mut object: Value, text: &str) -> (Value, String) {
    let (binding, key) = (report::hex(&header.binding[..8]), report::hex(&header.fingerprint.0));
    let more = json!({ "kind": kind, "bytes": header.file_bytes(), "binding": binding, "key": key });
    report::merge(&mut object, more);
    (object, format!("{text}\nbelongs to parameters {binding} and key {key}"))
}

fn model(path: &Path, deadline: Deadline) -> Result<(Value, String), CliError> {
    let network = import_file_with(path, &[], deadline).map_err(|error| import_failed(path, error))?;
    let terms = |rows: &[heman_core::model::network::Row]| rows.iter().map(|row| row.taps.len()).sum();
    let mut layers: Vec<Layer> = network
        .stages
        .iter()
        .map(|stage| Layer {
            operator: stage.operator.clone(),
            name: stage.name.clone(),
            shape: stage.shape.clone(),
            activations: stage.rows.len(),
            terms: terms(&stage.rows),
            bits: None,
            seconds: None,
        })
        .collect();
    layers.push(Layer {
        operator: network.output_operator.clone(),
        name: network.output.name.clone(),
        shape: network.output.shape.clone(),
        activations: 0,
        terms: terms(&network.output_rows),
        bits: None,
        seconds: None,
    });
    let mut object = json!({
        "kind": "model",
        "input": network.input,
        "output": network.output,
        "activations": network.activation_count(),
        "layers": report::layers_json(&layers),
    });
    report::merge(&mut object, report::client::json(&network.inputs, &network.output, &network.client_ops));
    let client = report::client::text(&network.output, &network.client_ops).unwrap_or_default();
    let text = format!(
        "model: {} {:?} to {} {:?}, {} activations\n\n{}{client}",
        network.input.name,
        network.input.shape,
        network.output.name,
        network.output.shape,
        network.activation_count(),
        report::layers_text(&layers)
    );
    Ok((object, text))
}
