//! What parameter files of both schemes share: head, limits, errors.

use serde::Deserialize;

use crate::model::client_op::ClientOps;
use crate::model::network::TensorInfo;

/// First field of every parameter file.
pub const FORMAT: &str = "heman-params";
/// Version of the parameter file.
pub const VERSION: u32 = 3;
/// Largest parameter file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Largest number of elements of an input or output tensor.
pub const MAX_TENSOR_LEN: usize = 1 << 24;
/// Every set that is emitted or accepted has at least so many bits.
pub const REQUIRED_BITS: f64 = 128.0;

/// What can be wrong with a parameter file.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// Not JSON of the right form.
    #[error("not a heman parameter file: {0}")]
    Json(#[from] serde_json::Error),
    /// Another format.
    #[error("not a heman parameter file: its format is {format:?}")]
    Format {
        /// Found.
        format: String,
    },
    /// Another version.
    #[error(
        "this parameter file has version {found}; this build reads version {VERSION}, and files of other versions must be made again"
    )]
    Version {
        /// Found.
        found: u32,
    },
    /// Parameters outside of what this build supports, or inconsistent.
    #[error("parameters are not acceptable: {0}")]
    Invalid(String),
    /// Parameters below 128 bits.
    #[error("parameters give {found:.1} bits of security; at least {} are required", REQUIRED_BITS)]
    Insecure {
        /// By the stricter curve.
        found: f64,
    },
}

/// Checks format and version of a parameter file.
pub(crate) fn check_head(format: &str, version: u32) -> Result<(), ParamsError> {
    if format != FORMAT {
        return Err(ParamsError::Format { format: format.into() });
    }
    if version != VERSION {
        return Err(ParamsError::Version { found: version });
    }
    Ok(())
}

/// Most inputs of a model.
const MAX_INPUTS: usize = 1 << 10;

/// Checks shapes, that the inputs are parts of what is encrypted, and that the client's program fits the output.
pub(crate) fn check_tensors(
    (input, parts): (&TensorInfo, &[TensorInfo]),
    output: &TensorInfo,
    ops: &ClientOps,
) -> Result<(), ParamsError> {
    let invalid = |what: &str| Err(ParamsError::Invalid(what.into()));
    let length = |tensor: &TensorInfo| tensor.shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d));
    let fits = |tensor: &TensorInfo| length(tensor).is_some_and(|len| (1..=MAX_TENSOR_LEN).contains(&len));
    if !fits(input) || !fits(output) {
        return invalid("a tensor shape is empty or too large");
    }
    if parts.len() > MAX_INPUTS || !parts.iter().all(fits) || TensorInfo::joined(parts) != *input {
        return invalid("the inputs are not the parts of what is encrypted");
    }
    ops.shapes(&output.shape).map(|_| ()).map_err(ParamsError::Invalid)
}

/// Checks format and version of a parameter file whose other fields may be another version's.
pub(crate) fn read_head(text: &[u8]) -> Result<(), ParamsError> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let head: Head = serde_json::from_slice(text)?;
    check_head(&head.format, head.version)
}
