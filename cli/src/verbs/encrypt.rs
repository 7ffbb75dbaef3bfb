//! `heman encrypt`: a tensor to ciphertexts.

use serde_json::json;

use super::Output;
use crate::args::Encrypt;
use crate::error::CliError;
use crate::io::output::{Access, Target};
use crate::io::place::input_name;
use crate::io::samples::read_samples;
use crate::io::sealed::read_secret_key;
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Encrypt) -> Result<(), CliError> {
    let input_name = input_name(&args.input);
    let target = Target::claim(&args.output, Access::Everybody, &[&args.key, input_name])?;
    let key = read_secret_key(&args.key)?;
    let samples = read_samples(input_name, &key.input().shape)?;
    let input = key.encrypt(&samples.values, samples.batched);
    let input = input.map_err(|error| CliError::file(&args.input, error))?;
    let is_stdout = target.is_stdout();
    let bytes = target.write_with(|out| input.seal_to(&key.params(), out))?;
    let object = json!({ "output": report::path(&args.output), "inputs": samples.count, "bytes": bytes });
    let text = format!("wrote {} ({} input(s), {})", args.output.display(), samples.count, report::bytes(bytes));
    report::print_beside(is_stdout, out.json, &object, &text);
    Ok(())
}
