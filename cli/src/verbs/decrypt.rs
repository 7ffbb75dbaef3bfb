//! `heman decrypt`: ciphertexts to a tensor.

use heman_client::{AnyKey, TensorData};
use serde_json::json;

use super::Context;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::output::{Access, write};
use crate::io::samples::npy_bytes;
use crate::io::sealed::{read_ckks_output, read_output, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(context: &Context, args: &Decrypt) -> Result<(), CliError> {
    let key = read_secret_key(&args.key)?;
    let (tensor, inputs) = match &key {
        AnyKey::Tfhe(_) if args.share => {
            return Err(CliError::new(
                "--share is for CKKS: a result of TFHE cannot be shared without its noise; share the decision only",
            ));
        }
        AnyKey::Tfhe(key) => {
            let output = read_output(&args.input, key.params())?;
            (key.decrypt(&output), output.images)
        }
        AnyKey::Ckks(key) => {
            let output = read_ckks_output(&args.input, key.params())?;
            let shares = if args.share { Some(args.shares) } else { None };
            (key.decrypt(&output, shares).map_err(|error| CliError::file(&args.input, error))?, output.images)
        }
    };
    let bytes = match &tensor.data {
        TensorData::Real(values) => npy_bytes(&tensor.shape, values)?,
        TensorData::Index(values) => npy_bytes(&tensor.shape, values)?,
    };
    write(&args.output, &bytes, Access::Owner)?;
    let object = json!({ "output": args.output, "inputs": inputs, "shared": args.share, "shape": tensor.shape });
    let text = format!("wrote {} ({} result(s), shape {:?})", args.output.display(), inputs, tensor.shape);
    report::print_either(context.json, &object, &text);
    Ok(())
}
