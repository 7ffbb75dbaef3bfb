//! What parameter files of both schemes share: head, limits, errors.

use serde::Deserialize;

use crate::model::client_op::ClientOps;
use crate::model::network::TensorInfo;

/// First field of every parameter file.
pub const FORMAT: &str = "heman-params";
/// Version of the parameter file.
pub const VERSION: u32 = 7;
/// Largest parameter file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Largest number of elements of an input or output tensor.
pub const MAX_TENSOR_LEN: usize = 1 << 24;
/// Longest name of a tensor, an output or a class, in bytes.
pub const MOST_NAME_BYTES: usize = 1 << 12;
/// Longest text that a plan has for people, and longest name of several tensors together, in bytes.
pub const MOST_TEXT_BYTES: usize = 1 << 16;
/// Most axes of a tensor.
const MOST_AXES: usize = 32;
/// Least and largest turns of the torus a unit, and steps of a grid: beyond, products with them leave the numbers.
const SCALES: (f64, f64) = (1e-150, 1e150);
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

/// Whether a number can be a scale: not zero, not negative, and neither so small nor so large that nothing is left of
/// what is multiplied with it.
#[must_use]
pub fn is_scale(scale: f64) -> bool {
    (SCALES.0..=SCALES.1).contains(&scale)
}

/// Checks that a digest in a parameter file is one, or none at all.
pub(crate) fn check_digest(digest: &str) -> Result<(), ParamsError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digest.len() <= 64 && digest.bytes().all(is_digit) {
        return Ok(());
    }
    Err(ParamsError::Invalid("the digest of the plan is no digest".into()))
}

/// Checks that names are texts of one line, so that they cannot be taken for something else where they are printed.
///
/// # Errors
/// A sentence.
pub(crate) fn check_names<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let is_wrong = |name: &str| name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    if names.any(is_wrong) { Err("a name has control characters".into()) } else { Ok(()) }
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
    let fits = |tensor: &TensorInfo| {
        tensor.shape.len() <= MOST_AXES && length(tensor).is_some_and(|len| (1..=MAX_TENSOR_LEN).contains(&len))
    };
    if !fits(input) || !fits(output) {
        return invalid("a tensor shape is empty or too large");
    }
    if parts.len() > MAX_INPUTS || !parts.iter().all(fits) || TensorInfo::joined(parts) != *input {
        return invalid("the inputs are not the parts of what is encrypted");
    }
    if parts.iter().any(|part| part.name.len() > MOST_NAME_BYTES) || output.name.len() > MOST_TEXT_BYTES {
        return invalid("a tensor has a very long name");
    }
    if ops.outputs.iter().any(|output| output.name.len() > MOST_NAME_BYTES) {
        return invalid("an output has a very long name");
    }
    let answers = ops.outputs.iter().flat_map(|output| std::iter::once(&output.name).chain(&output.columns));
    let names = parts.iter().map(|part| &part.name).chain([&output.name]).chain(answers);
    check_names(names.map(String::as_str)).map_err(ParamsError::Invalid)?;
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
