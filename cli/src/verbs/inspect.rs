//! `heman inspect`: what a file is and what it says, without secrets.

use std::path::Path;

use heman_client::AnyKey;
use heman_core::ckks::files::ciphertexts as ckks;
use heman_core::either::params::AnyParams;
use heman_core::either::plan::AnyPlan;
use heman_core::files::container as format;
use heman_core::files::container::Kind;
use heman_core::files::scheme::Scheme;
use heman_core::import::{MAX_FILE_BYTES, import_bytes};
use heman_core::tfhe::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::schedule::Schedule;
use serde_json::{Value, json};

use super::Context;
use crate::args::{Inspect, InspectStage};
use crate::error::CliError;
use crate::io::samples::read_bounded;
use crate::io::sealed::{read_plan, read_secret_key};
use crate::report::{self, Layer};

/// Largest file that is inspected, in bytes.
const LIMIT: u64 = 8 << 30;

/// Runs the verb.
pub fn run(context: &Context, args: &Inspect) -> Result<(), CliError> {
    let (object, text) = describe(&args.file, args.stage)?;
    report::print_either(context.json, &object, &text);
    Ok(())
}

fn describe(path: &Path, stage: InspectStage) -> Result<(Value, String), CliError> {
    let mut start = format::read_start(path).map_err(|error| CliError::file(path, error))?;
    if let Ok(kind) = format::kind_of(&start) {
        let scheme = format::scheme_of(&start).map_err(|error| CliError::file(path, error))?;
        return sealed(path, kind, scheme, stage);
    }
    start.retain(|byte| !byte.is_ascii_whitespace());
    if start.first() == Some(&b'{') {
        let params = crate::io::sealed::read_params(path)?;
        return Ok(parameters("parameters", &params));
    }
    model(path)
}

fn parameters(kind: &str, params: &AnyParams) -> (Value, String) {
    let (mut object, text) = match params {
        AnyParams::Tfhe(params) => (report::tfhe::params_json(params), report::tfhe::params_text(params)),
        AnyParams::Ckks(params) => (report::ckks::params_json(params), report::ckks::params_text(params)),
    };
    report::merge(&mut object, json!({ "kind": kind }));
    (object, format!("{kind}\n{text}"))
}

fn sealed(path: &Path, kind: Kind, scheme: Scheme, stage: InspectStage) -> Result<(Value, String), CliError> {
    match kind {
        Kind::Plan => {
            let plan = read_plan(path)?;
            let (mut object, text, layers) = report::plan(&plan);
            let steps = match &plan {
                AnyPlan::Tfhe(plan) => {
                    let schedule = Schedule::new(plan);
                    report::merge(&mut object, json!({ "slots": schedule.slots }));
                    schedule.to_string()
                }
                AnyPlan::Ckks(plan) => report::ckks::schedule_text(plan)?,
            };
            report::merge(&mut object, json!({ "kind": "plan", "layers": report::layers_json(&layers) }));
            let table = if stage == InspectStage::Schedule { steps } else { report::layers_text(&layers) };
            Ok((object, format!("plan\n{text}\n\n{table}")))
        }
        Kind::SecretKey => {
            let params = match read_secret_key(path)? {
                AnyKey::Tfhe(key) => AnyParams::Tfhe(key.params().clone()),
                AnyKey::Ckks(key) => AnyParams::Ckks(key.params().clone()),
            };
            Ok(parameters("secret key", &params))
        }
        Kind::EvaluationKey if scheme == Scheme::Ckks => {
            let (binding, body) = format::read_file(path, kind, scheme, LIMIT).map_err(|e| CliError::file(path, e))?;
            let key = heman_core::ckks::files::evaluation_key::SeededEvaluationKey::from_body(&body)
                .map_err(|e| CliError::file(path, e))?;
            let rotations: Vec<&u32> = key.rotations.keys().collect();
            let size = format::HEADER_BYTES + body.len();
            let object = json!({
                "kind": "evaluation key",
                "scheme": "ckks",
                "bytes": size,
                "rotations": rotations,
                "binding": hex(&binding),
            });
            let text = format!(
                "evaluation key of CKKS, {} (masks left out)\nrotations by {rotations:?}\nbelongs to parameters {}",
                report::bytes(size as u64),
                hex(&binding)
            );
            Ok((object, text))
        }
        Kind::EvaluationKey => {
            let (binding, body) = format::read_file(path, kind, scheme, LIMIT).map_err(|e| CliError::file(path, e))?;
            let key = SeededEvaluationKey::from_body(&body).map_err(|e| CliError::file(path, e))?;
            let mut object = report::tfhe::set_json(&key.params);
            let size = format::HEADER_BYTES + body.len();
            report::merge(&mut object, json!({ "kind": "evaluation key", "bytes": size, "binding": hex(&binding) }));
            let p = &key.params;
            let text = format!(
                "evaluation key, {} (masks left out)\nn = {}{}, k = {}, N = {}\nbelongs to parameters {}",
                report::bytes(size as u64),
                p.lwe_dimension,
                report::tfhe::grouping(p),
                p.glwe_dimension,
                p.polynomial_size,
                hex(&binding)
            );
            Ok((object, text))
        }
        Kind::Input | Kind::Output => {
            let (binding, body) = format::read_file(path, kind, scheme, LIMIT).map_err(|e| CliError::file(path, e))?;
            let images = ciphertext_images(kind, scheme, &body).map_err(|e| CliError::file(path, e))?;
            let (name, size) = (kind.describe(), format::HEADER_BYTES + body.len());
            let object = json!({ "kind": name, "inputs": images, "bytes": size, "binding": hex(&binding) });
            let text = format!(
                "{name}: {images} input(s), {}\nbelongs to parameters {}",
                report::bytes(size as u64),
                hex(&binding)
            );
            Ok((object, text))
        }
    }
}

fn ciphertext_images(kind: Kind, scheme: Scheme, body: &[u8]) -> Result<u32, format::FormatError> {
    match (kind, scheme) {
        (Kind::Input, Scheme::Tfhe) => EncryptedInput::images_of(body),
        (_, Scheme::Tfhe) => EncryptedOutput::images_of(body),
        (Kind::Input, Scheme::Ckks) => ckks::EncryptedInput::images_of(body),
        (_, Scheme::Ckks) => ckks::EncryptedOutput::images_of(body),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn model(path: &Path) -> Result<(Value, String), CliError> {
    let network = import_bytes(&read_bounded(path, MAX_FILE_BYTES)?).map_err(|error| CliError::file(path, error))?;
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
    let object = json!({
        "kind": "model",
        "input": network.input,
        "output": network.output,
        "client_ops": network.client_ops,
        "activations": network.activation_count(),
        "layers": report::layers_json(&layers),
    });
    let client = if network.client_ops.is_empty() {
        String::new()
    } else {
        format!("after decryption, by the client: {:?}\n", network.client_ops)
    };
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
