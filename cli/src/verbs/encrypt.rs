//! `heman encrypt`: a tensor to ciphertexts.

use serde_json::json;

use super::Output;
use crate::args::Encrypt;
use crate::error::CliError;
use crate::io::inputs::read_named_inputs;
use crate::io::output::Access;
use crate::io::sealed::{read_secret_key, write_with};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Encrypt) -> Result<(), CliError> {
    let key = read_secret_key(&args.key)?;
    let samples = read_named_inputs(&args.input, key.inputs())?;
    let input = key.encrypt(&samples.values, samples.batched);
    let input = input.map_err(|error| match args.input.as_slice() {
        [only] => CliError::file(only, error),
        _ => CliError::new(error.to_string()),
    })?;
    let bytes = write_with(&args.output, Access::Everybody, |out| input.seal_to(&key.params(), out))?;
    let object = json!({ "output": args.output, "inputs": samples.count, "bytes": bytes });
    let text = format!("wrote {} ({} input(s), {})", args.output.display(), samples.count, report::bytes(bytes));
    report::print_either(out.json, &object, &text);
    Ok(())
}
