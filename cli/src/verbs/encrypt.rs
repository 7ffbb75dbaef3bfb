//! `heman encrypt`: a tensor to ciphertexts.

use std::io;
use std::path::{Path, PathBuf};

use heman_core::either::streams::{InputWriter, input_file_bytes};
use heman_core::files::sealed::Batch;
use serde_json::json;
use tracing::info_span;

use super::Output;
use crate::args::Encrypt;
use crate::error::CliError;
use crate::io::inputs::{files_of, read_named_inputs};
use crate::io::output::{Access, Target};
use crate::io::sealed::{inputs_at_a_time, key_name, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Encrypt) -> Result<(), CliError> {
    let files = files_of(&args.input);
    let key_name = key_name(&args.key, &args.input, &args.unlocking)?;
    let inputs: Vec<&Path> = std::iter::once(key_name).chain(files.iter().map(PathBuf::as_path)).collect();
    let target = Target::claim(&args.output, Access::Everybody, &inputs)?;
    let key = read_secret_key(key_name, &args.unlocking)?;
    let samples = read_named_inputs(&args.input, key.inputs())?;
    let params = key.params();
    samples.check(&params).map_err(|error| match args.input.as_slice() {
        [only] => CliError::file(only, error),
        _ => error.into(),
    })?;
    let batch = Batch { inputs: u32::try_from(samples.count).map_err(|_| too_many())?, batched: samples.batched };
    let is_stdout = target.is_stdout();
    let bytes = target.write_with(|out| {
        let mut writer = InputWriter::new(out, &params, batch, key.fingerprint())?;
        for (_, values) in samples.parts(inputs_at_a_time(&params, input_file_bytes)) {
            let encrypting = info_span!("encrypt", inputs = values.len() / key.input().len()).entered();
            let part = key.encrypt(&values, samples.batched).map_err(io::Error::other)?;
            drop(encrypting);
            writer.put(&part)?;
        }
        writer.finish().map(|_| input_file_bytes(&params, batch.inputs))
    })?;
    let object = json!({ "output": report::path(&args.output), "inputs": samples.count, "bytes": bytes });
    let text = format!("wrote {} ({} input(s), {})", args.output.display(), samples.count, report::bytes(bytes));
    report::print_beside(is_stdout, out.json, &object, &text)
}

fn too_many() -> CliError {
    CliError::refusal(format!("a file holds at most {} inputs", u32::MAX))
}
