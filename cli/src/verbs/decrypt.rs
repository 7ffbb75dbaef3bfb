//! `heman decrypt`: ciphertexts to a tensor.

use heman_client::{ClientError, TensorData};
use serde_json::json;

use super::Output;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::output::{Access, Target};
use crate::io::place::input_name;
use crate::io::samples::npy_bytes;
use crate::io::sealed::{read_output, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Decrypt) -> Result<(), CliError> {
    let input_name = input_name(&args.input);
    let target = Target::claim(&args.output, Access::Owner, &[&args.key, input_name])?;
    let key = read_secret_key(&args.key)?;
    let output = read_output(input_name, &key)?;
    let tensor = key.decrypt(&output, args.share.then_some(args.shares)).map_err(|error| match error {
        ClientError::NotShared => CliError::new(format!("--share is for CKKS: {error}")),
        other => CliError::file(&args.input, other),
    })?;
    let bytes = match &tensor.data {
        TensorData::Real(values) => npy_bytes(&tensor.shape, values)?,
        TensorData::Index(values) => npy_bytes(&tensor.shape, values)?,
    };
    let is_stdout = target.is_stdout();
    target.write_with(|out| out.write_all(&bytes).map(|()| bytes.len() as u64))?;
    let inputs = output.count();
    let object = json!({
        "output": report::path(&args.output),
        "inputs": inputs,
        "shared": args.share,
        "shape": tensor.shape,
    });
    let text = format!("wrote {} ({inputs} result(s), shape {:?})", args.output.display(), tensor.shape);
    report::print_beside(is_stdout, out.json, &object, &text);
    Ok(())
}
