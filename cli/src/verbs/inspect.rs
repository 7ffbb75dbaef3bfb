//! `heman inspect`: what a file is and what it says, without secrets.

use std::path::Path;

use heman_core::ciphertext::{EncryptedInput, EncryptedOutput};
use heman_core::evaluation_key::SeededEvaluationKey;
use heman_core::format::{self, Kind};
use heman_core::import::{MAX_FILE_BYTES, import_bytes};
use heman_core::params::Params;
use heman_core::schedule::Schedule;
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
    let mut start = read_start(path)?;
    if let Ok(kind) = format::kind_of(&start) {
        return sealed(path, kind, stage);
    }
    start.retain(|byte| !byte.is_ascii_whitespace());
    if start.first() == Some(&b'{') {
        let params = crate::io::sealed::read_params(path)?;
        return Ok(parameters("parameters", &params));
    }
    model(path)
}

fn read_start(path: &Path) -> Result<Vec<u8>, CliError> {
    use std::io::Read;
    let fail = |error: std::io::Error| CliError::new(format!("cannot read {}: {error}", path.display()));
    let mut start = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(64).read_to_end(&mut start).map_err(fail)?;
    Ok(start)
}

fn parameters(kind: &str, params: &Params) -> (Value, String) {
    let mut object = report::params_json(params);
    report::merge(&mut object, json!({ "kind": kind }));
    (object, format!("{kind}\n{}", report::params_text(params)))
}

fn sealed(path: &Path, kind: Kind, stage: InspectStage) -> Result<(Value, String), CliError> {
    match kind {
        Kind::Plan => {
            let plan = read_plan(path)?;
            let (mut object, mut text) = parameters("plan", &plan.params);
            let layers = report::plan_layers(&plan);
            let schedule = Schedule::new(&plan);
            report::merge(&mut object, json!({ "layers": report::layers_json(&layers), "slots": schedule.slots }));
            text += "\n\n";
            text += &if stage == InspectStage::Schedule { schedule.to_string() } else { report::layers_text(&layers) };
            Ok((object, text))
        }
        Kind::SecretKey => {
            let key = read_secret_key(path)?;
            let (object, text) = parameters("secret key", key.params());
            Ok((object, text))
        }
        Kind::EvaluationKey => {
            let (binding, body) = format::read_file(path, kind, LIMIT).map_err(|e| CliError::file(path, e))?;
            let key = SeededEvaluationKey::from_body(&body).map_err(|e| CliError::file(path, e))?;
            let mut object = report::tfhe_json(&key.params);
            let size = format::HEADER_BYTES + body.len();
            report::merge(&mut object, json!({ "kind": "evaluation key", "bytes": size, "binding": hex(&binding) }));
            let p = &key.params;
            let text = format!(
                "evaluation key, {} (masks left out)\nn = {}, k = {}, N = {}\nbelongs to parameters {}",
                report::bytes(size as u64),
                p.lwe_dimension,
                p.glwe_dimension,
                p.polynomial_size,
                hex(&binding)
            );
            Ok((object, text))
        }
        Kind::Input | Kind::Output => {
            let (binding, body) = format::read_file(path, kind, LIMIT).map_err(|e| CliError::file(path, e))?;
            let images = ciphertext_images(kind, &body).map_err(|e| CliError::file(path, e))?;
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

fn ciphertext_images(kind: Kind, body: &[u8]) -> Result<u32, format::FormatError> {
    if kind == Kind::Input { EncryptedInput::images_of(body) } else { EncryptedOutput::images_of(body) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn model(path: &Path) -> Result<(Value, String), CliError> {
    let network = import_bytes(&read_bounded(path, MAX_FILE_BYTES)?).map_err(|error| CliError::file(path, error))?;
    let terms = |rows: &[heman_core::network::Row]| rows.iter().map(|row| row.taps.len()).sum();
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
