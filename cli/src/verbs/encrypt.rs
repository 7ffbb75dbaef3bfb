//! `heman encrypt`: a tensor to ciphertexts.

use serde_json::json;

use super::Context;
use crate::args::Encrypt;
use crate::error::CliError;
use crate::io::output::{Access, write};
use crate::io::samples::read_samples;
use crate::io::sealed::read_secret_key;
use crate::report;

/// Runs the verb.
pub fn run(context: &Context, args: &Encrypt) -> Result<(), CliError> {
    let key = read_secret_key(&args.key)?;
    let samples = read_samples(&args.input, &key.input().shape)?;
    let bytes = key.encrypt_file(&samples.values, samples.batched);
    let bytes = bytes.map_err(|error| CliError::file(&args.input, error))?;
    write(&args.output, &bytes, Access::Everybody)?;
    let object = json!({ "output": args.output, "inputs": samples.count, "bytes": bytes.len() });
    let size = report::bytes(bytes.len() as u64);
    let text = format!("wrote {} ({} input(s), {size})", args.output.display(), samples.count);
    report::print_either(context.json, &object, &text);
    Ok(())
}
