//! `heman decrypt`: ciphertexts to a tensor.

use std::path::Path;

use heman_client::{ClientError, Output as Answer, SecretKey};
use heman_core::either::streams::output_file_bytes;
use serde_json::json;
use tracing::info_span;

use super::Output;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::answers::answer_bytes;
use crate::io::output::{Access, Target};
use crate::io::place::input_name;
use crate::io::sealed::{bad_output, open_output, read_output, read_secret_key};
use crate::report;

/// Bytes of ciphertexts that are held at a time.
const PART_BYTES: u64 = 32 << 20;

/// Runs the verb.
pub fn run(out: &Output, args: &Decrypt) -> Result<(), CliError> {
    let input_name = input_name(&args.input);
    let target = Target::claim(&args.output, Access::Owner, &[&args.key, input_name])?;
    let key = read_secret_key(&args.key)?;
    let (inputs, answers) = if args.share { shared(args, input_name, &key)? } else { in_parts(input_name, &key)? };
    let bytes = answer_bytes(&answers)?;
    let is_stdout = target.is_stdout();
    target.write_with(|out| out.write_all(&bytes).map(|()| bytes.len() as u64))?;
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

/// The results of all inputs at once, and how many inputs there are: noise that hides them is sized by all.
fn shared(args: &Decrypt, input_name: &Path, key: &SecretKey) -> Result<(usize, Vec<Answer>), CliError> {
    let output = read_output(input_name, key)?;
    let decrypting = info_span!("decrypt", inputs = output.count()).entered();
    let answers = key.decrypt(&output, Some(args.shares)).map_err(|error| match error {
        ClientError::NotShared => CliError::refusal(format!("--share is for CKKS: {error}")),
        other => CliError::file(&args.input, other),
    })?;
    drop(decrypting);
    Ok((output.count(), answers))
}

/// The results, decrypted some inputs at a time, so that only they grow with the batch; and how many inputs there are.
fn in_parts(input_name: &Path, key: &SecretKey) -> Result<(usize, Vec<Answer>), CliError> {
    let params = key.params();
    let mut reader = open_output(input_name, &params, key)?;
    let inputs = reader.batch().inputs as usize;
    let run = params.inputs_per_run();
    let most = (PART_BYTES / output_file_bytes(&params, run as u32).max(1)).max(1) as usize * run;
    let mut all: Vec<Answer> = Vec::new();
    while let Some(part) = reader.next(most).map_err(|error| bad_output(input_name, error))? {
        let _decrypting = info_span!("decrypt", inputs = part.count()).entered();
        let answers = key.decrypt(&part, None).map_err(|error| CliError::file(input_name, error))?;
        if all.is_empty() {
            all = answers;
        } else {
            all.iter_mut().zip(answers).for_each(|(all, more)| all.tensor.append(more.tensor));
        }
    }
    Ok((inputs, all))
}

fn line(answer: &Answer) -> String {
    let columns = if answer.columns.is_empty() { String::new() } else { format!(": {}", answer.columns.join(", ")) };
    format!("\n  {} {:?}{columns}", answer.name, answer.tensor.shape)
}
