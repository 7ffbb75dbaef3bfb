//! `heman decrypt`: ciphertexts to a tensor.

use heman_client::{ClientError, TensorData};
use serde_json::json;

use super::Output;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::output::{Access, write};
use crate::io::samples::npy_bytes;
use crate::io::sealed::{read_output, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Decrypt) -> Result<(), CliError> {
    let key = read_secret_key(&args.key)?;
    let output = read_output(&args.input, &key)?;
    let tensor = key.decrypt(&output, args.share.then_some(args.shares)).map_err(|error| match error {
        ClientError::NotShared => CliError::new(format!("--share is for CKKS: {error}")),
        other => CliError::file(&args.input, other),
    })?;
    let bytes = match &tensor.data {
        TensorData::Real(values) => npy_bytes(&tensor.shape, values)?,
        TensorData::Index(values) => npy_bytes(&tensor.shape, values)?,
    };
    write(&args.output, &bytes, Access::Owner)?;
    let inputs = output.count();
    let object = json!({ "output": args.output, "inputs": inputs, "shared": args.share, "shape": tensor.shape });
    let text = format!("wrote {} ({inputs} result(s), shape {:?})", args.output.display(), tensor.shape);
    report::print_either(out.json, &object, &text);
    Ok(())
}
