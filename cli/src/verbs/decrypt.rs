//! `heman decrypt`: ciphertexts to a tensor.

use heman_client::{ClientError, Output as Answer};
use serde_json::json;

use super::Output;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::answers::answer_bytes;
use crate::io::output::{Access, write};
use crate::io::sealed::{read_output, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Decrypt) -> Result<(), CliError> {
    let key = read_secret_key(&args.key)?;
    let output = read_output(&args.input, &key)?;
    let answers = key.decrypt(&output, args.share.then_some(args.shares)).map_err(|error| match error {
        ClientError::NotShared => CliError::new(format!("--share is for CKKS: {error}")),
        other => CliError::file(&args.input, other),
    })?;
    write(&args.output, &answer_bytes(&answers)?, Access::Owner)?;
    let inputs = output.count();
    let outputs: Vec<_> = answers
        .iter()
        .map(|answer| json!({ "name": answer.name, "shape": answer.tensor.shape, "columns": answer.columns }))
        .collect();
    let shape = answers.first().map(|answer| &answer.tensor.shape);
    let object = json!({
        "output": args.output,
        "inputs": inputs,
        "shared": args.share,
        "shape": shape,
        "outputs": outputs,
    });
    let text = match answers.as_slice() {
        [only] => format!("wrote {} ({inputs} result(s), shape {:?})", args.output.display(), only.tensor.shape),
        several => {
            let lines: String = several.iter().map(line).collect();
            format!("wrote {} ({inputs} result(s), an .npz of {} arrays){lines}", args.output.display(), several.len())
        }
    };
    report::print_either(out.json, &object, &text);
    Ok(())
}

fn line(answer: &Answer) -> String {
    let columns = if answer.columns.is_empty() { String::new() } else { format!(": {}", answer.columns.join(", ")) };
    format!("\n  {} {:?}{columns}", answer.name, answer.tensor.shape)
}
