//! `heman encrypt`: a tensor to ciphertexts.

use std::path::{Path, PathBuf};

use serde_json::json;
use tracing::info_span;

use super::Output;
use crate::args::Encrypt;
use crate::error::CliError;
use crate::io::inputs::{files_of, read_named_inputs};
use crate::io::output::{Access, Target};
use crate::io::sealed::{key_name, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Encrypt) -> Result<(), CliError> {
    let files = files_of(&args.input);
    let key_name = key_name(&args.key, &args.input)?;
    let inputs: Vec<&Path> = std::iter::once(key_name).chain(files.iter().map(PathBuf::as_path)).collect();
    let target = Target::claim(&args.output, Access::Everybody, &inputs)?;
    let key = read_secret_key(key_name, &args.unlocking)?;
    let samples = read_named_inputs(&args.input, key.inputs())?;
    let encrypting = info_span!("encrypt", inputs = samples.count).entered();
    let input = key.encrypt(&samples.values, samples.batched);
    drop(encrypting);
    let input = input.map_err(|error| match args.input.as_slice() {
        [only] => CliError::file(only, error),
        _ => error.into(),
    })?;
    let is_stdout = target.is_stdout();
    let bytes = target.write_with(|out| input.seal_to(&key.params(), out))?;
    let object = json!({ "output": report::path(&args.output), "inputs": samples.count, "bytes": bytes });
    let text = format!("wrote {} ({} input(s), {})", args.output.display(), samples.count, report::bytes(bytes));
    report::print_beside(is_stdout, out.json, &object, &text)
}
