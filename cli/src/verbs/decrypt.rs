//! `heman decrypt`: ciphertexts to a tensor.

use heman_client::{ClientError, Output as Answer};
use serde_json::json;
use tracing::info_span;

use super::Output;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::answers::answer_bytes;
use crate::io::output::{Access, Target};
use crate::io::place::input_name;
use crate::io::sealed::{read_output, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Decrypt) -> Result<(), CliError> {
    let input_name = input_name(&args.input);
    let target = Target::claim(&args.output, Access::Owner, &[&args.key, input_name])?;
    let key = read_secret_key(&args.key)?;
    let output = read_output(input_name, &key)?;
    let decrypting = info_span!("decrypt", inputs = output.count()).entered();
    let answers = key.decrypt(&output, args.share.then_some(args.shares)).map_err(|error| match error {
        ClientError::NotShared => CliError::refusal(format!("--share is for CKKS: {error}")),
        other => CliError::file(&args.input, other),
    })?;
    drop(decrypting);
    let bytes = answer_bytes(&answers)?;
    let is_stdout = target.is_stdout();
    target.write_with(|out| out.write_all(&bytes).map(|()| bytes.len() as u64))?;
    let inputs = output.count();
    let outputs: Vec<_> = answers
        .iter()
        .map(|answer| json!({ "name": answer.name, "shape": answer.tensor.shape, "columns": answer.columns }))
        .collect();
    let shape = answers.first().map(|answer| &answer.tensor.shape);
    let object = json!({
        "output": report::path(&args.output),
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
    report::print_beside(is_stdout, out.json, &object, &text)
}

fn line(answer: &Answer) -> String {
    let columns = if answer.columns.is_empty() { String::new() } else { format!(": {}", answer.columns.join(", ")) };
    format!("\n  {} {:?}{columns}", answer.name, answer.tensor.shape)
}
