//! `heman decrypt`: ciphertexts to a tensor.

use heman_client::TensorData;
use serde_json::json;

use super::Context;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::output::{Access, write};
use crate::io::samples::npy_bytes;
use crate::io::sealed::{read_output, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(context: &Context, args: &Decrypt) -> Result<(), CliError> {
    let key = read_secret_key(&args.key)?;
    let output = read_output(&args.input, key.params())?;
    let tensor = key.decrypt(&output);
    let bytes = match &tensor.data {
        TensorData::Real(values) => npy_bytes(&tensor.shape, values)?,
        TensorData::Index(values) => npy_bytes(&tensor.shape, values)?,
    };
    write(&args.output, &bytes, Access::Owner)?;
    let object = json!({ "output": args.output, "inputs": output.images, "shape": tensor.shape });
    let text = format!("wrote {} ({} result(s), shape {:?})", args.output.display(), output.images, tensor.shape);
    report::print_either(context.json, &object, &text);
    Ok(())
}
